//! The tests for every proxy.

use crate::{
    aliases::{FIELDS, aliases},
    services::Test,
    support::{Proxy, Site, exchange},
};

macro_rules! case {
    ($name:ident) => {
        (stringify!($name), || Box::pin($name::<P>()))
    };
}

pub(crate) async fn the_identity_reaches_the_service<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, id) = site.issue("Zoë & Söhne", &["orders:read", "orders:write"]);
    let answer = site.get_as(&token).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.fields("X-Api-Token-Id"), [id]);
    assert_eq!(
        answer.fields("X-Api-App-Name"),
        ["Zo%C3%AB%20%26%20S%C3%B6hne"]
    );
    assert_eq!(answer.fields("X-Api-Scopes"), ["orders:read orders:write"]);
    let app = &answer.fields("X-Api-App-Id")[0];
    assert_eq!(
        site.run(&["token", "list", "--app", app])["app_name"],
        "Zoë & Söhne"
    );
    // The proxy does not forward the token.
    assert!(answer.fields("Authorization").is_empty());
}

pub(crate) async fn a_token_in_another_field_is_verified_and_not_forwarded<P: Proxy>() {
    let site = Site::with_api_key_header::<P>().await;
    let (token, id) = site.issue("Billing", &["orders:read"]);
    let answer = site.get("/orders", &[&format!("X-Api-Key: {token}")]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.fields("X-Api-Token-Id"), [id]);
    assert!(!answer.body.contains(&token), "{}", answer.body);
    let refused = site.get("/orders", &["X-Api-Key: unknown"]).await;
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert_eq!(site.get_as(&token).await.status, 200);
}

pub(crate) async fn forged_identity_fields_never_reach_the_service<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    let true_answer = site.get_as(&token).await;
    let authorization = format!("Authorization: Bearer {token}");
    let mut names: Vec<String> = FIELDS
        .iter()
        .flat_map(|field| aliases(field))
        // All punctuation of one kind, and each kind in each position.
        .filter(|alias| few_kinds_of_punctuation(alias))
        .collect();
    names.extend(names.clone().iter().map(|name| name.to_uppercase()));
    names.extend(FIELDS.map(str::to_owned));
    let forged: Vec<String> = names.iter().map(|name| format!("{name}: forged")).collect();
    // Many in one request, before and after the credential, and the field itself twice.
    let mut attempts = Vec::new();
    for batch in forged.chunks(40) {
        let mut before = batch.to_vec();
        before.push(authorization.clone());
        let mut after = before.clone();
        after.reverse();
        attempts.extend([before, after]);
    }
    for field in FIELDS {
        let twice = format!("{field}: forged");
        attempts.push(vec![twice.clone(), authorization.clone(), twice]);
    }
    for fields in attempts {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = site.get("/orders", &fields).await;
        assert_eq!(answer.status, 200, "{fields:?}");
        assert!(!answer.body.contains("forged"), "{}", answer.body);
        for field in FIELDS {
            assert_eq!(
                answer.fields(field),
                true_answer.fields(field),
                "{fields:?}"
            );
        }
    }
}

pub(crate) async fn a_client_cannot_remove_the_identity<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    let true_answer = site.get_as(&token).await;
    let authorization = format!("Authorization: Bearer {token}");
    // A field that `Connection` names is meant for the next server only (RFC 9110 section 7.6.1).
    let mut attempts = Vec::new();
    for field in FIELDS {
        for nominated in [
            field.to_owned(),
            field.to_lowercase(),
            format!("keep-alive,{field}"),
            format!("TE,{field} , x"),
        ] {
            let nominated = format!("Connection: {nominated}, close");
            attempts.push(vec![nominated.clone(), authorization.clone()]);
            let forged = format!("{field}: forged");
            attempts.push(vec![authorization.clone(), forged, nominated]);
        }
    }
    attempts.push(vec![
        authorization,
        format!("Connection: {}, close", FIELDS.join(", ")),
    ]);
    for fields in attempts {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let reached = site.reached();
        let answer = site.get("/orders", &fields).await;
        if answer.status == 400 {
            assert_eq!(site.reached(), reached, "{fields:?}");
            continue;
        }
        assert_eq!(answer.status, 200, "{fields:?}");
        for field in FIELDS {
            assert_eq!(
                answer.fields(field),
                true_answer.fields(field),
                "{fields:?}"
            );
        }
        // The next proxy would remove them.
        for connection in answer.fields("Connection") {
            assert!(!connection.to_lowercase().contains("x-api"), "{connection}");
        }
    }
}

