//! Inserts a batch of records into a registry. Each record is inserted, already present, or bad.

use std::collections::HashSet;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    TransferError,
    events::ImportEvents,
    line::{AppLine, Record, TokenLine},
    report::{FaultKind, Flaw},
};
use crate::{
    model::{app::AppId, record::TokenRecord},
    random::Entropy,
    store::{Mutation, Op, StoreError, StoreErrorKind, TokenRegistry, TokenTarget, catch_panic},
    token::TokenId,
};

/// How many store calls to make concurrently.
const CONCURRENCY: usize = 16;

/// Where records are inserted, with the sources of time and randomness.
pub(super) struct Inserter<'a> {
    pub(super) registry: &'a dyn TokenRegistry,
    pub(super) now: Timestamp,
    pub(super) entropy: &'a dyn Entropy,
    /// What the events of the import have in common.
    pub(super) events: Option<&'a ImportEvents>,
}

/// What happened to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Inserted,
    AlreadyPresent,
    Fault(Flaw),
}

/// What happened to a batch.
#[derive(Default)]
pub(super) struct BatchResult {
    /// In the order of the records; fewer if the store failed.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) apps_created: u64,
    pub(super) failure: Option<TransferError>,
}

/// Records of one kind. Apps in a batch have distinct identifiers.
#[derive(Default)]
pub(super) struct Batch {
    apps: Vec<AppLine>,
    app_ids: HashSet<AppId>,
    tokens: Vec<TokenLine>,
}

impl Batch {
    /// Adds a record, or returns it if it has to wait for another batch.
    pub(super) fn push(&mut self, record: Record) -> Result<(), Record> {
        match record {
            Record::App(app) if self.tokens.is_empty() && !self.app_ids.contains(&app.id) => {
                self.app_ids.insert(app.id);
                self.apps.push(*app);
                Ok(())
            }
            Record::Token(token) if self.apps.is_empty() => {
                self.tokens.push(*token);
                Ok(())
            }
            record => Err(record),
        }
    }
}

