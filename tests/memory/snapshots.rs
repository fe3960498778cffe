//! Restarts from a snapshot of a preloaded cache.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{Timestamp, ToSpan};
use tempfile::TempDir;
use tower_api_tokens::{
    ApiTokens, Authenticator, ChangeLog, Changes, Follower, IssuedToken, LivePage, MemoryStore,
    Metadata, MetadataPatch, Mutation, NewToken, Op, PreloadSource, RejectionKind, Revision,
    StoreError, StoreErrorKind, TokenFormat, TokenId, TokenRegistry,
    testing::{Fault, FaultyStore, ManualClock},
};

use crate::support::{BOUND, Node, ci, new_node};

/// Counts the reads of a log.
#[derive(Clone, Debug)]
struct CountedLog {
    inner: FaultyStore<MemoryStore>,
    pages: Arc<AtomicUsize>,
    revisions: Arc<AtomicUsize>,
}

#[async_trait]
impl ChangeLog for CountedLog {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.revisions.fetch_add(1, SeqCst);
        self.inner.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.inner.changes(since, limit).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        self.pages.fetch_add(1, SeqCst);
        self.inner.live(after, limit, now).await
    }
}

/// A process with a preloaded cache, and what it reads.
struct Process {
    gate: Authenticator,
    follower: Follower,
    pages: Arc<AtomicUsize>,
    revisions: Arc<AtomicUsize>,
}

impl Process {
    fn source(&self) -> &PreloadSource {
        self.follower.preloaded_from().unwrap()
    }

    fn is_from_snapshot(&self) -> bool {
        matches!(self.source(), PreloadSource::Snapshot { .. })
    }

    /// Why the snapshot was discarded.
    fn discarded(&self) -> String {
        match self.source() {
            PreloadSource::Store { discarded, .. } => discarded.clone().unwrap(),
            source => panic!("{source:?}"),
        }
    }

    async fn refusal(&self, token: &IssuedToken) -> Option<RejectionKind> {
        let presented = token.token().expose().as_bytes();
        let verdict = self.gate.authenticate(presented).await;
        verdict.err().map(|rejection| rejection.kind())
    }

    /// How many tokens of an unknown text are looked up.
    async fn lookups_of_unknown(&self) -> u64 {
        let before = self.gate.stats().lookups;
        let unknown = self.gate.authenticate(b"acme_unknown").await.unwrap_err();
        assert!(!unknown.kind().is_unavailable());
        self.gate.stats().lookups - before
    }
}

/// A store, and the directory of a snapshot of its tokens.
struct Scene {
    node: Node,
    directory: TempDir,
    capacity: usize,
    format: TokenFormat,
}

impl Scene {
    fn new() -> Self {
        Self::of(new_node())
    }

    fn of(node: Node) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            node,
            directory,
            capacity: 1000,
            format: TokenFormat::new("acme").unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("tokens.snapshot")
    }

    async fn try_start(&self, path: &Path) -> Result<Process, StoreError> {
        let gate = Authenticator::builder(self.node.store.clone())
            .with_format(self.format.clone())
            .clock(self.node.clock.clone())
            .max_staleness(BOUND)
            .capacity(self.capacity)
            .build();
        let log = CountedLog {
            inner: self.node.store.clone(),
            pages: Arc::default(),
            revisions: Arc::default(),
        };
        let follower = gate
            .follow(log.clone())
            .poll_interval(Duration::from_secs(1 << 30))
            .snapshot(path)
            .start()
            .await?;
        let CountedLog {
            pages, revisions, ..
        } = log;
        Ok(Process {
            gate,
            follower,
            pages,
            revisions,
        })
    }

    /// Starts a process that only saves when it stops.
    async fn start(&self) -> Process {
        self.try_start(&self.path()).await.unwrap()
    }

    /// Saves a snapshot of the current state.
    async fn save(&self) {
        let process = self.start().await;
        process.follower.catch_up().await.unwrap();
        process.follower.stop().await.unwrap();
        assert!(self.path().exists());
    }
}

async fn issued(scene: &Scene, count: usize) -> Vec<IssuedToken> {
    let app = scene.node.create_app("Billing").await;
    let mut tokens = Vec::new();
    for _ in 0..count {
        tokens.push(scene.node.issue(&app.id, ci()).await);
    }
    tokens
}

