//! Handles that act on behalf of an actor.

use std::sync::Arc;

use super::{
    ApiTokens, AppTokens, Authority, LifecycleError, latest::LatestRevision,
    limited::LimitedRegistry,
};
use crate::model::{
    app::AppId,
    audit::{AuditAction, AuditEvent, one_line},
    grantable::Grantable,
};

impl ApiTokens {
    /// Returns a handle that acts on behalf of an actor: its changes are recorded in the audit log under
    /// the actor's name, and it grants and reaches no more than the actor may, and no more than this
    /// handle. If both are limited to an app, and to different ones, it reaches nothing.
    #[must_use]
    pub fn acting_as(&self, authority: Authority) -> Self {
        let authority = self.authority.with(authority);
        let mut registry = Arc::clone(&self.registry);
        if authority.limits() != self.authority.limits() {
            registry = Arc::new(LimitedRegistry::new(registry, authority.limits().clone()));
        }
        Self {
            shared: Arc::clone(&self.shared),
            registry,
            authority: Arc::new(authority),
            latest: Arc::new(LatestRevision::below(&self.latest)),
        }
    }

    /// Returns the app that this handle is [limited to](Authority::limited_to), if any.
    #[must_use]
    pub fn limited_to(&self) -> Option<&AppId> {
        self.authority.limits().app.as_ref()
    }

    /// Returns whether this handle is [limited to reading](Authority::read_only).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.authority.limits().read_only
    }

    /// Returns the name under which changes are recorded in the audit log.
    #[must_use]
    pub fn actor(&self) -> String {
        let name = self.authority.recorded_as(true).unwrap_or_default();
        one_line(&name, AuditEvent::MAX_ACTOR_LEN)
    }

    /// Returns a handle that only reaches the tokens of one app, and only grants what `grantable`
    /// allows.
    ///
    /// If this handle is limited to another app, it reaches nothing. Otherwise it has the limits of
    /// [`Authority::limited_to`]; to allow metadata keys, call
    /// [`acting_as`](Self::acting_as) with [`Authority::metadata_keys`] first.
    #[must_use]
    pub fn app(&self, id: AppId, grantable: &Grantable) -> AppTokens {
        AppTokens::new(self.acting_as(self.authority.within(id, grantable)), id)
    }

    /// Checks that the actor reaches all apps.
    pub(crate) fn check_all_apps(&self) -> Result<(), LifecycleError> {
        self.authority.limits().check_all_apps()
    }

    /// Checks that the limits of the [authority](Authority#limits) allow an action at all. Every method that
    /// makes a change checks this first.
    ///
    /// # Errors
    ///
    /// Returns an error of the kind [`ReadOnly`](super::LifecycleErrorKind::ReadOnly) or
    /// [`NotPermitted`](super::LifecycleErrorKind::NotPermitted) if they do not.
    pub fn check_action(&self, action: AuditAction) -> Result<(), LifecycleError> {
        self.authority.limits().check_action(action)
    }
}
