//! Processes that share one file, without any communication between them: a token revoked in one is refused in
//! another within the bound, and none is locked out by the others.

#![expect(
    clippy::disallowed_methods,
    reason = "two processes have no clock in common but the system's"
)]

mod crowd;
mod node;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tower_api_tokens::{ApiTokens, AppId, NewToken, TokenFormat};
use tower_api_tokens_sqlx::SqliteStore;

use node::Node;

const BOUND: Duration = Duration::from_secs(1);

fn nanoseconds() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

async fn open(url: &str) -> ApiTokens {
    let store = SqliteStore::connect(url).await.unwrap();
    ApiTokens::builder(store, TokenFormat::new("acme").unwrap())
        .max_staleness(BOUND)
        .build()
}

async fn a_revocation_reaches_another_process(follows: &str) {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite://{}/tokens.db", directory.path().display());
    let here = open(&url).await;
    let app = here.create_app("Billing").await.unwrap();
    let mut node = Node::start(
        "a_process_that_verifies",
        &[("TOKENS_URL", &url), ("TOKENS_FOLLOWS", follows)],
    );
    node.hear("ready");
    for _ in 0..3 {
        revoke_one(&here, &app.id, &mut node).await;
    }
}

/// Revokes a token that another process has cached, which must refuse it within the bound.
async fn revoke_one(here: &ApiTokens, app: &AppId, node: &mut Node) {
    let issued = here.issue(app, NewToken::named("ci")).await.unwrap();
    node.tell(issued.token().expose());
    // It is cached there, and admitted from the cache.
    node.hear("admitted");
    here.revoke(issued.record().id).await.unwrap();
    let revoked = nanoseconds();
    let last_admission: u128 = node.hear("last").parse().unwrap();
    let late = last_admission.saturating_sub(revoked);
    assert!(
        late <= BOUND.as_nanos(),
        "admitted {late} ns after it was revoked"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_applies_a_revocation_by_another_process_within_the_bound() {
    a_revocation_reaches_another_process("often").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_follow_refuses_within_the_bound() {
    a_revocation_reaches_another_process("once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_a_follower_refuses_within_the_bound() {
    a_revocation_reaches_another_process("never").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by other tests"]
async fn a_process_that_verifies() {
    let tokens = open(&std::env::var("TOKENS_URL").unwrap()).await;
    let follow = |interval| tokens.follow().poll_interval(interval).start();
    let _follower = match std::env::var("TOKENS_FOLLOWS").unwrap().as_str() {
        "often" => Some(follow(Duration::from_millis(50)).await.unwrap()),
        "once" => Some(follow(Duration::from_secs(1 << 30)).await.unwrap()),
        _ => None,
    };
    println!("ready");
    for line in std::io::stdin().lines() {
        let token = line.unwrap();
        let present = || tokens.authenticator().authenticate(token.as_bytes());
        present().await.unwrap();
        println!("admitted");
        let mut last_admission = nanoseconds();
        loop {
            let now = nanoseconds();
            match present().await {
                Ok(_) => last_admission = now,
                Err(_) => break,
            }
            tokio::task::yield_now().await;
        }
        println!("last {last_admission}");
    }
}