#[tokio::test]
async fn a_restart_reads_the_snapshot_and_the_changes_since_then_but_no_page_of_tokens() {
    let scene = Scene::new();
    let tokens = issued(&scene, 50).await;
    scene.save().await;
    let app = &tokens[0].record().app.id;
    let newer = scene.node.issue(app, ci()).await;
    scene
        .node
        .tokens
        .revoke(tokens[1].record().id)
        .await
        .unwrap();
    let process = scene.start().await;
    let PreloadSource::Snapshot {
        tokens: loaded,
        changes,
        ..
    } = process.source()
    else {
        panic!("{:?}", process.source());
    };
    assert_eq!((*loaded, *changes), (50, 2));
    let reads = [&process.pages, &process.revisions].map(|reads| reads.load(SeqCst));
    assert_eq!(reads, [0, 0]);
    assert!(process.gate.stats().preloaded);
    let before = scene.node.store.finds();
    assert_eq!(
        process.refusal(&tokens[1]).await,
        Some(RejectionKind::RevokedToken)
    );
    assert_eq!(process.refusal(&newer).await, None);
    assert!(scene.node.store.finds() <= before + 2);
    process.follower.catch_up().await.unwrap();
    let before = scene.node.store.finds();
    for token in [&tokens[0], &tokens[2]] {
        assert_eq!(process.refusal(token).await, None);
    }
    assert_eq!(process.lookups_of_unknown().await, 0);
    assert_eq!(scene.node.store.finds(), before);
}

#[tokio::test]
async fn principals_from_a_snapshot_are_those_from_the_store() {
    let scene = Scene::new();
    let metadata = |value: &str| Metadata::new([("plan", value)]).unwrap();
    let app = scene.node.create_app("Billing").await;
    let edit = tower_api_tokens::AppEdit::default()
        .name("Billing and more, with a name that does not fit inline")
        .metadata(MetadataPatch::default().set("tier", "gold"));
    scene
        .node
        .tokens
        .edit_app(&app.id, None, edit)
        .await
        .unwrap();
    let expires_at = scene.node.clock.now_plus(1);
    let requests = [
        ci(),
        ci().scopes("a b".parse().unwrap()).never_expires(),
        ci().metadata(metadata("free")).expires_at(expires_at),
        ci().networks("10.0.0.0/8".parse().unwrap()),
        NewToken::named("a name that is longer than twenty-four bytes, é"),
    ];
    let mut tokens = Vec::new();
    for request in requests {
        tokens.push(scene.node.issue(&app.id, request).await);
    }
    scene.save().await;
    let (restarted, cold) = (scene.start().await, {
        let elsewhere = scene.directory.path().join("elsewhere");
        scene.try_start(&elsewhere).await.unwrap()
    });
    assert!(restarted.is_from_snapshot() && !cold.is_from_snapshot());
    for token in &tokens {
        let presented = token.token().expose().as_bytes();
        for client in ["10.1.2.3", "192.0.2.1"] {
            let client: std::net::IpAddr = client.parse().unwrap();
            let verdicts = [&restarted, &cold]
                .map(|process| process.gate.authenticate_from(presented, client));
            let [restarted, cold] = verdicts;
            let (restarted, cold) = (restarted.await, cold.await);
            assert_eq!(
                restarted.map_err(|rejection| rejection.kind()),
                cold.map_err(|rejection| rejection.kind())
            );
        }
    }
    assert_eq!(scene.node.store.finds(), 0);
}

#[tokio::test]
async fn what_has_changed_since_the_snapshot_is_as_in_the_store() {
    let scene = Scene::new();
    let node = &scene.node;
    let tokens = issued(&scene, 8).await;
    let (closed, opened) = (
        node.create_app("Closed").await,
        node.create_app("Opened").await,
    );
    let of_closed = node.issue(&closed.id, ci()).await;
    let of_opened = node.issue(&opened.id, ci()).await;
    node.tokens.disable_app(&opened.id).await.unwrap();
    let [
        kept,
        revoked,
        rotated,
        suspended,
        resumed,
        renamed,
        purged,
        expiring,
    ] = &tokens[..]
    else {
        panic!("there are eight");
    };
    let id = |token: &IssuedToken| token.record().id;
    node.tokens.suspend(id(resumed)).await.unwrap();
    scene.save().await;

    node.tokens.revoke(id(revoked)).await.unwrap();
    let successor = node
        .tokens
        .rotate(id(rotated), Duration::ZERO)
        .await
        .unwrap();
    node.tokens.suspend(id(suspended)).await.unwrap();
    node.tokens.resume(id(resumed)).await.unwrap();
    node.tokens.rename(id(renamed), "renamed").await.unwrap();
    node.tokens.revoke(id(purged)).await.unwrap();
    let overlap = node.tokens.rotate(id(expiring), BOUND).await;
    drop(overlap.unwrap());
    node.tokens.disable_app(&closed.id).await.unwrap();
    node.tokens.enable_app(&opened.id).await.unwrap();
    node.clock.advance(Duration::from_secs(60));
    node.tokens.purge(node.clock.now_plus(0)).await.unwrap();

    let process = scene.start().await;
    assert!(process.is_from_snapshot());
    for round in 0..2 {
        for token in [kept, &successor, resumed, renamed, &of_opened] {
            assert_eq!(process.refusal(token).await, None, "{round}");
        }
        for token in [revoked, rotated, suspended, purged, expiring, &of_closed] {
            assert!(process.refusal(token).await.is_some(), "{round}");
        }
        process.follower.catch_up().await.unwrap();
    }
    let presented = renamed.token().expose().as_bytes();
    let principal = process.gate.authenticate(presented).await.unwrap();
    assert_eq!(principal.token_name(), "renamed");
    assert!(process.gate.stats().preloaded);
}

