//! All statements. They are constants, and values are always bound.

use crate::{listing::Dialect, nodes::node_columns};

/// The expiry of a token. For restricted tokens, `expires_at` is in the past, so that processes of earlier
/// versions refuse them.
macro_rules! expiry {
    () => {
        "CASE WHEN t.restrictions IS NULL THEN t.expires_at ELSE t.restricted_expires_at END "
    };
}

macro_rules! columns {
    () => {
        concat!(
            "t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, ",
            expiry!(),
            ", t.revoked_at, t.successor, t.last_used_at, t.uses, ",
            "a.id, a.name, a.created_at, a.disabled_at, t.restrictions, ",
            "t.metadata, a.metadata, t.created_by "
        )
    };
}

macro_rules! source {
    () => {
        "api_tokens t JOIN api_token_apps a ON a.id = t.app_id "
    };
}

macro_rules! tokens {
    ($($clause:expr),*) => {
        concat!("SELECT ", columns!(), "FROM ", source!(), $($clause),*)
    };
}

/// For the listing of tokens. A `+` keeps SQLite from using an index.
pub(super) const DIALECT: Dialect = Dialect {
    parameter: '?',
    columns: columns!(),
    source: source!(),
    end: concat!("coalesce(", expiry!(), ", 9223372036854775807)"),
    app_disabled_at: "a.disabled_at",
    is_named: "instr(lower(t.name), lower(#)) > 0",
    has_head: "substr(t.mask, 1, instr(t.mask, '…') - 1) = #",
    has_tail: "substr(t.mask, instr(t.mask, '…') + 1) = #",
    is_created_by: "t.created_by = # AND t.created_by IS NOT NULL",
    is_unexpired: concat!("+coalesce(", expiry!(), ", 9223372036854775807) > #"),
    weighs_indexes: false,
    compares_rows: false,
};

macro_rules! latest {
    () => {
        "(SELECT revision, mark FROM api_token_changes ORDER BY revision DESC LIMIT 1) r "
    };
}

/// Returns one row: the token, or NULLs if there is none, and the latest revision.
pub(super) const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    ", r.revision, r.mark FROM ",
    latest!(),
    "LEFT JOIN (api_tokens t JOIN api_token_apps a ON a.id = t.app_id) ON t.digest = ?1"
);

/// Returns at least one row, like [`FIND`]. The limit is in the subquery; otherwise every page would read all
/// live tokens.
pub(super) const LIVE: &str = concat!(
    "SELECT l.*, r.revision, r.mark FROM ",
    latest!(),
    "LEFT JOIN (",
    tokens!(
        "WHERE t.id < ?1 AND t.revoked_at IS NULL AND coalesce(",
        expiry!(),
        "> ?3, true) AND a.disabled_at IS NULL ORDER BY t.id DESC LIMIT ?2"
    ),
    ") l ON true ORDER BY 1 DESC"
);

/// Returns at least one row, like [`LIVE`], in the order of the table.
pub(super) const LIVE_AT: &str = concat!(
    "SELECT l.*, r.revision, r.mark FROM ",
    latest!(),
    "LEFT JOIN (",
    tokens!(
        "WHERE t.revoked_at IS NULL AND coalesce(",
        expiry!(),
        "> ?1, true) AND a.disabled_at IS NULL"
    ),
    ") l ON true"
);

pub(super) const TOKEN: &str = tokens!("WHERE t.id = ?1 AND (?2 IS NULL OR t.app_id = ?2)");

macro_rules! count_of {
    ($($clause:literal)?) => {
        concat!(
            "SELECT count(*) FROM api_tokens t WHERE t.app_id = ?1 AND t.revoked_at IS NULL AND coalesce(",
            expiry!(),
            "> ?2, true) ",
            $($clause)?
        )
    };
}

/// Counts the tokens of an app that have neither expired nor been revoked.
pub(super) const LIVE_OF: &str = count_of!();

/// Counts those that have no successor.
pub(super) const CURRENT_OF: &str = count_of!("AND t.successor IS NULL");

/// Finds one of those with a name.
pub(super) const NAMED: &str = concat!(
    "SELECT 1 FROM api_tokens t WHERE t.app_id = ?1 AND t.name = ?3 AND t.revoked_at IS NULL AND coalesce(",
    expiry!(),
    "> ?2, true) AND t.successor IS NULL LIMIT 1"
);

pub(super) const UNREVOKED: &str = tokens!("WHERE t.app_id = ?1 AND t.revoked_at IS NULL");

