//! A service whose OpenAPI document describes what its clients need to know about API tokens: how to send
//! them, which scopes each operation requires, and the responses to requests that are refused.
//!
//! Each handler states its own scopes and responses, with `utoipa`. [`ApiTokenSecurity`] adds the rest. The
//! tests compare the document with the service: every response that it describes is sent.

use std::error::Error;

use axum::{
    Json, Router,
    routing::{get, post},
};
use tower_api_tokens::{ApiTokenLayer, ApiTokens, AppPrincipal};
use tower_api_tokens_admin::ApiTokenSecurity;
use utoipa::{Modify, OpenApi, openapi};

/// The header in which clients may send a token that cannot set `Authorization`.
const API_KEY_HEADER: &str = "x-api-key";

/// The operations of the service.
#[derive(OpenApi)]
#[openapi(
    info(title = "Invoices", version = "1.0.0"),
    paths(list_invoices, create_invoice, whoami, health)
)]
struct Operations;

/// Creates the OpenAPI document of the service.
pub fn document() -> openapi::OpenApi {
    let mut document = Operations::openapi();
    let security = ApiTokenSecurity::new().api_key_header(API_KEY_HEADER);
    security.modify(&mut document);
    document
}

/// Creates the service.
pub fn service(tokens: &ApiTokens) -> Result<Router, Box<dyn Error>> {
    let authenticate = ApiTokenLayer::new(tokens).api_key_header(API_KEY_HEADER)?;
    let may_read = authenticate.require_any("invoices:read invoices:write".parse()?);
    let may_write = authenticate.require_all("invoices:write".parse()?);
    let invoices = get(list_invoices)
        .layer(may_read)
        .merge(post(create_invoice).layer(may_write));
    let document = document();
    Ok(Router::new()
        .route("/invoices", invoices)
        .route("/whoami", get(whoami))
        .route_layer(authenticate)
        .route("/health", get(health))
        .route("/openapi.json", get(async || Json(document))))
}

/// List the invoices.
#[utoipa::path(
    get,
    path = "/invoices",
    security(("apiToken" = ["invoices:read"]), ("apiToken" = ["invoices:write"])),
    responses((status = OK, description = "The invoices.", body = Vec<String>)),
)]
async fn list_invoices() -> Json<Vec<String>> {
    Json(vec!["INV-1".to_owned()])
}

/// Create an invoice.
#[utoipa::path(
    post,
    path = "/invoices",
    security(("apiToken" = ["invoices:write"])),
    responses(
        (status = OK, description = "The number of the invoice.", body = String, content_type = "application/json"),
    ),
)]
async fn create_invoice() -> Json<String> {
    Json("INV-2".to_owned())
}

/// Get the name of the app that the token belongs to.
#[utoipa::path(
    get,
    path = "/whoami",
    security(("apiToken" = [])),
    responses(
        (status = OK, description = "The name of the app.", body = String, content_type = "application/json"),
    ),
)]
async fn whoami(app: AppPrincipal) -> Json<String> {
    Json(app.app_name().to_owned())
}

/// Check whether the service is running.
#[utoipa::path(
    get,
    path = "/health",
    responses(
        (status = OK, description = "The service is running.", body = String, content_type = "application/json"),
    ),
)]
async fn health() -> Json<&'static str> {
    Json("ok")
}
