use std::cmp::Reverse;

use futures_util::TryStreamExt;

use super::{
    Registry,
    fixtures::{app, at, change_log, read, restrictions, token, token_record, tokens, usage_log},
};
use crate::{
    Change, ChangeLogStreams, Changes, LoggedChange, Mutation, Op, Replacement, Revision,
    TokenRegistryExt, TokenStatus, TokenTarget, Usage,
};

async fn since(store: &Registry, revision: Revision) -> (Vec<Change>, Revision) {
    match change_log(store).changes(revision, 1000).await.unwrap() {
        Changes::Since {
            changes,
            revision,
            latest,
        } => {
            assert_eq!(latest, revision.number, "everything fits into one page");
            let last = changes.last().map(|last| last.revision);
            assert!(last.is_none_or(|last| last == revision));
            (what(&changes), revision)
        }
        Changes::Gap => panic!("the log continues from a revision that it returned"),
    }
}

fn what(changes: &[LoggedChange]) -> Vec<Change> {
    changes.iter().map(|logged| logged.change).collect()
}

/// Each change increments the revision by one and sends a notification. A call that changes nothing
/// does neither.
pub async fn changes_are_numbered_without_gaps(store: Registry) {
    let app = app(&store, 1).await;
    let begin = change_log(&store).revision().await.unwrap();
    assert_eq!(since(&store, begin).await, (Vec::new(), begin));
    let token = token(&store, &app, 1).await;
    let target = TokenTarget::any(token.id);
    let successor = token_record(&app, 2);
    let rotation = Replacement::new(target, successor.clone(), at(5)).overlap_ends(at(50));
    store.rotate(&rotation).await.unwrap();
    let (mut rotated, end) = since(&store, begin).await;
    // The two changes of a rotation may come in either order.
    let inserted = rotated.remove(0);
    rotated.sort_by_key(|change| *change != Change::Token(token.digest));
    assert_eq!(inserted, Change::Token(token.digest));
    assert_eq!(
        rotated,
        [Change::Token(token.digest), Change::Token(successor.digest)]
    );
    assert_eq!(end.number, begin.number + 3);

    store.rename(&target, "renamed", at(6)).await.unwrap();
    store.revoke(&target, at(6)).await.unwrap();
    store.disable_app(&app.id, at(7)).await.unwrap();
    store.enable_app(&app.id, at(8)).await.unwrap();
    assert!(store.rotate(&rotation).await.is_err());
    let (changes, last) = since(&store, end).await;
    let expected = [
        Change::Token(token.digest),
        Change::Token(token.digest),
        Change::App(app.id),
        Change::App(app.id),
    ];
    assert_eq!(changes, expected);
    assert_eq!(last.number, end.number + 4);
    assert_eq!(change_log(&store).revision().await.unwrap(), last);
}

/// Changes that do not fit into one page are read in several, in order.
pub async fn changes_come_in_pages(store: Registry) {
    let app = app(&store, 1).await;
    let begin = change_log(&store).revision().await.unwrap();
    let tokens = tokens(&store, &app, 10).await;
    let (mut from, mut logged) = (begin, Vec::new());
    while logged.len() < 10 {
        let Changes::Since {
            changes,
            revision,
            latest,
        } = change_log(&store).changes(from, 3).await.unwrap()
        else {
            panic!("the log continues")
        };
        assert!(!changes.is_empty() && changes.len() <= 3);
        assert_eq!(revision.number, from.number + changes.len() as u64);
        assert_eq!(latest, begin.number + 10);
        logged.extend(what(&changes));
        from = revision;
    }
    let expected: Vec<_> = tokens
        .iter()
        .map(|token| Change::Token(token.digest))
        .collect();
    assert_eq!(logged, expected);
}

/// A revision that the store never had, or has not reached, is a gap.
pub async fn a_log_recognizes_an_unrelated_revision(store: Registry) {
    let app = app(&store, 1).await;
    token(&store, &app, 1).await;
    let own = change_log(&store).revision().await.unwrap();
    for unrelated in [
        Revision {
            mark: own.mark ^ 1,
            ..own
        },
        Revision {
            number: own.number + 1,
            ..own
        },
        Revision {
            number: u64::MAX,
            ..own
        },
    ] {
        assert_eq!(
            change_log(&store).changes(unrelated, 10).await.unwrap(),
            Changes::Gap
        );
    }
}

