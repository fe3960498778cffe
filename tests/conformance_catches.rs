//! The conformance suite fails for a store that breaks a rule.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::Timestamp;
use tower_api_tokens::{
    Answer, AppId, AppQuery, AppRecord, Applied, AuditEvent, AuditEventId, AuditLog, AuditOutcome,
    AuditQuery, ChangeLog, Changes, Committed, EventLog, EventPage, EventQuery, EventStart,
    ExpiringQuery, LivePage, MemoryStore, Mutation, Op, Outdated, OutdatedQuery, Page, PageSize,
    Policy, Replacement, Revision, StoreError, StoreErrorKind, TokenCursor, TokenDigest, TokenId,
    TokenOrder, TokenQuery, TokenRecord, TokenRegistry, TokenRegistryExt, TokenStatus, TokenStore,
    TokenTarget, Usage, UsageLog,
    store::truncate_to_microsecond,
    testing::conformance::{self, Registry},
};

/// A rule that a store breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    InsertReplaces,
    AbsenceIsAnError,
    ExpiredIsAbsent,
    RevokeIsForgotten,
    RevokeMovesTheTime,
    OwnerIsIgnored,
    RotationIsNotOneStep,
    RotationsAllWin,
    OverlapLengthens,
    PagesLoseTheirLast,
    StatusIsIgnored,
    PurgeTakesTheLiving,
    UsageGoesBack,
    LogForgetsRevocations,
    NamesAreAltered,
    KeysAreIgnored,
    BatchesAreHalved,
    SearchIsIgnored,
    SuccessorIsIgnored,
    EventsLoseTheirToken,
    RenamingIsForgotten,
    RestrictionsAreDropped,
    SuccessorsAreUnrestricted,
    RestrictedCountAsLive,
    EventsAreDropped,
    EventsComeBefore,
    EventsComeAfter,
    EventsOfRotationsAreDropped,
    RotationsComeBeforeTheirEvents,
    NoAuditLog,
    UnloggedEventsAreDropped,
    UnloggedEventsAreRefusedLate,
    ClearingIsForgotten,
    RevocationsLoseNanoseconds,
    DisablingLosesNanoseconds,
    RefusalsHavePositions,
    PositionsAreNumbersAlone,
    FollowersLoseTheirLast,
    EventsFollowTheirIdentifiers,
    EventsAreAppendedAgain,
    AppOfEventsIsIgnored,
    ReplacedTokensExpire,
    ExpiringTokensAreUnordered,
    BulkIgnoresConditions,
    TrimmingTakesEverything,
    OldKeysAreKept,
    MaximumOfKeysIsIgnored,
    CountsIgnoreTheQuery,
    MasksAreIgnored,
    CreatorsAreIgnored,
    ExpiryIsIgnored,
    UseIsIgnored,
    RotationIsIgnored,
    OrdersAreIgnored,
    OrdersIncludeTheRevoked,
    TiesAreSkipped,
    ForeignCursorsAreFollowed,
    UsesMoveNoToken,
    RevisionsAreReadBefore,
    RevisionsAreInvented,
    AppsAreAsGiven,
    ExpiryIsAsGiven,
    DisabledAppsGetTokens,
    SuccessorsInheritNothing,
    SuccessorsMayBeOfAnyFormat,
}

#[derive(Debug)]
struct Flawed {
    inner: MemoryStore,
    flaw: Flaw,
}

impl Flawed {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn target(&self, target: &TokenTarget) -> TokenTarget {
        match self.has(Flaw::OwnerIsIgnored) {
            true => TokenTarget::any(target.id),
            false => *target,
        }
    }

    async fn insert(
        &self,
        mutation: &Mutation,
        tokens: &[TokenRecord],
    ) -> Result<Applied, StoreError> {
        if self.has(Flaw::BatchesAreHalved) {
            for token in tokens {
                self.inner.insert(token).await?;
            }
            return Ok(Applied::Count(tokens.len()));
        }
        match self.inner.apply(mutation).await {
            Err(error)
                if error.kind() == StoreErrorKind::AlreadyExists
                    && self.has(Flaw::InsertReplaces) =>
            {
                Ok(Applied::Count(tokens.len()))
            }
            inserted => inserted,
        }
    }

