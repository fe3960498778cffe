//! What the tokens of a snapshot share: their apps, and their terms.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    Unusable,
    wire::{Input, Malformed, put_count, put_optional_text, put_text},
};
use crate::{
    authenticator::{
        grant::{AppState, Grant, Terms},
        labels::Labels,
    },
    model::{
        app::{AppId, AppRecord},
        metadata::Metadata,
        restrictions::Restrictions,
        scope::ScopeSet,
    },
    token::TokenDigest,
};

/// Numbers the grants and apps of tokens.
#[derive(Default)]
pub(super) struct Collected {
    /// The numbers, by address. The values below keep the addresses from being reused.
    grants: HashMap<usize, u32>,
    apps: HashMap<usize, u32>,
    grant_list: Vec<(Arc<Grant>, u32)>,
    /// The apps, each with the digest of one of its tokens.
    app_list: Vec<(Arc<AppState>, TokenDigest)>,
}

impl Collected {
    /// Returns the number of the grant of a token.
    pub(super) fn number(&mut self, grant: &Arc<Grant>, token: &TokenDigest) -> u32 {
        let address = Arc::as_ptr(grant).addr();
        if let Some(number) = self.grants.get(&address) {
            return *number;
        }
        let app = grant.app();
        let list = &mut self.app_list;
        let app = *self.apps.entry(Arc::as_ptr(app).addr()).or_insert_with(|| {
            list.push((Arc::clone(app), *token));
            last(list.len())
        });
        self.grant_list.push((Arc::clone(grant), app));
        let number = last(self.grant_list.len());
        self.grants.insert(address, number);
        number
    }

    pub(super) fn encode(&self, complete: &HashSet<AppId>, pending: &[TokenDigest]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_count(&mut bytes, self.app_list.len());
        for (app, sample) in &self.app_list {
            put_text(&mut bytes, app.id().as_str());
            put_text(&mut bytes, app.name());
            bytes.push(u8::from(app.is_disabled()));
            bytes.extend_from_slice(&app.created_at().as_nanosecond().to_le_bytes());
            put_metadata(&mut bytes, app.metadata());
            bytes.extend_from_slice(sample.as_bytes());
        }
        put_count(&mut bytes, self.grant_list.len());
        for (grant, app) in &self.grant_list {
            let terms = grant.terms();
            bytes.extend_from_slice(&app.to_le_bytes());
            put_text(&mut bytes, grant.scopes().as_str());
            put_optional_text(&mut bytes, grant.format().map(|label| label.as_str()));
            let restrictions = grant.restrictions().map(Restrictions::as_str);
            put_optional_text(&mut bytes, restrictions);
            match terms.metadata() {
                Some(metadata) => put_metadata(&mut bytes, metadata),
                None => put_count(&mut bytes, 0),
            }
        }
        put_count(&mut bytes, complete.len());
        for app in complete {
            put_text(&mut bytes, app.as_str());
        }
        put_count(&mut bytes, pending.len());
        for digest in pending {
            bytes.extend_from_slice(digest.as_bytes());
        }
        bytes
    }
}

fn last(len: usize) -> u32 {
    // A cache with so many grants does not fit into memory.
    u32::try_from(len - 1).unwrap_or(u32::MAX)
}

fn put_metadata(bytes: &mut Vec<u8>, metadata: &Metadata) {
    put_count(bytes, metadata.len());
    for (key, value) in metadata.iter() {
        put_text(bytes, key);
        put_text(bytes, value);
    }
}

fn metadata(input: &mut Input<'_>) -> Result<Metadata, Malformed> {
    let count = input.count(8)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push((input.text()?, input.text()?));
    }
    Metadata::new(entries).map_err(|_| Malformed)
}

/// The tables of a snapshot.
pub(super) struct Tables {
    pub(super) grants: Vec<Arc<Grant>>,
    /// The apps all of whose tokens are in the snapshot.
    pub(super) complete: HashSet<AppId>,
    /// Tokens that are to be read from the store.
    pub(super) pending: Vec<TokenDigest>,
}

impl Tables {
    /// Reads the tables. `restore` shares a grant with those of the cache.
    pub(super) fn decode(
        bytes: &[u8],
        labels: &Labels,
        restore: impl Fn(&AppRecord, &Terms, TokenDigest) -> Result<Arc<Grant>, Unusable>,
    ) -> Result<Self, Unusable> {
        let mut input = Input::new(bytes);
        let apps = read_all(&mut input, 64, |input| {
            let app = app(input)?;
            Ok::<_, Malformed>((app, TokenDigest::from_bytes(input.array()?)))
        })?;
        let grants = read_all(&mut input, 18, |input| {
            let number = input.u32()? as usize;
            let (app, sample) = apps.get(number).ok_or(Malformed)?;
            let terms = terms(input, labels)?;
            restore(app, &terms, *sample)
        })?;
        let complete = read_all(&mut input, 4, app_id)?;
        let pending = read_all(&mut input, TokenDigest::LEN, |input| {
            input.array().map(TokenDigest::from_bytes)
        })?;
        if !input.is_empty() {
            return Err(Unusable::Damaged);
        }
        Ok(Self {
            grants,
            complete: complete.into_iter().collect(),
            pending,
        })
    }
}

fn read_all<'a, T, E: From<Malformed>>(
    input: &mut Input<'a>,
    size: usize,
    mut read: impl FnMut(&mut Input<'a>) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let count = input.count(size)?;
    (0..count).map(|_| read(input)).collect()
}

fn app_id(input: &mut Input<'_>) -> Result<AppId, Malformed> {
    AppId::new(input.text()?).map_err(|_| Malformed)
}

fn app(input: &mut Input<'_>) -> Result<AppRecord, Malformed> {
    let (id, name) = (app_id(input)?, input.text()?);
    let is_disabled = input.array()? == [1];
    let created_at = i128::from_le_bytes(input.array()?);
    let created_at = Timestamp::from_nanosecond(created_at).map_err(|_| Malformed)?;
    let mut app = AppRecord::new(id, name, created_at);
    // The cache does not know since when.
    app.disabled_at = is_disabled.then_some(created_at);
    app.metadata = metadata(input)?;
    Ok(app)
}

fn terms(input: &mut Input<'_>, labels: &Labels) -> Result<Terms, Malformed> {
    let scopes: ScopeSet = input.text()?.parse().map_err(|_| Malformed)?;
    let label = input.optional_text()?;
    let format = label.map(|label| labels.named(label).ok_or(Malformed));
    let restrictions = input.optional_text()?.map(Restrictions::new);
    let restrictions = restrictions.transpose().map_err(|_| Malformed)?;
    let metadata = metadata(input)?;
    Ok(Terms::new(
        scopes,
        format.transpose()?,
        restrictions,
        metadata,
    ))
}
