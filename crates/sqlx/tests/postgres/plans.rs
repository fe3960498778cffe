//! The query plans of the statements of the store, as reported by `auto_explain`.

use std::sync::{Mutex, OnceLock};

use jiff::Timestamp;
use tower_api_tokens::{
    AppId, AppQuery, AuditEventId, AuditLog, AuditQuery, ChangeLog, EventLog, EventPosition,
    EventQuery, EventStart, ExpiringQuery, Grantable, Inheritance, Mutation, Op, Revision,
    TokenDigest, TokenId, TokenQuery, TokenRegistry, TokenRegistryExt, TokenStatus, TokenStore,
    TokenTarget, Usage, UsageLog,
};
use tower_api_tokens_sqlx::PostgresStore;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::{
    services::Test,
    support::{Schema, execute, server},
};

pub(crate) fn tests() -> Vec<Test> {
    tests![every_call_uses_an_index]
}

/// The plans that the server has reported.
fn reported() -> &'static Mutex<Vec<String>> {
    static TOLD: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    TOLD.get_or_init(|| {
        tracing_subscriber::registry().with(Notices).init();
        Mutex::default()
    })
}

struct Notices;

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut Message);
        }
    }
}

struct Message;

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" && text.contains("plan:") {
            reported().lock().unwrap().push(text);
        }
    }
}

/// Held while a test reads the plans, which are those of all tests.
pub(crate) static EXPLAINED: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The plans of a schema's statements.
pub(crate) struct Explained<'s> {
    schema: &'s Schema,
    options: String,
}

impl<'s> Explained<'s> {
    /// Takes further options of the server, as in a URL.
    pub(crate) fn new(schema: &'s Schema, options: &str) -> Self {
        reported();
        let options = format!(
            "options=-c%20session_preload_libraries%3Dauto_explain\
             %20-c%20auto_explain.log_min_duration%3D0%20-c%20auto_explain.log_nested_statements%3Don\
             %20-c%20auto_explain.log_level%3Dnotice%20-c%20auto_explain.log_analyze%3Don\
             %20-c%20auto_explain.log_buffers%3Don{options}"
        );
        Self { schema, options }
    }

    /// Returns the URL with which a store connects.
    pub(crate) fn url(&self, server: &str) -> String {
        format!("{server}?{}", self.options)
    }

    fn all(&self) -> String {
        // Statements in functions do not name the schema, so the server is used only by one test.
        let own = reported().lock().unwrap().join("\n").replace("\\n", "\n");
        let schemas = own.matches("\"Test ").count();
        assert!(own.matches(&self.schema.name).count() >= schemas);
        own
    }

    /// Returns the plans since the last call.
    pub(crate) fn take(&self) -> String {
        let all = self.all();
        reported().lock().unwrap().clear();
        all
    }

    /// Returns how many pages the only statement since the last call of [`take`](Self::take) has read.
    pub(crate) fn pages(&self) -> u64 {
        let plans = self.all();
        let (_, buffers) = plans.split_once("Buffers: shared ").expect(&plans);
        let line = buffers.lines().next().unwrap();
        let counts = line.split(' ').filter_map(|part| part.split_once('='));
        let pages = counts.filter(|(kind, _)| ["hit", "read"].contains(kind));
        pages.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    }
}

async fn fill(schema: &Schema) {
    let mut hand = schema.connect().await;
    execute(
        &mut hand,
        "INSERT INTO api_token_apps SELECT 'app-' || n, 'App', 0 FROM generate_series(1, 500) n; \
         INSERT INTO api_tokens (id, digest, mask, app_id, name, scopes, created_at, expires_at, revoked_at) \
         SELECT gen_random_uuid(), sha256(n::text::bytea), '…', 'app-' || (n % 500 + 1), 'ci', '', 0, \
             CASE WHEN n % 50 = 0 THEN n END, CASE WHEN n % 50 = 1 THEN n END \
         FROM generate_series(1, 20000) n; \
         INSERT INTO api_token_audit (id, at, actor, action, app_id, token, outcome) \
         SELECT gen_random_uuid(), 0, 'a', 'token.issue', app_id, id, 'done' FROM api_tokens; \
         INSERT INTO api_token_keys \
         SELECT sha256(id::text::bytea), digest, id, 0 FROM api_tokens; \
         ANALYZE api_token_apps; ANALYZE api_tokens; ANALYZE api_token_audit; \
         ANALYZE api_token_changes; ANALYZE api_token_keys",
    )
    .await;
}

async fn every_call_uses_an_index() {
    let _alone = EXPLAINED.lock().await;
    let schema = Schema::new();
    schema.open().await.close().await;
    fill(&schema).await;
    // The server may switch to a generic plan for a statement that is used often.
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let explained = Explained::new(&schema, &format!("%20-c%20plan_cache_mode%3D{mode}"));
        let store = schema.open_by(&explained.url(&server())).await;
        explained.take();
        let uses = |indexes: &[&str]| {
            // The policy is one row.
            let plans = explained.take().replace("Seq Scan on api_token_policy", "");
            assert!(!plans.is_empty(), "the server tells its plans");
            assert!(!plans.contains("Seq Scan"), "{mode}: {plans}");
            for index in indexes {
                let scans = [format!("using {index} "), format!("Index Scan on {index} ")];
                let found = scans.iter().any(|scan| plans.contains(scan));
                assert!(found, "{mode}: {index}: {plans}");
            }
        };
        reads(&store, &uses).await;
        changes(&store, &uses).await;
        store.close().await;
    }
}

