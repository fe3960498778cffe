//! Metadata that all principals of a token share, without contention for its reference count.

use std::{
    fmt, iter,
    sync::{
        Arc, LazyLock, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use crate::model::metadata::Metadata;

/// The metadata of an app and of one of its tokens. The app's values take precedence, so that a
/// customer cannot override them.
///
/// Each stripe has a reference count of its own, at the start of an allocation of two cache lines.
/// So two stripes never share a line.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Stripe {
    app: Arc<Metadata>,
    token: Arc<Metadata>,
}

impl Stripe {
    /// Returns the metadata of an app and a token, if there is any.
    pub(crate) fn of(app: &Arc<Metadata>, token: &Arc<Metadata>) -> Option<Self> {
        let is_empty = app.is_empty() && token.is_empty();
        (!is_empty).then(|| Self {
            app: Arc::clone(app),
            token: Arc::clone(token),
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.app.get(key).or_else(|| self.token.get(key))
    }

    pub(super) fn get_of_app(&self, key: &str) -> Option<&str> {
        self.app.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let (mut app, mut token) = (self.app.iter().peekable(), self.token.iter().peekable());
        iter::from_fn(move || match (app.peek(), token.peek()) {
            (Some((app_key, _)), Some((token_key, _))) => {
                if app_key == token_key {
                    token.next();
                    app.next()
                } else if app_key < token_key {
                    app.next()
                } else {
                    token.next()
                }
            }
            (Some(_), None) => app.next(),
            (None, _) => token.next(),
        })
    }
}

impl PartialEq for Stripe {
    fn eq(&self, other: &Self) -> bool {
        self.app == other.app && self.iter().eq(other.iter())
    }
}

impl Eq for Stripe {}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Metadata behind several reference counts, of which each thread uses one. Threads that share one
/// would contend for it with every request.
#[derive(Debug)]
pub(crate) struct SharedMetadata {
    origin: Stripe,
    /// Allocated when a thread first uses them.
    stripes: Box<[OnceLock<Arc<Stripe>>]>,
}

impl SharedMetadata {
    /// Shares the metadata of an app and a token, if there is any.
    pub(crate) fn of(app: &Arc<Metadata>, token: &Arc<Metadata>) -> Option<Box<Self>> {
        let origin = Stripe::of(app, token)?;
        let stripes = (0..*STRIPES).map(|_| OnceLock::new()).collect();
        Some(Box::new(Self { origin, stripes }))
    }

    /// Returns the metadata, with the reference count of the current thread.
    #[inline(never)]
    pub(crate) fn local(&self) -> Arc<Stripe> {
        self.stripe(THREAD.with(|thread| *thread))
    }

    fn stripe(&self, thread: usize) -> Arc<Stripe> {
        // The number of stripes is a power of two.
        let index = thread & (self.stripes.len() - 1);
        let stripe = self.stripes[index].get_or_init(|| Arc::new(self.origin.clone()));
        Arc::clone(stripe)
    }
}

/// The maximum number of stripes, a power of two.
const MAX_STRIPES: usize = 16;

/// One for each processor, rounded up. More threads than that do not run at the same time.
static STRIPES: LazyLock<usize> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(MAX_STRIPES, usize::from);
    processors.next_power_of_two().min(MAX_STRIPES)
});

thread_local! {
    /// Numbers the threads, so that those started one after another use different stripes.
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Relaxed)
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn metadata(entries: &BTreeMap<String, String>) -> Arc<Metadata> {
        Arc::new(Metadata::new(entries.clone()).unwrap())
    }

    fn of_text(entries: &[(&str, &str)]) -> Arc<Metadata> {
        Arc::new(Metadata::new(entries.iter().copied()).unwrap())
    }

    #[test]
    fn nothing_is_shared_without_metadata() {
        let [none, some] = [of_text(&[]), of_text(&[("plan", "pro")])];
        assert!(SharedMetadata::of(&none, &none).is_none());
        assert!(SharedMetadata::of(&none, &some).is_some());
        assert!(SharedMetadata::of(&some, &none).is_some());
    }

    #[test]
    fn consecutive_threads_use_different_reference_counts_of_equal_metadata() {
        let some = of_text(&[("plan", "pro")]);
        let shared = SharedMetadata::of(&some, &some).unwrap();
        let used: Vec<_> = (7..7 + *STRIPES)
            .map(|thread| shared.stripe(thread))
            .collect();
        for (n, stripe) in used.iter().enumerate() {
            assert!(used[..n].iter().all(|other| !Arc::ptr_eq(stripe, other)));
            assert_eq!(**stripe, *used[0]);
            assert_eq!(Arc::as_ptr(stripe).align_offset(64), 0);
        }
        assert!(Arc::ptr_eq(&shared.local(), &shared.local()));
        let number = || THREAD.with(|thread| *thread);
        let other = thread::spawn(number).join().unwrap();
        assert_ne!(other, number());
    }

    proptest! {
        #[test]
        fn the_values_of_the_app_take_precedence(
            app in proptest::collection::btree_map("[a-f]", "[x-z]{0,2}", 0..6),
            token in proptest::collection::btree_map("[a-f]", "[x-z]{0,2}", 0..6),
        ) {
            let mut expected = token.clone();
            expected.extend(app.clone());
            let stripe = Stripe::of(&metadata(&app), &metadata(&token));
            prop_assert_eq!(stripe.is_none(), expected.is_empty());
            if let Some(stripe) = stripe {
                let all: BTreeMap<_, _> = stripe
                    .iter()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect();
                prop_assert_eq!(&all, &expected);
                prop_assert!(stripe.iter().is_sorted_by_key(|(key, _)| key.to_owned()));
                for key in ["a", "b", "c", "d", "e", "f"] {
                    prop_assert_eq!(stripe.get(key), expected.get(key).map(String::as_str));
                }
            }
        }
    }
}
