//! The roles in `migrations/postgres/roles.sql` have exactly the rights they need.

use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use tower_api_tokens::{
    AppId, AppRecord, AuditAction, AuditEvent, AuditEventId, AuditLog, AuditOutcome, ChangeLog,
    IssuedToken, NewToken, StoreError, StoreErrorKind, TokenRegistryExt, TokenStore, TokenTarget,
    Usage, UsageLog,
};
use tower_api_tokens_sqlx::PostgresStore;

use crate::{
    releases::{RELEASED, tables_of},
    services::Test,
    support::{Schema, address, execute, execute_at_end, server, tokens, try_execute, unique},
};

const GRANTS: &str = include_str!("../../migrations/postgres/roles.sql");

pub(crate) fn tests() -> Vec<Test> {
    tests![
        the_verifier_role_can_only_verify_and_follow,
        the_recorder_role_can_only_record_usage,
        the_manager_role_can_do_everything_except_write_the_logs,
        missing_rights_of_a_role_are_reported,
        a_role_that_cannot_create_the_tables_is_reported,
        roles_of_every_released_version_get_the_rights_to_what_is_new,
    ]
}

/// A temporary login role.
pub(crate) struct Login {
    name: String,
}

impl Login {
    pub(crate) async fn new(hand: &mut PgConnection, group: &str) -> Self {
        let name = format!("login_{}", unique());
        execute(hand, &format!("CREATE ROLE {name} LOGIN PASSWORD 'secret'")).await;
        if !group.is_empty() {
            execute(hand, &format!("GRANT {group} TO {name}")).await;
        }
        Self { name }
    }

    /// Returns a login with the role of a manager in a schema.
    pub(crate) async fn managing(schema: &Schema, hand: &mut PgConnection) -> Self {
        let mut granting = schema.connect().await;
        // The roles are global, so only one test at a time creates them.
        execute(&mut granting, "SELECT pg_advisory_lock(7243)").await;
        execute(&mut granting, GRANTS).await;
        granting.close().await.unwrap();
        Self::new(hand, "api_token_manager").await
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        let (address, database) = address();
        format!("postgres://{}:secret@{address}{database}", self.name)
    }

    /// Checks that all of these statements are denied.
    async fn is_refused(&self, schema: &Schema, statements: &[&str]) {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let path = format!("SET search_path TO \"{}\"", schema.name);
        execute(&mut connection, &path).await;
        for statement in statements {
            let refused = try_execute(&mut connection, statement).await.unwrap_err();
            let code = refused.as_database_error().unwrap().code();
            assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
        }
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let name = &self.name;
        execute_at_end(format!("DROP OWNED BY {name}; DROP ROLE {name}"));
    }
}

/// A schema with roles and a token, and a login with one of the roles. Dropped before the schema.
struct Scene {
    login: Login,
    store: PostgresStore,
    issued: IssuedToken,
    app: AppRecord,
    schema: Schema,
}

impl Scene {
    async fn set(group: &str) -> Self {
        let schema = Schema::new();
        let store = schema.open().await;
        let app = tokens(&store).create_app("Billing").await.unwrap();
        let issued = tokens(&store)
            .issue(&app.id, NewToken::named("ci"))
            .await
            .unwrap();
        let mut hand = schema.connect().await;
        // The roles are global, so only one test at a time creates them.
        let lock = "SELECT pg_advisory_lock(7243)";
        execute(&mut hand, lock).await;
        execute(&mut hand, GRANTS).await;
        let login = Login::new(&mut hand, group).await;
        hand.close().await.unwrap();
        Self {
            login,
            store,
            issued,
            app,
            schema,
        }
    }

    async fn open(&self, read_only: bool) -> Result<PostgresStore, StoreError> {
        let builder = PostgresStore::builder(&self.login.url()).schema(&self.schema.name);
        match read_only {
            true => builder.read_only().connect().await,
            false => builder.connect().await,
        }
    }

    fn target(&self) -> TokenTarget {
        TokenTarget::any(self.issued.record().id)
    }
}

fn kind<T>(result: Result<T, StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind())
}

