//! The migrations.

/// A migration of the tables. A released one never changes.
///
/// Its statements run in one transaction with those of all other missing migrations. The tables and views of this crate
/// are locked by then, so they must finish quickly: add nullable columns, and constraints that are `NOT VALID`, and
/// read no row. Only its owner can execute a new function, unless `rights` grants more. Indexes are built after the
/// transaction, without a lock that blocks lookups or changes.
///
/// Calls in progress continue after the migration, so do not change what they use: instead of dropping a function, or
/// adding an attribute to `api_token_applied`, create another function with another type. A view may only get more
/// columns at its end.
pub(super) struct Migration {
    pub(super) version: i64,
    pub(super) name: &'static str,
    /// The oldest version that may read these tables. Tokens that it cannot check must appear expired or revoked to it.
    pub(super) min_reader: i64,
    /// The oldest version that may change these tables. Triggers must reject changes in which it
    /// would lose data.
    pub(super) min_writer: i64,
    pub(super) sql: &'static str,
    pub(super) rights: &'static [Right],
    /// What to do after the transaction, before the indexes are built.
    pub(super) fill: Option<Fill>,
    pub(super) indexes: &'static [Index],
}

/// Gives new columns of existing rows their values. The primary key of the table is an `id`.
pub(super) struct Fill {
    pub(super) table: &'static str,
    /// A condition for the rows that lack values. It is false after they are set.
    pub(super) stale: &'static str,
    pub(super) set: &'static str,
}

/// Gives roles the same rights to a new object as they have to an existing one.
pub(super) enum Right {
    /// The rights to a table or view. A view gets only `SELECT`.
    Relation {
        new: &'static str,
        like: &'static str,
    },
    /// The rights to read and write a new table, for the roles that may update a column.
    Updating {
        new: &'static str,
        table: &'static str,
        column: &'static str,
    },
    /// The right to execute all functions with this name. Functions that take an `api_token_event` first and
    /// return an `api_token_applied` need none: roles that may revoke tokens may execute them.
    Function {
        new: &'static str,
        like: &'static str,
    },
}

/// An index that is not unique.
pub(super) struct Index {
    pub(super) name: &'static str,
    pub(super) table: &'static str,
    /// The columns in parentheses, and the condition if there is one.
    pub(super) columns: &'static str,
}

/// The first version that leaves locks, rights and indexes to the runner.
pub(super) const FIRST_MANAGED: i64 = 4;

