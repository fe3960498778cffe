//! Converts rows to nodes. The two databases have the same columns.

use std::time::Duration;

use tower_api_tokens::{
    FleetSettings, FleetState, NodeId, NodePage, NodeQuery, NodeRecord, NodeReport, Page, Revision,
    StoreError, store::from_microseconds,
};

use crate::rows::{Columns, count, integer, log_is_empty, readable, revision_at, text};

/// How long the record of a node stays that reports no longer: one day, in microseconds. Until then, a
/// receipt waits for the node, or until its bound has passed.
pub(crate) const KEPT: i64 = 86_400_000_000;

/// The columns of a node. In a listing, the latest revision and the time follow.
macro_rules! node_columns {
    () => {
        "n.id, n.name, n.version, n.max_staleness, n.every, n.revision, n.mark, n.registered_at, n.reported_at"
    };
}

pub(crate) use node_columns;

/// The columns of the latest revision and of the time in a listing.
const LATEST: usize = 9;
const NOW: usize = 11;

/// The values of a report, in the order of their parameters after the identifier.
pub(crate) struct Values {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) max_staleness: i64,
    pub(crate) every: i64,
    pub(crate) revision: Option<i64>,
    pub(crate) mark: Option<i64>,
}

impl From<&NodeReport> for Values {
    fn from(report: &NodeReport) -> Self {
        // A number that the log cannot have is not applied.
        let applied = report.applied.map(|applied| {
            let number = i64::try_from(applied.number).unwrap_or(i64::MAX);
            (number, applied.mark.cast_signed())
        });
        Self {
            name: report.name.clone(),
            version: report.version.clone(),
            max_staleness: from_duration(report.max_staleness),
            every: from_duration(report.interval),
            revision: applied.map(|(number, _)| number),
            mark: applied.map(|(_, mark)| mark),
        }
    }
}

/// Returns a duration in microseconds.
pub(crate) fn from_duration(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Reads the state of the fleet.
pub(crate) fn fleet_from(row: &impl Columns) -> Result<FleetState, StoreError> {
    let bound = row.integer(2)?;
    let bound = bound.map(|bound| Duration::from_micros(u64::try_from(bound).unwrap_or(0)));
    let settings = FleetSettings::default()
        .max_staleness(bound)
        .all_registered(row.integer(3)? == Some(1));
    Ok(FleetState::new(count(row, 0)?, count(row, 1)?, settings))
}

/// Reads a page from at least one row, whose node is null if there is none.
pub(crate) fn node_page_from(
    rows: &[impl Columns],
    query: &NodeQuery,
) -> Result<NodePage, StoreError> {
    let first = rows.first().ok_or_else(log_is_empty)?;
    let latest = revision_at(first, LATEST)?;
    let now = from_microseconds(integer(first, NOW)?);
    let rows = match first.identifier(0)? {
        Some(_) => rows,
        None => &[],
    };
    let nodes = readable(rows, "api_token_nodes", node_from);
    let page = Page::from_surplus(nodes, query.limit.get(), |node| node.report.id);
    Ok(NodePage::new(page, latest, now))
}

fn node_from(row: &impl Columns) -> Result<NodeRecord, StoreError> {
    let id = row.identifier(0)?.map(NodeId::from_bytes);
    let id = id.ok_or_else(log_is_empty)?;
    let report = NodeReport::new(
        id,
        text(row, 1)?,
        text(row, 2)?,
        Duration::from_micros(count(row, 3)?),
    );
    let applied = match row.integer(5)? {
        Some(_) => Some(revision_at(row, 5)?),
        None => None::<Revision>,
    };
    let report = report
        .interval(Duration::from_micros(count(row, 4)?))
        .applied(applied);
    Ok(NodeRecord::new(
        report,
        from_microseconds(integer(row, 7)?),
        from_microseconds(integer(row, 8)?),
    ))
}
