//! The commands on an open store.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{
    StreamExt, TryStream, TryStreamExt,
    stream::{iter, try_unfold},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tower_api_tokens::{
    AppEdit, AppId, AppQuery, AppRecord, AuditQuery, Clock, EventPosition, EventQuery,
    FleetSettings, IssuedToken, Metadata, NewApp, NodeId, NodeQuery, PageSize, Policy,
    RecordVersion, Revision, SystemClock, TokenEdit, TokenFormat, TokenId, TokenQuery, TokenRecord,
    TokenRegistryStreams, TokenSelection,
};
use tower_api_tokens_admin::view::{
    AppView, EventView, FleetView, NodeView, PolicyView, ReceiptView, ReportView, RevocationView,
    TokenView,
};
use zeroize::Zeroizing;

use super::{
    App, Backend, Document, Event, EventsInOrder, Fleet, FoundToken, IssuedDocument, NewToken,
    Node, Records, Report, Revocation, RevokedEverywhere, Rules, Selection, Token, TokenFilter,
    is_about_format, is_other_format, no_such_node,
};
use crate::{failure::Failure, session::Session};

#[async_trait]
impl Backend for Session {
    fn latest_revision(&self) -> Option<Revision> {
        self.operator.latest_revision()
    }

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

    async fn create_app(
        &self,
        id: Option<AppId>,
        name: &str,
        metadata: Metadata,
    ) -> Result<Document<App>, Failure> {
        let new = NewApp::named(name).id(id).metadata(metadata);
        app_document(&self.operator.create_app(new).await?)
    }

    async fn edit_app(
        &self,
        id: &AppId,
        version: Option<RecordVersion>,
        edit: AppEdit,
    ) -> Result<Document<App>, Failure> {
        app_document(&self.operator.edit_app(id, version, edit).await?)
    }

