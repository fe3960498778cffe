//! Rotates a token without an outage, and prints each step.
//!
//! Run `cargo run -p rotation`.

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tower_api_tokens::{ApiTokens, Authenticator, Clock, MemoryStore, NewToken, TokenFormat};

/// A clock that this program sets.
#[derive(Clone, Debug)]
struct StoryClock(Arc<Mutex<Timestamp>>);

impl StoryClock {
    fn let_pass(&self, hours: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_hours(hours);
        println!("… {hours} hours pass.");
    }
}

impl Clock for StoryClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn monotonic(&self) -> Duration {
        (self.now().duration_since(Timestamp::UNIX_EPOCH)).unsigned_abs()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = StoryClock(Arc::new(Mutex::new("2026-03-02T09:00:00Z".parse()?)));
    let tokens = ApiTokens::builder(MemoryStore::new(), TokenFormat::new("acme_live")?)
        .clock(clock.clone())
        .build();
    let gate = tokens.authenticator();

    let app = tokens.create_app("Billing").await?;
    let old = tokens
        .issue(&app.id, NewToken::named("nightly export"))
        .await?;
    println!(
        "Billing got {}, and two integrations use it.",
        old.record().mask
    );
    admitted(gate, old.token().expose(), true).await;

    let day = Duration::from_secs(24 * 3600);
    let new = tokens.rotate(old.record().id, day).await?;
    println!(
        "It is rotated with a day of overlap: {} takes over.",
        new.record().mask
    );
    admitted(gate, old.token().expose(), true).await;
    admitted(gate, new.token().expose(), true).await;

    clock.let_pass(6);
    println!("The first integration has moved over; the second still uses the old one.");
    admitted(gate, old.token().expose(), true).await;

    clock.let_pass(12);
    println!("The second has moved over too. Nothing uses the old one: it is deleted early.");
    tokens.revoke(old.record().id).await?;
    admitted(gate, old.token().expose(), false).await;
    admitted(gate, new.token().expose(), true).await;

    clock.let_pass(24);
    let ends = tokens.get(old.record().id).await?;
    assert_eq!(ends.successor, Some(new.record().id));
    println!(
        "Its record tells what became of it: {} succeeded it.",
        new.record().id
    );
    Ok(())
}

async fn admitted(gate: &Authenticator, token: &str, expected: bool) {
    let verdict = gate.authenticate(token.as_bytes()).await;
    let end = &token[token.len() - 4..];
    match &verdict {
        Ok(principal) => println!("  …{end} is admitted for {}.", principal.app_name()),
        Err(rejection) => println!("  …{end} is refused: {rejection}."),
    }
    assert_eq!(verdict.is_ok(), expected);
}
