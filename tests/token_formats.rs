//! Several formats in one service: their labels, and the scopes and apps that are limited to one.

use std::time::Duration;

use http::{Request, Response};
use proptest::prelude::*;
use tower::{Layer, ServiceExt, service_fn};
use tower_api_tokens::{
    ApiTokens, ApiTokensBuilder, AppId, AppPrincipal, Grantable, ImportedToken, IssuedToken,
    LifecycleErrorKind, MaskedToken, MemoryStore, NewToken, ScopeSet, TokenDigest, TokenEdit,
    TokenFormat, TokenQuery, testing::Fixture,
};

fn format(prefix: &str, label: &str) -> TokenFormat {
    let format = TokenFormat::new(prefix).unwrap();
    format.with_label(label).unwrap()
}

/// `live` and `test` tokens, and older ones with the prefix `acme`, with which the other prefixes
/// begin.
fn builder(store: &MemoryStore) -> ApiTokensBuilder {
    ApiTokens::builder(store.clone(), format("acme_live", "live"))
        .with_issued_format(format("acme_test", "test"))
        .with_accepted_format(format("acme", "old"))
}

async fn issue(tokens: &ApiTokens, app: &AppId, label: &str) -> IssuedToken {
    let new = NewToken::named("ci").format(label);
    tokens.issue(app, new).await.unwrap()
}

/// The label of the format that the principal of a request shows.
async fn shown(tokens: &ApiTokens, token: &str) -> Option<String> {
    let handler = service_fn(async |request: Request<()>| {
        let principal: &AppPrincipal = request.extensions().get().unwrap();
        let format = principal.format().map(str::to_owned);
        Ok::<_, std::convert::Infallible>(Response::new(format))
    });
    let layer = tower_api_tokens::ApiTokenLayer::new(tokens);
    let service = layer.layer(handler.map_response(|response: Response<Option<String>>| {
        let (mut parts, format) = response.into_parts();
        parts.extensions.insert(format);
        Response::from_parts(parts, String::new())
    }));
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert!(response.status().is_success());
    response
        .extensions()
        .get::<Option<String>>()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn the_principal_shows_the_label_from_the_store_and_from_the_cache() {
    let store = MemoryStore::new();
    let old = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let app = old.create_app("Billing").await.unwrap().id;
    let older = old.issue(&app, NewToken::named("ci")).await.unwrap();
    let prefix = shown(&old, older.token().expose()).await;
    assert_eq!(prefix.as_deref(), Some("acme"), "the default label");

    for tokens in [
        builder(&store).build(),
        // Nothing is cached.
        builder(&store).max_staleness(Duration::ZERO).build(),
        builder(&store).any_format().build(),
    ] {
        let (live, test) = (
            issue(&tokens, &app, "live").await,
            issue(&tokens, &app, "test").await,
        );
        for (token, label) in [(&live, "live"), (&test, "test"), (&older, "old")] {
            assert_eq!(tokens.formats().label_of(&token.record().mask), Some(label));
            for _ in 0..3 {
                let shown = shown(&tokens, token.token().expose()).await;
                assert_eq!(shown.as_deref(), Some(label));
            }
        }
    }
}

#[tokio::test]
async fn a_preloaded_cache_shows_the_label() {
    let tokens = builder(&MemoryStore::new()).build();
    let app = tokens.create_app("Billing").await.unwrap().id;
    let test = issue(&tokens, &app, "test").await;
    let follower = tokens.follow().preload(|_| ()).start().await.unwrap();
    let format = shown(&tokens, test.token().expose()).await;
    assert_eq!(format.as_deref(), Some("test"));
    assert_eq!(
        tokens.authenticator().stats().lookups,
        0,
        "it was preloaded"
    );
    follower.stop().await.unwrap();
}

#[tokio::test]
async fn an_imported_token_has_the_format_of_its_mask_or_none() {
    let tokens = builder(&MemoryStore::new()).any_format().build();
    let app = tokens.create_app("Billing").await.unwrap().id;
    for (text, head, label) in [
        ("legacy-4711", "legacy-", None),
        ("secret", "", None),
        ("acme_x", "acme", None),
        ("acme_live_eu_x", "acme_live_eu_", None),
        ("acme_y", "acme_", Some("old")),
        ("acme_live_y", "acme_live_", Some("live")),
    ] {
        let mask = MaskedToken::new(head, "").unwrap();
        let digest = TokenDigest::of(text.as_bytes());
        let imported = ImportedToken::new(NewToken::named("partner"), digest, mask);
        tokens.import(&app, imported).await.unwrap();
        assert_eq!(shown(&tokens, text).await.as_deref(), label, "{text}");
    }
}

#[tokio::test]
async fn a_rotation_keeps_the_format() {
    let store = MemoryStore::new();
    let old = ApiTokens::new(store.clone(), TokenFormat::new("acme").unwrap());
    let tokens = builder(&store).build();
    let app = tokens.create_app("Billing").await.unwrap().id;
    for (issued, label, prefix) in [
        (issue(&tokens, &app, "live").await, "live", "acme_live_"),
        (issue(&tokens, &app, "test").await, "test", "acme_test_"),
        (
            old.issue(&app, NewToken::named("ci")).await.unwrap(),
            "old",
            "acme_",
        ),
    ] {
        let mut id = issued.record().id;
        for _ in 0..2 {
            let successor = tokens.rotate(id, Duration::ZERO).await.unwrap();
            let text = successor.token().expose();
            assert!(
                TokenFormat::new(prefix.trim_end_matches('_'))
                    .unwrap()
                    .accepts(text.as_bytes())
            );
            assert_eq!(shown(&tokens, text).await.as_deref(), Some(label));
            id = successor.record().id;
        }
    }
}

#[tokio::test]
async fn an_unknown_format_is_an_error_that_lists_those_that_are_issued() {
    let tokens = builder(&MemoryStore::new())
        .with_issued_format(format("acme_dev", "test"))
        .build();
    let app = tokens.create_app("Billing").await.unwrap().id;
    // `old` is accepted and not issued.
    for label in ["old", "acme_live", "LIVE", ""] {
        let new = NewToken::named("ci").format(label);
        let error = tokens.issue(&app, new).await.unwrap_err();
        assert_eq!(error.kind(), LifecycleErrorKind::UnknownFormat);
        let message = error.to_string();
        assert!(message.ends_with("choose `live` or `test`"), "{message}");
        assert_eq!(error.required_format(), None);
    }
    for prefix in ["acme", "live"] {
        let new = NewToken::named("ci").prefix(prefix);
        let message = tokens.issue(&app, new).await.unwrap_err().to_string();
        let listed = "choose `acme_live`, `acme_test` or `acme_dev`";
        assert!(message.ends_with(listed), "{message}");
    }
    // A request for a format may hold a secret that was pasted into the wrong field.
    let secret = issue(&tokens, &app, "live").await;
    let secret = secret.token().expose();
    for new in [
        NewToken::named("ci").format(secret),
        NewToken::named("ci").prefix(secret),
    ] {
        let error = tokens.issue(&app, new).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret));
    }
    let listed = tokens.list(&TokenQuery::default()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
}

