//! The log, on standard error: events of this program and of the library, as text or JSON.
//!
//! Requests are logged if that is switched on. They are not affected by RUST_LOG, which sets the levels
//! of everything else.

use std::{
    env,
    io::{self, Write},
};

use clap::{Args, ValueEnum};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    escape::{escape_controls, escape_json},
    failure::Failure,
    note::{EVENTS, log_notes},
};

/// The target of the events about requests.
pub(super) const ACCESS: &str = "api_tokens::access";

#[derive(Args)]
#[group(skip)]
pub(super) struct Options {
    /// Log each request, without tokens and query strings. Defaults to off, because a log that is read
    /// slowly delays requests
    #[arg(long)]
    pub(super) access_log: bool,
    /// Format of the log on standard error. The variable RUST_LOG sets the levels
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Options {
    /// Returns what is logged.
    pub(super) fn filter(&self) -> Result<Targets, Failure> {
        let levels = match env::var("RUST_LOG") {
            Ok(directives) if !directives.is_empty() => {
                directives.parse::<Targets>().map_err(|error| {
                    Failure::usage("invalid RUST_LOG")
                        .because(error)
                        .advising("Set it to levels such as `warn` or `tower_api_tokens=debug`.")
                })?
            }
            // sqlx logs slow statements as warnings, with their text.
            _ => Targets::new()
                .with_default(LevelFilter::WARN)
                .with_target(EVENTS, LevelFilter::INFO)
                .with_target("sqlx", LevelFilter::ERROR),
        };
        Ok(levels.with_target(
            ACCESS,
            match self.access_log {
                true => LevelFilter::INFO,
                false => LevelFilter::OFF,
            },
        ))
    }

    /// Starts logging. Messages are events from here on if the format is JSON, and otherwise once
    /// [`log_notes`] was called: those of the start are for people.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let filter = self.filter()?;
        let format = self.log_format;
        let lines = fmt::layer()
            .with_writer(Lines(format))
            .with_ansi(false)
            .log_internal_errors(false);
        // This program sets no other subscriber, so neither of these can fail.
        let registry = tracing_subscriber::registry();
        match format {
            Format::Text => drop(registry.with(lines).with(filter).try_init()),
            Format::Json => {
                let json = lines
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false);
                drop(registry.with(json).with(filter).try_init());
                log_notes();
            }
        }
        Ok(())
    }
}

/// Writes lines to standard error, with control characters escaped. Errors are ignored: a closed standard
/// error stops no server.
#[derive(Clone, Copy)]
struct Lines(Format);

impl Write for Lines {
    /// Writes one event, which is passed in one piece.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = match self.0 {
            Format::Text => escape_controls(line),
            Format::Json => escape_json(line),
        };
        let _ = io::stderr()
            .lock()
            .write_all(format!("{line}\n").as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        *self
    }
}
