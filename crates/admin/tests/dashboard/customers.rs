//! Two customers who use the same dashboard, and actors who only read.

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header, request::Parts};
use tower_api_tokens::{
    AppId, AuditEventId, AuditQuery, Authority, Grantable, NewApp, NewToken, TokenId,
};
use tower_api_tokens_admin::{Actor, Denied, Guard};

use crate::support::{Site, form};

/// Who is logged in, by a cookie. The customers of both apps have the same name.
struct Sessions;

#[async_trait]
impl Guard for Sessions {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        let customer = |app| {
            let app = AppId::new(app).unwrap();
            Actor::new("alice", Grantable::everything()).limited_to(app)
        };
        let cookie = request.headers.get(header::COOKIE);
        Ok(match cookie.map(|cookie| cookie.to_str().unwrap()) {
            Some("ours") => customer("ours").metadata_keys(["team"]),
            Some("theirs") => customer("theirs"),
            Some("reader of ours") => customer("ours").read_only(),
            Some("auditor") => Actor::unrestricted("auditor").read_only(),
            _ => Actor::unrestricted("bob-of-staff"),
        })
    }
}

/// The identifiers of the records of one app.
struct Named {
    app: AppId,
    token: TokenId,
    event: AuditEventId,
}

impl Named {
    /// Returns identifiers that no record has, in the same places of all orders.
    fn absent(&self) -> Self {
        let app = self.app.as_str();
        let changed = |mut bytes: [u8; 16]| {
            bytes[15] ^= 1;
            bytes
        };
        Self {
            app: AppId::new(&format!("{}z", &app[..app.len() - 1])).unwrap(),
            token: TokenId::from_bytes(changed(*self.token.as_bytes())),
            event: AuditEventId::from_bytes(changed(*self.event.as_bytes())),
        }
    }

    /// Returns a page without these identifiers and without the key of its form.
    fn anonymous(&self, page: &str) -> String {
        // Links to other pages of a listing have them in their queries.
        let mut text = page
            .replace("%2D", "-")
            .replace(&self.token.to_string(), "TOKEN")
            .replace(&self.event.to_string(), "EVENT")
            .replace(self.app.as_str(), "APP");
        if let Some((before, rest)) = text.split_once("name=\"nonce\" value=\"") {
            let (_, after) = rest.split_once('"').unwrap();
            text = format!("{before}NONCE{after}");
        }
        text
    }
}

