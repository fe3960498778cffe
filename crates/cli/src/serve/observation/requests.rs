//! Metrics of requests. Labels are closed sets, and never contain anything of a request.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

use super::endpoint::Endpoint;

pub(in crate::serve) const REQUESTS: &str = "api_tokens_http_requests_total";
pub(in crate::serve) const DURATION: &str = "api_tokens_http_request_duration_seconds";

/// The classes of statuses. Requests whose client went away have no status.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts requests by endpoint and class of status, and measures their latency by endpoint.
#[derive(Clone)]
pub(in crate::serve) struct Requests(Arc<[OfEndpoint; Endpoint::ALL.len()]>);

struct OfEndpoint {
    counts: [Counter; CLASSES.len()],
    duration: Histogram,
}

impl Requests {
    /// Registers the metrics. A recorder must be installed before.
    pub(in crate::serve) fn register() -> Self {
        describe_counter!(
            REQUESTS,
            Unit::Count,
            "Requests by endpoint and class of status."
        );
        describe_histogram!(DURATION, Unit::Seconds, "Time to the head of the response.");
        Self(Arc::new(Endpoint::ALL.map(|endpoint| OfEndpoint {
            counts:
                CLASSES.map(
                    |class| counter!(REQUESTS, "endpoint" => endpoint.name(), "status" => class),
                ),
            duration: histogram!(DURATION, "endpoint" => endpoint.name()),
        })))
    }

    pub(super) fn count(&self, endpoint: Endpoint, status: Option<StatusCode>, took: Duration) {
        let of_endpoint = &self.0[endpoint as usize];
        let class = status.map_or(0, |status| usize::from(status.as_u16() / 100));
        if let Some(count) = of_endpoint.counts.get(class) {
            count.increment(1);
        }
        of_endpoint.duration.record(took);
    }
}
