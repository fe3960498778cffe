//! How often notifications of changes make the server read them.

use std::{str::FromStr, time::Duration};

use clap::Args;
use tower_api_tokens::FollowerBuilder;

use crate::time;

#[derive(Args)]
#[group(skip)]
pub(super) struct Options {
    /// Shortest time between two reads of the change log that notifications of changes cause, such as `1s`, or
    /// `never` to read it only at intervals. Defaults to 0.1 ms for each registered node and at least 10 ms, or to
    /// 100 ms if this node does not register
    #[arg(long, value_name = "DURATION")]
    notification_interval: Option<Interval>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interval {
    Every(Duration),
    Never,
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            _ => time::duration(text)
                .map(Self::Every)
                .map_err(|error| format!("{error}, or `never`")),
        }
    }
}

impl Options {
    pub(super) fn configure(&self, follower: FollowerBuilder) -> FollowerBuilder {
        match self.notification_interval {
            None => follower,
            Some(Interval::Every(interval)) => follower.notification_interval(interval),
            Some(Interval::Never) => follower.without_notifications(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_duration_or_never() {
        let tenth = Duration::from_millis(100);
        assert_eq!("100ms".parse(), Ok(Interval::Every(tenth)));
        assert_eq!("0s".parse(), Ok(Interval::Every(Duration::ZERO)));
        assert_eq!("never".parse(), Ok(Interval::Never));
        let error = "often".parse::<Interval>().unwrap_err();
        assert!(error.ends_with(", or `never`"), "{error}");
    }
}