    async fn issue(&self, mut mutation: Mutation) -> Result<Applied, StoreError> {
        let Op::IssueToken {
            token,
            expires_by_default,
            ..
        } = &mut mutation.op
        else {
            unreachable!("only a token is issued")
        };
        let given = token.clone();
        if self.has(Flaw::ExpiryIsAsGiven) {
            *expires_by_default = false;
        }
        if self.has(Flaw::DisabledAppsGetTokens) {
            mutation.op = Op::InsertTokens(vec![given.clone()]);
            self.inner.apply(&mutation).await?;
            return Ok(Applied::Token(given));
        }
        let mut issued = self.inner.apply(&mutation).await?.into_token()?;
        if self.has(Flaw::AppsAreAsGiven) {
            issued.app = given.app;
        }
        Ok(Applied::Token(issued))
    }

    fn has_audit_log(&self) -> bool {
        !matches!(
            self.flaw,
            Flaw::NoAuditLog | Flaw::UnloggedEventsAreDropped | Flaw::UnloggedEventsAreRefusedLate
        )
    }

    /// Makes a change with an event without a log for it.
    async fn apply_unlogged(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        let mut mutation = mutation.clone();
        mutation.audit = None;
        match self.flaw {
            Flaw::UnloggedEventsAreDropped => return self.inner.apply(&mutation).await,
            Flaw::UnloggedEventsAreRefusedLate => {
                self.inner.apply(&mutation).await?;
            }
            _ => {}
        }
        Err(StoreError::new(StoreErrorKind::Unsupported))
    }

    async fn rotate(
        &self,
        mut rotation: Replacement,
        event: Option<AuditEvent>,
    ) -> Result<TokenRecord, StoreError> {
        if self.has(Flaw::SuccessorsAreUnrestricted)
            && let Some(old) = self.inner.token(&rotation.target).await?
        {
            rotation.successor.restrictions = old.restrictions;
        }
        if self.has(Flaw::RotationIsNotOneStep) {
            self.inner.insert(&rotation.successor).await?;
            tokio::task::yield_now().await;
            rotation.successor.id = TokenId::from_bytes([9; 16]);
            rotation.successor.digest = TokenDigest::of(b"another");
            return self.replace(rotation, event).await;
        }
        if self.has(Flaw::RotationsAllWin) {
            self.inner.insert(&rotation.successor).await?;
            return self.expect(&rotation.target).await;
        }
        let overlap_ends = rotation.overlap_ends;
        let mut rotated = self.replace(rotation, event).await?;
        if self.has(Flaw::OverlapLengthens) {
            rotated.expires_at = Some(overlap_ends);
        }
        Ok(rotated)
    }

    async fn replace(
        &self,
        rotation: Replacement,
        event: Option<AuditEvent>,
    ) -> Result<TokenRecord, StoreError> {
        let mut mutation = Mutation::from(rotation);
        if self.has(Flaw::RotationsComeBeforeTheirEvents)
            && let Some(event) = &event
        {
            let rotated = self.inner.apply(&mutation).await?.into_token()?;
            self.inner.append(event).await?;
            return Ok(rotated);
        }
        mutation.audit = event.filter(|_| !self.has(Flaw::EventsOfRotationsAreDropped));
        self.inner.apply(&mutation).await?.into_token()
    }

    async fn revoke(
        &self,
        mutation: &Mutation,
        target: &TokenTarget,
    ) -> Result<TokenRecord, StoreError> {
        if self.has(Flaw::RevokeIsForgotten) {
            return Ok(self.expect(target).await?.revoke(mutation.at));
        }
        let mut made = mutation.clone();
        if self.has(Flaw::RevocationsLoseNanoseconds) {
            made.at = truncate_to_microsecond(made.at);
        }
        let mut revoked = self.inner.apply(&made).await?.into_token()?;
        if self.has(Flaw::RevokeMovesTheTime) || made.at != mutation.at {
            revoked.revoked_at = Some(mutation.at);
        }
        Ok(revoked)
    }

    async fn expect(&self, target: &TokenTarget) -> Result<TokenRecord, StoreError> {
        let token = self.inner.token(target).await?;
        token.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound))
    }
}