#[tokio::test]
async fn of_the_issued_formats_with_one_label_the_first_is_issued() {
    let tokens = builder(&MemoryStore::new())
        .with_issued_format(format("acme_dev", "test"))
        .build();
    let app = tokens.create_app("Billing").await.unwrap().id;
    let first = issue(&tokens, &app, "test").await;
    assert!(first.token().expose().starts_with("acme_test_"));
    let second = NewToken::named("ci").format("live").prefix("acme_dev");
    let second = tokens.issue(&app, second).await.unwrap();
    assert!(second.token().expose().starts_with("acme_dev_"));
    let format = shown(&tokens, second.token().expose()).await;
    assert_eq!(format.as_deref(), Some("test"));
}

/// Limits the scope `pay` to `live`, and the app `sandbox` to `test`.
fn limited(store: &MemoryStore) -> ApiTokens {
    builder(store)
        .limit_scope("pay".parse().unwrap(), "test")
        .limit_scope("pay".parse().unwrap(), "live")
        .limit_app(AppId::new("sandbox").unwrap(), "test")
        .build()
}

#[tokio::test]
async fn tokens_are_issued_only_in_the_format_that_their_app_and_scopes_are_limited_to() {
    let tokens = limited(&MemoryStore::new());
    let grantable = Grantable::everything();
    for (app, scopes, label, required) in [
        ("billing", "pay read", "live", None),
        ("billing", "read", "test", None),
        ("billing", "payment", "test", None),
        (
            "billing",
            "pay read",
            "test",
            Some(("live", "the scope `pay`")),
        ),
        ("sandbox", "read", "test", None),
        (
            "sandbox",
            "read",
            "live",
            Some(("test", "the app `sandbox`")),
        ),
        ("sandbox", "", "live", Some(("test", "the app `sandbox`"))),
        // Whatever the format, one of the two limits is broken.
        (
            "sandbox",
            "pay",
            "live",
            Some(("test", "the app `sandbox`")),
        ),
        ("sandbox", "pay", "test", Some(("live", "the scope `pay`"))),
    ] {
        let id = AppId::new(app).unwrap();
        if tokens.get_app(&id).await.is_err() {
            tokens.create_app_with_id(id, app).await.unwrap();
        }
        let new = NewToken::named("ci")
            .scopes(scopes.parse().unwrap())
            .format(label);
        let scopes: ScopeSet = scopes.parse().unwrap();
        let limit = match (app, scopes.contains(&"pay".parse().unwrap())) {
            ("sandbox", _) => Some("test"),
            (_, true) => Some("live"),
            _ => None,
        };
        assert_eq!(tokens.formats().required(&id, &scopes), limit);
        let handle = tokens.app(id, &grantable);
        for issued in [
            tokens.issue(&id, new.clone()).await,
            handle.issue(new).await,
        ] {
            let Some((required, subject)) = required else {
                assert!(issued.is_ok());
                continue;
            };
            let error = issued.unwrap_err();
            assert_eq!(error.kind(), LifecycleErrorKind::FormatNotAllowed);
            assert_eq!(error.required_format(), Some(required));
            let message = error.to_string();
            let start = format!("{subject} is limited to tokens of the format `{required}`; ");
            assert!(message.starts_with(&start), "{message}");
        }
    }
}

