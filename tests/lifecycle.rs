//! The lifecycle of apps and tokens, as an operator uses it.

use std::{
    error::Error,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use jiff::{Timestamp, ToSpan};
use tower_api_tokens::{
    ApiTokens, AppId, AppQuery, Grantable, ImportedToken, LifecycleErrorKind, MaskedToken,
    MemoryStore, NewToken, RejectionKind, Rotation, TokenDigest, TokenFormat, TokenQuery,
    TokenRecord, TokenStatus, testing::Fixture,
};

const DAY: Duration = Duration::from_secs(86_400);

fn platform() -> Fixture<()> {
    Fixture::builder().prefix("acme_live").empty()
}

async fn refusal(tokens: &ApiTokens, token: &str) -> Option<RejectionKind> {
    let verdict = tokens.authenticator().authenticate(token.as_bytes()).await;
    verdict.err().map(|rejection| rejection.kind())
}

#[tokio::test]
async fn the_digest_is_what_sha256sum_prints() {
    let tokens = platform().tokens;
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let mut sha256sum = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = sha256sum.stdin.take().unwrap();
    input.write_all(issued.token().expose().as_bytes()).unwrap();
    drop(input);
    let output = sha256sum.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let digest: TokenDigest = printed.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(digest, issued.record().digest);
}

#[tokio::test]
async fn a_token_is_shown_once_and_masked_afterwards() {
    let tokens = platform().tokens;
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let text = issued.token().expose().to_owned();
    let listed = tokens.list(&TokenQuery::default()).await.unwrap().items;
    assert_eq!(&listed[0], issued.record());
    let mask = format!("acme_live_…{}", &text[text.len() - 4..]);
    assert_eq!(listed[0].mask.to_string(), mask);
    assert!(!format!("{listed:?}{issued:?}").contains(&text));
}

#[tokio::test]
async fn names_are_trimmed_and_bounded_and_the_error_states_the_limits() {
    let tokens = platform().tokens;
    let app = tokens.create_app("  Billing \n").await.unwrap();
    assert_eq!(app.name, "Billing");
    let issued = tokens
        .issue(&app.id, NewToken::named("\tci "))
        .await
        .unwrap();
    assert_eq!(issued.record().name, "ci");
    for bad in ["", "  ", "a\nb", "a\0b", &"x".repeat(101)] {
        let of_app = tokens.create_app(bad).await.unwrap_err();
        let of_token = tokens
            .issue(&app.id, NewToken::named(bad))
            .await
            .unwrap_err();
        for error in [of_app, of_token] {
            assert_eq!(error.kind(), LifecycleErrorKind::InvalidName, "{bad:?}");
            assert!(error.to_string().contains("1 to 100 characters"));
        }
    }
    assert!(tokens.create_app(&"é".repeat(100)).await.is_ok());
}

#[tokio::test]
async fn an_app_may_have_your_own_identifier_once() {
    let tokens = platform().tokens;
    let id = AppId::new("42").unwrap();
    tokens.create_app_with_id(id, "Partner").await.unwrap();
    let again = tokens.create_app_with_id(id, "Impostor").await.unwrap_err();
    assert_eq!(again.kind(), LifecycleErrorKind::AppExists);
    assert_eq!(tokens.get_app(&id).await.unwrap().name, "Partner");
    let absent = AppId::new("43").unwrap();
    for error in [
        tokens.get_app(&absent).await.unwrap_err(),
        tokens.disable_app(&absent).await.unwrap_err(),
        tokens
            .issue(&absent, NewToken::named("ci"))
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), LifecycleErrorKind::UnknownApp);
    }
    assert_eq!(
        tokens
            .list_apps(&AppQuery::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

#[tokio::test]
async fn tokens_of_a_disabled_app_are_neither_issued_nor_admitted() {
    let tokens = platform().tokens;
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let (id, text) = (issued.record().id, issued.token().expose());
    tokens.disable_app(&app.id).await.unwrap();
    assert_eq!(
        refusal(&tokens, text).await,
        Some(RejectionKind::DisabledApp)
    );
    let refused = tokens
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::AppDisabled);
    let refused = tokens.rotate(id, DAY).await.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::AppDisabled);
    tokens.enable_app(&app.id).await.unwrap();
    assert_eq!(refusal(&tokens, text).await, None);
}

#[tokio::test]
async fn a_rotation_keeps_the_app_the_name_and_the_scopes() {
    let Fixture { tokens, clock, .. } = platform();
    let app = tokens.create_app("Billing").await.unwrap();
    let new = NewToken::named("ci")
        .scopes("read write".parse().unwrap())
        .expires_in(DAY * 90);
    let old = tokens.issue(&app.id, new).await.unwrap();
    clock.advance(DAY * 80);
    let new = tokens.rotate(old.record().id, DAY).await.unwrap();
    let (was, is) = (tokens.get(old.record().id).await.unwrap(), new.record());
    assert_eq!(
        (&is.app, &is.name, &is.scopes),
        (&was.app, &was.name, &was.scopes)
    );
    assert_eq!(is.expires_at, Some(is.created_at + (90 * 24).hours()));
    assert_eq!(was.expires_at, Some(is.created_at + 24.hours()));
    assert_eq!(was.successor, Some(is.id));
    let again = tokens.rotate(was.id, DAY).await.unwrap_err();
    assert_eq!(again.kind(), LifecycleErrorKind::Rotated);
    assert!(again.source().is_some() && again.to_string().contains("successor"));
}

