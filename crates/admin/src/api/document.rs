//! The OpenAPI document, generated from the handlers.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header::CONTENT_TYPE;
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{
        Components, Content, ContentBuilder, Ref, RefOr, Schema, SecurityRequirement,
        path::Operation,
        response,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    apps, events,
    extract::{IfMatchText, NoParams},
    list, nodes, policy, report, revision, revocation, search, tokens,
};
use crate::{
    gate::Gate,
    guard::GuardScheme,
    openapi::parts::{PROBLEM_JSON, add_header, add_headers, operations},
    problem::{Problem, ProblemBody},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "API tokens",
        description = "Manage apps and their API tokens.",
    ),
    servers((url = ".", description = "The base URL of the API, relative to this document.")),
    paths(get_document),
    components(schemas(ProblemBody)),
    tags(
        (name = "apps", description = "The apps that tokens belong to."),
        (name = "tokens", description = "The tokens that apps authenticate with."),
        (name = "policy", description = "The rules that every new or edited token must follow."),
        (name = "nodes", description = "The nodes that verify tokens, and what holds for all of them."),
        (name = "audit", description = "The audit log: every change, when it was made, and by whom."),
        (name = "document", description = "The OpenAPI document of this API."),
    )
)]
struct Outline;

/// The serialized document.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    /// Merges the handlers' descriptions, and adds what they have in common.
    pub(super) fn new(gate: &Gate) -> Self {
        let mut document = Outline::openapi();
        for part in [
            apps::Paths::openapi(),
            list::Paths::openapi(),
            search::Paths::openapi(),
            revocation::Paths::openapi(),
            report::Paths::openapi(),
            tokens::Paths::openapi(),
            policy::Paths::openapi(),
            events::Paths::openapi(),
            nodes::Paths::openapi(),
        ] {
            document.merge(part);
        }
        for item in document.paths.paths.values_mut() {
            let changes = [
                &mut item.post,
                &mut item.put,
                &mut item.patch,
                &mut item.delete,
            ];
            changes.into_iter().flatten().for_each(revision::describe);
            operations(item).for_each(|(_, operation)| complete(operation));
        }
        let components = document.components.get_or_insert_default();
        limit_overlap(components, gate.operations.max_overlap_seconds());
        document.security = secure(components, gate.guard.schemes());
        Self(document.to_json().unwrap_or_default().into())
    }
}

/// Get the OpenAPI document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "document",
    responses((status = OK, description = "The OpenAPI document.", body = serde_json::Value))
)]
pub(super) async fn get_document(
    State(Document(json)): State<Document>,
    NoParams: NoParams,
) -> Result<Response, Problem> {
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

fn complete(operation: &mut Operation) {
    let mut common = vec![
        ("400", "The request is malformed."),
        ("401", "Credentials are missing or invalid."),
        ("403", "The caller is not allowed to do this."),
        ("503", "The token store is unavailable or read-only."),
    ];
    if operation.request_body.is_some() {
        common.extend([
            ("413", "The request body is too large."),
            ("415", "The request body is not JSON."),
        ]);
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.name == "If-Match"
        {
            // A header is absent, but never null.
            parameter.schema = Some(IfMatchText::schema());
        }
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
    match status {
        "401" | "503" => add_headers(status, response),
        _ => add_header(response, "Cache-Control", "Always `no-store`."),
    }
    if is_of_one_record(response) {
        add_header(
            response,
            "ETag",
            "The version of the record, in quotes. Send it as `If-Match` to change this version only.",
        );
    }
    if !status.starts_with('2') {
        let problem = Ref::from_schema_name(ProblemBody::name());
        let content = ContentBuilder::new().schema(Some(problem)).build();
        response
            .content
            .insert(PROBLEM_JSON.to_owned(), RefOr::T(content));
    }
}

/// Whether the body is a record with a version.
fn is_of_one_record(response: &response::Response) -> bool {
    let records = ["App", "Token", "IssuedToken", "Policy"];
    let records = records.map(|name| Ref::from_schema_name(name).ref_location);
    response.content.values().any(|content| match content {
        RefOr::T(Content {
            schema: Some(RefOr::Ref(schema)),
            ..
        }) => records.contains(&schema.ref_location),
        _ => false,
    })
}

/// Sets the maximum overlap of a rotation, which is configured at runtime.
fn limit_overlap(components: &mut Components, seconds: u64) {
    let rotate = components.schemas.get_mut("RotateToken");
    if let Some(RefOr::T(Schema::Object(rotate))) = rotate
        && let Some(RefOr::T(Schema::Object(overlap))) =
            rotate.properties.get_mut("overlap_seconds")
    {
        overlap.maximum = Some(seconds.into());
    }
}

/// Adds the authentication schemes that the guard accepts.
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