pub(super) const APP: &str =
    "SELECT id, name, created_at, disabled_at, metadata FROM api_token_apps WHERE id = ?1";

pub(super) const APPS: &str = "SELECT id, name, created_at, disabled_at, metadata FROM api_token_apps \
     WHERE id > ?1 AND (?4 IS NULL OR instr(lower(name), lower(?4)) > 0) \
     ORDER BY id LIMIT ?2 OFFSET ?3";

pub(super) const INSERT_APP: &str = "INSERT INTO api_token_apps \
     (id, name, created_at, disabled_at, metadata) VALUES (?1, ?2, ?3, ?4, ?5)";

pub(super) const UPDATE_APP: &str = "UPDATE api_token_apps SET \
     name = ?2, created_at = ?3, disabled_at = ?4, metadata = ?5 WHERE id = ?1";

pub(super) const REMOVE_TOKENS_OF_APP: &str = "DELETE FROM api_tokens WHERE app_id = ?1";

pub(super) const REMOVE_APP: &str = "DELETE FROM api_token_apps WHERE id = ?1";

pub(super) const POLICY: &str = "SELECT policy FROM api_token_policy";

pub(super) const PUT_POLICY: &str =
    "INSERT OR REPLACE INTO api_token_policy (only_row, policy) VALUES (1, ?1)";

pub(super) const INSERT_TOKEN: &str = "INSERT INTO api_tokens \
     (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at, successor, last_used_at, uses, \
     restrictions, restricted_expires_at, metadata, created_by) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// Has the same parameters as [`INSERT_TOKEN`].
pub(super) const UPDATE_TOKEN: &str = "UPDATE api_tokens SET \
     digest = ?2, mask = ?3, app_id = ?4, name = ?5, scopes = ?6, created_at = ?7, expires_at = ?8, revoked_at = ?9, \
     successor = ?10, last_used_at = ?11, uses = ?12, restrictions = ?13, restricted_expires_at = ?14, \
     metadata = ?15, created_by = ?16 WHERE id = ?1";

/// Fails if the key exists.
/// The numbers are for counting. An older use of the key is replaced.
pub(super) const PUT_KEY: &str = "INSERT INTO api_token_keys (key, request, token, used_at, number) \
     SELECT ?1, ?2, ?3, ?4, coalesce(max(number), 0) + 1 FROM api_token_keys WHERE true \
     ON CONFLICT (key) DO UPDATE SET request = excluded.request, token = excluded.token, \
     used_at = excluded.used_at, number = excluded.number";

/// Counts the keys from the oldest one since an instant to the latest one, by their numbers.
pub(super) const KEYS_SINCE: &str = "SELECT coalesce((SELECT max(number) FROM api_token_keys) - \
     (SELECT number FROM api_token_keys WHERE used_at >= ?1 ORDER BY used_at LIMIT 1) + 1, 0)";

pub(super) const KEY: &str = "SELECT token, request, used_at FROM api_token_keys WHERE key = ?1";

/// Removes some of the oldest keys. A change must not wait for the removal of all of them.
pub(super) const TRIM_KEYS: &str = "DELETE FROM api_token_keys WHERE key IN \
     (SELECT key FROM api_token_keys WHERE used_at < ?1 ORDER BY used_at LIMIT ?2)";

pub(super) const APPEND_EVENT: &str = "INSERT INTO api_token_audit \
     (id, at, actor, action, app_id, token, outcome, changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

// `CROSS JOIN` reads the positions first, in their order.
macro_rules! positioned_events {
    () => {
        "SELECT a.id, a.at, a.actor, a.action, a.app_id, a.token, a.outcome, a.changes, e.position \
         FROM api_token_events e CROSS JOIN api_token_audit a ON a.id = e.event "
    };
}

macro_rules! events {
    ($clause:literal) => {
        concat!(
            "SELECT id, at, actor, action, app_id, token, outcome, changes FROM api_token_audit ",
            "WHERE id < ?1 ",
            $clause,
            " ORDER BY id DESC LIMIT ?2"
        )
    };
}

/// Reads only the latest events, however many there are.
pub(super) const EVENT_TIME_AT: &str = "SELECT min(at) FROM \
     (SELECT at FROM api_token_audit ORDER BY id DESC LIMIT ?1) HAVING count(*) = ?1";

/// Returns the statement that lists events, with the conditions of
/// [`AuditQuery::selects`](tower_api_tokens::AuditQuery::selects).
pub(super) fn events(of_app: bool, of_token: bool) -> &'static str {
    match (of_app, of_token) {
        (false, false) => events!(""),
        (true, false) => events!("AND app_id = ?3"),
        (false, true) => events!("AND token = ?4"),
        (true, true) => events!("AND app_id = ?3 AND token = ?4"),
    }
}

