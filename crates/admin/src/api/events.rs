use std::time::Duration;

use axum::{
    Extension, Json, Router,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tower_api_tokens::{AuditEvent, AuditEventId, AuditQuery, EventPosition, EventQuery};
use utoipa::{IntoParams, OpenApi, ToSchema};

use super::{
    cursor::Listing,
    extract::Params,
    fields::{After, AppIdText, Cursor, Limit, TokenIdText, Wait},
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
    /// Return events in the order in which they were committed, after this position. Cannot be combined with
    /// the filters and with `cursor`.
    #[param(inline, nullable = false)]
    after: Option<After>,
    #[param(inline, nullable = false)]
    wait: Option<Wait>,
    #[param(inline, nullable = false)]
    cursor: Option<Cursor>,
    #[param(inline, nullable = false)]
    limit: Option<Limit>,
}

impl EventParams {
    /// Returns where to start to read the events in their order, and how long to wait for one.
    fn following(&self) -> Result<Option<(EventQuery, Duration)>, Problem> {
        let wait = self.wait.as_ref().map(|Wait(wait)| *wait);
        let Some(After(start)) = self.after else {
            return match wait {
                Some(_) => Err(invalid(
                    "`wait` needs `after`; send a position to continue after",
                )),
                None => Ok(None),
            };
        };
        if self.app_id.is_some() || self.token_id.is_some() || self.cursor.is_some() {
            return Err(invalid(
                "`after` cannot be combined with `app_id`, `token_id` or `cursor`; leave them out",
            ));
        }
        let query = EventQuery::new(start).limit(Limit::of(self.limit));
        Ok(Some((query, wait.unwrap_or_default())))
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

fn invalid(detail: &'static str) -> Problem {
    Problem::bad_request("invalid_query", detail)
}

fn event_id(position: &[u8]) -> Option<AuditEventId> {
    position.try_into().ok().map(AuditEventId::from_bytes)
}

/// A page of audit events.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEventPage)]
pub(super) struct EventPageView<'r> {
    /// The events: the latest first, or with `after`, the oldest first.
    items: Vec<EventItemView<'r>>,
    /// The cursor of the next page, or null on the last page. With `after`, the position to continue after,
    /// which is never null.
    #[schema(required)]
    next: Option<String>,
}

/// An audit event in a page.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEventItem)]
struct EventItemView<'r> {
    /// The position of the event in the order of commits, for `after`. Present only in pages with `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(0|([1-9][0-9]*-)?[0-9a-f-]{36})$", nullable = false)]
    position: Option<EventPosition>,
    #[serde(flatten)]
    event: EventView<'r>,
}

impl<'r> EventItemView<'r> {
    fn unpositioned(event: &'r AuditEvent) -> Self {
        Self {
            position: None,
            event: EventView::from(event),
        }
    }
}

/// List audit events.
///
/// Without `after`, the latest event comes first. With `after`, events come in the order in which they were
/// committed: send `next` as `after` in the next request, and store it to continue after a restart. Refused
/// actions change nothing and are not among them. If the log no longer has the position, the status is 410 with
/// the code `gone`: start over from `oldest` or `latest`.
#[utoipa::path(
    get, path = "/events", tag = "audit", params(EventParams),
    responses(
        (status = OK, description = "A page of events.", body = EventPageView),
        (status = GONE, description = "The event log does not have the position."),
    )
)]
pub(super) async fn list_events(
    Extension(operator): Extension<Operator>,
    listing: Listing,
    Params(params): Params<EventParams>,
) -> Result<Response, Problem> {
    if let Some((query, wait)) = params.following()? {
        let page = operator.read_events(&query, wait).await?;
        let items = page.events.iter().map(|logged| EventItemView {
            position: Some(logged.position),
            event: EventView::from(&logged.event),
        });
        let view = EventPageView {
            items: items.collect(),
            next: Some(page.position.to_string()),
        };
        return Ok(Json(view).into_response());
    }
    let page = operator.events(&params.query(&listing)?).await?;
    let view = EventPageView {
        items: page.items.iter().map(EventItemView::unpositioned).collect(),
        next: page.next.map(|event| listing.cursor(event.as_bytes())),
    };
    Ok(Json(view).into_response())
}
