//! The list of tokens.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use http::StatusCode;
use jiff::Timestamp;
use tower_api_tokens::{
    AuditAction, TokenCursor, TokenFormats, TokenQuery, TokenRecord, TokenStatus,
};

use super::{
    app_choice::{AppChoice, AppFilter, own_app},
    csv::{self, File},
    curl::Snippet,
    filter_form::{FilterForm, Heading},
    message::Message,
    page::{Page, query_string, render},
    pager::{Listing, Pager},
    request::{Done, QueryResult, query_or_default},
    session::Session,
    settings::Settings,
    token_filter::{Filter, InvalidFilter, order_label},
    total::{COUNTED_AT_ONCE, Total},
    view::{Notice, TokenView, Tone},
};
use crate::operations::Operator;

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    page: Page,
    notice: Option<Notice>,
    /// Whether to show the first steps: no tokens exist besides those of the operator's own app.
    onboarding: bool,
    /// Whether there are no apps besides the operator's own.
    has_no_apps: bool,
    curl: Option<Snippet>,
    filter: Filter,
    form: FilterForm,
    filter_is_valid: bool,
    /// What the tokens are sorted by, whether revoked ones are among them, and the headings of the columns that they can be sorted by.
    order: &'static str,
    includes_revoked: bool,
    headings: [Heading; 3],
    tokens: Vec<TokenView>,
    pager: Pager,
    /// The path of the page that revokes all tokens of the list, if it is filtered.
    revocation: Option<String>,
}

pub(super) async fn show(
    State(settings): State<Settings>,
    session: Session,
    filter: QueryResult<Filter>,
    done: QueryResult<Done>,
) -> Result<Response, Message> {
    let revoked = query_or_default(done).done == "revoked";
    let Ok(Query(mut filter)) = filter else {
        return Err(Message::invalid_filter(&session.page));
    };
    let apps = AppChoice::load(&session.operator, &mut filter.app, &filter.find).await;
    let apps = session.or_error_page(apps)?;
    let query = filter
        .query(session.operator.formats())
        .and_then(|query| match &query.app {
            Some(app) if !apps.contains(app.as_str()) => Err(InvalidFilter::unknown_app()),
            _ => Ok(query),
        });
    let found = match &query {
        Ok(query) => session.or_error_page(session.operator.list(query).await)?,
        Err(_) => tower_api_tokens::Page::empty(),
    };
    let counted = match &query {
        Ok(query) if filter.place().counts() => count(&session.operator, query).await,
        _ => None,
    };
    let own_app = own_app(&session.operator);
    let all_own = found
        .items
        .iter()
        .all(|token| Some(token.app.id) == own_app);
    let (query, invalid) = match query {
        Ok(query) => (query, None),
        Err(invalid) => (TokenQuery::default(), Some(invalid)),
    };
    let Session { page, operator } = session;
    let is_revocable = page.allows(AuditAction::RevokeToken)
        && invalid.is_none()
        && Filter::has_condition(&query)
        && !found.items.is_empty()
        && query.status != Some(TokenStatus::Revoked)
        && query.status != Some(TokenStatus::Expired);
    let shown = TokensPage {
        revocation: is_revocable
            .then(|| format!("{}{}", page.link("/revoke"), query_string(&filter.fields()))),
        // Operators that sign in with tokens have their own before any client has one.
        onboarding: all_own
            && found.next.is_none()
            && !filter.is_set()
            && !filter.is_paged()
            && page.may_issue(),
        curl: settings
            .service_url
            .as_deref()
            .map(|url| Snippet::with_variable("first-call", url)),
        pager: Listing {
            path: page.home(),
            export: page.link("/tokens.csv"),
            filter: &filter.fields(),
            place: filter.place(),
            noun: "token",
        }
        .pager(
            found.next.map(|after| after.to_string()),
            Total::of_page(&found),
            counted,
        ),
        tokens: found
            .items
            .iter()
            .map(|token| TokenView::new(token, page.now).with_format(operator.formats(), token))
            .collect(),
        has_no_apps: apps.is_empty(),
        order: order_label(query.order()),
        includes_revoked: query.order().includes_revoked(),
        headings: Heading::all(&page, &filter, &query),
        form: FilterForm::new(
            &page,
            &filter,
            AppFilter::new(apps, &filter.app),
            operator.formats(),
            invalid.is_none(),
        ),
        page,
        filter,
        filter_is_valid: invalid.is_none(),
        notice: match &invalid {
            Some(invalid) => Some(Notice::new(Tone::Bad, invalid.message.as_str(), "")),
            None if revoked => Some(Notice::new(
                Tone::Good,
                "Tokens revoked.",
                "Requests with them fail now. Other servers follow within 5 seconds (default).",
            )),
            None => None,
        },
    };
    Ok(render(
        invalid.map_or(StatusCode::OK, |invalid| invalid.status),
        &shown,
    ))
}

/// Returns the list as CSV.
pub(super) async fn export(
    session: Session,
    filter: QueryResult<Filter>,
) -> Result<Response, Message> {
    let Ok(Query(filter)) = filter else {
        return Err(Message::invalid_filter(&session.page));
    };
    let query = filter.query(session.operator.formats());
    let query = query.map_err(|_| Message::invalid_filter(&session.page))?;
    if let Some(app) = &query.app {
        session.or_error_page(session.operator.get_app(app).await)?;
    }
    let file = File {
        name: "tokens.csv",
        columns: COLUMNS,
    };
    let (operator, now) = (session.operator.clone(), session.page.now);
    let query = query.limit(csv::READ_AT_ONCE);
    let download = file.download(move |after: Option<TokenCursor>| {
        let (operator, query) = (operator.clone(), query.clone());
        async move {
            let page = operator.list(&query.after(after)).await?;
            let formats = operator.formats();
            let rows = page.items.iter().map(|token| row(token, formats, now));
            Ok(csv::Rows::new(rows.collect(), page.next))
        }
    });
    session.or_error_page(download.await)
}

async fn count(operator: &Operator, query: &TokenQuery) -> Option<Total> {
    let query = query.clone().limit(COUNTED_AT_ONCE);
    let counted = Total::count(|after: Option<TokenCursor>| {
        let query = query.clone().after(after);
        async move {
            let page = operator.list(&query).await?;
            Ok((page.items.len(), page.next))
        }
    });
    counted.await
}

/// The columns of the CSV file.
const COLUMNS: &[&str] = &[
    "id",
    "name",
    "masked",
    "format",
    "app_id",
    "app_name",
    "scopes",
    "status",
    "created_at",
    "created_by",
    "expires_at",
    "revoked_at",
    "successor_id",
    "last_used_at",
    "uses",
];

fn row(token: &TokenRecord, formats: &TokenFormats, now: Timestamp) -> Vec<String> {
    vec![
        token.id.to_string(),
        token.name.clone(),
        token.mask.to_string(),
        formats.label_of(&token.mask).unwrap_or_default().to_owned(),
        token.app.id.to_string(),
        token.app.name.clone(),
        token.scopes.as_str().to_owned(),
        token.status(now).to_string(),
        token.created_at.to_string(),
        token.created_by.clone().unwrap_or_default(),
        csv::optional(token.expires_at),
        csv::optional(token.revoked_at),
        csv::optional(token.successor),
        csv::optional(token.last_used_at),
        token.uses.to_string(),
    ]
}