impl Inserter<'_> {
    /// Makes a change, with an event of the import.
    async fn apply(&self, op: Op) -> Result<(), StoreError> {
        let mut change = Mutation::new(op, self.now);
        change.audit = self.events.map(|events| events.of(&change.op, self.now));
        catch_panic(|| self.registry.apply(&change)).await?;
        if let Some(events) = self.events {
            events.note_recorded();
        }
        Ok(())
    }

    async fn insert_all(&self, tokens: &[TokenRecord]) -> Result<(), StoreError> {
        self.apply(Op::InsertTokens(tokens.to_vec())).await
    }

    pub(super) async fn insert(&self, batch: Batch) -> BatchResult {
        if batch.apps.is_empty() {
            self.insert_token_lines(&batch.tokens).await
        } else {
            self.insert_apps(&batch.apps).await
        }
    }

    async fn insert_apps(&self, apps: &[AppLine]) -> BatchResult {
        let mut result = BatchResult::default();
        let puts: Vec<_> = apps.iter().map(|app| self.put_app(app).boxed()).collect();
        let mut outcomes = stream::iter(puts).buffered(CONCURRENCY);
        while let Some(outcome) = outcomes.next().await {
            match outcome {
                Ok(outcome) => result.outcomes.push(outcome),
                Err(error) => {
                    result.failure = Some(error.into());
                    break;
                }
            }
        }
        result
    }

    async fn put_app(&self, app: &AppLine) -> Result<Outcome, StoreError> {
        let Err(error) = self.apply(Op::CreateApp(app.record(self.now))).await else {
            return Ok(Outcome::Inserted);
        };
        match error.kind() {
            StoreErrorKind::AlreadyExists => {
                let there = catch_panic(|| self.registry.app(&app.id))
                    .await?
                    .ok_or(error)?;
                Ok(compared(&app.differences(&there)))
            }
            _ => refusal(error).map(Outcome::Fault),
        }
    }

    async fn insert_token_lines(&self, tokens: &[TokenLine]) -> BatchResult {
        let mut result = BatchResult::default();
        let outcomes = self.try_tokens(tokens, &mut result.apps_created).await;
        match outcomes {
            Ok((outcomes, failure)) => {
                result.outcomes = outcomes.into_iter().map_while(|known| known).collect();
                result.failure = failure.map(Into::into);
            }
            Err(error) => result.failure = Some(error),
        }
        result
    }

    /// Returns the outcomes, `None` for those that are not known, and the error that prevented
    /// them.
    async fn try_tokens(
        &self,
        tokens: &[TokenLine],
        apps_created: &mut u64,
    ) -> Result<(Vec<Option<Outcome>>, Option<StoreError>), TransferError> {
        self.create_given_apps(tokens, apps_created).await?;
        let mut records = Vec::with_capacity(tokens.len());
        for token in tokens {
            let id = match token.id {
                Some(id) => id,
                None => TokenId::generate(self.now, self.entropy)?,
            };
            records.push(token.record(id, self.now));
        }
        match self.insert_all(&records).await {
            Ok(()) => return Ok((vec![Some(Outcome::Inserted); tokens.len()], None)),
            Err(error) if is_about_a_record(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
        let looks: Vec<_> = tokens
            .iter()
            .map(|token| self.look(token).boxed())
            .collect();
        let looks = stream::iter(looks).buffered(CONCURRENCY);
        let mut known: Vec<_> = looks.try_collect().await?;
        let failure = self
            .insert_missing(tokens, &records, &mut known)
            .await
            .err();
        Ok((known, failure))
    }

    /// Creates the apps that are given along with tokens and do not exist yet.
    async fn create_given_apps(
        &self,
        tokens: &[TokenLine],
        created: &mut u64,
    ) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        for app in tokens.iter().filter_map(|t| t.given_app(self.now)) {
            if !seen.insert(app.id) || catch_panic(|| self.registry.app(&app.id)).await?.is_some() {
                continue;
            }
            match self.apply(Op::CreateApp(app)).await {
                Ok(()) => *created += 1,
                // Without its app, each of the tokens is refused.
                Err(error) if is_about_a_record(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Compares a token with the existing record; `None` if it can be inserted.
    async fn look(&self, token: &TokenLine) -> Result<Option<Outcome>, StoreError> {
        if let Some(id) = token.id {
            let target = TokenTarget::any(id);
            let there = catch_panic(|| self.registry.token(&target)).await?;
            if let Some(there) = there {
                return Ok(Some(compared(&token.differences(&there))));
            }
        }
        let there = catch_panic(|| self.registry.find(&token.digest))
            .await?
            .record;
        Ok(there.map(|there| compared(&token.differences(&there))))
    }

    /// Inserts the records without an outcome. A batch that cannot be inserted is halved until the
    /// bad records are on their own.
    async fn insert_missing(
        &self,
        tokens: &[TokenLine],
        records: &[TokenRecord],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), StoreError> {
        let missing = (0..outcomes.len()).filter(|at| outcomes[*at].is_none());
        let mut parts: Vec<Vec<usize>> = vec![missing.collect()];
        while let Some(mut part) = parts.pop() {
            let Some(first) = part.first().copied() else {
                continue;
            };
            let chosen: Vec<_> = part.iter().map(|at| records[*at].clone()).collect();
            match self.insert_all(&chosen).await {
                Ok(()) => {
                    for at in part {
                        outcomes[at] = Some(Outcome::Inserted);
                    }
                }
                Err(error) if !is_about_a_record(error.kind()) => return Err(error),
                Err(error) if part.len() == 1 => {
                    outcomes[first] = match self.look(&tokens[first]).await? {
                        Some(outcome) => Some(outcome),
                        None => Some(Outcome::Fault(refusal(error)?)),
                    };
                }
                Err(_) => {
                    let later = part.split_off(part.len() / 2);
                    parts.extend([later, part]);
                }
            }
        }
        Ok(())
    }
}

/// Whether an error is about a record, rather than a failure of the store.
fn is_about_a_record(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::AlreadyExists
            | StoreErrorKind::NotFound
            | StoreErrorKind::InvalidRecord
            | StoreErrorKind::PolicyViolation
    )
}

/// Why a record was refused, if the error is about the record.
fn refusal(error: StoreError) -> Result<Flaw, StoreError> {
    match error.kind() {
        StoreErrorKind::NotFound => Ok(Flaw::new(
            FaultKind::UnknownApp,
            "the app does not exist; put the app's line first, or give its `id` and `name` with the token",
        )),
        StoreErrorKind::PolicyViolation => Ok(Flaw::new(
            FaultKind::PolicyViolation,
            match error.policy() {
                Some(rule) => rule.to_string(),
                None => "the policy does not allow this token".to_owned(),
            },
        )),
        StoreErrorKind::InvalidRecord => Ok(Flaw::new(
            FaultKind::InvalidRecord,
            "the store cannot keep this record",
        )),
        _ => Err(error),
    }
}

fn compared(differences: &[&str]) -> Outcome {
    if differences.is_empty() {
        return Outcome::AlreadyPresent;
    }
    Outcome::Fault(Flaw::new(
        FaultKind::Conflict,
        format!(
            "the record already exists and differs in {}",
            differences.join(", ")
        ),
    ))
}
