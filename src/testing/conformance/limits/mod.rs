//! Limited actors: every method of [`ApiTokens`] on behalf of one.

mod methods;
mod scene;

use std::time::Duration;

use futures_util::TryStreamExt;

use self::{
    methods::{PERMITTED, changes, reads},
    scene::{Scene, unknown},
};
use super::{Registry, fixtures::audit_log};
use crate::{
    ApiTokens, AppQuery, AuditEvent, AuditQuery, Authority, EventQuery, EventStart, Grantable,
    IdempotencyKey, LifecycleErrorKind, Maintenance, MetadataPatch, NewToken, NodeId, NodeQuery,
    NodeReport, SystemEntropy, TokenEdit, TokenFormat, TokenQuery, TokenRecord, store::event_log,
};

fn assert_own(scene: &Scene, tokens: &[TokenRecord]) {
    let mut names: Vec<_> = tokens.iter().map(|token| token.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["by staff", "own"]);
    for token in tokens {
        assert_eq!(token.app.id, scene.ours);
        let creator = match &*token.name {
            "own" => "app:ours:alice",
            _ => "support",
        };
        assert_eq!(token.created_by.as_deref(), Some(creator));
    }
}

fn assert_own_event(scene: &Scene, event: &AuditEvent) {
    assert_eq!(event.app, Some(scene.ours));
    assert!(
        ["app:ours:alice", "support"].contains(&&*event.actor),
        "{event:?}"
    );
}

/// An actor who is limited to an app reaches this app alone. Records of another app are like unknown ones: for
/// every method, whatever is named. Staff appear as `support`.
pub async fn a_limited_actor_reaches_one_app(store: Registry) {
    let scene = Scene::new(store).await;
    let alice = scene.customer(scene.ours);
    sees_one_app(&scene, &alice).await;

    let foreign = scene.named(scene.theirs).await;
    let unknown_text = TokenFormat::new("acme").unwrap();
    let unknown_text = unknown_text.generate(&SystemEntropy::default()).unwrap();
    assert_eq!(
        reads(&alice, foreign, &scene.text).await,
        reads(&alice, unknown(), unknown_text.expose()).await
    );
    let preview = alice.preview_maintenance(&Maintenance::new()).await;
    let nodes = alice.list_nodes(&NodeQuery::default()).await;
    let fleet = alice.fleet().await;
    for refused in [preview.map(drop), nodes.map(drop), fleet.map(drop)] {
        let kind = refused.unwrap_err().kind();
        assert_eq!(kind, LifecycleErrorKind::NotPermitted);
    }
    let before = scene.everything().await;
    let calls = changes(&alice, foreign)
        .into_iter()
        .zip(changes(&alice, unknown()));
    for ((name, on_foreign), (_, on_unknown)) in calls {
        let [foreign, unknown] = [on_foreign.await, on_unknown.await]
            .map(|called| called.map_err(|error| (error.kind(), error.to_string())));
        assert_eq!(foreign, unknown, "{name}");
    }
    assert_eq!(scene.everything().await, before);

    reaches_no_second_app(&scene, &alice).await;
    let own = scene.named(scene.ours).await;
    for (name, call) in changes(&alice, own).into_iter().skip(PERMITTED) {
        let kind = call.await.expect_err(name).kind();
        assert_eq!(kind, LifecycleErrorKind::NotPermitted, "{name}");
    }
    assert_eq!(scene.everything().await, before);
    for (name, call) in changes(&alice, own).into_iter().take(PERMITTED) {
        call.await.expect(name);
    }
    sees_no_node(&scene, &alice).await;
    grants_no_more_than_allowed(&scene, &alice).await;
    shares_no_key(&scene).await;
}

async fn sees_one_app(scene: &Scene, alice: &ApiTokens) {
    assert_eq!(alice.limited_to(), Some(&scene.ours));
    assert_own(
        scene,
        &alice.list(&TokenQuery::default()).await.unwrap().items,
    );
    let streamed = alice.stream_tokens(TokenQuery::default());
    assert_own(scene, &streamed.try_collect::<Vec<_>>().await.unwrap());
    let own = TokenQuery::default().created_by("app:ours:alice");
    if let Ok(created) = alice.list(&own).await {
        assert!(created.items.iter().any(|token| token.name == "own"));
    }
    let apps = alice.list_apps(&AppQuery::default()).await.unwrap();
    assert_eq!((apps.items.len(), apps.items[0].id), (1, scene.ours));
    let apps = alice.stream_apps(AppQuery::default());
    assert_eq!(apps.try_collect::<Vec<_>>().await.unwrap().len(), 1);
    for policy in [alice.policy().await, alice.effective_policy().await] {
        let policy = policy.unwrap();
        assert!(policy.scopes_of.is_empty(), "{policy:?}");
        assert_eq!(policy.scopes, Some("read tokens:admin".parse().unwrap()));
    }

    let registry = alice.registry();
    let events = audit_log(&registry)
        .events(&AuditQuery::default())
        .await
        .unwrap();
    assert_eq!(events.items.len(), 4);
    for event in &events.items {
        assert_own_event(scene, event);
    }
    let logged = EventQuery::new(EventStart::Oldest);
    let logged = event_log(&*registry)
        .unwrap()
        .read_events(&logged)
        .await
        .unwrap();
    assert_eq!(logged.events.len(), 4);
    for logged in &logged.events {
        assert_own_event(scene, &logged.event);
        assert_eq!(
            logged.position.number, 0,
            "a number counts the events of others"
        );
    }
    let mut followed = alice.events(EventStart::Oldest).await.unwrap();
    for expected in &logged.events {
        assert_eq!(followed.try_next().await.unwrap().as_ref(), Some(expected));
    }

    assert!(registry.change_log().is_none() && registry.usage_log().is_none());
    for (app, found) in [(scene.ours, true), (scene.theirs, false)] {
        let token = &scene.tokens_of(app).await[0];
        let answer = registry.find(&token.digest).await.unwrap();
        assert_eq!((answer.record.is_some(), answer.position), (found, None));
    }
    let nested = alice.acting_as(Authority::of("bob"));
    assert_own(
        scene,
        &nested.list(&TokenQuery::default()).await.unwrap().items,
    );
}

