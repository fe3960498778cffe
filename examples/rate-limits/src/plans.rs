//! A limit for each plan. All tokens of an app share its limit, so rotating a token does not reset it.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use governor::middleware::NoOpMiddleware;
use tower_api_tokens::{AppId, AppPrincipal};
use tower_governor::{
    GovernorError, GovernorLayer,
    governor::{GovernorConfig, GovernorConfigBuilder},
    key_extractor::KeyExtractor,
};

use crate::too_many_requests;

/// A plan, and how many requests its customers may send.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The value of the metadata key `plan` of an app. That of a token does not count, because its customer may
    /// have chosen it.
    pub name: &'static str,
    /// How many requests an app may send at once.
    pub burst: u32,
    /// How long it takes until an app may send another one.
    pub every: Duration,
}

/// The plans. Apps with no plan, or an unknown one, get the first.
pub const PLANS: [Plan; 3] = [
    Plan {
        name: "free",
        burst: 5,
        every: Duration::from_secs(12),
    },
    Plan {
        name: "pro",
        burst: 50,
        every: Duration::from_millis(100),
    },
    Plan {
        name: "enterprise",
        burst: 1_000,
        every: Duration::from_millis(1),
    },
];

/// Returns which of the plans the app of a request has.
pub fn index_of(request: &Request) -> usize {
    let principal = request.extensions().get::<AppPrincipal>();
    let name = principal.and_then(|principal| principal.app_metadata("plan"));
    let index = PLANS.iter().position(|plan| Some(plan.name) == name);
    index.unwrap_or(0)
}

/// The requests of each app, by plan.
pub struct PlanLimits([PlanLimit; PLANS.len()]);

/// The requests of the apps with one plan.
pub struct PlanLimit(Arc<GovernorConfig<ByApp, NoOpMiddleware>>);

impl PlanLimits {
    /// Begins to count.
    pub fn new() -> Self {
        Self(PLANS.map(|plan| {
            let config = GovernorConfigBuilder::default()
                .period(plan.every)
                .burst_size(plan.burst)
                .key_extractor(ByApp)
                .finish();
            PlanLimit(Arc::new(config.expect("no plan is zero")))
        }))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PlanLimit> {
        self.0.iter()
    }

    /// Removes the apps that may send a full burst again. Call it from time to time.
    pub fn sweep(&self) {
        for PlanLimit(config) in self.iter() {
            config.limiter().retain_recent();
        }
    }
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl PlanLimit {
    pub(crate) fn layer(&self) -> GovernorLayer<ByApp, NoOpMiddleware, Body> {
        GovernorLayer::new(Arc::clone(&self.0)).error_handler(refuse)
    }
}

/// Counts the requests of an app together.
#[derive(Clone, Copy, Debug)]
pub struct ByApp;

impl KeyExtractor for ByApp {
    type Key = AppId;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<AppId, GovernorError> {
        // Without the layer for API tokens outside, every request gets 500.
        let principal = request.extensions().get::<AppPrincipal>();
        let app = principal.map(|principal| *principal.app_id());
        app.ok_or(GovernorError::UnableToExtractKey)
    }
}

fn refuse(error: GovernorError) -> Response {
    match error {
        // `tower_governor` rounds down, and a client that waits for 0 seconds is refused again.
        GovernorError::TooManyRequests { wait_time, .. } => {
            too_many_requests(wait_time + 1, "your plan allows fewer requests")
        }
        other => other.into(),
    }
}