pub(crate) async fn a_token_without_scopes_gets_none_from_its_client<P: Proxy>() {
    let site = Site::without_required_scope::<P>().await;
    let (token, id) = site.issue("Billing", &[]);
    let authorization = format!("Authorization: Bearer {token}");
    for forged in ["X-Api-Scopes: forged", "x-api-scopes: forged"] {
        let answer = site.get("/orders", &[forged, &authorization, forged]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.fields("X-Api-Token-Id"), [id.as_str()]);
        assert_eq!(answer.fields("X-Api-Scopes").concat(), "", "{forged}");
    }
}

/// Whether the punctuation of a name is of one kind, or of a second kind in one position.
fn few_kinds_of_punctuation(alias: &str) -> bool {
    let marks: Vec<char> = alias
        .chars()
        .filter(|c| !c.is_ascii_alphanumeric())
        .collect();
    let differ = marks.iter().filter(|mark| **mark != marks[0]).count();
    let hyphens = marks.iter().filter(|mark| **mark == '-').count();
    differ == 0 || hyphens + 1 == marks.len()
}

pub(crate) async fn refusals_explain_what_the_credential_lacks<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:write"]);
    let good = format!("Authorization: Bearer {token}");
    for fields in [
        &[][..],
        &["Authorization: Bearer acme_live_0123456789ABCDEFGHIJKLMNOPQRSTUV1e5gLB"],
        &["Authorization: Bearer a b"],
        &["Authorization: Bearer"],
        &["Content-Type: application/grpc"],
        &["Content-Type: application/grpc", "TE: trailers"],
        &["X-Api-App-Id: forged"],
        &["Cookie: token=x"],
    ] {
        for (method, path) in [
            ("GET", "/orders"),
            ("POST", "/orders"),
            ("OPTIONS", "/verify/any"),
        ] {
            let answer = site.send(method, path, fields, "").await;
            if answer.head.contains("grpc-status: 16") {
                // What a proxy sends to a gRPC client instead of 401.
                continue;
            }
            assert_eq!(answer.status, 401, "{method} {fields:?}");
            assert!(
                answer.head.contains("www-authenticate: bearer realm="),
                "{}",
                answer.head
            );
        }
    }
    let missing_scope = site.get("/orders", &[&good]).await;
    assert_eq!(missing_scope.status, 403);
    let twice = site.get("/orders", &[&good, &good]).await;
    assert!(matches!(twice.status, 400 | 401), "{}", twice.status);
    assert_eq!(site.reached(), 0);
}

pub(crate) async fn a_revoked_token_stays_refused_within_the_bound<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, id) = site.issue("Billing", &["orders:read"]);
    assert_eq!(site.get_as(&token).await.status, 200);
    site.run(&["token", "revoke", &id, "--yes"]);
    let refusal = site.first_refusal(&token).await;
    assert_eq!(refusal.status, 401);
    for _ in 0..100 {
        assert_eq!(site.get_as(&token).await.status, 401);
    }
}

pub(crate) async fn a_token_revoked_through_the_api_is_refused_immediately<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, id) = site.issue("Billing", &["orders:read"]);
    assert_eq!(site.get_as(&token).await.status, 200);
    let revoke = format!(
        "POST /api/tokens/{id}/revoke HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n\r\n",
        site.admin
    );
    let revoked = exchange(site.verifier_address, &revoke).await;
    assert_eq!(revoked.status, 200, "{}", revoked.body);
    assert_eq!(site.get_as(&token).await.status, 401);
}

