//! The commands through the management API of a server.

mod address;
mod connection;
mod credential;
mod own;
mod parameters;
mod problem;

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tower_api_tokens::{
    AppEdit, AppId, AppQuery, AuditQuery, Clock, EventPosition, EventQuery, EventStart,
    FleetSettings, Metadata, Networks, NodeId, PageSize, Policy, RecordVersion, Revision,
    SystemClock, SystemEntropy, TokenEdit, TokenId, normalize_name,
};
use tower_api_tokens_admin::view::PolicyView;

use self::{
    address::Address,
    connection::{Connection, Request},
    parameters::{NoName, name_filter, of_selection, of_tokens, with_query},
    problem::Refused,
};
use super::{
    App, Backend, Document, Event, EventsInOrder, Fleet, FoundToken, IssuedDocument, NewToken,
    Node, Records, Report, Revocation, RevokedEverywhere, Rules, Selection, Token, TokenFilter,
    is_about_format, is_other_format,
};
use crate::{failure::Failure, session::Session};

/// The path of the revocation of many tokens.
const REVOCATION: &str = "/tokens/revocation";

/// How often a request that creates a token is sent, if it is unknown whether it was processed.
const ATTEMPTS: usize = 3;

/// The pause before a request is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// The management API at a URL.
pub(crate) struct Server {
    connection: Connection,
    /// The revision in the latest response to a change.
    latest: Mutex<Option<Revision>>,
}

impl Server {
    /// Prepares the requests. The token is in a file or in the environment: other users can see
    /// arguments.
    pub(crate) fn new(url: &str, token_file: Option<&Path>) -> Result<Self, Failure> {
        let address: Address = url.parse().map_err(Failure::usage)?;
        let connection = Connection::new(address, credential::read(token_file)?)?;
        Ok(Self {
            connection,
            latest: Mutex::default(),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        self.send(&Request::new(Method::GET, path)).await
    }

    /// Sends a request that has the same effect if it is sent again.
    async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        self.send(&Request::new(Method::POST, path)).await
    }

    async fn send<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Refused> {
        let response = self.connection.send(request).await?;
        if let Some(revision) = revision_of(&response) {
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(revision);
        }
        problem::read(response, self.connection.address())
    }

    /// Sends a request that creates a token, and retries it if no response arrives. The server recognizes its key, and
    /// creates only one token.
    async fn create(&self, path: &str, body: &Value) -> Result<IssuedDocument, Refused> {
        let request = Request::new(Method::POST, path).body(body).key(new_key()?);
        let mut attempt = 1;
        loop {
            match self.send(&request).await {
                Err(refused) if refused.is_uncertain() && attempt < ATTEMPTS => {
                    tokio::time::sleep(PAUSE).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    fn list<T>(&self, path: &'static str, filters: Vec<(&'static str, String)>) -> Records<'_, T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let pages = stream::try_unfold(Some(None), move |position: Option<Option<String>>| {
            let filters = filters.clone();
            async move {
                let Some(cursor) = position else {
                    return Ok(None);
                };
                let cursor = cursor.map(|cursor| ("cursor", cursor));
                let target = with_query(path, filters.into_iter().chain(cursor));
                let page = self.get(&target).await;
                let page: Page<T> = page.map_err(usage_if_about_format)?;
                let items = stream::iter(page.items.into_iter().map(Ok));
                Ok::<_, Failure>(Some((items, page.next.map(Some))))
            }
        });
        pages.try_flatten().boxed()
    }
}

/// Returns the revision that a response to a change names.
fn revision_of(response: &http::Response<Bytes>) -> Option<Revision> {
    let text = response.headers().get("revision")?.to_str().ok()?;
    text.parse().ok()
}

/// A page of a listing.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    items: Vec<Document<T>>,
    next: Option<String>,
}

/// The result of a search for a token.
#[derive(Deserialize)]
struct Found {
    record: Option<Document<Token>>,
}

/// A page of events in their order.
#[derive(Deserialize)]
struct EventPage {
    items: Vec<Document<Event>>,
    next: EventPosition,
}

