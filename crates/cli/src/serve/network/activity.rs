//! What a connection is doing, and when it has taken too long.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
        },
    },
    task::Waker,
    time::Duration,
};

use tokio::time::Instant;

use super::since::Since;

/// How long each part of a connection may take.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// The handshake of TLS.
    pub(super) handshake: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// From the first byte of a request head to its last.
    pub(super) head: Duration,
    /// From when the body of a request is first waited for to its last byte.
    pub(super) body: Duration,
    /// Without progress in writing a response.
    pub(super) write: Duration,
}

#[cfg(test)]
impl Timeouts {
    /// The default ones of the command line.
    pub(super) const DEFAULT: Self = Self {
        handshake: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        write: Duration::from_secs(30),
    };
}

/// How long the end of a connection may take: the goodbyes of TLS and HTTP/2, and waiting until the client
/// has read the last response.
pub(super) const CLOSING: Duration = Duration::from_secs(3);

/// A timeout that a connection exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Idle,
    Head,
    /// The request is answered.
    Body,
    Write,
    Closing,
}

/// What a connection has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Proceed,
    /// Finish requests in progress, and close.
    Finish,
    /// Close immediately.
    Close,
}

/// The state of a connection. It is written by the task that drives the connection and by the requests on
/// it, and read by the connection limit.
///
/// Nothing here reads the clock for what is over before the connection has to wait: a time only begins when the
/// driver asks for the next [deadline](Self::deadline).
pub(super) struct Activity {
    started: Instant,
    /// The number of requests in progress.
    requests: AtomicU32,
    /// A request was answered before. Connections of proxies have this set, and those of an attacker
    /// who never completes a request do not.
    served: AtomicBool,
    /// When it became idle. Meaningful while no request is in progress.
    idle: Since,
    /// When the first byte of an incomplete request head arrived.
    head: Since,
    /// The number of bodies that were waited for and are not complete, and when the first of them was. Those of HTTP/2
    /// have timers of their own.
    bodies: AtomicU32,
    body: Since,
    /// The body of the HTTP/1 request takes too long.
    body_is_overdue: AtomicBool,
    /// The number of responses with a part that the client has to accept. It matters for HTTP/2, where a
    /// client can accept one response and not another.
    responses: AtomicU32,
    /// When it was first seen that all requests of HTTP/2 wait for the client.
    stalled: Since,
    /// When the client stopped accepting a response.
    write: Since,
    /// When it began to close.
    closing: Since,
    /// The client may still be sending a request that is not read.
    unread: AtomicBool,
    /// Requests run in tasks of their own.
    multiplexed: AtomicBool,
    order: AtomicU8,
    /// Wakes the task that drives the connection.
    driver: Mutex<Option<Waker>>,
}

impl Activity {
    pub(super) fn new(started: Instant) -> Self {
        let activity = Self {
            started,
            requests: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle: Since::default(),
            head: Since::default(),
            bodies: AtomicU32::new(0),
            body: Since::default(),
            body_is_overdue: AtomicBool::new(false),
            responses: AtomicU32::new(0),
            stalled: Since::default(),
            write: Since::default(),
            closing: Since::default(),
            unread: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            order: AtomicU8::new(0),
            driver: Mutex::new(None),
        };
        activity.idle.set(activity.now());
        activity
    }

    /// Milliseconds since the start, at least 1.
    pub(super) fn now(&self) -> u64 {
        milliseconds(self.started.elapsed()).max(1)
    }

    /// The time that is this many milliseconds after the start.
    pub(super) fn at(&self, milliseconds: u64) -> Instant {
        self.started + Duration::from_millis(milliseconds)
    }

