//! Work on many items in one step, of which a bad one must not keep the others from succeeding.

/// How many items may fail alone before any has succeeded: beyond that, what fails is the store.
const MAX_FAILURES: usize = 2;

/// Bisection of a batch. One that fails is halved, until what fails is a single item.
#[derive(Debug)]
pub(super) struct Bisection<T> {
    parts: Vec<Vec<T>>,
    succeeded: bool,
    failures: usize,
}

impl<T> Bisection<T> {
    pub(super) fn new(items: Vec<T>) -> Self {
        Self {
            parts: vec![items],
            succeeded: false,
            failures: 0,
        }
    }

    /// The next part to work on.
    pub(super) fn next(&mut self) -> Option<Vec<T>> {
        self.parts.pop().filter(|part| !part.is_empty())
    }

    /// Records that a part succeeded.
    pub(super) fn succeed(&mut self) {
        self.succeeded = true;
    }

    /// Records that a part failed, and gives the item if it was a single one.
    pub(super) fn fail(&mut self, mut part: Vec<T>) -> Option<T> {
        if part.len() > 1 {
            let rest = part.split_off(part.len() / 2);
            self.parts.extend([rest, part]);
            return None;
        }
        self.failures += 1;
        part.pop()
    }

    /// Whether so many items have failed, and none has succeeded, that it is not for the items.
    pub(super) fn is_hopeless(&self) -> bool {
        !self.succeeded && self.failures >= MAX_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works on numbers, of which some are bad; gives those that failed alone and the calls made.
    fn work(items: Vec<u32>, is_bad: impl Fn(u32) -> bool) -> (Vec<u32>, usize, bool) {
        let (mut alone, mut calls) = (Vec::new(), 0);
        let mut parts = Bisection::new(items);
        while let Some(part) = parts.next() {
            calls += 1;
            if part.iter().any(|item| is_bad(*item)) {
                alone.extend(parts.fail(part));
            } else {
                parts.succeed();
            }
            if parts.is_hopeless() {
                return (alone, calls, true);
            }
        }
        (alone, calls, false)
    }

    #[test]
    fn a_bad_item_fails_alone() {
        for bad in [0, 1, 499, 500, 999] {
            let (alone, calls, hopeless) = work((0..1000).collect(), |item| item == bad);
            assert_eq!((alone, hopeless), (vec![bad], false));
            assert!(calls <= 21, "{calls}");
        }
        let (alone, ..) = work((0..1000).collect(), |item| item % 400 == 3);
        assert_eq!(alone, [3, 403, 803]);
    }

    #[test]
    fn where_everything_fails_few_calls_are_made() {
        let (alone, calls, hopeless) = work((0..1000).collect(), |_| true);
        assert_eq!((alone, hopeless), (vec![0, 1], true));
        assert!(calls <= 12, "{calls}");
        assert_eq!(work(vec![], |_| true), (vec![], 0, false));
    }
}
