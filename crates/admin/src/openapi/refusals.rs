//! The responses of an `ApiTokenLayer` to requests that it refuses.

use std::collections::btree_map::Entry;

use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema,
    path::Operation,
    response::Response,
    schema::{SchemaType, Type},
};

use super::parts::{PROBLEM_JSON, add_headers, add_headers_if_refused, text};

/// The name of the schema of a refusal's body.
const PROBLEM: &str = "ApiTokenProblem";

/// The refusals of an operation.
pub(super) struct Refusals {
    responses: [(&'static str, String); 4],
    /// Whether the responses have bodies. Those to HEAD do not.
    have_bodies: bool,
}

impl Refusals {
    /// The refusals of an operation that requires all scopes of one of these sets.
    pub(super) fn of(scopes: &[Vec<String>], have_bodies: bool) -> Self {
        Self {
            responses: [
                (
                    "400",
                    "The credential is malformed, or there are several.".to_owned(),
                ),
                (
                    "401",
                    "The request has no token, or the token is not valid.".to_owned(),
                ),
                ("403", forbidden(scopes)),
                (
                    "503",
                    "The token cannot be checked at the moment.".to_owned(),
                ),
            ],
            have_bodies,
        }
    }

    /// Adds the refusals to an operation.
    pub(super) fn describe(self, operation: &mut Operation) {
        let responses = &mut operation.responses.responses;
        for (status, description) in self.responses {
            let response = match responses.entry(status.to_owned()) {
                Entry::Vacant(vacant) => {
                    let mut response = Response::new(description);
                    add_headers(status, &mut response);
                    vacant.insert(RefOr::T(response))
                }
                Entry::Occupied(described) => {
                    let described = described.into_mut();
                    if let RefOr::T(response) = described {
                        add_headers_if_refused(status, response);
                    }
                    described
                }
            };
            if let RefOr::T(response) = response
                && self.have_bodies
            {
                add_body(response);
            }
        }
    }
}

pub(super) fn forbidden(scopes: &[Vec<String>]) -> String {
    let address = "the token may not be used from the client's address.";
    let quoted = |set: &Vec<String>| {
        let names: Vec<_> = set.iter().map(|scope| format!("`{scope}`")).collect();
        names.join(" and ")
    };
    let sets: Vec<_> = scopes
        .iter()
        .filter(|set| !set.is_empty())
        .map(quoted)
        .collect();
    match sets.join(", or ") {
        sets if sets.is_empty() => address.replacen('t', "T", 1),
        sets => format!("The token lacks a required scope ({sets}), or {address}"),
    }
}

/// Adds the body of a refusal. If the operation describes another one of the same type, either may be sent.
fn add_body(response: &mut Response) {
    let problem = RefOr::from(Ref::from_schema_name(PROBLEM));
    let own = match response.content.get(PROBLEM_JSON) {
        Some(RefOr::T(content)) => content.schema.clone(),
        // It describes the whole body.
        Some(RefOr::Ref(_)) => return,
        None => None,
    };
    let schema = match own {
        Some(own) if includes(&own, &problem) => return,
        Some(own) => {
            let either = OneOfBuilder::new().item(own).item(problem);
            RefOr::T(Schema::OneOf(either.build()))
        }
        None => problem,
    };
    let content = ContentBuilder::new().schema(Some(schema)).build();
    response
        .content
        .insert(PROBLEM_JSON.to_owned(), RefOr::T(content));
}

/// Whether a schema is this one, or has it as an alternative.
fn includes(schema: &RefOr<Schema>, other: &RefOr<Schema>) -> bool {
    match schema {
        RefOr::T(Schema::OneOf(either)) => either.items.contains(other),
        schema => schema == other,
    }
}

/// The body of a refusal, and its name.
pub(super) fn schema() -> (String, Schema) {
    let kind = text("Always `about:blank`: the status says what is wrong.");
    let status = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .description(Some("The HTTP status of the response."))
        .enum_values(Some([400, 401, 403, 503]));
    let scope =
        "The scopes that are required, separated by spaces. Present only if the token lacks one.";
    let problem = ObjectBuilder::new()
        .description(Some("Why a request was refused (RFC 9457)."))
        .property("type", kind.enum_values(Some(["about:blank"])))
        .required("type")
        .property("title", text("The reason phrase of the status."))
        .required("title")
        .property("status", status)
        .required("status")
        .property("detail", text("What is wrong, for people. It may change."))
        .required("detail")
        .property("scope", text(scope));
    (PROBLEM.to_owned(), problem.into())
}
