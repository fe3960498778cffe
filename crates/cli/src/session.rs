//! An open store, and the user of it.

use std::{env, error::Error, pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout;
use tower_api_tokens::{ApiTokens, ApiTokensBuilder, MemoryStore, TokenFormat, TokenRegistry};
use tower_api_tokens_admin::{Actor, Operations, Operator};
use tower_api_tokens_sqlx::{AnyStore, Driver};

use crate::{
    failure::Failure,
    formats::Formats,
    note::note,
    options::Options,
    store::{Access, Store, cannot_open},
};

/// The prefix for commands that neither issue nor verify tokens.
const ANY_PREFIX: &str = "api";

/// How long the end of an upgrade may take without a message.
const QUIET: Duration = Duration::from_secs(1);

/// What a command needs the store for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Read.
    Read,
    /// Report on tokens.
    Report {
        /// Every node records the uses of tokens.
        every_use_is_recorded: bool,
    },
    /// Change existing records.
    Change,
    /// Insert records, creating the database if it does not exist.
    Fill {
        /// A database in memory is allowed.
        in_memory: bool,
    },
    /// Issue tokens, which needs the prefix.
    Issue,
    /// Serve requests.
    Serve {
        /// Accept tokens in any format.
        any_format: bool,
        /// The maximum age of a cached record.
        max_staleness: Duration,
        /// How many tokens are cached.
        cache_capacity: usize,
        /// Serve no management API and no dashboard.
        verify_only: bool,
        /// Every node records the uses of tokens.
        every_use_is_recorded: bool,
        /// The maximum number of idempotency keys.
        max_idempotency_keys: Option<usize>,
    },
}

/// The formats of the service, and the default one.
struct ServiceFormats {
    formats: Formats,
    default: TokenFormat,
    knows_prefix: bool,
}

impl ServiceFormats {
    fn of(options: &Options, purpose: Purpose) -> Result<Self, Failure> {
        let formats = Formats::of(options)?;
        let knows_prefix = formats.first().is_some();
        if !knows_prefix && matches!(purpose, Purpose::Issue | Purpose::Serve { .. }) {
            return Err(Failure::usage(
                "no token prefix given: pass `--prefix`, or set API_TOKENS_PREFIX, with the prefix that your service is configured with",
            ));
        }
        let default = match formats.first() {
            Some(format) => format.clone(),
            None => {
                TokenFormat::new(ANY_PREFIX).map_err(|error| Failure::failed(error.to_string()))?
            }
        };
        Ok(Self {
            formats,
            default,
            knows_prefix,
        })
    }

    fn configure(self, tokens: ApiTokensBuilder, purpose: Purpose) -> ApiTokens {
        let tokens = configure(tokens, purpose, self.knows_prefix);
        self.formats.configure(tokens).build()
    }
}

pub(crate) struct Session {
    pub(crate) registry: Arc<dyn TokenRegistry>,
    pub(crate) tokens: ApiTokens,
    pub(crate) operations: Operations,
    pub(crate) operator: Operator,
    pub(crate) json: bool,
    /// Nothing is written to the store.
    pub(crate) read_only: bool,
    /// The options name a prefix, so the formats are those of the service.
    pub(crate) knows_prefix: bool,
    /// The open store, unless the session is only a rehearsal.
    store: Option<AnyStore>,
}

impl Session {
    pub(crate) async fn open(options: &Options, purpose: Purpose) -> Result<Self, Failure> {
        let url = options.store()?.ok_or_else(no_store)?;
        Self::open_at(url, options, purpose).await
    }

    /// Opens the store at a URL, instead of the one in the options.
    pub(crate) async fn open_at(
        url: &str,
        options: &Options,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let formats = ServiceFormats::of(options, purpose)?;
        // Other commands would lose a database in memory when they exit.
        let in_memory = matches!(
            purpose,
            Purpose::Serve { .. } | Purpose::Fill { in_memory: true }
        );
        let access = access(purpose, options.read_only)?;
        let Store { opened, tokens } = Store::open(
            url,
            options.schema_of(url),
            options.primary.as_ref().map(|url| url.as_str()),
            formats.default.clone(),
            access,
            !in_memory,
        )
        .await?;
        let knows_prefix = formats.knows_prefix;
        Ok(Self {
            read_only: opened.is_read_only(),
            knows_prefix,
            ..Self::on(
                opened.clone(),
                formats.configure(tokens, purpose),
                Some(opened),
                options,
            )
        })
    }