#[tokio::test]
async fn imported_tokens_have_the_format_that_their_app_and_scopes_are_limited_to() {
    let tokens = limited(&MemoryStore::new());
    let sandbox = AppId::new("sandbox").unwrap();
    tokens.create_app_with_id(sandbox, "Sandbox").await.unwrap();
    let billing = tokens.create_app("Billing").await.unwrap().id;
    let import = async |app: &AppId, scopes: &str, head: &str| {
        let new = NewToken::named("partner").scopes(scopes.parse().unwrap());
        let digest = TokenDigest::of(format!("{app}{scopes}{head}").as_bytes());
        let mask = MaskedToken::new(head, "").unwrap();
        let imported = ImportedToken::new(new, digest, mask);
        let imported = tokens.import(app, imported).await;
        imported.map_err(|error| error.kind())
    };
    let refused = Err(LifecycleErrorKind::FormatNotAllowed);
    for (app, scopes, head, allowed) in [
        (&billing, "pay", "acme_live_", true),
        (&billing, "read", "legacy-", true),
        (&billing, "pay", "legacy-", false),
        (&billing, "pay", "acme_test_", false),
        (&billing, "pay", "acme_", false),
        (&sandbox, "read", "acme_test_", true),
        (&sandbox, "read", "", false),
        (&sandbox, "read", "acme_live_", false),
    ] {
        let imported = import(app, scopes, head).await.map(drop);
        let expected = if allowed { Ok(()) } else { refused };
        assert_eq!(imported, expected, "{app} {scopes} {head}");
    }
}

#[tokio::test]
async fn a_token_that_breaks_a_limit_is_admitted_and_not_rotated() {
    let store = MemoryStore::new();
    let before = builder(&store).build();
    let sandbox = AppId::new("sandbox").unwrap();
    before.create_app_with_id(sandbox, "Sandbox").await.unwrap();
    let billing = before.create_app("Billing").await.unwrap().id;
    let new = |label: &str| {
        NewToken::named("ci")
            .scopes("pay".parse().unwrap())
            .format(label)
    };
    let tokens = limited(&store);
    for (app, label) in [(&sandbox, "live"), (&billing, "test")] {
        let issued = before.issue(app, new(label)).await.unwrap();
        let format = shown(&tokens, issued.token().expose()).await;
        assert_eq!(format.as_deref(), Some(label));
        let id = issued.record().id;
        let error = tokens.rotate(id, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind(), LifecycleErrorKind::FormatNotAllowed);
        assert_eq!(&tokens.get(id).await.unwrap(), issued.record());
        tokens.revoke(id).await.unwrap();
    }
    let issued = before.issue(&billing, new("live")).await.unwrap();
    let rotated = tokens.rotate(issued.record().id, Duration::ZERO).await;
    assert!(rotated.is_ok());
}

