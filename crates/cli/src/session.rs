//! An open store, and who is at work on it.

use std::{env, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use tower_api_tokens::{
    ApiTokens, ApiTokensBuilder, AppId, AppQuery, AppRecord, TokenFormat, TokenRegistry,
    TokenRegistryStreams,
};
use tower_api_tokens_admin::{Actor, Operations, Operator};
use tower_api_tokens_sqlx::AnyStore;

use crate::{
    failure::Failure,
    note::note,
    options::{Options, given},
    store::{Access, Store},
};

/// The format of commands that neither make nor judge a token.
const ANY_PREFIX: &str = "api";

/// What a command needs of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// To read the store.
    Read,
    /// To change what is there.
    Change,
    /// To put the first things into it.
    Fill {
        /// It may be gone when the command ends.
        passing: bool,
    },
    /// To make tokens, whose prefix has to be known.
    Issue,
    /// To verify the requests of others.
    Serve {
        /// Tokens of any form are verified.
        any_format: bool,
        /// How old an answer may be.
        max_staleness: Duration,
        /// Nothing is managed.
        verify_only: bool,
    },
}

pub(crate) struct Session {
    pub(crate) registry: Arc<dyn TokenRegistry>,
    pub(crate) tokens: ApiTokens,
    pub(crate) operations: Operations,
    pub(crate) operator: Operator,
    pub(crate) json: bool,
    /// Nothing may be written to the store.
    pub(crate) read_only: bool,
    store: AnyStore,
}

impl Session {
    pub(crate) async fn open(options: &Options, purpose: Purpose) -> Result<Self, Failure> {
        let url = options.store()?.ok_or_else(no_store)?;
        Self::open_at(url, options, purpose).await
    }

    /// Opens the store at a URL in place of the one of the options.
    pub(crate) async fn open_at(
        url: &str,
        options: &Options,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let prefix = given(options.prefix.as_deref());
        if prefix.is_none() && matches!(purpose, Purpose::Issue | Purpose::Serve { .. }) {
            return Err(Failure::usage(
                "which prefix are the tokens to have? Give `--prefix`, or set API_TOKENS_PREFIX, to what the service was built with",
            ));
        }
        let format = TokenFormat::new(prefix.unwrap_or(ANY_PREFIX))
            .map_err(|error| Failure::usage(format!("`--prefix` cannot be used: {error}")))?;
        let access = access(purpose, options.read_only)?;
        // What these commands are for is over when they end.
        let passing = matches!(
            purpose,
            Purpose::Serve { .. } | Purpose::Fill { passing: true }
        );
        let Store { opened, tokens } =
            Store::open(url, options.schema_of(url), format, access, !passing).await?;
        let tokens = set_up(tokens, purpose, prefix.is_some()).build();
        let operations = Operations::new(&tokens);
        Ok(Self {
            registry: Arc::new(opened.clone()),
            operator: operations.by(Actor::unrestricted(&user())),
            operations,
            tokens,
            json: options.json,
            read_only: opened.is_read_only(),
            store: opened,
        })
    }

    /// Writes the audit events that are left, and closes the store.
    pub(crate) async fn close(self) {
        if self.operations.flush_audit().await.is_err() {
            note(&format!(
                "warning: audit events that the store did not take: {}",
                self.operations.waiting_events()
            ));
        }
        self.store.close().await;
    }

    /// Finds an app by its identifier or its name, whichever fits; `id:IDENTIFIER` fits no name.
    /// What fits several apps names none of them: anybody who may create an app could otherwise
    /// give it the name or the identifier of another, and get the tokens that are meant for that.
    pub(crate) async fn find_app(&self, named: &str) -> Result<AppRecord, Failure> {
        if let Some(id) = named.strip_prefix("id:") {
            return match AppId::new(id) {
                Ok(id) => self.registry.app(&id).await?.ok_or_else(no_such_app),
                Err(error) => Err(Failure::usage(error.to_string())),
            };
        }
        let mut found = Vec::new();
        if let Ok(id) = AppId::new(named) {
            found.extend(self.registry.app(&id).await?);
        }
        // Selects those with the name in theirs.
        let query = AppQuery::default().name(named).limit(1000);
        let mut apps = self.registry.stream_apps(query);
        while let Some(app) = apps.try_next().await? {
            if app.name == named && app.id.as_str() != named {
                found.push(app);
            }
        }
        match found.as_slice() {
            [] => Err(no_such_app()),
            [_] => Ok(found.remove(0)),
            _ => {
                let named: Vec<_> = found
                    .iter()
                    .map(|app| format!("`id:{}` ({})", app.id, app.name))
                    .collect();
                Err(Failure::usage(format!(
                    "several apps have this name or identifier; give one of {}",
                    named.join(", ")
                )))
            }
        }
    }
}

/// No store was named.
pub(crate) fn no_store() -> Failure {
    Failure::usage(
        "which store? Give `--store sqlite://PATH` or `--store postgres://USER@HOST/DATABASE`, or set API_TOKENS_STORE",
    )
}

fn no_such_app() -> Failure {
    Failure::not_found(
        "there is no app with this identifier or name; `api-tokens app list` shows them all",
    )
}

fn access(purpose: Purpose, read_only: bool) -> Result<Access, Failure> {
    match (purpose, read_only) {
        (Purpose::Read | Purpose::Serve { .. }, true) => Ok(Access::ReadOnly),
        (_, true) => Err(Failure::usage(
            "this command writes to the store: leave out `--read-only`, which is for `app list`, `token list`, `token show`, `events`, `verify`, `export` and `serve`",
        )),
        (Purpose::Read, false) => Ok(Access::Read),
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

fn set_up(tokens: ApiTokensBuilder, purpose: Purpose, knows_prefix: bool) -> ApiTokensBuilder {
    match purpose {
        Purpose::Serve {
            any_format,
            max_staleness,
            ..
        } => {
            let tokens = tokens.max_staleness(max_staleness);
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

/// Who is at work, for the audit: `cli:` and the name of the user.
fn user() -> String {
    let names = ["USER", "LOGNAME"].into_iter();
    let user = names
        .filter_map(|name| env::var(name).ok())
        .find(|name| !name.is_empty());
    format!("cli:{}", user.as_deref().unwrap_or("unknown"))
}
