//! `report`: counts the tokens that deserve attention.

use clap::Args;
use serde::{Serialize, Serializer};
use tower_api_tokens::ReportKind;

use crate::{
    backend::{Context, ReportCard},
    failure::Failure,
    number::grouped,
    output::{Listed, Listing, print_json},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Report only on tokens of this app, by its identifier or name
    #[arg(long)]
    app: Option<String>,
    /// Every node that verifies tokens records their uses. Rotated tokens without a recorded use are then
    /// reported as safe to revoke
    #[arg(long)]
    pub(crate) every_use_is_recorded: bool,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<(), Failure> {
    if arguments.every_use_is_recorded && context.backend.store().is_err() {
        return Err(Failure::usage(
            "`--every-use-is-recorded` is an option of the server; pass it to `api-tokens serve`",
        ));
    }
    let app = match &arguments.app {
        Some(app) => Some(context.find_app(app).await?.id),
        None => None,
    };
    let report = context.backend.report(app).await?;
    if context.json {
        return print_json(&report);
    }
    let mut listing = Listing::new::<Row>(false);
    for card in &report.cards {
        listing.add(&Row {
            card,
            app: arguments.app.as_deref(),
        })?;
    }
    listing.end("The report is empty.")
}

/// A line of the report.
struct Row<'r> {
    card: &'r ReportCard,
    app: Option<&'r str>,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.card.kind)
    }
}

impl Listed for Row<'_> {
    const COLUMNS: &'static [&'static str] = &["ACTIVE TOKENS", "COUNT", "LIST THEM"];

    fn cells(&self) -> Vec<String> {
        let more = if self.card.is_truncated { "+" } else { "" };
        let count = format!("{}{more}", grouped(self.card.count));
        let kind = self.card.kind.parse();
        let (words, filter) = match kind {
            Ok(ReportKind::NeverExpires) => ("never expire", "--never-expires"),
            Ok(ReportKind::Idle) => ("no use in 90 days", "--unused-since 90d"),
            Ok(ReportKind::ExpiresSoon) => ("expire within 14 days", "--expires-before 14d"),
            Ok(ReportKind::RotatedButUsed) => ("rotated but still used", "--used-since-rotation"),
            Ok(ReportKind::SafeToRevoke) => (
                "rotated and unused since: safe to revoke",
                "--used-since-rotation=false",
            ),
            _ => return vec![self.card.kind.replace('_', " "), count, String::new()],
        };
        let app = self.app.map(|app| format!(" --app {}", quoted(app)));
        let command = format!(
            "api-tokens token list --status active {filter}{}",
            app.unwrap_or_default()
        );
        vec![words.to_owned(), count, command]
    }
}

/// Quotes an argument for a shell.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:~".contains(c);
    match argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}