#[async_trait]
impl TokenStore for Flawed {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        let mut answer = self.inner.find(digest).await?;
        if answer.record.is_none() && self.has(Flaw::AbsenceIsAnError) {
            return Err(StoreError::new(StoreErrorKind::NotFound));
        }
        let hides = self.has(Flaw::ExpiredIsAbsent);
        let found = answer.record.take();
        answer.record = found.filter(|token| !hides || token.expires_at.is_none());
        Ok(answer)
    }
}

#[async_trait]
impl TokenRegistry for Flawed {
    async fn apply(&self, mutation: &Mutation) -> Result<Applied, StoreError> {
        if mutation.audit.is_some() && !self.has_audit_log() {
            return self.apply_unlogged(mutation).await;
        }
        let mut mutation = mutation.clone();
        if self.has(Flaw::KeysAreIgnored) {
            mutation.key = None;
        }
        if self.has(Flaw::MaximumOfKeysIsIgnored) {
            mutation.max_keys = None;
        }
        if let Some(event) = &mut mutation.audit
            && self.has(Flaw::EventsLoseTheirToken)
        {
            event.token = None;
        }
        if self.has(Flaw::EventsAreDropped) {
            mutation.audit = None;
        }
        if self.has(Flaw::EventsComeBefore)
            && let Some(event) = mutation.audit.take()
        {
            self.inner.append(&event).await?;
        }
        if self.has(Flaw::EventsComeAfter)
            && let Some(event) = mutation.audit.take()
        {
            let applied = self.inner.apply(&mutation).await?;
            self.inner.append(&event).await?;
            return Ok(applied);
        }
        match &mut mutation.op {
            Op::InsertTokens(tokens) if self.has(Flaw::RestrictionsAreDropped) => {
                for token in tokens {
                    token.restrictions = None;
                }
            }
            Op::CreateApp(app) if self.has(Flaw::NamesAreAltered) => {
                app.name = app.name.replace('\0', "");
            }
            Op::RenameToken { target, .. } | Op::RotateToken { target, .. } => {
                *target = self.target(target);
            }
            Op::RevokeToken(target) => *target = self.target(target),
            Op::Purge { before, .. } if self.has(Flaw::PurgeTakesTheLiving) => {
                *before = Timestamp::MAX;
            }
            Op::RevokeTokens { query, .. } if self.has(Flaw::BulkIgnoresConditions) => {
                *query = TokenQuery::default();
            }
            Op::TrimEvents { before, .. } if self.has(Flaw::TrimmingTakesEverything) => {
                *before = Timestamp::MAX;
            }
            Op::TrimKeys { before, .. } if self.has(Flaw::OldKeysAreKept) => {
                *before = Timestamp::MIN;
            }
            _ => {}
        }
        match &mutation.op {
            Op::DisableApp(_) if self.has(Flaw::DisablingLosesNanoseconds) => {
                let mut made = mutation.clone();
                made.at = truncate_to_microsecond(made.at);
                let mut app = self.inner.apply(&made).await?.into_app()?;
                app.disabled_at = Some(mutation.at);
                Ok(Applied::App(app))
            }
            Op::InsertTokens(tokens) => self.insert(&mutation, tokens).await,
            Op::IssueToken { .. } => self.issue(mutation).await,
            Op::RenameToken { target, name } if self.has(Flaw::RenamingIsForgotten) => {
                let mut token = self.expect(target).await?;
                name.clone_into(&mut token.name);
                Ok(Applied::Token(token))
            }
            Op::RotateToken {
                target,
                successor,
                overlap_ends,
                inheritance,
            } if mutation.max_keys.is_none()
                && (inheritance.is_none() || self.has(Flaw::SuccessorsInheritNothing)) =>
            {
                let mut rotation = Replacement::new(*target, successor.clone(), mutation.at)
                    .overlap_ends(*overlap_ends);
                rotation.key = mutation.key;
                let rotated = self.rotate(rotation, mutation.audit.clone()).await;
                rotated.map(Applied::Token)
            }
            Op::RotateToken {
                target,
                inheritance: Some(inheritance),
                ..
            } if self.has(Flaw::SuccessorsMayBeOfAnyFormat) => {
                let version = self.expect(target).await?.version();
                let checked = inheritance.clone().version(version);
                let mut made = mutation.clone();
                if let Op::RotateToken { inheritance, .. } = &mut made.op {
                    *inheritance = Some(checked);
                }
                self.inner.apply(&made).await
            }
            Op::ClearCaches if self.has(Flaw::ClearingIsForgotten) => Ok(Applied::Count(0)),
            Op::RevokeToken(target) => self.revoke(&mutation, target).await.map(Applied::Token),
            _ => self.inner.apply(&mutation).await,
        }
    }