#[tokio::test]
async fn a_rotation_of_another_version_is_refused_unless_it_repeats_one() {
    let tokens = platform().tokens;
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let id = issued.record().id;
    let renamed = tokens.rename(id, "deploy").await.unwrap();
    let rotation = Rotation::new(DAY).idempotency_key("deploy-42".parse().unwrap());
    let of_version = |token: &TokenRecord| rotation.clone().version(token.version());
    let stale = tokens.rotate(id, of_version(issued.record())).await;
    assert_eq!(stale.unwrap_err().kind(), LifecycleErrorKind::Stale);
    assert_eq!(tokens.get(id).await.unwrap(), renamed);
    let successor = tokens.rotate(id, of_version(&renamed)).await.unwrap();
    let again = tokens.rotate(id, of_version(&renamed)).await.unwrap_err();
    assert_eq!(again.kind(), LifecycleErrorKind::Repeated);
    assert_eq!(again.repeated().unwrap().token, successor.record().id);
}

#[tokio::test]
async fn an_overlap_beyond_the_limit_is_refused_with_the_limit() {
    let tokens = platform().tokens;
    let app = tokens.create_app("Billing").await.unwrap();
    let issued = tokens.issue(&app.id, NewToken::named("ci")).await.unwrap();
    let error = tokens
        .rotate(issued.record().id, DAY * 31)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), LifecycleErrorKind::InvalidOverlap);
    assert!(error.to_string().contains("2592000 seconds"), "{error}");
    let _successor = tokens.rotate(issued.record().id, DAY * 30).await.unwrap();
}

#[tokio::test]
async fn an_imported_token_is_found_by_its_digest_and_admitted() {
    let digest = TokenDigest::of(b"sk.legacy/9f3c==");
    let mask = MaskedToken::new("sk.", "3c==").unwrap();
    let imported = ImportedToken::new(NewToken::named("partner"), digest, mask);

    let strict = platform().tokens;
    let app = strict.create_app("Partner").await.unwrap();
    let refused = strict.import(&app.id, imported.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::ForeignFormat);
    assert!(refused.to_string().contains("any_format"));

    let fixture = Fixture::builder().configure(|tokens| tokens.any_format());
    let tokens = fixture.empty().tokens;
    let app = tokens.create_app("Partner").await.unwrap();
    let record = tokens.import(&app.id, imported.clone()).await.unwrap();
    assert_eq!(record.mask.as_str(), "sk.…3c==");
    assert_eq!(refusal(&tokens, "sk.legacy/9f3c==").await, None);
    let again = tokens.import(&app.id, imported).await.unwrap_err();
    assert_eq!(again.kind(), LifecycleErrorKind::TokenExists);
    tokens.revoke(record.id).await.unwrap();
    let refused = refusal(&tokens, "sk.legacy/9f3c==").await;
    assert_eq!(refused, Some(RejectionKind::RevokedToken));
}

#[tokio::test]
async fn revoked_tokens_are_kept_until_they_are_purged() {
    let Fixture { tokens, clock, .. } = platform();
    let app = tokens.create_app("Billing").await.unwrap();
    let issue = async |new| tokens.issue(&app.id, new).await.unwrap();
    let (live, revoked) = (
        issue(NewToken::named("live")).await,
        issue(NewToken::named("x")).await,
    );
    let expired = issue(NewToken::named("y").expires_in(DAY)).await;
    tokens.revoke(revoked.record().id).await.unwrap();
    clock.advance(DAY * 2);
    let now = tower_api_tokens::Clock::now(&clock);
    assert_eq!(tokens.purge(now - 49.hours()).await.unwrap(), 0);
    assert_eq!(tokens.purge(now - 47.hours()).await.unwrap(), 1);
    assert_eq!(tokens.purge(Timestamp::MAX).await.unwrap(), 1);
    let left = tokens.list(&TokenQuery::default()).await.unwrap().items;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, live.record().id);
    let gone = refusal(&tokens, expired.token().expose()).await;
    assert!(gone.is_some());
}