async fn the_verifier_role_can_only_verify_and_follow() {
    let scene = Scene::set("api_token_verifier").await;
    let error = scene.open(false).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("INSERT on api_tokens"), "{source}");
    assert!(source.contains("roles.sql"), "{source}");

    let node = scene.open(true).await.unwrap();
    let platform = tokens(&node);
    let follower = platform.follow().preload(|_| ());
    let follower = follower.poll_interval(std::time::Duration::from_millis(50));
    let _follower = follower.start().await.unwrap();
    let presented = scene.issued.token().expose().as_bytes();
    let admitted = async || {
        platform
            .authenticator()
            .authenticate(presented)
            .await
            .is_ok()
    };
    assert!(admitted().await);
    tokens(&scene.store)
        .revoke(scene.target().id)
        .await
        .unwrap();
    let applied = async {
        while admitted().await {
            sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    timeout(std::time::Duration::from_secs(20), applied)
        .await
        .unwrap();

    let (target, at) = (scene.target(), scene.app.created_at);
    let refused = [
        kind(node.revoke(&target, at).await),
        kind(node.rename(&target, "x", jiff::Timestamp::UNIX_EPOCH).await),
        kind(node.insert(scene.issued.record()).await),
        kind(node.disable_app(&scene.app.id, at).await),
        kind(node.purge(at, 1).await),
        kind(node.record_usage(&[Usage::new(target.id, at, 1)]).await),
    ];
    assert_eq!(refused, [Some(StoreErrorKind::ReadOnly); 6]);
    let everything_else = [
        "SELECT FROM api_tokens",
        "SELECT FROM api_token_apps",
        "SELECT FROM api_token_keys",
        "SELECT FROM api_token_audit",
        "SELECT FROM api_token_revision",
        "DO 'BEGIN LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE; END'",
        "SELECT api_token_revoke_token(NULL, gen_random_uuid(), NULL, 0)",
        "SELECT api_token_clear_caches(NULL)",
        "UPDATE api_tokens SET revoked_at = NULL",
        "UPDATE api_token_changes SET digest = NULL",
        "DELETE FROM api_token_changes",
        "INSERT INTO api_token_changes VALUES (1000, 0)",
        "TRUNCATE api_tokens",
        "SELECT api_token_note(NULL, NULL)",
        "CREATE TABLE mine ()",
    ];
    scene
        .login
        .is_refused(&scene.schema, &everything_else)
        .await;
}

async fn the_recorder_role_can_only_record_usage() {
    let scene = Scene::set("api_token_recorder").await;
    let node = scene.open(true).await.unwrap();
    let (target, at) = (scene.target(), scene.app.created_at);
    node.record_usage(&[Usage::new(target.id, at, 3)])
        .await
        .unwrap();
    let used = node
        .find(&scene.issued.record().digest)
        .await
        .unwrap()
        .record
        .unwrap();
    assert_eq!(used.uses, 3);
    assert_eq!(
        kind(node.revoke(&target, at).await),
        Some(StoreErrorKind::ReadOnly)
    );
    let everything_else = [
        "SELECT digest FROM api_tokens",
        "UPDATE api_tokens SET expires_at = NULL",
        "UPDATE api_tokens SET app_id = 'mine'",
        "INSERT INTO api_tokens (id) VALUES (gen_random_uuid())",
        "DELETE FROM api_tokens",
        "DELETE FROM api_token_changes",
    ];
    scene
        .login
        .is_refused(&scene.schema, &everything_else)
        .await;
}

async fn the_manager_role_can_do_everything_except_write_the_logs() {
    let scene = Scene::set("api_token_manager").await;
    let store = scene.open(false).await.unwrap();
    let platform = tokens(&store);
    let app = platform.create_app("Reports").await.unwrap();
    let issued = platform
        .issue(&app.id, NewToken::named("ci"))
        .await
        .unwrap();
    let overlap = std::time::Duration::from_secs(60);
    let rotated = platform.rotate(issued.record().id, overlap).await.unwrap();
    platform.revoke(rotated.record().id).await.unwrap();
    platform.disable_app(&app.id).await.unwrap();
    platform.enable_app(&app.id).await.unwrap();
    let (id, at) = (AuditEventId::from_bytes([1; 16]), app.created_at);
    let event = AuditEvent::new(id, at, "me", AuditAction::ALL[0], AuditOutcome::Done);
    store.append(&event).await.unwrap();
    store
        .record_usage(&[Usage::new(issued.record().id, at, 1)])
        .await
        .unwrap();
    assert_eq!(store.purge(jiff::Timestamp::MAX, 10).await.unwrap(), 2);
    assert!(store.revision().await.unwrap().number >= 7);
    let forgeries = [
        "DELETE FROM api_token_changes",
        "UPDATE api_token_changes SET digest = NULL",
        "INSERT INTO api_token_changes VALUES (1000, 0)",
        "DO 'BEGIN LOCK TABLE api_token_change_lock IN EXCLUSIVE MODE; END'",
        "SELECT api_token_begin()",
        "SELECT api_token_restart_log()",
        "SELECT api_token_note(NULL, NULL)",
        "SELECT api_token_record_event(NULL)",
        "SELECT api_token_result(NULL)",
        "CREATE TEMPORARY TABLE mine (digest bytea); \
         CREATE TRIGGER forge AFTER INSERT ON mine REFERENCING NEW TABLE AS inserted \
         EXECUTE FUNCTION api_token_inserted()",
        "DELETE FROM api_token_audit",
        "UPDATE api_token_audit SET actor = 'another'",
        "ALTER TABLE api_tokens DISABLE TRIGGER ALL",
        "SET session_replication_role TO replica",
        "DELETE FROM _api_token_migrations",
        "DROP VIEW api_token_records",
    ];
    scene.login.is_refused(&scene.schema, &forgeries).await;
}

async fn missing_rights_of_a_role_are_reported() {
    let scene = Scene::set("").await;
    for read_only in [true, false] {
        let error = scene.open(read_only).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("lacks rights (SELECT on"), "{source}");
        assert!(source.contains("roles.sql"), "{source}");
    }
}

