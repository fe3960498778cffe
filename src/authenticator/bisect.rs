//! Splits a batch that fails, so that one bad item does not keep the others from succeeding.

/// How many items may fail on their own before any has succeeded. After that, the store is failing,
/// not the items.
const MAX_FAILURES: usize = 2;

/// The parts of a batch that are left to do. A part that fails is halved until a single item fails.
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

    /// Records that a part failed. Returns the item if the part was a single one.
    pub(super) fn fail(&mut self, mut part: Vec<T>) -> Option<T> {
        if part.len() > 1 {
            let rest = part.split_off(part.len() / 2);
            self.parts.extend([rest, part]);
            return None;
        }
        self.failures += 1;
        part.pop()
    }

    /// Whether enough items have failed, and none succeeded, to conclude that the store itself is
    /// failing.
    pub(super) fn is_hopeless(&self) -> bool {
        !self.succeeded && self.failures >= MAX_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes numbers, some of which are bad. Returns those that failed on their own and the
    /// number of calls.
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
    fn a_bad_item_fails_on_its_own() {
        for bad in [0, 1, 499, 500, 999] {
            let (alone, calls, hopeless) = work((0..1000).collect(), |item| item == bad);
            assert_eq!((alone, hopeless), (vec![bad], false));
            assert!(calls <= 21, "{calls}");
        }
        let (alone, ..) = work((0..1000).collect(), |item| item % 400 == 3);
        assert_eq!(alone, [3, 403, 803]);
    }

    #[test]
    fn few_calls_are_made_when_everything_fails() {
        let (alone, calls, hopeless) = work((0..1000).collect(), |_| true);
        assert_eq!((alone, hopeless), (vec![0, 1], true));
        assert!(calls <= 12, "{calls}");
        assert_eq!(work(vec![], |_| true), (vec![], 0, false));
    }
}
