//! The SmartModules of the sink: loaded, this build's, and with parameters that they take.

use std::path::{Path, PathBuf};

use fact_model::Options;
use fluvio::metadata::smartmodule::SmartModuleSpec;

use super::cluster::Found;
use super::deployment::Deployment;
use super::report::Report;

const AREA: &str = "smartmodule";
const FLATTEN_ITEMS: &str = "flatten-items";

/// Checks each that the sink's file names; without a file the one of the pipeline.
pub async fn check(
    report: &mut Report,
    deployment: &Deployment,
    found: &Found,
    wasm: Option<&Path>,
) {
    let names = match &deployment.sink {
        Some(sink) if sink.transforms.is_empty() => {
            report.fail(
                AREA,
                "named",
                "the sink's file has no `transforms`, and the sink reads what flatten-items makes of the events",
                "transforms: [{ uses: flatten-items }]",
            );
            return;
        }
        Some(sink) => sink
            .transforms
            .iter()
            .map(|step| step.uses.clone())
            .collect(),
        None => vec![FLATTEN_ITEMS.to_owned()],
    };
    for name in names {
        let loaded = found.client.admin().await;
        let loaded = loaded.list::<SmartModuleSpec, _>(vec![name.clone()]).await;
        match loaded {
            Ok(all) => match all.first() {
                Some(module) => compare(report, &name, &module.spec, wasm),
                None => report.fail(
                    AREA,
                    "loaded",
                    format!("the cluster has no SmartModule `{name}`"),
                    "deploy/cluster/deploy.sh smartmodule, or fluvio smartmodule create NAME --wasm-file FILE",
                ),
            },
            Err(error) => report.fail(
                AREA,
                "loaded",
                format!("the cluster does not list SmartModules: {error:#}"),
                "look at the logs of the cluster's controller (SC)",
            ),
        }
    }
    parameters(report, deployment);
}

fn compare(report: &mut Report, name: &str, module: &SmartModuleSpec, wasm: Option<&Path>) {
    let loaded = match module.wasm.as_raw_wasm() {
        Ok(loaded) => loaded,
        Err(error) => {
            let mend = "load it again: deploy/cluster/deploy.sh smartmodule";
            report.fail(
                AREA,
                "loaded",
                format!("`{name}` is loaded and can't be unpacked: {error}"),
                mend,
            );
            return;
        }
    };
    report.ok(AREA, "loaded", format!("`{name}`, {} bytes", loaded.len()));
    if name != FLATTEN_ITEMS {
        return;
    }
    let Some(file) = wasm.map(Path::to_owned).or_else(beside) else {
        report.skip(
            AREA,
            "build",
            "no flatten-items.wasm is at hand to compare with; --wasm FILE names one",
        );
        return;
    };
    match std::fs::read(&file) {
        Ok(ours) if ours == loaded => {
            report.ok(
                AREA,
                "build",
                format!("`{name}` is that of {}, byte for byte", file.display()),
            );
        }
        Ok(ours) => report.warn(
            AREA,
            "build",
            format!(
                "the cluster's `{name}` ({} bytes) is another build than {} ({} bytes)",
                loaded.len(),
                file.display(),
                ours.len()
            ),
            "deploy/cluster/deploy.sh smartmodule loads this one; restart the sink then",
        ),
        Err(error) => report.fail(
            AREA,
            "build",
            format!("cannot read {}: {error}", file.display()),
            "correct --wasm",
        ),
    }
}

/// The file that `make build` puts beside the programs.
fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let mut folders = program.ancestors().skip(1).take(2);
    folders
        .by_ref()
        .map(|folder| folder.join("flatten-items.wasm"))
        .find(|file| file.is_file())
}

fn parameters(report: &mut Report, deployment: &Deployment) {
    let Some(sink) = &deployment.sink else {
        return;
    };
    for step in sink
        .transforms
        .iter()
        .filter(|step| step.uses == FLATTEN_ITEMS)
    {
        let pairs = step.with.iter();
        match Options::parse(pairs.map(|(name, value)| (name.as_str(), value.as_str()))) {
            Ok(_) => report.ok(
                AREA,
                "parameters",
                format!("{} given, all understood", step.with.len()),
            ),
            Err(error) => report.fail(
                AREA,
                "parameters",
                error.to_string(),
                "correct `with:` in the sink's `transforms`",
            ),
        }
    }
    let steps = sink.transforms.len();
    if steps > 1 {
        report.warn(
            AREA,
            "chain",
            format!("the sink reads through {steps} SmartModules"),
            "each has to return exactly one record for each that it gets, and flatten-items has to be the last",
        );
    }
}