#[tokio::test]
async fn a_token_expires_although_nothing_is_in_the_log() {
    let scene = Scene::new();
    let app = scene.node.create_app("Billing").await;
    let expires_at = scene.node.clock.now_plus(1);
    let token = scene.node.issue(&app.id, ci().expires_at(expires_at)).await;
    scene.save().await;
    let process = scene.start().await;
    assert_eq!(process.refusal(&token).await, None);
    drop(process);
    scene.node.clock.set(expires_at);
    scene.node.tokens.purge(expires_at).await.unwrap();
    let process = scene.start().await;
    assert!(process.is_from_snapshot());
    assert_eq!(
        process.refusal(&token).await,
        Some(RejectionKind::ExpiredToken)
    );
}

#[tokio::test]
async fn nothing_is_admitted_from_a_snapshot_while_the_log_cannot_be_read() {
    let scene = Scene::new();
    let tokens = issued(&scene, 2).await;
    scene.save().await;
    scene
        .node
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    let failed = scene.try_start(&scene.path()).await.err().unwrap();
    assert_eq!(failed.kind(), StoreErrorKind::Unavailable);
    scene.node.store.set_fault(Fault::None);
    let process = scene.start().await;
    assert!(process.is_from_snapshot());
    scene
        .node
        .store
        .set_fault(Fault::Error(StoreErrorKind::Unavailable));
    assert_eq!(process.refusal(&tokens[0]).await, None);
    scene.node.clock.advance(BOUND);
    assert_eq!(
        process.refusal(&tokens[0]).await,
        Some(RejectionKind::StoreFailure)
    );
}

#[tokio::test]
async fn an_app_that_changed_after_its_tokens_were_loaded_does_not_make_its_snapshot_useless() {
    let scene = Scene::new();
    let tokens = issued(&scene, 20).await;
    let process = scene.start().await;
    let app = &tokens[0].record().app.id;
    scene.node.tokens.disable_app(app).await.unwrap();
    process.follower.catch_up().await.unwrap();
    process.follower.stop().await.unwrap();
    let process = scene.start().await;
    assert!(process.is_from_snapshot());
    assert_eq!(
        process.refusal(&tokens[0]).await,
        Some(RejectionKind::DisabledApp)
    );
    scene.node.tokens.enable_app(app).await.unwrap();
    process.follower.catch_up().await.unwrap();
    let finds = scene.node.store.finds();
    for token in &tokens {
        assert_eq!(process.refusal(token).await, None);
    }
    assert_eq!(scene.node.store.finds(), finds);
    assert_eq!(process.pages.load(SeqCst), 0);
}

#[tokio::test]
async fn a_damaged_file_is_discarded_whichever_bit_is_wrong() {
    let scene = Scene::new();
    let tokens = issued(&scene, 3).await;
    scene.save().await;
    let good = fs::read(scene.path()).unwrap();
    scene
        .node
        .tokens
        .revoke(tokens[0].record().id)
        .await
        .unwrap();
    let check = async |bytes: &[u8]| {
        fs::write(scene.path(), bytes).unwrap();
        let process = scene.start().await;
        let reason = process.discarded();
        assert_eq!(process.pages.load(SeqCst), 1, "{reason}");
        for (number, token) in tokens.iter().enumerate() {
            assert_eq!(process.refusal(token).await.is_none(), number > 0);
        }
        // Dropped, so that it is not saved again.
        reason
    };
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        check(&bytes).await;
    }
    for len in 0..good.len() {
        check(&good[..len]).await;
    }
    for more in [&[0][..], &good] {
        let bytes = [&good[..], more].concat();
        let reason = check(&bytes).await;
        assert!(reason.contains("damaged"), "{reason}");
    }
    fs::write(scene.path(), &good).unwrap();
    assert!(scene.start().await.is_from_snapshot());
}

