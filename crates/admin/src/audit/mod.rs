//! Where audit events go: into the store, and to sinks.

use tower_api_tokens::AuditEvent;

mod json_lines;
mod trail;

pub use json_lines::JsonLines;

pub(super) use trail::Trail;

/// Receives every audit event, besides the store: for a log pipeline, a SIEM, a message queue.
///
/// # Contract
///
/// `record` is called on the runtime's threads, once for each event, in the order in which the
/// operations ended. It must not block: hand what takes time to a thread or a task of its own, as
/// [`JsonLines`] does. A sink that panics loses its event; the store and the other sinks get it all
/// the same.
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
    /// Takes an event.
    fn record(&self, event: &AuditEvent);
}
