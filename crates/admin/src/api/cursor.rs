use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Uri, request::Parts};

use tower_api_tokens::store::digest_words;

use crate::problem::Problem;

/// The length of the listing tag in a cursor, in bytes.
const TAG_LEN: usize = 8;

/// A listing with its filters. A cursor is valid only for the listing that it comes from.
pub(super) struct Listing([u8; TAG_LEN]);

impl<S: Send + Sync> FromRequestParts<S> for Listing {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri))
    }
}

impl Listing {
    /// Identifies the listing by its path and all parameters but those that select the page.
    fn of(uri: &Uri) -> Self {
        let parameters: Result<Query<Vec<(String, String)>>, _> = Query::try_from_uri(uri);
        let mut parameters = parameters.map_or_else(|_| Vec::new(), |Query(all)| all);
        parameters.retain(|(name, _)| !matches!(name.as_str(), "cursor" | "limit"));
        parameters.sort_unstable();
        let words = parameters
            .iter()
            .flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        let mut tag = [0; TAG_LEN];
        let digest = digest_words([uri.path()].into_iter().chain(words));
        tag.copy_from_slice(&digest[..TAG_LEN]);
        Self(tag)
    }

    /// Returns the cursor of the page after `position`.
    pub(super) fn cursor(&self, position: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&self.0, position].concat())
    }

    /// Returns the position in a cursor of this listing.
    pub(super) fn position<T>(
        &self,
        cursor: &str,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap_or_default();
        let position = bytes.strip_prefix(&self.0).and_then(read);
        position.ok_or_else(|| {
            Problem::bad_request(
                "invalid_cursor",
                "the cursor does not belong to this listing; send `next` from the previous page with the same filters, or start without a cursor",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(uri: &str) -> Listing {
        Listing::of(&uri.parse().unwrap())
    }

    #[test]
    fn a_cursor_is_valid_only_for_its_listing() {
        let live = listing("/tokens?status=live&name=a%20b");
        let cursor = live.cursor(b"position");
        let read = |bytes: &[u8]| Some(bytes.to_vec());
        for same in [
            "/tokens?status=live&name=a%20b&limit=2",
            "/tokens?cursor=AAAA&name=a+b&status=live",
        ] {
            assert_eq!(listing(same).position(&cursor, read).unwrap(), b"position");
        }
        for other in [
            "/tokens",
            "/tokens?status=live",
            "/tokens?status=live&name=a",
            "/tokens?status=revoked&name=a%20b",
            "/tokens?status=name&live=a%20b",
            "/apps?status=live&name=a%20b",
        ] {
            assert!(listing(other).position(&cursor, read).is_err(), "{other}");
        }
        for garbage in ["", "!", "AAAA", &cursor[1..], &format!("{cursor}=")] {
            assert!(live.position(garbage, read).is_err(), "{garbage}");
        }
    }
}
