use std::{path::PathBuf, str::FromStr};

use clap::{CommandFactory, Parser, ValueEnum, error::ErrorKind};
use tower_api_tokens::testing::latency::Skew;

/// Measures what verifying a token costs with a store.
///
/// It fills the store with tokens of its own, finds out how many requests a second can be verified,
/// and then makes requests by a schedule, at a quarter of that rate unless --rate says otherwise. A
/// latency counts from the instant in which the request was due.
#[derive(Debug, Parser)]
#[command(name = "latency", version)]
pub(crate) struct Args {
    /// `memory`, `sqlite://PATH` or `postgres://…`; an SQLite file that is removed afterwards, unless
    /// it is told
    #[arg(
        long,
        value_name = "STORE",
        default_value = "temporary",
        hide_default_value = true
    )]
    pub(crate) store: StoreArg,

    /// How many live tokens there are; a tenth as many revoked ones come on top
    #[arg(long, value_name = "N", default_value = "10000", value_parser = at_least_one)]
    pub(crate) tokens: usize,

    /// The share of live tokens of which the store is asked
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(crate) miss: f64,

    /// The share of tokens that nobody issued
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(crate) unknown: f64,

    /// The share of texts that are no tokens
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(crate) garbage: f64,

    /// The share of revoked tokens
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    pub(crate) revoked: f64,

    /// How often each token is presented
    #[arg(long, value_enum, default_value = "uniform")]
    pub(crate) skew: SkewArg,

    /// How many requests may be under way at once
    #[arg(long, value_name = "N", default_value = "8", value_parser = at_least_one)]
    pub(crate) concurrency: usize,

    /// How many requests a second are due; a quarter of what can be verified, unless it is told
    #[arg(long, value_name = "PER_SECOND", value_parser = above_zero)]
    pub(crate) rate: Option<f64>,

    /// For how long requests are due
    #[arg(long, default_value = "5", value_parser = above_zero)]
    pub(crate) seconds: f64,

    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw the distributions side by side into an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Write into a store that holds apps already: adds one, and disables it afterwards
    #[arg(long)]
    pub(crate) add_to_existing: bool,
}

impl Args {
    /// Checks what no argument shows by itself.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        if self.miss + self.unknown + self.garbage + self.revoked > 1.0 + 1e-9 {
            return Err(Self::command().error(
                ErrorKind::ValueValidation,
                "--miss, --unknown, --garbage and --revoked are more than 100% together; hits are \
                 what they leave",
            ));
        }
        Ok(())
    }
}

/// Where the tokens are.
#[derive(Clone, Debug)]
pub(crate) enum StoreArg {
    Memory,
    Temporary,
    Sqlite(String),
    Postgres(String),
}

impl StoreArg {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Temporary | Self::Sqlite(_) => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }
}

impl FromStr for StoreArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').map_or(text, |(scheme, _)| scheme) {
            "memory" => Ok(Self::Memory),
            "temporary" => Ok(Self::Temporary),
            "sqlite" => Ok(Self::Sqlite(text.to_owned())),
            "postgres" | "postgresql" => Ok(Self::Postgres(text.to_owned())),
            _ => Err("write `memory`, `sqlite://PATH` or `postgres://USER@HOST/DATABASE`".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum SkewArg {
    /// Each as often as any other
    Uniform,
    /// The second half as often as the first, the third a third as often, and so on
    Zipf,
}

impl From<SkewArg> for Skew {
    fn from(skew: SkewArg) -> Self {
        match skew {
            SkewArg::Uniform => Self::Uniform,
            SkewArg::Zipf => Self::Zipf,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse().map(|percent: f64| percent / 100.0),
        None => text.parse(),
    };
    match share {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a share like `5%` or `0.05`, at most `100%`".into()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("write a whole number above 0, like `100000`".into()),
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("write a number above 0".into()),
    }
}
