//! The commands on an open store.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStream, TryStreamExt};
use serde::{Serialize, de::DeserializeOwned};
use tower_api_tokens::{
    AppId, AppQuery, AppRecord, AuditEvent, AuditQuery, Clock, IssuedToken, SystemClock, TokenId,
    TokenQuery, TokenRecord, TokenRegistryStreams,
};
use tower_api_tokens_admin::view::{AppView, EventView, TokenView};
use zeroize::Zeroizing;

use super::{App, Backend, Document, Event, IssuedDocument, NewToken, Records, Token};
use crate::{failure::Failure, session::Session};

#[async_trait]
impl Backend for Session {
    fn store(&self) -> Result<&Session, Failure> {
        Ok(self)
    }

    async fn app(&self, id: &AppId) -> Result<Option<Document<App>>, Failure> {
        let app = self.registry.app(id).await?;
        app.as_ref().map(app_document).transpose()
    }

    fn apps(&self, query: AppQuery) -> Records<'_, App> {
        records(self.registry.stream_apps(query), app_document)
    }

    async fn create_app(&self, id: Option<AppId>, name: &str) -> Result<Document<App>, Failure> {
        app_document(&self.operator.create_app(id, name).await?)
    }

    async fn disable_app(&self, id: &AppId) -> Result<Document<App>, Failure> {
        app_document(&self.operator.disable_app(id).await?)
    }

    async fn enable_app(&self, id: &AppId) -> Result<Document<App>, Failure> {
        app_document(&self.operator.enable_app(id).await?)
    }

    async fn token(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        token_document(&self.tokens.get(id).await?)
    }

    fn tokens(&self, query: TokenQuery) -> Records<'_, Token> {
        records(self.tokens.stream_tokens(query), token_document)
    }

    async fn issue(&self, app: &AppId, new: NewToken<'_>) -> Result<IssuedDocument, Failure> {
        let token = tower_api_tokens::NewToken::named(new.name).scopes(new.scopes);
        issued_document(&self.operator.issue(app, new.expires.apply(token)).await?)
    }

    async fn rotate(&self, id: TokenId, overlap: Duration) -> Result<IssuedDocument, Failure> {
        issued_document(&self.operator.rotate(id, overlap).await?)
    }

    async fn rename_token(&self, id: TokenId, name: &str) -> Result<Document<Token>, Failure> {
        token_document(&self.operator.rename(id, name).await?)
    }

    async fn revoke(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        token_document(&self.operator.revoke(id).await?)
    }

    fn events(&self, query: AuditQuery) -> Records<'_, Event> {
        records(self.operator.stream_events(query), event_document)
    }
}

fn records<'a, R, T, S>(
    stream: S,
    document: fn(&R) -> Result<Document<T>, Failure>,
) -> Records<'a, T>
where
    S: TryStream<Ok = R> + Send + 'a,
    S::Error: Into<Failure>,
    R: Send + 'a,
    T: Send + 'a,
{
    let documents = stream.map_err(Into::into).into_stream();
    documents.map(move |record| document(&record?)).boxed()
}

fn app_document(app: &AppRecord) -> Result<Document<App>, Failure> {
    document(&AppView::from(app))
}

fn token_document(token: &TokenRecord) -> Result<Document<Token>, Failure> {
    document(&TokenView::at(SystemClock::default().now(), token))
}

fn event_document(event: &AuditEvent) -> Result<Document<Event>, Failure> {
    document(&EventView::from(event))
}

fn issued_document(issued: &IssuedToken) -> Result<IssuedDocument, Failure> {
    Ok(IssuedDocument {
        token: Zeroizing::new(issued.token().expose().to_owned()),
        record: token_document(issued.record())?,
    })
}

fn document<T: DeserializeOwned>(view: &impl Serialize) -> Result<Document<T>, Failure> {
    Document::of(view).map_err(|error| Failure::failed("cannot format a record").because(error))
}
