//! UUIDs of version 7 (RFC 9562 section 5.7), which sort by the time of their creation.

use jiff::Timestamp;
use uuid::{Builder, Uuid};

use crate::entropy::{Entropy, EntropyError};

/// Creates a UUID with the time in milliseconds and 74 random bits. A time before 1970 counts as
/// 1970, because the format cannot represent it.
pub(crate) fn uuid_v7(now: Timestamp, entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut random = [0; 10];
    entropy.fill(&mut random)?;
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Ok(Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    fn made_at(milliseconds: i64) -> Uuid {
        let now = Timestamp::from_millisecond(milliseconds).unwrap();
        uuid_v7(now, &SystemEntropy).unwrap()
    }

    #[test]
    fn uuids_sort_by_time_and_differ_within_a_millisecond() {
        let (first, second, later) = (made_at(1_000), made_at(1_000), made_at(1_001));
        assert_ne!(first, second);
        assert!(first < later && second < later);
        assert_eq!(first.get_version_num(), 7);
    }

    #[test]
    fn a_time_before_1970_counts_as_1970() {
        assert_eq!(made_at(-1).as_bytes()[..6], [0; 6]);
    }
}