pub(crate) async fn a_failing_store_neither_admits_nor_rejects_a_token<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    assert_eq!(site.get_as(&token).await.status, 200);
    let pool = sqlx::SqlitePool::connect(&site.store).await.unwrap();
    sqlx::query("ALTER TABLE api_tokens RENAME TO gone")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("ALTER TABLE api_token_changes RENAME TO gone_too")
        .execute(&pool)
        .await
        .unwrap();
    let refusal = site.first_refusal(&token).await;
    assert!((500..=599).contains(&refusal.status), "{}", refusal.status);
    let reached = site.reached();
    for _ in 0..100 {
        let status = site.get_as(&token).await.status;
        assert!((500..=599).contains(&status), "{status}");
    }
    assert_eq!(site.reached(), reached);
}

pub(crate) async fn nothing_is_admitted_without_the_verifier<P: Proxy>() {
    let mut site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    assert_eq!(site.get_as(&token).await.status, 200);
    site.kill_verifier();
    for _ in 0..3 {
        let status = site.get_as(&token).await.status;
        assert!((500..=599).contains(&status), "{status}");
    }
    assert_eq!(site.reached(), 1);
}

pub(crate) async fn bodies_pass_through_unchanged<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (token, _) = site.issue("Billing", &["orders:read"]);
    let authorization = format!("Authorization: Bearer {token}");
    let body = "x".repeat(100_000);
    let answer = site.send("POST", "/orders", &[&authorization], &body).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\"body\":100000"), "{}", answer.body);
}

pub(crate) async fn the_path_and_query_of_the_client_do_not_matter<P: Proxy>() {
    let site = Site::start::<P>().await;
    let (good, _) = site.issue("Billing", &["orders:read"]);
    let (lacking, _) = site.issue("Other", &["x"]);
    for path in [
        "/orders?scope=x",
        "/orders?scope=%22",
        "/verify/any",
        "/../any",
        "/..%2fany",
        "//",
        "/any?",
    ] {
        let as_token = |token: &str| format!("Authorization: Bearer {token}");
        let (good, lacking) = (as_token(&good), as_token(&lacking));
        let good = site.get(path, &[&good]).await.status;
        let lacking = site.get(path, &[&lacking]).await.status;
        // A proxy may reject such a path.
        assert!(
            matches!((good, lacking), (200, 403) | (400, 400)),
            "{path}: {good}, {lacking}"
        );
    }
}

pub(crate) async fn no_content_type_turns_a_refusal_into_success<P: Proxy>() {
    let site = Site::start::<P>().await;
    let request = "GET /verify HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/grpc\r\n\r\n";
    let answer = exchange(site.verifier_address, request).await;
    assert_eq!(answer.status, 401);
}

/// All tests.
pub(crate) fn all<P: Proxy + 'static>() -> Vec<Test> {
    vec![
        case!(the_identity_reaches_the_service),
        case!(a_token_in_another_field_is_verified_and_not_forwarded),
        case!(forged_identity_fields_never_reach_the_service),
        case!(a_client_cannot_remove_the_identity),
        case!(a_token_without_scopes_gets_none_from_its_client),
        case!(refusals_explain_what_the_credential_lacks),
        case!(a_revoked_token_stays_refused_within_the_bound),
        case!(a_token_revoked_through_the_api_is_refused_immediately),
        case!(a_failing_store_neither_admits_nor_rejects_a_token),
        case!(nothing_is_admitted_without_the_verifier),
        case!(bodies_pass_through_unchanged),
        case!(the_path_and_query_of_the_client_do_not_matter),
        case!(no_content_type_turns_a_refusal_into_success),
    ]
}
