//! Converts database rows to records. Rows are validated like any other input, because other programs
//! can write to the database.

use std::{error::Error, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{ColumnIndex, Decode, Row, Type};
use tower_api_tokens::{
    Answer, AppId, AppRecord, AuditEvent, AuditEventId, BoundKey, Change, Changes, EventPage,
    EventPosition, EventQuery, EventStart, ExpiringQuery, LivePage, LoggedChange, LoggedEvent,
    NodeId, Page, Policy, Revision, StoreError, StoreErrorKind, TokenCursor, TokenDigest, TokenId,
    TokenQuery, TokenRecord, UsedKey, store::from_microseconds,
};

use crate::telemetry;

/// The error for an operation or a query that only a newer version of the library knows.
pub(crate) fn unsupported() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported)
}

/// Returns the page size plus one, to see whether another page follows.
pub(crate) fn surplus(limit: usize) -> i64 {
    i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX)
}

/// A row with numbered columns. Null is `None`, and a value of another type is an error.
pub(super) trait Columns {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError>;
    fn text(&self, column: usize) -> Result<Option<&str>, StoreError>;
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError>;
    fn identifier(&self, column: usize) -> Result<Option<[u8; 16]>, StoreError>;
}

/// An identifier, stored in a type of the database.
#[derive(Clone, Copy)]
pub(super) struct Identifier(pub(super) [u8; 16]);

impl From<NodeId> for Identifier {
    fn from(id: NodeId) -> Self {
        Self(*id.as_bytes())
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl From<TokenId> for Identifier {
    fn from(id: TokenId) -> Self {
        Self(*id.as_bytes())
    }
}

impl<R> Columns for R
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: for<'r> Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r str: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
    Identifier: for<'r> Decode<'r, R::Database> + Type<R::Database>,
{
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        self.try_get(column).map_err(corrupt)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.try_get(column).map_err(corrupt)
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        self.try_get(column).map_err(corrupt)
    }

    fn identifier(&self, column: usize) -> Result<Option<[u8; 16]>, StoreError> {
        let id: Option<Identifier> = self.try_get(column).map_err(corrupt)?;
        Ok(id.map(|Identifier(id)| id))
    }
}

/// A required column is null.
#[derive(Debug, thiserror::Error)]
#[error("column {0} is null")]
struct NullColumn(usize);

/// The change log is empty. Even a new database has an entry in it.
#[derive(Debug, thiserror::Error)]
#[error("the change log is empty")]
struct EmptyLog;

pub(super) fn log_is_empty() -> StoreError {
    corrupt(EmptyLog)
}

/// The number of columns of a token and its app.
pub(super) const TOKEN_COLUMNS: usize = 19;

pub(super) fn token_from(row: &impl Columns) -> Result<TokenRecord, StoreError> {
    let digest = TokenDigest::from_bytes(bytes(row, 1)?);
    let mask = parse(text(row, 2)?)?;
    let created_at = from_microseconds(integer(row, 5)?);
    let (id, app) = (token_id(row, 0)?, app_from(row, 11, 17)?);
    let mut token = TokenRecord::new(id, digest, mask, app, text(row, 3)?, created_at);
    token.scopes = parse(text(row, 4)?)?;
    token.expires_at = time(row, 6)?;
    token.revoked_at = time(row, 7)?;
    token.successor = row.identifier(8)?.map(TokenId::from_bytes);
    token.last_used_at = time(row, 9)?;
    token.uses = count(row, 10)?;
    token.restrictions = row.text(15)?.map(parse).transpose()?;
    token.metadata = json(row, 16)?;
    token.created_by = row.text(18)?.map(str::to_owned);
    Ok(token)
}

/// Reads an answer from the columns of a token, which are null if there is none, and its position.
pub(super) fn answer_from(row: &impl Columns) -> Result<Answer, StoreError> {
    Ok(Answer::at(token_if_any(row)?, position_from(row)?))
}

/// Reads a page of live tokens from rows like those of [`answer_from`]. There is at least one row, and
/// one more than `limit` if another page follows.
pub(super) fn live_from(
    rows: &[impl Columns],
    limit: usize,
    now: Timestamp,
) -> Result<LivePage, StoreError> {
    let first = rows.first().ok_or_else(log_is_empty)?;
    let position = position_from(first)?;
    let tokens = match first.identifier(0)? {
        Some(_) => rows,
        None => &[],
    };
    let page = page_from(tokens, limit, "api_tokens", token_from, |row| {
        Ok(token_id(row, 0)?.into())
    })?;
    let shown = &tokens[..limit.min(tokens.len())];
    let mut live = LivePage::new(page, position);
    if live.tokens.len() < shown.len() {
        let unreadable = shown.iter().filter(|row| token_from(*row).is_err());
        let digests = unreadable.filter_map(|row| bytes(row, 1).ok());
        live.unreadable = digests.map(TokenDigest::from_bytes).collect();
    }
    // The statement does not judge restrictions.
    let query = TokenQuery::live(None, limit);
    live.tokens.retain(|token| query.selects(token, now));
    Ok(live)
}

pub(super) fn token_if_any(row: &impl Columns) -> Result<Option<TokenRecord>, StoreError> {
    match row.identifier(0)? {
        Some(_) => token_from(row).map(Some),
        None => Ok(None),
    }
}

/// Reads the position from the columns after those of a token.
fn position_from(row: &impl Columns) -> Result<Revision, StoreError> {
    revision_at(row, TOKEN_COLUMNS)
}

/// Reads an app from four columns, starting at `first`, and its metadata.
pub(super) fn app_from(
    row: &impl Columns,
    first: usize,
    metadata: usize,
) -> Result<AppRecord, StoreError> {
    let id: AppId = parse(text(row, first)?)?;
    let created_at = from_microseconds(integer(row, first + 2)?);
    let mut app = AppRecord::new(id, text(row, first + 1)?, created_at);
    app.disabled_at = time(row, first + 3)?;
    app.metadata = json(row, metadata)?;
    Ok(app)
}

/// Reads a page of expiring tokens from up to one row more than the limit of the query.
pub(super) fn expiring_from(
    rows: &[impl Columns],
    query: &ExpiringQuery,
) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
    page_from(rows, query.limit.get(), "api_tokens", token_from, |row| {
        let mut next = *query;
        next.from = from_microseconds(integer(row, 6)?);
        next.after = Some(token_id(row, 0)?);
        Ok(next)
    })
}

