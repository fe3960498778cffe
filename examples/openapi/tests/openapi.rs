//! The document describes the service: each response in it is sent, and no other.

use axum::body::Body;
use example_openapi::{document, service};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tower::ServiceExt;
use tower_api_tokens::{
    NewToken, StoreErrorKind,
    testing::{Fault, Fixture},
};

/// An operation of the document.
struct Operation {
    path: String,
    method: Method,
    description: Value,
}

struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

fn described() -> Value {
    serde_json::to_value(document()).unwrap()
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, description) in item.as_object().unwrap() {
            operations.push(Operation {
                path: path.clone(),
                method: method.to_uppercase().parse().unwrap(),
                description: description.clone(),
            });
        }
    }
    operations
}

impl Operation {
    /// The scopes of each alternative, by the name of its scheme.
    fn requirements(&self) -> Vec<(String, String)> {
        let requirements = self.description["security"].as_array();
        let scheme_of = |requirement: &Value| {
            let (scheme, scopes) = requirement.as_object().unwrap().iter().next().unwrap();
            let scopes = scopes.as_array().unwrap().iter();
            let scopes: Vec<_> = scopes.map(|scope| scope.as_str().unwrap()).collect();
            (scheme.clone(), scopes.join(" "))
        };
        requirements.into_iter().flatten().map(scheme_of).collect()
    }

    fn responses(&self) -> &Map<String, Value> {
        self.description["responses"].as_object().unwrap()
    }

    async fn send(&self, fixture: &Fixture, fields: &[(&str, &str)]) -> Response {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let service = service(&fixture.tokens).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Response {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        }
    }
}

async fn token(fixture: &Fixture, scopes: &str) -> String {
    let new = NewToken::named("b").scopes(scopes.parse().unwrap());
    let issued = fixture.issue(&fixture.app().id, new).await;
    issued.token().expose().to_owned()
}

/// The field of a request with a token, as a security scheme describes it.
fn field(document: &Value, scheme: &str, token: &str) -> (String, String) {
    let scheme = &document["components"]["securitySchemes"][scheme];
    match scheme["type"].as_str().unwrap() {
        "http" => {
            assert_eq!(scheme["scheme"], "bearer");
            ("authorization".to_owned(), format!("Bearer {token}"))
        }
        "apiKey" => {
            assert_eq!(scheme["in"], "header");
            let name = scheme["name"].as_str().unwrap();
            (name.to_owned(), token.to_owned())
        }
        other => panic!("unexpected scheme of type {other}"),
    }
}

/// Compares a value with its schema, as far as the document uses schemas.
fn expect_schema(document: &Value, schema: &Value, value: &Value) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return expect_schema(document, document.pointer(pointer).unwrap(), value);
    }
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{value} is not one of {values:?}");
    }
    match schema["type"].as_str().unwrap() {
        "string" => assert!(value.is_string(), "{value}"),
        "integer" => assert!(value.is_u64(), "{value}"),
        "array" => {
            for item in value.as_array().unwrap() {
                expect_schema(document, &schema["items"], item);
            }
        }
        "object" => {
            let members = value.as_object().unwrap();
            for name in schema["required"].as_array().unwrap() {
                assert!(members.contains_key(name.as_str().unwrap()), "{name}");
            }
            for (name, member) in members {
                let property = &schema["properties"][name];
                assert!(!property.is_null(), "{name} is not described");
                expect_schema(document, property, member);
            }
        }
        other => panic!("unexpected type {other}"),
    }
}

