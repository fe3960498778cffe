//! What verification costs with a store: latencies and throughput of each kind of request.
//!
//! `cargo run --release -p latency -- --help`

mod args;
mod output;
mod plot;
mod seed;

use std::{error::Error, fs, process::ExitCode};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tower_api_tokens::{
    MemoryStore, TokenFormat, TokenRegistry,
    testing::latency::{Kind, LoadTest, Phase, Progress, Report},
};
use tower_api_tokens_sqlx::{PostgresStore, SqliteStore};

use args::{Args, StoreArg};

/// How many requests find out what can be verified a second.
const SATURATION: usize = 20_000;

/// What was measured: without a schedule, and by one.
struct Measured {
    saturation: Report,
    run: Report,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = args.check() {
        error.exit();
    }
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", explain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let measured = match &args.store {
        StoreArg::Memory => measure(args, MemoryStore::new()).await?,
        StoreArg::Temporary => {
            let directory = tempfile::tempdir()?;
            let url = format!("sqlite://{}", directory.path().join("tokens.db").display());
            measure(args, SqliteStore::open(&url).await?).await?
        }
        StoreArg::Sqlite(url) => measure(args, SqliteStore::open(url).await?).await?,
        StoreArg::Postgres(url) => measure(args, PostgresStore::connect(url).await?).await?,
    };
    if args.json {
        println!("{}", output::json(args, &measured)?);
    } else {
        println!("{}", output::table(args, &measured));
    }
    if !measured.run.kept_up() {
        eprintln!("The schedule could not be kept: give a lower --rate for latencies to go by.");
    }
    if let Some(path) = &args.plot {
        fs::write(path, plot::svg(args, &measured.run)?)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

async fn measure<S>(args: &Args, store: S) -> Result<Measured, Box<dyn Error>>
where
    S: TokenRegistry + Clone,
{
    if !args.add_to_existing && seed::is_in_use(&store).await? {
        return Err(
            "the store holds apps already; name an empty one, or let --add-to-existing \
                    add an app for the test, which is disabled afterwards"
                .into(),
        );
    }
    let format = TokenFormat::new("load")?;
    let bar = progress_bar();
    let seeded = seed::insert(&store, &format, args.tokens, &bar).await?;
    let test = LoadTest::builder(store.clone())
        .format(format)
        .with_live(seeded.live.iter().map(|token| token.expose()))
        .with_revoked(seeded.revoked.iter().map(|token| token.expose()))
        .share(Kind::Miss, args.miss)
        .share(Kind::Unknown, args.unknown)
        .share(Kind::Garbage, args.garbage)
        .share(Kind::Revoked, args.revoked)
        .skew(args.skew.into())
        .concurrency(args.concurrency)
        .on_progress(show_progress(bar.clone()));
    let measured = async {
        let mut test = test.prepare().await?;
        let saturation = test.saturate(SATURATION).await?;
        let rate = args.rate.unwrap_or(saturation.throughput() / 4.0);
        let requests = (rate * args.seconds).ceil() as usize;
        let run = test.run(rate, requests).await?;
        Ok(Measured { saturation, run })
    };
    let measured = measured.await;
    bar.finish_and_clear();
    seed::disable(&store, &seeded.app).await?;
    measured
}

/// A bar on standard error, hidden unless that is a terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<10} {bar:40} {human_pos}/{human_len} {eta}");
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show_progress(bar: ProgressBar) -> impl FnMut(Progress) + Send {
    let mut shown = None;
    move |progress| {
        if shown != Some(progress.phase) {
            shown = Some(progress.phase);
            bar.reset();
            bar.set_message(match progress.phase {
                Phase::Preparing => "preparing",
                Phase::Saturating => "saturating",
                _ => "measuring",
            });
        }
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    }
}

/// An error with its causes.
fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
