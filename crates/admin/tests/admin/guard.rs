//! Which tokens `TokenGuard` accepts, and which actor it returns.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, header::AUTHORIZATION, request::Parts};
use tower_api_tokens::{AppQuery, NewToken, StoreErrorKind, TokenEdit, testing::Fault};
use tower_api_tokens_admin::{Actor, Denied, Guard, TokenGuard};

use crate::support::Platform;

fn with(credential: &str) -> Parts {
    let request = Request::get("/tokens").header(AUTHORIZATION, credential);
    request.body(()).unwrap().into_parts().0
}

async fn issue(platform: &Platform, scopes: &str) -> (String, String) {
    let app = platform.app().await;
    let new = NewToken::named("admin").scopes(scopes.parse().unwrap());
    let issued = platform.scene.tokens.issue(&app.id, new).await.unwrap();
    (
        issued.token().expose().to_owned(),
        issued.record().id.to_string(),
    )
}

async fn ask(platform: &Platform, credential: &str) -> Result<Actor, Denied> {
    TokenGuard::any_app(&platform.scene.tokens)
        .authenticate(&mut with(credential))
        .await
}

#[tokio::test]
async fn a_token_with_the_scope_may_grant_its_own_scopes() {
    let platform = Platform::new();
    let (token, id) = issue(&platform, "tokens:admin invoices:read").await;
    let basic = STANDARD.encode(format!("anyone:{token}"));
    for credential in [format!("Bearer {token}"), format!("Basic {basic}")] {
        let actor = ask(&platform, &credential).await.unwrap();
        assert_eq!(actor.name(), format!("token:{id}"));
        assert!(actor.may_grant(&"tokens:admin invoices:read".parse().unwrap()));
        assert!(!actor.may_grant(&"invoices:write".parse().unwrap()));
    }
}

