//! The description of the API, made from its handlers.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        Components, ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Schema,
        SecurityRequirement,
        path::{Operation, PathItem},
        response,
        schema::{SchemaType, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{apps, events, extract::NoParams, tokens};
use crate::{
    gate::Gate,
    guard::GuardScheme,
    problem::{Problem, ProblemBody},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "API tokens",
        description = "Manages the apps of a platform and their API tokens.",
    ),
    servers((url = ".", description = "Where this document is.")),
    paths(get_document),
    components(schemas(ProblemBody)),
    tags(
        (name = "apps", description = "Whom tokens belong to."),
        (name = "tokens", description = "What apps authenticate with."),
        (name = "audit", description = "What was done, by whom."),
        (name = "document", description = "This document."),
    )
)]
struct Outline;

/// The document, as it is sent.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    /// Completes what the handlers say of themselves by what holds for all of them.
    pub(super) fn new(gate: &Gate) -> Self {
        let mut document = Outline::openapi();
        for part in [
            apps::Paths::openapi(),
            tokens::Paths::openapi(),
            events::Paths::openapi(),
        ] {
            document.merge(part);
        }
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            complete(operation);
        }
        let components = document.components.get_or_insert_default();
        limit_overlap(components, gate.operations.max_overlap_seconds());
        document.security = secure(components, gate.guard.schemes());
        Self(document.to_json().unwrap_or_default().into())
    }
}

/// Get this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "document",
    responses((status = OK, description = "The document.", body = serde_json::Value))
)]
pub(super) async fn get_document(
    State(Document(json)): State<Document>,
    NoParams: NoParams,
) -> Result<Response, Problem> {
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut path.get, &mut path.post, &mut path.patch]
        .into_iter()
        .flatten()
}

fn complete(operation: &mut Operation) {
    let mut common = vec![
        ("400", "The request is malformed."),
        ("401", "The request does not prove who sends it."),
        ("403", "Who sends the request may not do this."),
        ("503", "The store fails, or cannot be written to."),
    ];
    if operation.request_body.is_some() {
        common.extend([
            ("413", "The body is too long."),
            ("415", "The body is not JSON."),
        ]);
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in common {
        let response = response::Response::new(description);
        responses
            .entry(status.to_owned())
            .or_insert(RefOr::T(response));
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response {
            complete_response(status, response);
        }
    }
}

fn complete_response(status: &str, response: &mut response::Response) {
    let mut headers = vec![("Cache-Control", "`no-store`, always.")];
    match status {
        "401" => headers.push(("WWW-Authenticate", "How to prove it.")),
        "503" => headers.push(("Retry-After", "In how many seconds to try again.")),
        _ => {}
    }
    for (name, description) in headers {
        let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
        let header = HeaderBuilder::new()
            .schema(Some(text))
            .description(Some(description));
        response
            .headers
            .insert(name.to_owned(), RefOr::T(header.build()));
    }
    if !status.starts_with('2') {
        let problem = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(problem)).build();
        response
            .content
            .insert("application/problem+json".to_owned(), RefOr::T(content));
    }
}

/// How long an overlap may be is for whoever sets up the tokens to say.
fn limit_overlap(components: &mut Components, seconds: u64) {
    let rotate = components.schemas.get_mut("RotateToken");
    if let Some(RefOr::T(Schema::Object(rotate))) = rotate
        && let Some(RefOr::T(Schema::Object(overlap))) =
            rotate.properties.get_mut("overlap_seconds")
    {
        overlap.maximum = Some(seconds.into());
    }
}

/// Names the schemes that the guard takes.
fn secure(
    components: &mut Components,
    schemes: &[GuardScheme],
) -> Option<Vec<SecurityRequirement>> {
    let mut requirements = Vec::new();
    for scheme in schemes {
        let (name, scheme) = match scheme {
            GuardScheme::Bearer => ("bearer", HttpAuthScheme::Bearer),
            GuardScheme::Basic => ("basic", HttpAuthScheme::Basic),
        };
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
        components.add_security_scheme(name, scheme);
        requirements.push(SecurityRequirement::new(name, [""; 0]));
    }
    (!requirements.is_empty()).then_some(requirements)
}