    async fn apply_with_revision(&self, mutation: &Mutation) -> Result<Committed, StoreError> {
        let before = self.inner.revision().await?;
        let applied = self.apply(mutation).await?;
        let revision = match self.flaw {
            Flaw::RevisionsAreReadBefore => before,
            Flaw::RevisionsAreInvented => Revision::new(before.number + 100, before.mark),
            _ => self.inner.revision().await?,
        };
        Ok(Committed::new(applied, revision))
    }

    async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.inner.app(id).await
    }

    async fn policy(&self) -> Result<Policy, StoreError> {
        self.inner.policy().await
    }

    async fn apps(&self, query: &AppQuery) -> Result<Page<AppRecord, AppId>, StoreError> {
        let mut query = query.clone();
        if self.has(Flaw::SearchIsIgnored) {
            query.name = None;
        }
        let mut page = self.inner.apps(&query).await?;
        if self.has(Flaw::PagesLoseTheirLast) && page.next.is_some() {
            page.items.pop();
        }
        Ok(page)
    }

    async fn token(&self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.inner.token(&self.target(target)).await
    }

    async fn tokens(
        &self,
        query: &TokenQuery,
        now: Timestamp,
    ) -> Result<Page<TokenRecord, TokenCursor>, StoreError> {
        let mut query = query.clone();
        if self.has(Flaw::StatusIsIgnored) {
            query.status = None;
        }
        if self.has(Flaw::SearchIsIgnored) {
            query.name = None;
        }
        if self.has(Flaw::SuccessorIsIgnored) {
            query.successor = None;
        }
        let order = query.order();
        match self.flaw {
            Flaw::MasksAreIgnored => (query.mask_head, query.mask_tail) = (None, None),
            Flaw::CreatorsAreIgnored => query.created_by = None,
            Flaw::ExpiryIsIgnored => (query.expires_before, query.never_expires) = (None, false),
            Flaw::UseIsIgnored => (query.unused_since, query.never_used) = (None, false),
            Flaw::RotationIsIgnored => (query.replaced, query.used_since_rotation) = (None, None),
            _ => {}
        }
        // Not the order that fits the other filters.
        query.order = match self.flaw {
            Flaw::OrdersAreIgnored => Some(TokenOrder::Newest),
            _ => Some(order),
        };
        if let Some(after) = &mut query.after
            && self.has(Flaw::ForeignCursorsAreFollowed)
        {
            *after = TokenCursor::new(order, after.key(), after.id());
        }
        let mut page = self.inner.tokens(&query, now).await?;
        if self.has(Flaw::PagesLoseTheirLast) && page.next.is_some() {
            page.items.pop();
        }
        if self.has(Flaw::OrdersIncludeTheRevoked) && page.next.is_none() {
            let mut revoked = query.clone().sorted_by(TokenOrder::Newest);
            revoked.after = None;
            let page_of_revoked = self.inner.tokens(&revoked, now).await?;
            let is_new =
                |token: &TokenRecord| !order.includes_revoked() && token.revoked_at.is_some();
            page.items
                .extend(page_of_revoked.items.into_iter().filter(is_new));
        }
        if let Some(after) = query.after
            && self.has(Flaw::TiesAreSkipped)
            && !order.includes_revoked()
        {
            page.items.retain(|token| order.key(token) > after.key());
        }
        Ok(page)
    }

    async fn count(
        &self,
        query: &TokenQuery,
        now: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        match self.has(Flaw::CountsIgnoreTheQuery) {
            true => self.inner.count(&TokenQuery::default(), now, limit).await,
            false => self.inner.count(query, now, limit).await,
        }
    }

    async fn outdated(&self, query: &OutdatedQuery) -> Result<Outdated, StoreError> {
        self.inner.outdated(query).await
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn usage_log(&self) -> Option<&dyn UsageLog> {
        Some(self)
    }

    async fn expiring(
        &self,
        query: &ExpiringQuery,
    ) -> Result<Page<TokenRecord, ExpiringQuery>, StoreError> {
        let mut page = self.inner.expiring(query).await?;
        match self.flaw {
            Flaw::PagesLoseTheirLast if page.next.is_some() => drop(page.items.pop()),
            Flaw::ExpiringTokensAreUnordered => page.items.reverse(),
            Flaw::ReplacedTokensExpire => {
                let all = self
                    .inner
                    .tokens(&TokenQuery::default(), query.from)
                    .await?;
                let replaced = all
                    .items
                    .into_iter()
                    .filter(|token| token.successor.is_some());
                page.items.extend(replaced);
            }
            _ => {}
        }
        Ok(page)
    }

    fn audit_log(&self) -> Option<&dyn AuditLog> {
        self.has_audit_log().then_some(self as _)
    }

    fn event_log(&self) -> Option<&dyn EventLog> {
        Some(self)
    }
}