#[async_trait]
impl Backend for Server {
    fn latest_revision(&self) -> Option<Revision> {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Result<&Session, Failure> {
        Err(needs_store())
    }

    async fn app(&self, id: &AppId) -> Result<Option<Document<App>>, Failure> {
        match self.get(&app_path(id)).await {
            Err(refused) if refused.is_unknown_app() => Ok(None),
            answer => Ok(Some(answer?)),
        }
    }

    fn apps(&self, query: AppQuery) -> Records<'_, App> {
        let mut filters = vec![("limit", query.limit.get().to_string())];
        match name_filter(query.name) {
            Ok(part) => filters.extend(part.map(|part| ("name", part))),
            Err(NoName) => return stream::empty().boxed(),
        }
        self.list("/apps", filters)
    }

    async fn create_app(
        &self,
        id: Option<AppId>,
        name: &str,
        metadata: Metadata,
    ) -> Result<Document<App>, Failure> {
        let mut body = json!({ "name": valid_name(name)? });
        if let Some(id) = id {
            body["id"] = id.as_str().into();
        }
        if !metadata.is_empty() {
            body["metadata"] = value(&metadata)?;
        }
        let request = Request::new(Method::POST, "/apps").body(&body);
        Ok(self.send(&request).await?)
    }

    async fn edit_app(
        &self,
        id: &AppId,
        version: Option<RecordVersion>,
        edit: AppEdit,
    ) -> Result<Document<App>, Failure> {
        let mut body = json!({});
        if let Some(name) = &edit.name {
            body["name"] = valid_name(name)?.into();
        }
        if !edit.metadata.is_empty() {
            body["metadata"] = value(&edit.metadata)?;
        }
        let request = Request::new(Method::PATCH, &app_path(id)).body(&body);
        Ok(self.send(&request.if_match(version)).await?)
    }

    async fn delete_app(&self, id: &AppId) -> Result<(), Failure> {
        Ok(self
            .send(&Request::new(Method::DELETE, &app_path(id)))
            .await?)
    }

    async fn disable_app(&self, id: &AppId) -> Result<Document<App>, Failure> {
        Ok(self.post(&format!("{}/disable", app_path(id))).await?)
    }

    async fn enable_app(&self, id: &AppId) -> Result<Document<App>, Failure> {
        Ok(self.post(&format!("{}/enable", app_path(id))).await?)
    }

    async fn token(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        Ok(self.get(&format!("/tokens/{id}")).await?)
    }

    async fn find_token(&self, text: &str) -> Result<FoundToken, Failure> {
        let body = json!({ "token": text });
        let request = Request::new(Method::POST, "/tokens/search").body(&body);
        match self.send::<Found>(&request).await {
            Ok(found) => Ok(found.record.into()),
            Err(refused) if refused.kind().is_some_and(is_other_format) => {
                Ok(FoundToken::OtherFormat(refused.into()))
            }
            Err(refused) => Err(refused.into()),
        }
    }