async fn a_role_that_cannot_create_the_tables_is_reported() {
    let schema = Schema::new();
    let mut hand = PgConnection::connect(&server()).await.unwrap();
    let login = Login::new(&mut hand, "").await;
    let open = async || {
        let builder = PostgresStore::builder(&login.url()).schema(&schema.name);
        builder.connect().await.map_err(|error| {
            assert_eq!(error.kind(), StoreErrorKind::InvalidSettings);
            std::error::Error::source(&error).unwrap().to_string()
        })
    };
    let missing = open().await.unwrap_err();
    assert!(missing.contains("there is no schema"), "{missing}");
    assert!(missing.contains("create it, and grant"), "{missing}");
    let quoted = format!("\"{}\"", schema.name);
    execute(&mut hand, &format!("CREATE SCHEMA {quoted}")).await;
    let refused = open().await.unwrap_err();
    assert!(refused.contains("grant it CREATE on schema"), "{refused}");
    let grant = format!("GRANT USAGE, CREATE ON SCHEMA {quoted} TO {}", login.name);
    execute(&mut hand, &grant).await;
    let store = open().await.unwrap();
    let app = AppRecord::new(AppId::new("a").unwrap(), "A", jiff::Timestamp::UNIX_EPOCH);
    store.insert_app(&app).await.unwrap();
}

/// What `roles.sql` granted in a released version. The roles exist.
fn grants_of(version: usize) -> String {
    let mut grants = "GRANT SELECT ON _api_token_migrations, api_token_records, api_token_changes \
            TO api_token_verifier, api_token_recorder, api_token_manager; \
        GRANT SELECT (id, last_used_at, uses), UPDATE (last_used_at, uses) ON api_tokens TO api_token_recorder; \
        GRANT SELECT, INSERT, UPDATE ON api_token_apps TO api_token_manager; \
        GRANT SELECT, INSERT, UPDATE, DELETE ON api_tokens TO api_token_manager; \
        GRANT SELECT, INSERT, DELETE ON api_token_keys TO api_token_manager; \
        GRANT SELECT, INSERT ON api_token_audit TO api_token_manager;"
        .to_owned();
    if version > 1 {
        grants.push_str(
            "DO $$ DECLARE change text; BEGIN \
               FOR change IN SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc p \
                 WHERE p.pronamespace = pg_catalog.quote_ident(current_schema())::regnamespace \
                   AND p.proargtypes[0] = to_regtype('api_token_event') \
                   AND p.prorettype = to_regtype('api_token_applied') \
               LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO api_token_manager', change); END LOOP; \
             END $$;",
        );
    }
    if version > 2 {
        grants.push_str(
            "GRANT SELECT ON api_token_details TO api_token_verifier, api_token_recorder, api_token_manager;",
        );
    }
    grants
}

/// Returns every right that a role, or everybody, has in a schema.
async fn rights(hand: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT concat_ws(' ', object, privilege_type, \
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END) \
         FROM ( \
            SELECT c.relname::text AS object, c.relowner AS owner, e.* \
            FROM pg_class c CROSS JOIN aclexplode(c.relacl) e \
            WHERE c.relnamespace = quote_ident(current_schema())::regnamespace \
            UNION ALL \
            SELECT c.relname || '.' || a.attname, c.relowner, e.* \
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid CROSS JOIN aclexplode(a.attacl) e \
            WHERE c.relnamespace = quote_ident(current_schema())::regnamespace \
            UNION ALL \
            SELECT p.oid::regprocedure::text, p.proowner, e.* \
            FROM pg_proc p CROSS JOIN aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e \
            WHERE p.pronamespace = quote_ident(current_schema())::regnamespace \
         ) AS granted WHERE grantee <> owner ORDER BY 1",
    )
    .fetch_all(hand)
    .await
    .unwrap()
}

async fn roles_of_every_released_version_get_the_rights_to_what_is_new() {
    let fresh = Schema::new();
    fresh.open().await.close().await;
    let mut hand = fresh.connect().await;
    // The roles are global, so only one test at a time creates them.
    execute(&mut hand, "SELECT pg_advisory_lock(7243)").await;
    execute(&mut hand, GRANTS).await;
    execute(&mut hand, "SELECT pg_advisory_unlock(7243)").await;
    let expected = rights(&mut hand).await;
    let everybody: Vec<_> = expected.iter().filter(|r| r.ends_with("PUBLIC")).collect();
    assert_eq!(
        everybody,
        [
            "api_token_bound_waiting(text) EXECUTE PUBLIC",
            "api_token_record_usage(uuid[],bigint[],bigint[]) EXECUTE PUBLIC",
        ]
    );
    for version in 1..=RELEASED {
        let (schema, mut hand) = tables_of(version).await;
        execute(&mut hand, &grants_of(version)).await;
        schema.open().await.close().await;
        assert_eq!(rights(&mut hand).await, expected, "from version {version}");
    }
}
