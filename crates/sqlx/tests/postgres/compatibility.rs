//! Tables that a newer version of this crate has migrated.

use sqlx::PgConnection;
use tower_api_tokens::{
    NewToken, StoreError, StoreErrorKind, TokenRegistryExt, TokenStore, TokenTarget,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    races::at,
    services::Test,
    support::{Schema, execute, server, tokens},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        newer_tables_are_used_if_they_allow_this_version,
        newer_tables_that_only_newer_versions_may_change_can_be_read,
        newer_tables_that_only_newer_versions_may_read_are_refused,
        the_strictest_of_several_newer_versions_counts,
    ]
}

/// What a later version may have made of the tables.
const LATER: &str = "ALTER TABLE api_tokens ADD COLUMN later text; \
    ALTER TABLE api_token_apps ADD COLUMN later text; \
    DO $$ BEGIN \
        EXECUTE format('CREATE OR REPLACE VIEW api_token_details AS SELECT d.*, NULL::text AS later FROM (%s) d', \
            rtrim(pg_get_viewdef('api_token_details'::regclass), ';')); \
    END $$; \
    CREATE FUNCTION api_token_later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
    CREATE TRIGGER d_later BEFORE UPDATE ON api_tokens FOR EACH ROW EXECUTE FUNCTION api_token_later(); \
    DROP INDEX api_tokens_replaced";

/// Records a migration by a later version. The minimum versions are relative to this one.
async fn migrate_further(hand: &mut PgConnection, version: i64, reader: i64, writer: i64) {
    sqlx::query(
        "INSERT INTO _api_token_migrations (version, name, min_reader, min_writer) \
         SELECT $1, 'later', max(version) + $2, max(version) + $3 FROM _api_token_migrations \
         WHERE version < 1000",
    )
    .bind(version)
    .bind(reader)
    .bind(writer)
    .execute(hand)
    .await
    .unwrap();
}

async fn open(schema: &Schema, read_only: bool) -> Result<PostgresStore, StoreError> {
    let builder = PostgresStore::builder(&server()).schema(&schema.name);
    match read_only {
        true => builder.read_only().connect().await,
        false => builder.connect().await,
    }
}

/// Returns the reason why the tables cannot be used.
async fn refused(schema: &Schema, read_only: bool) -> String {
    let error = open(schema, read_only).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Incompatible);
    std::error::Error::source(&error).unwrap().to_string()
}

async fn newer_tables_are_used_if_they_allow_this_version() {
    let schema = Schema::new();
    schema.open().await.close().await;
    let mut hand = schema.connect().await;
    execute(&mut hand, LATER).await;
    migrate_further(&mut hand, 9999, 0, 0).await;
    let store = open(&schema, false).await.unwrap();
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let overlap = std::time::Duration::from_secs(60);
    let rotated = platform.rotate(issued.record().id, overlap).await.unwrap();
    platform.revoke(issued.record().id).await.unwrap();
    platform.disable_app(&app.id).await.unwrap();
    platform.enable_app(&app.id).await.unwrap();
    for store in [&store, &open(&schema, true).await.unwrap()] {
        let found = store.find(&rotated.record().digest).await.unwrap().record;
        assert_eq!(found.as_ref(), Some(rotated.record()));
        let found = store.find(&issued.record().digest).await.unwrap().record;
        assert!(found.unwrap().revoked_at.is_some());
    }
    // The later version has dropped this index.
    store.finish_upgrade().await.unwrap();
    let index: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('api_tokens_replaced')::text")
            .fetch_one(&mut hand)
            .await
            .unwrap();
    assert_eq!(index, None);
}

async fn newer_tables_that_only_newer_versions_may_change_can_be_read() {
    let schema = Schema::new();
    let store = schema.open().await;
    let platform = tokens(&store);
    let app = platform.create_app("Billing").await.unwrap();
    let issued = platform.issue(&app.id, NewToken::named("ci"));
    let issued = issued.await.unwrap();
    let mut hand = schema.connect().await;
    migrate_further(&mut hand, 9999, 0, 1).await;
    let reason = refused(&schema, false).await;
    assert!(reason.contains("can read but not change"), "{reason}");
    assert!(reason.contains("upgrade this program, or open"), "{reason}");
    let reader = open(&schema, true).await.unwrap();
    let found = reader.find(&issued.record().digest).await.unwrap().record;
    assert_eq!(found.as_ref(), Some(issued.record()));
    // Not even with a role that has the rights.
    let target = TokenTarget::any(issued.record().id);
    let error = reader.revoke(&target, at(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
}

async fn newer_tables_that_only_newer_versions_may_read_are_refused() {
    let schema = Schema::new();
    schema.open().await.close().await;
    let mut hand = schema.connect().await;
    migrate_further(&mut hand, 9999, 1, 0).await;
    for read_only in [true, false] {
        let reason = refused(&schema, read_only).await;
        assert!(
            reason.contains("cannot read: upgrade this program"),
            "{reason}"
        );
    }
}

async fn the_strictest_of_several_newer_versions_counts() {
    let schema = Schema::new();
    schema.open().await.close().await;
    let mut hand = schema.connect().await;
    migrate_further(&mut hand, 9997, 0, 0).await;
    open(&schema, false).await.unwrap();
    migrate_further(&mut hand, 9998, 0, 1).await;
    migrate_further(&mut hand, 9999, 0, 0).await;
    refused(&schema, false).await;
    open(&schema, true).await.unwrap();
    // A version that names no minimum is for programs that know it.
    execute(
        &mut hand,
        "UPDATE _api_token_migrations SET min_reader = NULL, min_writer = NULL WHERE version = 9998",
    )
    .await;
    for read_only in [true, false] {
        refused(&schema, read_only).await;
    }
}