#[tokio::test]
async fn parts_of_two_snapshots_are_not_mixed() {
    let scene = Scene::new();
    let tokens = issued(&scene, 3).await;
    scene.save().await;
    let older = fs::read(scene.path()).unwrap();
    let id = tokens[0].record().id;
    scene.node.tokens.rename(id, "cj").await.unwrap();
    scene.save().await;
    let newer = fs::read(scene.path()).unwrap();
    assert_eq!(older.len(), newer.len());
    for at in 1..older.len() {
        let mixed = [&newer[..at], &older[at..]].concat();
        if mixed != older && mixed != newer {
            fs::write(scene.path(), mixed).unwrap();
            scene.start().await.discarded();
        }
    }
}

#[tokio::test]
async fn a_snapshot_of_another_store_is_discarded() {
    let scene = Scene::new();
    let foreign = issued(&scene, 3).await;
    scene.save().await;
    let other = Scene::of(new_node());
    let own = issued(&other, 3).await;
    fs::copy(scene.path(), other.path()).unwrap();
    let process = other.start().await;
    assert!(process.discarded().contains("another store"));
    for token in &foreign {
        assert_eq!(
            process.refusal(token).await,
            Some(RejectionKind::UnknownToken)
        );
    }
    for token in &own {
        assert_eq!(process.refusal(token).await, None);
    }
    assert_eq!(process.pages.load(SeqCst), 1);
}

#[tokio::test]
async fn a_snapshot_from_before_a_gap_in_the_log_is_discarded() {
    let scene = Scene::new();
    issued(&scene, 3).await;
    scene.save().await;
    let clear = Mutation::new(Op::ClearCaches, scene.node.clock.now_plus(0));
    scene.node.store.apply(&clear).await.unwrap();
    let process = scene.start().await;
    assert!(process.discarded().contains("too old"));
    assert!(process.gate.stats().preloaded);
}

#[tokio::test]
async fn a_snapshot_from_after_the_current_time_is_discarded() {
    let scene = Scene::new();
    let app = scene.node.create_app("Billing").await;
    let before = scene.node.clock.now_plus(0);
    let expires_at = scene.node.clock.now_plus(1);
    let token = scene.node.issue(&app.id, ci().expires_at(expires_at)).await;
    scene.node.clock.set(expires_at);
    scene.save().await;
    scene.node.clock.set(before);
    let process = scene.start().await;
    assert!(process.discarded().contains("clock"));
    assert_eq!(process.refusal(&token).await, None, "it is live again");
}

#[tokio::test]
async fn a_token_that_had_expired_is_looked_up_if_the_clock_is_set_back_after_a_restart() {
    let scene = Scene::new();
    let app = scene.node.create_app("Billing").await;
    let before = scene.node.clock.now_plus(0);
    let expires_at = scene.node.clock.now_plus(1);
    let token = scene.node.issue(&app.id, ci().expires_at(expires_at)).await;
    scene.node.clock.set(expires_at);
    scene.save().await;
    let process = scene.start().await;
    assert!(process.is_from_snapshot());
    assert!(process.refusal(&token).await.is_some());
    scene.node.clock.set(before);
    assert_eq!(process.refusal(&token).await, None);
}

#[tokio::test]
async fn a_snapshot_for_other_formats_is_discarded() {
    let mut scene = Scene::new();
    let tokens = issued(&scene, 1).await;
    scene.save().await;
    scene.format = scene.format.with_label("live").unwrap();
    let process = scene.start().await;
    assert!(process.discarded().contains("formats"));
    let presented = tokens[0].token().expose().as_bytes();
    let principal = process.gate.authenticate(presented).await.unwrap();
    assert_eq!(principal.format(), Some("live"));
}

#[tokio::test]
async fn a_snapshot_that_does_not_fit_is_discarded() {
    let mut scene = Scene::new();
    let tokens = issued(&scene, 40).await;
    scene.save().await;
    scene.capacity = 20;
    let process = scene.start().await;
    assert!(process.discarded().contains("more tokens"));
    for token in &tokens {
        assert_eq!(process.refusal(token).await, None);
    }
}