#[tokio::test]
async fn tokens_are_listed_by_app_and_status_in_pages() {
    let tokens = platform().tokens;
    let (ours, theirs) = (
        tokens.create_app("ours").await.unwrap(),
        tokens.create_app("theirs").await.unwrap(),
    );
    for n in 0..5 {
        let issued = tokens
            .issue(&ours.id, NewToken::named(format!("{n}")))
            .await
            .unwrap();
        if n % 2 == 0 {
            tokens.revoke(issued.record().id).await.unwrap();
        }
        let _other = tokens
            .issue(&theirs.id, NewToken::named("other"))
            .await
            .unwrap();
    }
    let query = TokenQuery::default()
        .app(ours.id)
        .status(TokenStatus::Revoked)
        .limit(2);
    let first = tokens.list(&query).await.unwrap();
    let second = tokens
        .list(&query.clone().after(first.next.unwrap()))
        .await
        .unwrap();
    assert_eq!(
        (first.items.len(), second.items.len(), second.next),
        (2, 1, None)
    );
    let page = tokens
        .app(theirs.id, &Grantable::everything())
        .list(query.status(TokenStatus::Live))
        .await
        .unwrap();
    assert!(page.items.iter().all(|token| token.app.id == theirs.id));
}

#[tokio::test]
async fn a_successor_has_the_format_of_the_token_it_replaces() {
    let format = |prefix| TokenFormat::new(prefix).unwrap();
    let store = MemoryStore::new();
    let tokens = ApiTokens::builder(store.clone(), format("acme_live"))
        .with_issued_format(format("acme_test"))
        .with_accepted_format(format("old"))
        .build();
    let old = ApiTokens::new(store, format("old"));
    let app = tokens.create_app("Billing").await.unwrap().id;
    let sandbox = NewToken::named("sandbox").prefix("acme_test");
    for (issued, prefix) in [
        (
            tokens.issue(&app, NewToken::named("live")).await,
            "acme_live_",
        ),
        (tokens.issue(&app, sandbox).await, "acme_test_"),
        (old.issue(&app, NewToken::named("old")).await, "old_"),
    ] {
        let issued = issued.unwrap();
        let rotated = tokens
            .rotate(issued.record().id, Duration::ZERO)
            .await
            .unwrap();
        for token in [issued.token(), rotated.token()] {
            assert!(token.expose().starts_with(prefix));
        }
        let presented = rotated.token().expose().as_bytes();
        assert!(tokens.authenticator().authenticate(presented).await.is_ok());
        // Revoked and refused, whichever the format.
        tokens.revoke(rotated.record().id).await.unwrap();
        assert!(
            tokens
                .authenticator()
                .authenticate(presented)
                .await
                .is_err()
        );
    }
    let unknown = NewToken::named("x").prefix("other");
    let error = tokens.issue(&app, unknown).await.unwrap_err();
    assert_eq!(error.kind(), LifecycleErrorKind::UnknownFormat);
}

#[tokio::test]
async fn a_token_of_an_unconfigured_format_cannot_be_rotated() {
    let store = MemoryStore::new();
    let on = |prefix| Fixture::builder().store(store.clone()).prefix(prefix);
    let sandbox = on("acme_test").build().await;
    let (sandbox, issued) = (sandbox.tokens, sandbox.issued);
    let live = on("acme_live").configure(|tokens| tokens.any_format());
    let live = live.empty().tokens;
    let refused = live
        .rotate(issued.record().id, Duration::ZERO)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::UnknownFormat);
    assert!(refused.to_string().contains("prefix"), "{refused}");
    let kept = sandbox.get(issued.record().id).await.unwrap();
    assert_eq!(&kept, issued.record(), "nothing has changed");

    let replacing = on("acme_live").configure(|tokens| tokens.any_format().replace_imported());
    let replacing = replacing.empty().tokens;
    let replaced = replacing
        .rotate(issued.record().id, Duration::ZERO)
        .await
        .unwrap();
    assert!(replaced.token().expose().starts_with("acme_live_"));
}

#[tokio::test]
async fn a_token_is_found_by_its_text_within_the_app_of_the_handle() {
    let tokens = platform().tokens;
    let ours = tokens.create_app("ours").await.unwrap().id;
    let theirs = tokens.create_app("theirs").await.unwrap().id;
    let issued = tokens.issue(&ours, NewToken::named("ci")).await.unwrap();
    let text = issued.token().expose();
    let found = tokens.find_token(&format!("\t{text}\n")).await.unwrap();
    assert_eq!(found.as_ref(), Some(issued.record()));
    for (app, is_found) in [(ours, true), (theirs, false)] {
        let handle = tokens.app(app, &Grantable::everything());
        let found = handle.find_token(text).await.unwrap();
        assert_eq!(found.is_some(), is_found);
    }
}

#[tokio::test]
async fn a_text_without_an_accepted_format_is_not_searched_for() {
    let platform = platform();
    let app = platform.tokens.create_app("Billing").await.unwrap();
    let issued = platform
        .tokens
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let text = issued.token().expose();
    let calls = platform.store.calls();
    for wrong in [&text[1..], &text.to_uppercase(), "", &"x".repeat(10_000)] {
        let error = platform.tokens.find_token(wrong).await.unwrap_err();
        assert_eq!(error.kind(), LifecycleErrorKind::ForeignFormat);
        let shown = format!("{error}{error:?}{:?}", error.source());
        assert!(!shown.contains(&text[12..20]), "{shown}");
    }
    assert_eq!(platform.store.calls(), calls);
}
