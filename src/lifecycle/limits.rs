//! The limits of an actor, the only place that decides what limited actors may do and see.

use std::collections::BTreeSet;

use thiserror::Error;

use super::{LifecycleError, LifecycleErrorKind, authority::UNNAMED};
use crate::{
    model::{
        app::AppId,
        audit::{AuditAction, AuditEvent, actor_of_app, name_in_app},
        grantable::Grantable,
        policy::Policy,
        record::TokenRecord,
    },
    store::TokenTarget,
    token::TokenId,
    words::List,
};

/// The actor of events that the system itself records.
pub(super) const SYSTEM: &str = "system";

/// The name that an actor who is limited to an app sees for all actors who are not.
const SUPPORT: &str = "support";

/// What an actor is limited to. Defaults to no limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// The app that every call is limited to.
    pub(super) app: Option<AppId>,
    /// Whether a handle that is limited to one app was limited to another one, so that it reaches none.
    reaches_nothing: bool,
    /// Whether the actor may only read.
    pub(super) read_only: bool,
    /// The metadata keys of tokens that the actor may write. If `None`, an actor who is limited to an
    /// app may write none, and any other actor all of them.
    pub(super) metadata_keys: Option<BTreeSet<Box<str>>>,
}

/// Why the limits of an actor do not allow a change.
#[derive(Debug, Error)]
enum LimitError {
    #[error("you may not write the metadata key `{key}`; {}", hint(allowed))]
    MetadataKey {
        key: Box<str>,
        allowed: Vec<Box<str>>,
    },
}

fn hint(allowed: &[Box<str>]) -> String {
    match allowed {
        [] => "leave the metadata out".to_owned(),
        keys => format!("use {}", List(keys)),
    }
}

impl Limits {
    /// Returns the limits of an actor whose handle comes from one with these limits.
    pub(super) fn with(&self, actor: Self) -> Self {
        let apps_differ = self
            .app
            .is_some_and(|app| actor.app.is_some_and(|of| of != app));
        let keys = match (self.writable_keys(), actor.writable_keys()) {
            (Some(ours), Some(theirs)) => Some(ours.intersection(&theirs).cloned().collect()),
            (ours, theirs) => ours.or(theirs),
        };
        Self {
            app: self.app.or(actor.app),
            reaches_nothing: self.reaches_nothing || actor.reaches_nothing || apps_differ,
            read_only: self.read_only || actor.read_only,
            metadata_keys: keys,
        }
    }

    fn writable_keys(&self) -> Option<BTreeSet<Box<str>>> {
        let none = self.app.map(|_| BTreeSet::new());
        self.metadata_keys.clone().or(none)
    }

    /// Checks that the actor may take an action at all.
    pub(super) fn check_action(&self, action: AuditAction) -> Result<(), LifecycleError> {
        if self.reaches_nothing {
            return Err(LifecycleError::new(LifecycleErrorKind::NotPermitted));
        }
        // It changes nothing, although it is recorded.
        if action == AuditAction::SearchToken {
            return Ok(());
        }
        if self.read_only {
            return Err(LifecycleError::new(LifecycleErrorKind::ReadOnly));
        }
        let changes_one_app = match action {
            AuditAction::SearchToken
            | AuditAction::IssueToken
            | AuditAction::RenameToken
            | AuditAction::EditToken
            | AuditAction::SuspendToken
            | AuditAction::ResumeToken
            | AuditAction::RotateToken
            | AuditAction::RevokeToken => true,
            AuditAction::CreateApp
            | AuditAction::EditApp
            | AuditAction::DeleteApp
            | AuditAction::DisableApp
            | AuditAction::EnableApp
            | AuditAction::ExpiringToken
            | AuditAction::PurgeTokens
            | AuditAction::TrimEvents
            | AuditAction::ImportTokens
            | AuditAction::SetPolicy
            | AuditAction::ClearCaches
            | AuditAction::SetFleet
            | AuditAction::RemoveNode => false,
        };
        match changes_one_app {
            true => Ok(()),
            false => self.check_all_apps(),
        }
    }

    /// Checks that the actor reaches all apps.
    pub(super) fn check_all_apps(&self) -> Result<(), LifecycleError> {
        match self.app {
            Some(_) => Err(LifecycleError::new(LifecycleErrorKind::NotPermitted)),
            None => Ok(()),
        }
    }

