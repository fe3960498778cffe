use jiff::Timestamp;

use super::{
    Registry,
    fixtures::{all, app, at, restrictions, token_record, usage_log},
};
use crate::{
    AppRecord, MaskedToken, Mutation, Page, Restrictions, TokenCursor, TokenId, TokenOrder,
    TokenQuery, TokenRecord, TokenRegistryExt, TokenStatus, Usage,
};

const DAY: i64 = 86_400;

const CREATORS: [Option<&str>; 4] = [None, Some("alice"), Some("Alice"), Some("O'Brien; --")];

const HEADS: [&str; 4] = ["acme_live_", "acme_test_", "ACME_live_", ""];

const TAILS: [&str; 3] = ["x7Kq", "X7Kq", "%_"];

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        // The constants of Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// A time to which several tokens have the same or a neighbouring one.
    fn time(&mut self) -> Timestamp {
        let second = at(self.one_of(&[-200, -100, -91, -90, -14, -1, 0, 1, 14]) * DAY);
        let offset = self.one_of(&[-1, 0, 0, 1]);
        Timestamp::from_microsecond(second.as_microsecond() + offset).unwrap()
    }

    fn time_if_any(&mut self) -> Option<Timestamp> {
        (self.below(3) > 0).then(|| self.time())
    }

    fn flag_if_any(&mut self) -> Option<bool> {
        self.one_of(&[None, None, Some(true), Some(false)])
    }

    /// A successor's identifier: of that time, or of no time.
    fn successor(&mut self) -> TokenId {
        let milliseconds = u64::try_from(self.time().as_millisecond()).unwrap();
        let mut id = [0xab; 16];
        id[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        id[6] = self.one_of(&[0x7b, 0x7b, 0x7b, 0x4b]);
        TokenId::from_bytes(id)
    }

    fn restrictions(&mut self) -> Option<Restrictions> {
        match self.below(8) {
            0 => Some(restrictions("not understood")),
            1 => Restrictions::of(None, Some(self.time()), None).unwrap(),
            2 => Restrictions::of(None, None, Some(self.time())).unwrap(),
            3 => {
                let networks = "192.0.2.0/24".parse().unwrap();
                Restrictions::of(Some(networks), None, None).unwrap()
            }
            _ => None,
        }
    }

    fn token(&mut self, app: &AppRecord, n: u32) -> TokenRecord {
        let mut token = token_record(app, n);
        let (head, tail) = (self.one_of(&HEADS), self.one_of(&TAILS));
        token.mask = MaskedToken::new(head, tail).unwrap();
        token.name = self.one_of(&["ci", "CI runner", "nightly"]).to_owned();
        token.created_at = self.time();
        token.created_by = self.one_of(&CREATORS).map(str::to_owned);
        token.expires_at = self.time_if_any();
        token.revoked_at = self.one_of(&[None, None, Some(at(0))]);
        token.last_used_at = self.time_if_any();
        token.successor = (self.below(3) == 0).then(|| self.successor());
        token.restrictions = self.restrictions();
        token
    }

    /// A query with a few filters, each of which is set in some queries.
    fn query(&mut self, tokens: &[TokenRecord], apps: &[AppRecord]) -> TokenQuery {
        let mut query = TokenQuery::default();
        let token = self.one_of(tokens);
        if self.below(2) == 0 {
            query.app = Some(self.one_of(apps).id);
        }
        if self.below(2) == 0 {
            query.status = Some(self.one_of(TokenStatus::ALL));
        }
        if self.below(2) == 0 {
            query.order = Some(self.one_of(TokenOrder::ALL));
        }
        for _ in 0..=self.below(2) {
            self.filter(&mut query, &token);
        }
        query
    }

    fn filter(&mut self, query: &mut TokenQuery, token: &TokenRecord) {
        let (head, tail) = token.mask.parts();
        // Queries may be more precise than what is stored.
        let time = self.time();
        let time = Timestamp::from_nanosecond(time.as_nanosecond() + self.one_of(&[0, 1, 999]));
        let time = time.unwrap();
        match self.below(FILTERS) {
            0 => query.id = Some(token.id),
            1 => query.digest = Some(token.digest),
            2 => query.name = Some(self.one_of(&["ci", "RUN", "x"]).to_owned()),
            3 => query.mask_head = Some(head.to_owned()),
            4 => query.mask_tail = Some(tail.to_owned()),
            5 => query.created_by = Some(self.one_of(&["alice", "O'Brien; --", ""]).to_owned()),
            6 => query.created_before = Some(time),
            7 => query.expires_before = Some(time),
            8 => query.never_expires = true,
            9 => query.unused_since = Some(time),
            10 => query.never_used = true,
            11 => query.replaced = self.flag_if_any(),
            12 => query.used_since_rotation = self.flag_if_any(),
            13 => query.admissible = true,
            _ => query.successor = token.successor,
        }
    }
}

