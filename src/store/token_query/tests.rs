use super::*;
use crate::{
    model::app::AppRecord,
    token::{MaskedToken, TokenDigest},
};

fn at(second: i64) -> Timestamp {
    Timestamp::new(second, 0).unwrap()
}

fn token(n: u8) -> TokenRecord {
    let app = AppRecord::new("app_1".parse().unwrap(), "app", at(0));
    let digest = TokenDigest::of(&[n]);
    let mask = MaskedToken::new("acme_live_", "abcd").unwrap();
    TokenRecord::new(TokenId::from_bytes([n; 16]), digest, mask, app, "ci", at(0))
}

fn ids(page: &Page<TokenRecord, TokenCursor>) -> Vec<u8> {
    page.items
        .iter()
        .map(|token| token.id.as_bytes()[0])
        .collect()
}

#[test]
fn every_order_lists_each_token_once_whatever_the_page_size() {
    let mut tokens: Vec<_> = (1..=9).rev().map(token).collect();
    for (n, token) in tokens.iter_mut().enumerate() {
        token.expires_at = [None, Some(at(50)), Some(at(40))][n % 3];
        token.last_used_at = [None, Some(at(86_400)), Some(at(86_401))][n / 3];
    }
    for (order, expected) in [
        (TokenOrder::Newest, [9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (TokenOrder::Oldest, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (TokenOrder::Expiry, [1, 4, 7, 2, 5, 8, 3, 6, 9]),
        (TokenOrder::LastUsed, [7, 8, 9, 1, 2, 3, 4, 5, 6]),
    ] {
        for limit in 1..=10 {
            let mut query = TokenQuery::default().sorted_by(order).limit(limit);
            let mut listed = Vec::new();
            loop {
                let page = query.page(tokens.clone(), at(0));
                listed.extend(ids(&page));
                query = query.after(page.next);
                if page.next.is_none() {
                    break;
                }
            }
            assert_eq!(listed, expected, "{order}, pages of {limit}");
        }
    }
}

#[test]
fn a_filter_chooses_the_order_unless_one_is_set() {
    let query = TokenQuery::default;
    assert_eq!(query().order(), TokenOrder::Newest);
    assert_eq!(query().expires_before(at(1)).order(), TokenOrder::Expiry);
    assert_eq!(query().never_expires().order(), TokenOrder::Expiry);
    assert_eq!(query().replaced(true).order(), TokenOrder::Expiry);
    assert_eq!(query().replaced(false).order(), TokenOrder::Newest);
    assert_eq!(
        query().used_since_rotation(false).order(),
        TokenOrder::Expiry
    );
    assert_eq!(query().unused_since(at(1)).order(), TokenOrder::LastUsed);
    assert_eq!(query().never_used().order(), TokenOrder::LastUsed);
    let of = |status| query().status(status);
    assert_eq!(of(TokenStatus::Live).order(), TokenOrder::Newest);
    assert_eq!(of(TokenStatus::Expired).order(), TokenOrder::Expiry);
    // The other orders leave revoked tokens out.
    let revoked = of(TokenStatus::Revoked).never_expires();
    assert_eq!(revoked.order(), TokenOrder::Newest);
    let chosen = query().unused_since(at(1)).sorted_by(TokenOrder::Oldest);
    assert_eq!(chosen.order(), TokenOrder::Oldest);
}

#[test]
fn revoked_tokens_are_listed_with_every_filter() {
    let mut token = token(1);
    token.expires_at = Some(at(2));
    let token = token.revoke(at(1));
    let revoked = TokenQuery::default().status(TokenStatus::Revoked);
    for query in [
        revoked.clone().expires_before(at(9)),
        revoked.clone().unused_since(at(9)),
        revoked.sorted_by(TokenOrder::Oldest),
    ] {
        assert_eq!(query.check(), Ok(()));
        assert!(query.selects(&token, at(3)), "{query:?}");
    }
}

#[test]
fn conditions_that_exclude_each_other_are_named() {
    let query = TokenQuery::default;
    for (query, named) in [
        (
            query().never_expires().expires_before(at(1)),
            ["never_expires=true", "expires_before"],
        ),
        (
            query().never_expires().status(TokenStatus::Expired),
            ["never_expires=true", "status=expired"],
        ),
        (
            query().replaced(false).used_since_rotation(false),
            ["replaced=false", "used_since_rotation=false"],
        ),
        (
            query().never_used().used_since_rotation(true),
            ["never_used=true", "used_since_rotation=true"],
        ),
        (
            query()
                .status(TokenStatus::Revoked)
                .sorted_by(TokenOrder::LastUsed),
            ["status=revoked", "sort=last_used"],
        ),
    ] {
        let conflict = query.check().unwrap_err();
        let conditions = conflict.conditions();
        assert_eq!(conditions.map(|condition| condition.to_string()), named);
    }
    for fine in [
        query().never_used().unused_since(at(1)),
        query().never_used().used_since_rotation(false),
        query().replaced(true).used_since_rotation(true),
        query().never_expires().sorted_by(TokenOrder::Expiry),
    ] {
        assert_eq!(fine.check(), Ok(()));
    }
}

#[test]
fn a_cursor_of_another_order_selects_nothing() {
    let cursor = TokenCursor::of(&token(5), TokenOrder::Oldest);
    let query = TokenQuery::default().after(cursor);
    assert!(query.has_foreign_cursor() && query.selects_nothing());
    assert!((1..=9).all(|n| !query.selects(&token(n), at(0))));
}

#[test]
fn a_cursor_survives_its_text() {
    for order in TokenOrder::ALL.iter().copied() {
        for key in [i64::MIN, -1, 0, i64::MAX] {
            let cursor = TokenCursor::new(order, key, TokenId::from_bytes([7; 16]));
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
    for text in [
        "",
        "newest",
        "newest.0",
        "newest.x.0198c9d2-8f6a-7cc1-9a43-3f2b8d1c5e77",
    ] {
        assert_eq!(text.parse::<TokenCursor>(), Err(TokenCursorError));
    }
}

#[test]
fn a_token_created_yesterday_and_never_used_is_unused_since_today() {
    let mut token = token(1);
    assert!(
        TokenQuery::default()
            .unused_since(at(1))
            .selects(&token, at(0))
    );
    assert!(
        !TokenQuery::default()
            .unused_since(at(0))
            .selects(&token, at(0))
    );
    assert!(TokenQuery::default().never_used().selects(&token, at(0)));
    token.last_used_at = Some(at(1));
    assert!(
        !TokenQuery::default()
            .unused_since(at(1))
            .selects(&token, at(0))
    );
    assert!(!TokenQuery::default().never_used().selects(&token, at(0)));
}

#[test]
fn only_a_replaced_token_can_have_been_used_since_its_rotation() {
    let selects = |token: &TokenRecord, used| {
        let query = TokenQuery::default().used_since_rotation(used);
        query.selects(token, at(0))
    };
    let mut token = token(1);
    assert!(!selects(&token, true) && !selects(&token, false));
    token.successor = Some("00000000-2710-7000-8000-000000000000".parse().unwrap());
    assert!(!selects(&token, true) && selects(&token, false));
    token.last_used_at = Some(at(10));
    assert!(!selects(&token, true) && selects(&token, false));
    token.last_used_at = Some(Timestamp::from_millisecond(10_001).unwrap());
    assert!(selects(&token, true) && !selects(&token, false));
}
