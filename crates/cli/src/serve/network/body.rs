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

use super::{
    limit::{Busy, Permit},
    streams::{response_begins, response_waits},
};

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
    /// Uses it for the next body.
    pub(super) fn reset(&self) {
        self.0.store(0, Relaxed);
    }

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

/// The body of a request, or `None` if it has none.
pub(in crate::serve) struct RequestBody(Option<Limited>);

/// A body that is limited in size and time.
struct Limited {
    incoming: Incoming,
    remaining: u64,
    time: Time,
    verdict: Verdict,
    permit: Permit,
    /// It was waited for.
    awaited: bool,
    read: bool,
}

/// What limits the time for a body, from when it is first waited for.
pub(super) enum Time {
    /// HTTP/1: the driver of the connection, which gives the body up. It polls the request itself, so nothing else has
    /// to wake it.
    OfConnection,
    /// HTTP/2, whose requests run in tasks of their own.
    OfStream {
        timeout: Duration,
        deadline: Option<Pin<Box<Sleep>>>,
    },
}

impl RequestBody {
    pub(super) const EMPTY: Self = Self(None);

    pub(super) fn new(incoming: Incoming, time: Time, verdict: Verdict, permit: Permit) -> Self {
        Self(Some(Limited {
            incoming,
            remaining: MAX_BODY,
            time,
            verdict,
            permit,
            awaited: false,
            read: false,
        }))
    }
}

impl From<RequestBody> for Body {
    fn from(body: RequestBody) -> Self {
        match body.0 {
            Some(limited) => Self::new(RequestBody(Some(limited))),
            None => Self::empty(),
        }
    }
}

impl Limited {
    /// Waits for more, unless that takes too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if !self.awaited {
            self.awaited = true;
            self.permit.body_waits();
        }
        match &mut self.time {
            Time::OfConnection if self.permit.body_is_overdue() => {}
            Time::OfConnection => return Poll::Pending,
            Time::OfStream { timeout, deadline } => {
                let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(*timeout)));
                ready!(deadline.as_mut().poll(cx));
            }
        }
        self.fail(Fault::TooSlow)
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
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(&mut body.incoming).poll_frame(cx) else {
            return body.wait(cx);
        };
        let Some(frame) = frame else {
            body.read = true;
            return Poll::Ready(None);
        };
        let frame = frame?;
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(remaining) = body.remaining.checked_sub(len) else {
            return body.fail(Fault::TooLarge);
        };
        body.remaining = remaining;
        body.read = body.incoming.is_end_stream();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|body| body.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Some(body) => body.incoming.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        if self.awaited {
            self.permit.body_ends();
        }
        if !self.read {
            self.permit.leaves_unread();
        }
    }
}

/// The body of a response. The request is in progress until it is dropped.
pub(super) struct ResponseBody {
    body: Body,
    /// It has nothing to send at the moment.
    waits: bool,
    /// A part of it was sent before.
    begun: bool,
    busy: Busy,
}

impl ResponseBody {
    pub(super) fn new(body: Body, busy: Busy) -> Self {
        busy.response_begins();
        Self {
            body,
            waits: false,
            begun: false,
            busy,
        }
    }

    /// Notes whether the client has something to accept now.
    fn note(&mut self, waits: bool) {
        if waits != self.waits {
            self.waits = waits;
            match waits {
                true => {
                    response_waits();
                    self.busy.response_ends();
                }
                false => {
                    response_begins();
                    self.busy.response_begins();
                }
            }
        }
        // The next part is asked for when the client has accepted enough of those before.
        if self.begun {
            self.busy.response_proceeds();
        }
        self.begun |= !waits;
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.note(frame.is_pending());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if !self.waits {
            self.busy.response_ends();
        }
    }
}
