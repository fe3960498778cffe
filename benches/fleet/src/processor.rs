//! The cores of a database server. Statements share them equally, as the processes of an operating system
//! do: a short statement is not stuck behind a long one, and all become slower together.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashSet, VecDeque},
};

/// A running statement.
pub(crate) type JobId = u32;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Finish {
    /// The work per statement at which it is complete, in nanoseconds.
    at: f64,
    job: JobId,
}

impl Eq for Finish {}

impl Ord for Finish {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.total_cmp(&other.at).then(self.job.cmp(&other.job))
    }
}

impl PartialOrd for Finish {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
pub(crate) struct Processor {
    cores: f64,
    /// How many statements run at once at most. The others wait their turn.
    limit: usize,
    waiting: VecDeque<(JobId, f64)>,
    /// The work that each statement would have received if it had run from the beginning.
    attained: f64,
    /// When that was brought up to date.
    at: u64,
    running: usize,
    finishes: BinaryHeap<Reverse<Finish>>,
    cancelled: HashSet<JobId>,
    /// Cancelled statements whose identifiers are free again.
    pub(crate) dropped: Vec<JobId>,
    /// The work that was done, in nanoseconds of one core.
    pub(crate) busy: f64,
}

impl Processor {
    pub(crate) fn new(cores: f64, limit: usize) -> Self {
        Self {
            cores,
            limit,
            waiting: VecDeque::new(),
            attained: 0.0,
            at: 0,
            running: 0,
            finishes: BinaryHeap::new(),
            cancelled: HashSet::new(),
            dropped: Vec::new(),
            busy: 0.0,
        }
    }

    /// The part of a core that each statement has.
    fn share(&self) -> f64 {
        (self.cores / self.running.max(1) as f64).min(1.0)
    }

    pub(crate) fn advance(&mut self, now: u64) {
        let passed = (now - self.at) as f64;
        self.attained += passed * self.share();
        self.busy += passed * (self.running as f64).min(self.cores);
        self.at = now;
    }

    pub(crate) fn begin(&mut self, now: u64, job: JobId, work: f64) {
        self.advance(now);
        self.waiting.push_back((job, work));
        self.fill();
    }

    /// Lets statements run that have waited.
    fn fill(&mut self) {
        while self.running < self.limit
            && let Some((job, work)) = self.waiting.pop_front()
        {
            self.running += 1;
            let at = self.attained + work;
            self.finishes.push(Reverse(Finish { at, job }));
        }
    }

    /// Stops a statement that has not completed.
    pub(crate) fn cancel(&mut self, now: u64, job: JobId) {
        self.advance(now);
        if let Some(place) = self.waiting.iter().position(|(waiting, _)| *waiting == job) {
            self.waiting.remove(place);
            self.dropped.push(job);
            return;
        }
        self.running -= 1;
        self.cancelled.insert(job);
        self.fill();
    }

    fn next(&mut self) -> Option<Finish> {
        while let Some(Reverse(next)) = self.finishes.peek().copied() {
            if !self.cancelled.remove(&next.job) {
                return Some(next);
            }
            self.finishes.pop();
            self.dropped.push(next.job);
        }
        None
    }

    /// When the next statement completes, if none begins or is cancelled before.
    pub(crate) fn next_at(&mut self) -> Option<u64> {
        let next = self.next()?;
        let left = ((next.at - self.attained).max(0.0) / self.share()).ceil();
        Some(self.at + left as u64)
    }

    /// Takes a statement that is complete by now.
    pub(crate) fn complete(&mut self, now: u64) -> Option<JobId> {
        self.advance(now);
        // The time is rounded to nanoseconds.
        let next = self.next().filter(|next| next.at <= self.attained + 1.0)?;
        self.finishes.pop();
        self.running -= 1;
        self.fill();
        Some(next.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    fn completions(processor: &mut Processor) -> Vec<(u64, JobId)> {
        let mut done = Vec::new();
        while let Some(at) = processor.next_at() {
            let job = processor.complete(at);
            done.extend(job.map(|job| (at, job)));
        }
        done
    }

    #[test]
    fn statements_have_a_core_each_until_there_are_more_of_them_than_cores() {
        let mut processor = Processor::new(2.0, ALL);
        processor.begin(0, 1, 100.0);
        processor.begin(0, 2, 100.0);
        assert_eq!(completions(&mut processor), [(100, 1), (100, 2)]);
        let mut processor = Processor::new(2.0, ALL);
        for job in 1..=4 {
            processor.begin(0, job, 100.0);
        }
        let done = completions(&mut processor);
        assert!(done.iter().all(|(at, _)| *at == 200), "{done:?}");
        assert_eq!(processor.busy, 400.0);
    }

    #[test]
    fn a_short_statement_overtakes_a_long_one() {
        let mut processor = Processor::new(1.0, ALL);
        processor.begin(0, 1, 1000.0);
        processor.begin(100, 2, 50.0);
        assert_eq!(completions(&mut processor), [(200, 2), (1050, 1)]);
    }

    #[test]
    fn statements_beyond_the_limit_wait_their_turn() {
        let mut processor = Processor::new(2.0, 1);
        for job in 1..=4 {
            processor.begin(0, job, 100.0);
        }
        processor.cancel(0, 2);
        processor.cancel(50, 1);
        assert_eq!(completions(&mut processor), [(150, 3), (250, 4)]);
    }

    #[test]
    fn a_cancelled_statement_leaves_its_share_to_the_others() {
        let mut processor = Processor::new(1.0, ALL);
        processor.begin(0, 1, 1000.0);
        processor.begin(0, 2, 1000.0);
        processor.cancel(100, 1);
        assert_eq!(completions(&mut processor), [(1050, 2)]);
    }
}