/// Returns events with their positions.
pub(super) const EVENTS_AFTER: &str = concat!(
    positioned_events!(),
    "WHERE e.position >= ?1 ORDER BY e.position LIMIT ?2"
);

pub(super) const LATEST_EVENT: &str =
    concat!(positioned_events!(), "ORDER BY e.position DESC LIMIT 1");

// `CROSS JOIN` reads the events of the app first, because there may be many others.
macro_rules! events_of_app {
    ($clause:literal) => {
        concat!(
            "SELECT a.id, a.at, a.actor, a.action, a.app_id, a.token, a.outcome, a.changes, e.position ",
            "FROM api_token_audit a CROSS JOIN api_token_events e ON e.event = a.id WHERE a.app_id = ?1 ",
            $clause
        )
    };
}

/// Returns the events of an app with their positions, from an event on if there is one, and otherwise from the
/// oldest on.
pub(super) const EVENTS_OF_APP: &str = events_of_app!(
    "AND e.position >= CASE WHEN ?2 IS NULL THEN 0 \
     ELSE (SELECT position FROM api_token_events WHERE event = ?2) END \
     ORDER BY e.position LIMIT ?3"
);

pub(super) const LATEST_EVENT_OF_APP: &str = events_of_app!("ORDER BY e.position DESC LIMIT 1");

/// Returns the oldest events in the order of the log, with their times, and whether one is the latest.
pub(super) const OLDEST_EVENTS: &str = "SELECT e.event, a.at, \
     e.position = (SELECT max(position) FROM api_token_events) \
     FROM api_token_events e LEFT JOIN api_token_audit a ON a.id = e.event \
     ORDER BY e.position LIMIT ?1";

/// Returns old events that are not in the log. Identifiers begin with a time, so that the newer events are not
/// read.
pub(super) const OLD_EVENTS_OUTSIDE_THE_LOG: &str = "SELECT a.id FROM api_token_audit a \
     WHERE a.id < ?1 AND a.at < ?2 AND NOT EXISTS (SELECT 1 FROM api_token_events e WHERE e.event = a.id) \
     ORDER BY a.id LIMIT ?3";

pub(super) const REMOVE_EVENT: &str = "DELETE FROM api_token_audit WHERE id = ?1";

pub(super) const REMOVE_EVENT_FROM_LOG: &str = "DELETE FROM api_token_events WHERE event = ?1";

pub(super) const OLD_KEYS: &str =
    "SELECT key FROM api_token_keys WHERE used_at < ?1 ORDER BY used_at LIMIT ?2";

pub(super) const REMOVE_KEY: &str = "DELETE FROM api_token_keys WHERE key = ?1";

/// Has the same parameters as [`APPEND_EVENT`].
pub(super) const APPEND_NEW_EVENT: &str = "INSERT INTO api_token_audit \
     (id, at, actor, action, app_id, token, outcome, changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
     ON CONFLICT (id) DO NOTHING";

pub(super) const EXPIRING: &str = tokens!(
    "WHERE t.revoked_at IS NULL AND t.successor IS NULL AND ",
    expiry!(),
    "<= ?3 AND (",
    expiry!(),
    ", t.id) > (?1, ?2) ORDER BY ",
    expiry!(),
    ", t.id LIMIT ?4"
);

/// Returns tokens that expired or were revoked before an instant.
///
/// Restricted tokens have `expires_at = 0`, so the ranges of that column leave zero out. Otherwise, every step
/// of a purge would read all of them. A token without restrictions whose expiry is exactly zero is found in
/// `api_tokens_by_end`. Once it is revoked, it is not in that index, and is purged by its revocation.
pub(super) const ENDED: &str = concat!(
    "SELECT t.id FROM api_tokens t WHERE t.revoked_at < ?1 OR t.restricted_expires_at < ?1 ",
    "OR (t.expires_at > 0 AND t.expires_at < ?1 AND t.restrictions IS NULL) ",
    "OR (t.expires_at < min(?1, 0) AND t.restrictions IS NULL) ",
    "OR (t.revoked_at IS NULL AND coalesce(",
    expiry!(),
    ", 9223372036854775807) = 0 AND ?1 > 0) LIMIT ?2"
);

