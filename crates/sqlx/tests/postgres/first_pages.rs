//! Listings whose first pages read at most twice as many pages of the database as the plain one, and tokens among which
//! a wrong plan would read many more: what a filter selects is one in a thousand.

use jiff::{SignedDuration, Timestamp};
use tower_api_tokens::{
    AppId, TokenDigest, TokenFormat, TokenId, TokenOrder, TokenQuery, TokenStatus,
};

/// What the listings select.
pub(crate) struct Sample {
    pub(crate) app: AppId,
    pub(crate) id: TokenId,
    pub(crate) digest: TokenDigest,
    pub(crate) now: Timestamp,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The number of tokens on a page.
const PAGE_SIZE: usize = 50;

/// The maximum number of pages of the database that a first page may read, from that of the plain one.
pub(crate) fn limit_of(plain: u64) -> u64 {
    2 * plain + 10
}

/// Returns the plain listing.
pub(crate) fn plain() -> TokenQuery {
    TokenQuery::default().limit(PAGE_SIZE)
}

/// Returns all listings with their names, each for all apps and for one, and with any status and only for live tokens.
pub(crate) fn first_pages(sample: &Sample) -> Vec<(String, TokenQuery)> {
    let format = TokenFormat::new("acme_test").expect("it is a prefix");
    let now = sample.now;
    let mut all = Vec::new();
    for (name, query) in [
        ("all", plain()),
        ("oldest first", plain().sorted_by(TokenOrder::Oldest)),
        ("by expiry", plain().sorted_by(TokenOrder::Expiry)),
        ("by last use", plain().sorted_by(TokenOrder::LastUsed)),
        ("identifier", plain().id(sample.id)),
        ("digest", plain().digest(sample.digest)),
        ("format", plain().format(&format)),
        ("last four", plain().last_four("c4ca")),
        ("created by", plain().created_by("bob")),
        (
            "expires within 14 days",
            plain().expires_before(now + DAY * 14),
        ),
        ("never expires", plain().never_expires()),
        ("unused for 90 days", plain().unused_since(now - DAY * 90)),
        ("never used", plain().never_used()),
        ("replaced", plain().replaced(true)),
        ("used since rotation", plain().used_since_rotation(true)),
        ("unused since rotation", plain().used_since_rotation(false)),
    ] {
        let live = query.clone().status(TokenStatus::Live);
        all.push((name.to_owned(), query));
        all.push((format!("{name}, live"), live));
    }
    for status in [TokenStatus::Revoked, TokenStatus::Expired] {
        all.push((status.to_string(), plain().status(status)));
    }
    let of_app = all.clone().into_iter();
    let of_app = of_app.map(|(name, query)| (format!("{name}, of an app"), query.app(sample.app)));
    all.extend(of_app);
    all
}

/// The columns with values of [`values`].
pub(crate) const COLUMNS: &str =
    "mask, created_by, created_at, expires_at, revoked_at, successor, last_used_at";

/// Returns expressions for the columns of the token with the number `n`. `expired` and `revoked` are conditions for
/// tokens that have ended 90 days ago. The expired ones were never used, and are the longest unused tokens.
pub(crate) fn values(now: Timestamp, expired: &str, revoked: &str) -> String {
    let ago = |days: i32| (now - DAY * days).as_microsecond();
    let (now, soon, later) = (now.as_microsecond(), ago(-10), ago(-300));
    let (ended, idle, created) = (ago(90), ago(150), ago(200));
    // The time of the rotation is ten days ago.
    let rotated = format!("{:012x}", ago(10) / 1000);
    // Each kind is spread over all apps.
    let kind = "(n + n / 10000) % 1000";
    format!(
        "CASE {kind} WHEN 7 THEN 'acme_test_…' ELSE 'acme_live_…' END || left(md5(n::text), 4), \
         CASE {kind} WHEN 17 THEN 'bob' ELSE 'alice' END, \
         {created}, \
         CASE WHEN {expired} THEN {ended} WHEN {kind} = 27 THEN NULL \
            WHEN {kind} IN (37, 77, 87) THEN {soon} ELSE {later} END, \
         CASE WHEN {revoked} THEN {ended} END, \
         CASE WHEN {kind} IN (77, 87) THEN ('{rotated}7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid END, \
         CASE WHEN {expired} OR {kind} = 47 THEN NULL WHEN {kind} IN (57, 87) THEN {idle} \
            ELSE {now} - n % 3600 * 1000000::bigint END"
    )
}