/// All migrations, in order.
pub(super) const MIGRATIONS: [Migration; 10] = [
    Migration {
        version: 1,
        name: "tokens",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../../migrations/postgres/0001_tokens.sql"),
        rights: &[],
        fill: None,
        indexes: &[],
    },
    Migration {
        version: 2,
        name: "changes",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../../migrations/postgres/0002_changes.sql"),
        rights: &[],
        fill: None,
        indexes: &[],
    },
    Migration {
        version: 3,
        name: "restrictions",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../../migrations/postgres/0003_restrictions.sql"),
        rights: &[],
        fill: None,
        indexes: &[],
    },
    Migration {
        version: 4,
        name: "compatibility",
        min_reader: 1,
        min_writer: 1,
        sql: include_str!("../../../migrations/postgres/0004_compatibility.sql"),
        rights: &[],
        fill: None,
        indexes: &[
            // For finding the token that was rotated into another.
            Index {
                name: "api_tokens_replaced",
                table: "api_tokens",
                columns: "(successor) WHERE successor IS NOT NULL",
            },
        ],
    },
    Migration {
        version: 5,
        name: "records",
        min_reader: 1,
        // Earlier versions do not enforce the policy.
        min_writer: 5,
        sql: include_str!("../../../migrations/postgres/0005_records.sql"),
        rights: &[
            Right::Relation {
                new: "api_token_current_policy",
                like: "api_token_apps",
            },
            Right::Relation {
                new: "api_token_event_log",
                like: "api_token_audit",
            },
            Right::Function {
                new: "api_token_describe",
                like: "api_token_revoke_token",
            },
        ],
        fill: None,
        indexes: &[
            // For finding the tokens that expire soon.
            Index {
                name: "api_tokens_by_expiry",
                table: "api_tokens",
                columns: "(expires_at, id) WHERE expires_at IS NOT NULL AND revoked_at IS NULL AND successor IS NULL",
            },
        ],
    },
    Migration {
        version: 6,
        name: "listing",
        min_reader: 1,
        min_writer: 5,
        sql: include_str!("../../../migrations/postgres/0006_listing.sql"),
        rights: &[],
        // A trigger sets the values.
        fill: Some(Fill {
            table: "api_tokens",
            stale: "last_used_at IS NOT NULL AND last_used_day IS NULL \
                OR successor IS NOT NULL AND used_since_rotation IS NULL",
            set: "last_used_day = NULL",
        }),
        indexes: &[
            // Without these, most listings would read all tokens, or all of an app.
            // By expiry. Tokens that never expire come last.
            Index {
                name: "api_tokens_by_end",
                table: "api_tokens",
                columns: "(coalesce(expires_at, 9223372036854775807), id) \
                    WHERE revoked_at IS NULL",
            },
            Index {
                name: "api_tokens_of_app_by_end",
                table: "api_tokens",
                columns: "(app_id, coalesce(expires_at, 9223372036854775807), id) \
                    WHERE revoked_at IS NULL",
            },
            // By the last use. With the expiry, expired tokens are left out without reading them.
            Index {
                name: "api_tokens_by_use",
                table: "api_tokens",
                columns: "(coalesce(last_used_day, created_at / 86400000000 \
                    - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(expires_at, 9223372036854775807)) \
                    WHERE revoked_at IS NULL",
            },
            Index {
                name: "api_tokens_of_app_by_use",
                table: "api_tokens",
                columns: "(app_id, coalesce(last_used_day, created_at / 86400000000 \
                    - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(expires_at, 9223372036854775807)) \
                    WHERE revoked_at IS NULL",
            },
            // Tokens that were never used.
            Index {
                name: "api_tokens_never_used",
                table: "api_tokens",
                columns: "(coalesce(last_used_day, created_at / 86400000000 \
                    - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(expires_at, 9223372036854775807)) \
                    WHERE revoked_at IS NULL AND last_used_day IS NULL",
            },
            Index {
                name: "api_tokens_of_app_never_used",
                table: "api_tokens",
                columns: "(app_id, coalesce(last_used_day, created_at / 86400000000 \
                    - CASE WHEN created_at % 86400000000 < 0 THEN 1 ELSE 0 END), id, coalesce(expires_at, 9223372036854775807)) \
                    WHERE revoked_at IS NULL AND last_used_day IS NULL",
            },
            // Tokens that were replaced in a rotation.
            Index {
                name: "api_tokens_rotated",
                table: "api_tokens",
                columns: "(coalesce(expires_at, 9223372036854775807), id) \
                    WHERE revoked_at IS NULL AND successor IS NOT NULL",
            },
            Index {
                name: "api_tokens_of_app_rotated",
                table: "api_tokens",
                columns: "(app_id, coalesce(expires_at, 9223372036854775807), id) \
                    WHERE revoked_at IS NULL AND successor IS NOT NULL",
            },
            Index {
                name: "api_tokens_rotated_by_use",
                table: "api_tokens",
                columns: "(used_since_rotation, coalesce(expires_at, 9223372036854775807), id) \
                    WHERE revoked_at IS NULL AND successor IS NOT NULL",
            },
            Index {
                name: "api_tokens_of_app_rotated_by_use",
                table: "api_tokens",
                columns: "(app_id, used_since_rotation, coalesce(expires_at, 9223372036854775807), id) \
                    WHERE revoked_at IS NULL AND successor IS NOT NULL",
            },
            // Revoked tokens.
            Index {
                name: "api_tokens_by_revocation",
                table: "api_tokens",
                columns: "(id) \
                    WHERE revoked_at IS NOT NULL",
            },
            Index {
                name: "api_tokens_of_app_by_revocation",
                table: "api_tokens",
                columns: "(app_id, id) \
                    WHERE revoked_at IS NOT NULL",
            },
            // By the parts of the mask: the format, and the last four characters, which few tokens share.
            Index {
                name: "api_tokens_by_format",
                table: "api_tokens",
                columns: "((split_part(mask, '…', 1) COLLATE \"C\"), id)",
            },
            Index {
                name: "api_tokens_of_app_by_format",
                table: "api_tokens",
                columns: "(app_id, (split_part(mask, '…', 1) COLLATE \"C\"), id)",
            },
            Index {
                name: "api_tokens_by_tail",
                table: "api_tokens",
                columns: "((split_part(mask, '…', 2) COLLATE \"C\"), id)",
            },
            // By the creator.
            Index {
                name: "api_tokens_by_creator",
                table: "api_tokens",
                columns: "((created_by COLLATE \"C\"), id) \
                    WHERE created_by IS NOT NULL",
            },
            Index {
                name: "api_tokens_of_app_by_creator",
                table: "api_tokens",
                columns: "(app_id, (created_by COLLATE \"C\"), id) \
                    WHERE created_by IS NOT NULL",
            },
        ],
    },
    Migration {
        version: 7,
        name: "maintenance",
        min_reader: 1,
        min_writer: 5,
        sql: include_str!("../../../migrations/postgres/0007_maintenance.sql"),
        rights: &[],
        fill: None,
        indexes: &[],
    },
    Migration {
        version: 8,
        name: "commits",
        min_reader: 1,
        min_writer: 5,
        sql: include_str!("../../../migrations/postgres/0008_commits.sql"),
        rights: &[
            Right::Function {
                new: "api_token_change",
                like: "api_token_revoke_token",
            },
            Right::Function {
                new: "api_token_make_all",
                like: "api_token_revoke_token",
            },
        ],
        fill: None,
        indexes: &[],
    },
    Migration {
        version: 9,
        name: "retention",
        min_reader: 1,
        min_writer: 5,
        sql: include_str!("../../../migrations/postgres/0009_retention.sql"),
        rights: &[],
        fill: None,
        indexes: &[],
    },
    Migration {
        version: 10,
        name: "nodes",
        min_reader: 1,
        min_writer: 5,
        sql: include_str!("../../../migrations/postgres/0010_nodes.sql"),
        rights: &[
            // Every role reads the nodes and the maximum bound.
            Right::Relation {
                new: "api_token_nodes",
                like: "api_token_changes",
            },
            Right::Relation {
                new: "api_token_fleet",
                like: "api_token_changes",
            },
            // Nodes that record usage register themselves.
            Right::Updating {
                new: "api_token_nodes",
                table: "api_tokens",
                column: "last_used_at",
            },
        ],
        fill: None,
        indexes: &[],
    },
];

/// All indexes that are built after the migrations.
pub(super) fn indexes() -> impl Iterator<Item = &'static Index> {
    MIGRATIONS.iter().flat_map(|migration| migration.indexes)
}