/// Returns the identifier of an unreadable row, the only part of it that is logged.
fn name_of(row: &impl Columns) -> String {
    if let Ok(Some(id)) = row.identifier(0) {
        return uuid::Uuid::from_bytes(id).to_string();
    }
    match row.text(0) {
        Ok(Some(id)) => id.escape_debug().to_string(),
        _ => "unreadable".to_owned(),
    }
}

/// Reads the rows, and logs and skips those that cannot be read, so that one bad row does not hide the
/// others.
pub(super) fn readable<R: Columns, T>(
    rows: &[R],
    table: &'static str,
    read: impl Fn(&R) -> Result<T, StoreError>,
) -> Vec<T> {
    read_each(rows, table, read).0
}

/// Like [`readable`], and also returns the identifiers of the rows that cannot be read.
pub(super) fn read_each<R: Columns, T>(
    rows: &[R],
    table: &'static str,
    read: impl Fn(&R) -> Result<T, StoreError>,
) -> (Vec<T>, Vec<String>) {
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        if let Ok(record) = read(row) {
            records.push(record);
            continue;
        }
        let name = name_of(row);
        telemetry::unreadable_row(table, &name);
        unreadable.push(name);
    }
    (records, unreadable)
}

/// Reads a page from up to one row more than its limit. The next page starts after the last row even if
/// that row cannot be read, so a page that is not the last may hold fewer records than its limit, or none.
pub(super) fn page_from<R: Columns, T, K>(
    rows: &[R],
    limit: usize,
    table: &'static str,
    read: impl Fn(&R) -> Result<T, StoreError>,
    key: impl Fn(&R) -> Result<K, StoreError>,
) -> Result<Page<T, K>, StoreError> {
    let more = rows.len() > limit;
    let rows = &rows[..limit.min(rows.len())];
    let next = match rows.last() {
        Some(last) if more => Some(key(last)?),
        _ => None,
    };
    let (records, unreadable) = read_each(rows, table, read);
    let mut page = Page::new(records, next);
    page.unreadable = unreadable;
    Ok(page)
}

/// Creates a page of apps from those that could be read, which may be more than its limit.
pub(super) fn app_page(
    apps: Vec<AppRecord>,
    unreadable: Vec<String>,
    limit: usize,
) -> Page<AppRecord, AppId> {
    let mut page = Page::from_surplus(apps, limit, |app| app.id);
    page.unreadable = unreadable;
    page
}

