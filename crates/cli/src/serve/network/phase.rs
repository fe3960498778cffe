//! The phases of a server's life.

/// What a server is doing. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::serve) enum Phase {
    /// It accepts connections.
    Serving,
    /// It is about to stop, and still accepts connections until load balancers have noticed.
    Draining,
    /// It accepts no more connections, and finishes requests in progress.
    Finishing,
    /// All requests are finished or were cut off. Only listeners for operators are still served.
    Stopped,
}
