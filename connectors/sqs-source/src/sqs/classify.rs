//! Telling the SDK's errors apart by what helps against them.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use crate::queue::{Kind, QueueError};

/// The HTTP status of a denied call, whatever code a server gives it.
const FORBIDDEN: u16 = 403;

pub(super) fn classify<E>(
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
        // A proxy's page, say, whatever its status: waiting helps or someone mends it.
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
        detail: words(error),
    }
}

/// SQS's own code and words, or the causes in one line. The SDK's own display adds its whole answer, headers and all.
pub fn words<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let message = answer.err().message().unwrap_or("no message");
            match answer.err().code() {
                Some(code) => format!("{code}: {message}"),
                None => format!(
                    "HTTP status {} and no answer of SQS; does something else answer at its address?",
                    answer.raw().status()
                ),
            }
        }
        other => causes(other),
    }
}

/// Sources: "common error types" of the SQS API reference, and the codes that the AWS SDKs' own
/// retry treats as throttling.
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
    let words: Vec<String> = chain.map(ToString::to_string).collect();
    let line = words.join(": ");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<CredentialsError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_what_helps() {
        assert!(kind_of_code("RequestThrottled").may_pass());
        assert_eq!(kind_of_code("AccessDenied"), Kind::AccessDenied);
        assert_eq!(
            kind_of_code("AWS.SimpleQueueService.NonExistentQueue"),
            Kind::NoSuchQueue
        );
        assert_eq!(kind_of_code("InvalidClientTokenId"), Kind::Credentials);
        assert_eq!(kind_of_code("InvalidParameterValue"), Kind::Other);
    }
}
