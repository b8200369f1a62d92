//! The SmartModule that most sinks read events through.

use connector_common::{Error, Transform};
use fact_model::Options;

/// The name that the SmartModule is loaded under in a cluster.
pub const FLATTEN_ITEMS: &str = "flatten-items";

/// Returns true if a cluster takes flatten-items for the name: `flatten-items`, or as `smdk` stores
/// it, `GROUP/flatten-items@VERSION`.
#[must_use]
pub fn is_flattener(name: &str) -> bool {
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    name.split('@').next() == Some(FLATTEN_ITEMS)
}

/// Checks the parameters of each step that is flatten-items.
///
/// # Errors
/// [`Error::Invalid`] with the parameter.
pub fn validate(transforms: &[Transform]) -> Result<(), Error> {
    for step in transforms.iter().filter(|step| is_flattener(&step.uses)) {
        if let Err(error) = Options::parse(step.parameters()) {
            let text = format!("`transforms`: `{}`: {error}", step.uses);
            return Err(Error::Invalid(text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flattener_is_known_by_each_of_its_names() {
        for (name, is_known) in [
            ("flatten-items", true),
            ("ecommerce-etl/flatten-items@0.1.0", true),
            ("flatten-items@0.1.0", true),
            ("flatten-items-2", false),
            ("flatten-items/other", false),
        ] {
            assert_eq!(is_flattener(name), is_known, "{name}");
        }
    }
}