#[async_trait]
impl EventLog for Flawed {
    async fn read_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        match (self.flaw, query.start) {
            // Follows whatever event has the number now.
            (Flaw::PositionsAreNumbersAlone, EventStart::After(position)) => {
                let all = EventQuery::new(EventStart::Oldest).limit(PageSize::MAX);
                let mut page = self.inner.read_events(&all).await?;
                page.events
                    .retain(|logged| logged.position.number > position.number);
                page.events.truncate(query.limit.get());
                page.position = page.events.last().map_or(position, |last| last.position);
                Ok(page)
            }
            (Flaw::FollowersLoseTheirLast, _) => {
                let mut page = self.inner.read_events(query).await?;
                if page.events.len() == query.limit.get() && page.events.len() > 1 {
                    page.events.pop();
                }
                Ok(page)
            }
            (Flaw::AppOfEventsIsIgnored, _) => {
                let mut query = *query;
                query.app = None;
                self.inner.read_events(&query).await
            }
            (Flaw::EventsFollowTheirIdentifiers, _) => {
                let mut page = self.inner.read_events(query).await?;
                page.events.sort_by_key(|logged| logged.event.id);
                Ok(page)
            }
            _ => self.inner.read_events(query).await,
        }
    }
}

#[async_trait]
impl ChangeLog for Flawed {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }

    async fn changes(&self, since: Revision, limit: usize) -> Result<Changes, StoreError> {
        match self.inner.changes(since, limit).await? {
            Changes::Since {
                mut changes,
                revision,
                latest,
            } if self.has(Flaw::LogForgetsRevocations) => {
                changes.pop();
                Ok(Changes::Since {
                    changes,
                    revision,
                    latest,
                })
            }
            changes => Ok(changes),
        }
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
        let mut page = self.inner.live(after, limit, now).await?;
        if self.has(Flaw::RestrictedCountAsLive) {
            let query = TokenQuery::default().status(TokenStatus::Restricted);
            page.tokens
                .extend(self.inner.tokens(&query, now).await?.items);
        }
        Ok(page)
    }
}

#[async_trait]
impl UsageLog for Flawed {
    async fn record_usage(&self, usages: &[Usage]) -> Result<(), StoreError> {
        if self.has(Flaw::UsesMoveNoToken) {
            return Ok(());
        }
        if !self.has(Flaw::UsageGoesBack) {
            return self.inner.record_usage(usages).await;
        }
        let doubled: Vec<_> = usages.iter().chain(usages).copied().collect();
        self.inner.record_usage(&doubled).await
    }
}

#[async_trait]
impl AuditLog for Flawed {
    async fn append(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let mut event = event.clone();
        if self.has(Flaw::EventsLoseTheirToken) {
            event.token = None;
        }
        if self.has(Flaw::RefusalsHavePositions) {
            event.outcome = AuditOutcome::Done;
        }
        self.inner.append(&event).await
    }

