//! A service, `authenticate` and `authenticate_head` refuse the same requests with the same bytes,
//! and count them in the same way.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, request::Parts};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_api_tokens::{
    ApiTokenLayer, AppPrincipal, NewToken, Refusal, Rejection, RejectionKind, RequestHead,
    RequireScopeLayer, StoreErrorKind, testing::Fault,
};

use crate::support::{Fixture, Inner, UNKNOWN, bearer, restricted};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Service,
    Parts,
    Optional,
    Head,
}

/// The outcome of a request: the response of [`Inner`], or a refusal with all its bytes.
#[derive(Debug, PartialEq)]
enum Outcome {
    Attributed(String),
    Refused {
        status: StatusCode,
        fields: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
        kind: RejectionKind,
        knows_token: bool,
    },
}

impl Outcome {
    fn of(response: Response<Bytes>) -> Self {
        let (parts, body) = response.into_parts();
        match parts.extensions.get::<Rejection>() {
            None => Self::Attributed(String::from_utf8(body.to_vec()).unwrap()),
            Some(rejection) => Self::Refused {
                status: parts.status,
                fields: parts
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
                body,
                kind: rejection.kind(),
                knows_token: rejection.token_id().is_some(),
            },
        }
    }

    fn kind(&self) -> Option<RejectionKind> {
        match self {
            Self::Attributed(_) => None,
            Self::Refused { kind, .. } => Some(*kind),
        }
    }
}

impl Way {
    async fn judge(
        self,
        layer: &ApiTokenLayer,
        required: Option<&RequireScopeLayer>,
        mut request: Parts,
    ) -> Outcome {
        let verdict = match self {
            Self::Service => return serve(layer, required, request).await,
            Self::Parts => layer.authenticate(&mut request).await,
            Self::Optional => match layer.authenticate_optional(&mut request).await {
                Ok(Some(principal)) => Ok(principal),
                // Without a credential, which this function lets through.
                Ok(None) => layer.authenticate(&mut request).await,
                Err(refusal) => Err(refusal),
            },
            Self::Head => {
                let head = RequestHead::new(&request.method, &request.uri, &request.headers);
                layer.authenticate_head(head).await
            }
        };
        let checked = verdict.and_then(|principal| {
            if let Some(required) = required {
                required.check(&principal, (&request).into())?;
            }
            Ok(principal)
        });
        match checked {
            // As `Inner` does.
            Ok(_) if request.method == Method::HEAD => Outcome::Attributed(String::new()),
            Ok(principal) => Outcome::Attributed(principal.app_name().to_owned()),
            Err(refusal) => {
                assert_consistent(&refusal);
                Outcome::of(refusal.into())
            }
        }
    }
}

async fn serve(
    layer: &ApiTokenLayer,
    required: Option<&RequireScopeLayer>,
    request: Parts,
) -> Outcome {
    let request = Request::from_parts(request, ());
    let response = match required {
        None => read(layer.layer(Inner::default()).oneshot(request)).await,
        Some(required) => {
            let inner = required.layer(Inner::default());
            read(layer.layer(inner).oneshot(request)).await
        }
    };
    Outcome::of(response)
}

async fn read<B>(
    response: impl Future<Output = Result<Response<B>, std::convert::Infallible>>,
) -> Response<Bytes>
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let Ok(response) = response.await;
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

/// Checks that a refusal agrees with its response.
fn assert_consistent(refusal: &Refusal) {
    let response: Response<Bytes> = refusal.clone().into();
    assert_eq!(refusal.status(), response.status());
    assert_eq!(refusal.headers(), response.headers());
    assert_eq!(refusal.body(), response.body());
    let rejection: &Rejection = response.extensions().get().unwrap();
    assert_eq!(refusal.rejection().kind(), rejection.kind());
    assert_eq!(refusal.to_string(), rejection.to_string());
}

type Set = fn(ApiTokenLayer) -> ApiTokenLayer;

