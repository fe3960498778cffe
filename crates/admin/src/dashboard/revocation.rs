//! The page that revokes all tokens of a filtered list.

use askama::Template;
use axum::{extract::Query, response::Response};
use http::StatusCode;
use serde::Deserialize;
use tower_api_tokens::{AuditAction, TokenId, TokenQuery, TokenSelection};

use super::{
    input::ConfirmInput,
    message::Message,
    page::{Page, query_string, render},
    request::{FormResult, QueryResult},
    session::Session,
    text::grouped,
    token_filter::Filter,
    view::{Field, Notice, Tone},
};

#[derive(Template)]
#[template(path = "revocation.html")]
struct RevocationPage {
    page: Page,
    notice: Option<Notice>,
    /// What the filters select, besides the name and the app.
    filters: Vec<String>,
    tokens: String,
    /// The full paths of the list and of the form.
    list: String,
    action: String,
    newest: TokenId,
    count: usize,
    confirm: ConfirmInput,
}

/// The form that confirms the revocation.
#[derive(Debug, Deserialize)]
pub(super) struct Form {
    newest: String,
    count: String,
    #[serde(default)]
    confirm: String,
}

pub(super) async fn show(
    session: Session,
    filter: QueryResult<Filter>,
) -> Result<Response, Message> {
    let allowed = session.operator.check_action(AuditAction::RevokeToken);
    session.or_error_page(allowed)?;
    let (filter, query) = read(&session, filter).await?;
    let selection = select(&session, &query).await?;
    Ok(page(session, &filter, &selection, None, Field::default()))
}

pub(super) async fn revoke(
    session: Session,
    filter: QueryResult<Filter>,
    form: FormResult<Form>,
) -> Result<Response, Message> {
    let (filter, query) = read(&session, filter).await?;
    let form = session.read_form(form)?;
    let bad = || Message::bad_form(&session.page, StatusCode::UNPROCESSABLE_ENTITY);
    let newest = form.newest.parse().map_err(|_| bad())?;
    let count = form.count.parse().map_err(|_| bad())?;
    let selection = TokenSelection::new(query, newest, count);
    if !is_number(&form.confirm, count) {
        let mut confirm = Field::with_value(form.confirm);
        confirm.set_error("That doesn't match the number of tokens.");
        let detail = "To confirm, type the number of tokens below.";
        let notice = Notice::new(Tone::Bad, "No token was revoked.", detail);
        return Ok(page(session, &filter, &selection, Some(notice), confirm));
    }
    let revoked = session.operator.revoke_selected(&selection).await;
    session.or_error_page(revoked)?;
    let fields = filter.fields_with("status", "revoked");
    let mut fields: Vec<_> = fields
        .into_iter()
        .filter(|(name, _)| *name != "sort")
        .collect();
    fields.push(("done", "revoked"));
    Ok(session.page.go_to(&format!("/{}", query_string(&fields))))
}

/// Reads the filter. All tokens at once are not revoked from here.
async fn read(
    session: &Session,
    filter: QueryResult<Filter>,
) -> Result<(Filter, TokenQuery), Message> {
    let invalid = || Message::invalid_filter(&session.page);
    let Query(filter) = filter.map_err(|_| invalid())?;
    let query = filter.query(session.operator.formats());
    let query = query.map_err(|_| invalid())?;
    if let Some(app) = &query.app {
        session.or_error_page(session.operator.get_app(app).await)?;
    }
    match Filter::has_condition(&query) && !filter.is_paged() {
        true => Ok((filter, query)),
        false => Err(invalid()),
    }
}

async fn select(session: &Session, query: &TokenQuery) -> Result<TokenSelection, Message> {
    let selection = session.operator.select_for_revocation(query).await;
    let selection = session.or_error_page(selection)?;
    selection.ok_or_else(|| Message::nothing_to_revoke(&session.page))
}

fn page(
    session: Session,
    filter: &Filter,
    selection: &TokenSelection,
    notice: Option<Notice>,
    confirm: Field,
) -> Response {
    let Session { page, .. } = session;
    let fields = query_string(&filter.fields());
    let count = grouped(u64::try_from(selection.count).unwrap_or(u64::MAX));
    let tokens = match selection.count {
        1 => "1 token".to_owned(),
        _ => format!("{count} tokens"),
    };
    let status = match notice {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let shown = RevocationPage {
        notice,
        filters: filter.labels().collect(),
        list: format!("{}{fields}", page.home()),
        action: format!("{}{fields}", page.link("/revoke")),
        newest: selection.newest,
        count: selection.count,
        confirm: ConfirmInput::new(
            ["confirm", "confirm-error"],
            &count,
            confirm,
            "Revoke tokens",
        ),
        tokens,
        page,
    };
    render(status, &shown)
}

/// Returns whether the text is the number, with or without separators.
fn is_number(text: &str, number: usize) -> bool {
    let digits: String = text.chars().filter(|c| !matches!(c, ',' | ' ')).collect();
    digits == number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_typed_with_or_without_separators() {
        for text in ["1234", "1,234", " 1 234 "] {
            assert!(is_number(text, 1_234), "{text}");
        }
        for text in ["", "123", "12345", "1.234", "all"] {
            assert!(!is_number(text, 1_234), "{text}");
        }
    }
}
