//! Audit events: recorded in the store, and passed to sinks.

use tower_api_tokens::AuditEvent;

mod json_lines;
mod trail;

pub use json_lines::JsonLines;

pub(super) use trail::Trail;

/// A receiver of every audit event, in addition to the store: a log pipeline, a SIEM or a message
/// queue.
///
/// # Contract
///
/// `record` is called once for each event, on the threads of the runtime, in the order in which the
/// operations complete. It must not block: do slow work in a separate thread or task, as
/// [`JsonLines`] does. If a sink panics, it misses the event; the store and the other sinks still
/// receive it.
///
/// ```
/// use tower_api_tokens::AuditEvent;
/// use tower_api_tokens_admin::AuditSink;
///
/// struct Channel(std::sync::mpsc::Sender<AuditEvent>);
///
/// impl AuditSink for Channel {
///     fn record(&self, event: &AuditEvent) {
///         let _ = self.0.send(event.clone());
///     }
/// }
/// ```
pub trait AuditSink: Send + Sync + 'static {
    /// Receives an event. Its [`changes`](AuditEvent::changes) are empty, because only the store
    /// knows the old values.
    fn record(&self, event: &AuditEvent);
}