/// Credentials of every kind, with and without a lookup.
async fn credentials(fixture: &Fixture) -> Vec<Vec<(&'static str, String)>> {
    let revoked = fixture
        .issue(&fixture.app().id, NewToken::named("revoked"))
        .await;
    fixture.tokens.revoke(revoked.record().id).await.unwrap();
    let minute = Duration::from_secs(60);
    let expired = NewToken::named("expired").expires_in(minute);
    let expired = fixture.issue(&fixture.app().id, expired).await;
    fixture.clock.advance(minute);
    let gone = fixture.tokens.create_app("Gone").await.unwrap();
    let of_disabled = NewToken::named("of a disabled app");
    let of_disabled = fixture.tokens.issue(&gone.id, of_disabled).await.unwrap();
    fixture.tokens.disable_app(&gone.id).await.unwrap();

    let texts = [&revoked, &expired, &of_disabled].map(|token| bearer(token.token().expose()));
    let mut values: Vec<String> = texts.into();
    for restrictions in [
        "networks=10.0.0.0/8",
        "not_before=2100-01-01T00:00:00Z",
        "suspended_at=2026-01-01T00:00:00Z",
        "{}",
    ] {
        values.push(restricted(fixture, restrictions).await);
    }
    values.extend([
        fixture.bearer(),
        bearer(UNKNOWN),
        bearer("typo"),
        bearer("a b"),
        bearer(&"a".repeat(5000)),
        "Bearer".into(),
        "Digest a".into(),
        "Digest a, Bearer b".into(),
        "Basic !".into(),
    ]);
    let mut credentials: Vec<_> = values
        .into_iter()
        .map(|value| vec![("authorization", value)])
        .collect();
    credentials.push(vec![]);
    credentials.push(vec![("authorization", fixture.bearer()); 2]);
    credentials.push(vec![
        ("authorization", fixture.bearer()),
        ("x-api-key", "a".into()),
    ]);
    credentials.push(vec![("x-api-key", fixture.token().into())]);
    credentials.push(vec![("x-auth-token", "misplaced".into())]);
    credentials
}

/// The outcomes of all requests in one way, and what was counted.
async fn ask(way: Way, set: Set) -> (Vec<Outcome>, String) {
    let fixture = Fixture::new().await;
    let layer = set(fixture.layer());
    let required = [
        None,
        Some(layer.require_all("invoices:read".parse().unwrap())),
        Some(layer.require_all("invoices:read invoices:write".parse().unwrap())),
        Some(layer.require_any("invoices:write".parse().unwrap())),
        Some(RequireScopeLayer::all("invoices:write".parse().unwrap())),
    ];
    let mut outcomes = Vec::new();
    let unchecked = fixture
        .issue(&fixture.app().id, NewToken::named("never looked up"))
        .await;
    for mut fields in credentials(&fixture).await {
        for required in &required {
            for (method, content_type) in [
                ("GET", "text/plain"),
                ("HEAD", "application/grpc"),
                ("POST", "application/grpc+proto"),
                ("OPTIONS", "text/plain"),
            ] {
                fields.push(("content-type", content_type.into()));
                let asked: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| (*name, &**value))
                    .collect();
                let request = super::parts_of(method, &asked);
                outcomes.push(way.judge(&layer, required.as_ref(), request).await);
                fields.pop();
            }
        }
    }
    for fault in [
        Fault::Error(StoreErrorKind::Unavailable),
        Fault::Panic,
        Fault::HangForEver,
    ] {
        fixture.store.set_fault(fault);
        for method in ["GET", "HEAD"] {
            let value = bearer(unchecked.token().expose());
            let request = super::parts_of(method, &[("authorization", &value)]);
            outcomes.push(way.judge(&layer, None, request).await);
        }
    }
    let stats = fixture.tokens.authenticator().stats();
    let counted = format!("{} {} {:?}", stats.hits, stats.lookups, stats.refusals);

    let crowded = Fixture::builder()
        .configure(|builder| builder.max_lookups(0))
        .build()
        .await;
    let request = super::parts(&[("authorization", &crowded.bearer())]);
    outcomes.push(way.judge(&set(crowded.layer()), None, request).await);
    (outcomes, counted)
}

