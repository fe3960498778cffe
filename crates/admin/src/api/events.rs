use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tower_api_tokens::{AuditEventId, AuditQuery};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    cursor::Listing,
    extract::Params,
    fields::{AppIdText, Cursor, Limit, TokenIdText},
};
use crate::{operations::Operator, problem::Problem, view::EventView};

/// Creates the routes of the handlers below. The paths must match their OpenAPI descriptions.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/events", get(list_events))
}

#[derive(OpenApi)]
#[openapi(paths(list_events))]
pub(super) struct Paths;

/// The filter of a listing of audit events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventParams {
    /// Return only events about this app.
    #[param(inline, nullable = false)]
    app_id: Option<AppIdText>,
    /// Return only events about this token.
    #[param(inline, nullable = false)]
    token_id: Option<TokenIdText>,
    #[param(inline, nullable = false)]
    cursor: Option<Cursor>,
    #[param(inline, nullable = false)]
    limit: Option<Limit>,
}

impl EventParams {
    fn listing(&self) -> Listing {
        let app = self.app_id.as_ref().map(|AppIdText(app)| app.to_string());
        let token = self
            .token_id
            .as_ref()
            .map(|TokenIdText(token)| token.to_string());
        let [app, token] = [app, token].map(Option::unwrap_or_default);
        Listing::new(&["events", &app, &token])
    }

    fn query(self, listing: &Listing) -> Result<AuditQuery, Problem> {
        let mut query = AuditQuery::default().limit(Limit::of(self.limit));
        query.app = self.app_id.map(|AppIdText(app)| app);
        query.token = self.token_id.map(|TokenIdText(token)| token);
        if let Some(Cursor(cursor)) = self.cursor {
            query = query.after(listing.position(&cursor, event_id)?);
        }
        Ok(query)
    }
}

fn event_id(position: &[u8]) -> Option<AuditEventId> {
    position.try_into().ok().map(AuditEventId::from_bytes)
}

/// A page of audit events.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEventPage)]
pub(super) struct EventPageView<'r> {
    /// The events, latest first.
    items: Vec<EventView<'r>>,
    /// The cursor of the next page, or null on the last page.
    #[schema(required)]
    next: Option<String>,
}

/// List audit events.
#[utoipa::path(
    get, path = "/events", tag = "audit", params(EventParams),
    responses((status = OK, description = "A page of events.", body = EventPageView))
)]
pub(super) async fn list_events(
    Extension(operator): Extension<Operator>,
    Params(params): Params<EventParams>,
) -> Result<Response, Problem> {
    let listing = params.listing();
    let page = operator.events(&params.query(&listing)?).await?;
    let view = EventPageView {
        items: page.items.iter().map(EventView::from).collect(),
        next: page.next.map(|event| listing.cursor(event.as_bytes())),
    };
    Ok(Json(view).into_response())
}
