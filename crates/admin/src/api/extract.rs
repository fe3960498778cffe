//! Extractors that validate requests strictly, and reject them with a hint on what to fix.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
};
use http::{
    StatusCode,
    header::{HeaderName, IF_MATCH},
    request::Parts,
};
use serde::de::DeserializeOwned;

use tower_api_tokens::{IdempotencyKey, RecordVersion};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

use super::fields::KeyText;
use crate::{media_type::is_one_of, problem::Problem};

/// The maximum length of a request body, in bytes.
pub(super) const MAX_BODY: usize = 64 * 1024;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The JSON body of a request.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read_json(request, state, &["application/json"])
            .await
            .map(Self)
    }
}

/// The JSON merge patch (RFC 7396) in the body of a request.
pub(super) struct Patch<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Patch<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let types = ["application/merge-patch+json", "application/json"];
        read_json(request, state, &types).await.map(Self)
    }
}

/// The JSON body of a request that contains a secret. Errors quote no part of it.
pub(super) struct SecretBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for SecretBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read_object(request, state, &["application/json"]).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|_| {
            Problem::bad_request(
                "invalid_body",
                "invalid body: expected a JSON object with exactly the documented fields; see `/openapi.json`",
            )
        })
    }
}

/// Reads a body of one of these media types.
async fn read_json<S: Send + Sync, T: DeserializeOwned>(
    request: Request,
    state: &S,
    types: &[&str],
) -> Result<T, Problem> {
    let bytes = read_object(request, state, types).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad_request("invalid_body", invalid_body(&error)))
}

/// Reads a body that starts like a JSON object.
async fn read_object<S: Send + Sync>(
    request: Request,
    state: &S,
    types: &[&str],
) -> Result<Bytes, Problem> {
    if !is_one_of(types, request.headers()) {
        let types = types.join("` or `");
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("the body must be JSON; send `Content-Type: {types}`"),
        ));
    }
    let bytes = Bytes::from_request(request, state).await;
    let bytes = bytes.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "the body is larger than 64 KiB; send a smaller one",
        ),
        _ => Problem::bad_request("invalid_body", "the body is incomplete; send it again"),
    })?;
    // `serde` would also accept an array with the fields in order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        let detail = "invalid body: expected a JSON object";
        return Err(Problem::bad_request("invalid_body", detail));
    }
    Ok(bytes)
}

/// Names the place first: a message of `serde_json` ends with it, after the hint.
fn invalid_body(error: &serde_json::Error) -> String {
    let place = format!("line {} column {}", error.line(), error.column());
    let message = error.to_string();
    match message.strip_suffix(&format!(" at {place}")) {
        Some(message) => format!("invalid body at {place}: {message}"),
        None => format!("invalid body: {message}"),
    }
}

/// The query parameters of a request.
pub(super) struct Params<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => {
                let detail = format!("invalid query: {}", cause(&rejection));
                Err(Problem::bad_request("invalid_query", detail))
            }
        }
    }
}

/// Rejects query parameters on an endpoint without any.
pub(super) struct NoParams;

impl<S: Send + Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(Problem::bad_request(
                "invalid_query",
                "this endpoint takes no query parameters; remove them",
            )),
        }
    }
}

/// The identifier in the path of a request.
pub(super) struct Id<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => {
                let detail = format!("in the path: {}", cause(&rejection));
                Err(Problem::bad_request("invalid_path", detail))
            }
        }
    }
}

/// Returns the innermost cause of an error.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The `Idempotency-Key` header of a request, if present.
pub(super) struct Key(pub(super) Option<IdempotencyKey>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let invalid = |detail: String| Problem::bad_request("invalid_idempotency_key", detail);
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        if values.next().is_some() {
            return Err(invalid(
                "the request has several `Idempotency-Key` headers; send one".into(),
            ));
        }
        match KeyText::try_from(value.to_str().unwrap_or_default().to_owned()) {
            Ok(KeyText(key)) => Ok(Self(Some(key))),
            Err(error) => Err(invalid(error.to_string())),
        }
    }
}

/// The version in the `If-Match` header of a request (RFC 9110 section 13.1.1). `None` means any.
pub(super) struct IfMatch(pub(super) Option<RecordVersion>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(IF_MATCH).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let tag = value.to_str().unwrap_or_default().trim();
        // A list would accept any of several versions, which no client of this API needs.
        if values.next().is_some() || tag.contains(',') {
            return Err(Problem::bad_request(
                "invalid_if_match",
                "invalid `If-Match` header; send one `ETag` as it was returned, or `*`",
            ));
        }
        let version = (tag != "*").then(|| version_of(tag));
        Ok(Self(version))
    }
}

/// A value of the `If-Match` header.
pub(super) struct IfMatchText;

impl PartialSchema for IfMatchText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some(
                "The `ETag` of the version to change, as it was returned. Without it, any version is changed.",
            ))
            .pattern(Some("^[^,]*$"))
            .into()
    }
}

impl ToSchema for IfMatchText {}

/// Returns the version of a strong entity tag. Anything else matches no record.
fn version_of(tag: &str) -> RecordVersion {
    let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let version = opaque.and_then(|opaque| opaque.parse().ok());
    version.unwrap_or(RecordVersion::NONE)
}
