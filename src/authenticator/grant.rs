//! What tokens of one app with the same terms have in common, so that a cached token takes little
//! memory.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use compact_str::CompactString;
use jiff::Timestamp;

use super::weight::{self, Weight, Weights};
use crate::{
    intern::Label,
    model::{
        app::{AppId, AppRecord},
        metadata::Metadata,
        principal::SharedMetadata,
        record::TokenRecord,
        restrictions::Restrictions,
        scope::ScopeSet,
    },
};

/// An app as an answer of the store has shown it.
#[derive(Debug)]
pub(super) struct AppState {
    id: AppId,
    name: CompactString,
    disabled: bool,
    /// Distinguishes an app from one with the same identifier that was deleted.
    created_at: Timestamp,
    metadata: Arc<Metadata>,
    _weight: Option<Weight>,
}

impl AppState {
    pub(super) fn of(app: &AppRecord, weights: &Weights) -> Self {
        Self {
            id: app.id,
            name: CompactString::new(&app.name),
            disabled: app.disabled_at.is_some(),
            created_at: app.created_at,
            metadata: Arc::new(app.metadata.clone()),
            _weight: weights.add(weight::of_metadata(&app.metadata)),
        }
    }

    pub(super) fn id(&self) -> &AppId {
        &self.id
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_disabled(&self) -> bool {
        self.disabled
    }

    pub(super) fn created_at(&self) -> Timestamp {
        self.created_at
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether a record shows the app in this state. A store that does not know when an app was
    /// created may return any time, so that is not compared.
    pub(super) fn is_that_of(&self, app: &AppRecord) -> bool {
        self.name == app.name
            && self.disabled == app.disabled_at.is_some()
            && *self.metadata == app.metadata
    }

    /// Whether both show the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.name == other.name
            && self.disabled == other.disabled
            && self.metadata == other.metadata
    }

    /// Whether this may be another state of the same app.
    pub(super) fn is_same_app(&self, other: &Self) -> bool {
        self.id == other.id && self.created_at == other.created_at
    }
}

/// What a token shares with others, apart from its app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    scopes: ScopeSet,
    /// The label of the token's format.
    format: Option<Label>,
    /// The parts that few tokens have; `None` if the token has none of them.
    extras: Option<Arc<Extras>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Extras {
    restrictions: Option<Restrictions>,
    metadata: Arc<Metadata>,
}

impl Terms {
    pub(super) fn of(token: &TokenRecord, format: Option<Label>) -> Self {
        Self::new(
            token.scopes.clone(),
            format,
            token.restrictions.clone(),
            token.metadata.clone(),
        )
    }

    pub(super) fn new(
        scopes: ScopeSet,
        format: Option<Label>,
        restrictions: Option<Restrictions>,
        metadata: Metadata,
    ) -> Self {
        let has_extras = restrictions.is_some() || !metadata.is_empty();
        let extras = || {
            Arc::new(Extras {
                restrictions,
                metadata: Arc::new(metadata),
            })
        };
        Self {
            scopes,
            format,
            extras: has_extras.then(extras),
        }
    }

    /// Returns the metadata of the tokens, without that of their app.
    pub(super) fn metadata(&self) -> Option<&Metadata> {
        Some(&self.extras.as_ref()?.metadata)
    }

    /// Returns how many bytes the extras take.
    fn weight(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| {
            weight::of_metadata(&extras.metadata)
                + weight::of_restrictions(extras.restrictions.as_ref())
        })
    }
}

/// What tokens of one app with the same scopes, format, restrictions and metadata have in common.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) app_id: AppId,
    app_name: CompactString,
    disabled: bool,
    /// Set when the app has changed: entries that share this grant must not be used any more.
    evicted: AtomicBool,
    terms: Terms,
    /// What principals show.
    metadata: Option<Box<SharedMetadata>>,
    app: Arc<AppState>,
    _weight: Option<Weight>,
}

impl Grant {
    pub(super) fn new(app: &Arc<AppState>, terms: Terms, weights: &Weights) -> Self {
        let bytes = terms.weight();
        let metadata = match &terms.extras {
            Some(extras) => SharedMetadata::of(&app.metadata, &extras.metadata),
            None => SharedMetadata::of(&app.metadata, &Arc::default()),
        };
        Self {
            app_id: app.id,
            app_name: app.name.clone(),
            disabled: app.disabled,
            evicted: AtomicBool::new(false),
            terms,
            metadata,
            app: Arc::clone(app),
            _weight: weights.add(bytes),
        }
    }

    /// Creates the grant of a token that is not cached.
    pub(super) fn of(token: &TokenRecord, format: Option<Label>) -> Self {
        let uncounted = Weights::default();
        Self::new(
            &Arc::new(AppState::of(&token.app, &uncounted)),
            Terms::of(token, format),
            &uncounted,
        )
    }

    pub(super) fn app(&self) -> &Arc<AppState> {
        &self.app
    }

    #[inline]
    pub(super) fn restrictions(&self) -> Option<&Restrictions> {
        self.terms.extras.as_ref()?.restrictions.as_ref()
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    #[inline]
    pub(super) fn app_name(&self) -> &CompactString {
        &self.app_name
    }

    #[inline]
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled
    }

    #[inline]
    pub(super) fn scopes(&self) -> &ScopeSet {
        &self.terms.scopes
    }

    #[inline]
    pub(super) fn format(&self) -> Option<Label> {
        self.terms.format
    }

    #[inline]
    pub(super) fn metadata(&self) -> Option<&SharedMetadata> {
        self.metadata.as_deref()
    }

    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
    }

    #[inline]
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }
}
