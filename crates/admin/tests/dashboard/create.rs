use http::{StatusCode, request::Parts};
use tower_api_tokens::{AuditQuery, NewToken, TokenStatus, testing::Fixture};
use tower_api_tokens_admin::{Actor, Denied, Guard};

use crate::support::{Ada, Site};

/// Submits the form, filled in with valid values except the changed ones.
async fn sent(site: &Site, changed: &[(&str, &str)]) -> crate::support::Answer {
    let app = match site
        .scene
        .tokens
        .list_apps(&Default::default())
        .await
        .unwrap()
        .items
        .first()
    {
        Some(app) => app.id,
        None => site.scene.create_app("Billing").await.id,
    };
    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    let mut fields = vec![
        ("nonce", nonce.as_str()),
        ("name", "nightly export"),
        ("app", app.as_str()),
        ("scopes", "invoices:read"),
        ("expires", "90"),
        ("date", ""),
    ];
    for (name, value) in changed {
        fields.retain(|(present, _)| present != name);
        fields.push((name, value));
    }
    site.post("/tokens/new", &fields).await
}

#[tokio::test]
async fn the_form_creates_a_token_with_its_values() {
    let site = Site::new();
    let page = sent(&site, &[("name", "  ci  "), ("scopes", " b  a ")]).await;
    let page = page.is(StatusCode::OK);
    let token = site.latest().await;
    assert_eq!(token.name, "ci");
    assert_eq!(token.scopes.as_str(), "a b");
    assert_eq!(
        token.expires_at.unwrap().to_string(),
        "2026-12-13T09:26:53Z"
    );
    assert!(site.admits(page.secret()).await);
}

#[tokio::test]
async fn an_expiry_may_be_a_lifetime_a_date_or_never() {
    for (expires, date, expected) in [
        ("7", "", Some("2026-09-21T09:26:53Z")),
        ("365", "", Some("2027-09-14T09:26:53Z")),
        ("date", "2026-09-14", Some("2026-09-15T00:00:00Z")),
        ("date", "2030-12-31", Some("2031-01-01T00:00:00Z")),
        ("never", "2030-12-31", None),
    ] {
        let site = Site::new();
        sent(&site, &[("expires", expires), ("date", date)])
            .await
            .is(StatusCode::OK);
        let expiry = site.latest().await.expires_at.map(|at| at.to_string());
        assert_eq!(expiry.as_deref(), expected, "{expires} {date}");
    }
}

#[tokio::test]
async fn errors_are_shown_at_their_fields_and_input_is_kept() {
    for (field, typed, message) in [
        ("name", "", "Enter a name of 1–100 characters."),
        (
            "name",
            "two\nlines",
            "Remove line breaks and control characters",
        ),
        ("app", "", "Choose an app."),
        ("app", "two words", "Not a valid app ID."),
        ("app", "nobody", "App not found."),
        ("scopes", "ok say\"so\"", "Invalid scope: say"),
        ("expires", "0", "Choose one of the options."),
        ("expires", "99999999999999", "Choose one of the options."),
    ] {
        let site = Site::new();
        let kept = [("name", "kept name"), ("scopes", "kept:scope")];
        let mut fields: Vec<_> = kept
            .into_iter()
            .filter(|(name, _)| *name != field)
            .collect();
        fields.push((field, typed));
        let page = sent(&site, &fields).await;
        let mut page = page
            .is(StatusCode::UNPROCESSABLE_ENTITY)
            .has(&format!("id=\"{field}-error\""))
            .has(message);
        for (name, value) in kept {
            if name != field {
                page = page.has(&format!("name=\"{name}\" value=\"{value}\""));
            }
        }
        assert_eq!(site.all().await.len(), 0, "{field}={typed:?}");
    }
}

