//! Every method of [`ApiTokens`], as calls on given records.

use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};

use super::{super::fixtures::at, scene::Named};
use crate::{
    ApiTokens, AppEdit, AuditQuery, EventQuery, EventStart, FleetSettings, IdempotencyKey,
    ImportedToken, LifecycleError, Maintenance, MaskedToken, MetadataPatch, NewToken, NodeId,
    Policy, TokenDigest, TokenEdit, TokenQuery, TokenSelection, store::event_log,
};

type Call<'a> = BoxFuture<'a, Result<(), LifecycleError>>;

/// Every method of [`ApiTokens`] that changes something.
pub(super) fn changes(tokens: &ApiTokens, on: Named) -> Vec<(&'static str, Call<'_>)> {
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
pub(super) const PERMITTED: usize = 10;

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
pub(super) async fn reads(tokens: &ApiTokens, on: Named, text: &str) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::{super::scene::unknown, *};
    use crate::{MemoryStore, TokenFormat};

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
