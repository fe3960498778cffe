//! `bench`: what verifying a token costs with a store.

mod figures;
mod seed;

use std::sync::Arc;

use async_trait::async_trait;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use tower_api_tokens::{
    Answer, AppQuery, StoreError, TokenDigest, TokenRegistry, TokenStore,
    testing::latency::{
        Kind, LoadTest, LoadTestError, LoadTestErrorKind, Phase, Progress, Report, Skew,
    },
};

use crate::{
    failure::Failure,
    number::{above_zero, at_least_one},
    output::{Listing, note, print_json, print_line},
    progress,
    session::Session,
};
use figures::Row;
use seed::Seeded;

/// How many requests find out what can be verified a second.
const SATURATION: usize = 20_000;

#[derive(Args)]
pub(crate) struct Arguments {
    /// How many live tokens there are; a tenth as many revoked ones come on top
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = at_least_one)]
    tokens: usize,
    /// How often each token is presented
    #[arg(long, value_enum, default_value = "uniform")]
    skew: SkewArgument,
    /// How many requests may be under way at once
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = at_least_one)]
    concurrency: usize,
    /// How many requests a second are due. Defaults to a quarter of what can be verified
    #[arg(long, value_name = "PER_SECOND", value_parser = above_zero)]
    rate: Option<f64>,
    /// For how long requests are due
    #[arg(long, default_value = "5", value_parser = above_zero)]
    seconds: f64,
    /// Write into a store that holds apps already: adds one, and disables it afterwards
    #[arg(long)]
    add_to_existing: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SkewArgument {
    /// Each as often as any other
    Uniform,
    /// The second half as often as the first, the third a third as often, and so on
    Zipf,
}

/// What was measured: without a schedule, and by one.
struct Measured {
    saturation: Report,
    run: Report,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    let apps = session.registry.apps(&AppQuery::default().limit(1)).await?;
    if !apps.items.is_empty() && !arguments.add_to_existing {
        return Err(Failure::refused(
            "the store holds apps already: name an empty one, or let `--add-to-existing` add an app for the test, which is disabled afterwards",
        ));
    }
    let app = session.operator.create_app(None, "Load test").await?;
    let measured = match seed::insert(&*session.registry, &app, arguments.tokens).await {
        Ok(seeded) => measure(arguments, session, seeded).await,
        Err(failure) => Err(failure),
    };
    // Whatever came of it, what was inserted is of no use to anybody.
    session.operator.disable_app(&app.id).await?;
    show(session, &measured?)
}

async fn measure(
    arguments: &Arguments,
    session: &Session,
    seeded: Seeded,
) -> Result<Measured, Failure> {
    let bar = progress::share("Preparing", 0);
    let test = LoadTest::builder(Store(Arc::clone(&session.registry)))
        .format(seeded.format)
        .with_live(seeded.live.iter().map(|token| token.expose()))
        .with_revoked(seeded.revoked.iter().map(|token| token.expose()))
        .skew(match arguments.skew {
            SkewArgument::Uniform => Skew::Uniform,
            SkewArgument::Zipf => Skew::Zipf,
        })
        .concurrency(arguments.concurrency)
        .on_progress(show_progress(bar.clone()));
    let measured = async {
        let mut test = test.prepare().await?;
        let saturation = test.saturate(SATURATION).await?;
        let rate = arguments.rate.unwrap_or(saturation.throughput() / 4.0);
        let requests = (rate * arguments.seconds).ceil() as usize;
        let run = test.run(rate, requests).await?;
        Ok(Measured { saturation, run })
    };
    let measured: Result<_, LoadTestError> = measured.await;
    bar.finish_and_clear();
    measured.map_err(|error| {
        let message = error.to_string();
        match error.kind() {
            LoadTestErrorKind::InvalidLoad => Failure::usage(message),
            _ => Failure::failed(message),
        }
        .because(error)
    })
}

fn show_progress(bar: ProgressBar) -> impl FnMut(Progress) + Send {
    move |progress| {
        bar.set_message(match progress.phase {
            Phase::Preparing => "Preparing",
            Phase::Saturating => "Saturating",
            _ => "Measuring",
        });
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    }
}

fn show(session: &Session, measured: &Measured) -> Result<(), Failure> {
    let Measured { saturation, run } = measured;
    if session.json {
        return print_json(&json!({
            "saturation": parsed(saturation),
            "run": parsed(run),
        }));
    }
    let mut listing = Listing::new::<Row>(false);
    for kind in Kind::ALL {
        if run.figures(kind).count() > 0 {
            listing.add(&Row::of(kind, run.figures(kind)))?;
        }
    }
    listing.end("No request was due: give a higher `--rate` or more `--seconds`.")?;
    print_line(&format!(
        "\n{:.0} requests a second were due, at most {} at once; {:.0} a second can be verified.",
        run.rate().unwrap_or_default(),
        run.concurrency(),
        saturation.throughput(),
    ))?;
    if !run.kept_up() {
        note("The schedule could not be kept: give a lower `--rate` for latencies to go by.");
    }
    Ok(())
}

fn parsed(report: &Report) -> Value {
    serde_json::from_str(&report.to_json()).unwrap_or_default()
}

/// The registry as a store.
#[derive(Debug)]
struct Store(Arc<dyn TokenRegistry>);

#[async_trait]
impl TokenStore for Store {
    async fn find(&self, digest: &TokenDigest) -> Result<Answer, StoreError> {
        self.0.find(digest).await
    }
}
