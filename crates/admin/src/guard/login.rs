use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use crate::address::is_local_path;

/// The login page of your service, for [`Denied::redirect`](super::Denied::redirect).
///
/// # What your login must check
///
/// The redirect adds the page that the browser asked for to the query, and your login sends the browser
/// back there. Anyone can write a link to your login with another value. So before you redirect to the
/// value:
///
/// - Decode it once, and check it with [`Login::is_return_path`]. Use a page of your own if the result is
///   `false`. Otherwise your login sends people to sites of others (an open redirect).
/// - Put the value into `Location` as it is, without decoding or joining it to anything. Escape it if you
///   put it into a form.
/// - If people log in again with a session that the guard does not accept, do not send them back without
///   a new session: the browser would go back and forth. For people who are logged in but may not manage
///   tokens, the guard returns [`Denied::forbidden`](super::Denied::forbidden).
/// - Set `SameSite=Lax` on the cookie of the session. With `Strict`, a browser that follows a link from
///   another site does not send the cookie, and has to log in again.
///
/// ```
/// use std::collections::HashMap;
///
/// use async_trait::async_trait;
/// use axum::{
///     Form, Router,
///     extract::Query,
///     http::header::{COOKIE, SET_COOKIE},
///     response::{Html, IntoResponse, Redirect},
///     routing::get,
/// };
/// use http::{HeaderValue, request::Parts};
/// use tower_api_tokens::{ApiTokens, MemoryStore, TokenFormat};
/// use tower_api_tokens_admin::{Actor, Admin, Denied, Guard, Login};
///
/// /// Accepts people who have a session, and sends others to the login.
/// struct SessionGuard(Login);
///
/// # fn email_of(session: &HeaderValue) -> Option<&'static str> {
/// #     (session == "session=for-ada").then_some("ada@acme.example")
/// # }
/// # fn session_for(form: &HashMap<String, String>) -> Option<&'static str> {
/// #     (form.get("password")? == "correct").then_some("session=for-ada; HttpOnly; Secure; SameSite=Lax")
/// # }
/// #[async_trait]
/// impl Guard for SessionGuard {
///     async fn authenticate(&self, request: &mut Parts) -> Result<Actor, Denied> {
///         match request.headers.get(COOKIE).and_then(email_of) {
///             Some(email) => Ok(Actor::unrestricted(email)),
///             None => Err(Denied::redirect(&self.0)),
///         }
///     }
/// }
///
/// /// Shows the form, which posts to the same address.
/// async fn show_login() -> Html<&'static str> {
///     Html(r#"<form method="post"><input type="password" name="password"></form>"#)
/// }
///
/// async fn log_in(
///     Query(query): Query<HashMap<String, String>>,
///     Form(form): Form<HashMap<String, String>>,
/// ) -> impl IntoResponse {
///     let Some(session) = session_for(&form) else {
///         return show_login().await.into_response();
///     };
///     let page = query.get("return_to").filter(|page| Login::is_return_path(page));
///     let page = page.map_or("/", String::as_str);
///     ([(SET_COOKIE, session)], Redirect::to(page)).into_response()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = ApiTokens::new(MemoryStore::new(), TokenFormat::new("acme")?);
/// let admin = Admin::new(&tokens, SessionGuard(Login::new("/login")?));
/// let app = Router::new()
///     .route("/login", get(show_login).post(log_in))
///     .nest_service("/tokens", admin.dashboard());
/// # use axum::body::Body;
/// # use http::{Request, StatusCode, header::{CONTENT_TYPE, LOCATION}};
/// # use tower::ServiceExt;
/// # let navigate = || Request::get("/tokens/apps?name=a%26b").header("sec-fetch-mode", "navigate");
/// # let asked = app.clone().oneshot(navigate().body(Body::empty())?).await?;
/// # assert_eq!(asked.status(), StatusCode::SEE_OTHER);
/// # let login = asked.headers()[LOCATION].to_str()?;
/// # assert_eq!(login, "/login?return_to=%2Ftokens%2Fapps%3Fname%3Da%2526b");
/// # let form = Request::post(login).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
/// # let back = app.clone().oneshot(form.body(Body::from("password=correct"))?).await?;
/// # assert_eq!(back.headers()[LOCATION], "/tokens/apps?name=a%26b");
/// # let page = navigate().header(COOKIE, "session=for-ada").body(Body::empty())?;
/// # assert_eq!(app.clone().oneshot(page).await?.status(), StatusCode::OK);
/// # let evil = Request::post("/login?return_to=%2F%2Fevil.example");
/// # let evil = evil.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
/// # let back = app.oneshot(evil.body(Body::from("password=correct"))?).await?;
/// # assert_eq!(back.headers()[LOCATION], "/");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Login {
    path: String,
    parameter: String,
}

/// The error for an address that is not the path of a login page.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid path of a login page; expected one `/` at the start, like `/login`, no `\\`, no `#`, and \
     other characters percent-encoded"
)]
#[non_exhaustive]
pub struct LoginError;

impl Login {
    /// Sets the path of the login page, on the origin of the dashboard. It may have a query.
    ///
    /// # Errors
    ///
    /// Returns an error if the path does not start with exactly one `/`, or contains a `\`, a fragment or
    /// characters that a URL does not contain.
    pub fn new(path: &str) -> Result<Self, LoginError> {
        if !is_local_path(path) || path.contains('#') {
            return Err(LoginError);
        }
        Ok(Self {
            path: path.to_owned(),
            parameter: "return_to".to_owned(),
        })
    }

    /// Sets the name of the query parameter with the page to return to. Defaults to `return_to`.
    #[must_use]
    pub fn return_parameter(mut self, name: &str) -> Self {
        self.parameter = encoded(name);
        self
    }

    /// Returns whether a value of the query parameter, decoded once, is a path that a browser can be sent
    /// to without leaving the origin: it starts with exactly one `/`, and has no `\` and no characters
    /// that a URL does not contain.
    #[must_use]
    pub fn is_return_path(value: &str) -> bool {
        is_local_path(value)
    }

    /// Returns the address of the login page that returns to a path.
    pub(crate) fn returning_to(&self, path: &str) -> String {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        let Self {
            path: login,
            parameter,
        } = self;
        format!("{login}{separator}{parameter}={}", encoded(path))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_return_path_is_encoded_in_the_query() {
        let login = Login::new("/login").unwrap();
        assert_eq!(
            login.returning_to("/tokens?name=a&x=é#y"),
            "/login?return_to=%2Ftokens%3Fname%3Da%26x%3D%C3%A9%23y"
        );
        let login = Login::new("/login?tenant=1").unwrap();
        let login = login.return_parameter("next page");
        assert_eq!(
            login.returning_to("/tokens"),
            "/login?tenant=1&next%20page=%2Ftokens"
        );
    }

    #[test]
    fn a_login_page_is_a_path_without_a_fragment() {
        for bad in [
            "",
            "login",
            "//login.example",
            "/\\login.example",
            "https://login.example/",
            "/login#form",
            "/log in",
            "/login\r\nSet-Cookie: a=b",
        ] {
            assert_eq!(Login::new(bad).unwrap_err(), LoginError, "{bad:?}");
        }
    }
}
