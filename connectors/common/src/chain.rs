//! An error with its causes in one line.

use std::error::Error;

/// The error and its causes, separated by colons. Leaves out a cause that the message before it
/// repeats, as many libraries write it.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_that_is_repeated_is_named_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("Config error: {0}")]
        struct Repeating(#[source] std::io::Error);

        let cause = std::io::Error::other("no active profile");
        let error = anyhow!(Repeating(cause)).context("cannot load the profile");
        assert_eq!(
            chain(error.as_ref()),
            "cannot load the profile: Config error: no active profile"
        );
        let error = anyhow!("no route").context("cannot connect");
        assert_eq!(chain(error.as_ref()), "cannot connect: no route");
    }
}
