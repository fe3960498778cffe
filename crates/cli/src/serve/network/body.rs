//! Bodies of requests, limited in size and time, and bodies of responses that count as requests in progress.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{BoxError, body::Body};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_TYPE},
};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use serde_json::json;
use tokio::time::{Sleep, sleep};

use super::limit::{Busy, Permit};

/// The maximum size of a request body in bytes, more than any endpoint accepts.
pub(super) const MAX_BODY: u64 = 1 << 20;

/// Why the body of a request was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge = 1,
    TooSlow = 2,
}

/// The fault of a body, if it has one, shared with the request that responds to it.
#[derive(Clone, Default)]
pub(super) struct Verdict(Arc<AtomicU8>);

impl Verdict {
    pub(super) fn get(&self) -> Option<Fault> {
        match self.0.load(Relaxed) {
            0 => None,
            1 => Some(Fault::TooLarge),
            _ => Some(Fault::TooSlow),
        }
    }
}

impl Fault {
    /// The response, after which the connection is closed.
    pub(super) fn response(self, version: Version) -> Response<Body> {
        let (status, title, detail) = match self {
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "Payload Too Large",
                "the request body is too large",
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "Request Timeout",
                "the request body did not arrive in time",
            ),
        };
        let problem = json!({
            "type": "about:blank",
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
        });
        let mut response = Response::new(problem.to_string().into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, json);
        // HTTP/2 only ends the stream.
        if version < Version::HTTP_2 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The body of a request.
pub(super) struct RequestBody {
    incoming: Incoming,
    remaining: u64,
    deadline: Pin<Box<Sleep>>,
    verdict: Verdict,
    permit: Permit,
    read: bool,
}

impl RequestBody {
    /// Returns the body, and the verdict on it. The time runs from now.
    pub(super) fn new(incoming: Incoming, timeout: Duration, permit: Permit) -> (Self, Verdict) {
        let verdict = Verdict::default();
        let body = Self {
            incoming,
            remaining: MAX_BODY,
            deadline: Box::pin(sleep(timeout)),
            verdict: verdict.clone(),
            permit,
            read: false,
        };
        (body, verdict)
    }

    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.verdict.0.store(fault as u8, Relaxed);
        let message = match fault {
            Fault::TooLarge => "the request body is too large",
            Fault::TooSlow => "the request body did not arrive in time",
        };
        Poll::Ready(Some(Err(message.into())))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            ready!(self.deadline.as_mut().poll(cx));
            return self.fail(Fault::TooSlow);
        };
        let Some(frame) = frame else {
            self.read = true;
            return Poll::Ready(None);
        };
        let frame = frame?;
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(remaining) = self.remaining.checked_sub(len) else {
            return self.fail(Fault::TooLarge);
        };
        self.remaining = remaining;
        self.read = self.incoming.is_end_stream();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.read {
            self.permit.leaves_unread();
        }
    }
}

/// The body of a response. The request is in progress until it is dropped.
pub(super) struct ResponseBody {
    body: Body,
    _busy: Busy,
}

impl ResponseBody {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
