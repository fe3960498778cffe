//! The nodes that verify tokens, and revocations that wait for all of them.

use std::time::Duration;

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tower_api_tokens::{FleetSettings, NodeId, NodeQuery};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    cursor::Listing,
    extract::{Body, Id, IfMatch, IfMatchText, NoParams, Params},
    fields::{BoundSeconds, Cursor, Limit, NodeIdText, Seconds, TokenIdText},
    tokens::view,
};
use crate::{
    node_view::{FleetView, NodeView, ReceiptView},
    operations::Operator,
    problem::Problem,
    view::TokenView,
};

/// How long a request may wait for all nodes.
const MAX_WAIT: u64 = 30;

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/nodes", get(list_nodes))
        .route("/nodes/{node}", delete(remove_node))
        .route("/fleet", get(get_fleet).put(set_fleet))
        .route("/tokens/{token}/revoke/everywhere", post(revoke_everywhere))
}

#[derive(OpenApi)]
#[openapi(paths(list_nodes, remove_node, get_fleet, set_fleet, revoke_everywhere))]
pub(super) struct Paths;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NodeParams {
    /// The cursor of the page: `next` of the previous page.
    #[param(inline, nullable = false)]
    cursor: Option<Cursor>,
    /// The number of nodes on a page.
    #[param(inline, nullable = false)]
    limit: Option<Limit>,
}

/// A page of nodes.
#[derive(Serialize, ToSchema)]
#[schema(as = NodePage)]
pub(super) struct NodePageView<'r> {
    /// The nodes, the longest registered first.
    items: Vec<NodeView<'r>>,
    /// The cursor of the next page, or null on the last page.
    #[schema(required)]
    next: Option<String>,
}

fn position(bytes: &[u8]) -> Option<NodeId> {
    Some(NodeId::from_bytes(bytes.try_into().ok()?))
}

/// List the nodes that verify tokens.
///
/// Nodes that can only read the store do not register, and are not listed.
#[utoipa::path(
    get, path = "/nodes", tag = "nodes", params(NodeParams),
    responses((status = OK, description = "A page of nodes.", body = NodePageView))
)]
pub(super) async fn list_nodes(
    Extension(operator): Extension<Operator>,
    listing: Listing,
    Params(params): Params<NodeParams>,
) -> Result<Response, Problem> {
    let mut query = NodeQuery::default().limit(Limit::of(params.limit));
    if let Some(Cursor(cursor)) = params.cursor {
        query = query.after(listing.position(&cursor, position)?);
    }
    let page = operator.nodes(&query).await?;
    let nodes = page.nodes.items.iter();
    let items = nodes.map(|node| NodeView::at(page.latest, page.now, node));
    let view = NodePageView {
        items: items.collect(),
        next: page.nodes.next.map(|next| listing.cursor(next.as_bytes())),
    };
    Ok(Json(view).into_response())
}

/// Remove a node.
///
/// For a node that is gone for good, so that revocations no longer wait for it. A node that still runs registers
/// itself again. Requires an actor who may grant everything.
#[utoipa::path(
    delete, path = "/nodes/{node}", tag = "nodes", params(("node" = inline(NodeIdText), Path)),
    responses(
        (status = NO_CONTENT, description = "The node is removed."),
        (status = NOT_FOUND, description = "No node with this identifier is registered."),
    )
)]
pub(super) async fn remove_node(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(NodeIdText(id)): Id<NodeIdText>,
) -> Result<StatusCode, Problem> {
    match operator.remove_node(id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_node",
            "no node with this identifier is registered; list all with `GET /nodes`",
        )),
    }
}

/// Get the state and the settings of the fleet.
#[utoipa::path(
    get, path = "/fleet", tag = "nodes",
    responses((status = OK, description = "The fleet.", body = FleetView))
)]
pub(super) async fn get_fleet(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
) -> Result<Response, Problem> {
    let state = operator.fleet().await?;
    Ok(Json(FleetView::from(&state)).into_response())
}

/// What holds for all nodes. A setting that is null or absent is removed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetFleet {
    /// The maximum time for which a node may use a cached answer, in seconds, which may have a fraction.
    #[schema(inline)]
    max_staleness_seconds: Option<BoundSeconds>,
    /// Whether every node that verifies tokens registers, so that a revocation is complete once all of them have
    /// applied it. Defaults to false.
    #[serde(default)]
    all_registered: bool,
}

/// Set what holds for all nodes.
///
/// A node that is configured with a longer bound does not start. Running nodes are not affected. Requires an actor who
/// may grant everything.
#[utoipa::path(
    put, path = "/fleet", tag = "nodes", request_body = SetFleet,
    responses((status = OK, description = "The fleet.", body = FleetView))
)]
pub(super) async fn set_fleet(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Body(body): Body<SetFleet>,
) -> Result<Response, Problem> {
    let bound = body.max_staleness_seconds;
    let bound = bound.map(|BoundSeconds(bound)| bound);
    let settings = FleetSettings::default()
        .max_staleness(bound)
        .all_registered(body.all_registered);
    operator.set_fleet(settings).await?;
    Ok(Json(FleetView::from(&operator.fleet().await?)).into_response())
}

/// How long to wait for all nodes, in seconds. At most 30.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeEverywhere {
    #[schema(inline)]
    wait_seconds: Seconds,
}

/// A revoked token, and which nodes have applied its revocation.
#[derive(Serialize, ToSchema)]
pub(super) struct RevokedEverywhere<'r> {
    /// The revoked token.
    token: TokenView<'r>,
    /// Which nodes have applied the revocation.
    receipt: ReceiptView<'r>,
}

/// Revoke a token everywhere.
///
/// Revokes the token, and waits until no node accepts it any more. The token is revoked even if the receipt is
/// pending: send the request again to wait longer.
#[utoipa::path(
    post, path = "/tokens/{token}/revoke/everywhere", tag = "tokens", request_body = RevokeEverywhere,
    params(
        ("token" = inline(TokenIdText), Path),
        ("If-Match" = inline(Option<IfMatchText>), Header),
    ),
    responses(
        (status = OK, description = "No node accepts the token any more.", body = RevokedEverywhere),
        (status = ACCEPTED, description = "The token is revoked, but a node may still accept it for a while.",
            body = RevokedEverywhere),
        (status = NOT_FOUND, description = "The token does not exist."),
        (status = PRECONDITION_FAILED, description = "The token has another version."),
    )
)]
pub(super) async fn revoke_everywhere(
    Extension(operator): Extension<Operator>,
    NoParams: NoParams,
    Id(TokenIdText(id)): Id<TokenIdText>,
    IfMatch(version): IfMatch,
    Body(body): Body<RevokeEverywhere>,
) -> Result<Response, Problem> {
    let wait = Duration::from_secs(body.wait_seconds.0.min(MAX_WAIT));
    let revoking = operator.expecting(version);
    let (token, receipt) = revoking.revoke_everywhere(id, wait).await?;
    let status = match receipt.is_complete() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let body = RevokedEverywhere {
        token: view(&operator, &token),
        receipt: ReceiptView::from(&receipt),
    };
    Ok((status, Json(body)).into_response())
}
