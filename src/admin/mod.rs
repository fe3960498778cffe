//! Managing apps and tokens: the operations, who may do them, and the trail that they leave.

mod actor;
mod audit;
mod guard;
mod operations;

pub use actor::Actor;
pub use audit::{AuditSink, JsonLines};
pub use guard::{Denied, Guard, TokenGuard};
pub use operations::{
    OperationError, OperationErrorKind, Operations, Operator, RequestKey, RequestKeyError,
};
