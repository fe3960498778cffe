//! Redirects browsers to the login page of the host.

use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, header, request::Parts};

use super::page::{Page, original_uri};
use crate::guard::{Denied, Login};

/// Returns the redirect to the login page, if the guard has one and a browser opens a page.
pub(super) fn redirect(denied: &Denied, request: &Parts, page: &Page) -> Option<Response> {
    let login = denied.login.as_ref()?;
    let opens_page = request.method == Method::GET && is_navigation(&request.headers);
    opens_page.then(|| {
        let address = login.returning_to(&return_path(request, page));
        Redirect::to(&address).into_response()
    })
}

/// Returns whether a browser sends the request because a person opens an address, and not a script or
/// an element of a page.
fn is_navigation(headers: &HeaderMap) -> bool {
    let mut modes = headers.get_all("sec-fetch-mode").iter().peekable();
    if modes.peek().is_some() {
        return modes.all(|mode| mode == "navigate");
    }
    let ranges = headers.get_all(header::ACCEPT).iter();
    ranges
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(accepts_html)
}

/// Returns whether a range of `Accept` names HTML pages.
fn accepts_html(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let is_html = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    let is_excluded = |part: &str| {
        let weight = part.strip_prefix(['q', 'Q']).map(str::trim_start);
        let weight = weight.and_then(|rest| rest.strip_prefix('='));
        weight.is_some_and(|weight| weight.trim().parse::<f32>() == Ok(0.0))
    };
    is_html && !parts.any(is_excluded)
}

/// Returns the path and query of the request, or the list of tokens if a browser that is sent there
/// could leave the origin.
fn return_path(request: &Parts, page: &Page) -> String {
    let asked = original_uri(request).path_and_query();
    asked
        .map(|asked| asked.as_str())
        .filter(|asked| Login::is_return_path(asked))
        .map_or_else(|| page.home().to_owned(), str::to_owned)
}
