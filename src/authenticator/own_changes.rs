//! Applies the changes of this process to the cache, before the calls that made them return.

use super::Authenticator;
use crate::{
    model::app::AppId,
    token::{TokenDigest, TokenId},
};

impl Authenticator {
    /// Applies a change of a token, before the call that made it returns.
    pub(crate) fn apply_token_change(&self, digest: &TokenDigest) {
        self.shared.evict(digest);
    }

    /// Applies changes of tokens, before the call that made or found them returns.
    pub(crate) fn apply_token_changes(&self, digests: &[TokenDigest]) {
        digests.iter().for_each(|digest| self.shared.evict(digest));
    }

    /// Applies a change of a token whose digest is unknown, which may have been made.
    pub(crate) fn apply_change_of(&self, id: TokenId) {
        // A lookup that is under way may have read the token before the change.
        self.shared.in_flight.evict_all(|| ());
        let digests = self.shared.cache.digests_of(id);
        self.apply_token_changes(&digests);
    }

    /// Clears the cache.
    pub(crate) fn clear_cache(&self) {
        self.shared.clear();
    }

    /// Applies a change of an app, before the call that made it returns.
    pub(crate) fn apply_app_change(&self, app: &AppId) {
        self.shared.evict_app(app);
    }
}
