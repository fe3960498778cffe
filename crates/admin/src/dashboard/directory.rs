//! The tokens and apps that audit events refer to by identifier.

use std::collections::{BTreeSet, HashMap};

use tokio::task::JoinSet;
use tower_api_tokens::{AppId, AppRecord, AuditEvent, TokenId, TokenRecord};

use crate::operations::Operator;

/// The prefix of the name in the audit log of an actor who signed in with a token. The identifier
/// follows.
const TOKEN_ACTOR: &str = "token:";

/// How many lookups run at the same time.
const CONCURRENT: usize = 4;

/// Returns the token that an actor signed in with, if the audit log names it.
pub(super) fn token_of_actor(actor: &str) -> Option<TokenId> {
    actor.strip_prefix(TOKEN_ACTOR)?.parse().ok()
}

/// The records that a page of audit events refers to, as far as the operator can read them.
#[derive(Default)]
pub(super) struct Directory {
    tokens: HashMap<TokenId, TokenRecord>,
    apps: HashMap<AppId, AppRecord>,
}

impl Directory {
    pub(super) fn add_token(&mut self, token: &TokenRecord) {
        self.add_app(&token.app);
        self.tokens.insert(token.id, token.clone());
    }

    pub(super) fn add_app(&mut self, app: &AppRecord) {
        self.apps.insert(app.id, app.clone());
    }

    pub(super) fn token(&self, id: TokenId) -> Option<&TokenRecord> {
        self.tokens.get(&id)
    }

    pub(super) fn app(&self, id: &AppId) -> Option<&AppRecord> {
        self.apps.get(id)
    }

    /// Adds the records that these events and actors refer to. Looks up each one once, however often
    /// it occurs. Records that cannot be read are left out, so pages show their identifiers.
    pub(super) async fn look_up<'e>(
        &mut self,
        operator: &Operator,
        events: impl Iterator<Item = &'e AuditEvent> + Clone,
        actor: Option<&str>,
    ) {
        let actors = events.clone().map(|event| event.actor.as_str());
        let acting = actors.chain(actor).filter_map(token_of_actor);
        let tokens = acting.chain(events.clone().filter_map(|event| event.token));
        let tokens = tokens.filter(|id| !self.tokens.contains_key(id)).collect();
        for token in all(operator, tokens, read_token).await {
            self.add_token(&token);
        }
        let apps = events.filter_map(|event| event.app);
        let apps = apps.filter(|id| !self.apps.contains_key(id)).collect();
        for app in all(operator, apps, read_app).await {
            self.add_app(&app);
        }
    }
}

async fn read_token(operator: Operator, id: TokenId) -> Option<TokenRecord> {
    operator.get(id).await.ok()
}

async fn read_app(operator: Operator, id: AppId) -> Option<AppRecord> {
    operator.get_app(&id).await.ok()
}

/// Reads records, a few at a time. Dropping the future stops the lookups.
async fn all<K, T, R>(
    operator: &Operator,
    ids: BTreeSet<K>,
    read: impl Fn(Operator, K) -> R,
) -> Vec<T>
where
    T: Send + 'static,
    R: Future<Output = Option<T>> + Send + 'static,
{
    let (mut lookups, mut found) = (JoinSet::new(), Vec::with_capacity(ids.len()));
    for id in ids {
        if lookups.len() == CONCURRENT {
            found.extend(lookups.join_next().await.and_then(Result::ok).flatten());
        }
        lookups.spawn(read(operator.clone(), id));
    }
    while let Some(finished) = lookups.join_next().await {
        found.extend(finished.ok().flatten());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_actor_with_a_token_id_is_a_token() {
        let id = "01a09f3d-a748-79b0-b382-ad57b0490c59";
        let token = token_of_actor(&format!("token:{id}"));
        assert_eq!(token, Some(id.parse().unwrap()));
        for actor in [id, "token:", "token:ada", "ada@acme.example"] {
            assert_eq!(token_of_actor(actor), None, "{actor}");
        }
    }
}
