//! Fills a schema with tokens, with statements that generate them on the server.

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool, Row};
use tower_api_tokens::{AppId, TokenDigest, TokenId};
use tower_api_tokens_sqlx::PostgresStore;

use crate::first_pages::{COLUMNS, values};

const TOKENS_OF_APP: u64 = 1000;
const BATCH: u64 = 250_000;

/// How long ago the expired and revoked tokens expired or were revoked.
pub(crate) const AGE: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A store with tokens that are numbered from 0.
pub(crate) struct Platform {
    pub(crate) url: String,
    pub(crate) schema: &'static str,
    pub(crate) store: PostgresStore,
    pub(crate) tokens: u64,
    server: PgPool,
}

impl Platform {
    pub(crate) async fn load(url: &str, schema: &'static str, tokens: u64) -> Self {
        let server = PgPool::connect(url).await.expect("the server is reachable");
        let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
        execute(&server, drop).await;
        let store = open(url, schema).await;
        let mut platform = Self {
            url: url.to_owned(),
            schema,
            store,
            tokens,
            server,
        };
        platform.fill().await;
        // Another store finds that there are no indexes, and builds them.
        platform.store.close().await;
        platform.store = open(url, schema).await;
        let built = platform.store.finish_upgrade().await;
        built.expect("the indexes are built");
        for table in ["api_tokens", "api_token_apps"] {
            let vacuum = format!("VACUUM (ANALYZE) {schema}.{table}");
            platform.execute(vacuum).await;
        }
        platform
    }

    /// Inserts the apps and tokens. The triggers of the change log are disabled meanwhile, because
    /// nothing follows the log yet. Indexes are built afterwards, because most values are inserted in
    /// random order.
    async fn fill(&self) {
        let Self { schema, tokens, .. } = self;
        let apps = self.apps();
        let now = Timestamp::now();
        let values = values(
            now,
            &format!("(n + n / {apps}) % 20 = 1"),
            &format!("(n + n / {apps}) % 20 = 0"),
        );
        let now = now.as_microsecond();
        self.execute(format!(
            "INSERT INTO {schema}.api_token_apps (id, name, created_at) \
             SELECT 'app_' || lpad(n::text, 8, '0'), 'App ' || n, {now} \
             FROM generate_series(0, {apps} - 1) n"
        ))
        .await;
        self.execute(format!(
            "ALTER TABLE {schema}.api_tokens DISABLE TRIGGER USER, ENABLE ALWAYS TRIGGER c_used, \
             DROP CONSTRAINT api_tokens_digest_key"
        ))
        .await;
        self.execute(format!(
            "DO $$ DECLARE index text; BEGIN \
                FOR index IN SELECT indexrelid::regclass FROM pg_index \
                    WHERE indrelid = '{schema}.api_tokens'::regclass AND NOT indisprimary \
                        AND indexrelid::regclass::text !~ '(of_app|revoked|expiring)$' \
                LOOP EXECUTE 'DROP INDEX ' || index; END LOOP; END $$"
        ))
        .await;
        let progress = progress(*tokens);
        for first in (0..*tokens).step_by(usize::try_from(BATCH).unwrap_or(usize::MAX)) {
            let last = (first + BATCH).min(*tokens) - 1;
            self.execute(format!(
                "INSERT INTO {schema}.api_tokens \
                 (id, digest, app_id, name, scopes, {COLUMNS}) \
                 SELECT ('0198c9d28f6a70008' || lpad(to_hex(n), 15, '0'))::uuid, \
                 sha256(n::text::bytea), \
                 'app_' || lpad((n % {apps})::text, 8, '0'), 'token ' || n, 'invoices:read', \
                 {values} FROM generate_series({first}::bigint, {last}) n"
            ))
            .await;
            progress.set_position(last + 1);
        }
        self.execute(format!(
            "ALTER TABLE {schema}.api_tokens ENABLE TRIGGER USER, \
             ADD CONSTRAINT api_tokens_digest_key UNIQUE (digest)"
        ))
        .await;
        progress.finish_and_clear();
    }

    pub(crate) async fn drop(self) {
        self.store.close().await;
        self.execute(format!("DROP SCHEMA {} CASCADE", self.schema))
            .await;
    }

    async fn execute(&self, statement: String) {
        execute(&self.server, statement).await;
    }

    /// Returns whether a token is expired or revoked. Of every twenty tokens of an app, one is
    /// expired and one is revoked.
    pub(crate) fn has_ended(&self, n: u64) -> bool {
        (n + n / self.apps()) % 20 < 2
    }

    /// Returns whether a token was replaced. See [`values`].
    pub(crate) fn is_replaced(n: u64) -> bool {
        [77, 87].contains(&((n + n / 10_000) % 1000))
    }

    fn apps(&self) -> u64 {
        self.tokens.div_ceil(TOKENS_OF_APP)
    }

    /// Returns a size in megabytes, measured by a function of the server.
    async fn size(&self, function: &str) -> String {
        let select = format!(
            "SELECT {function}('{}.api_tokens') / 1000000.0::float8",
            self.schema
        );
        let row = sqlx::query(AssertSqlSafe(select));
        let row = row.fetch_one(&self.server).await.expect("it has a size");
        let megabytes: f64 = row.get(0);
        format!("{megabytes:.0}")
    }

    /// Returns numbers of tokens, in a shuffled order.
    pub(crate) fn sample(&self, samples: u64) -> impl Iterator<Item = u64> + use<> {
        let tokens = self.tokens;
        // Steps of the golden ratio spread evenly over all numbers.
        let step = (tokens as f64 * 0.618_033_988_75) as u64;
        (1..=samples).map(move |n| (n * (step | 1)) % tokens)
    }

    pub(crate) fn digest(n: u64) -> TokenDigest {
        TokenDigest::from_bytes(Sha256::digest(n.to_string()).into())
    }

    pub(crate) fn id(n: u64) -> TokenId {
        TokenId::from_bytes(
            (0x0198_c9d2_8f6a_7000_8000_0000_0000_0000 | u128::from(n)).to_be_bytes(),
        )
    }

    pub(crate) fn app(&self, n: u64) -> AppId {
        AppId::new(&format!("app_{:08}", n % self.apps())).expect("it is an identifier")
    }
}

async fn open(url: &str, schema: &str) -> PostgresStore {
    let builder = PostgresStore::builder(url).schema(schema);
    let store = builder.max_connections(32).connect().await;
    store.expect("the store opens")
}

async fn execute(server: &PgPool, statement: String) {
    let executed = sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(server)
        .await;
    executed.expect("the statement is one that the server knows");
}

fn progress(tokens: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("loading {wide_bar} {human_pos}/{human_len} {eta}");
    ProgressBar::new(tokens).with_style(style.expect("the template is one"))
}

/// Prints one row of the table.
pub(crate) fn row(name: &str, cells: [String; 2]) {
    let [few, many] = cells;
    println!("| {name} | {few} | {many} |");
}

pub(crate) async fn sizes(platforms: [&Platform; 2]) {
    for (name, function) in [
        ("size of the tokens, MB", "pg_table_size"),
        ("size of their indexes, MB", "pg_indexes_size"),
    ] {
        let [few, many] = platforms;
        row(name, [few.size(function).await, many.size(function).await]);
    }
}
