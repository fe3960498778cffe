//! Random number generators that fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_api_tokens::{
    Entropy, EntropyError, LifecycleError, LifecycleErrorKind, MemoryStore, NewToken,
    SystemEntropy, TokenFormat, TokenQuery,
};

use crate::support::{Act, Tap, uncached, verdict};

/// Succeeds a number of times, and then fails with the buffer half written.
#[derive(Clone, Debug)]
struct Running(Arc<AtomicUsize>);

impl Running {
    fn dry_after(&self, fills: usize) {
        self.0.store(fills, Ordering::Relaxed);
    }
}

impl Entropy for Running {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let left = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if left.is_err() {
            let half = buffer.len() / 2;
            buffer[..half].fill(7);
            return Err(EntropyError::new("dry"));
        }
        SystemEntropy::default().fill(buffer)
    }
}

#[tokio::test]
async fn a_generator_that_fails_at_any_point_leads_to_no_token_in_the_store() {
    let store = Tap::new(MemoryStore::new(), |_, _| Act::Pass);
    let entropy = Running(Arc::new(AtomicUsize::new(usize::MAX)));
    let running = entropy.clone();
    let fixture = uncached(store.clone()).configure(|tokens| tokens.entropy(running));
    let fixture = fixture.build().await;
    let tokens = &fixture.tokens;
    let app = &fixture.app().id;
    let changes = || {
        let changing = ["insert_app", "insert", "rotate", "revoke"];
        changing.map(|name| store.count(name)).iter().sum::<usize>()
    };
    let dry = |error: LifecycleError| {
        assert_eq!(error.kind(), LifecycleErrorKind::Entropy);
        assert!(std::error::Error::source(&error).is_some());
    };

    let before = changes();
    entropy.dry_after(0);
    dry(tokens.create_app("a").await.unwrap_err());
    for call in ["issue", "rotate"] {
        let mut failures = 0;
        loop {
            entropy.dry_after(failures);
            let issued = match call {
                "issue" => tokens.issue(app, NewToken::named("t")).await,
                _ => {
                    tokens
                        .rotate(fixture.issued.record().id, Duration::ZERO)
                        .await
                }
            };
            match issued {
                Ok(_) => break,
                Err(error) => dry(error),
            }
            failures += 1;
            let issued = usize::from(call == "rotate");
            assert_eq!(changes(), before + issued);
            let listed = tokens.list(&TokenQuery::default()).await.unwrap();
            assert_eq!(listed.items.len(), 1 + issued);
            assert_eq!(verdict(&fixture.tokens, fixture.token()).await, Ok(()));
        }
        assert!(failures >= 2, "{call} draws a text and an identifier");
    }
}

#[test]
fn a_token_cannot_be_made_without_a_generator() {
    let format = TokenFormat::new("acme").unwrap();
    let dry = Running(Arc::new(AtomicUsize::new(0)));
    let error = format.generate(&dry).unwrap_err();
    assert!(error.to_string().contains("nothing was issued"));
}

#[tokio::test]
async fn no_two_tokens_are_alike() {
    let fixture = uncached(MemoryStore::new()).build().await;
    let mut texts = std::collections::HashSet::new();
    for _ in 0..1_000 {
        let issued = fixture
            .tokens
            .issue(&fixture.app().id, NewToken::named("t"))
            .await;
        assert!(texts.insert(issued.unwrap().token().expose().to_owned()));
    }
}
