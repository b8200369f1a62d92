//! The parameters that a stream was opened with, as the engine hands them over.
//!
//! In (`SmartModuleInitInput`): how many there are, then the name and value of each; what follows is of no use
//! here. Out (`SmartModuleInitOutput`), only where they can't be used: a text for whoever opened the stream.

use fact_model::Options;

use crate::wire::{Reader, write_text};

/// Why the engine can't start the SmartModule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitError {
    /// A parameter can't be used: the encoded `SmartModuleInitOutput` that says why.
    Parameter(Vec<u8>),
    /// The input is cut off, or no text. It takes a fault in Fluvio to see this.
    Input,
}

impl InitError {
    /// The number by which the engine knows the error, one of Fluvio's `SmartModuleInitErrorStatus`.
    #[must_use]
    pub const fn status(&self) -> i32 {
        match self {
            Self::Parameter(_) => -2,
            Self::Input => -10,
        }
    }
}

/// Reads an encoded `SmartModuleInitInput`.
///
/// # Errors
/// When a parameter is unknown or its value not allowed, or when the bytes are no such input.
pub fn read(input: &[u8]) -> Result<Options, InitError> {
    let mut input = Reader(input);
    let count = input.short().ok_or(InitError::Input)?;
    let mut parameters = Vec::new();
    for _ in 0..count {
        let mut text = || std::str::from_utf8(input.text()?).ok();
        let (name, value) = text().zip(text()).ok_or(InitError::Input)?;
        parameters.push((name, value));
    }
    Options::parse(parameters).map_err(|error| {
        let mut output = Vec::new();
        write_text(&error.to_string(), &mut output);
        InitError::Parameter(output)
    })
}
