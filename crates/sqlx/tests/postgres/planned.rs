//! Random changes, made in one round trip or planned, have the outcome of [`Mutation::plan`], which the store in memory
//! uses.

use std::time::Duration;

use jiff::Timestamp;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use tower_api_tokens::{
    AppId, AppRecord, AuditAction, AuditEvent, AuditEventId, AuditLog, AuditOutcome, AuditQuery,
    BoundKey, Grantable, Inheritance, MaskedToken, MemoryStore, Mutation, Op, PageSize, Policy,
    TokenDigest, TokenId, TokenRecord, TokenRegistry, TokenStore, TokenTarget,
    store::truncate_to_microsecond,
};

use crate::{services::Test, support::fresh};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        changes_have_the_planned_outcomes,
        the_largest_limits_have_the_planned_outcomes,
    ]
}

const CHANGES: usize = 600;

/// Whole microseconds, because the store keeps no others.
fn at(seconds: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + seconds, 123_450_000).unwrap()
}

fn app(number: u8) -> AppId {
    AppId::new(&format!("app{number}")).unwrap()
}

fn id(number: u8) -> TokenId {
    TokenId::from_bytes([number; 16])
}

fn digest(number: u8) -> TokenDigest {
    TokenDigest::from_bytes([number; 32])
}

fn token(number: u8, of: u8, seconds: i64) -> TokenRecord {
    let owner = AppRecord::new(app(of), "App", at(0));
    let format = ["acme_", "acme_test_"][usize::from(number % 11 == 10)];
    let mask = MaskedToken::new(format, "abcd").unwrap();
    let name = format!("token {}", number % 5);
    let mut token = TokenRecord::new(id(number), digest(number), mask, owner, &name, at(seconds));
    token.expires_at = (!number.is_multiple_of(3)).then(|| at(seconds + 20));
    token.restrictions = (number % 7 == 6).then(|| "soon 1".parse().unwrap());
    token.scopes = ["", "read", "read write"][usize::from(number % 3)]
        .parse()
        .unwrap();
    token
}

fn grantable(number: u8, seconds: i64) -> Grantable {
    match number % 4 {
        0 => Grantable::everything().expires_by(at(seconds + 15)),
        _ => Grantable::everything(),
    }
}

fn mutations() -> impl Strategy<Value = Mutation> {
    let numbers = (0..3_u8, 0..40_u8, 0..40_u8, 0..60_i64);
    let extras = (0..36_u8, prop::option::of(0..4_u8), any::<u8>());
    (numbers, extras).prop_map(|((of, first, second, seconds), (op, key, event))| {
        let target = match second % 3 {
            0 => TokenTarget::of_app(id(first), app(of)),
            _ => TokenTarget::any(id(first)),
        };
        let op = match op {
            0 => Op::DisableApp(app(of)),
            1 => Op::EnableApp {
                app: app(of),
                grantable: Grantable::everything(),
            },
            2 => Op::SetPolicy {
                version: None,
                policy: match second % 6 {
                    0 => Policy::default().max_live_tokens(4),
                    1 => Policy::default().unique_names(),
                    2 => Policy::default().max_lifetime(Duration::from_secs(15)),
                    3 => Policy::default().scopes("read".parse().unwrap()),
                    4 => Policy::default()
                        .expiry_required()
                        .default_lifetime(Duration::from_secs(15)),
                    _ => Policy::default(),
                },
            },
            3 => Op::SuspendToken(target),
            4 => Op::ResumeToken {
                target,
                grantable: Grantable::everything(),
            },
            5 | 6 => Op::RevokeToken(target),
            7..12 => Op::RotateToken {
                target,
                successor: token(second, of, seconds),
                overlap_ends: at(seconds + 5),
                inheritance: None,
            },
            12..18 => Op::InsertTokens(vec![token(second, of, seconds)]),
            18..21 => Op::IssueToken {
                token: token(second, of, seconds),
                expires_by_default: first % 2 == 0,
                grantable: grantable(first, seconds),
            },
            _ => Op::RotateToken {
                target,
                successor: token(second, of, seconds),
                overlap_ends: at(seconds + 5),
                inheritance: Some(Inheritance::new(grantable(second, seconds))),
            },
        };
        let mut mutation = Mutation::new(op, at(seconds));
        if mutation.created().is_ok() {
            mutation.key = key.map(|key| BoundKey::new([key; 32], [second % 2; 32]));
        }
        if event > 20 {
            let event_id = AuditEventId::from_bytes([event; 16]);
            let action = AuditAction::RotateToken;
            let mut event =
                AuditEvent::new(event_id, at(seconds), "me", action, AuditOutcome::Done);
            event.token = (second % 2 == 0).then(|| id(first));
            mutation.audit = Some(event);
        }
        mutation
    })
}

