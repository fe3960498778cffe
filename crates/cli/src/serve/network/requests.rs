//! Passes the requests of a connection on, and limits their bodies.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Extensions, Request, Response, Version};
use hyper::{
    body::{Body as _, Incoming},
    service::{Service, service_fn},
};
use tower_service::Service as _;

use super::{
    body::{Fault, MAX_BODY, RequestBody, ResponseBody, Time, Verdict},
    limit::Permit,
    listener::Peer,
    streams::response_begins,
};

/// What responds to the requests that a listener gets.
pub(in crate::serve) trait Respond: Clone + Send + Sync + 'static {
    /// Responds to a request. `connection` has the [`Peer`], and is shared by all requests on the connection, because
    /// extensions of each request would cost several allocations.
    fn respond(
        &self,
        request: Request<RequestBody>,
        connection: &Extensions,
    ) -> impl Future<Output = Response<Body>> + Send;
}

impl Respond for Router {
    async fn respond(
        &self,
        request: Request<RequestBody>,
        connection: &Extensions,
    ) -> Response<Body> {
        let mut request = request.map(Body::from);
        request.extensions_mut().extend(connection.clone());
        let Ok(response) = self.clone().call(request).await;
        response
    }
}

/// A service for hyper.
pub(super) trait HttpService:
    Service<
        Request<Incoming>,
        Response = Response<ResponseBody>,
        Error = Infallible,
        Future: Send + 'static,
    > + Unpin
{
}

impl<S> HttpService for S where
    S: Service<
            Request<Incoming>,
            Response = Response<ResponseBody>,
            Error = Infallible,
            Future: Send + 'static,
        > + Unpin
{
}

/// Returns the service for one connection. It counts the requests in progress.
pub(super) fn service(
    responder: impl Respond,
    peer: Peer,
    permit: Permit,
    body_timeout: Duration,
) -> impl HttpService {
    let mut extensions = Extensions::new();
    extensions.insert(peer);
    let requests = Arc::new(Requests {
        responder,
        extensions,
        permit,
        body_timeout,
        verdict: Verdict::default(),
    });
    service_fn(move |request| {
        let requests = Arc::clone(&requests);
        let busy = requests.permit.busy();
        async move {
            let response = requests.respond(request).await;
            Ok(response.map(|body| ResponseBody::new(body, busy)))
        }
    })
}

/// The requests of a connection.
struct Requests<R> {
    responder: R,
    extensions: Extensions,
    permit: Permit,
    body_timeout: Duration,
    /// The verdict on the body of an HTTP/1 request. There is only one at a time.
    verdict: Verdict,
}

impl<R: Respond> Requests<R> {
    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let version = request.version();
        let has_body = !request.body().is_end_stream();
        if has_body && request.body().size_hint().lower() > MAX_BODY {
            self.permit.leaves_unread();
            return Fault::TooLarge.response(version);
        }
        let verdict = has_body.then(|| self.verdict(version));
        let request = request.map(|incoming| match &verdict {
            Some(verdict) => {
                let time = self.time(version);
                RequestBody::new(incoming, time, verdict.clone(), self.permit.clone())
            }
            None => RequestBody::EMPTY,
        });
        let response = self.responder.respond(request, &self.extensions).await;
        if version == Version::HTTP_2 {
            response_begins();
        }
        match verdict.and_then(|verdict| verdict.get()) {
            // What the endpoint makes of a body that ends early is less useful.
            Some(fault) => fault.response(version),
            None => response,
        }
    }

    fn verdict(&self, version: Version) -> Verdict {
        if version == Version::HTTP_2 {
            return Verdict::default();
        }
        self.verdict.reset();
        self.verdict.clone()
    }

    fn time(&self, version: Version) -> Time {
        match version {
            Version::HTTP_2 => Time::OfStream {
                timeout: self.body_timeout,
                deadline: None,
            },
            _ => Time::OfConnection,
        }
    }
}
