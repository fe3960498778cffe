//! A plan that reads what it needs is the plan against the whole state.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt;
use jiff::ToSpan;
use proptest::prelude::*;
use tower_api_tokens::{
    AppEdit, Applied, AsyncSnapshot, AuditAction, AuditOutcome, BoundKey, Grantable, MaskedToken,
    Mutation, Op, Plan, StoreErrorKind, TokenEdit, TokenTarget,
};

include!("guides/shown/custom_registry.rs");

/// Rows as a database reads them. What was read is noted.
struct Reader<'r> {
    rows: &'r Rows,
    read: Vec<String>,
}

impl<'r> Reader<'r> {
    fn new(rows: &'r Rows) -> Self {
        let read = Vec::new();
        Self { rows, read }
    }

    fn note(&mut self, question: String) {
        assert!(!self.read.contains(&question), "{question} is read again");
        self.read.push(question);
    }
}

#[async_trait]
impl AsyncSnapshot for Reader<'_> {
    async fn app(&mut self, id: &AppId) -> Result<Option<AppRecord>, StoreError> {
        self.note(format!("app {id}"));
        Ok(self.rows.app(id))
    }

    async fn token(&mut self, target: &TokenTarget) -> Result<Option<TokenRecord>, StoreError> {
        self.note(format!("token {target:?}"));
        let token = self.rows.token(target.id);
        Ok(token.filter(|token| target.selects(token)))
    }

    async fn unrevoked_of(&mut self, app: &AppId) -> Result<Vec<TokenRecord>, StoreError> {
        self.note(format!("tokens of {app}"));
        let mut tokens = self.rows.tokens_of(app);
        tokens.retain(|token| token.revoked_at.is_none());
        Ok(tokens)
    }

    async fn expired_or_revoked(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<TokenId>, StoreError> {
        self.note(format!("ended before {before}"));
        Ok(Snapshot::expired_or_revoked(self.rows, before, limit))
    }

    async fn events_before(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AuditEventId>, StoreError> {
        self.note(format!("events before {before}"));
        Snapshot::events_before(self.rows, before, limit)
    }

    async fn keys_before(
        &mut self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<[u8; 32]>, StoreError> {
        self.note(format!("keys before {before}"));
        Snapshot::keys_before(self.rows, before, limit)
    }

    async fn keys_since(&mut self, since: Timestamp) -> Result<usize, StoreError> {
        self.note(format!("keys since {since}"));
        Snapshot::keys_since(self.rows, since)
    }

    async fn policy(&mut self) -> Result<Policy, StoreError> {
        self.note("policy".to_owned());
        Ok(self.rows.policy())
    }

    async fn key(&mut self, key: &[u8; 32]) -> Result<Option<UsedKey>, StoreError> {
        self.note(format!("key {key:?}"));
        Ok(self.rows.key(key))
    }
}

fn empty() -> Rows {
    let rows = Maps::default().0.into_inner();
    rows.unwrap_or_else(PoisonError::into_inner)
}

fn plan_async(mutation: &Mutation, rows: &Rows) -> (Result<Plan, StoreError>, Vec<String>) {
    let mut reader = Reader::new(rows);
    let plan = mutation.plan_async(&mut reader).now_or_never().unwrap();
    (plan, reader.read)
}

/// What the constraints of the tables say of a plan.
fn violation(rows: &Rows, plan: &Plan) -> Option<StoreErrorKind> {
    let taken = rows.tokens.values().map(|token| token.digest);
    let mut digests: HashSet<_> = taken.collect();
    let mut ids: HashSet<_> = rows.tokens.keys().copied().collect();
    for write in &plan.writes {
        let (is_new, has_app) = match write {
            Write::InsertApp(app) => (!rows.apps.contains_key(&app.id), true),
            Write::InsertToken(token) => {
                let has_app = rows.apps.contains_key(&token.app.id);
                let is_new = ids.insert(token.id) & digests.insert(token.digest);
                (is_new, has_app)
            }
            Write::AppendEvent(event) => (!rows.events.contains_key(&event.id), true),
            Write::UpdateApp(app) => {
                assert!(rows.apps.contains_key(&app.id));
                (true, true)
            }
            Write::UpdateToken(token) => {
                assert_eq!(rows.tokens[&token.id].digest, token.digest);
                (true, true)
            }
            _ => (true, true),
        };
        match (has_app, is_new) {
            (false, _) => return Some(StoreErrorKind::NotFound),
            (_, false) => return Some(StoreErrorKind::AlreadyExists),
            _ => {}
        }
    }
    None
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + seconds, 123_456_789).unwrap()
}

fn app(number: u8) -> AppId {
    AppId::new(&format!("app{number}")).unwrap()
}

fn id(number: u8) -> TokenId {
    TokenId::from_bytes([number; 16])
}

fn token(number: u8, digest: u8, of: u8, seconds: i64) -> TokenRecord {
    let owner = AppRecord::new(app(of), "App", at(0));
    let mask = MaskedToken::new("acme_", "abcd").unwrap();
    let digest = TokenDigest::from_bytes([digest; 32]);
    let mut token = TokenRecord::new(id(number), digest, mask, owner, "ci", at(seconds));
    token.expires_at = number.is_multiple_of(2).then(|| at(seconds + 20));
    token.restrictions = (number % 5 == 4).then(|| "soon 1".parse().unwrap());
    token.scopes = ["", "read", "read write"][usize::from(number % 3)]
        .parse()
        .unwrap();
    token
}

/// Any change, about few enough things that it often succeeds and often does not.
fn mutations() -> impl Strategy<Value = Mutation> {
    let numbers = (0..3_u8, 0..8_u8, 0..8_u8, 0..8_u8, 0..60_i64);
    let extras = (
        0..19_u8,
        prop::option::of(0..3_u8),
        prop::option::of(0..8_u8),
    );
    (numbers, extras).prop_map(|((of, first, second, digest, seconds), (op, key, event))| {
        let target = match second % 3 {
            0 => TokenTarget::of_app(id(first), app(of)),
            _ => TokenTarget::any(id(first)),
        };
        let scopes = "read".parse().unwrap();
        let grantable = match second % 2 {
            0 => Grantable::everything(),
            _ => Grantable::scopes(scopes),
        };
        let op = match op {
            0 => Op::CreateApp(AppRecord::new(app(of), "App", at(seconds))),
            1 => Op::DisableApp(app(of)),
            2 => Op::EnableApp {
                app: app(of),
                grantable,
            },
            3 => Op::RenameToken {
                target,
                name: format!("name {digest}"),
            },
            4 => Op::RotateToken {
                target,
                successor: token(second, digest, of, seconds),
                overlap_ends: at(seconds + 5),
                inheritance: None,
            },
            5 => Op::RevokeToken(target),
            6 => Op::Purge {
                before: at(seconds),
                limit: usize::from(second),
            },
            7 => Op::ClearCaches,
            8 => Op::EditApp {
                app: app(of),
                version: None,
                edit: AppEdit::default().name(format!("App {digest}")),
            },
            9 => Op::DeleteApp(app(of)),
            10 => Op::EditToken {
                target,
                version: None,
                edit: TokenEdit::default()
                    .name(format!("name {digest}"))
                    .expires_at(at(seconds + 30))
                    .scopes("read".parse().unwrap()),
                grantable,
            },
            11 => Op::SetPolicy {
                version: None,
                policy: match second {
                    0..4 => Policy::default(),
                    most => Policy::default()
                        .max_live_tokens(most.into())
                        .max_lifetime(Duration::from_secs(50)),
                },
            },
            12 => Op::SuspendToken(target),
            13 => Op::ResumeToken { target, grantable },
            14 => Op::InsertTokens(vec![token(first, digest, of, seconds)]),
            15 => Op::RevokeTokens {
                tokens: vec![id(first), id(digest), id(second)],
                query: TokenQuery::default().app(app(of)),
            },
            16 => Op::TrimEvents {
                before: at(seconds),
                limit: usize::from(second),
            },
            17 => Op::TrimKeys {
                before: at(seconds),
                limit: usize::from(second),
            },
            _ => Op::InsertTokens(vec![
                token(first, digest, of, seconds),
                token(second, digest.wrapping_add(first), of, seconds),
            ]),
        };
        let mut mutation = Mutation::new(op, at(seconds));
        mutation.key = key.map(|key| BoundKey::new([key; 32], [digest; 32]));
        mutation.max_keys = (first % 2 == 0).then_some(2);
        mutation.audit = event.map(|event| {
            let id = AuditEventId::from_bytes([event; 16]);
            let action = AuditAction::ALL[0];
            AuditEvent::new(id, at(seconds), "me", action, AuditOutcome::Done)
        });
        mutation
    })
}

proptest! {
    #[test]
    fn a_plan_that_reads_what_it_needs_is_the_plan_against_everything(
        mutations in prop::collection::vec(mutations(), 1..60),
    ) {
        let mut rows = empty();
        for number in 0..2 {
            rows.write(Write::InsertApp(AppRecord::new(app(number), "App", at(0))));
        }
        for mutation in mutations {
            let (read, _) = plan_async(&mutation, &rows);
            match mutation.plan(&rows) {
                Ok(plan) => {
                    prop_assert_eq!(&read.unwrap(), &plan);
                    prop_assert_eq!(violation(&rows, &plan), None);
                    for write in plan.writes {
                        rows.write(write);
                    }
                }
                Err(refused) => {
                    let kind = match read {
                        Ok(plan) => violation(&rows, &plan),
                        Err(error) => Some(error.kind()),
                    };
                    prop_assert_eq!(kind, Some(refused.kind()));
                }
            }
        }
    }
}

#[test]
fn a_plan_reads_only_what_it_depends_on() {
    let mut rows = empty();
    rows.write(Write::InsertApp(AppRecord::new(app(0), "App", at(0))));
    let tokens: Vec<_> = (0..200).map(|n| token(n, n, 0, 0)).collect();
    let (plan, read) = plan_async(&Mutation::new(Op::InsertTokens(tokens), at(0)), &rows);
    assert_eq!(read, ["policy"]);
    for write in plan.unwrap().writes {
        rows.write(write);
    }
    let op = Op::RotateToken {
        target: TokenTarget::any(id(1)),
        successor: token(201, 201, 0, 1),
        overlap_ends: at(1),
        inheritance: None,
    };
    let rotation = Mutation::new(op, at(1)).key(BoundKey::new([1; 32], [1; 32]));
    let (plan, read) = plan_async(&rotation, &rows);
    plan.unwrap();
    assert_eq!(read.len(), 3, "{read:?}");
}

#[test]
fn a_truncated_plan_writes_and_returns_whole_microseconds() {
    let mut rows = empty();
    rows.write(Write::InsertApp(AppRecord::new(app(0), "App", at(0))));
    rows.write(Write::InsertToken(token(1, 1, 0, 0)));
    let op = Op::RotateToken {
        target: TokenTarget::any(id(1)),
        successor: token(2, 2, 0, 1),
        overlap_ends: at(5),
        inheritance: None,
    };
    let rotation = Mutation::new(op, at(1)).key(BoundKey::new([1; 32], [1; 32]));
    let plan = rotation.plan(&rows).unwrap().truncated_to_microseconds();
    let kept = at(5) - 789.nanoseconds();
    let Applied::Token(rotated) = plan.applied else {
        panic!("a rotation returns a token");
    };
    assert_eq!(rotated.expires_at, Some(kept));
    let mut times = 0;
    for write in plan.writes {
        let written = match write {
            Write::InsertToken(token) | Write::UpdateToken(token) => {
                assert_eq!(token.app.created_at.subsec_nanosecond(), 123_456_000);
                vec![Some(token.created_at), token.expires_at]
            }
            Write::PutKey(used) => vec![Some(used.used_at)],
            _ => Vec::new(),
        };
        for time in written.into_iter().flatten() {
            assert_eq!(time.subsec_nanosecond(), 123_456_000);
            times += 1;
        }
    }
    assert_eq!(times, 5);
}