/// The number of filters besides the app and the status.
const FILTERS: usize = 15;

/// Two apps, one of them disabled, and tokens in every state.
async fn generated(store: &Registry, numbers: &mut Numbers) -> (Vec<AppRecord>, Vec<TokenRecord>) {
    let apps = vec![app(store, 1).await, app(store, 2).await];
    let mut tokens = Vec::new();
    for n in 0..150 {
        let app = numbers.one_of(&apps);
        tokens.push(numbers.token(&app, n));
    }
    store.insert_all(&tokens).await.unwrap();
    store.disable_app(&apps[1].id, at(0)).await.unwrap();
    // Some are used later.
    let used = tokens.iter().take(20);
    let uses = used.map(|token| Usage::new(token.id, numbers.time(), 1));
    let uses: Vec<_> = uses.collect();
    usage_log(store).record_usage(&uses).await.unwrap();
    (apps, all(store).await)
}

/// Lists all pages. No page is empty, unless restrictions were judged after it was read.
async fn listed(
    store: &Registry,
    query: &TokenQuery,
    limit: usize,
    now: Timestamp,
) -> Vec<TokenRecord> {
    let mut query = query.clone().limit(limit);
    let mut listed = Vec::new();
    loop {
        let page = store.tokens(&query, now).await.unwrap();
        assert!(page.items.len() <= limit, "{query:?}");
        listed.extend(page.items);
        match page.next {
            Some(next) => query = query.after(next),
            None => return listed,
        }
    }
}

fn ids<'t>(tokens: impl IntoIterator<Item = &'t TokenRecord>) -> Vec<TokenId> {
    tokens.into_iter().map(|token| token.id).collect()
}

/// Returns what the query selects, in its order.
fn selected(query: &TokenQuery, tokens: &[TokenRecord], now: Timestamp) -> Vec<TokenRecord> {
    let order = query.order();
    let selected = tokens.iter().filter(|token| query.selects(token, now));
    let mut selected: Vec<_> = selected.cloned().collect();
    selected.sort_by_key(|token| (order.key(token), token.id));
    if !order.is_ascending() {
        selected.reverse();
    }
    selected
}

async fn agrees(store: &Registry, query: &TokenQuery, tokens: &[TokenRecord], limit: usize) {
    for now in [at(0), at(20 * DAY)] {
        let (found, expected) = (
            listed(store, query, limit, now).await,
            selected(query, tokens, now),
        );
        assert_eq!(
            ids(&found),
            ids(&expected),
            "{query:?} at {now}, pages of {limit}"
        );
    }
}

/// Each filter selects what [`TokenQuery::selects`] does, alone, in one app and with a status.
pub async fn every_filter_agrees_with_the_query(store: Registry) {
    let mut numbers = Numbers(1);
    let (apps, tokens) = generated(&store, &mut numbers).await;
    let replaced = tokens.iter().find(|token| token.successor.is_some());
    let base = TokenQuery::default;
    let times = [-90, 0, 14].map(|day| at(day * DAY));
    let mut queries = vec![
        base(),
        base().id(tokens[3].id),
        base().digest(tokens[4].digest),
        base().name("CI"),
        base().never_expires(),
        base().never_used(),
        base().replaced(true),
        base().replaced(false),
        base().used_since_rotation(true),
        base().used_since_rotation(false),
        base().replaced_by(replaced.and_then(|token| token.successor).unwrap()),
    ];
    for time in times {
        queries.extend([
            base().created_before(time),
            base().expires_before(time),
            base().unused_since(time),
        ]);
    }
    for head in HEADS.into_iter().chain(["acme_", "acme_live_\0"]) {
        let mut query = base();
        query.mask_head = Some(head.to_owned());
        queries.push(query);
    }
    for tail in TAILS.into_iter().chain(["", "7Kq", "\0"]) {
        queries.push(base().last_four(tail));
    }
    for creator in CREATORS
        .into_iter()
        .flatten()
        .chain(["ALICE", "", "alice\0"])
    {
        queries.push(base().created_by(creator));
    }
    let statuses = TokenStatus::ALL.iter().copied().map(Some).chain([None]);
    let statuses: Vec<_> = statuses.collect();
    for query in queries {
        for app in [None, Some(apps[0].id), Some(apps[1].id)] {
            for status in &statuses {
                let mut query = query.clone();
                (query.app, query.status) = (app, *status);
                agrees(&store, &query, &tokens, 1000).await;
            }
        }
    }
}

/// Combinations of filters select what [`TokenQuery::selects`] does, in every order, over any number of
/// pages.
pub async fn combined_filters_agree_with_the_query(store: Registry) {
    let mut numbers = Numbers(2);
    let (apps, tokens) = generated(&store, &mut numbers).await;
    for _ in 0..300 {
        let query = numbers.query(&tokens, &apps);
        let limit = numbers.one_of(&[7, 50, 1000]);
        agrees(&store, &query, &tokens, limit).await;
    }
}

