use futures_core::Stream;
use futures_util::TryStreamExt;

use super::{
    Registry,
    fixtures::{app, app_record, at, restrictions, token, token_record, tokens},
};
use crate::{
    AppId, AppQuery, AppRecord, Page, StoreError, TokenCursor, TokenOrder, TokenQuery, TokenRecord,
    TokenRegistryExt, TokenRegistryStreams, TokenStatus, TokenTarget, store::pages,
};

fn app_pages(
    store: &Registry,
    query: AppQuery,
) -> impl Stream<Item = Result<Page<AppRecord, AppId>, StoreError>> + Unpin {
    pages(None, move |after| {
        let query = query.clone().after(after);
        async move { store.apps(&query).await }
    })
}

fn token_pages(
    store: &Registry,
    query: TokenQuery,
) -> impl Stream<Item = Result<Page<TokenRecord, TokenCursor>, StoreError>> + Unpin {
    pages(None, move |after| {
        let query = query.clone().after(after);
        async move { store.tokens(&query, at(0)).await }
    })
}

/// Pages of apps contain each app once, by identifier.
pub async fn app_pages_are_complete(store: Registry) {
    let mut expected = Vec::new();
    for n in [5, 3, 9, 1, 7, 2, 8] {
        expected.push(app(&store, n).await);
    }
    expected.sort_by_key(|app| app.id);
    for limit in [1, 2, 3, 7, 100] {
        let query = AppQuery::default().limit(limit);
        let mut pages = app_pages(&store, query);
        let mut listed = Vec::new();
        while let Some(page) = pages.try_next().await.unwrap() {
            assert!(page.items.len() <= limit && !page.items.is_empty());
            listed.extend(page.items);
        }
        assert_eq!(listed, expected, "pages of {limit}");
    }
}

/// Pages of tokens contain each selected token once, the greatest identifier first.
pub async fn token_pages_are_complete(store: Registry) {
    let (ours, theirs) = (app(&store, 1).await, app(&store, 2).await);
    let mut expected = tokens(&store, &ours, 25).await;
    for n in 100..110 {
        token(&store, &theirs, n).await;
    }
    expected.reverse();
    for limit in [1, 7, 25, 1000] {
        let query = TokenQuery::default().app(ours.id).limit(limit);
        let mut pages = token_pages(&store, query);
        let mut listed = Vec::new();
        while let Some(page) = pages.try_next().await.unwrap() {
            assert!(page.items.len() <= limit && !page.items.is_empty());
            listed.extend(page.items);
        }
        assert_eq!(listed, expected, "pages of {limit}");
    }
}

/// Insertions, revocations and removals between two pages neither hide nor repeat other tokens.
pub async fn token_pages_are_stable_under_changes(store: Registry) {
    let app = app(&store, 1).await;
    let there_all_along = tokens(&store, &app, 20).await;
    let mut gone = token_record(&app, 21);
    gone.revoked_at = Some(at(-100));
    store.insert(&gone).await.unwrap();
    let mut pages = token_pages(&store, TokenQuery::default().limit(3));
    let (mut round, mut listed) = (0, Vec::new());
    while let Some(page) = pages.try_next().await.unwrap() {
        listed.extend(page.items.into_iter().map(|token| token.id));
        token(&store, &app, 1000 + round).await;
        round += 1;
        let target = TokenTarget::any(there_all_along[5].id);
        store.revoke(&target, at(0)).await.unwrap();
        store.purge(at(-50), 100).await.unwrap();
    }
    listed.retain(|id| *id != gone.id);
    let mut expected: Vec<_> = there_all_along.iter().map(|token| token.id).collect();
    expected.reverse();
    assert_eq!(listed, expected);
}

/// A search returns the tokens whose name contains the text literally, ignoring the case of ASCII
/// letters only.
pub async fn a_search_takes_its_text_literally(store: Registry) {
    let app = app(&store, 1).await;
    let names = [
        "Nightly EXPORT",
        "100% of_it",
        "Zoë's \"CI\" 🚀",
        "back\\slash",
    ];
    for (name, n) in names.into_iter().zip(1..) {
        let mut token = token_record(&app, n);
        token.name = name.to_owned();
        store.insert(&token).await.unwrap();
    }
    let everything = store.tokens(&TokenQuery::default(), at(0)).await.unwrap();
    for (part, found) in [
        ("export", 1),
        ("LY ex", 1),
        ("%", 1),
        ("_", 1),
        ("ZOË", 0),
        ("zoë's \"ci", 1),
        ("\\", 1),
        ("'", 1),
        ("🚀", 1),
        ("' OR 1=1 --", 0),
        ("\0", 0),
        ("export\0", 0),
        ("", 4),
    ] {
        let query = TokenQuery::default().name(part).app(app.id);
        let listed = store.tokens(&query, at(0)).await.unwrap().items;
        let selected: Vec<_> = everything
            .items
            .iter()
            .filter(|token| query.selects(token, at(0)))
            .collect();
        assert!(listed.iter().eq(selected), "{part:?}");
        assert_eq!(listed.len(), found, "{part:?}");
    }
}

