//! What a store has to hold after all that was acknowledged, and the comparison with what it holds.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::TryStreamExt;
use jiff::Timestamp;
use tower_api_tokens::{
    Change, Changes, Revision, TokenDigest, TokenId, TokenQuery, TokenRecord, TokenRegistry,
    TokenRegistryStreams, TokenStatus,
};

use crate::{
    audit,
    operation::{Operation, Outcome, Report},
    violation::Violation,
};

/// The tokens as they have to be. What was not acknowledged may be done or not; once the store has
/// shown which, it has to stay so.
pub(crate) struct Ledger {
    tokens: BTreeMap<TokenId, TokenRecord>,
    issued: HashMap<String, TokenId>,
    revision: Revision,
}

/// An operation that had begun and was not acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Unacknowledged {
    pub(crate) operation: Operation,
    pub(crate) is_done: bool,
}

pub(crate) type Found = BTreeMap<TokenId, TokenRecord>;

impl Ledger {
    /// That of a store without tokens, which is at this revision.
    pub(crate) fn new(revision: Revision) -> Self {
        Self {
            tokens: BTreeMap::new(),
            issued: HashMap::new(),
            revision,
        }
    }

    /// Enters what a process reported, and compares everything with what the store holds.
    pub(crate) async fn check(
        &mut self,
        reports: &[Report],
        store: &dyn TokenRegistry,
    ) -> Result<Vec<Unacknowledged>, Violation> {
        let found = read_all(store).await?;
        let mut heard = self.hear(store).await?;
        let mut unacknowledged = Vec::new();
        for (operation, outcome) in operations(reports) {
            let touched = self.enter(operation, outcome, &found)?;
            for id in &touched {
                let digest = self.tokens[id].digest;
                match heard.get_mut(&digest) {
                    Some(changes @ 1..) => *changes -= 1,
                    _ => return Err(Violation::Unheard(operation.clone())),
                }
                if store.find(&digest).await?.record.as_ref() != found.get(id) {
                    return Err(Violation::NotFound(*id));
                }
            }
            if outcome.is_none() {
                unacknowledged.push(Unacknowledged {
                    operation: operation.clone(),
                    is_done: self.is_done(operation),
                });
            }
        }
        self.compare(&found)?;
        check_rotations(&found)?;
        audit::check(&found, &audit::read_all(store).await?)?;
        Ok(unacknowledged)
    }

    /// The number of tokens that there have to be.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// How many times each token has changed since this was called last, by the change log.
    async fn hear(
        &mut self,
        store: &dyn TokenRegistry,
    ) -> Result<HashMap<TokenDigest, usize>, Violation> {
        let log = store.change_log().expect("the store has a change log");
        let mut heard = HashMap::new();
        while self.revision != log.revision().await? {
            let Changes::Since {
                changes, revision, ..
            } = log.changes(self.revision, 1000).await?
            else {
                return Err(Violation::Gap);
            };
            for change in changes {
                if let Change::Token(digest) = change.change {
                    *heard.entry(digest).or_default() += 1;
                }
            }
            self.revision = revision;
        }
        Ok(heard)
    }

    /// Enters one operation, and returns the tokens that it has changed now.
    fn enter(
        &mut self,
        operation: &Operation,
        outcome: Option<&Outcome>,
        found: &Found,
    ) -> Result<Vec<TokenId>, Violation> {
        match operation {
            Operation::Issue { name } => {
                let before = self.issued.get(name).copied();
                let shown = found.values().find(|token| token.name == *name);
                let shown = shown.map(|token| (token.id, token.digest));
                let Some((id, digest)) = made(operation, before, outcome, shown)? else {
                    return Ok(Vec::new());
                };
                self.issued.insert(name.clone(), id);
                self.insert(id, digest, name, found)?;
                Ok(vec![id])
            }
            Operation::Rotate { token, overlap } => {
                let before = self.tokens[token].successor;
                let shown = found.get(token).and_then(|token| token.successor);
                let shown = shown.and_then(|id| found.get(&id));
                let shown = shown.map(|token| (token.id, token.digest));
                let Some((id, digest)) = made(operation, before, outcome, shown)? else {
                    return Ok(Vec::new());
                };
                let name = self.tokens[token].name.clone();
                let rotated_at = self.insert(id, digest, &name, found)?;
                self.tokens.entry(*token).and_modify(|old| {
                    old.successor = Some(id);
                    old.expires_at = Some(rotated_at.checked_add(*overlap).unwrap());
                });
                Ok(vec![*token, id])
            }
            Operation::Revoke { token } => {
                let shown = found.get(token).and_then(|token| token.revoked_at);
                let expected = self.tokens.get_mut(token).unwrap();
                if expected.revoked_at.is_some() || (outcome.is_none() && shown.is_none()) {
                    return Ok(Vec::new());
                }
                // The time is set by the store. The comparison detects a missing one.
                expected.revoked_at = shown.or(Some(Timestamp::MIN));
                Ok(vec![*token])
            }
        }
    }