#[tokio::test]
async fn an_edit_adds_no_scope_that_is_limited_to_another_format() {
    let store = MemoryStore::new();
    let tokens = limited(&store);
    let sandbox = AppId::new("sandbox").unwrap();
    tokens.create_app_with_id(sandbox, "Sandbox").await.unwrap();
    let billing = tokens.create_app("Billing").await.unwrap().id;
    let edit = |scopes: &str| TokenEdit::default().scopes(scopes.parse().unwrap());
    let test = issue(&tokens, &billing, "test").await.record().id;
    let live = issue(&tokens, &billing, "live").await.record().id;
    for edited in [
        tokens.edit(test, None, edit("pay")).await,
        tokens
            .app(billing, &Grantable::everything())
            .edit(test, None, edit("pay read"))
            .await,
    ] {
        let error = edited.unwrap_err();
        assert_eq!(error.kind(), LifecycleErrorKind::FormatNotAllowed);
        assert_eq!(error.required_format(), Some("live"));
    }
    assert!(tokens.get(test).await.unwrap().scopes.is_empty());
    tokens.edit(test, None, edit("read")).await.unwrap();
    tokens.edit(live, None, edit("pay")).await.unwrap();

    // An older token in the wrong format can be renamed, and lose scopes.
    let new = NewToken::named("ci").scopes("pay read".parse().unwrap());
    let before = builder(&store).build();
    let broken = before.issue(&sandbox, new.clone().format("test")).await;
    let broken = broken.unwrap().record().id;
    let renamed = TokenEdit::default().name("nightly");
    tokens.edit(broken, None, renamed).await.unwrap();
    let edited = tokens.edit(broken, None, edit("pay")).await;
    assert_eq!(
        edited.unwrap_err().kind(),
        LifecycleErrorKind::FormatNotAllowed
    );
    let broken = before.issue(&sandbox, new.format("live")).await.unwrap();
    let broken = broken.record().id;
    tokens.edit(broken, None, edit("read")).await.unwrap();
}

#[tokio::test]
async fn a_limit_to_a_format_that_is_not_configured_says_so() {
    let tokens = builder(&MemoryStore::new())
        .limit_scope("pay".parse().unwrap(), "lvie")
        .build();
    let app = tokens.create_app("Billing").await.unwrap().id;
    let new = NewToken::named("ci").scopes("pay".parse().unwrap());
    let message = tokens.issue(&app, new).await.unwrap_err().to_string();
    let end = "no such format is configured, so correct the limit";
    assert!(message.ends_with(end), "{message}");
}

#[tokio::test]
async fn a_successor_in_the_default_format_obeys_the_limits() {
    let limited = |tokens: ApiTokensBuilder| {
        tokens
            .any_format()
            .replace_imported()
            .limit_app(AppId::new("sandbox").unwrap(), "test")
    };
    let fixture = Fixture::builder().configure(limited).empty();
    let sandbox = AppId::new("sandbox").unwrap();
    let before = ApiTokens::builder(fixture.store.clone(), TokenFormat::new("acme").unwrap());
    let before = before.any_format().build();
    before.create_app_with_id(sandbox, "Sandbox").await.unwrap();
    let digest = TokenDigest::of(b"legacy");
    let imported = ImportedToken::new(NewToken::named("ci"), digest, MaskedToken::default());
    let imported = before.import(&sandbox, imported).await.unwrap();
    let error = fixture.tokens.rotate(imported.id, Duration::ZERO).await;
    let kind = error.unwrap_err().kind();
    assert_eq!(kind, LifecycleErrorKind::FormatNotAllowed);
}

/// Prefixes that often begin with each other.
fn prefix() -> impl Strategy<Value = String> {
    let valid = |prefix: &String| TokenFormat::new(prefix).is_ok();
    "a(_?[al]){0,4}".prop_filter("the maximum length", valid)
}

proptest! {
    #[test]
    fn every_token_is_admitted_under_the_label_of_its_own_format(
        prefixes in proptest::collection::hash_set(prefix(), 2..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let formats: Vec<_> = prefixes.iter().map(|prefix| format(prefix, prefix)).collect();
            let mut tokens = ApiTokens::builder(MemoryStore::new(), formats[0].clone());
            for other in &formats[1..] {
                tokens = tokens.with_issued_format(other.clone());
            }
            let tokens = tokens.build();
            let app = tokens.create_app("Billing").await.unwrap().id;
            for prefix in &prefixes {
                let issued = issue(&tokens, &app, prefix).await;
                let rotated = tokens.rotate(issued.record().id, Duration::from_secs(60)).await;
                for token in [&issued, &rotated.unwrap()] {
                    let text = token.token().expose();
                    let bare = text.len() - 39;
                    assert_eq!(&text[..bare], prefix);
                    assert_eq!(shown(&tokens, text).await.as_ref(), Some(prefix));
                }
            }
        });
    }
}

#[tokio::test]
async fn a_format_is_named_by_its_label_or_its_prefix() {
    let tokens = builder(&MemoryStore::new())
        .with_accepted_format(format("acme_older", "old"))
        .build();
    for (name, prefix) in [
        ("live", "acme_live"),
        ("acme_test", "acme_test"),
        ("acme_older", "acme_older"),
    ] {
        assert_eq!(tokens.formats().named(name).unwrap().prefix(), prefix);
    }
    for (name, hint) in [
        ("old", "use the prefix `acme` or `acme_older`"),
        ("lvie", "use `live`, `test` or `old`"),
    ] {
        let error = tokens.formats().named(name).unwrap_err();
        assert_eq!(error.kind(), LifecycleErrorKind::UnknownFormat);
        assert!(error.to_string().ends_with(hint), "{error}");
    }
}