/// A search for apps returns those whose name contains the text literally, over as many pages as
/// necessary.
pub async fn a_search_of_apps_takes_its_text_literally(store: Registry) {
    let names = [
        "Nightly EXPORT",
        "100% of_it",
        "Zoë's \"CI\" 🚀",
        "back\\slash",
    ];
    for (name, n) in names.into_iter().cycle().take(12).zip(1..) {
        let mut app = app_record(n);
        app.name = name.to_owned();
        store.insert_app(&app).await.unwrap();
    }
    let everything = store.apps(&AppQuery::default()).await.unwrap().items;
    for (part, found) in [
        ("export", 3),
        ("LY ex", 3),
        ("%", 3),
        ("_", 3),
        ("ZOË", 0),
        ("zoë's \"ci", 3),
        ("\\", 3),
        ("'", 3),
        ("🚀", 3),
        ("' OR 1=1 --", 0),
        ("\0", 0),
        ("export\0", 0),
        ("", 12),
    ] {
        let query = AppQuery::default().name(part).limit(2);
        let selected: Vec<_> = everything.iter().filter(|app| query.selects(app)).collect();
        let listed = store.stream_apps(query.clone());
        let listed: Vec<_> = listed.try_collect().await.unwrap();
        assert!(listed.iter().eq(selected), "{part:?}");
        assert_eq!(listed.len(), found, "{part:?}");
    }
}

/// A replaced token can be found by its successor.
pub async fn a_predecessor_is_found_by_its_successor(store: Registry) {
    let (ours, theirs) = (app(&store, 1).await, app(&store, 2).await);
    let [first, second] = [1, 2].map(|n| token_record(&ours, n));
    let mut rotated = token_record(&ours, 3);
    rotated.successor = Some(first.id);
    for token in [&first, &second, &rotated] {
        store.insert(token).await.unwrap();
    }
    for (query, found) in [
        (TokenQuery::default().app(ours.id).replaced_by(first.id), 1),
        (TokenQuery::default().replaced_by(first.id), 1),
        (TokenQuery::default().replaced_by(second.id), 0),
        (TokenQuery::default().replaced_by(rotated.id), 0),
        (
            TokenQuery::default().app(theirs.id).replaced_by(first.id),
            0,
        ),
    ] {
        let listed = store.tokens(&query, at(0)).await.unwrap().items;
        assert_eq!(listed.len(), found, "{query:?}");
        assert!(listed.iter().all(|token| token.id == rotated.id));
    }
}

/// A listing returns exactly the tokens that its query selects.
pub async fn status_filters_agree_with_the_query(store: Registry) {
    let apps = [app(&store, 1).await, app(&store, 2).await];
    let mut n = 0;
    for app in &apps {
        for expires_at in [None, Some(at(-1)), Some(at(0)), Some(at(1))] {
            for revoked_at in [None, Some(at(-1)), Some(at(1))] {
                for restricted in [false, true] {
                    n += 1;
                    let mut token = token_record(app, n);
                    (token.expires_at, token.revoked_at) = (expires_at, revoked_at);
                    token.restrictions = restricted.then(|| restrictions("{}"));
                    store.insert(&token).await.unwrap();
                }
            }
        }
    }
    store.disable_app(&apps[1].id, at(0)).await.unwrap();
    let everything = store.tokens(&TokenQuery::default(), at(0)).await.unwrap();
    assert_eq!(everything.items.len(), 48);
    let statuses = TokenStatus::ALL.iter().copied().map(Some);
    for status in statuses.chain([None]) {
        for app in [None, Some(apps[0].id), Some(apps[1].id)] {
            let mut query = TokenQuery::default().sorted_by(TokenOrder::Newest);
            (query.app, query.status) = (app, status);
            for now in [at(-2), at(0), at(5)] {
                let listed = store.tokens(&query, now).await.unwrap().items;
                let selected = everything
                    .items
                    .iter()
                    .filter(|token| query.selects(token, now));
                assert!(listed.iter().eq(selected), "{query:?} at {now}");
            }
        }
    }
}
