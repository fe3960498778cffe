use async_trait::async_trait;
use axum::Router;
use http::{HeaderMap, request::Parts};
use tower_api_tokens::{ApiTokens, AppId, Grantable, ScopeSet};
use tower_api_tokens_admin::{Actor, Admin, Denied, Guard, Login};

struct Customers {
    /// Returns the user of your session cookie, and the app of the customer they work for.
    session: fn(&HeaderMap) -> Option<(String, AppId)>,
    login: Login, // Login::new("/login")?
    offered: ScopeSet,
}

#[async_trait]
impl Guard for Customers {
    async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
        let session = (self.session)(&request.headers);
        let (user, app) = session.ok_or_else(|| Denied::redirect(&self.login))?;
        let offered = Grantable::scopes(self.offered.clone());
        Ok(Actor::new(&user, offered).limited_to(app))
    }
}

fn self_service(tokens: &ApiTokens, customers: Customers) -> Router {
    let admin = Admin::new(tokens, customers);
    Router::new()
        .nest_service("/account/tokens", admin.dashboard())
        .nest_service("/account/api", admin.router())
}
