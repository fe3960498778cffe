//! Draws the order of the requests beforehand, so that drawing does not affect the measurement.

use super::kind::{Kind, Skew};

/// A request to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// The index of the token among those of its kind.
    pub(super) subject: u32,
}

/// The number of requests of each kind, in the order of [`Kind::ALL`].
pub(super) type Counts = [usize; Kind::ALL.len()];

/// Splits `requests` by shares. Hits are the rest.
pub(super) fn counts(shares: &[f64; Kind::ALL.len()], requests: usize) -> Counts {
    let mut counts = shares.map(|share| (share * requests as f64).round() as usize);
    counts[Kind::Hit as usize] = 0;
    // Rounding up may make each one request too many.
    let mut left = requests;
    for count in &mut counts {
        *count = (*count).min(left);
        left -= *count;
    }
    counts[Kind::Hit as usize] = left;
    counts
}

/// Draws the requests: `counts` of each kind in random order. `tokens` is the number of tokens of
/// each kind. Each unknown token is used once.
pub(super) fn draw(counts: &Counts, tokens: &Counts, skew: Skew) -> Box<[Step]> {
    let mut random = Random(0x5eed);
    let live = Picker::new(tokens[Kind::Hit as usize], skew);
    let revoked = Picker::new(tokens[Kind::Revoked as usize], skew);
    let mut steps = Vec::with_capacity(counts.iter().sum());
    for kind in Kind::ALL {
        for n in 0..counts[kind as usize] {
            let subject = match kind {
                Kind::Hit | Kind::Miss => live.pick(&mut random),
                Kind::Revoked => revoked.pick(&mut random),
                Kind::Unknown | Kind::Garbage => n % tokens[kind as usize],
            };
            steps.push(Step {
                kind,
                subject: u32::try_from(subject).unwrap_or(u32::MAX),
            });
        }
    }
    for last in (1..steps.len()).rev() {
        steps.swap(last, random.below(last + 1));
    }
    steps.into()
}

/// Picks one of a number of tokens.
enum Picker {
    Uniform(usize),
    /// The sums of 1, 1/2, 1/3, … up to each rank.
    Zipf(Vec<f64>),
}

impl Picker {
    fn new(tokens: usize, skew: Skew) -> Self {
        match skew {
            Skew::Uniform => Self::Uniform(tokens),
            Skew::Zipf => {
                let weights = (1..=tokens).map(|rank| 1.0 / rank as f64);
                let sums = weights.scan(0.0, |sum, weight| {
                    *sum += weight;
                    Some(*sum)
                });
                Self::Zipf(sums.collect())
            }
        }
    }

    fn pick(&self, random: &mut Random) -> usize {
        match self {
            Self::Uniform(tokens) => random.below(*tokens),
            Self::Zipf(sums) => {
                let drawn = random.fraction() * sums.last().copied().unwrap_or(0.0);
                let rank = sums.partition_point(|sum| *sum <= drawn);
                rank.min(sums.len().saturating_sub(1))
            }
        }
    }
}

/// `SplitMix64`, which is random enough for an order.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and below 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// At least 0 and below `end`, which is above 0.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: [f64; 5] = [0.0, 0.1, 0.05, 0.05, 0.05];

    fn drawn(requests: usize, skew: Skew) -> Box<[Step]> {
        let counts = counts(&SHARES, requests);
        let tokens = [100, 100, counts[Kind::Unknown as usize], 8, 10];
        draw(&counts, &tokens, skew)
    }

    #[test]
    fn each_kind_has_exactly_its_share() {
        let steps = drawn(10_000, Skew::Uniform);
        let count = |kind| steps.iter().filter(|step| step.kind == kind).count();
        assert_eq!(Kind::ALL.map(count), [7500, 1000, 500, 500, 500]);
    }

    #[test]
    fn shares_never_exceed_one() {
        for requests in 0..50 {
            for shares in [
                [0.0, 0.25, 0.25, 0.25, 0.25],
                [0.0, 0.5, 0.0, 0.0, 0.5],
                SHARES,
            ] {
                assert_eq!(counts(&shares, requests).iter().sum::<usize>(), requests);
            }
        }
    }

    #[test]
    fn an_unknown_token_is_presented_once() {
        let steps = drawn(10_000, Skew::Zipf);
        let unknown = steps.iter().filter(|step| step.kind == Kind::Unknown);
        let mut subjects: Vec<_> = unknown.map(|step| step.subject).collect();
        subjects.sort_unstable();
        assert!(subjects.iter().copied().eq(0..500));
    }

    #[test]
    fn kinds_are_mixed() {
        let steps = drawn(10_000, Skew::Uniform);
        for part in steps.chunks(1000) {
            let misses = part.iter().filter(|step| step.kind == Kind::Miss).count();
            assert!((50..200).contains(&misses), "{misses} of about 100");
        }
    }

    #[test]
    fn with_zipf_the_second_token_is_half_as_frequent_as_the_first() {
        let steps = drawn(100_000, Skew::Zipf);
        let times = |subject| {
            let live = steps.iter().filter(|step| step.kind == Kind::Hit);
            live.filter(|step| step.subject == subject).count() as f64
        };
        assert!((0.45..0.55).contains(&(times(1) / times(0))));
        assert!(times(99) > 0.0);
        let uniform = drawn(100_000, Skew::Uniform);
        let first = uniform.iter().filter(|step| step.kind == Kind::Hit);
        let first = first.filter(|step| step.subject == 0).count();
        assert!((600..900).contains(&first), "{first} of about 750");
    }

    #[test]
    fn the_order_is_the_same_each_time() {
        assert_eq!(drawn(1000, Skew::Zipf), drawn(1000, Skew::Zipf));
    }
}