/// Reads a page of tokens from rows with what they are sorted by after the columns of a token. What
/// restrictions mean is judged here, not by the statement.
pub(super) fn tokens_from(
    rows: &[impl Columns],
    query: &TokenQuery,
    now: Timestamp,
) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
    let (limit, order) = (query.limit.get(), query.order());
    let mut page = page_from(rows, limit, "api_tokens", token_from, |row| {
        let key = integer(row, TOKEN_COLUMNS)?;
        Ok(TokenCursor::new(order, key, token_id(row, 0)?))
    })?;
    let mut judged = TokenQuery::default();
    (judged.status, judged.admissible) = (query.status, query.admissible);
    page.items.retain(|token| judged.selects(token, now));
    Ok(page)
}

pub(super) fn revision_from(row: &impl Columns) -> Result<Revision, StoreError> {
    revision_at(row, 0)
}

pub(super) fn revision_at(row: &impl Columns, first: usize) -> Result<Revision, StoreError> {
    let mark = integer(row, first + 1)?.cast_unsigned();
    Ok(Revision::new(count(row, first)?, mark))
}

/// Reads the changes after a revision. The first row is that revision itself, if it is still in the log.
/// If a revision is missing, the reader may have missed a change.
pub(super) fn changes_from(rows: &[impl Columns], since: Revision) -> Result<Changes, StoreError> {
    let Some((first, rest)) = rows.split_first() else {
        return Ok(Changes::Gap);
    };
    if revision_from(first)? != since {
        return Ok(Changes::Gap);
    }
    let mut changes = Vec::with_capacity(rest.len());
    let mut expected = since.number;
    for row in rest {
        expected = expected.saturating_add(1);
        match change_from(row) {
            Some(change) if change.revision.number == expected => changes.push(change),
            _ => return Ok(Changes::Gap),
        }
    }
    Ok(Changes::Since {
        changes,
        revision: rest.last().map_or(Ok(since), revision_from)?,
        latest: count(first, 4)?,
    })
}

/// Reads a row of the log. Returns `None` for a start of the log and for an unreadable row: everything
/// may have changed.
fn change_from(row: &impl Columns) -> Option<LoggedChange> {
    let change = match (row.text(3), row.bytes(2)) {
        (Ok(Some(app)), _) => Change::App(app.parse().ok()?),
        (Ok(None), Ok(Some(digest))) => {
            Change::Token(TokenDigest::from_bytes(digest.try_into().ok()?))
        }
        _ => return None,
    };
    Some(LoggedChange::new(revision_from(row).ok()?, change))
}

pub(super) fn used_key_from(row: &impl Columns, key: [u8; 32]) -> Result<UsedKey, StoreError> {
    let key = BoundKey::new(key, bytes(row, 1)?);
    let used_at = from_microseconds(integer(row, 2)?);
    Ok(UsedKey::new(key, token_id(row, 0)?, used_at))
}

pub(super) fn event_from(row: &impl Columns) -> Result<AuditEvent, StoreError> {
    let id = event_id(row)?;
    let at = from_microseconds(integer(row, 1)?);
    let (action, outcome) = (parse(text(row, 3)?)?, parse(text(row, 6)?)?);
    let mut event = AuditEvent::new(id, at, text(row, 2)?, action, outcome);
    event.app = row.text(4)?.map(parse).transpose()?;
    event.token = row.identifier(5)?.map(TokenId::from_bytes);
    event.changes = json(row, 7)?;
    Ok(event)
}

