use serde_json::{Value, json};
use utoipa::{Modify, OpenApi};

use super::ApiTokenSecurity;

#[utoipa::path(
    get,
    path = "/own",
    security(("apiToken" = ["a", "b"], "session" = [])),
    responses(
        (status = 403, description = "The invoice is locked.", body = String,
            content_type = "application/problem+json",
            headers(("Cache-Control", description = "Its own."))),
        (status = 503, description = "The printer is on fire."),
    ),
)]
#[expect(dead_code, reason = "only its description is used")]
fn own() {}

#[utoipa::path(head, path = "/head", responses((status = OK, description = "Present.")))]
#[expect(dead_code, reason = "only its description is used")]
fn head() {}

#[utoipa::path(get, path = "/optional", security((), ("apiToken" = [])))]
#[expect(dead_code, reason = "only its description is used")]
fn optional() {}

#[utoipa::path(get, path = "/public", security(()))]
#[expect(dead_code, reason = "only its description is used")]
fn public() {}

#[utoipa::path(get, path = "/session", security(("session" = [])))]
#[expect(dead_code, reason = "only its description is used")]
fn session() {}

#[derive(OpenApi)]
#[openapi(paths(own, head, optional, public, session), security(("apiToken" = [])))]
struct Document;

fn describe(security: &ApiTokenSecurity) -> Value {
    let mut document = Document::openapi();
    security.modify(&mut document);
    serde_json::to_value(document).unwrap()
}

fn every_source() -> Value {
    describe(&ApiTokenSecurity::new().api_key_header("x-api-key").basic())
}

#[test]
fn every_source_of_tokens_is_an_alternative_with_the_same_scopes() {
    let document = every_source();
    assert_eq!(
        document["paths"]["/own"]["get"]["security"],
        json!([
            {"apiToken": ["a", "b"], "session": []},
            {"apiTokenHeader": ["a", "b"], "session": []},
            {"apiTokenBasic": ["a", "b"], "session": []},
        ])
    );
    assert_eq!(
        document["security"],
        json!([{"apiToken": []}, {"apiTokenHeader": []}, {"apiTokenBasic": []}])
    );
    let schemes = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    assert!(
        schemes
            .keys()
            .eq(["apiToken", "apiTokenBasic", "apiTokenHeader"])
    );
    assert_eq!(schemes["apiTokenHeader"]["name"], "x-api-key");
    assert_eq!(schemes["apiTokenBasic"]["scheme"], "basic");
}

#[test]
fn by_default_only_bearer_tokens_are_described() {
    let document = describe(&ApiTokenSecurity::new());
    assert_eq!(document["security"], json!([{"apiToken": []}]));
    let schemes = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    assert!(schemes.keys().eq(["apiToken"]));
}

#[test]
fn what_an_operation_says_itself_is_kept() {
    let document = every_source();
    let forbidden = &document["paths"]["/own"]["get"]["responses"]["403"];
    assert_eq!(forbidden["description"], "The invoice is locked.");
    assert_eq!(
        forbidden["headers"]["Cache-Control"]["description"],
        "Its own."
    );
    let schema = &forbidden["content"]["application/problem+json"]["schema"];
    assert_eq!(
        schema["oneOf"],
        json!([{"type": "string"}, {"$ref": "#/components/schemas/ApiTokenProblem"}])
    );
}

#[test]
fn what_only_a_refusal_has_is_not_promised_for_other_responses() {
    let document = every_source();
    let responses = &document["paths"]["/own"]["get"]["responses"];
    let described = |status: &str, header: &str| {
        let header = &responses[status]["headers"][header]["description"];
        header.as_str().unwrap().to_owned()
    };
    let always = "The accepted authentication schemes, and what is wrong.";
    assert_eq!(described("401", "WWW-Authenticate"), always);
    assert_eq!(described("401", "Cache-Control"), "Always `no-store`.");
    let possibly = format!("Sent if the API token is refused. {always}");
    assert_eq!(described("403", "WWW-Authenticate"), possibly);
    assert_eq!(
        described("503", "Cache-Control"),
        "Sent if the API token is refused. Then `no-store`."
    );
    assert_eq!(
        described("503", "Retry-After"),
        "Sent if the API token is refused. The number of seconds to wait before trying again."
    );
}

#[test]
fn describing_a_document_again_changes_nothing() {
    let security = ApiTokenSecurity::new().api_key_header("x-api-key").basic();
    let mut document = Document::openapi();
    for _ in 0..3 {
        security.modify(&mut document);
        assert_eq!(serde_json::to_value(&document).unwrap(), every_source());
    }
}

#[test]
fn an_operation_inherits_the_requirement_of_the_document() {
    let document = every_source();
    let responses = document["paths"]["/head"]["head"]["responses"]
        .as_object()
        .unwrap();
    assert!(responses.keys().eq(["200", "400", "401", "403", "503"]));
    // Responses to HEAD have no body.
    assert!(
        responses
            .values()
            .all(|response| response["content"].is_null())
    );
}

#[test]
fn an_optional_token_can_be_refused_too() {
    let document = every_source();
    let optional = &document["paths"]["/optional"]["get"];
    let security = json!([{}, {"apiToken": []}, {"apiTokenHeader": []}, {"apiTokenBasic": []}]);
    assert_eq!(optional["security"], security);
    assert!(optional["responses"]["401"].is_object());
}

#[test]
fn operations_without_api_tokens_stay_as_they_are() {
    let before = serde_json::to_value(Document::openapi()).unwrap();
    let after = every_source();
    for path in ["/public", "/session"] {
        assert_eq!(after["paths"][path], before["paths"][path]);
    }
}

#[test]
fn the_scopes_are_named_where_they_are_refused() {
    let forbidden = |scopes: &[&[&str]]| {
        let own = |set: &&[&str]| set.iter().map(|scope| scope.to_string()).collect();
        let scopes: Vec<Vec<String>> = scopes.iter().map(own).collect();
        super::refusals::forbidden(&scopes)
    };
    let address = "he token may not be used from the client's address.";
    assert_eq!(forbidden(&[&[]]), format!("T{address}"));
    assert_eq!(
        forbidden(&[&["a", "b"], &["c"]]),
        format!("The token lacks a required scope (`a` and `b`, or `c`), or t{address}")
    );
}
