//! Limited actors: every method of [`ApiTokens`] on behalf of one.

use std::{fmt::Debug, time::Duration};

use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};

use super::{
    Registry,
    fixtures::{at, audit_log},
};
use crate::{
    ApiTokens, AppEdit, AppId, AppQuery, AuditEvent, AuditQuery, Authority, EventQuery, EventStart,
    FleetSettings, IdempotencyKey, ImportedToken, LifecycleError, LifecycleErrorKind, Maintenance,
    MaskedToken, MetadataPatch, NewToken, NodeId, NodeQuery, NodeReport, Policy, SystemEntropy,
    TokenDigest, TokenEdit, TokenFormat, TokenId, TokenQuery, TokenRecord, TokenSelection,
    store::event_log,
};

type Call<'a> = BoxFuture<'a, Result<(), LifecycleError>>;

/// A platform with two apps, each with tokens of staff and of its own customer.
struct Scene {
    store: Registry,
    tokens: ApiTokens,
    ours: AppId,
    theirs: AppId,
    /// The text of a token of `theirs`.
    text: String,
}

/// The records that a call names: those of an app, or unknown ones.
#[derive(Clone, Copy)]
struct Named {
    app: AppId,
    token: TokenId,
}

impl Scene {
    async fn new(store: Registry) -> Self {
        let format = TokenFormat::new("acme").unwrap();
        let tokens = ApiTokens::builder(store.clone(), format).any_format();
        let tokens = tokens.build();
        let bob = tokens.acting_as(Authority::of("bob"));
        let [ours, theirs] = ["ours", "theirs"].map(|id| AppId::new(id).unwrap());
        let policy = Policy::default()
            .with_scopes_of(ours, "read tokens:admin".parse().unwrap())
            .with_scopes_of(theirs, "secret".parse().unwrap());
        bob.set_policy(None, policy).await.unwrap();
        let mut scene = Self {
            text: String::new(),
            store,
            tokens: tokens.clone(),
            ours,
            theirs,
        };
        for app in [ours, theirs] {
            bob.create_app_with_id(app, "App").await.unwrap();
            let issued = bob.issue(&app, NewToken::named("by staff")).await.unwrap();
            bob.suspend(issued.record().id).await.unwrap();
            let alice = scene.customer(app);
            let own = alice.issue(&app, NewToken::named("own")).await;
            own.unwrap().token().expose().clone_into(&mut scene.text);
        }
        scene
    }

    fn customer(&self, app: AppId) -> ApiTokens {
        let alice = Authority::of("alice").metadata_keys(["team"]);
        self.tokens.acting_as(alice.limited_to(app))
    }

    async fn tokens_of(&self, app: AppId) -> Vec<TokenRecord> {
        let query = TokenQuery::default().app(app);
        self.tokens.list(&query).await.unwrap().items
    }

    async fn named(&self, app: AppId) -> Named {
        let token = self.tokens_of(app).await[0].id;
        Named { app, token }
    }

    /// Everything that can be read of the store.
    async fn everything(&self) -> impl Debug + PartialEq + use<> {
        let apps = self.tokens.list_apps(&AppQuery::default()).await.unwrap();
        let tokens = self.tokens.list(&TokenQuery::default()).await.unwrap();
        let query = AuditQuery::default();
        let events = audit_log(&self.store).events(&query).await.unwrap();
        let policy = self.tokens.policy().await.unwrap();
        (apps, tokens, events, policy)
    }
}

fn unknown() -> Named {
    Named {
        app: AppId::new("unknown").unwrap(),
        token: TokenId::from_bytes([9; 16]),
    }
}

/// Every method of [`ApiTokens`] that changes something.
fn changes(tokens: &ApiTokens, on: Named) -> Vec<(&'static str, Call<'_>)> {
    let selected = move || TokenSelection::new(TokenQuery::default().app(on.app), on.token, 10);
    macro_rules! calls {
        ($($name:ident($($argument:expr),*);)*) => {
            vec![$((
                stringify!($name),
                async move { tokens.$name($($argument),*).await.map(drop) }.boxed(),
            ),)*]
        };
    }
    let key = || IdempotencyKey::new("k1").unwrap();
    let new = move || NewToken::named("new").idempotency_key(key());
    let mask = MaskedToken::new("legacy-", "9f3c").unwrap();
    let imported = move || ImportedToken::new(new(), TokenDigest::of(b"imported"), mask);
    let edit = || TokenEdit::default().metadata(MetadataPatch::default().set("team", "a"));
    calls! {
        issue(&{ on.app }, new());
        rename(on.token, "renamed");
        edit(on.token, None, edit());
        suspend(on.token);
        resume(on.token);
        rotate(on.token, Duration::from_secs(60));
        revoke(on.token);
        revoke_everywhere(on.token, Duration::ZERO);
        revoke_selected(&selected());
        revoke_many(&[on.token]);
        import(&{ on.app }, imported());
        create_app("created");
        create_app_with_id(on.app, "created");
        edit_app(&{ on.app }, None, AppEdit::default().name("renamed"));
        disable_app(&{ on.app });
        enable_app(&{ on.app });
        delete_app(&{ on.app });
        set_policy(None, Policy::default());
        purge(at(0));
        maintain(&Maintenance::new());
        clear_caches();
        record_expiring(Duration::from_secs(60));
        set_fleet(FleetSettings::default().all_registered(true));
        remove_node(NodeId::from_bytes([9; 16]));
    }
}