    fn tokens(&self, filter: TokenFilter) -> Result<Records<'_, Token>, Failure> {
        match of_tokens(filter) {
            Ok(parameters) => Ok(self.list("/tokens", parameters)),
            Err(NoName) => Ok(stream::empty().boxed()),
        }
    }

    async fn issue(&self, app: &AppId, new: NewToken<'_>) -> Result<IssuedDocument, Failure> {
        let mut body = json!({
            "app_id": app.as_str(),
            "name": valid_name(new.name)?,
            "scopes": new.scopes.iter().collect::<Vec<_>>(),
        });
        if let Some(label) = new.format {
            body["format"] = label.into();
        }
        if let Some(expires) = new.expires {
            body["expires_at"] = value(&expires.instant(SystemClock::default().now())?)?;
        }
        if let Some(networks) = &new.networks {
            body["networks"] = value(&networks.as_slice())?;
        }
        if let Some(at) = new.not_before {
            body["not_before"] = value(&at)?;
        }
        if !new.metadata.is_empty() {
            body["metadata"] = value(&new.metadata)?;
        }
        loop {
            match self.create("/tokens", &body).await {
                // The text of that token was lost with the response.
                Err(refused) if refused.lost().is_some() => {
                    if let Some(id) = refused.lost() {
                        self.revoke(id)
                            .await
                            .map_err(|failure| still_lost(id, failure))?;
                    }
                }
                answer => return answer.map_err(usage_if_about_format),
            }
        }
    }

    async fn rotate(&self, id: TokenId, overlap: Duration) -> Result<IssuedDocument, Failure> {
        let (mut id, mut overlap) = (id, overlap);
        loop {
            // The API counts whole seconds. A longer overlap interrupts no client.
            let seconds = overlap.as_secs() + u64::from(overlap.subsec_nanos() > 0);
            let body = json!({ "overlap_seconds": seconds });
            match self.create(&format!("/tokens/{id}/rotate"), &body).await {
                // The text of that successor was lost with the response, so it is replaced
                // immediately. It is not revoked first, because a revoked token cannot be rotated
                // and its predecessor can be rotated only once.
                Err(refused) if refused.lost().is_some() => {
                    id = refused.lost().unwrap_or(id);
                    overlap = Duration::ZERO;
                }
                answer => return Ok(answer?),
            }
        }
    }

    async fn rename_token(&self, id: TokenId, name: &str) -> Result<Document<Token>, Failure> {
        let body = json!({ "name": valid_name(name)? });
        let request = Request::new(Method::PATCH, &format!("/tokens/{id}")).body(&body);
        Ok(self.send(&request).await?)
    }

    async fn edit_token(
        &self,
        id: TokenId,
        version: Option<RecordVersion>,
        edit: TokenEdit,
    ) -> Result<Document<Token>, Failure> {
        let mut body = json!({});
        if let Some(name) = &edit.name {
            body["name"] = valid_name(name)?.into();
        }
        if let Some(scopes) = &edit.scopes {
            body["scopes"] = scopes.iter().collect();
        }
        if let Some(at) = &edit.expires_at {
            body["expires_at"] = value(at)?;
        }
        if let Some(networks) = &edit.networks {
            body["networks"] = value(&networks.as_ref().map(Networks::as_slice))?;
        }
        if !edit.metadata.is_empty() {
            body["metadata"] = value(&edit.metadata)?;
        }
        let request = Request::new(Method::PATCH, &format!("/tokens/{id}")).body(&body);
        Ok(self.send(&request.if_match(version)).await?)
    }

    async fn suspend(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        Ok(self.post(&format!("/tokens/{id}/suspend")).await?)
    }

    async fn resume(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        Ok(self.post(&format!("/tokens/{id}/resume")).await?)
    }

    async fn revoke(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        Ok(self.post(&format!("/tokens/{id}/revoke")).await?)
    }

    fn events(&self, query: AuditQuery) -> Records<'_, Event> {
        let mut filters = vec![("limit", query.limit.get().to_string())];
        filters.extend(query.app.map(|app| ("app_id", app.to_string())));
        filters.extend(query.token.map(|token| ("token_id", token.to_string())));
        self.list("/events", filters)
    }

    async fn read_events(
        &self,
        query: &EventQuery,
        wait: Duration,
    ) -> Result<EventsInOrder, Failure> {
        let after = match query.start {
            EventStart::Oldest => "oldest".to_owned(),
            EventStart::After(position) => position.to_string(),
            _ => "latest".to_owned(),
        };
        let parameters = [
            ("after", after),
            ("wait", wait.as_secs().to_string()),
            ("limit", query.limit.get().to_string()),
        ];
        let target = with_query("/events", parameters.into_iter());
        let page: EventPage = self.get(&target).await?;
        Ok(EventsInOrder {
            events: page.items,
            position: page.next,
        })
    }

    async fn report(&self, app: Option<AppId>) -> Result<Document<Report>, Failure> {
        let app = app.map(|app| ("app_id", app.to_string()));
        Ok(self.get(&with_query("/report", app.into_iter())).await?)
    }

    async fn select(&self, filter: &TokenFilter) -> Result<Selection, Failure> {
        let Ok(parameters) = of_selection(filter.clone()) else {
            return Ok(Selection {
                count: 0,
                newest: None,
            });
        };
        let target = with_query(REVOCATION, parameters.into_iter());
        self.get(&target).await.map_err(usage_if_about_format)
    }

    async fn revoke_selected(
        &self,
        filter: TokenFilter,
        newest: TokenId,
        count: usize,
    ) -> Result<Document<Revocation>, Failure> {
        let parameters = of_selection(filter).unwrap_or_default();
        let target = with_query(REVOCATION, parameters.into_iter());
        let body = json!({ "count": count, "newest": newest.to_string() });
        let request = Request::new(Method::POST, &target).body(&body);
        self.send(&request).await.map_err(usage_if_about_format)
    }

    async fn revoke_many(&self, ids: &[TokenId]) -> Result<Document<Revocation>, Failure> {
        let ids: Vec<_> = ids.iter().map(TokenId::to_string).collect();
        let body = json!({ "token_ids": ids });
        let request = Request::new(Method::POST, "/tokens/revoke").body(&body);
        Ok(self.send(&request).await?)
    }

    async fn revoke_everywhere(
        &self,
        id: TokenId,
        wait: Duration,
    ) -> Result<Document<RevokedEverywhere>, Failure> {
        let body = json!({ "wait_seconds": wait.as_secs() });
        let path = format!("/tokens/{id}/revoke/everywhere");
        Ok(self
            .send(&Request::new(Method::POST, &path).body(&body))
            .await?)
    }

    fn nodes(&self) -> Records<'_, Node> {
        self.list("/nodes", vec![("limit", PageSize::MAX.to_string())])
    }

    async fn remove_node(&self, id: NodeId) -> Result<(), Failure> {
        let request = Request::new(Method::DELETE, &format!("/nodes/{id}"));
        Ok(self.send(&request).await?)
    }

    async fn fleet(&self) -> Result<Document<Fleet>, Failure> {
        Ok(self.get("/fleet").await?)
    }

    async fn set_fleet(&self, settings: FleetSettings) -> Result<Document<Fleet>, Failure> {
        let body = json!({
            "max_staleness_seconds": settings.max_staleness.map(|bound| bound.as_secs_f64()),
            "all_registered": settings.all_registered,
        });
        Ok(self
            .send(&Request::new(Method::PUT, "/fleet").body(&body))
            .await?)
    }

    async fn revoke_own(&self) -> Result<(), Failure> {
        own::revoke(&self.connection).await
    }

    async fn policy(&self) -> Result<Document<Rules>, Failure> {
        Ok(self.get("/policy").await?)
    }

    async fn set_policy(
        &self,
        version: Option<RecordVersion>,
        policy: Policy,
    ) -> Result<Document<Rules>, Failure> {
        let body = value(&PolicyView::from(&policy))?;
        let request = Request::new(Method::PUT, "/policy").body(&body);
        Ok(self.send(&request.if_match(version)).await?)
    }
}