    /// Checks that the actor may write these metadata keys of a token.
    pub(super) fn check_metadata<'k>(
        &self,
        mut keys: impl Iterator<Item = &'k str>,
    ) -> Result<(), LifecycleError> {
        let Some(allowed) = self.writable_keys() else {
            return Ok(());
        };
        match keys.find(|key| !allowed.contains(*key)) {
            None => Ok(()),
            Some(key) => {
                let (key, allowed) = (key.into(), allowed.into_iter().collect());
                let error = LimitError::MetadataKey { key, allowed };
                Err(LifecycleError::with_source(
                    LifecycleErrorKind::NotPermitted,
                    error,
                ))
            }
        }
    }

    /// Returns what the actor may grant, of what was granted to them.
    pub(super) fn grantable(&self, grantable: Grantable) -> Grantable {
        match self.app {
            Some(_) => grantable.without_management(),
            None => grantable,
        }
    }

    /// Returns whether the actor reaches an app and its tokens.
    pub(super) fn reaches(&self, app: &AppId) -> bool {
        !self.reaches_nothing && self.app.is_none_or(|own| own == *app)
    }

    /// Limits a query for records of an app to the actor's app. Returns whether it can select
    /// anything.
    pub(super) fn narrow(&self, app: &mut Option<AppId>) -> bool {
        let Some(own) = self.app else {
            return true;
        };
        self.reaches(app.get_or_insert(own))
    }

    /// Returns the target for a token. If every call is limited to an app, the target is too.
    pub(super) fn target(&self, token: TokenId) -> TokenTarget {
        match self.app {
            Some(app) => TokenTarget::of_app(token, app),
            None => TokenTarget::any(token),
        }
    }

    /// Returns the policy as the actor sees it: without the rules of other apps.
    pub(super) fn show_policy(&self, policy: Policy) -> Policy {
        match self.app {
            Some(app) => policy.of_app(&app),
            None => policy,
        }
    }

    pub(super) fn show_token(&self, token: &mut TokenRecord) {
        if let Some(creator) = &mut token.created_by {
            self.show_actor(creator);
        }
    }

    pub(super) fn show_event(&self, event: &mut AuditEvent) {
        self.show_actor(&mut event.actor);
    }

    fn show_actor(&self, actor: &mut String) {
        if !self.knows_actor(actor) {
            SUPPORT.clone_into(actor);
        }
    }

    /// Returns whether the actor may see the name of another.
    pub(super) fn knows_actor(&self, actor: &str) -> bool {
        let Some(app) = self.app else {
            return true;
        };
        actor == SYSTEM || name_in_app(actor, &app).is_some()
    }

    /// Returns the name that is recorded for an actor.
    pub(super) fn recorded(&self, actor: &str) -> String {
        match self.app {
            Some(app) => actor_of_app(&app, Some(actor)),
            None => actor.to_owned(),
        }
    }

    /// Returns the name that is recorded for an actor without one.
    pub(super) fn recorded_unnamed(&self) -> String {
        match self.app {
            Some(app) => actor_of_app(&app, None),
            None => UNNAMED.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(id: &str) -> AppId {
        AppId::new(id).unwrap()
    }

    fn of(id: &str) -> Limits {
        Limits {
            app: Some(app(id)),
            ..Limits::default()
        }
    }

    fn with_keys(limits: Limits, keys: &[&str]) -> Limits {
        let keys = keys.iter().map(|key| (*key).into()).collect();
        Limits {
            metadata_keys: Some(keys),
            ..limits
        }
    }

    fn writes(limits: &Limits, key: &str) -> bool {
        limits.check_metadata([key].into_iter()).is_ok()
    }

    #[test]
    fn only_names_of_the_own_app_and_of_the_system_are_shown() {
        let limits = of("acme");
        for shown in ["app:acme", "app:acme:alice", "app:acme:", SYSTEM] {
            assert!(limits.knows_actor(shown), "{shown}");
        }
        for hidden in [
            "alice",
            "operator",
            "app:acmes:alice",
            "app:other:alice",
            "app:other",
            "app:",
            "acme:alice",
            "",
        ] {
            let mut name = hidden.to_owned();
            limits.show_actor(&mut name);
            assert_eq!(name, SUPPORT, "{hidden}");
            assert!(Limits::default().knows_actor(hidden), "{hidden}");
        }
        assert!(limits.knows_actor(&limits.recorded("alice")));
        assert!(limits.knows_actor(&limits.recorded_unnamed()));
        assert!(!of("acm").knows_actor(&limits.recorded("alice")));
    }

    #[test]
    fn an_actor_of_an_app_writes_only_keys_that_are_allowed() {
        assert!(writes(&Limits::default(), "team"));
        assert!(!writes(&of("acme"), "team"));
        let limits = with_keys(of("acme"), &["team", "env"]);
        assert!(writes(&limits, "team"));
        assert!(!writes(&limits, "plan"));
        let refused = limits.check_metadata(["plan"].into_iter()).unwrap_err();
        assert_eq!(refused.kind(), LifecycleErrorKind::NotPermitted);
        assert_eq!(
            refused.to_string(),
            "you may not write the metadata key `plan`; use `env` or `team`"
        );
    }

    #[test]
    fn limits_only_become_stricter() {
        let keys = with_keys(Limits::default(), &["team", "env"]);
        let both = keys.with(with_keys(of("acme"), &["team", "plan"]));
        assert!(writes(&both, "team") && !writes(&both, "env") && !writes(&both, "plan"));
        let none = of("acme").with(with_keys(of("acme"), &["team"]));
        assert!(!writes(&none, "team"));
        let read_only = Limits {
            read_only: true,
            ..Limits::default()
        };
        assert!(read_only.with(Limits::default()).read_only);
        assert!(Limits::default().with(read_only).read_only);
        assert_eq!(of("acme").with(Limits::default()).app, Some(app("acme")));
    }

    #[test]
    fn an_actor_of_two_apps_reaches_neither() {
        let both = of("acme").with(of("other"));
        let nested = [
            both.clone(),
            both.with(Limits::default()),
            both.with(of("acme")),
        ];
        for limits in nested.into_iter().chain([Limits::default().with(both)]) {
            for action in AuditAction::ALL {
                let refused = limits.check_action(*action).unwrap_err();
                assert_eq!(refused.kind(), LifecycleErrorKind::NotPermitted);
            }
            for mut selected in [None, Some(app("acme")), Some(app("other"))] {
                assert!(!limits.narrow(&mut selected));
            }
        }
    }
}
