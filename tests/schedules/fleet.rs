//! Nodes with one store, and the expected result for each token.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tempfile::TempDir;
use tower_api_tokens::{
    ApiTokens, AppEdit, AppId, AppPrincipal, AppRecord, Clock, Follower, IssuedToken, MaskedToken,
    MetadataPatch, Mutation, NewToken, Op, Rejection, RejectionKind, SystemEntropy, TokenDigest,
    TokenFormat, TokenId, TokenRecord, TokenRegistry, TokenStatus,
    testing::{Fixture, ManualClock},
};

use crate::{
    faulty::Faulty,
    steps::{Change, Ending, Setup, Step, Trouble},
};

pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// The interval of a follower that only reads on request.
const NEVER: Duration = Duration::from_secs(1 << 30);

pub(crate) struct Node<S> {
    setup: Setup,
    store: Faulty<S>,
    tokens: ApiTokens,
    follower: Follower,
}

/// An issued token, and when its status last changed.
struct Issued {
    text: String,
    id: TokenId,
    app: AppId,
    /// What a connection has that was opened with the token.
    principal: AppPrincipal,
    changed_at: Duration,
}

pub(crate) struct Fleet<S> {
    /// The directory of the snapshots.
    directory: TempDir,
    store: S,
    clock: ManualClock,
    elsewhere: ApiTokens,
    nodes: Vec<Node<S>>,
    apps: Vec<AppRecord>,
    issued: Vec<Issued>,
}

fn format() -> TokenFormat {
    TokenFormat::new("acme").unwrap()
}

impl<S: TokenRegistry + Clone> Fleet<S> {
    pub(crate) async fn new(store: S, setups: &[Setup]) -> Self {
        let Fixture {
            tokens: elsewhere,
            store,
            clock,
            ..
        } = Fixture::builder().store(store).empty();
        let mut fleet = Self {
            directory: tempfile::tempdir().unwrap(),
            store,
            clock,
            elsewhere,
            nodes: Vec::new(),
            apps: Vec::new(),
            issued: Vec::new(),
        };
        for name in ["Billing", "Shipping", "Support"] {
            fleet
                .apps
                .push(fleet.elsewhere.create_app(name).await.unwrap());
        }
        for app in 0..3 {
            fleet.change(None, Change::Import(app, 3)).await;
        }
        // The tokens of a disabled app are not preloaded.
        fleet.change(None, Change::Disable(2)).await;
        for (number, setup) in setups.iter().enumerate() {
            let node = fleet.node(number, *setup).await;
            fleet.nodes.push(node);
        }
        fleet
    }

    async fn node(&self, number: usize, setup: Setup) -> Node<S> {
        let Fixture { tokens, store, .. } = Fixture::builder()
            .store(Faulty::new(self.store.clone(), setup.saves))
            .clock(self.clock.clone())
            .configure(move |tokens| tokens.max_staleness(BOUND).capacity(setup.capacity))
            .empty();
        let follower = tokens.follow().poll_interval(NEVER);
        let follower = match setup.preloads {
            true => follower.preload(|_| ()),
            false => follower,
        };
        let follower = match setup.saves {
            true => follower.snapshot(self.directory.path().join(number.to_string())),
            false => follower,
        };
        let follower = follower.start().await.unwrap();
        Node {
            setup,
            store,
            tokens,
            follower,
        }
    }

