//! Both limits, in front of the same service.

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use example_rate_limits::{
    plans::{PLANS, PlanLimits},
    refusals::RefusalLimit,
    service,
};
use governor::{Quota, clock::FakeRelativeClock};
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_api_tokens::{
    AppEdit, AppId, Metadata, MetadataPatch, NewToken, StoreErrorKind, SystemEntropy, TokenFormat,
    testing::{Fault, Fixture},
};

const HERE: &str = "192.0.2.1:40000";
const ELSEWHERE: &str = "192.0.2.2:40000";

const REFUSALS: u32 = 10;

struct Service {
    fixture: Fixture,
    clock: FakeRelativeClock,
    refusals: Arc<RefusalLimit<FakeRelativeClock>>,
    router: Router,
}

impl Service {
    async fn start() -> Self {
        let fixture = Fixture::new().await;
        let clock = FakeRelativeClock::default();
        let burst = NonZeroU32::new(REFUSALS).unwrap();
        let quota = Quota::per_second(NonZeroU32::MIN).allow_burst(burst);
        let refusals = Arc::new(RefusalLimit::new(quota, clock.clone()));
        let plans = PlanLimits::new();
        let router = service(&fixture.tokens, &plans, Arc::clone(&refusals));
        let service = Self {
            fixture,
            clock,
            refusals,
            router,
        };
        // A plan that no test exceeds.
        service.set_plan(&service.app(), "enterprise").await;
        service
    }

    fn app(&self) -> AppId {
        self.fixture.app().id
    }

    async fn set_plan(&self, app: &AppId, plan: &str) {
        let edit = AppEdit::default().metadata(MetadataPatch::default().set("plan", plan));
        let edited = self.fixture.tokens.edit_app(app, None, edit).await;
        edited.unwrap();
    }

    async fn bearer_of(&self, app: &AppId) -> String {
        let issued = self.fixture.issue(app, NewToken::named("another")).await;
        format!("Bearer {}", issued.token().expose())
    }