/// Compares a response with its description.
fn expect_described(document: &Value, operation: &Operation, response: &Response) {
    let described = &operation.responses()[response.status.as_str()];
    let content = described["content"].as_object().unwrap();
    let sent = response.headers["content-type"].to_str().unwrap();
    expect_schema(document, &content[sent]["schema"], &response.body);
    for name in described["headers"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
    {
        let is_sent = response.headers.contains_key(name.as_str());
        assert!(is_sent, "{} lacks {name}", response.status);
    }
    if response.status.is_client_error() || response.status.is_server_error() {
        assert_eq!(response.body["status"], response.status.as_u16());
        for name in ["www-authenticate", "retry-after", "cache-control"] {
            let headers = described["headers"].as_object().unwrap();
            let is_described = headers
                .keys()
                .any(|header| header.eq_ignore_ascii_case(name));
            assert_eq!(is_described, response.headers.contains_key(name), "{name}");
        }
    }
}

#[tokio::test]
async fn every_described_response_is_sent() {
    let document = described();
    for operation in operations(&document) {
        let fixture = Fixture::new().await;
        let token = token(&fixture, "invoices:read invoices:write").await;
        let bearer = format!("Bearer {token}");
        let networks = NewToken::named("c")
            .scopes("invoices:read invoices:write".parse().unwrap())
            .networks("192.0.2.0/24".parse().unwrap());
        let restricted = fixture.issue(&fixture.app().id, networks).await;
        let elsewhere = format!("Bearer {}", restricted.token().expose());
        let mut statuses = Vec::new();
        for fields in [
            vec![("authorization", bearer.as_str())],
            vec![],
            vec![("authorization", "Bearer acme_unknown")],
            vec![("authorization", "Bearer a b")],
            vec![("authorization", &bearer), ("x-api-key", &token)],
            vec![("authorization", &elsewhere)],
        ] {
            let response = operation.send(&fixture, &fields).await;
            expect_described(&document, &operation, &response);
            statuses.push(response.status.as_str().to_owned());
        }
        let fixture = Fixture::new().await;
        let unavailable = Fault::Error(StoreErrorKind::Unavailable);
        fixture.store.set_fault(unavailable);
        let bearer = fixture.bearer();
        let response = operation
            .send(&fixture, &[("authorization", &bearer)])
            .await;
        expect_described(&document, &operation, &response);
        statuses.push(response.status.as_str().to_owned());
        for status in operation.responses().keys() {
            let path = &operation.path;
            assert!(statuses.contains(status), "{path} never sent {status}");
        }
    }
}

#[tokio::test]
async fn each_alternative_admits_a_token_with_exactly_its_scopes() {
    let document = described();
    let fixture = Fixture::new().await;
    let mut schemes = Vec::new();
    for operation in operations(&document) {
        for (scheme, scopes) in operation.requirements() {
            let token = token(&fixture, &scopes).await;
            let (name, value) = field(&document, &scheme, &token);
            let response = operation.send(&fixture, &[(&name, &value)]).await;
            let path = &operation.path;
            assert_eq!(
                response.status,
                StatusCode::OK,
                "{path}, {scheme}, {scopes}"
            );
            expect_described(&document, &operation, &response);
            schemes.push(scheme);
        }
    }
    schemes.sort();
    schemes.dedup();
    assert_eq!(schemes, ["apiToken", "apiTokenHeader"]);
}

#[tokio::test]
async fn a_token_without_the_described_scopes_is_refused() {
    let document = described();
    let fixture = Fixture::new().await;
    let token = token(&fixture, "reports:read").await;
    for operation in operations(&document) {
        let requirements = operation.requirements();
        if requirements.iter().all(|(_, scopes)| scopes.is_empty()) {
            continue;
        }
        let response = operation.send(&fixture, &[("x-api-key", &token)]).await;
        assert_eq!(response.status, StatusCode::FORBIDDEN);
        expect_described(&document, &operation, &response);
        let listed = response.body["scope"].as_str().unwrap().split(' ');
        for scope in listed {
            let is_described = requirements
                .iter()
                .any(|(_, scopes)| scopes.contains(scope));
            assert!(is_described, "{} requires {scope}", operation.path);
            let forbidden = operation.responses()["403"]["description"].as_str();
            assert!(forbidden.unwrap().contains(scope), "{forbidden:?}");
        }
    }
}

#[tokio::test]
async fn a_public_operation_has_no_refusals() {
    let document = described();
    let operations = operations(&document);
    let mut public = operations
        .iter()
        .filter(|operation| operation.requirements().is_empty());
    let health = public.next().unwrap();
    assert_eq!(health.path, "/health");
    assert!(health.responses().keys().eq(["200"]));
    assert!(public.next().is_none());
}

#[tokio::test]
async fn the_service_shows_its_document() {
    let fixture = Fixture::new().await;
    let show = Operation {
        path: "/openapi.json".to_owned(),
        method: Method::GET,
        description: Value::Null,
    };
    assert_eq!(show.send(&fixture, &[]).await.body, described());
}