    async fn append_new(&self, events: &[AuditEvent]) -> Result<usize, StoreError> {
        let appended = self.inner.append_new(events).await?;
        match self.has(Flaw::EventsAreAppendedAgain) {
            true => Ok(events.len()),
            false => Ok(appended),
        }
    }

    async fn events(
        &self,
        query: &AuditQuery,
    ) -> Result<Page<AuditEvent, AuditEventId>, StoreError> {
        let mut page = self.inner.events(query).await?;
        if self.has(Flaw::PagesLoseTheirLast) && page.next.is_some() {
            page.items.pop();
        }
        Ok(page)
    }
}

macro_rules! catches {
    ($($check:ident: $($flaw:ident)*;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                assert!(passes(Flaw::None, conformance::$check).await);
                $(
                    let passed = passes(Flaw::$flaw, conformance::$check).await;
                    assert!(!passed, "{:?} was not caught", Flaw::$flaw);
                )*
            }
        )*
    };
}

async fn passes<F>(flaw: Flaw, check: impl FnOnce(Registry) -> F) -> bool
where
    F: Future<Output = ()>,
{
    let inner = MemoryStore::new();
    let store: Registry = Arc::new(Flawed { inner, flaw });
    AssertUnwindSafe(check(store)).catch_unwind().await.is_ok()
}

