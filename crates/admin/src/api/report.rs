//! The report on tokens that deserve attention.

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};

use super::{extract::Params, fields::AppIdText};
use crate::{operations::Operator, problem::Problem, view::ReportView};

/// Creates the route of the handler below. The path must match its OpenAPI description.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/report", get(get_report))
}

#[derive(OpenApi)]
#[openapi(paths(get_report))]
pub(super) struct Paths;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReportParams {
    /// Report only on tokens of this app.
    #[param(inline, nullable = false)]
    app_id: Option<AppIdText>,
}

/// Report on tokens that deserve attention.
///
/// Counts live tokens that never expire, are idle, expire soon, or were rotated.
#[utoipa::path(
    get, path = "/report", tag = "tokens", params(ReportParams),
    responses((status = OK, description = "The report.", body = ReportView))
)]
pub(super) async fn get_report(
    Extension(operator): Extension<Operator>,
    Params(params): Params<ReportParams>,
) -> Result<Response, Problem> {
    let app = params.app_id.map(|AppIdText(app)| app);
    let report = operator.report(app).await?;
    Ok(Json(ReportView::from(&report)).into_response())
}
