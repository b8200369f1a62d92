//! `transforms`: the SmartModules that the cluster runs on the connector's stream.

use std::collections::BTreeMap;
use std::time::Duration;

use fluvio::{
    SmartModuleExtraParams, SmartModuleInvocation, SmartModuleInvocationWasm, SmartModuleKind,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One step of `transforms`, in the form that all Fluvio connectors share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// The name of a SmartModule loaded in the cluster.
    pub uses: String,
    /// Parameters for the SmartModule. Values that are no strings arrive there as JSON text.
    #[serde(default, deserialize_with = "as_json_text")]
    pub with: BTreeMap<String, String>,
    /// Earlier records that the SmartModule is shown before it starts.
    #[serde(default)]
    pub lookback: Option<Lookback>,
}

/// How far a SmartModule looks back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookback {
    /// Number of records.
    #[serde(default)]
    pub last: u64,
    /// Only records younger than this.
    #[serde(default, with = "humantime_serde")]
    pub age: Option<Duration>,
}

/// The invocations to open a stream with, in the order of `transforms`.
#[must_use]
pub fn smartmodules(transforms: &[Transform]) -> Vec<SmartModuleInvocation> {
    transforms.iter().map(invocation).collect()
}

fn invocation(step: &Transform) -> SmartModuleInvocation {
    let lookback = step.lookback.as_ref().map(|lookback| match lookback.age {
        Some(age) => {
            fluvio_smartmodule::dataplane::smartmodule::Lookback::age(age, Some(lookback.last))
        }
        None => fluvio_smartmodule::dataplane::smartmodule::Lookback::last(lookback.last),
    });
    SmartModuleInvocation {
        wasm: SmartModuleInvocationWasm::Predefined(step.uses.clone()),
        kind: SmartModuleKind::Generic(fluvio::SmartModuleContextData::None),
        params: SmartModuleExtraParams::new(step.with.clone(), lookback),
        name: Some(step.uses.clone()),
    }
}

fn as_json_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(deserializer)?;
    Ok(values
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect())
}