    pub(crate) async fn take(&mut self, step: Step) {
        match step {
            Step::Change(here, change) => {
                let changed = self.change(here, change).await;
                // A change through the node itself takes effect before the call returns.
                if let Some(node) = here {
                    for token in changed {
                        self.check(node, token, true).await;
                    }
                }
                if let (Some(node), Change::Disable(app)) = (here, change) {
                    for token in self.tokens_of(app) {
                        let text = &self.issued[token].text;
                        assert!(self.verdict(node, text).await.is_some());
                    }
                }
                if let (Some(node), Change::EditApp(app, number)) = (here, change) {
                    for token in self.tokens_of(app) {
                        let text = self.issued[token].text.as_bytes();
                        let node = self.nodes[node].tokens.authenticator();
                        if let Ok(principal) = node.authenticate(text).await {
                            assert_eq!(principal.app_name(), number.to_string());
                        }
                    }
                }
            }
            Step::Present(node, token) => {
                if let Some(token) = token.checked_rem(self.issued.len()) {
                    self.check(node, token, false).await;
                }
            }
            Step::PresentGarbage(node) => {
                let garbage = format().generate(&SystemEntropy::default()).unwrap();
                let refused = self.verdict(node, garbage.expose()).await;
                assert_eq!(refused, Some(RejectionKind::UnknownToken));
            }
            Step::Advance(time) => self.clock.advance(time),
            Step::CatchUp(node) => self.catch_up(node).await,
            Step::Restart(node, ending) => self.restart(node, ending).await,
            Step::Trouble(what, on) => {
                for node in &self.nodes {
                    let trouble = &node.store.trouble;
                    match what {
                        Trouble::Refreshes => &trouble.no_refreshes,
                        Trouble::Pages => &trouble.no_pages,
                        Trouble::Log => &trouble.no_log,
                    }
                    .store(on, SeqCst);
                }
            }
            Step::Gap => {
                for node in &self.nodes {
                    node.store.trouble.gap.store(true, SeqCst);
                }
            }
            Step::Hold => {
                for node in &self.nodes {
                    node.store.trouble.holds.store(true, SeqCst);
                }
            }
            Step::Release => {
                for node in &self.nodes {
                    node.store.trouble.release();
                }
            }
        }
        // Lets background tasks run.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    }

    /// The failures of the process end with it.
    async fn restart(&mut self, number: usize, ending: Ending) {
        let Node {
            setup,
            store,
            follower,
            ..
        } = self.nodes.remove(number);
        store.trouble.release();
        match ending {
            Ending::Stop => follower.stop().await.unwrap(),
            Ending::Kill => drop(follower),
        }
        let node = self.node(number, setup).await;
        self.nodes.insert(number, node);
        self.catch_up(number).await;
    }

    /// Once a node has read the log, its results agree with the store, whatever else fails.
    pub(crate) async fn catch_up(&self, node: usize) {
        let trouble = &self.nodes[node].store.trouble;
        trouble.release();
        let caught_up = self.nodes[node].follower.catch_up().await;
        if trouble.no_log.load(SeqCst) {
            assert!(caught_up.is_err());
            return;
        }
        let fails = trouble.no_refreshes.load(SeqCst) || trouble.no_pages.load(SeqCst);
        assert!(fails || caught_up.is_ok(), "{caught_up:?}");
        for token in 0..self.issued.len() {
            self.check(node, token, true).await;
        }
    }

    /// Ends all failures, and lets all nodes catch up.
    pub(crate) async fn settle(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            let trouble = &node.store.trouble;
            for what in [&trouble.no_refreshes, &trouble.no_pages, &trouble.no_log] {
                what.store(false, SeqCst);
            }
            self.catch_up(number).await;
        }
    }

    /// The number of live tokens.
    pub(crate) async fn live(&self) -> usize {
        let mut live = 0;
        for issued in &self.issued {
            live += usize::from(self.live_record(issued).await.is_some());
        }
        live
    }

    pub(crate) fn is_complete(&self, node: usize) -> bool {
        self.nodes[node].tokens.authenticator().stats().preloaded
    }

    /// How many lookups a node makes for the tokens that it has seen and for garbage.
    pub(crate) async fn lookups_of_all(&self, node: usize) -> usize {
        let finds = || self.nodes[node].store.trouble.finds.load(SeqCst);
        let before = finds();
        for issued in &self.issued {
            self.verdict(node, &issued.text).await;
        }
        let garbage = format().generate(&SystemEntropy::default()).unwrap();
        self.verdict(node, garbage.expose()).await;
        finds() - before
    }

    async fn verdict(&self, node: usize, text: &str) -> Option<RejectionKind> {
        let authenticator = self.nodes[node].tokens.authenticator();
        let verdict = authenticator.authenticate(text.as_bytes()).await;
        verdict.err().map(|rejection| rejection.kind())
    }

    async fn live_record(&self, issued: &Issued) -> Option<TokenRecord> {
        let digest = TokenDigest::of(issued.text.as_bytes());
        let record = self.store.find(&digest).await.unwrap().record;
        record.filter(|token| token.status(self.clock.now()) == TokenStatus::Live)
    }

    /// Compares the node's results for a token and for a connection that was opened with it with the
    /// store's. They must agree, or, unless `exactly`, differ only if the token changed within the bound.
    async fn check(&self, node: usize, token: usize, exactly: bool) {
        let issued = &self.issued[token];
        let authenticator = self.nodes[node].tokens.authenticator();
        // Each comes first for half of the tokens.
        let is_first = token.is_multiple_of(2);
        for is_connection in [is_first, !is_first] {
            let verdict = match is_connection {
                true => authenticator.recheck(&issued.principal).await,
                false => authenticator.authenticate(issued.text.as_bytes()).await,
            };
            self.check_verdict(node, token, verdict, exactly).await;
        }
    }