    /// Checks the options that apply to a store, and uses an empty one in memory instead.
    pub(crate) fn rehearse(options: &Options, purpose: Purpose) -> Result<Self, Failure> {
        let formats = ServiceFormats::of(options, purpose)?;
        let url = options.store()?.ok_or_else(no_store)?;
        let access = access(purpose, options.read_only)?;
        Driver::of_url(url).map_err(|error| cannot_open(error, access))?;
        let store = MemoryStore::new();
        let tokens = ApiTokens::builder(store.clone(), formats.default.clone());
        let knows_prefix = formats.knows_prefix;
        Ok(Self {
            read_only: options.read_only,
            knows_prefix,
            ..Self::on(store, formats.configure(tokens, purpose), None, options)
        })
    }

    fn on(
        registry: impl TokenRegistry,
        tokens: ApiTokens,
        store: Option<AnyStore>,
        options: &Options,
    ) -> Self {
        let operations = Operations::new(&tokens);
        Self {
            registry: Arc::new(registry),
            operator: operations.by(Actor::unrestricted(&user())),
            operations,
            tokens,
            json: options.json,
            read_only: false,
            knows_prefix: false,
            store,
        }
    }

    /// Returns the open store, unless the session is only a rehearsal.
    pub(crate) fn store(&self) -> Option<&AnyStore> {
        self.store.as_ref()
    }

    /// Waits until the indexes of an upgrade are built, which would stop when this process ends.
    pub(crate) async fn finish_upgrade(&self) {
        let Some(store) = &self.store else {
            return;
        };
        let mut finishing = pin!(store.finish_upgrade());
        let finished = match timeout(QUIET, &mut finishing).await {
            Ok(finished) => finished,
            Err(_) => {
                note(
                    "building indexes for this version; if you interrupt it, the next command continues",
                );
                finishing.await
            }
        };
        if let Err(error) = finished {
            let reason = error.source().map(ToString::to_string);
            note(&format!(
                "warning: an index for this version could not be built, so lists may be slow: {}",
                reason.unwrap_or_else(|| error.to_string())
            ));
        }
    }

    /// Writes the remaining audit events, and closes the store.
    pub(crate) async fn close(self) {
        if self.operations.flush_audit().await.is_err() {
            note(&format!(
                "warning: audit events not written to the store: {}",
                self.operations.waiting_events()
            ));
        }
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}

/// The failure if no store is given.
pub(crate) fn no_store() -> Failure {
    Failure::usage(
        "no store given: pass `--store sqlite://PATH` or `--store postgres://USER@HOST/DATABASE`, or set API_TOKENS_STORE; to use a server instead, pass `--server`",
    )
}

pub(crate) fn access(purpose: Purpose, read_only: bool) -> Result<Access, Failure> {
    match (purpose, read_only) {
        (Purpose::Read | Purpose::Report { .. } | Purpose::Serve { .. }, true) => {
            Ok(Access::ReadOnly)
        }
        (_, true) => Err(Failure::usage(
            "this command writes to the store: leave out `--read-only`, which works only with `app list`, `app show`, `token list`, `token show`, `policy show`, `events`, `report`, `verify`, `export` and `serve`",
        )),
        (Purpose::Read | Purpose::Report { .. }, false) => Ok(Access::Read),
        (Purpose::Change | Purpose::Issue, false) => Ok(Access::Change),
        (
            Purpose::Serve {
                verify_only: true, ..
            },
            false,
        ) => Ok(Access::Verify),
        (Purpose::Fill { .. } | Purpose::Serve { .. }, false) => Ok(Access::Create),
    }
}

fn configure(tokens: ApiTokensBuilder, purpose: Purpose, knows_prefix: bool) -> ApiTokensBuilder {
    let tokens = match purpose {
        Purpose::Report {
            every_use_is_recorded: true,
        }
        | Purpose::Serve {
            every_use_is_recorded: true,
            ..
        } => tokens.every_use_is_recorded(),
        _ => tokens,
    };
    match purpose {
        Purpose::Serve {
            any_format,
            max_staleness,
            cache_capacity,
            max_idempotency_keys,
            ..
        } => {
            let tokens = tokens.max_staleness(max_staleness);
            let tokens = tokens.max_idempotency_keys(max_idempotency_keys);
            let tokens = tokens.capacity(cache_capacity);
            if any_format {
                tokens.any_format()
            } else {
                tokens
            }
        }
        _ if knows_prefix => tokens,
        _ => tokens.any_format(),
    }
}

/// The actor in the audit log: `cli:` and the user name.
fn user() -> String {
    let names = ["USER", "LOGNAME"].into_iter();
    let user = names
        .filter_map(|name| env::var(name).ok())
        .find(|name| !name.is_empty());
    format!("cli:{}", user.as_deref().unwrap_or("unknown"))
}