const SETTINGS: [Set; 5] = [
    |layer| layer,
    |layer| layer.basic().api_key_header("x-api-key").unwrap(),
    |layer| layer.realm("a \"realm\"").unwrap().grpc(),
    |layer| {
        layer
            .attribute_responses()
            .api_key_header("x-auth-token")
            .unwrap()
    },
    |layer| {
        layer.renderer(|rejection, mut response| {
            *response.status_mut() = StatusCode::IM_A_TEAPOT;
            response.map(|body| format!("{}: {body:?}", rejection.kind()).into())
        })
    },
];

#[tokio::test(start_paused = true)]
async fn the_service_and_the_functions_refuse_with_the_same_bytes_and_counts() {
    for set in SETTINGS {
        let expected = ask(Way::Service, set).await;
        for way in [Way::Parts, Way::Optional, Way::Head] {
            let (outcomes, counted) = ask(way, set).await;
            assert_eq!(outcomes.len(), expected.0.len());
            for (outcome, expected) in outcomes.iter().zip(&expected.0) {
                assert_eq!(outcome, expected, "{way:?}");
            }
            assert_eq!(counted, expected.1, "{way:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_rejection_and_an_admission_are_compared() {
    let (outcomes, _) = ask(Way::Parts, |layer| layer).await;
    let kinds: Vec<_> = outcomes.iter().map(Outcome::kind).collect();
    for kind in [
        RejectionKind::MissingCredential,
        RejectionKind::MalformedCredential,
        RejectionKind::WrongFormat,
        RejectionKind::UnknownToken,
        RejectionKind::RevokedToken,
        RejectionKind::ExpiredToken,
        RejectionKind::DisabledApp,
        RejectionKind::RestrictedToken,
        RejectionKind::SuspendedToken,
        RejectionKind::NotYetValidToken,
        RejectionKind::OutsideNetworks,
        RejectionKind::InsufficientScope,
        RejectionKind::StoreFailure,
        RejectionKind::StoreTimeout,
        RejectionKind::Overload,
    ] {
        assert!(kinds.contains(&Some(kind)), "{kind}");
    }
    assert!(outcomes.contains(&Outcome::Attributed("Billing".into())));
}

#[tokio::test]
async fn a_refusal_is_a_response_of_axum() {
    let fixture = Fixture::new().await;
    let layer = fixture.layer();
    let (of_handler, of_service) = (layer.clone(), layer.layer(Inner::default()));
    let router: axum::Router = axum::Router::new().fallback(async move |request: Request<_>| {
        let (mut parts, _): (_, axum::body::Body) = request.into_parts();
        let principal: AppPrincipal = of_handler.authenticate(&mut parts).await?;
        Ok::<_, Refusal>(principal.app_name().to_owned())
    });
    for value in [fixture.bearer(), bearer(UNKNOWN), String::new()] {
        let request = || {
            let request = Request::get("/").header("authorization", &value);
            request.body(axum::body::Body::empty()).unwrap()
        };
        let of_handler = Outcome::of(read(router.clone().oneshot(request())).await);
        let of_service = Outcome::of(read(of_service.clone().oneshot(request())).await);
        match (of_handler, of_service) {
            // The router adds the length and the type of the body.
            (Outcome::Attributed(handler), Outcome::Attributed(service)) => {
                assert_eq!(handler, service);
            }
            (handler, service) => assert_eq!(without_length(handler), service),
        }
    }
}

fn without_length(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Refused {
            status,
            mut fields,
            body,
            kind,
            knows_token,
        } => {
            fields.retain(|(name, _)| name != "content-length");
            Outcome::Refused {
                status,
                fields,
                body,
                kind,
                knows_token,
            }
        }
        attributed => attributed,
    }
}