#[tokio::test]
async fn a_token_without_the_scope_is_denied() {
    let platform = Platform::new();
    for scopes in ["", "tokens", "tokens:admin:read invoices:read"] {
        let (token, _) = issue(&platform, scopes).await;
        let denied = ask(&platform, &format!("Bearer {token}")).await;
        let denied = format!("{:?}", denied.unwrap_err());
        assert!(denied.contains("403"), "{denied}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_denied_immediately() {
    let platform = Platform::new();
    let (token, id) = issue(&platform, "tokens:admin").await;
    let credential = format!("Bearer {token}");
    assert!(ask(&platform, &credential).await.is_ok());
    platform
        .scene
        .tokens
        .revoke(id.parse().unwrap())
        .await
        .unwrap();
    let denied = format!("{:?}", ask(&platform, &credential).await.unwrap_err());
    assert!(denied.contains("401"), "{denied}");
}

#[tokio::test]
async fn every_request_is_denied_while_the_store_fails() {
    let platform = Platform::new();
    let (token, _) = issue(&platform, "tokens:admin").await;
    platform
        .scene
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let denied = ask(&platform, &format!("Bearer {token}"))
        .await
        .unwrap_err();
    assert!(format!("{denied:?}").contains("503"), "{denied:?}");
}

#[tokio::test]
async fn unverified_claims_in_a_request_are_ignored() {
    let platform = Platform::new();
    let (token, _) = issue(&platform, "invoices:read").await;
    let mut forged = with(&format!("Bearer {token}"));
    forged.extensions.insert(Actor::unrestricted("root"));
    forged.headers.insert("x-actor", "root".parse().unwrap());
    forged
        .headers
        .insert("content-type", "application/grpc".parse().unwrap());
    let guard = TokenGuard::any_app(&platform.scene.tokens);
    assert!(guard.authenticate(&mut forged).await.is_err());
    let mut anonymous = with("Digest x");
    anonymous
        .headers
        .insert("content-type", "application/grpc".parse().unwrap());
    assert!(guard.authenticate(&mut anonymous).await.is_err());
}

#[tokio::test]
async fn only_tokens_of_the_given_apps_are_accepted() {
    let platform = Platform::new();
    let staff = platform.scene.tokens.create_app("Staff").await.unwrap().id;
    let guard = TokenGuard::new(&platform.scene.tokens, [staff]);
    let new = || NewToken::named("admin").scopes("tokens:admin".parse().unwrap());
    let ours = platform.scene.tokens.issue(&staff, new()).await.unwrap();
    let (theirs, _) = issue(&platform, "tokens:admin tokens:owner").await;
    let bearer = |token: &str| with(&format!("Bearer {token}"));
    let admitted = guard.authenticate(&mut bearer(ours.token().expose())).await;
    assert!(admitted.is_ok());
    let denied = guard.authenticate(&mut bearer(&theirs)).await.unwrap_err();
    assert!(format!("{denied:?}").contains("403"), "{denied:?}");
}

#[tokio::test]
async fn only_an_owner_may_grant_access_beyond_its_own_expiry() {
    let platform = Platform::new();
    let app = platform.app().await;
    for (scopes, grants_all) in [("tokens:admin", false), ("tokens:admin tokens:owner", true)] {
        let new = NewToken::named("admin")
            .scopes(scopes.parse().unwrap())
            .expires_in(std::time::Duration::from_secs(60));
        let issued = platform.scene.tokens.issue(&app.id, new).await.unwrap();
        let credential = format!("Bearer {}", issued.token().expose());
        let actor = ask(&platform, &credential).await.unwrap();
        assert_eq!(actor.grantable().is_everything(), grants_all);
        let expiry = issued.record().expires_at.filter(|_| !grants_all);
        assert_eq!(actor.grantable().latest_expiry(), expiry);
    }
}

#[tokio::test]
async fn debug_output_of_a_request_shows_no_credential() {
    let platform = Platform::new();
    let (token, _) = issue(&platform, "tokens:admin").await;
    let guard = TokenGuard::any_app(&platform.scene.tokens);
    let basic = STANDARD.encode(format!("anyone:{token}"));
    for (credentials, admitted) in [
        (vec![format!("Bearer {token}")], true),
        (vec![format!("Basic {basic}")], true),
        (vec![format!("Bearer {token} {token}")], false),
        (vec![format!("Digest {token}")], false),
        (vec![token.clone()], false),
        (
            vec![format!("Bearer {token}"), format!("Bearer {token}")],
            false,
        ),
        (
            vec![format!("Bearer {token}"), format!("Basic {basic}")],
            false,
        ),
    ] {
        let mut request = Request::get("/tokens").body(()).unwrap().into_parts().0;
        for credential in &credentials {
            let credential = credential.parse().unwrap();
            request.headers.append(AUTHORIZATION, credential);
        }
        let verdict = guard.authenticate(&mut request).await;
        assert_eq!(verdict.is_ok(), admitted, "{credentials:?}");
        let shown = format!("{request:?}");
        assert_eq!(shown.matches("Sensitive").count(), credentials.len());
        assert!(
            !shown.contains(&token) && !shown.contains(&basic),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_token_with_the_scope_for_reading_only_reads() {
    let platform = Platform::new();
    for (scopes, is_read_only) in [
        ("tokens:read", true),
        ("tokens:read tokens:owner", true),
        ("tokens:read tokens:admin", false),
    ] {
        let (token, _) = issue(&platform, scopes).await;
        let actor = ask(&platform, &format!("Bearer {token}")).await.unwrap();
        let operator = platform.operations.by(actor);
        operator.list_apps(&AppQuery::default()).await.unwrap();
        let created = operator.create_app("x").await;
        match is_read_only {
            true => assert_eq!(created.unwrap_err().reason(), "read_only", "{scopes}"),
            false => assert_eq!(created.unwrap().name, "x"),
        }
    }
}

#[tokio::test]
async fn a_token_restricted_to_networks_issues_only_within_them() {
    let platform = Platform::new();
    let app = platform.app().await.id;
    let restricted = NewToken::named("admin")
        .scopes("tokens:admin read".parse().unwrap())
        .networks("10.0.0.0/8".parse().unwrap());
    let own = platform.scene.tokens.issue(&app, restricted).await.unwrap();
    let own = own.record().id;
    let actor = Actor::granting("token", "tokens:admin read".parse().unwrap());
    let operator = platform.operations.by(actor.token(own, app));

    let new = || NewToken::named("ci").scopes("read".parse().unwrap());
    let within = new().networks("10.1.0.0/16".parse().unwrap());
    let issued = operator.issue(&app, within).await.unwrap();
    let everywhere = platform.scene.tokens.issue(&app, new()).await.unwrap();
    let everywhere = everywhere.record().id;
    let widened = TokenEdit::default().networks(None);
    for refused in [
        operator.issue(&app, new()).await.map(drop),
        operator.rotate(everywhere, Duration::ZERO).await.map(drop),
        operator
            .edit(issued.record().id, None, widened)
            .await
            .map(drop),
    ] {
        assert_eq!(refused.unwrap_err().reason(), "networks_not_held");
    }
    operator.revoke(everywhere).await.unwrap();

    let owner = Actor::unrestricted("owner").token(own, app);
    let issued = platform.operations.by(owner).issue(&app, new()).await;
    assert!(issued.unwrap().record().networks().is_none());
}