/// The parameter is one blob with all identifiers.
pub(super) const REMOVE: &str = "DELETE FROM api_tokens WHERE id IN ( \
     WITH RECURSIVE removed (start) AS \
     (SELECT 1 UNION ALL SELECT start + 16 FROM removed WHERE start + 16 < length(?1)) \
     SELECT substr(?1, start, 16) FROM removed)";

pub(super) const RECORD_USAGE: &str = "UPDATE api_tokens SET \
     last_used_at = max(coalesce(last_used_at, ?2), ?2), \
     uses = CASE WHEN uses > 9223372036854775807 - ?3 THEN 9223372036854775807 ELSE max(uses, 0) + ?3 END \
     WHERE id = ?1";

/// Makes the trigger record the days of uses that were recorded without it.
pub(super) const RECORD_DAYS: &str = "UPDATE api_tokens SET last_used_at = last_used_at \
     WHERE coalesce(last_used_at, last_used_day, successor, used_since_rotation) IS NOT NULL";

pub(super) const LATEST: &str = "SELECT coalesce(max(revision), 0) FROM api_token_changes";

/// Logs a change, unless the log already has it after a revision.
pub(super) const ENSURE_LOGGED: &str = "INSERT INTO api_token_changes (revision, mark, digest, app_id) \
     SELECT latest + 1, random(), ?1, ?2 \
     FROM (SELECT coalesce(max(revision), 0) AS latest FROM api_token_changes) \
     WHERE NOT EXISTS (SELECT 1 FROM api_token_changes \
     WHERE revision > ?3 AND digest IS ?1 AND app_id IS ?2)";

/// Replaces the log with a single entry.
pub(super) const RESTART_LOG: &str = "INSERT INTO api_token_changes (revision, mark) \
     SELECT coalesce(max(revision), 0) + 1, random() FROM api_token_changes; \
     DELETE FROM api_token_changes \
     WHERE revision < (SELECT max(revision) FROM api_token_changes)";

pub(super) const REVISION: &str =
    "SELECT revision, mark FROM api_token_changes ORDER BY revision DESC LIMIT 1";

pub(super) const CHANGES: &str = "SELECT revision, mark, digest, app_id, \
     (SELECT max(revision) FROM api_token_changes) \
     FROM api_token_changes WHERE revision >= ?1 ORDER BY revision LIMIT ?2";

/// The time in microseconds.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
    };
}

/// Keeps the revision only if the log has it.
pub(super) const REPORT_NODE: &str = concat!(
    "INSERT INTO api_token_nodes ",
    "(id, name, version, max_staleness, every, revision, mark, registered_at, reported_at) ",
    "SELECT ?1, ?2, ?3, ?4, ?5, c.revision, c.mark, t.now, t.now FROM (SELECT ",
    now!(),
    " AS now) t LEFT JOIN api_token_changes c ON c.revision = ?6 AND c.mark = ?7 WHERE true ",
    "ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, ",
    "max_staleness = excluded.max_staleness, every = excluded.every, revision = excluded.revision, ",
    "mark = excluded.mark, reported_at = excluded.reported_at"
);

pub(super) const TRIM_NODES: &str = concat!(
    "DELETE FROM api_token_nodes WHERE reported_at < ",
    now!(),
    " - ?1"
);

/// The number of nodes, how many changes the one lacks that is furthest behind, and the settings.
pub(super) const FLEET: &str = "SELECT n.nodes, coalesce((SELECT max(revision) FROM api_token_changes) - n.furthest, 0), \
     f.max_staleness, f.all_registered \
     FROM (SELECT count(*) AS nodes, min(revision) AS furthest FROM api_token_nodes) n \
     LEFT JOIN api_token_fleet f ON true";

pub(super) const NODES: &str = concat!(
    "SELECT ",
    node_columns!(),
    ", r.revision, r.mark, ",
    now!(),
    " FROM (SELECT revision, mark FROM api_token_changes ORDER BY revision DESC LIMIT 1) r ",
    "LEFT JOIN (SELECT * FROM api_token_nodes WHERE id > ?1 ORDER BY id LIMIT ?2) n ON true ",
    "ORDER BY n.id"
);

pub(super) const NODE: &str = "SELECT 1 FROM api_token_nodes WHERE id = ?1";

pub(super) const REMOVE_NODE: &str = "DELETE FROM api_token_nodes WHERE id = ?1";

pub(super) const SET_FLEET: &str = "INSERT INTO api_token_fleet (id, max_staleness, all_registered) VALUES (1, ?1, ?2) \
     ON CONFLICT (id) DO UPDATE SET max_staleness = excluded.max_staleness, all_registered = excluded.all_registered";