    async fn delete_app(&self, id: &AppId) -> Result<(), Failure> {
        self.operator.delete_app(id).await?;
        Ok(())
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

    async fn find_token(&self, text: &str) -> Result<FoundToken, Failure> {
        match self.operator.find_token(text).await {
            Ok(Some(token)) => Ok(Some(self.document(&token)?).into()),
            Ok(None) => Ok(FoundToken::Unknown),
            Err(error) if is_other_format(error.kind()) => {
                Ok(FoundToken::OtherFormat(error.into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tokens(&self, filter: TokenFilter) -> Result<Records<'_, Token>, Failure> {
        let tokens = self.tokens.stream_tokens(self.query(filter)?);
        Ok(records(tokens, |token| self.document(token)))
    }

    async fn issue(&self, app: &AppId, new: NewToken<'_>) -> Result<IssuedDocument, Failure> {
        let mut token = tower_api_tokens::NewToken::named(new.name)
            .scopes(new.scopes)
            .metadata(new.metadata);
        if let Some(expires) = new.expires {
            token = expires.apply(token);
        }
        if let Some(label) = new.format {
            token = token.format(label);
        }
        if let Some(networks) = new.networks {
            token = token.networks(networks);
        }
        if let Some(at) = new.not_before {
            token = token.not_before(at);
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

    async fn edit_token(
        &self,
        id: TokenId,
        version: Option<RecordVersion>,
        edit: TokenEdit,
    ) -> Result<Document<Token>, Failure> {
        self.document(&self.operator.edit(id, version, edit).await?)
    }

    async fn suspend(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        self.document(&self.operator.suspend(id).await?)
    }

    async fn resume(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        self.document(&self.operator.resume(id).await?)
    }

    async fn revoke(&self, id: TokenId) -> Result<Document<Token>, Failure> {
        self.document(&self.operator.revoke(id).await?)
    }

    async fn report(&self, app: Option<AppId>) -> Result<Document<Report>, Failure> {
        document(&ReportView::from(&self.operator.report(app).await?))
    }

    async fn select(&self, filter: &TokenFilter) -> Result<Selection, Failure> {
        let query = self.query(filter.clone())?;
        let selection = self.operator.select_for_revocation(&query).await?;
        Ok(Selection {
            count: selection.as_ref().map_or(0, |selection| selection.count),
            newest: selection.map(|selection| selection.newest),
        })
    }

    async fn revoke_selected(
        &self,
        filter: TokenFilter,
        newest: TokenId,
        count: usize,
    ) -> Result<Document<Revocation>, Failure> {
        let selection = TokenSelection::new(self.query(filter)?, newest, count);
        let revocation = self.operator.revoke_selected(&selection).await?;
        document(&RevocationView::from(&revocation))
    }

    async fn revoke_many(&self, ids: &[TokenId]) -> Result<Document<Revocation>, Failure> {
        let revocation = self.operator.revoke_many(ids).await?;
        document(&RevocationView::from(&revocation))
    }

    async fn revoke_everywhere(
        &self,
        id: TokenId,
        wait: Duration,
    ) -> Result<Document<RevokedEverywhere>, Failure> {
        let (token, receipt) = self.operator.revoke_everywhere(id, wait).await?;
        document(&json!({
            "token": self.document(&token)?,
            "receipt": ReceiptView::from(&receipt),
        }))
    }

    fn nodes(&self) -> Records<'_, Node> {
        let listed = try_unfold(Some(None), async |position: Option<Option<NodeId>>| {
            let Some(after) = position else {
                return Ok(None);
            };
            let query = NodeQuery::default().limit(PageSize::MAX).after(after);
            let page = self.operator.nodes(&query).await?;
            let nodes = page.nodes.items.iter();
            let nodes = nodes.map(|node| document(&NodeView::at(page.latest, page.now, node)));
            let nodes: Vec<_> = nodes.collect();
            Ok::<_, Failure>(Some((iter(nodes), page.nodes.next.map(Some))))
        });
        listed.try_flatten().boxed()
    }

    async fn remove_node(&self, id: NodeId) -> Result<(), Failure> {
        match self.operator.remove_node(id).await? {
            true => Ok(()),
            false => Err(no_such_node()),
        }
    }

    async fn fleet(&self) -> Result<Document<Fleet>, Failure> {
        document(&FleetView::from(&self.operator.fleet().await?))
    }

    async fn set_fleet(&self, settings: FleetSettings) -> Result<Document<Fleet>, Failure> {
        self.operator.set_fleet(settings).await?;
        self.fleet().await
    }

    async fn revoke_own(&self) -> Result<(), Failure> {
        Err(Failure::usage(
            "`--own` revokes the token that is sent to a server: pass `--server` instead of a store",
        ))
    }

    async fn policy(&self) -> Result<Document<Rules>, Failure> {
        document(&PolicyView::from(&self.operator.policy().await?))
    }

    async fn set_policy(
        &self,
        version: Option<RecordVersion>,
        policy: Policy,
    ) -> Result<Document<Rules>, Failure> {
        let policy = self.operator.set_policy(version, policy).await?;
        document(&PolicyView::from(&policy))
    }

    fn events(&self, query: AuditQuery) -> Records<'_, Event> {
        records(self.operator.stream_events(query), |event| {
            document(&EventView::from(event))
        })
    }

    async fn read_events(
        &self,
        query: &EventQuery,
        wait: Duration,
    ) -> Result<EventsInOrder, Failure> {
        let page = self.operator.read_events(query, wait).await?;
        let events = page.events.iter().map(|logged| {
            document(&Positioned {
                position: logged.position,
                event: EventView::from(&logged.event),
            })
        });
        Ok(EventsInOrder {
            events: events.collect::<Result<_, _>>()?,
            position: page.position,
        })
    }
}

impl Session {
    fn query(&self, filter: TokenFilter) -> Result<TokenQuery, Failure> {
        match &filter.format {
            Some(name) => Ok(filter.query.format(&self.format_named(name)?)),
            None => Ok(filter.query),
        }
    }

    /// Returns the format with this label or prefix. If none is configured, any prefix may be used.
    fn format_named(&self, name: &str) -> Result<TokenFormat, Failure> {
        if !self.knows_prefix {
            return TokenFormat::new(name).map_err(|error| Failure::usage(error.to_string()));
        }
        match self.tokens.formats().named(name) {
            Ok(format) => Ok(format.clone()),
            Err(error) => Err(Failure::from(error).of_usage()),
        }
    }

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

/// An event and its position, as the management API returns it.
#[derive(Serialize)]
struct Positioned<'r> {
    position: EventPosition,
    #[serde(flatten)]
    event: EventView<'r>,
}

fn document<T: DeserializeOwned>(view: &impl Serialize) -> Result<Document<T>, Failure> {
    Document::of(view).map_err(|error| Failure::failed("cannot format a record").because(error))
}