#[tokio::test]
async fn only_this_user_can_read_or_change_a_snapshot() {
    let scene = Scene::new();
    issued(&scene, 1).await;
    scene.save().await;
    assert_eq!(fs::metadata(scene.path()).unwrap().mode() & 0o7777, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o777] {
        fs::set_permissions(scene.path(), fs::Permissions::from_mode(mode)).unwrap();
        let process = scene.start().await;
        assert!(process.discarded().contains("other users"), "{mode:o}");
    }
    // It is replaced, with the right mode.
    scene.save().await;
    assert_eq!(fs::metadata(scene.path()).unwrap().mode() & 0o7777, 0o600);
    assert!(scene.start().await.is_from_snapshot());
}

#[tokio::test]
async fn a_link_is_not_followed_but_replaced() {
    let scene = Scene::new();
    issued(&scene, 1).await;
    scene.save().await;
    let target = scene.directory.path().join("target");
    fs::rename(scene.path(), &target).unwrap();
    symlink(&target, scene.path()).unwrap();
    let before = fs::read(&target).unwrap();
    let process = scene.start().await;
    assert!(process.discarded().contains("regular"));
    drop(process);
    scene.save().await;
    assert!(fs::symlink_metadata(scene.path()).unwrap().is_file());
    assert_eq!(fs::read(&target).unwrap(), before);
    fs::remove_file(scene.path()).unwrap();
    fs::create_dir(scene.path()).unwrap();
    assert!(scene.start().await.discarded().contains("regular"));
}

#[tokio::test]
async fn a_directory_that_others_can_write_to_is_refused() {
    let scene = Scene::new();
    for mode in [0o770, 0o707, 0o1777] {
        fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        let failed = scene.try_start(&scene.path()).await.err().unwrap();
        assert_eq!(failed.kind(), StoreErrorKind::InvalidSettings);
        let message = format!("{:?}", failed);
        assert!(message.contains("chmod 700"), "{message}");
    }
    fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let private = scene.directory.path().join("new");
    let process = scene.try_start(&private.join("snapshot")).await.unwrap();
    assert_eq!(fs::metadata(&private).unwrap().mode() & 0o7777, 0o700);
    drop(process);
    let missing = scene.directory.path().join("a").join("b").join("c");
    let failed = scene.try_start(&missing).await.err().unwrap();
    assert_eq!(failed.kind(), StoreErrorKind::InvalidSettings);
}

#[tokio::test]
async fn what_a_crash_left_behind_is_replaced() {
    let scene = Scene::new();
    issued(&scene, 2).await;
    scene.save().await;
    let partial = scene.directory.path().join("tokens.snapshot.partial");
    assert!(!partial.exists());
    fs::write(&partial, vec![7; 100_000]).unwrap();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o600)).unwrap();
    let app = scene.node.create_app("Billing").await;
    drop(scene.node.issue(&app.id, ci()).await);
    assert!(scene.start().await.is_from_snapshot());
    scene.save().await;
    assert!(!partial.exists());
    let process = scene.start().await;
    assert!(matches!(
        process.source(),
        PreloadSource::Snapshot {
            tokens: 3,
            changes: 0,
            ..
        }
    ));
}

#[tokio::test]
async fn the_cache_is_saved_at_intervals() {
    let scene = Scene::new();
    let tokens = ApiTokens::builder(scene.node.store.clone(), scene.format.clone())
        .clock(scene.node.clock.clone())
        .build();
    let app = tokens.create_app("Billing").await.unwrap();
    let follower = tokens
        .follow()
        .poll_interval(Duration::from_millis(1))
        .snapshot(scene.path())
        .snapshot_interval(Duration::from_millis(1));
    let follower = follower.start().await.unwrap();
    let mut before = Vec::new();
    for _ in 0..3 {
        drop(tokens.issue(&app.id, ci()).await.unwrap());
        follower.catch_up().await.unwrap();
        while fs::read(scene.path()).is_ok_and(|bytes| bytes == before) || !scene.path().exists() {
            tokio::task::yield_now().await;
        }
        before = fs::read(scene.path()).unwrap();
    }
    assert_eq!(
        tokens.authenticator().stats().snapshot_saved_at,
        Some(scene.node.clock.now_plus(0))
    );
    drop(follower);
    assert!(scene.start().await.is_from_snapshot());
}

trait NowPlus {
    fn now_plus(&self, hours: i64) -> Timestamp;
}

impl NowPlus for ManualClock {
    fn now_plus(&self, hours: i64) -> Timestamp {
        use tower_api_tokens::Clock;
        self.now().checked_add(hours.hours()).unwrap()
    }
}
