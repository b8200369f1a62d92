//! Classifies the SDK's errors by their remedy.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::queue::{Kind, QueueError};

/// The HTTP status of a denied call. Servers differ in its error code.
const FORBIDDEN: u16 = 403;

pub(crate) fn classify<E>(
    operation: &'static str,
    queue: &str,
    error: &SdkError<E, HttpResponse>,
) -> QueueError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let kind = match error {
        SdkError::ServiceError(answer) if answer.raw().status().is_server_error() => {
            Kind::Unreachable
        }
        // The page of a proxy for example, with any status: retry.
        SdkError::ServiceError(answer) => match answer.err().code().map(kind_of_code) {
            None => Kind::Unreachable,
            Some(Kind::Other) if answer.raw().status().as_u16() == FORBIDDEN => Kind::AccessDenied,
            Some(kind) => kind,
        },
        _ if lacks_credentials(error) => Kind::Credentials,
        SdkError::ConstructionFailure(_) => Kind::Other,
        _ => Kind::Unreachable,
    };
    let code = match error {
        SdkError::ServiceError(answer) => answer.err().code().unwrap_or("NotSqs"),
        SdkError::TimeoutError(_) => "Timeout",
        SdkError::DispatchFailure(_) => "NoConnection",
        SdkError::ResponseError(_) => "CutReply",
        _ => "NotSent",
    };
    QueueError {
        operation,
        queue: queue.to_owned(),
        kind,
        code: code.to_owned(),
        detail: error_text(error),
    }
}

/// SQS's error code and message, or the causes in one line. The SDK's own display adds the whole
/// answer with its headers.
pub fn error_text<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let message = answer.err().message().unwrap_or("no message");
            match answer.err().code() {
                Some(code) => format!("{code}: {message}"),
                None => format!(
                    "HTTP status {} and no answer of AWS; is there another server at its address?",
                    answer.raw().status()
                ),
            }
        }
        other => causes(other),
    }
}

/// Sources: "common error types" of the SQS API reference
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html>), and
/// the codes that the AWS SDKs' own retry treats as throttling.
pub(super) fn kind_of_code(code: &str) -> Kind {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "OverLimit"
        | "KmsThrottled"
        | "KMS.ThrottlingException" => Kind::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "NotAuthorized"
        | "OptInRequired"
        | "KmsAccessDenied"
        | "KMS.AccessDeniedException" => Kind::AccessDenied,
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidSignatureException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "InvalidAccessKeyId"
        | "InvalidSecurity" => Kind::Credentials,
        "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" | "InvalidAddress" => {
            Kind::NoSuchQueue
        }
        "ServiceUnavailable" | "InternalFailure" | "InternalError" | "RequestTimeout" => {
            Kind::Unreachable
        }
        _ => Kind::Other,
    }
}

/// The error and its causes in one line; the SDK's own messages leave the causes out.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let messages: Vec<String> = chain.map(ToString::to_string).collect();
    let line = messages.join(": ");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// True if there are no credentials. A provider that did not answer in time may do so later.
fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<CredentialsError>())
        .any(|error| !matches!(error, CredentialsError::ProviderTimedOut(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_classified_by_their_remedy() {
        assert!(kind_of_code("RequestThrottled").is_transient());
        assert_eq!(kind_of_code("AccessDenied"), Kind::AccessDenied);
        assert_eq!(
            kind_of_code("AWS.SimpleQueueService.NonExistentQueue"),
            Kind::NoSuchQueue
        );
        assert_eq!(kind_of_code("InvalidClientTokenId"), Kind::Credentials);
        assert_eq!(kind_of_code("InvalidParameterValue"), Kind::Other);
    }

    #[test]
    fn a_provider_of_credentials_that_does_not_answer_is_waited_for() {
        assert!(lacks_credentials(&CredentialsError::not_loaded("none")));
        let timeout = std::time::Duration::from_secs(1);
        let silent = CredentialsError::provider_timed_out(timeout);
        assert!(!lacks_credentials(&silent));
    }
}