/// Reads the events of a query from rows of [`event_from`], each with its position. If the query starts after
/// an event, the first row is that event, if it is still in the log. There may be one row too many.
pub(super) fn event_page_from(
    rows: &[impl Columns],
    query: &EventQuery,
) -> Result<EventPage, StoreError> {
    let is_of_app = query.app.is_some();
    let position_of = |row| match is_of_app {
        true => event_position(row).map(|position| EventPosition::of_app(position.event)),
        false => event_position(row),
    };
    let (rows, start) = match query.start {
        EventStart::After(EventPosition::BEGINNING) => match rows.first() {
            Some(first) if !is_of_app && count(first, POSITION)? != 1 => {
                return Err(StoreError::gone());
            }
            _ => (rows, EventPosition::BEGINNING),
        },
        EventStart::After(after) => match rows.split_first() {
            Some((first, rest)) if position_of(first)? == after => (rest, after),
            _ => return Err(StoreError::gone()),
        },
        EventStart::Latest => {
            let latest = rows.first().map(position_of).transpose()?;
            (&[][..], latest.unwrap_or(EventPosition::BEGINNING))
        }
        _ => (rows, EventPosition::BEGINNING),
    };
    let mut events = Vec::new();
    for row in rows.iter().take(query.limit.get()) {
        match logged_event_from(row) {
            Ok(logged) if is_of_app => events.push(LoggedEvent::of_app(logged.event)),
            Ok(logged) => events.push(logged),
            // If it were left out, followers would miss it.
            Err(error) if events.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    let position = events.last().map_or(start, |last| last.position);
    Ok(EventPage::new(events, position))
}

/// The column of the position of an event, after those of the event.
const POSITION: usize = 8;

fn logged_event_from(row: &impl Columns) -> Result<LoggedEvent, StoreError> {
    Ok(LoggedEvent::new(count(row, POSITION)?, event_from(row)?))
}

fn event_position(row: &impl Columns) -> Result<EventPosition, StoreError> {
    Ok(EventPosition::new(count(row, POSITION)?, event_id(row)?))
}

/// Reads the identifier of an event from the first column.
pub(super) fn event_id(row: &impl Columns) -> Result<AuditEventId, StoreError> {
    Ok(AuditEventId::from_bytes(required(row.identifier(0)?, 0)?))
}

/// Reads the policy from the only column.
pub(super) fn policy_from(row: &impl Columns) -> Result<Policy, StoreError> {
    json(row, 0)
}

/// Reads JSON, or the default value if the column is null.
fn json<T: DeserializeOwned + Default>(row: &impl Columns, column: usize) -> Result<T, StoreError> {
    json_of(row.text(column)?)
}

/// Reads a value as it is stored, or returns the default.
pub(super) fn json_of<T: DeserializeOwned + Default>(text: Option<&str>) -> Result<T, StoreError> {
    match text {
        Some(text) => serde_json::from_str(text).map_err(corrupt),
        None => Ok(T::default()),
    }
}

/// Returns the changes of an event as they are stored.
pub(super) fn changes_text(event: &AuditEvent) -> Option<String> {
    (!event.changes.is_empty()).then(|| json_text(&event.changes))
}

pub(super) fn policy_text(policy: &Policy) -> String {
    json_text(policy)
}

pub(super) fn json_text(value: &impl Serialize) -> String {
    // These types consist of texts, numbers and maps with text keys, whose serialization cannot fail.
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns the smallest identifier of a record that was created at an instant or later.
pub(super) fn first_identifier_at(instant: Timestamp) -> Identifier {
    let milliseconds = u64::try_from(instant.as_millisecond()).unwrap_or_default();
    let mut identifier = [0; 16];
    identifier[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    Identifier(identifier)
}

/// Reads a nonnegative number.
pub(super) fn count(row: &impl Columns, column: usize) -> Result<u64, StoreError> {
    u64::try_from(integer(row, column)?).map_err(corrupt)
}

fn token_id(row: &impl Columns, column: usize) -> Result<TokenId, StoreError> {
    Ok(TokenId::from_bytes(required(
        row.identifier(column)?,
        column,
    )?))
}

pub(crate) fn time(row: &impl Columns, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.integer(column)?.map(from_microseconds))
}

pub(super) fn integer(row: &impl Columns, column: usize) -> Result<i64, StoreError> {
    required(row.integer(column)?, column)
}

pub(super) fn text(row: &impl Columns, column: usize) -> Result<&str, StoreError> {
    required(row.text(column)?, column)
}

fn bytes<const N: usize>(row: &impl Columns, column: usize) -> Result<[u8; N], StoreError> {
    let bytes = required(row.bytes(column)?, column)?;
    bytes.try_into().map_err(corrupt)
}

fn required<T>(value: Option<T>, column: usize) -> Result<T, StoreError> {
    value.ok_or_else(|| corrupt(NullColumn(column)))
}

fn parse<T: FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: Error + Send + Sync + 'static,
{
    text.parse().map_err(corrupt)
}

pub(crate) fn corrupt(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::with_source(StoreErrorKind::Corrupt, error)
}