#[tokio::test]
async fn past_and_invalid_dates_are_rejected() {
    for (date, message) in [
        ("2026-09-13", "Choose today or a later date."),
        ("tomorrow", "Enter a date, such as"),
        ("", "Enter a date, such as"),
        ("9999-12-31", "Enter a date, such as"),
        ("2026-02-30", "Enter a date, such as"),
    ] {
        let site = Site::new();
        let page = sent(&site, &[("expires", "date"), ("date", date)]).await;
        page.is(StatusCode::UNPROCESSABLE_ENTITY)
            .has(message)
            .has(&format!("value=\"{date}\""));
        assert_eq!(site.all().await.len(), 0, "{date}");
    }
}

#[tokio::test]
async fn all_errors_are_shown_together() {
    let site = Site::new();
    let page = sent(
        &site,
        &[("name", ""), ("scopes", "\\"), ("expires", "soon")],
    )
    .await;
    page.has("name-error")
        .has("scopes-error")
        .has("expires-error");
}

#[tokio::test]
async fn a_disabled_app_gets_no_token() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    site.scene.tokens.disable_app(&app.id).await.unwrap();
    let page = sent(&site, &[]).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("This app is disabled. Enable it first, or choose another app.")
        .has("Billing (disabled)");
}

#[tokio::test]
async fn a_malformed_form_is_rejected() {
    let site = Site::new();
    for (fields, status) in [
        (vec![("name", "x")], StatusCode::BAD_REQUEST),
        (
            vec![("nonce", ""), ("name", "x"), ("app", "a"), ("expires", "7")],
            StatusCode::BAD_REQUEST,
        ),
        (
            vec![("name", "x".repeat(70_000).leak() as &str)],
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let page = site.post("/tokens/new", &fields).await;
        page.is(status).has("Couldn't read the form");
    }
}

#[tokio::test]
async fn the_first_token_starts_with_creating_an_app() {
    let site = Site::new();
    site.get("/tokens/new").await.has("App name");
    let sent = site
        .post("/tokens/apps", &[("name", "Billing"), ("then", "token")])
        .await;
    let app = site
        .scene
        .tokens
        .list_apps(&Default::default())
        .await
        .unwrap()
        .items
        .remove(0);
    assert_eq!(sent.location(), format!("/tokens/new?app={}", app.id));
    let form = site.get(sent.location()).await;
    form.has(&format!(
        "<option value=\"{}\" selected>Billing</option>",
        app.id
    ));
}

#[tokio::test]
async fn many_apps_are_searched_instead_of_listed() {
    let site = Site::new();
    for n in 0..205 {
        site.scene.create_app(&format!("one of many {n}")).await;
    }
    let billing = site.scene.create_app("Billing").await.id;
    site.get("/tokens/new")
        .await
        .has("placeholder=\"Search apps by name or ID\"")
        .lacks("<select");
    let chosen = format!("<option value=\"{billing}\" selected>Billing</option>");
    // By part of the name, by identifier, and by a link that names the app.
    for query in [
        "find=BILL",
        &format!("find={billing}"),
        &format!("app={billing}"),
    ] {
        let form = site.get(&format!("/tokens/new?{query}")).await;
        let form = form.is(StatusCode::OK).has(&chosen);
        assert_eq!(form.text.matches("<option").count(), 1, "{query}");
    }
    site.get("/tokens/new?find=many")
        .await
        .has("More than 200 apps found. Type more of the name.")
        .has("<option value=\"\">Choose an app</option>");
    site.get("/tokens/new?find=many+20")
        .await
        .has("6 apps found. Choose one.");
    for nothing in ["nobody", "%00", "a%00b"] {
        site.get(&format!("/tokens/new?find={nothing}"))
            .await
            .is(StatusCode::OK)
            .has("No apps found with this name or ID.")
            .lacks("<select");
    }
    // A search keeps the values of the other fields.
    site.get("/tokens/new?find=bill&name=ci&scopes=a+b&expires=date&date=2030-01-01")
        .await
        .has("name=\"name\" value=\"ci\"")
        .has("name=\"scopes\" value=\"a b\"")
        .has("value=\"date\" checked")
        .has("name=\"date\" value=\"2030-01-01\"");
    // A form submitted with a search instead of an app offers the results.
    let page = sent(&site, &[("app", ""), ("find", "bill")]).await;
    page.is(StatusCode::UNPROCESSABLE_ENTITY)
        .has(&chosen)
        .has("name=\"name\" value=\"nightly export\"");
    assert_eq!(site.all().await.len(), 0);

    sent(&site, &[("app", billing.as_str())])
        .await
        .is(StatusCode::OK);
    let token = site.latest().await;
    assert_eq!(token.status(site.ada().now()), TokenStatus::Live);
    assert_eq!(token.app.name, "Billing");
}

#[tokio::test]
async fn commas_separate_scopes() {
    let site = Site::new();
    sent(&site, &[("scopes", "b, a,c")])
        .await
        .is(StatusCode::OK);
    assert_eq!(site.latest().await.scopes.as_str(), "a b c");
}

#[tokio::test]
async fn the_first_invalid_field_has_the_focus() {
    for (wrong, focused) in [
        (vec![], "id=\"name\""),
        (vec![("name", ""), ("scopes", "\\")], "id=\"name\""),
        (vec![("app", ""), ("scopes", "\\")], "id=\"app\""),
        (vec![("scopes", "\\"), ("expires", "soon")], "id=\"scopes\""),
        (vec![("expires", "soon")], "value=\"7\""),
        (vec![("expires", "date"), ("date", "x")], "value=\"date\""),
    ] {
        let site = Site::new();
        let page = match wrong.as_slice() {
            [] => {
                site.scene.create_app("Billing").await;
                site.get("/tokens/new").await
            }
            wrong => sent(&site, wrong).await.has("Token not created."),
        };
        assert_eq!(page.focused().len(), 1, "{wrong:?}");
        assert!(page.focused()[0].contains(focused), "{:?}", page.focused());
    }
}

#[tokio::test]
async fn a_form_submitted_again_days_later_creates_no_second_token() {
    const HOUR: u64 = 3_600;
    for hours in [1, 22, 23, 24, 25, 49, 24 * 365] {
        let site = Site::new();
        let app = site.scene.create_app("Billing").await.id;
        let nonce = site.get("/tokens/new").await.nonce().to_owned();
        let fields = [
            ("nonce", nonce.as_str()),
            ("name", "ci"),
            ("app", app.as_str()),
            ("expires", "never"),
        ];
        site.pass(60);
        site.post("/tokens/new", &fields).await.is(StatusCode::OK);
        // Stores delete idempotency keys that are older than a day.
        site.pass(hours * HOUR);
        let _ = site.ada().issue(&app, NewToken::named("other")).await;
        let again = site.post("/tokens/new", &fields).await;
        let again = again.is(StatusCode::CONFLICT).lacks("data-secret");
        assert_eq!(site.all().await.len(), 2, "{hours} hours");
        if hours > 23 {
            // The values are kept, so that the operator can submit them again.
            let fresh = again
                .has("Token not created: this form has expired.")
                .has("name=\"name\" value=\"ci\"");
            let mut fields = fields;
            fields[0].1 = fresh.nonce();
            site.post("/tokens/new", &fields).await.is(StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn typing_errors_leave_no_audit_events() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    let issued = site.issue(&app.id, "ci").await;
    let token = format!("/tokens/token/{}", issued.record().id);
    let events = async || site.ada().events(&AuditQuery::default()).await.unwrap();
    let before = events().await;
    assert_eq!(before.items.len(), 2);
    for (path, fields) in [
        ("/tokens/new".to_owned(), vec![("name", ""), ("nonce", "n")]),
        ("/tokens/apps".to_owned(), vec![("name", "a\nb")]),
        (
            format!("/tokens/apps/{}/disable", app.id),
            vec![("confirm", "x")],
        ),
        (format!("{token}/rename"), vec![("name", "")]),
        (
            format!("{token}/rotate"),
            vec![("nonce", "n"), ("overlap", "9999999999")],
        ),
        (format!("{token}/revoke"), vec![("confirm", "x")]),
    ] {
        let page = site.post(&path, &fields).await;
        page.is(StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(events().await, before);
    // Nor does a typing error through the API appear in the token's history.
    let _ = site.ada().rename(issued.record().id, "").await;
    assert_eq!(events().await.items.len(), 3);
    let page = site.get(&token).await.lacks("Couldn't rename");
    assert_eq!(page.text.matches("<summary>Details").count(), 1);
}

#[tokio::test]
async fn an_unknown_app_leaves_the_placeholder_selected() {
    let site = Site::new();
    site.scene.create_app("Billing").await;
    site.scene.create_app("Storefront").await;
    let form = site.get("/tokens/new?app=nobody").await;
    form.has("<option value=\"\">Choose an app</option>")
        .lacks(" selected");
}

#[tokio::test]
async fn scopes_in_use_can_be_chosen() {
    let site = Site::new();
    let app = site.scene.create_app("Billing").await;
    for (name, scopes) in [
        ("a", "invoices:read invoices:write"),
        ("b", "invoices:read a,b tokens:admin"),
    ] {
        let new = NewToken::named(name).scopes(scopes.parse().unwrap());
        let _ = site.scene.issue(&app.id, new).await;
    }
    let form = site.get("/tokens/new").await;
    let box_of = |scope: &str| {
        format!("<input type=\"checkbox\" name=\"scope:{scope}\" value=\"on\">{scope}</label>")
    };
    let form = form
        .has_once(&box_of("invoices:read"))
        .has_once(&box_of("invoices:write"))
        // A list of scopes cannot have one with a comma.
        .lacks("scope:a,b")
        .lacks("scope:tokens:admin");
    site.pass(1);
    let nonce = form.nonce().to_owned();
    let mut fields = vec![
        ("nonce", nonce.as_str()),
        ("name", ""),
        ("app", app.id.as_str()),
        ("scopes", "orders:read"),
        ("scope:invoices:read", "on"),
        ("scope:users:read", "on"),
        ("expires", "7"),
    ];
    // What was chosen is kept if another field has an error.
    site.post("/tokens/new", &fields)
        .await
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("name=\"scope:users:read\" value=\"on\" checked>")
        .has("name=\"scope:invoices:read\" value=\"on\" checked>")
        .has(&box_of("invoices:write"));
    fields[1] = ("name", "ci");
    site.post("/tokens/new", &fields).await.secret();
    let token = site.latest().await;
    let scopes: Vec<&str> = token.scopes.iter().collect();
    assert_eq!(scopes, ["invoices:read", "orders:read", "users:read"]);

    let nonce = site.get("/tokens/new").await.nonce().to_owned();
    fields[0] = ("nonce", &nonce);
    fields[5] = ("scope:say\"so\"", "on");
    site.post("/tokens/new", &fields)
        .await
        .is(StatusCode::UNPROCESSABLE_ENTITY)
        .has("Invalid scope: say");
}

#[tokio::test]
async fn only_scopes_that_may_be_granted_are_suggested() {
    let site = Site::guarded_by(|_| Clerk);
    let app = site.scene.create_app("Billing").await;
    let new = NewToken::named("a").scopes("invoices:read invoices:write".parse().unwrap());
    let _ = site.scene.issue(&app.id, new).await;
    site.get("/tokens/new")
        .await
        .has("name=\"scope:invoices:read\"")
        .has("name=\"scope:orders:read\"")
        .lacks("scope:invoices:write")
        .lacks("scope:tokens:admin");
}

/// Authenticates every request as someone who may grant a few scopes.
struct Clerk;

#[async_trait::async_trait]
impl Guard for Clerk {
    async fn authenticate(&self, _: &mut Parts) -> Result<Actor, Denied> {
        let scopes = "invoices:read orders:read tokens:admin".parse().unwrap();
        Ok(Actor::granting("clerk", scopes))
    }
}

#[tokio::test]
async fn networks_a_first_day_and_metadata_are_optional() {
    let site = Site::new();
    let fields = [
        ("networks", "10.0.0.0/8\r\n192.0.2.7"),
        ("not_before", "2026-10-01"),
        ("metadata", "plan = pro\r\n\r\nteam=billing"),
    ];
    sent(&site, &fields).await.is(StatusCode::OK);
    let token = site.latest().await;
    let networks = token.networks().map(ToString::to_string);
    assert_eq!(networks.as_deref(), Some("10.0.0.0/8,192.0.2.7/32"));
    let from = token.not_before().map(|at| at.to_string());
    assert_eq!(from.as_deref(), Some("2026-10-01T00:00:00Z"));
    let metadata: Vec<_> = token.metadata.iter().collect();
    assert_eq!(metadata, [("plan", "pro"), ("team", "billing")]);
    site.get(&format!("/tokens/token/{}", token.id))
        .await
        .has(">Not yet valid</span>")
        .has("<dt>Not valid before</dt>")
        .has("10.0.0.0/8, 192.0.2.7/32")
        .has("<dt>plan</dt><dd>pro</dd>");
    site.get("/tokens/new").await.has("more-fields\">");
}

#[tokio::test]
async fn errors_of_optional_fields_are_shown_at_them() {
    for (field, typed, message) in [
        (
            "networks",
            "10.0.0.1/8",
            "10.0.0.1/8: The network has host bits set",
        ),
        ("networks", "here", "here: Invalid network"),
        ("not_before", "soon", "Enter a date, such as"),
        (
            "not_before",
            "2030-01-01",
            "Choose a day before the token expires.",
        ),
        ("metadata", "plain", "no equals sign: plain"),
        ("metadata", "a=1\na=2", "This one is repeated: a"),
    ] {
        let site = Site::new();
        let page = sent(&site, &[(field, typed)]).await;
        let page = page
            .is(StatusCode::UNPROCESSABLE_ENTITY)
            .has(&format!("id=\"{field}-error\""))
            .has("more-fields\" open>")
            .has(message)
            .has(typed);
        assert_eq!(page.focused().len(), 1, "{field}");
        assert!(page.focused()[0].contains(&format!("id=\"{field}\"")));
        assert_eq!(site.all().await.len(), 0, "{field}={typed:?}");
    }
}

#[tokio::test]
async fn what_the_policy_forbids_is_shown_at_its_field() {
    let day = std::time::Duration::from_secs(86_400);
    let policy = tower_api_tokens::Policy::default()
        .default_lifetime(7 * day)
        .max_lifetime(30 * day)
        .max_live_tokens(1)
        .scopes("invoices:read".parse().unwrap());
    let site = Site::new();
    site.ada().set_policy(None, policy).await.unwrap();
    for (changed, field, message) in [
        (
            vec![("expires", "90")],
            "expires",
            "until 14 October 2026, 09:26:53 UTC at most",
        ),
        // Never is a choice: the lifetime by default does not replace it.
        (
            vec![("expires", "never")],
            "expires",
            "The policy requires an expiration.",
        ),
        (
            vec![("expires", "7"), ("scopes", "invoices:write")],
            "scopes",
            "The policy doesn't allow the tokens of this app “invoices:write”. Remove it.",
        ),
    ] {
        sent(&site, &changed)
            .await
            .is(StatusCode::UNPROCESSABLE_ENTITY)
            .has(&format!("id=\"{field}-error\""))
            .has(message);
    }
    sent(&site, &[("expires", "7")]).await.is(StatusCode::OK);
    sent(&site, &[("expires", "7")])
        .await
        .has("id=\"app-error\"")
        .has("This app already has an active token, and the policy allows only one.");
}

#[tokio::test]
async fn a_form_is_refused_for_now_while_there_are_too_many_keys() {
    let scene = Fixture::builder().prefix("acme_live");
    let scene = scene.configure(|tokens| tokens.max_idempotency_keys(1));
    let site = Site::of(scene.empty(), |_| Ada);
    sent(&site, &[]).await.is(StatusCode::OK);
    let refused = sent(&site, &[("name", "other")]).await;
    assert_eq!(refused.headers["retry-after"], "60");
    refused
        .is(StatusCode::SERVICE_UNAVAILABLE)
        .has("Nothing was changed");
    assert_eq!(site.latest().await.name, "nightly export");
}
