//! The nodes that verify tokens.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{NodeId, NodePage, NodeQuery, NodeRecord};

use super::{
    message::Message,
    page::{Page, query_string, render},
    request::{QueryResult, query_or_default},
    session::Session,
    text::{Moment, grouped},
};

/// How many nodes a page shows.
const PAGE_SIZE: usize = 50;

#[derive(Template)]
#[template(path = "nodes.html")]
struct NodesPage {
    page: Page,
    nodes: Vec<NodeRow>,
    /// The maximum bound of the fleet.
    bound: String,
    /// Whether every node registers.
    all_registered: bool,
    /// The path of the first page, unless this is it.
    first: Option<String>,
    /// The path of the next page, if there is one.
    next: Option<String>,
}

/// A node in the table.
struct NodeRow {
    id: NodeId,
    name: String,
    version: String,
    bound: String,
    status: &'static str,
    lag: String,
    registered: Moment,
    reported: Moment,
}

impl NodeRow {
    fn new(page: &NodePage, node: &NodeRecord) -> Self {
        let report = &node.report;
        let behind = |number: u64| page.latest.number.saturating_sub(number);
        let lag = report.applied.map(|applied| behind(applied.number));
        Self {
            id: report.id,
            name: report.name.clone(),
            version: report.version.clone(),
            bound: format!("{:?}", report.max_staleness),
            status: match (node.is_gone(page.now), lag) {
                (true, _) => "Gone",
                (false, None) => "Starting",
                (false, Some(_)) => "Running",
            },
            lag: lag.map_or_else(|| "Unknown".to_owned(), grouped),
            registered: Moment::new(node.registered_at, page.now),
            reported: Moment::new(node.reported_at, page.now),
        }
    }
}

/// The page, as in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    after: String,
}

pub(super) async fn show(session: Session, place: QueryResult<Place>) -> Result<Response, Message> {
    if session.page.only_app().is_some() {
        return Err(Message::no_such_page(&session.page));
    }
    let place = query_or_default(place);
    let mut query = NodeQuery::default().limit(PAGE_SIZE);
    if !place.after.is_empty() {
        let after = place.after.parse::<NodeId>();
        query = query.after(after.map_err(|_| Message::no_such_results(&session.page))?);
    }
    let fleet = session.or_error_page(session.operator.fleet().await)?;
    let listed = session.or_error_page(session.operator.nodes(&query).await)?;
    let page = session.page;
    let path = format!("{}/nodes", page.root);
    let next = listed.nodes.next.map(|next| next.to_string());
    let next = next.map(|next| format!("{path}{}", query_string(&[("after", next.as_str())])));
    let bound = fleet.settings.max_staleness;
    let shown = NodesPage {
        nodes: listed
            .nodes
            .items
            .iter()
            .map(|node| NodeRow::new(&listed, node))
            .collect(),
        bound: bound.map_or_else(|| "Any".to_owned(), |bound| format!("{bound:?}")),
        all_registered: fleet.settings.all_registered,
        first: query.after.is_some().then_some(path),
        next,
        page,
    };
    Ok(render(StatusCode::OK, &shown))
}