    async fn send(&self, from: &str, authorization: &str) -> Response {
        let mut request = Request::get("/invoices").body(Body::empty()).unwrap();
        let peer: SocketAddr = from.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        if !authorization.is_empty() {
            let value = authorization.parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn status(&self, from: &str, authorization: &str) -> StatusCode {
        self.send(from, authorization).await.status()
    }

    /// Returns the number of admitted requests until the first that is not.
    async fn admitted(&self, authorization: &str) -> u32 {
        let mut admitted = 0;
        while self.status(HERE, authorization).await == StatusCode::OK {
            admitted += 1;
        }
        admitted
    }

    /// Sends unknown tokens until the address is blocked.
    async fn flood(&self, from: &str) {
        for _ in 0..=REFUSALS {
            let status = self.status(from, &unknown()).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
    }
}

/// A token that is well formed, so that it is looked up.
fn unknown() -> String {
    let format = TokenFormat::new("acme").unwrap();
    let token = format.generate(&SystemEntropy::default()).unwrap();
    format!("Bearer {}", token.expose())
}

async fn expect_too_many(response: Response) -> u64 {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let headers = response.headers();
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    let seconds = headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains(r#""status":429"#), "{body}");
    seconds
}

#[tokio::test]
async fn each_plan_has_its_own_limit() {
    let service = Service::start().await;
    let [free, pro, _] = PLANS;
    for (name, plan) in [("free", free), ("pro", pro), ("unheard of", free)] {
        let app = service.fixture.create_app(name).await;
        service.set_plan(&app.id, name).await;
        let bearer = service.bearer_of(&app.id).await;
        let admitted = service.admitted(&bearer).await;
        // While it is exhausted, a request may be added.
        assert!(
            (plan.burst..=plan.burst * 2).contains(&admitted),
            "{name}: {admitted}"
        );
        let seconds = expect_too_many(service.send(HERE, &bearer).await).await;
        assert!(
            (1..=plan.every.as_secs() + 1).contains(&seconds),
            "{name}: {seconds}"
        );
    }
}

#[tokio::test]
async fn tokens_of_an_app_share_its_limit_and_apps_do_not() {
    let service = Service::start().await;
    let [app, other] = [
        service.fixture.create_app("a").await.id,
        service.fixture.create_app("b").await.id,
    ];
    let bearer = service.bearer_of(&app).await;
    service.admitted(&bearer).await;
    let same_app = service.bearer_of(&app).await;
    expect_too_many(service.send(ELSEWHERE, &same_app).await).await;
    let other_app = service.bearer_of(&other).await;
    assert_eq!(service.status(HERE, &other_app).await, StatusCode::OK);
}

#[tokio::test]
async fn another_plan_applies_from_the_next_request_on() {
    let service = Service::start().await;
    let app = service.fixture.create_app("a").await.id;
    let bearer = service.bearer_of(&app).await;
    service.admitted(&bearer).await;
    service.set_plan(&app, "pro").await;
    assert_eq!(service.status(HERE, &bearer).await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_cannot_choose_the_plan_of_its_app() {
    for plan in [Some("free"), None] {
        let service = Service::start().await;
        let app = service.fixture.create_app("a").await.id;
        if let Some(plan) = plan {
            service.set_plan(&app, plan).await;
        }
        let chosen = Metadata::new([("plan", "enterprise")]).unwrap();
        let new = NewToken::named("b").metadata(chosen);
        let issued = service.fixture.issue(&app, new).await;
        let bearer = format!("Bearer {}", issued.token().expose());
        let admitted = service.admitted(&bearer).await;
        assert!(admitted <= PLANS[0].burst * 2, "{plan:?}: {admitted}");
    }
}

#[tokio::test]
async fn a_client_that_sends_many_unknown_tokens_is_refused_without_a_lookup() {
    let service = Service::start().await;
    service.flood(HERE).await;
    let finds = service.fixture.store.finds();
    for _ in 0..1_000 {
        let seconds = expect_too_many(service.send(HERE, &unknown()).await).await;
        assert_eq!(seconds, 1);
    }
    assert_eq!(service.fixture.store.finds(), finds);
    service.clock.advance(Duration::from_secs(1));
    let status = service.status(HERE, &unknown()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_clients_of_that_address_have_to_wait() {
    let service = Service::start().await;
    let bearer = service.fixture.bearer();
    service.flood(HERE).await;
    assert_eq!(service.status(ELSEWHERE, &bearer).await, StatusCode::OK);
    // They share the address.
    expect_too_many(service.send(HERE, &bearer).await).await;
    service.clock.advance(Duration::from_secs(1));
    assert_eq!(service.status(HERE, &bearer).await, StatusCode::OK);
}

#[tokio::test]
async fn admitted_requests_do_not_count_as_refusals() {
    let service = Service::start().await;
    let bearer = service.fixture.bearer();
    for _ in 0..REFUSALS * 10 {
        assert_eq!(service.status(HERE, &bearer).await, StatusCode::OK);
    }
    service.flood(HERE).await;
}

#[tokio::test]
async fn requests_over_the_limit_of_their_plan_do_not_count_as_refusals() {
    let service = Service::start().await;
    let app = service.fixture.create_app("a").await.id;
    let exhausted = service.bearer_of(&app).await;
    for _ in 0..REFUSALS * 10 {
        service.status(HERE, &exhausted).await;
    }
    let bearer = service.fixture.bearer();
    assert_eq!(service.status(HERE, &bearer).await, StatusCode::OK);
}

#[tokio::test]
async fn missing_and_malformed_credentials_count() {
    for authorization in ["", "Bearer a b", "Bearer acme_x"] {
        let service = Service::start().await;
        for _ in 0..=REFUSALS {
            assert!(service.status(HERE, authorization).await.is_client_error());
        }
        expect_too_many(service.send(HERE, authorization).await).await;
    }
}

#[tokio::test]
async fn a_failing_store_does_not_count() {
    let service = Service::start().await;
    let fault = Fault::Error(StoreErrorKind::Unavailable);
    service.fixture.store.set_fault(fault);
    for _ in 0..REFUSALS * 10 {
        let status = service.status(HERE, &unknown()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn an_ipv6_network_of_64_bits_is_one_client() {
    let service = Service::start().await;
    for host in 0..=REFUSALS {
        let from = format!("[2001:db8:0:1::{host:x}]:40000");
        service.status(&from, &unknown()).await;
    }
    expect_too_many(service.send("[2001:db8:0:1:ffff::]:1", &unknown()).await).await;
    let status = service.status("[2001:db8:0:2::1]:1", &unknown()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_mapped_address_is_the_ipv4_address() {
    let service = Service::start().await;
    service.flood(HERE).await;
    expect_too_many(service.send("[::ffff:192.0.2.1]:1", &unknown()).await).await;
    let status = service.status("[::ffff:192.0.2.2]:1", &unknown()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn sweeping_ends_no_block() {
    let service = Service::start().await;
    service.flood(HERE).await;
    service.refusals.sweep();
    expect_too_many(service.send(HERE, &unknown()).await).await;
}
