//! Decodes the parameters of a stream.
//!
//! The input (`SmartModuleInitInput`) is a count and the name and value of each parameter; the rest
//! isn't read. If they are invalid, the output (`SmartModuleInitOutput`) is a message for the
//! consumer that opened the stream.

use fact_model::Options;

use crate::wire::{Reader, write_text};

/// The SmartModule can't start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitError {
    /// A parameter is invalid. Holds the encoded `SmartModuleInitOutput` with the message.
    Parameter(Vec<u8>),
    /// The input is cut off or not UTF-8, which indicates a bug in Fluvio.
    Input,
}

impl InitError {
    /// Returns the error's number, one of Fluvio's `SmartModuleInitErrorStatus`.
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
/// A parameter is unknown, its value isn't allowed, or the bytes are not a valid input.
pub fn read(input: &[u8]) -> Result<Options, InitError> {
    Options::parse(pairs(input)?).map_err(|error| refusal(&error.to_string()))
}

/// Refuses any parameter in an encoded `SmartModuleInitInput`.
///
/// # Errors
/// There is a parameter, or the bytes are not a valid input.
pub fn refuse(input: &[u8]) -> Result<(), InitError> {
    match pairs(input)?.first() {
        Some((name, _)) => Err(refusal(&format!(
            "unknown parameter `{name}`; this SmartModule has none"
        ))),
        None => Ok(()),
    }
}

fn pairs(input: &[u8]) -> Result<Vec<(&str, &str)>, InitError> {
    let mut input = Reader(input);
    let count = input.short().ok_or(InitError::Input)?;
    let mut parameters = Vec::new();
    for _ in 0..count {
        let mut text = || std::str::from_utf8(input.text()?).ok();
        let (name, value) = text().zip(text()).ok_or(InitError::Input)?;
        parameters.push((name, value));
    }
    Ok(parameters)
}

fn refusal(message: &str) -> InitError {
    let mut output = Vec::new();
    write_text(message, &mut output);
    InitError::Parameter(output)
}