catches! {
    an_insert_never_replaces: InsertReplaces;
    racing_inserts_have_one_winner: InsertReplaces;
    a_repeated_insert_makes_one_token: KeysAreIgnored;
    a_repeated_rotation_makes_one_successor: KeysAreIgnored;
    a_key_is_recognized_for_a_day: KeysAreIgnored;
    racing_repetitions_make_one_token: KeysAreIgnored;
    a_key_is_for_creation_alone: KeysAreIgnored;
    a_new_key_is_refused_while_there_are_too_many: MaximumOfKeysIsIgnored KeysAreIgnored;
    racing_keys_keep_their_maximum: MaximumOfKeysIsIgnored KeysAreIgnored;
    the_event_of_a_change_is_recorded: EventsAreDropped EventsLoseTheirToken
        EventsOfRotationsAreDropped UnloggedEventsAreDropped UnloggedEventsAreRefusedLate;
    a_refused_change_leaves_no_event: EventsComeBefore;
    a_refused_event_leaves_no_change: EventsAreDropped EventsComeAfter
        RotationsComeBeforeTheirEvents;
    clearing_caches_restarts_the_log: ClearingIsForgotten;
    a_batch_is_inserted_all_or_nothing: BatchesAreHalved;
    a_search_takes_its_text_literally: SearchIsIgnored;
    a_search_of_apps_takes_its_text_literally: SearchIsIgnored PagesLoseTheirLast;
    a_predecessor_is_found_by_its_successor: SuccessorIsIgnored;
    events_survive_unchanged: EventsLoseTheirToken;
    events_are_listed_by_app_and_token: EventsLoseTheirToken PagesLoseTheirLast;
    events_are_numbered_in_their_order: EventsAreDropped EventsComeBefore RefusalsHavePositions
        FollowersLoseTheirLast EventsFollowTheirIdentifiers;
    racing_events_have_one_order: EventsAreDropped FollowersLoseTheirLast;
    a_position_of_another_log_is_gone: PositionsAreNumbersAlone;
    an_event_that_exists_is_not_appended_again: EventsAreAppendedAgain;
    events_of_an_app_show_no_others: AppOfEventsIsIgnored FollowersLoseTheirLast
        EventsFollowTheirIdentifiers;
    a_limited_actor_reaches_one_app: AppOfEventsIsIgnored OwnerIsIgnored;
    expiring_tokens_are_listed_by_their_expiry: PagesLoseTheirLast ReplacedTokensExpire
        ExpiringTokensAreUnordered;
    many_tokens_are_revoked_in_one_change: BulkIgnoresConditions EventsAreDropped
        EventsComeBefore;
    the_oldest_events_are_removed: TrimmingTakesEverything;
    the_latest_events_up_to_a_maximum_are_kept: TrimmingTakesEverything;
    old_idempotency_keys_are_removed: OldKeysAreKept;
    a_count_agrees_with_the_listing: CountsIgnoreTheQuery;
    renaming_changes_one_name: RenamingIsForgotten OwnerIsIgnored;
    a_missing_token_is_not_an_error: AbsenceIsAnError;
    a_lookup_ignores_expiry: ExpiredIsAbsent;
    every_field_survives: ExpiredIsAbsent RestrictionsAreDropped;
    restrictions_are_kept_and_inherited: RestrictionsAreDropped SuccessorsAreUnrestricted;
    all_live_tokens_are_listed: RestrictedCountAsLive;
    names_survive_or_are_refused: NamesAreAltered;
    a_change_returns_what_is_read_afterwards: RevocationsLoseNanoseconds DisablingLosesNanoseconds
        RenamingIsForgotten;
    a_change_returns_its_revision: RevisionsAreReadBefore RevisionsAreInvented;
    revoked_is_terminal: RevokeIsForgotten RevokeMovesTheTime;
    revoking_changes_one_record: RevokeIsForgotten;
    a_revocation_is_visible_when_it_returns: RevokeIsForgotten;
    a_revocation_elsewhere_is_applied_when_repeated: RevokeIsForgotten;
    a_purge_removes_only_expired_and_revoked_tokens: PurgeTakesTheLiving;
    tokens_of_other_apps_are_not_found: OwnerIsIgnored;
    an_issued_token_has_its_app_as_it_is: AppsAreAsGiven DisabledAppsGetTokens;
    a_token_gets_the_default_expiry: ExpiryIsAsGiven;
    a_token_that_is_refused_is_not_issued: DisabledAppsGetTokens;
    a_successor_inherits_from_its_token: SuccessorsInheritNothing;
    a_token_of_another_format_is_not_replaced: SuccessorsMayBeOfAnyFormat;
    an_event_about_a_token_gets_its_app: EventsAreDropped EventsLoseTheirToken;
    a_rotation_is_atomic: RotationIsNotOneStep RotationsAllWin;
    a_failed_rotation_changes_nothing: RotationIsNotOneStep RotationsAllWin;
    an_overlap_never_extends_a_token: OverlapLengthens;
    racing_rotations_have_one_winner: RotationIsNotOneStep RotationsAllWin;
    rotation_and_revocation_race: RevokeIsForgotten;
    app_pages_are_complete: PagesLoseTheirLast;
    token_pages_are_complete: PagesLoseTheirLast;
    token_pages_are_stable_under_changes: PagesLoseTheirLast;
    status_filters_agree_with_the_query: StatusIsIgnored;
    every_filter_agrees_with_the_query: StatusIsIgnored SearchIsIgnored SuccessorIsIgnored
        MasksAreIgnored CreatorsAreIgnored ExpiryIsIgnored UseIsIgnored RotationIsIgnored
        OrdersAreIgnored OrdersIncludeTheRevoked;
    combined_filters_agree_with_the_query: StatusIsIgnored MasksAreIgnored CreatorsAreIgnored
        ExpiryIsIgnored UseIsIgnored RotationIsIgnored OrdersAreIgnored OrdersIncludeTheRevoked
        PagesLoseTheirLast TiesAreSkipped;
    pages_are_complete_in_every_order: OrdersAreIgnored PagesLoseTheirLast TiesAreSkipped
        OrdersIncludeTheRevoked;
    a_cursor_of_another_order_selects_no_token: ForeignCursorsAreFollowed;
    listings_follow_uses_and_rotations: UsesMoveNoToken OrdersAreIgnored RotationIsIgnored UseIsIgnored
        RotationIsNotOneStep;
    changes_are_numbered_without_gaps: LogForgetsRevocations;
    changes_come_in_pages: LogForgetsRevocations;
    usage_adds_up_and_never_goes_back: UsageGoesBack;
    a_dropped_call_leaves_before_or_after: RotationIsNotOneStep;
}

/// A log is optional: a store without one has only to refuse what it cannot record.
#[tokio::test]
async fn a_store_without_an_audit_log_refuses_events() {
    let check = conformance::the_event_of_a_change_is_recorded;
    assert!(passes(Flaw::NoAuditLog, check).await);
}
