//! Every statement: none is put together from values.

use super::schema::Schema;
use crate::{listing::Dialect, nodes::node_columns};
use sqlx::SqlStr;

macro_rules! statements {
    ($($(#[doc = $doc:literal])* $name:ident = $template:expr;)*) => {
        /// The statements on the tables of one schema.
        pub(super) struct Statements {
            schema: Schema,
            $($(#[doc = $doc])* pub(super) $name: SqlStr,)*
        }

        impl Statements {
            pub(super) fn new(schema: Schema) -> Self {
                $(let $name = schema.fill($template);)*
                Self { schema, $($name,)* }
            }
        }
    };
}

macro_rules! columns {
    () => {
        "id, digest, mask, name, scopes, created_at, expires_at, revoked_at, successor, \
         last_used_at, uses, app_id, app_name, app_created_at, app_disabled_at, restrictions, \
         metadata, app_metadata, created_by"
    };
}

macro_rules! tokens {
    ($clause:literal) => {
        concat!("SELECT ", columns!(), " FROM @.api_token_details ", $clause)
    };
}

/// For the listing of tokens. In this collation, only ASCII letters have a case, and a text is equal
/// to no other.
pub(super) const DIALECT: Dialect = Dialect {
    parameter: '$',
    columns: columns!(),
    source: "@.api_token_details t",
    end: "coalesce(t.expires_at, 9223372036854775807)",
    app_disabled_at: "t.app_disabled_at",
    is_named: "strpos(lower(t.name COLLATE \"C\"), lower(# COLLATE \"C\")) > 0",
    has_head: "split_part(t.mask, '…', 1) COLLATE \"C\" = #",
    has_tail: "split_part(t.mask, '…', 2) COLLATE \"C\" = #",
    is_created_by: "t.created_by COLLATE \"C\" = # AND t.created_by IS NOT NULL",
    is_unexpired: "(t.expires_at IS NULL OR t.expires_at > #)",
    weighs_indexes: true,
    compares_rows: true,
};

/// A token, or nulls in its place, and the latest revision.
macro_rules! with_latest {
    ($tokens:literal) => {
        concat!(
            "SELECT t.id, t.digest, t.mask, t.name, t.scopes, t.created_at, t.expires_at, ",
            "t.revoked_at, t.successor, t.last_used_at, t.uses, ",
            "t.app_id, t.app_name, t.app_created_at, t.app_disabled_at, t.restrictions, ",
            "t.metadata, t.app_metadata, t.created_by, r.revision, r.mark, ",
            stalled!(), " ",
            "FROM (SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1) r ",
            "LEFT JOIN ", $tokens
        )
    };
}

/// Whether the server is a standby that does not receive or does not replay, which server it is, and on
/// a standby the time of the latest commit that it has replayed, its own time, and whether it has replayed
/// all that it has received.
macro_rules! stalled {
    () => {
        "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() \
            OR NOT EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) ELSE false END, \
        (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint, \
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
            (extract(epoch FROM pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint END, \
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
            (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint END, \
        CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
            pg_catalog.pg_last_wal_replay_lsn() >= pg_catalog.pg_last_wal_receive_lsn() END"
    };
}

/// The latest revision, after the other columns.
macro_rules! at_latest {
    () => {
        "r.revision, r.mark FROM \
            (SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1) r "
    };
}

/// Whether a token of an app has neither expired nor been revoked.
macro_rules! active {
    () => {
        "app_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)"
    };
}

/// Reads events in the order of their commits, from a subquery that ends with the given text.
macro_rules! events_from {
    () => {
        "SELECT v.id, v.at, v.actor, v.action, v.app_id, v.token, v.outcome, v.changes, v.position, s.standby \
        FROM (SELECT pg_catalog.pg_is_in_recovery()::int::bigint AS standby) s \
        LEFT JOIN LATERAL (SELECT * FROM @.api_token_event_log "
    };
}

/// The time in microseconds.
macro_rules! now {
    () => {
        "(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint"
    };
}

/// The number of nodes, how many changes the one lacks that is furthest behind, and the settings.
macro_rules! fleet {
    ($nodes:literal) => {
        concat!(
            "SELECT n.nodes, coalesce((SELECT max(revision) FROM @.api_token_changes) - n.furthest, 0), ",
            "f.max_staleness, f.all_registered::int::bigint ",
            "FROM (SELECT count(*) AS nodes, min(revision) AS furthest FROM (",
            $nodes,
            ") r) n LEFT JOIN @.api_token_fleet f ON true"
        )
    };
}

statements! {
    /// Always one row.
    find = with_latest!("@.api_token_details t ON t.digest = $1");
    /// At least one row.
    live = with_latest!("LATERAL (SELECT * FROM @.api_token_details \
        WHERE id < $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3) \
        AND app_disabled_at IS NULL ORDER BY id DESC LIMIT $2) t ON true ORDER BY t.id DESC");
    /// At least one row. The order of the table is the fastest one.
    live_at = concat!("SELECT ", columns!(), ", r.revision, r.mark \
        FROM (SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1) r \
        LEFT JOIN @.api_token_details ON revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) \
        AND app_disabled_at IS NULL");
    /// One row for each digest, in their order. Without `OFFSET` a plan could join the whole table.
    find_many = concat!("SELECT t.*, r.revision, r.mark, ", stalled!(), " \
        FROM (SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1) r \
        CROSS JOIN unnest($1) WITH ORDINALITY AS wanted (digest, n) \
        LEFT JOIN LATERAL (", tokens!("WHERE digest = wanted.digest OFFSET 0"), ") t ON true ORDER BY wanted.n");
    token = tokens!("WHERE id = $1 AND ($2 IS NULL OR app_id = $2)");
    app = "SELECT id, name, created_at, disabled_at, metadata::text FROM @.api_token_apps WHERE id = $1";
    apps = "SELECT id, name, created_at, disabled_at, metadata::text FROM @.api_token_apps \
        WHERE id > $1 AND ($3 IS NULL OR strpos(lower(name COLLATE \"C\"), lower($3 COLLATE \"C\")) > 0) \
        ORDER BY id LIMIT $2";
    /// Tokens to purge that were revoked, and where the next search begins.
    revoked = "SELECT id, revoked_at FROM @.api_tokens \
        WHERE revoked_at >= $1 AND revoked_at < $2 ORDER BY revoked_at LIMIT $3";
    /// Tokens to purge that expired and were not revoked in time for the other search.
    expired = "SELECT id, expires_at FROM @.api_tokens \
        WHERE expires_at >= $1 AND expires_at < $2 AND (revoked_at IS NULL OR revoked_at >= $2) \
        ORDER BY expires_at LIMIT $3";
    /// Returns the tokens whose uses cannot be recorded.
    record_usage = "SELECT unnest(@.api_token_record_usage($1, $2, $3))";
    revision = concat!("SELECT revision, mark, ", stalled!(), " \
        FROM @.api_token_changes ORDER BY revision DESC LIMIT 1");
    changes = concat!("SELECT revision, mark, digest, app_id, (SELECT max(revision) FROM @.api_token_changes), ",
        stalled!(), " FROM @.api_token_changes WHERE revision >= $1 ORDER BY revision LIMIT $2");
    policy = "SELECT policy FROM @.api_token_current_policy";
    key = "SELECT token, request, used_at FROM @.api_token_keys WHERE key = $1";
    /// The reads of a plan, each with the revision at which it was read. At least one row each.
    planned_token = with_latest!("@.api_token_details t ON t.id = $1 AND ($2 IS NULL OR t.app_id = $2)");
    /// One row for each token, in their order.
    planned_tokens = concat!("SELECT t.*, r.revision, r.mark \
        FROM (SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1) r \
        CROSS JOIN ROWS FROM (unnest($1), unnest($2)) WITH ORDINALITY AS wanted (id, app, n) \
        LEFT JOIN LATERAL (", tokens!("WHERE id = wanted.id AND (wanted.app IS NULL OR app_id = wanted.app) OFFSET 0"),
        ") t ON true ORDER BY wanted.n");
    planned_unrevoked = with_latest!("@.api_token_details t ON t.app_id = $1 AND t.revoked_at IS NULL");
    planned_app = concat!("SELECT a.id, a.name, a.created_at, a.disabled_at, a.metadata::text, ", at_latest!(),
        "LEFT JOIN @.api_token_apps a ON a.id = $1");
    planned_live = concat!("SELECT (SELECT count(*) FROM @.api_tokens WHERE ", active!(), "), ", at_latest!());
    planned_current = concat!("SELECT (SELECT count(*) FROM @.api_tokens WHERE ", active!(), " AND successor IS NULL), ",
        at_latest!());
    planned_name = concat!("SELECT (SELECT count(*) FROM (SELECT FROM @.api_tokens WHERE ", active!(),
        " AND successor IS NULL AND name = $3 LIMIT 1) AS named), ", at_latest!());
    /// Events from a position on, with the position and whether the server is a standby. At least one row.
    events_after = concat!(events_from!(), "WHERE position >= $1 ORDER BY position LIMIT $2) v ON true ORDER BY v.position");
    latest_event = concat!(events_from!(), "ORDER BY position DESC LIMIT 1) v ON true");
    /// Like `events_after`, but only events of an app, from an event on if there is one.
    events_of_app = concat!(events_from!(), "WHERE app_id = $1 AND position >= CASE WHEN $2 IS NULL THEN 0 \
        ELSE (SELECT position FROM @.api_token_event_log WHERE id = $2) END \
        ORDER BY position LIMIT $3) v ON true ORDER BY v.position");
    latest_event_of_app = concat!(events_from!(), "WHERE app_id = $1 ORDER BY position DESC LIMIT 1) v ON true");
    /// Without `OFFSET` a plan could read all apps.
    expiring = concat!("SELECT d.* FROM (SELECT id, expires_at FROM @.api_tokens \
        WHERE revoked_at IS NULL AND successor IS NULL AND expires_at <= $3 \
        AND (expires_at, id) > ($1, $2) ORDER BY expires_at, id LIMIT $4) e \
        CROSS JOIN LATERAL (", tokens!("WHERE id = e.id OFFSET 0"), ") d ORDER BY e.expires_at, e.id");
    /// Returns the identifiers of the events that are new.
    append_new_events = "INSERT INTO @.api_token_audit (id, at, actor, action, app_id, token, outcome, changes) \
        SELECT e.id, e.at, e.actor, e.action, e.app_id, e.token, e.outcome, e.changes \
        FROM jsonb_to_recordset($1::text::jsonb) AS e (id uuid, at bigint, actor text, action text, app_id text, \
            token uuid, outcome text, changes jsonb) \
        ORDER BY e.id ON CONFLICT DO NOTHING RETURNING id";
    /// Reads only the latest events, however many there are.
    event_time_at = "SELECT min(at) FROM (SELECT at FROM @.api_token_audit ORDER BY id DESC LIMIT $1) latest \
        HAVING count(*) = $1";
    /// Counts what maintenance would remove, by the conditions of the functions that remove it.
    outdated = "SELECT \
        (SELECT count(*) FROM (\
            (SELECT id FROM @.api_tokens WHERE revoked_at < $1 ORDER BY revoked_at LIMIT $5) \
            UNION (SELECT id FROM @.api_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $5) LIMIT $5) t), \
        (SELECT count(*) FROM (\
            SELECT position, bool_and(at < $2) OVER (ORDER BY position) AS is_old \
            FROM (SELECT position, at FROM @.api_token_event_log ORDER BY position LIMIT $5) o) l \
            WHERE is_old AND position < (SELECT position FROM @.api_token_event_log ORDER BY position DESC LIMIT 1)), \
        (SELECT count(*) FROM (\
            SELECT id FROM @.api_token_audit a WHERE id < $3 AND at < $2 \
            AND NOT EXISTS (SELECT FROM @.api_token_event_log e WHERE e.id = a.id) ORDER BY id LIMIT $5) r), \
        (SELECT count(*) FROM (SELECT key FROM @.api_token_keys WHERE used_at < $4 ORDER BY used_at LIMIT $5) k)";
    /// Keeps the revision only if the log has it, removes nodes that have not reported for long, and returns the
    /// state of the fleet. The snapshot of the statement does not show what it writes itself.
    report_node = concat!("WITH reported AS (INSERT INTO @.api_token_nodes \
            (id, name, version, max_staleness, every, revision, mark, registered_at, reported_at) \
            SELECT $1, $2, $3, $4, $5, c.revision, c.mark, t.now, t.now FROM (SELECT ", now!(), " AS now) t \
            LEFT JOIN @.api_token_changes c ON c.revision = $6 AND c.mark = $7 \
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, \
                max_staleness = excluded.max_staleness, every = excluded.every, revision = excluded.revision, \
                mark = excluded.mark, reported_at = excluded.reported_at RETURNING id, revision), \
        removed AS (DELETE FROM @.api_token_nodes WHERE id <> $1 AND reported_at < ", now!(), " - $8 RETURNING id) ",
        fleet!("SELECT id, revision FROM reported UNION ALL SELECT id, revision FROM @.api_token_nodes \
            WHERE id <> $1 AND id NOT IN (SELECT id FROM removed)"));
    fleet = fleet!("SELECT revision FROM @.api_token_nodes");
    /// At least one row.
    nodes = concat!("SELECT ", node_columns!(), ", r.revision, r.mark, ", now!(), " \
        FROM (SELECT revision, mark FROM @.api_token_changes ORDER BY revision DESC LIMIT 1) r \
        LEFT JOIN LATERAL (SELECT * FROM @.api_token_nodes WHERE $1 IS NULL OR id > $1 ORDER BY id LIMIT $2) n ON true \
        ORDER BY n.id");
    remove_node = "DELETE FROM @.api_token_nodes WHERE id = $1 RETURNING id";
    append_event = "INSERT INTO @.api_token_audit (id, at, actor, action, app_id, token, outcome, changes) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)";
}

impl Statements {
    pub(super) fn fill(&self, template: &str) -> SqlStr {
        self.schema.fill(template)
    }

    /// The statement for a listing of events, by the terms of
    /// [`AuditQuery::selects`](tower_api_tokens::AuditQuery::selects).
    pub(super) fn events(&self, query: &tower_api_tokens::AuditQuery) -> SqlStr {
        let mut text = "SELECT id, at, actor, action, app_id, token, outcome, changes::text \
            FROM @.api_token_audit WHERE true"
            .to_owned();
        if query.after.is_some() {
            text.push_str(" AND id < $2");
        }
        if query.app.is_some() {
            text.push_str(" AND app_id = $3");
        }
        if query.token.is_some() {
            text.push_str(" AND token = $4");
        }
        text.push_str(" ORDER BY id DESC LIMIT $1");
        self.schema.fill(&text)
    }
}
