use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use tower_api_tokens::store::digest_words;

use crate::problem::Problem;

/// How many bytes of the digest of a listing a cursor has.
const TAG_LEN: usize = 8;

/// A listing with its filters. The cursors of one are not those of another.
pub(super) struct Listing([u8; TAG_LEN]);

impl Listing {
    pub(super) fn new(words: &[&str]) -> Self {
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&digest_words(words.iter().copied())[..TAG_LEN]);
        Self(tag)
    }

    /// The cursor of the place after `position`.
    pub(super) fn cursor(&self, position: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&self.0, position].concat())
    }

    /// The position that a cursor of this listing has.
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
                "the cursor is not one of this listing: give the `next` of the page before, with the same filters, or begin without a cursor",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_listing() {
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