async fn changes_have_the_planned_outcomes() {
    let (store, _schema) = fresh().await;
    let memory = MemoryStore::new();
    for number in 0..2 {
        let create = Mutation::new(
            Op::CreateApp(AppRecord::new(app(number), "App", at(0))),
            at(0),
        );
        store.apply(&create).await.unwrap();
        memory.apply(&create).await.unwrap();
    }
    let mut runner = TestRunner::new(Config::default());
    let (mutations, mut made) = (mutations(), 0);
    for _ in 0..CHANGES {
        let mutation = mutations.new_tree(&mut runner).unwrap().current();
        let planned = memory.apply(&mutation).await;
        let applied = store.apply(&mutation).await;
        made += usize::from(planned.is_ok());
        match (&planned, &applied) {
            (Ok(planned), Ok(applied)) => assert_eq!(planned, applied, "{mutation:?}"),
            (Err(planned), Err(applied)) => {
                assert_eq!(planned.kind(), applied.kind(), "{mutation:?}: {applied:?}");
            }
            _ => panic!("{mutation:?}: {applied:?} instead of {planned:?}"),
        }
    }
    assert!(made > CHANGES / 20, "{made} changes were made");
    for number in 0..40 {
        let digest = digest(number);
        let expected = memory.find(&digest).await.unwrap().record;
        assert_eq!(store.find(&digest).await.unwrap().record, expected);
    }
    let query = AuditQuery::default().limit(PageSize::MAX);
    let expected = memory.audit_log().unwrap().events(&query).await.unwrap();
    let events = store.events(&query).await.unwrap();
    for (event, expected) in events.items.iter().zip(&expected.items) {
        assert_eq!(event, expected);
    }
    assert_eq!(events.items.len(), expected.items.len());
}

async fn the_largest_limits_have_the_planned_outcomes() {
    let (store, _schema) = fresh().await;
    let memory = MemoryStore::new();
    let create = Op::CreateApp(AppRecord::new(app(0), "App", at(0)));
    let mut never_expires = token(1, 0, 0);
    never_expires.expires_at = None;
    let issue = Op::IssueToken {
        token: never_expires,
        expires_by_default: false,
        grantable: Grantable::everything(),
    };
    let rotate = Op::RotateToken {
        target: TokenTarget::any(id(1)),
        successor: token(2, 0, 1),
        overlap_ends: at(5),
        inheritance: Some(Inheritance::new(Grantable::everything())),
    };
    let mut mutations = [create, issue, rotate].map(|op| Mutation::new(op, at(1)));
    mutations[1].key = Some(BoundKey::new([1; 32], [1; 32]));
    mutations[1].max_keys = Some(usize::MAX);
    mutations[2].policy = Some(Policy::default().max_lifetime(Duration::MAX));
    for mutation in &mutations {
        let planned = memory.apply(mutation).await;
        assert!(planned.is_ok() && store.apply(mutation).await.is_ok());
    }
    for number in [1, 2] {
        let mut expected = memory.find(&digest(number)).await.unwrap().record.unwrap();
        // The store in memory keeps the last nanosecond of the calendar.
        expected.expires_at = expected.expires_at.map(truncate_to_microsecond);
        let kept = store.find(&digest(number)).await.unwrap().record;
        assert_eq!(kept, Some(expected));
    }
}
