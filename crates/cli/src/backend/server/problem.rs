//! Responses of a server: records, and problems as the failures of a command.

use bytes::Bytes;
use http::{StatusCode, header::LOCATION};
use serde::{Deserialize, de::DeserializeOwned};
use tower_api_tokens::{LifecycleErrorKind, TokenId};
use tower_api_tokens_admin::OperationErrorKind;

use super::address::Address;
use crate::failure::{Failure, Status};

const UNKNOWN_APP: OperationErrorKind =
    OperationErrorKind::Lifecycle(LifecycleErrorKind::UnknownApp);
const STORE: OperationErrorKind = OperationErrorKind::Lifecycle(LifecycleErrorKind::Store);

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Refused {
    failure: Failure,
    kind: Option<OperationErrorKind>,
    /// The token that the same request created before.
    lost: Option<TokenId>,
}

impl Refused {
    /// Whether the change may have been made.
    pub(super) fn is_uncertain(&self) -> bool {
        self.failure.is_uncertain()
    }

    /// Returns the kind of the operation's error, if it is one.
    pub(super) fn kind(&self) -> Option<OperationErrorKind> {
        self.kind
    }

    pub(super) fn is_unknown_app(&self) -> bool {
        self.kind == Some(UNKNOWN_APP)
    }

    /// Returns the token that the same request created before. Its text was in a response that was
    /// lost.
    pub(super) fn lost(&self) -> Option<TokenId> {
        self.lost
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            kind: None,
            lost: None,
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        refused.failure
    }
}

/// The body of an error response (RFC 9457).
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    token_id: Option<TokenId>,
}

/// Reads a response.
pub(super) fn read<T: DeserializeOwned>(
    answer: http::Response<Bytes>,
    address: &Address,
) -> Result<T, Refused> {
    let status = answer.status();
    if status.is_success() {
        let read = match status {
            StatusCode::NO_CONTENT => serde_json::from_str("null"),
            _ => serde_json::from_slice(answer.body()),
        };
        return read.map_err(|error| {
            let failure = Failure::failed(format!("{address} sent an unexpected response"));
            let advice = "Check that the URL is that of `api-tokens serve`, in a version that is not older than this program.";
            failure.because(error).advising(advice).uncertain().into()
        });
    }
    if status.is_redirection() {
        let location = answer.headers().get(LOCATION);
        let location = location.and_then(|location| location.to_str().ok());
        return Err(Failure::usage(format!(
            "{address} redirects to {}, and the token is not sent there: pass the URL of the server itself",
            location.map_or_else(|| "another URL".to_owned(), |url| format!("`{url}`"))
        ))
        .into());
    }
    match serde_json::from_slice(answer.body()) {
        Ok(problem) => Err(refused(status, problem)),
        Err(_) => Err(not_a_problem(status, address)),
    }
}

fn refused(status: StatusCode, problem: Problem) -> Refused {
    let kind: Option<OperationErrorKind> = problem.code.parse().ok();
    let message = message(&problem.detail);
    let failure = match (kind, &*problem.code) {
        (Some(kind), _) => Failure::new(kind.into(), message),
        (None, "unauthenticated" | "malformed_credential") => {
            Failure::refused(format!("the server does not accept the token: {message}"))
                .advising("Set API_TOKENS_TOKEN, or the file given to `--token-file`, to a token with the scope `tokens:admin`.")
        }
        (None, _) => Failure::new(fallback(status, &problem.code), message),
    };
    Refused {
        failure: match kind {
            Some(STORE) => failure.uncertain(),
            _ => failure,
        },
        kind,
        lost: problem.token_id,
    }
}

/// The exit code of a problem that a newer server has, or that is not one of an operation.
fn fallback(status: StatusCode, code: &str) -> Status {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Status::Usage,
        StatusCode::NOT_FOUND if code != "not_found" => Status::NotFound,
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::CONFLICT
        | StatusCode::PRECONDITION_FAILED => Status::Refused,
        _ => Status::Failed,
    }
}

/// Turns the sentence of a problem into the message that it was made of.
fn message(sentence: &str) -> String {
    let mut rest = sentence.strip_suffix('.').unwrap_or(sentence).chars();
    let first = rest.next().into_iter().flat_map(char::to_lowercase);
    first.chain(rest.as_str().chars()).collect()
}

fn not_a_problem(status: StatusCode, address: &Address) -> Refused {
    let failure = Failure::failed(format!("{address} responded with status {status}"));
    let failure = match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => failure.advising(
            "The management API was expected at `/api` below this URL. Check the URL, and that `serve` does not run with `--verify-only`.",
        ),
        // A proxy may respond after the server has made the change.
        status if status.is_server_error() => failure.uncertain(),
        _ => failure,
    };
    failure.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16, code: &str, detail: &str) -> (Status, String) {
        let status = StatusCode::from_u16(status).unwrap();
        let body = serde_json::json!({ "code": code, "detail": detail }).to_string();
        let response = http::Response::builder().status(status);
        let answer = response.body(Bytes::from(body)).unwrap();
        let address = "https://tokens.example".parse().unwrap();
        let failure = Failure::from(read::<()>(answer, &address).unwrap_err());
        (failure.status(), failure.message().to_owned())
    }

    #[test]
    fn the_code_of_a_problem_decides_the_exit_code() {
        for (http, code, status) in [
            (404, "unknown_token", Status::NotFound),
            (404, "unknown_app", Status::NotFound),
            (404, "unknown_batch", Status::NotFound),
            (404, "not_found", Status::Failed),
            (409, "revoked_token", Status::Refused),
            (409, "cap_reached", Status::Refused),
            (412, "stale_version", Status::Refused),
            (403, "scope_not_held", Status::Refused),
            (403, "forbidden", Status::Refused),
            (401, "unauthenticated", Status::Refused),
            (422, "invalid_overlap", Status::Usage),
            (400, "invalid_query", Status::Usage),
            (503, "store_failure", Status::Failed),
            (503, "unavailable", Status::Failed),
        ] {
            assert_eq!(failed(http, code, "X.").0, status, "{code}");
        }
    }

    #[test]
    fn the_message_is_that_of_the_store() {
        let kind = LifecycleErrorKind::UnknownToken;
        let (_, message) = failed(404, kind.as_str(), "No such token; check the identifier.");
        assert_eq!(message, "no such token; check the identifier");
    }
}
