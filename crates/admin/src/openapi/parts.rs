//! What this crate's own document and those of other services have in common.

use utoipa::openapi::{
    HeaderBuilder, ObjectBuilder, RefOr,
    path::{Operation, PathItem},
    response::Response,
    schema::{SchemaType, Type},
};

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// The operations of a path, and whether their responses have bodies.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let PathItem {
        get,
        put,
        post,
        delete,
        options,
        head,
        patch,
        trace,
        query,
        additional_operations,
        ..
    } = item;
    let with_bodies = [get, put, post, delete, options, patch, trace, query];
    let with_bodies = with_bodies.into_iter().flatten();
    let with_bodies = with_bodies.chain(additional_operations.values_mut());
    let with_bodies = with_bodies.map(|operation| (true, operation));
    with_bodies.chain(head.iter_mut().map(|operation| (false, operation)))
}

/// A string with a description.
pub(crate) fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .description(Some(description))
}

/// Describes a header of a response, unless the response describes it itself.
pub(crate) fn add_header(response: &mut Response, name: &str, description: &str) {
    let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let header = HeaderBuilder::new()
        .schema(Some(text))
        .description(Some(description));
    response
        .headers
        .entry(name.to_owned())
        .or_insert_with(|| RefOr::T(header.build()));
}

const CACHE_CONTROL: &str = "Cache-Control";

/// The header that is specific to a refusal with this status, and its description.
fn header_of(status: &str) -> (&'static str, &'static str) {
    match status {
        "503" => (
            "Retry-After",
            "The number of seconds to wait before trying again.",
        ),
        _ => (
            "WWW-Authenticate",
            "The accepted authentication schemes, and what is wrong.",
        ),
    }
}

/// Describes the headers of a response to a refused request.
pub(crate) fn add_headers(status: &str, response: &mut Response) {
    add_header(response, CACHE_CONTROL, "Always `no-store`.");
    let (name, description) = header_of(status);
    add_header(response, name, description);
}

/// Describes the headers of a response that is not only sent to refused requests.
pub(crate) fn add_headers_if_refused(status: &str, response: &mut Response) {
    let only = "Sent if the API token is refused.";
    add_header(response, CACHE_CONTROL, &format!("{only} Then `no-store`."));
    let (name, description) = header_of(status);
    add_header(response, name, &format!("{only} {description}"));
}