/// Pages in every order list each token once, although many tokens are sorted by the same key, and
/// although tokens are removed between the pages.
pub async fn pages_are_complete_in_every_order(store: Registry) {
    let mut numbers = Numbers(3);
    let (apps, tokens) = generated(&store, &mut numbers).await;
    for order in TokenOrder::ALL.iter().copied() {
        for app in [None, Some(apps[0].id)] {
            let mut query = TokenQuery::default().sorted_by(order);
            query.app = app;
            for limit in [1, 4, 150] {
                let found = listed(&store, &query, limit, at(0)).await;
                let expected = selected(&query, &tokens, at(0));
                assert_eq!(ids(&found), ids(&expected), "{order}, pages of {limit}");
            }
        }
    }
    // A position stays where it is when its token is gone.
    let query = TokenQuery::default()
        .sorted_by(TokenOrder::Expiry)
        .status(TokenStatus::Expired);
    let first = store.tokens(&query.clone().limit(1), at(0)).await.unwrap();
    let (gone, next) = (&first.items[0], first.next.unwrap());
    store.purge(at(0), 1000).await.unwrap();
    assert!(!all(&store).await.contains(gone));
    let query = TokenQuery::default()
        .sorted_by(TokenOrder::Expiry)
        .after(next);
    let rest = all(&store).await;
    assert_eq!(
        ids(&listed(&store, &query, 1000, at(0)).await),
        ids(&selected(&query, &rest, at(0)))
    );
}

/// A cursor of a listing in another order selects nothing.
pub async fn a_cursor_of_another_order_selects_no_token(store: Registry) {
    let mut numbers = Numbers(4);
    let (_, tokens) = generated(&store, &mut numbers).await;
    for order in TokenOrder::ALL.iter().copied() {
        for other in TokenOrder::ALL.iter().copied().filter(|o| *o != order) {
            let query = TokenQuery::default()
                .sorted_by(order)
                .after(TokenCursor::of(&tokens[9], other));
            let page = store.tokens(&query, at(0)).await.unwrap();
            assert_eq!(page, Page::empty(), "{order} after {other}");
        }
    }
}

/// A use moves a token in the listing by last use, and a rotation makes it a replaced one, whichever
/// change came first.
pub async fn listings_follow_uses_and_rotations(store: Registry) {
    let app = app(&store, 1).await;
    let mut tokens = Vec::new();
    for n in 1..=3 {
        let mut token = token_record(&app, n);
        token.created_at = at(-200 * DAY);
        tokens.push(token);
    }
    store.insert_all(&tokens).await.unwrap();
    let order = TokenQuery::default().sorted_by(TokenOrder::LastUsed);
    let used = TokenQuery::default().used_since_rotation(true);
    let unused = TokenQuery::default().used_since_rotation(false);
    let found = async |query: &TokenQuery| ids(&listed(&store, query, 1000, at(0)).await);
    let log = usage_log(&store);
    let record = async |n: usize, time| {
        let usage = Usage::new(tokens[n].id, time, 1);
        log.record_usage(&[usage]).await.unwrap();
    };
    let [first, second, third] = [0, 1, 2].map(|n: usize| tokens[n].id);
    assert_eq!(found(&order).await, [first, second, third]);
    record(0, at(-10 * DAY)).await;
    record(1, at(-20 * DAY)).await;
    assert_eq!(found(&order).await, [third, second, first]);
    assert_eq!(found(&TokenQuery::default().never_used()).await, [third]);
    let idle = TokenQuery::default().unused_since(at(-15 * DAY));
    assert_eq!(found(&idle).await, [third, second]);
    // A use that is older than the latest one changes nothing.
    record(0, at(-30 * DAY)).await;
    assert_eq!(found(&order).await, [third, second, first]);
    assert_eq!(found(&used).await, []);
    let mut successor = token_record(&app, 4);
    let milliseconds = u64::try_from(at(-5 * DAY).as_millisecond()).unwrap();
    let mut id = [0x70; 16];
    id[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    successor.id = TokenId::from_bytes(id);
    let rotation = crate::Replacement::new(crate::TokenTarget::any(first), successor, at(-5 * DAY))
        .overlap_ends(at(5 * DAY));
    store.apply(&Mutation::from(rotation)).await.unwrap();
    assert_eq!(found(&unused).await, [first]);
    assert_eq!(found(&TokenQuery::default().replaced(true)).await, [first]);
    record(0, at(-5 * DAY)).await;
    assert_eq!(found(&unused).await, [first]);
    record(0, at(-5 * DAY + 1)).await;
    assert_eq!(found(&used).await, [first]);
    assert_eq!(found(&unused).await, []);
}