    async fn check_verdict(
        &self,
        node: usize,
        token: usize,
        verdict: Result<AppPrincipal, Rejection>,
        exactly: bool,
    ) {
        let issued = &self.issued[token];
        let record = self.live_record(issued).await;
        let is_live = record.is_some();
        if let (true, Some(record), Ok(principal)) = (exactly, &record, &verdict) {
            let expected = AppPrincipal::of(record).with_format(&format());
            assert_eq!(*principal, expected);
        }
        let verdict = verdict.err().map(|rejection| rejection.kind());
        let may_differ = !exactly && self.clock.monotonic() < issued.changed_at + BOUND;
        assert!(
            may_differ
                && verdict.is_none_or(|kind| kind == RejectionKind::UnknownToken
                    || kind == RejectionKind::DisabledApp)
                || verdict.is_none() == is_live,
            "token {token} is {} in the store, and node {node} has {verdict:?}; {:?}",
            if is_live { "live" } else { "not live" },
            self.nodes[node].tokens.authenticator().stats(),
        );
        assert!(
            !verdict.is_some_and(RejectionKind::is_unavailable),
            "the store answers, and node {node} has {verdict:?}"
        );
    }

    /// Makes a change, and returns the affected tokens.
    async fn change(&mut self, here: Option<usize>, change: Change) -> Vec<usize> {
        let tokens = match here {
            Some(node) => self.nodes[node].tokens.clone(),
            None => self.elsewhere.clone(),
        };
        let before = self.issued.len();
        let mut changed = Vec::new();
        match change {
            Change::Issue(app) => {
                let new = NewToken::named("ci").scopes("read".parse().unwrap());
                if let Ok(issued) = tokens.issue(&self.apps[app].id, new).await {
                    self.add(&issued);
                }
            }
            Change::Import(app, count) => {
                self.import(app, count).await;
                return Vec::new();
            }
            Change::Revoke(token) => {
                if let Some(token) = token.checked_rem(before)
                    && tokens.revoke(self.issued[token].id).await.is_ok()
                {
                    changed.push(token);
                }
            }
            Change::Rotate(token, overlap) => {
                if let Some(token) = token.checked_rem(before)
                    && let Ok(successor) = tokens.rotate(self.issued[token].id, overlap).await
                {
                    self.add(&successor);
                    changed.push(token);
                }
            }
            Change::Rename(token) => {
                if let Some(token) = token.checked_rem(before)
                    && tokens
                        .rename(self.issued[token].id, "renamed")
                        .await
                        .is_ok()
                {
                    changed.push(token);
                }
            }
            Change::EditApp(app, number) => {
                let number = number.to_string();
                let patch = MetadataPatch::default().set("plan", number.as_str());
                let edit = AppEdit::default().name(number).metadata(patch);
                let edited = tokens.edit_app(&self.apps[app].id, None, edit).await;
                edited.unwrap();
                // Whether the tokens are admitted does not change.
                return Vec::new();
            }
            Change::Disable(app) | Change::Enable(app) => {
                let id = &self.apps[app].id;
                match change {
                    Change::Enable(_) => tokens.enable_app(id).await.unwrap(),
                    _ => tokens.disable_app(id).await.unwrap(),
                };
                for token in self.tokens_of(app) {
                    self.issued[token].changed_at = self.clock.monotonic();
                }
            }
            Change::Purge => {
                tokens.purge(self.clock.now()).await.unwrap();
            }
            Change::ClearCaches => {
                let clear = Mutation::new(Op::ClearCaches, self.clock.now());
                self.store.apply(&clear).await.unwrap();
            }
        }
        changed.extend(before..self.issued.len());
        for token in &changed {
            self.issued[*token].changed_at = self.clock.monotonic();
        }
        changed
    }

    fn add(&mut self, issued: &IssuedToken) {
        let record = issued.record();
        self.issued.push(Issued {
            text: issued.token().expose().to_owned(),
            id: record.id,
            app: record.app.id,
            principal: AppPrincipal::of(record),
            changed_at: self.clock.monotonic(),
        });
    }

    /// Inserts tokens in one step, into an app that may be disabled.
    async fn import(&mut self, app: usize, count: usize) {
        let (now, entropy) = (self.clock.now(), SystemEntropy::default());
        let app = self.apps[app].clone();
        let mut records = Vec::new();
        for _ in 0..count {
            let token = format().generate(&entropy).unwrap();
            let record = TokenRecord::new(
                TokenId::generate(now, &entropy).unwrap(),
                token.digest(),
                MaskedToken::new("acme_", "x7Kq").unwrap(),
                app.clone(),
                "imported",
                now,
            );
            self.issued.push(Issued {
                text: token.expose().to_owned(),
                id: record.id,
                app: app.id,
                principal: AppPrincipal::of(&record),
                changed_at: self.clock.monotonic(),
            });
            records.push(record);
        }
        let insert = Mutation::new(Op::InsertTokens(records), now);
        self.store.apply(&insert).await.unwrap();
    }

    fn tokens_of(&self, app: usize) -> Vec<usize> {
        let app = self.apps[app].id;
        let issued = self.issued.iter().enumerate();
        issued
            .filter(|(_, issued)| issued.app == app)
            .map(|(token, _)| token)
            .collect()
    }
}