    pub(super) fn request_begins(&self) {
        self.head.clear();
        self.unread.store(false, Relaxed);
        self.body_is_overdue.store(false, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn request_ends(&self) {
        // Set before the count, so that nobody takes the connection for idle since its last request.
        self.idle.begin();
        self.served.store(true, Relaxed);
        let last = self.requests.fetch_sub(1, SeqCst) == 1;
        if last && self.multiplexed.load(Relaxed) {
            // The driver may have seen the request in progress, and then nothing else wakes it.
            self.wake_driver();
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        // In the same order for all threads as the number of those that wait for an idle connection.
        self.requests.load(SeqCst) > 0
    }

    /// The body of a request is waited for.
    pub(super) fn body_waits(&self) {
        if self.bodies.fetch_add(1, Relaxed) == 0 {
            self.body.begin();
        }
    }

    /// A body that was waited for is complete, or no one reads it.
    pub(super) fn body_ends(&self) {
        if self.bodies.fetch_sub(1, Relaxed) == 1 {
            self.body.clear();
        }
    }

    /// A part of a response exists that the client has to accept.
    pub(super) fn response_begins(&self) {
        self.responses.fetch_add(1, Relaxed);
    }

    /// The client has accepted a part of a response.
    pub(super) fn response_proceeds(&self) {
        self.stalled.clear();
    }

    /// The client has nothing of a response to accept any more, or for now.
    pub(super) fn response_ends(&self) {
        self.responses.fetch_sub(1, Relaxed);
    }

    /// Returns since when all requests wait for the client: to accept bytes, or to send a body.
    pub(super) fn awaits_client_since(&self, now: u64) -> Option<u64> {
        let requests = match self.multiplexed.load(Relaxed) {
            true => self.streams_await_client_since(now),
            false => self.body.at(now),
        };
        let write = self.write.at(now);
        write.into_iter().chain(requests).min()
    }

    /// Returns since when all requests of HTTP/2 were seen to wait for the client. Requests that begin and end
    /// between two calls do not count, because a client could hold the connection with one after another.
    fn streams_await_client_since(&self, now: u64) -> Option<u64> {
        let requests = self.requests.load(SeqCst);
        let waiting = self.bodies.load(Relaxed) + self.responses.load(Relaxed);
        if requests == 0 || waiting < requests {
            self.stalled.clear();
            return None;
        }
        if !self.stalled.is_set() {
            self.stalled.begin();
        }
        self.stalled.at(now)
    }

    /// The body of the HTTP/1 request is given up.
    pub(super) fn give_up_body(&self) {
        self.body.clear();
        self.body_is_overdue.store(true, Relaxed);
    }

    pub(super) fn body_is_overdue(&self) -> bool {
        self.body_is_overdue.load(Relaxed)
    }

    /// Whether no request is in progress, and all responses are sent. A request ends when its response is
    /// buffered, which may be long before the client has read it.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy() && !self.write.is_set()
    }

    /// The order in which idle connections are closed for new ones.
    pub(super) fn worth(&self) -> (bool, u64) {
        (self.served.load(Relaxed), self.idle.rank())
    }

    /// The connection speaks HTTP/2: requests run in tasks of their own, and what arrives between them
    /// need not be the beginning of a request.
    pub(super) fn is_multiplexed(&self) {
        self.head.clear();
        self.multiplexed.store(true, Relaxed);
    }

    /// Bytes arrived.
    pub(super) fn bytes_arrive(&self) {
        let between_requests = !self.is_busy() && !self.multiplexed.load(Relaxed);
        if between_requests && !self.head.is_set() {
            self.head.begin();
        }
    }

    /// The client accepts no more bytes for now.
    pub(super) fn write_blocks(&self) {
        if !self.write.is_set() {
            self.write.begin();
        }
    }

    pub(super) fn write_proceeds(&self) {
        if self.write.is_set() {
            self.write.clear();
            self.idle.begin();
        }
    }

    pub(super) fn closes(&self) {
        if !self.closing.is_set() {
            self.closing.begin();
        }
    }

    /// The rest of a request will not be read.
    pub(super) fn leaves_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Whether the client may still be sending, so that closing could destroy the response.
    pub(super) fn may_be_sending(&self) -> bool {
        self.unread.load(Relaxed) || self.head_begins()
    }

    /// Whether a part of a request head has arrived.
    pub(super) fn head_begins(&self) -> bool {
        self.head.is_set()
    }

    /// Returns which timeout comes next, and when, in milliseconds since the start. Apart from the body, none applies
    /// while a request is processed.
    pub(super) fn deadline(&self, now: u64, timeouts: &Timeouts) -> Option<(u64, Overdue)> {
        let at = |since: &Since, timeout, overdue| {
            let at = since.at(now)?.saturating_add(milliseconds(timeout));
            Some((at, overdue))
        };
        let write = at(&self.write, timeouts.write, Overdue::Write);
        let request = || {
            let head = at(&self.head, timeouts.head, Overdue::Head);
            head.or_else(|| at(&self.idle, timeouts.idle, Overdue::Idle))
        };
        let waiting = match self.is_busy() {
            true if self.multiplexed.load(Relaxed) => None,
            true => at(&self.body, timeouts.body, Overdue::Body),
            false => at(&self.closing, CLOSING, Overdue::Closing)
                .or_else(|| self.is_idle().then(request).flatten()),
        };
        write.into_iter().chain(waiting).min_by_key(|(at, _)| *at)
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Acquire) {
            0 => Order::Proceed,
            1 => Order::Finish,
            _ => Order::Close,
        }
    }

    /// Gives an order, unless a stricter one was given before.
    pub(super) fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, AcqRel);
        self.wake_driver();
    }

    /// Sets the task to wake whenever an order was given or the last request has ended.
    pub(super) fn driven_by(&self, waker: &Waker) {
        // No code panics while holding the lock.
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        *driver = Some(waker.clone());
    }

    fn wake_driver(&self) {
        let driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driver) = &*driver {
            driver.wake_by_ref();
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// The next timeout, and in how many seconds it is exceeded.
    fn next(activity: &Activity) -> Option<(u64, Overdue)> {
        let (at, overdue) = activity.deadline(activity.now(), &Timeouts::DEFAULT)?;
        // Times are kept in milliseconds, beginning with 1.
        let remaining = activity.at(at).duration_since(Instant::now());
        Some((remaining.as_secs_f64().round() as u64, overdue))
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_of_a_connection_has_its_timeout() {
        let activity = Activity::new(Instant::now());
        assert_eq!(next(&activity), Some((75, Overdue::Idle)));
        advance(Duration::from_secs(5)).await;
        activity.bytes_arrive();
        assert_eq!(next(&activity), Some((10, Overdue::Head)));
        advance(Duration::from_secs(4)).await;
        // Another byte gives no more time.
        activity.bytes_arrive();
        assert_eq!(next(&activity), Some((6, Overdue::Head)));
        activity.request_begins();
        assert_eq!(next(&activity), None);
        activity.body_waits();
        assert_eq!(next(&activity), Some((30, Overdue::Body)));
        advance(Duration::from_secs(5)).await;
        assert_eq!(next(&activity), Some((25, Overdue::Body)));
        activity.body_ends();
        assert_eq!(next(&activity), None);
        activity.write_blocks();
        assert_eq!(next(&activity), Some((30, Overdue::Write)));
        advance(Duration::from_secs(10)).await;
        activity.write_blocks();
        assert_eq!(next(&activity), Some((20, Overdue::Write)));
        activity.write_proceeds();
        assert_eq!(next(&activity), None);
        activity.request_ends();
        assert_eq!(next(&activity), Some((75, Overdue::Idle)));
        activity.write_blocks();
        assert_eq!(next(&activity), Some((30, Overdue::Write)));
        activity.write_proceeds();
        activity.closes();
        assert_eq!(next(&activity), Some((CLOSING.as_secs(), Overdue::Closing)));
    }

    #[tokio::test]
    async fn of_several_requests_the_last_one_makes_the_connection_idle() {
        let activity = Activity::new(Instant::now());
        activity.request_begins();
        activity.request_begins();
        activity.request_ends();
        assert!(activity.is_busy());
        activity.request_ends();
        assert!(!activity.is_busy());
    }

    #[tokio::test]
    async fn an_order_is_never_weakened() {
        let activity = Activity::new(Instant::now());
        assert_eq!(activity.order(), Order::Proceed);
        activity.give(Order::Close);
        activity.give(Order::Finish);
        assert_eq!(activity.order(), Order::Close);
    }
}
