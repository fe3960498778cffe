//! A limit for the refused requests of a client's address. Once an address has sent too many, all of its
//! requests are refused for a short time, without a lookup. Admitted requests do not count.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::DefaultKeyedStateStore,
};
use tower_api_tokens::{Rejection, RejectionKind};

use crate::too_many_requests;

type Limiter<C> =
    RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The refused requests of each client.
pub struct RefusalLimit<C: Clock = DefaultClock> {
    limiter: Limiter<C>,
    clock: C,
    /// Until when the requests of a client are refused.
    blocked: Mutex<HashMap<IpAddr, C::Instant>>,
}

impl<C: Clock + Clone> RefusalLimit<C> {
    /// Allows each client this many refused requests.
    pub fn new(quota: Quota, clock: C) -> Self {
        Self {
            limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            blocked: Mutex::default(),
        }
    }

    /// Returns for how many seconds the requests of a client are still refused.
    fn blocked_for(&self, client: IpAddr) -> Option<u64> {
        use governor::clock::Reference;

        let until = *self.blocked().get(&client)?;
        let now = self.clock.now();
        let left = until.duration_since(now).as_u64();
        (until > now).then(|| left.div_ceil(1_000_000_000))
    }

    /// Counts a refused request of a client.
    fn count(&self, client: IpAddr) {
        if let Err(exceeded) = self.limiter.check_key(&client) {
            let until = exceeded.earliest_possible();
            self.blocked().insert(client, until);
        }
    }

    /// Removes the clients whose refused requests no longer matter. Call it from time to time.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
        let now = self.clock.now();
        self.blocked().retain(|_, until| *until > now);
    }

    fn blocked(&self) -> MutexGuard<'_, HashMap<IpAddr, C::Instant>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses the requests of clients with too many refused requests.
pub async fn limit_refusals<C>(
    State(limit): State<Arc<RefusalLimit<C>>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response
where
    C: Clock + Clone + Send + Sync + 'static,
{
    let client = client(peer.ip());
    if let Some(seconds) = limit.blocked_for(client) {
        return too_many_requests(seconds, "too many requests without a valid token");
    }
    let response = next.run(request).await;
    let rejection = response.extensions().get::<Rejection>();
    if rejection.is_some_and(is_of_credential) {
        limit.count(client);
    }
    response
}

/// Whether the credential was refused. A store that fails is not the client's fault, and a token that lacks
/// a scope is live.
fn is_of_credential(rejection: &Rejection) -> bool {
    let kind = rejection.kind();
    !kind.is_unavailable() && kind != RejectionKind::InsufficientScope
}

/// Returns what is counted as one client: an IPv4 address, or an IPv6 network of 64 bits, because a host can
/// use every address of its own.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}
