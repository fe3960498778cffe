//! The error of a command: a message that says what to do, and an exit code.

use std::{error::Error, io, path::Path, process::ExitCode};

use tower_api_tokens::{LifecycleError, LifecycleErrorKind, StoreError, StoreErrorKind};
use tower_api_tokens_admin::{OperationError, OperationErrorKind};

use crate::{configuration::Origins, note::note};

/// The exit codes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// A store, input or output error.
    Failed = 1,
    /// An argument is missing or invalid.
    Usage = 2,
    /// There is no such app or token.
    NotFound = 3,
    /// The state of the app or token does not allow it, the actor lacks the rights, or the user
    /// declined.
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
            | LifecycleErrorKind::ForeignFormat
            | LifecycleErrorKind::InvalidMetadata
            | LifecycleErrorKind::InvalidNetworks
            | LifecycleErrorKind::InvalidExpiry
            | LifecycleErrorKind::InvalidOverlap => Self::Usage,
            LifecycleErrorKind::Store | LifecycleErrorKind::Entropy => Self::Failed,
            _ => Self::Refused,
        }
    }
}

impl From<OperationErrorKind> for Status {
    fn from(kind: OperationErrorKind) -> Self {
        match kind {
            OperationErrorKind::Lifecycle(kind) => kind.into(),
            _ => Self::Refused,
        }
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// What is known about the outcome, and what to do next.
    advice: Option<String>,
    /// The output could not be written.
    output: Option<io::ErrorKind>,
    /// The message covers the kind of the store's error, so only the source of that is shown.
    hides_store_kind: bool,
    /// A server did not respond, so the change may have been made.
    uncertain: bool,
    /// A server could not be reached, so nothing was done.
    unreachable: bool,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            source: None,
            advice: None,
            output: None,
            hides_store_kind: false,
            uncertain: false,
            unreachable: false,
        }
    }

    /// The failure of an operation. Its causes explain only failures of the store: the message of any
    /// other error is complete.
    fn of_operation(status: Status, error: impl Error + Send + Sync + 'static) -> Self {
        let failure = Self::new(status, error.to_string());
        match status {
            Status::Failed => failure.because(error),
            _ => failure,
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

    /// Adds the cause, which is shown after the message.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds an error of the store as the cause. If its source says what is wrong and what to do, the
    /// error's own, more general message is left out.
    pub(crate) fn because_of_store(mut self, error: StoreError) -> Self {
        // The message for a damaged database advises to restore a backup.
        let is_damaged = error.to_string() == StoreError::damaged("").to_string();
        self.hides_store_kind = error.source().is_some()
            && !is_damaged
            && !matches!(
                error.kind(),
                StoreErrorKind::Full | StoreErrorKind::ReadOnly
            );
        self.because(error)
    }

    /// Adds what is known about the outcome, or what to do next.
    pub(crate) fn advising(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Marks that an argument is invalid.
    pub(crate) fn of_usage(self) -> Self {
        Self {
            status: Status::Usage,
            ..self
        }
    }

    /// Marks that the change may have been made.
    pub(crate) fn uncertain(mut self) -> Self {
        self.uncertain = true;
        self
    }

    /// Marks that a server could not be reached.
    pub(crate) fn unreachable(mut self) -> Self {
        self.unreachable = true;
        self
    }

    /// Whether a server could not be reached.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// Whether the change may have been made, because the store or the server did not respond.
    pub(crate) fn is_uncertain(&self) -> bool {
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<StoreError>()
                && error.kind() == StoreErrorKind::Unavailable
            {
                return true;
            }
            cause = error.source();
        }
        self.uncertain
    }

    /// Adds what to do if the change may have been made.
    pub(crate) fn advising_if_uncertain(mut self, advice: impl FnOnce() -> String) -> Self {
        if self.is_uncertain() {
            self.advice = Some(advice());
        }
        self
    }

    /// Replaces the message with what happened to the token that could not be printed, and adds what
    /// to do about it.
    pub(crate) fn unprinted(self, message: String, advice: String) -> Self {
        Self {
            message,
            advice: Some(advice),
            output: None,
            ..self
        }
    }

    /// Adds that nothing was changed, if the output could not be written before.
    pub(crate) fn before_change(mut self) -> Self {
        if self.output.take().is_some() {
            self.advice = Some("Nothing was changed.".into());
        }
        self
    }

    /// Adds that the change was made, if only printing it failed.
    pub(crate) fn after_change(mut self) -> Self {
        if self.output.is_some() {
            self.output = Some(io::ErrorKind::Other);
            self.advice = Some("The command itself succeeded; only its output is missing.".into());
        }
        self
    }

    /// Prints the failure to standard error, with the origins of the options that it names, and returns its exit code. It is not a failure if the
    /// reader of the output stops early, as `head` does.
    pub(crate) fn report(&self, origins: &Origins) -> ExitCode {
        if self.output == Some(io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        let mut text = format!("error: {}", self.message);
        let mut cause = self.source.as_deref().map(|source| source as &dyn Error);
        while let Some(error) = cause {
            let message = error.to_string();
            let message = message
                .strip_prefix("error returned from database: ")
                .unwrap_or(&message);
            let hidden = self.hides_store_kind && error.is::<StoreError>();
            // Messages often include that of their cause.
            if !hidden && !text.contains(message) {
                text += &format!(": {message}");
            }
            cause = error.source();
        }
        note(&origins.name(&text));
        if let Some(advice) = &self.advice {
            note(&origins.name(advice));
        }
        self.status.into()
    }
}

/// The failure to create a new file.
pub(crate) fn cannot_create(path: &Path, error: io::Error) -> Failure {
    let (message, advice) = match error.kind() {
        io::ErrorKind::AlreadyExists => (
            format!("`{}` already exists", path.display()),
            "Existing files are never overwritten. Choose another file.",
        ),
        _ => (
            format!("cannot create `{}`: {error}", path.display()),
            "Choose a file in an existing directory that you can write to.",
        ),
    };
    Failure::failed(message).advising(advice)
}

impl From<LifecycleError> for Failure {
    fn from(error: LifecycleError) -> Self {
        Self::of_operation(error.kind().into(), error)
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        Self::of_operation(error.kind().into(), error)
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
impl Failure {
    pub(crate) fn status(&self) -> Status {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
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
