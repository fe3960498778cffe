//! The content of the page of an app.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use tower_api_tokens::{AppRecord, AuditQuery, PageSize, TokenQuery, TokenStatus};

use super::{
    directory::Directory,
    event::{About, EventView},
    history::HistoryView,
    input::ConfirmInput,
    lockout::{self, Warning},
    message::Message,
    page::{Page, render},
    session::Session,
    token_filter::orders,
    total::Total,
    view::{AppView, Field, Notice, TokenView},
};
use crate::operations::Operator;

/// How many of an app's tokens its page shows.
const MAX_TOKENS: usize = 10;

/// How many of an app's events its page shows.
const MAX_EVENTS: usize = 20;

#[derive(Template)]
#[template(path = "app.html")]
struct AppPage {
    page: Page,
    notice: Option<Notice>,
    app: AppView,
    /// The newest tokens.
    tokens: Vec<TokenView>,
    more_tokens: bool,
    /// The orders in which the list of its tokens can be shown.
    orders: Vec<(&'static str, &'static str)>,
    /// What disabling the app does now.
    effect: String,
    /// Set if disabling the app locks out the signed-in operator.
    warning: Option<Warning>,
    disable: ConfirmInput,
    /// The form that deletes the app, if the operator may delete it.
    delete: Option<ConfirmInput>,
    history: HistoryView,
}

/// A notice, and the forms as they were submitted, with their errors.
#[derive(Default)]
pub(super) struct Submitted {
    pub(super) notice: Option<Notice>,
    pub(super) disable: Field,
    pub(super) delete: Field,
}

/// Renders the page of an app, with its forms as they were submitted.
pub(super) async fn app_page(
    session: Session,
    status: StatusCode,
    app: &AppRecord,
    submitted: Submitted,
) -> Result<Response, Message> {
    let operator = &session.operator;
    let query = TokenQuery::default().app(app.id);
    let newest = operator.list(&query.clone().limit(MAX_TOKENS)).await;
    let newest = session.or_error_page(newest)?;
    let live = match app.disabled_at {
        None => live_tokens(operator, &query).await,
        Some(_) => None,
    };
    let query = AuditQuery::default().app(app.id).limit(MAX_EVENTS);
    let events = operator.events(&query).await.ok();
    let mut directory = Directory::default();
    directory.add_app(app);
    for token in &newest.items {
        directory.add_token(token);
    }
    let latest = events.iter().flat_map(|page| &page.items);
    directory.look_up(operator, latest, None).await;
    let now = session.page.now;
    let shown = AppPage {
        notice: submitted.notice,
        warning: lockout::before_disabling(&session, app),
        app: AppView::new(app, now),
        more_tokens: newest.next.is_some(),
        orders: orders().collect(),
        tokens: newest
            .items
            .iter()
            .map(|token| TokenView::new(token, now))
            .collect(),
        effect: effect_of_disabling(live),
        disable: ConfirmInput::new(
            ["confirm", "confirm-error"],
            &app.name,
            submitted.disable,
            "Disable app",
        ),
        delete: session.is_owner().then(|| {
            let ids = ["delete-confirm", "delete-error"];
            ConfirmInput::new(ids, &app.name, submitted.delete, "Delete app")
        }),
        history: HistoryView {
            about: About::App,
            activity: events
                .as_ref()
                .and_then(|page| page.next)
                .map(|_| session.page.link(&format!("/activity?app={}", app.id))),
            events: events.map(|found| {
                let events = found.items.iter();
                let events = events.filter(|event| EventView::is_history(event));
                events
                    .map(|event| EventView::new(event, About::App, &directory, &session.page))
                    .collect()
            }),
        },
        page: session.page,
    };
    Ok(render(status, &shown))
}

/// Counts the live tokens, up to 1,000. Returns `None` if the store fails.
async fn live_tokens(operator: &Operator, query: &TokenQuery) -> Option<Total> {
    let query = query.clone().status(TokenStatus::Live).limit(PageSize::MAX);
    let page = operator.list(&query).await.ok()?;
    Some(Total::of_page(&page))
}

fn effect_of_disabling(live: Option<Total>) -> String {
    let until = "until you enable the app again";
    match live {
        Some(Total::Exactly(0)) => {
            format!("This app has no active tokens. New ones can't be used {until}.")
        }
        Some(total) => format!("{} will stop working {until}.", total.of("active token")),
        None => format!("Requests with this app's tokens will fail {until}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_of_disabling_names_the_number_of_tokens() {
        for (live, expected) in [
            (Some(Total::Exactly(0)), "This app has no active tokens."),
            (Some(Total::Exactly(1)), "1 active token will stop working"),
            (
                Some(Total::Exactly(12)),
                "12 active tokens will stop working",
            ),
            (
                Some(Total::AtLeast(1_000)),
                "1,000+ active tokens will stop working",
            ),
            (None, "Requests with this app's tokens will fail"),
        ] {
            let effect = effect_of_disabling(live);
            assert!(effect.starts_with(expected), "{effect}");
        }
    }
}
