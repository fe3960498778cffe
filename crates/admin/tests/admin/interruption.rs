//! Operations complete when their caller goes away, and survive a panicking store.

use std::{pin::pin, time::Duration};

use futures_util::{FutureExt, future::BoxFuture, poll};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tower_api_tokens::{
    AppEdit, AppId, AppQuery, AuditAction, AuditOutcome, AuditQuery, LifecycleErrorKind, NewToken,
    Policy, TokenEdit, TokenId, TokenQuery, testing::Fault,
};
use tower_api_tokens_admin::{OperationError, OperationErrorKind, Operator};

use crate::support::Platform;

const DAY: Duration = Duration::from_secs(86_400);

type Call = BoxFuture<'static, Result<(), OperationError>>;

/// An operator with an app and a token.
struct Scene {
    platform: Platform,
    alice: Operator,
    app: AppId,
    empty: AppId,
    token: TokenId,
}

impl Scene {
    async fn new() -> Self {
        let platform = Platform::new();
        let app = platform.app().await.id;
        let issued = platform.scene.issue(&app, NewToken::named("ci")).await;
        Self {
            alice: platform.alice(),
            app,
            empty: platform.app().await.id,
            token: issued.record().id,
            platform,
        }
    }

    /// Returns every operation that makes a change, with its audit action.
    fn changes(&self) -> Vec<(AuditAction, Call)> {
        let Self {
            app, empty, token, ..
        } = *self;
        macro_rules! calls {
            ($alice:ident: $($action:ident => $call:expr,)*) => {
                vec![$((AuditAction::$action, {
                    let $alice = self.alice.clone();
                    async move { $call.await.map(drop) }.boxed()
                }),)*]
            };
        }
        calls! { alice:
            CreateApp => alice.create_app("Another"),
            EditApp => alice.edit_app(&app, None, AppEdit::default().name("Another")),
            // It has no live token, so that it can be deleted.
            DeleteApp => alice.delete_app(&empty),
            DisableApp => alice.disable_app(&app),
            EnableApp => alice.enable_app(&app),
            ClearCaches => alice.clear_caches(),
            IssueToken => alice.issue(&app, NewToken::named("nightly")),
            RenameToken => alice.rename(token, "nightly"),
            EditToken => alice.edit(token, None, TokenEdit::default().name("nightly")),
            SuspendToken => alice.suspend(token),
            ResumeToken => alice.resume(token),
            RotateToken => alice.rotate(token, DAY),
            RevokeToken => alice.revoke(token),
            SetPolicy => alice.set_policy(None, Policy::default().unique_names()),
            PurgeTokens => alice.purge(alice.now()),
            ImportTokens => alice.note(AuditAction::ImportTokens, AuditOutcome::Done),
        }
    }

    /// Returns every operation that only reads.
    fn readings(&self) -> Vec<Call> {
        let Self { app, token, .. } = *self;
        macro_rules! calls {
            ($alice:ident: $($call:expr,)*) => {
                vec![$({
                    let $alice = self.alice.clone();
                    async move { $call.await.map(drop) }.boxed()
                },)*]
            };
        }
        calls! { alice:
            alice.get_app(&app),
            alice.list_apps(&AppQuery::default()),
            alice.get(token),
            alice.list(&TokenQuery::default()),
            alice.events(&AuditQuery::default()),
            alice.policy(),
            alice.effective_policy(),
        }
    }

    fn is_recorded(&self, action: AuditAction) -> bool {
        self.platform
            .sink
            .all()
            .iter()
            .any(|event| event.action == action)
    }
}

fn is_store_failure(error: &OperationError) -> bool {
    error.kind() == OperationErrorKind::Lifecycle(LifecycleErrorKind::Store)
}

#[tokio::test]
async fn a_panicking_store_is_a_store_failure() {
    for fault in [Fault::Panic, Fault::WritePanic] {
        let scene = Scene::new().await;
        scene.platform.scene.store.set_fault(fault);
        for (action, call) in scene.changes() {
            match call.await {
                // It records an event for an earlier change, which is queued for the store.
                Ok(()) => assert_eq!(action, AuditAction::ImportTokens, "{fault:?}"),
                Err(error) => assert!(is_store_failure(&error), "{action} {fault:?}: {error}"),
            }
        }
        if fault == Fault::Panic {
            for call in scene.readings() {
                assert!(is_store_failure(&call.await.unwrap_err()));
            }
        }
        scene.platform.scene.store.set_fault(Fault::None);
        scene.platform.operations.flush_audit().await.unwrap();
        for call in scene.readings() {
            assert!(call.await.is_ok());
        }
    }
}

#[tokio::test]
async fn an_operation_completes_after_its_caller_has_gone() {
    let count = Scene::new().await.changes().len();
    for number in 0..count {
        let scene = Scene::new().await;
        let (action, call) = scene.changes().swap_remove(number);
        scene.platform.scene.store.set_fault(Fault::Hang);
        let calls = scene.platform.scene.store.calls();
        {
            let mut call = pin!(call);
            while scene.platform.scene.store.calls() == calls {
                assert!(poll!(&mut call).is_pending(), "{action}");
                yield_now().await;
            }
            assert!(poll!(&mut call).is_pending(), "{action}");
        }
        scene.platform.scene.store.set_fault(Fault::None);
        wait_until(|| scene.is_recorded(action)).await;
        assert!(scene.alice.get(scene.token).await.is_ok());
    }
}

/// Waits up to ten seconds for a condition.
async fn wait_until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), waiting).await.unwrap();
}
