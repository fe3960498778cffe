//! The overview: the active tokens that deserve attention.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use tower_api_tokens::{ReportCard, ReportKind};

use super::{
    message::Message,
    page::{Page, query_string, render},
    session::Session,
    total::Total,
};
use crate::parameters::token_parameters;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    page: Page,
    cards: Vec<Card>,
}

/// A part of the report.
struct Card {
    title: &'static str,
    detail: &'static str,
    count: String,
    is_empty: bool,
    /// The path of the list of the tokens.
    list: String,
}

impl Card {
    fn new(page: &Page, card: &ReportCard) -> Self {
        let (title, detail) = match card.kind {
            ReportKind::NeverExpires => (
                "Never expire",
                "If one leaks unnoticed, it works forever. Replace it with a token that expires.",
            ),
            ReportKind::Idle => (
                "Not used for 90 days",
                "Probably not needed any more. Only recorded uses count.",
            ),
            ReportKind::ExpiresSoon => (
                "Expire within 14 days",
                "Rotate them in time, so that no request fails.",
            ),
            ReportKind::RotatedButUsed => (
                "Rotated, but still used",
                "Some clients haven't moved to the new token yet.",
            ),
            ReportKind::SafeToRevoke => (
                "Safe to revoke",
                "They were rotated, and no client has used them since.",
            ),
            other => (other.as_str(), ""),
        };
        let total = match card.is_truncated {
            true => Total::AtLeast(card.count),
            false => Total::Exactly(card.count),
        };
        Self {
            title,
            detail,
            count: total.of("token"),
            is_empty: card.count == 0,
            list: format!("{}{}", page.home(), list_of(card)),
        }
    }
}

/// Returns the query string of the list of a card's tokens.
fn list_of(card: &ReportCard) -> String {
    let parameters = token_parameters(&card.query);
    let fields: Vec<_> = parameters
        .iter()
        .map(|(name, value)| {
            // The filter has dates, and the report counts whole days.
            let value = value.strip_suffix("T00:00:00Z").unwrap_or(value);
            (*name, value)
        })
        .collect();
    query_string(&fields)
}

pub(super) async fn show(session: Session) -> Result<Response, Message> {
    let report = session.or_error_page(session.operator.report(None).await)?;
    let page = session.page;
    let cards = report.cards.iter().map(|card| Card::new(&page, card));
    let shown = OverviewPage {
        cards: cards.collect(),
        page,
    };
    Ok(render(StatusCode::OK, &shown))
}