    /// Enters a token as it was made, and returns when that was.
    fn insert(
        &mut self,
        id: TokenId,
        digest: TokenDigest,
        name: &str,
        found: &Found,
    ) -> Result<Timestamp, Violation> {
        let mut token = found.get(&id).ok_or(Violation::Lost(id))?.clone();
        token.digest = digest;
        token.name = name.to_owned();
        token.expires_at = None;
        token.successor = None;
        token.revoked_at = None;
        let created_at = token.created_at;
        self.tokens.insert(id, token);
        Ok(created_at)
    }

    fn is_done(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Issue { name } => self.issued.contains_key(name),
            Operation::Rotate { token, .. } => self.tokens[token].successor.is_some(),
            Operation::Revoke { token } => self.tokens[token].revoked_at.is_some(),
        }
    }

    fn compare(&self, found: &Found) -> Result<(), Violation> {
        for (id, expected) in &self.tokens {
            let found = found.get(id).ok_or(Violation::Lost(*id))?;
            if found != expected {
                return Err(Violation::Differs {
                    expected: expected.clone().into(),
                    found: found.clone().into(),
                });
            }
        }
        let unaccounted = found.values().find(|t| !self.tokens.contains_key(&t.id));
        unaccounted.map_or(Ok(()), |token| {
            Err(Violation::Unaccounted(token.clone().into()))
        })
    }
}

/// The token that an operation has made now; `None` if it has made it before, or not at all.
fn made(
    operation: &Operation,
    before: Option<TokenId>,
    outcome: Option<&Outcome>,
    shown: Option<(TokenId, TokenDigest)>,
) -> Result<Option<(TokenId, TokenDigest)>, Violation> {
    match (before, outcome) {
        (None, None) => Ok(shown),
        (None, Some(Outcome::Made(id, digest))) => Ok(Some((*id, *digest))),
        (Some(_), None) => Ok(None),
        (Some(before), Some(Outcome::Repeated(again))) if before == *again => Ok(None),
        (_, outcome) => Err(Violation::Repetition(operation.clone(), outcome.cloned())),
    }
}

/// The operations that were begun, in order, and how each was acknowledged.
fn operations(reports: &[Report]) -> Vec<(&Operation, Option<&Outcome>)> {
    let outcome_of = |number: u64| {
        reports.iter().find_map(|report| match report {
            Report::Ended(ended, outcome) if *ended == number => Some(outcome),
            _ => None,
        })
    };
    let begun = reports.iter().filter_map(|report| match report {
        Report::Begun(number, operation) => Some((*number, operation)),
        Report::Ended(..) => None,
    });
    begun
        .map(|(number, operation)| {
            let acknowledged = |outcome: &&Outcome| !matches!(outcome, Outcome::Failed(_));
            (operation, outcome_of(number).filter(acknowledged))
        })
        .collect()
}

async fn read_all(store: &dyn TokenRegistry) -> Result<Found, Violation> {
    let tokens = store.stream_tokens(TokenQuery::default().limit(1000), Timestamp::UNIX_EPOCH);
    let found = tokens.map_ok(|token| (token.id, token));
    Ok(found.try_collect().await?)
}

/// By the records alone: no token is the successor of two, none is valid after its overlap, and at no
/// time is neither a token nor its successor valid, unless one of them was revoked.
fn check_rotations(found: &Found) -> Result<(), Violation> {
    let mut successors = HashSet::new();
    for token in found.values() {
        let Some(id) = token.successor else { continue };
        if !successors.insert(id) {
            return Err(Violation::TwoPredecessors(id));
        }
        let successor = found.get(&id).ok_or(Violation::Lost(id))?;
        let rotated_at = successor.created_at;
        let Some(ends) = token.expires_at.filter(|ends| *ends >= rotated_at) else {
            return Err(Violation::NeitherValid(token.id));
        };
        if token.status(ends) == TokenStatus::Live {
            return Err(Violation::OutlivesOverlap(token.id));
        }
        let has_ended = successor.revoked_at.is_some() || successor.successor.is_some();
        if !has_ended && successor.status(rotated_at) != TokenStatus::Live {
            return Err(Violation::NeitherValid(token.id));
        }
    }
    Ok(())
}