/// The failure of a command that the management API does not offer.
pub(crate) fn needs_store() -> Failure {
    Failure::usage(
        "this command needs the store, and the management API does not offer it: run it where the database can be reached, with `--store URL` instead of `--server` or API_TOKENS_SERVER",
    )
}

/// Marks that the argument for a format is invalid, if that is why the request failed.
fn usage_if_about_format(refused: Refused) -> Failure {
    match refused.kind().is_some_and(is_about_format) {
        true => Failure::from(refused).of_usage(),
        false => refused.into(),
    }
}

/// Adds that a token whose text was lost may still be live.
fn still_lost(id: TokenId, failure: Failure) -> Failure {
    failure.advising(format!(
        "Token {id} was issued, but its text was lost. Revoke it with `api-tokens token revoke {id}`, then issue another token."
    ))
}

/// Checks a name as the store does, so that the message is the same.
fn valid_name(name: &str) -> Result<String, Failure> {
    normalize_name(name).map_err(|error| Failure::usage(error.to_string()))
}

fn value(part: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(part)
        .map_err(|error| Failure::failed("cannot create the request").because(error))
}

fn new_key() -> Result<String, Failure> {
    let key = TokenId::generate(SystemClock::default().now(), &SystemEntropy::default());
    key.map(|key| key.to_string())
        .map_err(|error| Failure::failed(error.to_string()))
}

fn app_path(id: &AppId) -> String {
    // An identifier consists of characters that need no escape.
    format!("/apps/{id}")
}
