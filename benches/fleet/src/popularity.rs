//! How often each token is used: the token of rank `n` in proportion to `n` to the power of `-exponent`.
//!
//! A node's cache is not a set of tokens, which would take too much memory for thousands of nodes. It is
//! one number, its *exposure*: how many requests have filled it. If requests are independent, a token with
//! the share `p` of them is still missing after `x` requests with the probability `exp(-p x)`.

use crate::{
    math::{exp, ln, pow},
    random::Random,
};

/// How many of the most popular ranks have a group of their own.
const ALONE: u64 = 256;

/// How much wider each further group is than the one before it.
const GROWTH: f64 = 1.05;

/// The distance between two entries of the table, in logarithms of the exposure.
const STEP: f64 = 0.05;
const ENTRIES: usize = 700;

/// Tokens of about the same popularity.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: u64,
    count: f64,
    /// The share of one token in all requests.
    share: f64,
    /// The share of this group and all before it.
    cumulated: f64,
}

/// The popularity of the tokens.
#[derive(Clone, Debug)]
pub struct Popularity {
    groups: Vec<Group>,
    /// By exposure: the share of requests whose token is missing, and the number of cached tokens.
    table: Vec<(f64, f64)>,
}

impl Popularity {
    /// Creates the popularity of this many tokens.
    #[must_use]
    pub fn new(tokens: u64, exponent: f64) -> Self {
        let mut groups = Vec::new();
        let mut first = 1;
        while first <= tokens {
            let width = match first <= ALONE {
                true => 1,
                false => (first as f64 * (GROWTH - 1.0)) as u64,
            };
            let count = width.min(tokens + 1 - first);
            // The middle of the group stands for all of it.
            let middle = first as f64 + (count - 1) as f64 / 2.0;
            groups.push(Group {
                first,
                count: count as f64,
                share: pow(middle, -exponent),
                cumulated: 0.0,
            });
            first += count;
        }
        let total: f64 = groups.iter().map(|group| group.count * group.share).sum();
        let mut cumulated = 0.0;
        for group in &mut groups {
            group.share /= total;
            cumulated += group.count * group.share;
            group.cumulated = cumulated;
        }
        let mut popularity = Self {
            groups,
            table: Vec::new(),
        };
        popularity.table = (0..ENTRIES)
            .map(|n| popularity.sum(exp(n as f64 * STEP) - 1.0))
            .collect();
        popularity
    }

    fn sum(&self, exposure: f64) -> (f64, f64) {
        let (mut missing, mut cached) = (0.0, 0.0);
        for group in &self.groups {
            let is_missing = exp(-group.share * exposure);
            missing += group.count * group.share * is_missing;
            cached += group.count * (1.0 - is_missing);
        }
        (missing, cached)
    }

    fn look_up(&self, exposure: f64) -> (f64, f64) {
        let place = (ln(1.0 + exposure) / STEP).min((ENTRIES - 2) as f64);
        let n = place as usize;
        let (before, after) = (self.table[n], self.table[n + 1]);
        let between = |a: f64, b: f64| a + (b - a) * (place - n as f64);
        (between(before.0, after.0), between(before.1, after.1))
    }

    /// The share of requests whose token is missing in a cache with this exposure.
    #[must_use]
    pub fn missing(&self, exposure: f64) -> f64 {
        self.look_up(exposure).0
    }

    /// How many different tokens this many requests have.
    #[must_use]
    pub fn distinct(&self, requests: f64) -> f64 {
        self.look_up(requests).1
    }

    /// The exposure at which a cache is full: the least recently used tokens are evicted, so it holds those
    /// of the latest requests.
    #[must_use]
    pub fn exposure_of(&self, capacity: f64) -> f64 {
        let n = self.table.partition_point(|(_, cached)| *cached < capacity);
        exp(n as f64 * STEP) - 1.0
    }

    /// The rank of a token that is requested. The most popular one has the rank 1.
    pub fn sample(&self, random: &mut Random) -> u64 {
        self.sample_missing(0.0, random)
    }

    /// The rank of a token that is requested and missing.
    pub(crate) fn sample_missing(&self, exposure: f64, random: &mut Random) -> u64 {
        loop {
            let at = random.unit();
            let n = self.groups.partition_point(|group| group.cumulated <= at);
            let group = &self.groups[n.min(self.groups.len() - 1)];
            if random.unit() < exp(-group.share * exposure) {
                return group.first + random.part_of(group.count as u64);
            }
        }
    }
}
