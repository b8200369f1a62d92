//! What the connectors say of themselves.

use super::report::Report;
use crate::endpoint::Endpoint;

const AREA: &str = "connectors";

/// Asks each whether it is ready.
pub async fn check(report: &mut Report, sources: &[Endpoint], sinks: &[Endpoint]) {
    for (name, endpoints) in [("source", sources), ("sink", sinks)] {
        for endpoint in endpoints {
            match endpoint.troubles().await {
                Ok(troubles) if troubles.is_empty() => {
                    report.ok(AREA, name, format!("ready, at {endpoint}"));
                }
                Ok(troubles) => report.fail(
                    AREA,
                    name,
                    format!("not ready, at {endpoint}: {}", troubles.join("; ")),
                    "it names the part that is in trouble; deploy/RUNBOOK.md has a section for each",
                ),
                Err(error) => report.fail(
                    AREA,
                    name,
                    format!("{error:#}"),
                    "start it, or correct the address: its file's `metrics-address`",
                ),
            }
        }
        if endpoints.is_empty() {
            report.skip(
                AREA,
                name,
                format!("not asked; --{name}-metrics http://HOST:PORT names one"),
            );
        }
    }
}
