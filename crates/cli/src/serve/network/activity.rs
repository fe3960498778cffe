//! What a connection is doing, and when it has taken too long.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    task::Waker,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

/// How long each part of a connection may take.
#[derive(Clone, Copy)]
pub(super) struct Timeouts {
    /// The handshake of TLS.
    pub(super) handshake: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// From the first byte of a request head to its last.
    pub(super) head: Duration,
    /// From the last byte of a request head to the last of its body.
    pub(super) body: Duration,
    /// Without progress in writing a response.
    pub(super) write: Duration,
}

/// How long the end of a connection may take: the goodbyes of TLS and HTTP/2, and waiting until the client
/// has read the last response.
pub(super) const CLOSING: Duration = Duration::from_secs(3);

/// A timeout that a connection exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Idle,
    Head,
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

/// A time in milliseconds since the start. Zero means never.
#[derive(Default)]
struct Since(AtomicU64);

/// The state of a connection. It is written by the task that drives the connection and by the requests on
/// it, and read by the connection limit.
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
    driver: AtomicWaker,
}

impl Activity {
    pub(super) fn new(started: Instant) -> Self {
        let activity = Self {
            started,
            requests: AtomicU32::new(0),
            served: AtomicBool::new(false),
            idle: Since::default(),
            head: Since::default(),
            write: Since::default(),
            closing: Since::default(),
            unread: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            order: AtomicU8::new(0),
            driver: AtomicWaker::new(),
        };
        activity.idle.set(activity.now());
        activity
    }

    /// Milliseconds since the start, at least 1.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).map_or(u64::MAX, |now| now.max(1))
    }

    pub(super) fn request_begins(&self) {
        self.head.clear();
        self.unread.store(false, Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    pub(super) fn request_ends(&self) {
        // Set before the count, so that nobody takes the connection for idle since its last request.
        self.idle.set(self.now());
        self.served.store(true, Relaxed);
        let last = self.requests.fetch_sub(1, Release) == 1;
        if last && self.multiplexed.load(Relaxed) {
            // The driver may have seen the request in progress, and then nothing else wakes it.
            self.driver.wake();
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.requests.load(Acquire) > 0
    }

    /// Whether no request is in progress, and all responses are sent. A request ends when its response is
    /// buffered, which may be long before the client has read it.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy() && !self.write.is_set()
    }

    /// The order in which idle connections are closed for new ones.
    pub(super) fn worth(&self) -> (bool, u64) {
        (self.served.load(Relaxed), self.idle.0.load(Relaxed))
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
            self.head.set(self.now());
        }
    }

    /// The client accepts no more bytes for now.
    pub(super) fn write_blocks(&self) {
        if !self.write.is_set() {
            self.write.set(self.now());
        }
    }

    pub(super) fn write_proceeds(&self) {
        if self.write.is_set() {
            self.write.clear();
            self.idle.set(self.now());
        }
    }

    pub(super) fn closes(&self) {
        if !self.closing.is_set() {
            self.closing.set(self.now());
        }
    }

    /// The rest of a request will not be read.
    pub(super) fn leaves_unread(&self) {
        self.unread.store(true, Relaxed);
    }

    /// Whether the client may still be sending, so that closing could destroy the response.
    pub(super) fn may_be_sending(&self) -> bool {
        self.unread.load(Relaxed) || self.head.is_set()
    }

    /// Returns which timeout comes next, and when. None applies while a request is processed.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Overdue)> {
        let at = |since: &Since, timeout, overdue| {
            let at = self.started + since.get()? + timeout;
            Some((at, overdue))
        };
        let write = at(&self.write, timeouts.write, Overdue::Write);
        let request = || {
            let head = at(&self.head, timeouts.head, Overdue::Head);
            head.or_else(|| at(&self.idle, timeouts.idle, Overdue::Idle))
        };
        let waiting = match self.is_busy() {
            true => None,
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
        self.driver.wake();
    }

    /// Sets the task to wake when an order was given or the last request has ended.
    pub(super) fn driven_by(&self, waker: &Waker) {
        self.driver.register(waker);
    }
}

impl Since {
    fn get(&self) -> Option<Duration> {
        match self.0.load(Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(since)),
        }
    }

    fn is_set(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    fn set(&self, now: u64) {
        self.0.store(now, Relaxed);
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        handshake: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        write: Duration::from_secs(30),
    };

    /// The next timeout, and in how many seconds it is exceeded.
    fn next(activity: &Activity) -> Option<(u64, Overdue)> {
        let (at, overdue) = activity.deadline(&TIMEOUTS)?;
        // Times are kept in milliseconds, beginning with 1.
        let remaining = at.duration_since(Instant::now()).as_secs_f64();
        Some((remaining.round() as u64, overdue))
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_of_a_connection_has_its_timeout() {
        let activity = Activity::new(Instant::now());
        assert_eq!(next(&activity), Some((75, Overdue::Idle)));
        advance(Duration::from_secs(5)).await;
        activity.bytes_arrive();
        advance(Duration::from_secs(4)).await;
        // Another byte gives no more time.
        activity.bytes_arrive();
        assert_eq!(next(&activity), Some((6, Overdue::Head)));
        activity.request_begins();
        assert_eq!(next(&activity), None);
        activity.write_blocks();
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
