//! Apps, which tokens belong to.

use std::{fmt, str::FromStr};

use arrayvec::ArrayString;
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    model::{metadata::Metadata, version::RecordVersion},
    random::{Entropy, EntropyError},
    text::serde_text,
    time::microseconds,
    uuid_v7::uuid_v7,
};

/// The identifier of an app: 1 to 40 characters that need no escaping in a URL, a header or a log.
///
/// New apps get a UUID of version 7. If your platform already has identifiers for its apps (`42`,
/// `app_8hFk2`, any UUID), use those, so that the attributed app is the one in your own tables.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::AppId;
///
/// let id = AppId::new("app_8hFk2")?;
/// assert_eq!(id.as_str(), "app_8hFk2");
/// assert!(AppId::new("two words").is_err());
/// # Ok::<(), tower_api_tokens::AppIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(ArrayString<{ Self::MAX_LEN }>);

impl AppId {
    /// The maximum length of an identifier, in characters.
    pub const MAX_LEN: usize = 40;

    /// Creates an identifier from text.
    ///
    /// # Errors
    ///
    /// Returns an error unless the text is 1 to 40 unreserved characters ([RFC 3986 section
    /// 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3): letters, digits, `-`, `.`, `_`,
    /// `~`) and starts with a letter or a digit.
    pub fn new(text: &str) -> Result<Self, AppIdError> {
        let unreserved =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.bytes().all(unreserved) {
            return Err(AppIdError);
        }
        ArrayString::from(text).map(Self).map_err(|_| AppIdError)
    }

    /// Generates a new identifier, a UUID of version 7.
    ///
    /// # Errors
    ///
    /// Returns an error if `entropy` fails.
    pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let uuid = uuid_v7(now, entropy)?;
        let mut buffer = uuid::Uuid::encode_buffer();
        let text: &str = uuid.hyphenated().encode_lower(&mut buffer);
        let mut id = ArrayString::new();
        id.push_str(text);
        Ok(Self(id))
    }

    /// The identifier of an app that is not known yet.
    pub(crate) fn unread() -> Self {
        let mut id = ArrayString::new();
        id.push_str("unread");
        Self(id)
    }

    /// Returns the identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppId({})", self.0)
    }
}

impl FromStr for AppId {
    type Err = AppIdError;

    fn from_str(text: &str) -> Result<Self, AppIdError> {
        Self::new(text)
    }
}

serde_text!(AppId, "app id");

/// The text is not an app identifier.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "invalid app id; use 1 to 40 ASCII letters, digits, `-`, `.`, `_` or `~`, starting with a letter or a digit"
)]
#[non_exhaustive]
pub struct AppIdError;

/// The record of an app in a store.
///
/// With feature `serde`, it is serialized with the names of the fields below.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct AppRecord {
    /// The app's identifier.
    pub id: AppId,
    /// The app's display name.
    pub name: String,
    /// When the app was created.
    pub created_at: Timestamp,
    /// When the app was disabled. None of its tokens is admitted from then on.
    pub disabled_at: Option<Timestamp>,
    /// The metadata of the app, for example its plan.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Metadata::is_empty")
    )]
    pub metadata: Metadata,
}

impl AppRecord {
    /// An app in whose place the store puts the app in its current state.
    pub(crate) fn unread(id: AppId) -> Self {
        Self::new(id, "", Timestamp::UNIX_EPOCH)
    }

    /// Creates an enabled app.
    #[must_use]
    pub fn new(id: AppId, name: impl Into<String>, created_at: Timestamp) -> Self {
        Self {
            id,
            name: name.into(),
            created_at,
            disabled_at: None,
            metadata: Metadata::default(),
        }
    }

    /// Returns the version of the record, which changes whenever anything in it changes. Times are
    /// compared in microseconds.
    #[must_use]
    pub fn version(&self) -> RecordVersion {
        let created_at = microseconds(self.created_at).to_be_bytes();
        let disabled_at = self.disabled_at.map(|at| microseconds(at).to_be_bytes());
        let keys = self.metadata.iter();
        let metadata = keys.flat_map(|(key, value)| [Some(key.as_bytes()), Some(value.as_bytes())]);
        let fields = [
            Some(self.id.as_str().as_bytes()),
            Some(self.name.as_bytes()),
            Some(created_at.as_slice()),
            disabled_at.as_ref().map(<[u8; 8]>::as_slice),
        ];
        RecordVersion::of(fields.into_iter().chain(metadata))
    }

    /// Returns the app, disabled. If it is disabled already, the original time is kept.
    #[must_use]
    pub fn disable(mut self, at: Timestamp) -> Self {
        self.disabled_at = self.disabled_at.or(Some(at));
        self
    }

    /// Returns the app, enabled.
    #[must_use]
    pub fn enable(mut self) -> Self {
        self.disabled_at = None;
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SystemEntropy;

    #[test]
    fn an_id_needs_no_escaping() {
        for good in ["42", "app_8hFk2", "a.b-c~d", &"x".repeat(40)] {
            assert!(AppId::new(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "a b",
            "a/b",
            "a%62",
            "ä",
            "a\n",
            &"x".repeat(41),
        ] {
            assert_eq!(AppId::new(bad), Err(AppIdError), "{bad:?}");
        }
    }

    #[test]
    fn generated_ids_are_distinct_and_sort_by_time() {
        let at = |second| AppId::generate(Timestamp::constant(second, 0), &SystemEntropy).unwrap();
        assert!(at(1_700_000_000) < at(1_800_000_000));
        assert_ne!(at(1_700_000_000), at(1_700_000_000));
        let id = at(1_700_000_000);
        assert_eq!(AppId::new(id.as_str()), Ok(id));
    }

    #[test]
    fn disabling_twice_keeps_the_first_time() {
        let app = AppRecord::new(AppId::new("a").unwrap(), "a", Timestamp::UNIX_EPOCH);
        let first = Timestamp::constant(1, 0);
        let app = app.disable(first).disable(Timestamp::constant(2, 0));
        assert_eq!(app.disabled_at, Some(first));
        assert_eq!(app.enable().disabled_at, None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_read_or_refused(text in "\\PC{0,50}") {
            if let Ok(id) = AppId::new(&text) {
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