/// All live tokens, and no others, are listed in pages.
pub async fn all_live_tokens_are_listed(store: Registry) {
    let app = app(&store, 1).await;
    let mut expected = tokens(&store, &app, 10).await;
    store
        .revoke(&TokenTarget::any(expected[4].id), at(0))
        .await
        .unwrap();
    expected.remove(4);
    // A program that does not understand the restrictions cannot admit it.
    let mut restricted = token_record(&app, 11);
    restricted.restrictions = Some(restrictions("{}"));
    store.insert(&restricted).await.unwrap();
    expected.reverse();
    let mut pages = change_log(&store).stream_live(4, at(0));
    let mut listed = Vec::new();
    while let Some(page) = pages.try_next().await.unwrap() {
        assert!(page.tokens.len() <= 4);
        listed.extend(page.tokens);
    }
    assert_eq!(listed, expected);
    assert!(
        listed
            .iter()
            .all(|token| token.status(at(0)) == TokenStatus::Live)
    );
    let Some(mut stream) = change_log(&store).live_stream(at(0)) else {
        return;
    };
    let revision = change_log(&store).revision().await.unwrap();
    let mut streamed = Vec::new();
    while let Some(page) = stream.try_next().await.unwrap() {
        assert_eq!(page.position, revision);
        streamed.extend(page.tokens);
    }
    streamed.sort_unstable_by_key(|token| Reverse(token.id));
    assert_eq!(streamed, expected);
}

/// Uses add up without overflow, the last use never goes back, and nothing else changes.
pub async fn usage_adds_up_and_never_goes_back(store: Registry) {
    let app = app(&store, 1).await;
    let (mut used, unused) = (token(&store, &app, 1).await, token(&store, &app, 2).await);
    let absent = token_record(&app, 3);
    for (second, uses, last) in [(10, 3, 10), (5, 4, 10), (20, 0, 20)] {
        let usages = [
            Usage::new(used.id, at(second), uses),
            Usage::new(absent.id, at(0), 1),
        ];
        usage_log(&store).record_usage(&usages).await.unwrap();
        used.uses += uses;
        used.last_used_at = Some(at(last));
        assert_eq!(read(&store, &used).await.as_ref(), Some(&used));
    }
    assert_eq!(read(&store, &unused).await.as_ref(), Some(&unused));
    assert_eq!(read(&store, &absent).await, None);
    usage_log(&store).record_usage(&[]).await.unwrap();
    // More uses than the store can count are limited to its maximum, and do not keep others from
    // being recorded.
    for n in 1..=3 {
        let usages = [
            Usage::new(used.id, at(20), u64::MAX),
            Usage::new(unused.id, at(20), 1),
        ];
        usage_log(&store).record_usage(&usages).await.unwrap();
        let counted = read(&store, &used).await.map(|token| token.uses);
        assert!(counted >= Some(i64::MAX.unsigned_abs()), "{counted:?}");
        let counted = read(&store, &unused).await.map(|token| token.uses);
        assert_eq!(counted, Some(n));
    }
}

/// Clearing caches restarts the log: it does not continue from any earlier revision, but does from
/// later ones.
pub async fn clearing_caches_restarts_the_log(store: Registry) {
    let app = app(&store, 1).await;
    let begin = change_log(&store).revision().await.unwrap();
    token(&store, &app, 1).await;
    let end = change_log(&store).revision().await.unwrap();
    let cleared = Mutation::new(Op::ClearCaches, at(5));
    store.apply(&cleared).await.unwrap();
    for before in [begin, end] {
        let changes = change_log(&store).changes(before, 10).await.unwrap();
        assert_eq!(changes, Changes::Gap);
    }
    let restarted = change_log(&store).revision().await.unwrap();
    let inserted = token(&store, &app, 2).await;
    let (changes, _) = since(&store, restarted).await;
    assert_eq!(changes, [Change::Token(inserted.digest)]);
}
