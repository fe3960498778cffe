//! A store of two servers: the primary, and another one that lags or was abandoned. Lookups
//! alternate between them.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use jiff::Timestamp;
use tower_api_tokens::{
    Answer, AppId, AppRecord, Change, ChangeLog, Changes, LivePage, LoggedChange, MaskedToken,
    Page, Revision, StoreError, TokenDigest, TokenId, TokenRecord, TokenStatus, TokenStore,
};

/// Clones share the same store.
#[derive(Clone, Debug)]
pub(crate) struct Cluster(Arc<Mutex<Servers>>);

#[derive(Debug)]
pub(crate) struct Servers {
    /// The history of the primary.
    primary: Vec<Written>,
    /// The history of the other server.
    other: Vec<Written>,
    /// Whether the other server gets no more changes.
    pub(crate) is_left_behind: bool,
    /// Whether the other server answers.
    pub(crate) other_answers: bool,
    /// Whether the primary answers lookups.
    pub(crate) primary_answers: bool,
    /// Whether the log is read from the other server.
    pub(crate) log_lags: bool,
    calls: usize,
    marks: u64,
}

/// A change, and the token or app after it.
#[derive(Clone, Debug)]
struct Written {
    revision: Revision,
    record: Record,
}

#[derive(Clone, Debug)]
enum Record {
    Token(Box<TokenRecord>),
    App(AppRecord),
}

impl Written {
    fn token(&self) -> Option<&TokenRecord> {
        match &self.record {
            Record::Token(token) => Some(token),
            Record::App(_) => None,
        }
    }

    fn change(&self) -> Change {
        match &self.record {
            Record::Token(token) => Change::Token(token.digest),
            Record::App(app) => Change::App(app.id),
        }
    }
}

fn position(history: &[Written]) -> Revision {
    let before_all = Revision::new(0, 0);
    history
        .last()
        .map_or(before_all, |written| written.revision)
}

fn find(history: &[Written], digest: &TokenDigest) -> Answer {
    let mut tokens = history.iter().rev().filter_map(Written::token);
    let found = tokens.find(|token| token.digest == *digest).cloned();
    let found = found.map(|mut token| {
        token.app = app(history, &token.app.id).unwrap_or(token.app);
        token
    });
    Answer::at(found, position(history))
}

/// The app as it was last written.
fn app(history: &[Written], id: &AppId) -> Option<AppRecord> {
    let apps = history.iter().rev().filter_map(|w| match &w.record {
        Record::App(app) => Some(app),
        Record::Token(_) => None,
    });
    apps.into_iter().find(|app| app.id == *id).cloned()
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Servers {
            primary: Vec::new(),
            other: Vec::new(),
            is_left_behind: false,
            other_answers: true,
            primary_answers: true,
            log_lags: false,
            calls: 0,
            marks: 0,
        })))
    }

    pub(crate) fn servers(&self) -> MutexGuard<'_, Servers> {
        self.0.lock().unwrap()
    }

    fn log(&self) -> Vec<Written> {
        let servers = self.servers();
        if servers.log_lags && servers.other_answers {
            servers.other.clone()
        } else {
            servers.primary.clone()
        }
    }
}

/// The number of apps.
pub(crate) const APPS: u32 = 2;

/// The app of a token.
pub(crate) fn app_id(token: u32) -> AppId {
    AppId::new(&format!("app{}", token % APPS)).unwrap()
}

impl Servers {
    fn write(&mut self, record: Record) {
        self.marks += 1;
        let revision = Revision::new(position(&self.primary).number + 1, self.marks);
        self.primary.push(Written { revision, record });
    }

    /// Writes an app.
    pub(crate) fn edit(&mut self, app: AppRecord) {
        self.write(Record::App(app));
    }

    /// Issues a token of one of the apps.
    pub(crate) fn issue(&mut self, number: u32, now: Timestamp) -> TokenId {
        let text = number.to_be_bytes();
        let mut id = [0; 16];
        id[12..].copy_from_slice(&text);
        let id = TokenId::from_bytes(id);
        let app = AppRecord::new(app_id(number), "App", now);
        let mask = MaskedToken::new("acme_", "x7Kq").unwrap();
        let digest = TokenDigest::of(format!("token-{number}").as_bytes());
        let token = TokenRecord::new(id, digest, mask, app, "ci", now);
        self.write(Record::Token(Box::new(token)));
        id
    }

    pub(crate) fn revoke(&mut self, id: TokenId, now: Timestamp) {
        let mut tokens = self.primary.iter().rev().filter_map(Written::token);
        let token = tokens.find(|token| token.id == id).unwrap().clone();
        self.write(Record::Token(Box::new(token.revoke(now))));
    }

    /// The other server gets some of the changes that it lacks.
    pub(crate) fn replicate(&mut self, changes: usize) {
        if !self.is_left_behind {
            let lacks = self.primary.iter().skip(self.other.len());
            let more: Vec<_> = lacks.take(changes).cloned().collect();
            self.other.extend(more);
        }
    }

    /// The other server takes over, and the old primary is abandoned. It makes `lost` changes that
    /// no other server gets.
    pub(crate) fn promote(&mut self, lost: usize, now: Timestamp) {
        self.replicate(usize::MAX);
        self.is_left_behind = true;
        let fork = self.primary.clone();
        for number in 0..lost {
            self.issue(u32::MAX - u32::try_from(number).unwrap(), now);
        }
        self.other = std::mem::replace(&mut self.primary, fork);
    }

    /// Both servers lose the latest changes.
    pub(crate) fn lose(&mut self, changes: usize) {
        self.primary.truncate(self.primary.len() - changes);
        self.other.clone_from(&self.primary);
    }

    fn next(&mut self) -> &[Written] {
        self.calls += 1;
        let turn = self.calls.is_multiple_of(2) && self.primary_answers;
        match turn || !self.other_answers {
            true => &self.primary,
            false => &self.other,
        }
    }
}

#[async_trait]
impl TokenStore for Cluster {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        Ok(find(self.servers().next(), digest))
    }

    async fn find_many(&self, digests: &[TokenDigest]) -> Result<Vec<Answer>, StoreError> {
        let mut servers = self.servers();
        let history = servers.next();
        Ok(digests.iter().map(|digest| find(history, digest)).collect())
    }
}

#[async_trait]
impl ChangeLog for Cluster {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(position(&self.log()))
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        let history = self.log();
        let skip = usize::try_from(since.number).unwrap();
        let held = history.get(..skip).map(position);
        if held != Some(since) {
            return Ok(Changes::Gap);
        }
        let changes: Vec<_> = history[skip..]
            .iter()
            .take(limit)
            .map(|w| LoggedChange::new(w.revision, w.change()))
            .collect();
        Ok(Changes::Since {
            revision: changes.last().map_or(since, |change| change.revision),
            latest: position(&history).number,
            changes,
        })
    }

    async fn changed(&self) {
        pending().await
    }

    async fn live(
        &self,
        after: Option<TokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<LivePage, StoreError> {
        let mut servers = self.servers();
        let history = servers.next();
        let mut tokens: Vec<_> = history
            .iter()
            .filter_map(Written::token)
            .filter(|token| after.is_none_or(|after| token.id < after))
            .map(|token| find(history, &token.digest).record.unwrap())
            .filter(|token| token.status(now) == TokenStatus::Live)
            .collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.id));
        tokens.dedup_by_key(|token| token.id);
        tokens.truncate(limit + 1);
        let page = Page::from_surplus(tokens, limit, |token: &TokenRecord| token.id.into());
        Ok(LivePage::new(page, position(history)))
    }
}