/// How many of the [`changes`] an actor who is limited to an app may make there.
const PERMITTED: usize = 10;

/// The methods of [`ApiTokens`] that read records, all of which [`reads`] calls.
#[cfg(test)]
const READS: [&str; 18] = [
    "get",
    "list",
    "stream_tokens",
    "get_app",
    "list_apps",
    "stream_apps",
    "policy",
    "effective_policy",
    "events",
    "select_for_revocation",
    "report",
    "count",
    "find_token",
    "preview_maintenance",
    "list_nodes",
    "fleet",
    "registry",
    "app",
];

/// The other public methods of [`ApiTokens`], none of which reads or changes a record.
#[cfg(test)]
const OTHERS: [&str; 17] = [
    "latest_revision",
    "combined_policy",
    "new",
    "builder",
    "formats",
    "authenticator",
    "follow",
    "join_fleet",
    "acting_as",
    "check_action",
    "limited_to",
    "is_read_only",
    "actor",
    "max_overlap",
    "reported_kinds",
    "entropy",
    "now",
];

/// What a limited actor reads who names these records, as text without their identifiers.
async fn reads(tokens: &ApiTokens, on: Named, text: &str) -> Vec<String> {
    let of_app = TokenQuery::default().app(on.app);
    let of_token = TokenQuery::default().id(on.token);
    let digest = TokenQuery::default().digest(TokenDigest::of(b"unknown"));
    let by_staff = TokenQuery::default().created_by("bob");
    let handle = tokens.app(on.app, &crate::Grantable::everything());
    let registry = tokens.registry();
    let audit = registry.audit_log().unwrap();
    let log = event_log(&*registry).unwrap();
    let start = EventQuery::new(EventStart::Oldest).app(on.app);
    let read = vec![
        format!("{:?}", tokens.get(on.token).await.map_err(|e| e.kind())),
        format!("{:?}", tokens.get_app(&on.app).await.map_err(|e| e.kind())),
        format!("{:?}", tokens.list(&of_app).await.unwrap()),
        format!("{:?}", tokens.list(&of_token).await.unwrap()),
        format!("{:?}", tokens.list(&digest).await.unwrap()),
        format!("{:?}", tokens.list(&by_staff).await.unwrap()),
        format!("{:?}", tokens.count(&of_app, 10).await.unwrap()),
        format!("{:?}", tokens.count(&by_staff, 10).await.unwrap()),
        format!("{:?}", tokens.select_for_revocation(&of_app).await.unwrap()),
        format!("{:?}", tokens.report(Some(on.app)).await.unwrap().cards),
        format!("{:?}", tokens.find_token(text).await.unwrap()),
        format!(
            "{:?}",
            tokens
                .stream_tokens(of_app.clone())
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
        ),
        format!("{:?}", handle.record().await.map_err(|e| e.kind())),
        format!("{:?}", handle.get(on.token).await.map_err(|e| e.kind())),
        format!("{:?}", handle.list(TokenQuery::default()).await.unwrap()),
        format!(
            "{:?}",
            audit
                .events(&AuditQuery::default().app(on.app))
                .await
                .unwrap()
        ),
        format!(
            "{:?}",
            audit
                .events(&AuditQuery::default().token(on.token))
                .await
                .unwrap()
        ),
        format!("{:?}", log.read_events(&start).await.unwrap()),
    ];
    let [app, token] = [on.app.to_string(), on.token.to_string()];
    read.into_iter()
        .map(|text| text.replace(&app, "APP").replace(&token, "TOKEN"))
        .collect()
}

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
    let nested = alice.acting_as(Authority::of("alice").limited_to(scene.theirs));
    assert!(
        nested
            .list(&TokenQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let nested = alice.acting_as(Authority::of("bob"));
    assert_own(
        scene,
        &nested.list(&TokenQuery::default()).await.unwrap().items,
    );
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;
    use crate::MemoryStore;

    /// The public methods in `impl ApiTokens` of the sources.
    fn methods() -> BTreeSet<String> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let directories = ["lifecycle", "fleet"].map(|name| sources.join(name));
        let mut methods = BTreeSet::new();
        for file in directories
            .iter()
            .flat_map(|path| fs::read_dir(path).unwrap())
        {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            let mut is_inside = false;
            for line in text.lines() {
                match line {
                    "impl ApiTokens {" => is_inside = true,
                    "}" => is_inside = false,
                    _ => {}
                }
                let declared = line.strip_prefix("    pub ").unwrap_or_default();
                let declared = declared.trim_start_matches("async ");
                if let Some(rest) = declared.strip_prefix("fn ")
                    && is_inside
                {
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                    methods.insert(rest[..end.unwrap()].to_owned());
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_is_checked_with_a_limited_actor() {
        let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme").unwrap());
        let changes = changes(&tokens, unknown());
        let changes = changes.iter().map(|(name, _)| *name);
        let classified: BTreeSet<_> = changes
            .chain(READS)
            .chain(OTHERS)
            .map(str::to_owned)
            .collect();
        assert_eq!(
            classified,
            methods(),
            "add a new method to the checks of limited actors"
        );
    }
}
