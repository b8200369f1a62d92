//! The errors of this crate.

use std::net::AddrParseError;
use std::path::PathBuf;

use fluvio::FluvioError;

/// An error of this crate. No variant shows a secret's value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("cannot read the {what} file {}", path.display())]
    Read {
        /// The purpose of the file.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file is not valid YAML.
    #[error("{}: not valid YAML: {detail}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        detail: String,
    },
    /// A field is missing, unknown or of another type.
    #[error("{0}")]
    Field(String),
    /// A value or a combination of values is refused; the text names the field.
    #[error("{0}")]
    Invalid(String),
    /// A declared secret has no value.
    #[error("the secret `{name}` has no value; looked in {looked_in}")]
    SecretMissing {
        /// The secret's name.
        name: String,
        /// The file or the environment.
        looked_in: String,
    },
    /// A secret has a name that Fluvio's packages don't allow.
    #[error(
        "the secret name `{0}` is not allowed: ASCII letters, digits and `_`, \
         not starting with a digit"
    )]
    SecretName(String),
    /// A `${{ … }}` can't be filled in.
    #[error("{0}")]
    Template(String),
    /// A record of the commit notifications' topic is something else.
    #[error("the record is not a commit notification")]
    NotNotification(#[source] serde_json::Error),
    /// A commit notification is not signed, or with another secret.
    #[error(
        "the commit notification is not signed with this source's `notifications-secret`; give \
         the sink the same one"
    )]
    NotSigned,
    /// No Fluvio cluster is configured.
    #[error(
        "no current Fluvio profile; create one with `fluvio profile add NAME HOST:PORT`, or set \
         FLV_PROFILE_PATH to a profile file"
    )]
    Profile(#[source] Box<FluvioError>),
    /// Some parts of the connector hang or don't work, a line each with the reason.
    #[error("{0}")]
    Unhealthy(String),
    /// The argument of `--healthcheck` has no address.
    #[error("`{text}` is not an IP address with a port, such as 127.0.0.1:9464")]
    HealthcheckAddress {
        /// The argument.
        text: String,
        /// The parser's error.
        source: AddrParseError,
    },
    /// The argument of `--healthcheck` has another path than those served.
    #[error("`/{0}` is neither /healthz nor /readyz")]
    HealthcheckPath(String),
}

impl Error {
    /// Puts `place` in front of the message of an error that has none.
    pub(crate) fn at(self, place: &str) -> Self {
        self.map_detail(|detail| format!("{place}: {detail}"))
    }

    /// Changes the message of an error about the document's content.
    pub(crate) fn map_detail(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Field(detail) => Self::Field(change(&detail)),
            Self::Invalid(detail) => Self::Invalid(change(&detail)),
            Self::Template(detail) => Self::Template(change(&detail)),
            other => other,
        }
    }
}
