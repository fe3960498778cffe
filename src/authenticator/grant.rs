//! What tokens of one app with the same terms have in common, so that a cached token takes little
//! memory.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use compact_str::CompactString;

use crate::model::{
    app::AppId, metadata::Metadata, record::TokenRecord, restrictions::Restrictions,
    scope::ScopeSet,
};

/// What tokens of one app with the same scopes, format, restrictions and metadata have in common.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) app_id: AppId,
    app_name: CompactString,
    disabled: bool,
    pub(super) scopes: ScopeSet,
    /// The label of the tokens' format.
    format: Option<&'static str>,
    /// Set when the app has changed: entries that share this grant must not be used any more.
    evicted: AtomicBool,
    /// What few tokens have; `None` if there is nothing of it.
    extras: Option<Arc<Extras>>,
}

/// What a token has besides scopes.
#[derive(Debug)]
struct Extras {
    restrictions: Option<Restrictions>,
    metadata: Metadata,
}

impl Grant {
    pub(super) fn of(token: &TokenRecord, format: Option<&'static str>) -> Self {
        let has_extras = token.restrictions.is_some() || !token.metadata.is_empty();
        let extras = || {
            Arc::new(Extras {
                restrictions: token.restrictions.clone(),
                metadata: token.metadata.clone(),
            })
        };
        Self {
            app_id: token.app.id,
            app_name: CompactString::new(&token.app.name),
            disabled: token.app.disabled_at.is_some(),
            scopes: token.scopes.clone(),
            format,
            evicted: AtomicBool::new(false),
            extras: has_extras.then(extras),
        }
    }

    /// Hashes what distinguishes the grants of one app.
    pub(super) fn fingerprint(
        token: &TokenRecord,
        format: Option<&'static str>,
        hasher: &impl BuildHasher,
    ) -> u64 {
        let mut hash = hasher.build_hasher();
        format.hash(&mut hash);
        token.scopes.hash(&mut hash);
        token.restrictions.hash(&mut hash);
        token.metadata.hash(&mut hash);
        hash.finish()
    }

    /// Whether the grant has the scopes, restrictions and metadata of a token, and this format.
    pub(super) fn fits(&self, token: &TokenRecord, format: Option<&str>) -> bool {
        let has_metadata = match &self.extras {
            Some(extras) => extras.metadata == token.metadata,
            None => token.metadata.is_empty(),
        };
        self.scopes == token.scopes
            && self.format == format
            && self.restrictions() == token.restrictions.as_ref()
            && has_metadata
    }

    #[inline]
    pub(super) fn app_name(&self) -> &CompactString {
        &self.app_name
    }

    #[inline]
    pub(super) fn format(&self) -> Option<&'static str> {
        self.format
    }

    #[inline]
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The restrictions of the tokens.
    pub(super) fn restrictions(&self) -> Option<&Restrictions> {
        self.extras.as_ref()?.restrictions.as_ref()
    }

    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
    }

    #[inline]
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }
}