/// A handle that is limited to one app reaches none after it is limited to another one.
async fn reaches_no_second_app(scene: &Scene, alice: &ApiTokens) {
    let before = scene.everything().await;
    let nested = alice.acting_as(Authority::of("alice").limited_to(scene.theirs));
    let handle = alice.app(scene.theirs, &Grantable::everything());
    for app in [scene.ours, scene.theirs] {
        let named = scene.named(app).await;
        for (name, call) in changes(&nested, named) {
            call.await.expect_err(name);
        }
        let text = scene.tokens.get(named.token).await.unwrap();
        assert!(
            nested
                .registry()
                .find(&text.digest)
                .await
                .unwrap()
                .record
                .is_none()
        );
        assert!(nested.get(named.token).await.is_err() && nested.get_app(&app).await.is_err());
        assert!(handle.get(named.token).await.is_err());
        assert!(handle.revoke(named.token).await.is_err());
        assert!(
            handle
                .rotate(named.token, Duration::from_secs(60))
                .await
                .is_err()
        );
    }
    assert!(handle.issue(NewToken::named("new")).await.is_err());
    let listed = nested.list(&TokenQuery::default()).await.unwrap();
    assert!(listed.items.is_empty());
    let apps = nested.list_apps(&AppQuery::default()).await.unwrap();
    assert!(apps.items.is_empty());
    let registry = nested.registry();
    let events = audit_log(&registry).events(&AuditQuery::default()).await;
    assert!(events.unwrap().items.is_empty());
    assert_eq!(scene.everything().await, before);
}

/// The nodes serve all apps.
async fn sees_no_node(scene: &Scene, alice: &ApiTokens) {
    let Some(registry) = scene.store.node_registry() else {
        return;
    };
    let node = NodeId::from_bytes([1; 16]);
    let report = NodeReport::new(node, "node", "1.2.3", Duration::from_secs(5));
    registry.report(&report).await.unwrap();
    let token = scene.tokens_of(scene.ours).await[0].id;
    for (tokens, nodes) in [(alice, 0), (&scene.tokens, 1)] {
        let revoked = tokens.revoke_everywhere(token, Duration::ZERO).await;
        assert_eq!(revoked.unwrap().1.nodes.len(), nodes);
    }
}

async fn grants_no_more_than_allowed(scene: &Scene, alice: &ApiTokens) {
    let management = NewToken::named("admin").scopes("tokens:admin".parse().unwrap());
    let refused = alice.issue(&scene.ours, management).await.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::NotGranted);
    let metadata = crate::Metadata::new([("plan", "enterprise")]).unwrap();
    let new = NewToken::named("pro").metadata(metadata);
    let refused = alice.issue(&scene.ours, new).await.unwrap_err();
    assert_eq!(refused.kind(), LifecycleErrorKind::NotPermitted);
    let issued = alice
        .issue(&scene.ours, NewToken::named("edited"))
        .await
        .unwrap();
    let record = issued.record();
    for patch in [
        MetadataPatch::default().set("plan", "pro"),
        MetadataPatch::default().set("team", "a").remove("plan"),
    ] {
        let edit = TokenEdit::default().metadata(patch);
        let refused = alice.edit(record.id, None, edit).await.unwrap_err();
        assert_eq!(refused.kind(), LifecycleErrorKind::NotPermitted);
    }
    // The version is the same for everyone, even though the name of the creator is not.
    let by_staff = scene
        .tokens
        .issue(&scene.ours, NewToken::named("versioned"))
        .await
        .unwrap();
    let seen = alice.get(by_staff.record().id).await.unwrap();
    assert_eq!(seen.version(), by_staff.record().version());
}

/// Two actors with the same name, of different apps, may use the same idempotency key.
async fn shares_no_key(scene: &Scene) {
    let key = IdempotencyKey::new("shared").unwrap();
    let new = || NewToken::named("keyed").idempotency_key(key.clone());
    for app in [scene.ours, scene.theirs] {
        let alice = scene.customer(app);
        assert!(alice.issue(&app, new()).await.is_ok());
        let again = alice.issue(&app, new()).await.unwrap_err();
        assert_eq!(again.kind(), LifecycleErrorKind::Repeated);
    }
}

/// A read-only actor reads what it may see, and changes nothing.
pub async fn a_read_only_actor_changes_nothing(store: Registry) {
    let scene = Scene::new(store).await;
    let before = scene.everything().await;
    let authorities = [
        Authority::of("auditor").read_only(),
        Authority::of("alice").limited_to(scene.ours).read_only(),
    ];
    for authority in authorities {
        let tokens = scene.tokens.acting_as(authority);
        assert!(tokens.is_read_only());
        for named in [scene.named(scene.ours).await, unknown()] {
            for (name, call) in changes(&tokens, named) {
                let kind = call.await.expect_err(name).kind();
                assert_eq!(kind, LifecycleErrorKind::ReadOnly, "{name}");
            }
        }
        let inherited = tokens.acting_as(Authority::of("bob"));
        for (name, call) in changes(&inherited, scene.named(scene.ours).await) {
            assert!(call.await.is_err(), "{name}");
        }
        let listed = tokens.list(&TokenQuery::default()).await.unwrap();
        assert!(!listed.items.is_empty());
    }
    assert_eq!(scene.everything().await, before);
}
