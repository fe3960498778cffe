//! The list of audit events.

use askama::Template;
use axum::{extract::Query, response::Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tower_api_tokens::{AppId, AuditAction, AuditEvent, AuditEventId, AuditQuery, TokenId};

use super::{
    app_choice::{AppChoice, AppFilter},
    csv::{self, File},
    directory::Directory,
    event::{About, EventView, action_label},
    message::Message,
    page::{Page, render},
    pager::{Listing, Pager, Place},
    request::QueryResult,
    session::Session,
    text::{Moment, grouped},
    total::{COUNTED_AT_ONCE, Total},
    view::{Identifier, Notice, Tone},
};
use crate::operations::{OperationError, Operator};

/// How many events a page shows.
const PAGE_SIZE: usize = 50;

/// How many events are read at a time to find those of an action. The stores cannot select them.
const SEARCHED_AT_ONCE: usize = 500;

/// How many times that many events are read for one page.
const MAX_SEARCHES: usize = 4;

#[derive(Template)]
#[template(path = "activity.html")]
struct ActivityPage {
    page: Page,
    notice: Option<Notice>,
    filter: Filter,
    apps: AppFilter,
    /// The app of the filter, if it is not one of the choices.
    other_app: Option<Identifier>,
    token: Option<Identifier>,
    /// The actions to choose from, with their labels.
    actions: Vec<(&'static str, String)>,
    events: Vec<EventView>,
    pager: Pager,
}

/// The filter, as in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    app: String,
    /// The search term for an app.
    find: String,
    token: String,
    action: String,
    after: String,
    back: String,
    count: String,
}

/// What a filter selects.
#[derive(Clone)]
struct Selection {
    query: AuditQuery,
    action: Option<AuditAction>,
}

impl Filter {
    fn is_set(&self) -> bool {
        let fields = [&self.app, &self.find, &self.token, &self.action];
        fields.iter().any(|field| !field.is_empty())
    }

    /// Returns `None` if a value is not one that a link or a form of the dashboard creates.
    fn selection(&self) -> Option<Selection> {
        let mut query = AuditQuery::default();
        if !self.app.trim().is_empty() {
            query = query.app(self.app.trim().parse::<AppId>().ok()?);
        }
        if !self.token.trim().is_empty() {
            query = query.token(self.token.trim().parse::<TokenId>().ok()?);
        }
        if !self.after.is_empty() {
            query = query.after(self.after.parse::<AuditEventId>().ok()?);
        }
        let action = match self.action.as_str() {
            "" => None,
            action => Some(action.parse().ok()?),
        };
        Some(Selection { query, action })
    }

    fn fields(&self) -> [(&'static str, &str); 4] {
        [
            ("app", &self.app),
            ("find", if self.app.is_empty() { &self.find } else { "" }),
            ("token", &self.token),
            ("action", &self.action),
        ]
    }

    fn place(&self) -> Place<'_> {
        Place {
            after: &self.after,
            back: &self.back,
            count: &self.count,
        }
    }
}

impl Selection {
    fn selects(&self, event: &AuditEvent) -> bool {
        self.action.is_none_or(|action| action == event.action)
    }

    /// Reads the events that it selects in the page of `limit` events after a cursor.
    async fn read(
        &self,
        operator: &Operator,
        after: Option<AuditEventId>,
        limit: usize,
    ) -> Result<tower_api_tokens::Page<AuditEvent, AuditEventId>, OperationError> {
        let query = self.query.clone().after(after).limit(limit);
        let mut page = operator.events(&query).await?;
        page.items.retain(|event| self.selects(event));
        Ok(page)
    }

    async fn count(&self, operator: &Operator) -> Option<Total> {
        let counted = Total::count(|after| async move {
            let page = self.read(operator, after, COUNTED_AT_ONCE).await?;
            Ok((page.items.len(), page.next))
        });
        counted.await
    }
}

/// The events of a page.
struct Found {
    page: tower_api_tokens::Page<AuditEvent, AuditEventId>,
    /// The time of the last event that was read, if the search ended before the page was full.
    searched_until: Option<Timestamp>,
}

impl Found {
    async fn read(operator: &Operator, selection: &Selection) -> Result<Self, OperationError> {
        let mut after = selection.query.after;
        if selection.action.is_none() {
            return Ok(Self {
                page: selection.read(operator, after, PAGE_SIZE).await?,
                searched_until: None,
            });
        }
        let (mut events, mut until) = (Vec::new(), None);
        for _ in 0..MAX_SEARCHES {
            let query = selection.query.clone().after(after).limit(SEARCHED_AT_ONCE);
            let found = operator.events(&query).await?;
            until = found.items.last().map(|event| event.at).or(until);
            let selected = found.items.into_iter().filter(|e| selection.selects(e));
            events.extend(selected);
            after = found.next;
            if events.len() > PAGE_SIZE || after.is_none() {
                break;
            }
        }
        let is_full = events.len() > PAGE_SIZE;
        if is_full {
            events.truncate(PAGE_SIZE);
            after = events.last().map(|event| event.id);
        }
        Ok(Self {
            searched_until: until.filter(|_| !is_full && after.is_some()),
            page: tower_api_tokens::Page::new(events, after),
        })
    }

    /// Returns a notice on how far the search went, if it was cut off.
    fn notice(&self) -> Option<Notice> {
        let until = Moment::exact(self.searched_until?);
        let searched = u64::try_from(MAX_SEARCHES * SEARCHED_AT_ONCE).unwrap_or(u64::MAX);
        Some(Notice::new(
            Tone::Plain,
            format!("Searched {} events, back to {until}.", grouped(searched)),
            "To find older events, choose “Search older events” below.",
        ))
    }
}

pub(super) async fn show(
    session: Session,
    filter: QueryResult<Filter>,
) -> Result<Response, Message> {
    let Ok(Query(mut filter)) = filter else {
        return Err(Message::invalid_filter(&session.page));
    };
    let apps = AppChoice::load(&session.operator, &mut filter.app, &filter.find).await;
    let apps = session.or_error_page(apps)?;
    let selection = filter.selection();
    let selection = selection.ok_or_else(|| Message::invalid_filter(&session.page))?;
    let found = Found::read(&session.operator, &selection).await;
    let found = session.or_error_page(found)?;
    let counted = match filter.place().counts() {
        true => selection.count(&session.operator).await,
        false => None,
    };
    let mut directory = Directory::default();
    let events = found.page.items.iter();
    directory
        .look_up(&session.operator, events.clone(), None)
        .await;
    let page = session.page;
    let about = match selection.query.token {
        Some(_) => About::Token,
        None => About::Everything,
    };
    let pager = Listing {
        path: &page.link("/activity"),
        export: page.link("/activity.csv"),
        filter: &filter.fields(),
        place: filter.place(),
        noun: "event",
    };
    let next = found.page.next.map(|after| after.to_string());
    let mut pager = pager.pager(next, Total::of_page(&found.page), counted);
    if found.searched_until.is_some() {
        pager = pager.next_label("Search older events");
    }
    let app = selection.query.app;
    let other_app = app.filter(|app| !apps.contains(app.as_str()));
    let apps = AppFilter::new(apps, &filter.app);
    let shown = ActivityPage {
        notice: found.notice(),
        apps: match other_app {
            Some(_) => apps.with_chosen(),
            None => apps,
        },
        other_app: other_app.map(|app| Identifier::new(app, "app ID")),
        token: selection
            .query
            .token
            .map(|token| Identifier::new(token, "token ID")),
        actions: AuditAction::ALL
            .iter()
            .map(|action| (action.as_str(), action_label(*action)))
            .collect(),
        events: events
            .map(|event| EventView::new(event, about, &directory, &page))
            .collect(),
        pager,
        filter,
        page,
    };
    Ok(render(StatusCode::OK, &shown))
}

/// Returns the list as CSV.
pub(super) async fn export(
    session: Session,
    filter: QueryResult<Filter>,
) -> Result<Response, Message> {
    let selection = filter.ok().and_then(|Query(filter)| filter.selection());
    let selection = selection.ok_or_else(|| Message::invalid_filter(&session.page))?;
    let file = File {
        name: "activity.csv",
        columns: &[
            "id", "at", "actor", "action", "app_id", "token_id", "outcome",
        ],
    };
    let operator = session.operator.clone();
    let download = file.download(move |after| {
        let (operator, selection) = (operator.clone(), selection.clone());
        async move {
            let page = selection.read(&operator, after, csv::READ_AT_ONCE).await?;
            Ok(csv::Rows::new(
                page.items.iter().map(row).collect(),
                page.next,
            ))
        }
    });
    session.or_error_page(download.await)
}

fn row(event: &AuditEvent) -> Vec<String> {
    vec![
        event.id.to_string(),
        event.at.to_string(),
        event.actor.clone(),
        event.action.to_string(),
        csv::optional(event.app),
        csv::optional(event.token),
        event.outcome.to_string(),
    ]
}
