use std::path::PathBuf;

use clap::{Args, builder::PossibleValue};
use tower_api_tokens::testing::latency::Skew;

use crate::{
    number::{above_zero, at_least_one, share},
    word::one_of,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Compare these reports instead of measuring: files that `bench --json` or a load test of your
    /// own wrote. No store is opened
    #[arg(value_name = "FILE", conflicts_with = "measuring")]
    pub(super) files: Vec<PathBuf>,
    /// What to call a store or the report of a file: once for each, in the same order
    #[arg(long = "name", value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Draw the latencies by percentile into a new SVG file
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    #[command(flatten)]
    pub(super) load: Load,
}

/// The load that is put on each store.
#[derive(Args)]
#[group(id = "measuring", multiple = true)]
pub(super) struct Load {
    /// How many live tokens there are; a tenth as many revoked ones come on top
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = at_least_one)]
    pub(super) tokens: usize,
    /// The share of live tokens that are not cached
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) miss: f64,
    /// The share of tokens that nobody issued
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) unknown: f64,
    /// The share of texts that are no tokens
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) garbage: f64,
    /// The share of revoked tokens
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(super) revoked: f64,
    /// How often each token is presented
    #[arg(long, value_parser = one_of::<Skew>(skews()), default_value = "uniform")]
    pub(super) skew: Skew,
    /// How many requests may be in flight at once
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = at_least_one)]
    pub(super) concurrency: usize,
    /// How many requests a second are due. Defaults to half of what the slowest store sustains
    #[arg(long, value_name = "PER_SECOND", value_parser = above_zero)]
    pub(super) rate: Option<f64>,
    /// For how long requests are due
    #[arg(long, default_value = "5", value_parser = above_zero)]
    pub(super) seconds: f64,
    /// Write into a store that holds apps already: adds one, and disables it afterwards
    #[arg(long)]
    pub(super) add_to_existing: bool,
}

/// The words of [`Skew`], with what each means.
fn skews() -> impl Iterator<Item = PossibleValue> {
    Skew::ALL.iter().map(|skew| {
        let help = match skew {
            Skew::Uniform => "Each as often as any other",
            Skew::Zipf => {
                "The second half as often as the first, the third a third as often, and so on"
            }
            _ => "",
        };
        PossibleValue::new(skew.as_str()).help(help)
    })
}
