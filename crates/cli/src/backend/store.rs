//! The commands on an open store.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStream, TryStreamExt};
use serde::{Serialize, de::DeserializeOwned};
use tower_api_tokens::{
    AppId, AppQuery, AppRecord, AuditEvent, AuditQuery, Clock, IssuedToken, NewApp, SystemClock,
    TokenId, TokenQuery, TokenRecord, TokenRegistryStreams,
};
use tower_api_tokens_admin::view::{AppView, EventView, TokenView};
use zeroize::Zeroizing;

use super::{
    App, Backend, Document, Event, IssuedDocument, NewToken, Records, Token, is_about_format,
};
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
        app_document(&self.operator.create_app(NewApp::named(name).id(id)).await?)
    }

    async fn disable_app(&self, id: &AppId) -> Result<Document<App>, Failure> {
        app_document(&self.operator.disable_app(id).await?)
    }

    async fn enable_app(&self, id: &AppId) -> Result<Document<App>, Failure> {
        app_document(&self.operator.enable_app(id).await?)
    }

    async fn token(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        self.document(&self.tokens.get(id).await?)
    }

    fn tokens(&self, query: TokenQuery) -> Records<'_, Token> {
        records(self.tokens.stream_tokens(query), |token| {
            self.document(token)
        })
    }

    async fn issue(&self, app: &AppId, new: NewToken<'_>) -> Result<IssuedDocument, Failure> {
        let token = tower_api_tokens::NewToken::named(new.name).scopes(new.scopes);
        let mut token = new.expires.apply(token);
        if let Some(label) = new.format {
            token = token.format(label);
        }
        match self.operator.issue(app, token).await {
            Ok(issued) => self.issued(&issued),
            Err(error) if is_about_format(error.kind()) => Err(Failure::from(error).of_usage()),
            Err(error) => Err(error.into()),
        }
    }

    async fn rotate(&self, id: TokenId, overlap: Duration) -> Result<IssuedDocument, Failure> {
        self.issued(&self.operator.rotate(id, overlap).await?)
    }

    async fn rename_token(&self, id: TokenId, name: &str) -> Result<Document<Token>, Failure> {
        self.document(&self.operator.rename(id, name).await?)
    }

    async fn revoke(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        self.document(&self.operator.revoke(id).await?)
    }

    fn events(&self, query: AuditQuery) -> Records<'_, Event> {
        records(self.operator.stream_events(query), event_document)
    }
}

impl Session {
    fn document(&self, token: &TokenRecord) -> Result<Document<Token>, Failure> {
        let label = self.tokens.formats().label_of(&token.mask);
        document(&TokenView::at(SystemClock::default().now(), token).with_format(label))
    }

    fn issued(&self, issued: &IssuedToken) -> Result<IssuedDocument, Failure> {
        Ok(IssuedDocument {
            token: Zeroizing::new(issued.token().expose().to_owned()),
            record: self.document(issued.record())?,
        })
    }
}

fn records<'a, R, T, S>(
    stream: S,
    document: impl Fn(&R) -> Result<Document<T>, Failure> + Send + 'a,
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

pub(crate) fn event_document(event: &AuditEvent) -> Result<Document<Event>, Failure> {
    document(&EventView::from(event))
}

fn document<T: DeserializeOwned>(view: &impl Serialize) -> Result<Document<T>, Failure> {
    Document::of(view).map_err(|error| Failure::failed("cannot format a record").because(error))
}
