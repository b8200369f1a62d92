//! `--with NAME=VALUE`: parameters of the SmartModule `flatten-items`, as `with:` gives them in a sink's file.

use fact_model::{BadOption, Options};

/// The parameters that a command was given.
#[derive(clap::Args)]
pub struct Parameters {
    /// A parameter of the SmartModule, such as `missing-time=record`; may be given several times
    #[arg(long = "with", value_name = "NAME=VALUE", value_parser = parameter)]
    pairs: Vec<(String, String)>,
}

impl Parameters {
    /// What the parameters choose.
    ///
    /// # Errors
    /// One of them is unknown, or its value not allowed.
    pub fn options(&self) -> Result<Options, BadOption> {
        let pairs = self.pairs.iter();
        Options::parse(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Each a name and a value.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "a parameter is written NAME=VALUE".to_owned())
}
