use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use tower_api_tokens::store::digest_words;

use crate::problem::Problem;

/// The length of the listing tag in a cursor, in bytes.
const TAG_LEN: usize = 8;

/// A listing with its filters. A cursor is valid only for the listing that it comes from.
pub(super) struct Listing([u8; TAG_LEN]);

impl Listing {
    pub(super) fn new(filters: &[&str]) -> Self {
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&digest_words(filters.iter().copied())[..TAG_LEN]);
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

    #[test]
    fn a_cursor_is_valid_only_for_its_listing() {
        let live = Listing::new(&["tokens", "live"]);
        let cursor = live.cursor(b"position");
        let read = |bytes: &[u8]| Some(bytes.to_vec());
        assert_eq!(live.position(&cursor, read).unwrap(), b"position");
        for other in [["tokens", "revoked"], ["tokensl", "ive"], ["apps", "live"]] {
            assert!(Listing::new(&other).position(&cursor, read).is_err());
        }
        for garbage in ["", "!", "AAAA", &cursor[1..], &format!("{cursor}=")] {
            assert!(live.position(garbage, read).is_err(), "{garbage}");
        }
    }
}