async fn reads(store: &PostgresStore, uses: &impl Fn(&[&str])) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let app = AppId::new("app-7").unwrap();
    store
        .find(&TokenDigest::of(b"123"))
        .await
        .unwrap()
        .record
        .unwrap();
    uses(&["api_tokens_digest_key", "api_token_apps_pkey"]);
    let many: Vec<_> = (2..50)
        .map(|n| TokenDigest::of(n.to_string().as_bytes()))
        .collect();
    let found = store.find_many(&many).await.unwrap();
    assert!(found.iter().all(|answer| answer.record.is_some()));
    uses(&[
        "api_tokens_digest_key",
        "api_token_apps_pkey",
        "api_token_changes_pkey",
    ]);
    let token = TokenTarget::any(TokenId::from_bytes([7; 16]));
    assert_eq!(store.token(&token).await.unwrap(), None);
    uses(&["api_tokens_pkey"]);
    let of_app = TokenQuery::default()
        .app(app)
        .status(TokenStatus::Live)
        .limit(10);
    let page = store.tokens(&of_app, now).await.unwrap();
    assert_eq!(page.items.len(), 10);
    uses(&["api_tokens_of_app"]);
    store
        .tokens(&of_app.after(page.next.unwrap()), now)
        .await
        .unwrap();
    uses(&["api_tokens_of_app"]);
    let page = store.live(None, 10, now).await.unwrap();
    uses(&["api_tokens_pkey"]);
    store.live(page.next, 10, now).await.unwrap();
    uses(&["api_tokens_pkey"]);
    store
        .apps(&AppQuery::default().after(app).limit(10))
        .await
        .unwrap();
    uses(&["api_token_apps_pkey"]);
    let revision = store.revision().await.unwrap();
    uses(&["api_token_changes_pkey"]);
    let number = revision.number - 100;
    store.changes(Revision::new(number, 0), 50).await.unwrap();
    uses(&["api_token_changes_pkey"]);
    let page = store
        .events(&AuditQuery::default().app(app).limit(10))
        .await
        .unwrap();
    uses(&["api_token_audit_of_app"]);
    let token = page.items[0].token.unwrap();
    store
        .events(&AuditQuery::default().token(token).limit(10))
        .await
        .unwrap();
    uses(&["api_token_audit_of_token"]);
    store
        .events(&AuditQuery::default().limit(10))
        .await
        .unwrap();
    uses(&["api_token_audit_pkey"]);
    let after = EventPosition::new(500, AuditEventId::from_bytes([1; 16]));
    store
        .read_events(&EventQuery::after(after))
        .await
        .unwrap_err();
    uses(&["api_token_events_pkey", "api_token_audit_pkey"]);
    let latest = EventQuery::new(EventStart::Latest);
    store.read_events(&latest).await.unwrap();
    uses(&["api_token_events_pkey", "api_token_audit_pkey"]);
    let of_app = EventQuery::new(EventStart::Oldest).app(app).limit(10);
    let page = store.read_events(&of_app).await.unwrap();
    assert_eq!(page.events.len(), 10);
    // Which indexes are used depends on how many events an app has.
    uses(&[]);
    let of_app = EventQuery::after(page.position).app(app).limit(10);
    store.read_events(&of_app).await.unwrap();
    uses(&[]);
    let latest = EventQuery::new(EventStart::Latest).app(app);
    store.read_events(&latest).await.unwrap();
    uses(&[]);
    let expiring = ExpiringQuery::new(Timestamp::UNIX_EPOCH, now).limit(10);
    let page = store.expiring(&expiring).await.unwrap();
    assert_eq!(page.items.len(), 10);
    // A generic plan may sort what it finds by `api_tokens_expiring`.
    uses(&["api_tokens_pkey", "api_token_apps_pkey"]);
    store.expiring(&page.next.unwrap()).await.unwrap();
    uses(&["api_tokens_pkey", "api_token_apps_pkey"]);
}

async fn changes(store: &PostgresStore, uses: &impl Fn(&[&str])) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let record = store
        .find(&TokenDigest::of(b"123"))
        .await
        .unwrap()
        .record
        .unwrap();
    uses(&[]);
    let target = TokenTarget::any(record.id);
    store
        .record_usage(&[Usage::new(record.id, now, 1)])
        .await
        .unwrap();
    uses(&["api_tokens_pkey"]);
    store
        .rename(&target, "renamed", Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    uses(&["api_tokens_pkey"]);
    let number = store.revision().await.unwrap().number;
    uses(&[]);
    let new = |kind: u8| {
        let mut id = [kind; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let mut token = record.clone();
        (token.id, token.digest) = (TokenId::from_bytes(id), TokenDigest::of(&id));
        token.app.id = AppId::new("app-8").unwrap();
        token.revoked_at = None;
        token
    };
    let (token, successor) = (new(1), new(2));
    store.insert(&token).await.unwrap();
    uses(&[
        "api_tokens_pkey",
        "api_tokens_digest_key",
        "api_token_apps_pkey",
    ]);
    let op = Op::RotateToken {
        target: TokenTarget::any(token.id),
        successor,
        overlap_ends: now,
        inheritance: Some(Inheritance::new(Grantable::everything())),
    };
    store.apply(&Mutation::new(op, now)).await.unwrap();
    uses(&["api_tokens_pkey", "api_token_apps_pkey"]);
    store.revoke(&target, now).await.unwrap();
    uses(&["api_tokens_pkey"]);
    store.disable_app(&record.app.id, now).await.unwrap();
    uses(&["api_token_apps_pkey"]);
    let ended = Timestamp::from_microsecond(1_000).unwrap();
    assert_eq!(store.purge(ended, 10).await.unwrap(), 10);
    uses(&[
        "api_tokens_revoked",
        "api_tokens_expiring",
        "api_tokens_pkey",
    ]);
}
