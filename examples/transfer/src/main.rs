//! Moves apps and tokens between stores and files.
//!
//! `cargo run -p transfer -- --from sqlite://tokens.db --to tokens.jsonl` exports a store to a file. Swap the two to
//! import the file. A place is a store (`sqlite://…`, `postgres://…`), a file, or `-` for standard input or output.
//! To move tokens directly, name two stores. If it is interrupted, run it again.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tower_api_tokens::transfer::{
    Completeness, Export, ExportStream, Import, ImportReport, Progress,
};
use tower_api_tokens_sqlx::{AnyStore, Driver};

const NO_STORE: &str = "a store is `sqlite://path` or `postgres://user:password@host/database`";

/// Moves apps and tokens between stores and files.
#[derive(Parser)]
struct Arguments {
    /// A store, a file, or `-` for standard input.
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// A store, a new file, or `-` for standard output.
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// A new file for the bad lines.
    #[arg(long, value_name = "FILE")]
    rejects: Option<String>,
    /// Stop at the first bad line.
    #[arg(long)]
    stop: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match transfer(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Transfers the records, and returns whether all were imported.
async fn transfer(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let (from, to) = (arguments.from.as_str(), arguments.to.as_str());
    match (is_store(from), is_store(to)) {
        (true, true) => {
            let from = open(from, true).await?;
            let chunks = Export::new(&from).stream();
            import(arguments, Source::Store(chunks), None).await
        }
        (true, false) => {
            let from = open(from, true).await?;
            if to == "-" {
                export(&from, io::stdout()).await?;
            } else {
                let mut file = create("--to", to)?;
                export(&from, &mut file).await?;
                file.sync_all()?;
            }
            Ok(true)
        }
        (false, true) if from == "-" => {
            let input = Source::File(Box::new(io::stdin()));
            import(arguments, input, None).await
        }
        (false, true) => {
            let file = File::open(from).map_err(|error| about("--from", &error))?;
            let length = file.metadata()?.len();
            import(arguments, Source::File(Box::new(file)), Some(length)).await
        }
        (false, false) => {
            Err(format!("one of the two places has to be a store; {NO_STORE}").into())
        }
    }
}

/// The records to import.
enum Source<'a> {
    Store(ExportStream<'a>),
    File(Box<dyn Read + Send>),
}

async fn export(store: &AnyStore, file: impl Write + Send) -> Result<(), Box<dyn Error>> {
    let bar = bar(None);
    let export = Export::new(store).on_progress(|progress| show(&bar, progress));
    let report = export.run(file).await?;
    bar.finish_and_clear();
    eprintln!("exported {} apps and {} tokens", report.apps, report.tokens);
    Ok(())
}

/// Imports the records, and returns whether all were imported.
async fn import(
    arguments: &Arguments,
    source: Source<'_>,
    length: Option<u64>,
) -> Result<bool, Box<dyn Error>> {
    let store = open(&arguments.to, false).await?;
    let mut rejects = match &arguments.rejects {
        Some(path) => Some(create("--rejects", path)?),
        None => None,
    };
    let bar = bar(length);
    let mut import = Import::new(&store)
        .actor("transfer example")
        .on_fault(|fault| bar.suspend(|| eprintln!("{fault}")))
        .on_progress(|progress| show(&bar, progress));
    if arguments.stop {
        import = import.stop_at_fault();
    }
    if let Some(rejects) = &mut rejects {
        import = import.rejects(rejects);
    }
    let report = match source {
        Source::Store(chunks) => import.run_stream(chunks).await?,
        Source::File(file) => import.run(BufReader::new(file)).await?,
    };
    bar.finish_and_clear();
    tell(&report);
    Ok(report.faults() == 0 && report.completeness != Completeness::Incomplete)
}

fn tell(report: &ImportReport) {
    let ImportReport {
        read,
        inserted,
        already_present,
        refused,
        conflicts,
        ..
    } = report;
    eprintln!(
        "read {read} records: {inserted} imported, {already_present} unchanged, \
         {refused} invalid, {conflicts} conflicting"
    );
    match report.completeness {
        Completeness::Incomplete => eprintln!("the file was cut off, or lines of it were lost"),
        Completeness::Stopped => eprintln!("stopped at a bad line"),
        _ => {}
    }
}

fn is_store(place: &str) -> bool {
    Driver::of_url(place).is_ok()
}

/// Opens a store, which must exist if it is only read. Its URL may contain a password, so an error does not
/// repeat it.
async fn open(url: &str, reads: bool) -> Result<AnyStore, Box<dyn Error>> {
    let argument = if reads { "--from" } else { "--to" };
    let store = AnyStore::builder(url);
    let store = if reads { store.read_only() } else { store };
    let opened = store.connect().await;
    opened.map_err(|error| about(argument, &error))
}

/// A new file that only its owner can read. Its name may be the URL of an unknown store, with a password.
fn create(argument: &str, path: &str) -> Result<File, Box<dyn Error>> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path);
    file.map_err(|error| about(argument, &error))
}

fn about(what: &str, error: &dyn Error) -> Box<dyn Error> {
    format!("{what}: {}", with_causes(error)).into()
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// A progress bar on standard error, shown only on a terminal.
fn bar(length: Option<u64>) -> ProgressBar {
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    let template = match length {
        Some(_) => "{bar:40} {bytes}/{total_bytes} {msg} {eta}",
        None => "{spinner} {bytes} {msg} {elapsed}",
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_position(progress.bytes);
    bar.set_message(format!("{} lines", progress.lines));
}
