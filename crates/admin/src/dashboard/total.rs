//! How many records a listing has, counted page by page up to a limit.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tower_api_tokens::PageSize;

use super::text::grouped;
use crate::operations::OperationError;

/// How many records are counted at a time.
pub(super) const COUNTED_AT_ONCE: usize = PageSize::MAX;

/// How many pages of that size are counted.
const MAX_PAGES: usize = 10;

/// How long counting may take.
const MAX_DURATION: Duration = Duration::from_secs(3);

/// How many records a listing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    Exactly(usize),
    AtLeast(usize),
}

impl Total {
    /// Counts the first 10,000 records of a listing, for at most three seconds. `read` reads the page
    /// after a cursor, and returns how many records it has and the cursor of the next one.
    ///
    /// Returns `None` if the store fails or takes too long before anything is counted.
    pub(super) async fn count<K, R>(mut read: impl FnMut(Option<K>) -> R) -> Option<Self>
    where
        R: Future<Output = Result<(usize, Option<K>), OperationError>>,
    {
        let deadline = Instant::now() + MAX_DURATION;
        let (mut counted, mut after) = (0, None);
        for _ in 0..MAX_PAGES {
            let Ok(Ok((found, next))) = timeout_at(deadline, read(after.take())).await else {
                return (counted > 0).then_some(Self::AtLeast(counted));
            };
            counted += found;
            after = next;
            if after.is_none() {
                return Some(Self::Exactly(counted));
            }
        }
        Some(Self::AtLeast(counted))
    }

    /// Returns the number of records of a listing from one page of it.
    pub(super) fn of_page<T, K>(page: &tower_api_tokens::Page<T, K>) -> Self {
        match page.next {
            None => Self::Exactly(page.items.len()),
            Some(_) => Self::AtLeast(page.items.len()),
        }
    }

    /// Returns the number with its noun: `1 token`, `10,000+ tokens`.
    pub(super) fn of(self, noun: &str) -> String {
        match self {
            Self::Exactly(1) => format!("1 {noun}"),
            Self::Exactly(count) => format!("{} {noun}s", grouped_usize(count)),
            Self::AtLeast(count) => format!("{}+ {noun}s", grouped_usize(count)),
        }
    }
}

fn grouped_usize(number: usize) -> String {
    grouped(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    async fn total(records: usize) -> (Total, usize) {
        let mut pages = 0;
        let counted = Total::count(|after: Option<usize>| {
            pages += 1;
            let from = after.unwrap_or(0);
            let found = (records - from).min(COUNTED_AT_ONCE);
            let next = (from + found < records).then_some(from + found);
            async move { Ok((found, next)) }
        });
        (counted.await.unwrap(), pages)
    }

    #[tokio::test]
    async fn at_most_ten_thousand_records_are_read() {
        assert_eq!(total(0).await, (Total::Exactly(0), 1));
        assert_eq!(total(999).await, (Total::Exactly(999), 1));
        assert_eq!(total(10_000).await, (Total::Exactly(10_000), 10));
        assert_eq!(total(10_000_000).await, (Total::AtLeast(10_000), 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_ends_the_count() {
        let counted = Total::count(|after: Option<()>| async move {
            match after {
                None => Ok((1_000, Some(()))),
                Some(()) => pending().await,
            }
        });
        assert_eq!(counted.await, Some(Total::AtLeast(1_000)));
        let counted = Total::count(|_: Option<()>| pending());
        assert_eq!(counted.await, None);
    }

    #[test]
    fn a_total_has_a_noun() {
        assert_eq!(Total::Exactly(0).of("token"), "0 tokens");
        assert_eq!(Total::Exactly(1).of("token"), "1 token");
        assert_eq!(Total::AtLeast(10_000).of("event"), "10,000+ events");
    }
}
