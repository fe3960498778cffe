use std::path::PathBuf;

use clap::{Args, builder::PossibleValue};
use tower_api_tokens::testing::latency::Skew;

use crate::{
    number::{above_zero, at_least_one, share},
    possible_values::one_of,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Reports to compare instead of measuring stores: files written by `bench --json` or
    /// `Report::to_json`
    #[arg(value_name = "FILE", conflicts_with = "measuring")]
    pub(super) files: Vec<PathBuf>,
    /// Name to show for a store or report. Repeat the option for each of them, in the same order
    #[arg(long = "name", value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Plot the latencies by percentile in a new SVG file
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(super) load: Load,
}

/// The load applied to each store.
#[derive(Args)]
#[group(id = "measuring", multiple = true)]
pub(super) struct Load {
    /// Number of live tokens to insert, besides a tenth as many revoked ones
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = at_least_one)]
    pub(super) tokens: usize,
    /// Share of requests with a live token that is not cached
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) miss: f64,
    /// Share of requests with a well-formed token that was never issued
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) unknown: f64,
    /// Share of requests with a malformed token
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) garbage: f64,
    /// Share of requests with a revoked token
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) revoked: f64,
    /// How requests are spread over the tokens
    #[arg(long, value_parser = one_of::<Skew>(skews()), default_value = "uniform")]
    pub(super) skew: Skew,
    /// Maximum number of requests in flight
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = at_least_one)]
    pub(super) concurrency: usize,
    /// Requests to send per second. Defaults to half of what the slowest store sustains
    #[arg(long, value_name = "PER_SECOND", value_parser = above_zero)]
    pub(super) rate: Option<f64>,
    /// Duration of the measurement in seconds
    #[arg(long, default_value = "5", value_parser = above_zero)]
    pub(super) seconds: f64,
    /// Allow a store that already holds apps: adds an app for the test and disables it afterwards
    #[arg(long)]
    pub(super) add_to_existing: bool,
}

/// The values of [`Skew`], with their help.
fn skews() -> impl Iterator<Item = PossibleValue> {
    Skew::ALL.iter().map(|skew| {
        let help = match skew {
            Skew::Uniform => "Each token is used equally often",
            Skew::Zipf => {
                "The second token is used half as often as the first, the third a third as often, and so on"
            }
            _ => "",
        };
        PossibleValue::new(skew.as_str()).help(help)
    })
}
