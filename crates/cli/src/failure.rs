//! How a command fails: with a message that says what to do, and an exit code.

use std::{error::Error, io, process::ExitCode};

use tower_api_tokens::{LifecycleError, LifecycleErrorKind, StoreError, StoreErrorKind};
use tower_api_tokens_admin::{OperationError, OperationErrorKind};

use crate::note::note;

/// The exit codes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The store, or reading and writing, did not work.
    Failed = 1,
    /// An argument is missing or wrong.
    Usage = 2,
    /// There is no such app or token.
    NotFound = 3,
    /// The state of the app or token, the actor's rights or the person at the terminal forbid it.
    Refused = 4,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status as u8)
    }
}

impl From<LifecycleErrorKind> for Status {
    fn from(kind: LifecycleErrorKind) -> Self {
        match kind {
            LifecycleErrorKind::UnknownApp | LifecycleErrorKind::UnknownToken => Self::NotFound,
            LifecycleErrorKind::InvalidName
            | LifecycleErrorKind::InvalidExpiry
            | LifecycleErrorKind::InvalidOverlap => Self::Usage,
            LifecycleErrorKind::Store | LifecycleErrorKind::Entropy => Self::Failed,
            _ => Self::Refused,
        }
    }
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// What is certain nevertheless, and what to do about the rest.
    advice: Option<String>,
    /// What was to be printed could not be written.
    output: Option<io::ErrorKind>,
}

impl Failure {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            source: None,
            advice: None,
            output: None,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Status::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Status::NotFound, message)
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Status::Refused, message)
    }

    /// Keeps the cause, which is shown after the message.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what is certain, or what to do next.
    pub(crate) fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Says what to do where the store did not answer, so that the change may have been made.
    pub(crate) fn unless_certain(mut self, advice: impl FnOnce() -> String) -> Self {
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<StoreError>()
                && error.kind() == StoreErrorKind::Unavailable
            {
                self.advice = Some(advice());
                break;
            }
            cause = error.source();
        }
        self
    }

    /// Says what became of what could not be printed, and what to do about it, before the cause.
    pub(crate) fn saying(self, message: String, advice: String) -> Self {
        Self {
            message,
            advice: Some(advice),
            output: None,
            ..self
        }
    }

    /// Says that a change was made, if all that failed is to print it.
    pub(crate) fn after_change(mut self) -> Self {
        if self.output.is_some() {
            self.output = Some(io::ErrorKind::Other);
            self.advice = Some("What was asked for is done; only this output is missing.".into());
        }
        self
    }

    /// Shows the failure to the person, and returns its exit code. A reader that has read enough of
    /// what is there, as `head` does, is no failure.
    pub(crate) fn report(&self) -> ExitCode {
        if self.output == Some(io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let mut text = format!("error: {}", self.message);
        let mut last = self.message.clone();
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            let message = error.to_string();
            // Drivers repeat what their own cause says.
            if !last.ends_with(&message) {
                text += &format!(": {message}");
            }
            last = message;
            cause = error.source();
        }
        note(&text);
        if let Some(advice) = &self.advice {
            note(advice);
        }
        self.status.into()
    }
}

impl From<LifecycleError> for Failure {
    fn from(error: LifecycleError) -> Self {
        Self::new(error.kind().into(), error.to_string()).because(error)
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        let status = match error.kind() {
            OperationErrorKind::Lifecycle(kind) => kind.into(),
            _ => Status::Refused,
        };
        Self::new(status, error.to_string()).because(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::failed(error.to_string()).because(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            output: Some(error.kind()),
            ..Self::failed("cannot write the output").because(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use tower_api_tokens::store::catch_panic;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_with_an_exit_code() {
        let ran = catch_panic(|| async { panic!("the store panics") }).await;
        let failure: Failure = Result::<(), _>::unwrap_err(ran);
        assert_eq!(failure.status, Status::Failed);
        assert!(!failure.message.contains("the store panics"));
    }
}