/// A link or a form.
#[derive(Clone, Debug)]
enum Call {
    Get(String),
    Post(String, Vec<(&'static str, String)>),
}

#[derive(Debug, PartialEq)]
struct Shown {
    status: StatusCode,
    headers: HeaderMap,
    page: String,
}

async fn call(site: &Site, session: &'static str, call: &Call) -> Shown {
    let mut request = match call {
        Call::Get(path) => Request::get(path).body(Body::empty()).unwrap(),
        Call::Post(path, fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            form(path, &fields)
        }
    };
    let headers = request.headers_mut();
    headers.insert(header::COOKIE, session.parse().unwrap());
    let answer = site.send(request).await;
    let mut headers = answer.headers;
    headers.remove(header::DATE);
    Shown {
        status: answer.status,
        headers,
        page: answer.text,
    }
}

async fn get(site: &Site, session: &'static str, path: &str) -> Shown {
    call(site, session, &Call::Get(path.to_owned())).await
}

/// What a customer of `ours` is not to see.
const SECRETS: [&str; 4] = ["theirs", "their-secret", "bob-of-staff", "auditor"];

async fn site() -> Site {
    let site = Site::guarded_by(|_| Sessions);
    let tokens = &site.scene.tokens;
    let bob = tokens.acting_as(Authority::of("bob-of-staff"));
    for (id, name, scopes) in [
        ("ours", "Ours", "read"),
        ("theirs", "their-secret", "their-secret"),
    ] {
        let app = NewApp::named(name).id(AppId::new(id).unwrap());
        let app = bob.create_app(app).await.unwrap().id;
        site.pass(1);
        let new = || NewToken::named(name).scopes(scopes.parse().unwrap());
        let by_staff = bob.issue(&app, new()).await.unwrap().record().id;
        site.pass(1);
        bob.suspend(by_staff).await.unwrap();
        site.pass(1);
        let alice = tokens.acting_as(Authority::of("alice").limited_to(app));
        assert!(alice.issue(&app, new()).await.is_ok());
        site.pass(1);
    }
    site
}

async fn named(site: &Site, app: &str) -> Named {
    let app = AppId::new(app).unwrap();
    let of_app = tower_api_tokens::TokenQuery::default().app(app);
    let token = site.scene.tokens.list(&of_app).await.unwrap().items[0].id;
    let events = site.ada().events(&AuditQuery::default().app(app)).await;
    let event = events.unwrap().items[0].id;
    Named { app, token, event }
}

/// Everything that exists, as the library shows it to staff, without refusals.
async fn everything(site: &Site) -> String {
    let tokens = &site.scene.tokens;
    let apps = tokens.list_apps(&Default::default()).await.unwrap();
    let policy = tokens.policy().await.unwrap();
    format!("{apps:?} {:?} {policy:?}", site.all().await)
}

/// The routes of the dashboard, as its router defines them.
fn routes() -> Vec<&'static str> {
    let router = include_str!("../../src/dashboard/mod.rs");
    let router = &router[router.find("Router::new()").unwrap()..];
    let calls = router.split(".route(").skip(1);
    let routes = calls.map(|call| call.split('"').nth(1).unwrap());
    let routes: Vec<_> = routes.collect();
    assert!(routes.len() > 15, "{routes:?}");
    routes
}

/// The links and forms of a route that name records. Returns `None` for a route that is not known here.
fn calls(route: &str, on: &Named, name: &str) -> Option<Vec<Call>> {
    let Named { app, token, event } = on;
    let gets = |paths: &[String]| {
        let paths = paths.iter();
        paths
            .map(|path| Call::Get(format!("/tokens{path}")))
            .collect::<Vec<_>>()
    };
    let post = |path: String, fields: &[(&'static str, &str)]| {
        let fields = fields.iter();
        let fields = fields.map(|(name, value)| (*name, (*value).to_owned()));
        vec![Call::Post(format!("/tokens{path}"), fields.collect())]
    };
    let version = "0".repeat(32);
    let nonce = "0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77";
    Some(match route {
        "/" => gets(&[
            String::new(),
            format!("?app={app}"),
            format!("?app={app}&name=s&status=live&count=1"),
            format!("?find={app}"),
            format!("?after=newest.0.{token}&count=1"),
        ]),
        "/new" => [
            gets(&[
                "/new".into(),
                format!("/new?app={app}"),
                format!("/new?find={app}"),
            ]),
            post(
                "/new".into(),
                &[
                    ("nonce", nonce),
                    ("name", "x"),
                    ("app", app.as_str()),
                    ("expires", "never"),
                ],
            ),
        ]
        .concat(),
        "/overview" => gets(&["/overview".into()]),
        "/find" => [
            gets(&["/find".into()]),
            post("/find".into(), &[("token", "no token")]),
        ]
        .concat(),
        "/revoke" => [
            gets(&[
                format!("/revoke?app={app}"),
                format!("/revoke?app={app}&status=live"),
                format!("/revoke?id={token}"),
            ]),
            post(
                format!("/revoke?app={app}"),
                &[
                    ("newest", &token.to_string()),
                    ("count", "1"),
                    ("confirm", "1"),
                ],
            ),
        ]
        .concat(),
        "/token/{id}" => gets(&[
            format!("/token/{token}"),
            format!("/token/{token}?done=revoked"),
        ]),
        "/token/{id}/rename" => post(format!("/token/{token}/rename"), &[("name", "x")]),
        "/token/{id}/edit" => [
            gets(&[format!("/token/{token}/edit")]),
            post(
                format!("/token/{token}/edit"),
                &[("version", &version), ("name", "x")],
            ),
        ]
        .concat(),
        "/token/{id}/suspend" => post(format!("/token/{token}/suspend"), &[]),
        "/token/{id}/resume" => post(format!("/token/{token}/resume"), &[]),
        "/token/{id}/rotate" => post(
            format!("/token/{token}/rotate"),
            &[("nonce", nonce), ("overlap", "0")],
        ),
        "/token/{id}/revoke" => post(format!("/token/{token}/revoke"), &[("confirm", name)]),
        "/apps" => [
            gets(&[
                "/apps".into(),
                format!("/apps?search={app}"),
                format!("/apps?after={app}"),
                format!("/apps?deleted={app}"),
            ]),
            post("/apps".into(), &[("name", name)]),
        ]
        .concat(),
        "/apps/{id}" => gets(&[format!("/apps/{app}"), format!("/apps/{app}?done=edited")]),
        "/apps/{id}/edit" => [
            gets(&[format!("/apps/{app}/edit")]),
            post(
                format!("/apps/{app}/edit"),
                &[("version", &version), ("name", "x")],
            ),
        ]
        .concat(),
        "/apps/{id}/delete" => post(format!("/apps/{app}/delete"), &[("confirm", name)]),
        "/apps/{id}/disable" => post(format!("/apps/{app}/disable"), &[("confirm", name)]),
        "/apps/{id}/enable" => post(format!("/apps/{app}/enable"), &[]),
        "/policy" => [
            gets(&["/policy".into()]),
            post(
                "/policy".into(),
                &[("version", &version), ("scopes_of", &format!("{app}=read"))],
            ),
        ]
        .concat(),
        "/nodes" => gets(&["/nodes".into(), format!("/nodes?after={token}")]),
        "/activity" => gets(&[
            "/activity".into(),
            format!("/activity?app={app}&count=1"),
            format!("/activity?find={app}"),
            format!("/activity?token={token}"),
            format!("/activity?after={event}&count=1"),
            "/activity?action=token.issue".into(),
        ]),
        "/tokens.csv" => gets(&["/tokens.csv".into(), format!("/tokens.csv?app={app}")]),
        "/apps.csv" => gets(&["/apps.csv".into(), format!("/apps.csv?search={app}")]),
        "/activity.csv" => gets(&[
            "/activity.csv".into(),
            format!("/activity.csv?app={app}"),
            format!("/activity.csv?token={token}"),
        ]),
        _ => return None,
    })
}

fn all_calls(on: &Named, name: &str) -> Vec<Call> {
    let mut all = Vec::new();
    for route in routes() {
        let calls = calls(route, on, name);
        all.extend(calls.unwrap_or_else(|| panic!("add `{route}` to the calls of customers")));
    }
    // Refused changes are events, so what is read comes first.
    all.sort_by_key(|call| matches!(call, Call::Post(..)));
    all
}

#[tokio::test]
async fn a_record_of_another_app_is_like_an_unknown_one_on_every_page() {
    for session in ["ours", "reader of ours"] {
        let site = site().await;
        let foreign = named(&site, "theirs").await;
        let absent = foreign.absent();
        let before = everything(&site).await;
        let pairs = all_calls(&foreign, "their-secret").into_iter();
        for (on_foreign, on_absent) in pairs.zip(all_calls(&absent, "their-secret")) {
            let mut one = call(&site, session, &on_foreign).await;
            let mut other = call(&site, session, &on_absent).await;
            one.page = foreign.anonymous(&one.page);
            other.page = absent.anonymous(&other.page);
            assert_eq!(one, other, "{session}: {on_foreign:?}");
        }
        assert_eq!(everything(&site).await, before, "nothing was changed");
    }
}

/// Everything that a customer can open.
async fn reads(site: &Site, session: &'static str, own: &Named) -> Vec<String> {
    let mut read = Vec::new();
    for one in all_calls(own, "Ours") {
        if let Call::Get(path) = &one {
            let mut shown = call(site, session, &one).await;
            shown.page = match shown.page.split_once("name=\"nonce\" value=\"") {
                Some((before, rest)) => format!("{before}{}", &rest[36..]),
                None => shown.page,
            };
            read.push(format!(
                "{path} {} {:?} {}",
                shown.status, shown.headers, shown.page
            ));
        }
    }
    read
}

#[tokio::test]
async fn a_customer_sees_nothing_of_another() {
    let site = site().await;
    let (own, foreign) = (named(&site, "ours").await, named(&site, "theirs").await);
    let read = reads(&site, "ours", &own).await;
    let ids = [foreign.token.to_string(), foreign.event.to_string()];
    for secret in SECRETS.map(str::to_owned).iter().chain(&ids) {
        for page in &read {
            assert!(!page.contains(secret), "{secret} in {page}");
        }
    }
    let page = get(&site, "ours", &format!("/tokens/token/{}", own.token)).await;
    let by = "<dt>Created by</dt><dd><bdi>alice</bdi></dd>";
    assert!(page.page.contains(by), "{}", page.page);
    let activity = get(&site, "ours", "/tokens/activity").await;
    assert!(activity.page.contains("by <bdi>support</bdi>"));
    assert!(activity.page.contains("4 events"), "{}", activity.page);
    let tokens = get(&site, "ours", "/tokens").await;
    assert!(tokens.page.contains("2 tokens"), "{}", tokens.page);
    // One app leaves nothing to choose.
    for path in ["/tokens", "/tokens/new", "/tokens/activity"] {
        let page = get(&site, "ours", path).await.page;
        assert!(!page.contains("<select id=\"app\""), "{page}");
        assert!(!page.contains("/tokens/policy"), "{page}");
    }
    let apps = get(&site, "ours", "/tokens/apps").await;
    assert_eq!(apps.headers[header::LOCATION], "/tokens/apps/ours");
    let app = get(&site, "ours", "/tokens/apps/ours").await;
    for form in ["Edit</a>", "Disable", "Delete", "method=\"post\""] {
        assert!(!app.page.contains(form), "{form} in {}", app.page);
    }
}

#[tokio::test]
async fn nothing_that_another_customer_does_shows() {
    let site = site().await;
    let (own, foreign) = (named(&site, "ours").await, named(&site, "theirs").await);
    let before = reads(&site, "ours", &own).await;
    for (named, name) in [(&own, "Ours"), (&foreign, "their-secret")] {
        for one in all_calls(named, name) {
            call(&site, "theirs", &one).await;
        }
    }
    let bob = site.scene.tokens.acting_as(Authority::of("bob-of-staff"));
    bob.create_app("their-secret").await.unwrap();
    bob.disable_app(&foreign.app).await.unwrap();
    let after = reads(&site, "ours", &own).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
}

#[tokio::test]
async fn a_customer_creates_and_manages_tokens_of_the_own_app() {
    let site = site().await;
    let new = get(&site, "ours", "/tokens/new").await;
    assert!(
        new.page.contains("name=\"app\" value=\"ours\""),
        "{}",
        new.page
    );
    assert!(new.page.contains("The keys that you can set: team."));
    let (_, rest) = new.page.split_once("name=\"nonce\" value=\"").unwrap();
    let create = |metadata: &str| {
        let fields = [
            ("nonce", &rest[..36]),
            ("name", "by hand"),
            ("app", "ours"),
            ("scopes", "read"),
            ("expires", "never"),
            ("metadata", metadata),
        ];
        let fields = fields.map(|(name, value)| (name, value.to_owned()));
        Call::Post("/tokens/new".to_owned(), fields.into())
    };
    let refused = call(&site, "ours", &create("plan=pro")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        refused.page.contains("“plan”; use “team”"),
        "{}",
        refused.page
    );
    let created = call(&site, "ours", &create("team=a")).await;
    assert_eq!(created.status, StatusCode::OK);
    assert!(created.page.contains("data-secret>"), "{}", created.page);

    let token = site.latest().await;
    assert_eq!((&*token.name, token.app.id.as_str()), ("by hand", "ours"));
    for action in ["suspend", "resume"] {
        let path = format!("/tokens/token/{}/{action}", token.id);
        let done = call(&site, "ours", &Call::Post(path, Vec::new())).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{action}");
    }
    let path = format!("/tokens/token/{}/revoke", token.id);
    let confirm = vec![("confirm", "by hand".to_owned())];
    let done = call(&site, "ours", &Call::Post(path, confirm)).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(site.latest().await.revoked_at.is_some());
}

#[tokio::test]
async fn a_read_only_actor_sees_no_forms_and_changes_nothing() {
    let site = site().await;
    let own = named(&site, "ours").await;
    let before = everything(&site).await;
    for session in ["auditor", "reader of ours"] {
        // A search for a token changes nothing, but is a form.
        let is_search = |call: &Call| {
            let (Call::Get(path) | Call::Post(path, _)) = call;
            path == "/tokens/find"
        };
        let calls = all_calls(&own, "Ours").into_iter();
        for one in calls.filter(|call| !is_search(call)) {
            let shown = call(&site, session, &one).await;
            let page = &shown.page;
            assert!(
                !page.contains("method=\"post\""),
                "{session}: {one:?} {page}"
            );
            for link in ["/edit\"", "/tokens/new\"", "Create token"] {
                assert!(!page.contains(link), "{session}: {one:?} {page}");
            }
            if matches!(one, Call::Post(..)) {
                assert_eq!(
                    shown.status,
                    StatusCode::FORBIDDEN,
                    "{session}: {one:?} {page}"
                );
            }
        }
    }
    assert_eq!(everything(&site).await, before);
    let apps = get(&site, "auditor", "/tokens/apps").await.page;
    assert!(
        apps.contains("their-secret") && apps.contains("Ours"),
        "{apps}"
    );
}
