//! Metadata: key-value pairs that are stored with apps and tokens.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

/// Key-value pairs that you store with an app or a token, such as a plan, a region or an owner.
///
/// There are at most 50 keys of 1 to 40 characters, with values of up to 500 characters, and at most
/// 8 KiB in all. With feature `serde`, metadata is serialized as a map.
///
/// Do not store secrets in it. It is shown to operators, in exports and in the audit log.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Metadata;
///
/// let metadata = Metadata::new([("plan", "pro"), ("region", "eu")])?;
/// assert_eq!(metadata.get("plan"), Some("pro"));
/// # Ok::<(), tower_api_tokens::MetadataError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(
        try_from = "BTreeMap<Box<str>, Box<str>>",
        into = "BTreeMap<Box<str>, Box<str>>"
    )
)]
pub struct Metadata(BTreeMap<Box<str>, Box<str>>);

impl Metadata {
    /// The maximum number of keys.
    pub const MAX_KEYS: usize = 50;

    /// The maximum length of a key, in characters.
    pub const MAX_KEY_LEN: usize = 40;

    /// The maximum length of a value, in characters.
    pub const MAX_VALUE_LEN: usize = 500;

    /// The maximum size of all keys and values together, in bytes.
    pub const MAX_SIZE: usize = 8 * 1024;

    /// Creates metadata from keys and values. If a key is repeated, its last value is used.
    ///
    /// # Errors
    ///
    /// Returns an error if there are too many keys, a key is empty or contains control characters, a
    /// value contains NUL, or a key, a value or the whole is too long.
    pub fn new<K, V>(entries: impl IntoIterator<Item = (K, V)>) -> Result<Self, MetadataError>
    where
        K: Into<Box<str>>,
        V: Into<Box<str>>,
    {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()));
        Self::try_from(entries.collect::<BTreeMap<_, _>>())
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| &**value)
    }

    /// Iterates over keys and values, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the size of all keys and values together, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }
}

impl TryFrom<BTreeMap<Box<str>, Box<str>>> for Metadata {
    type Error = MetadataError;

    fn try_from(entries: BTreeMap<Box<str>, Box<str>>) -> Result<Self, MetadataError> {
        if entries.len() > Self::MAX_KEYS {
            return Err(MetadataError(MetadataFault::Keys(entries.len())));
        }
        for (key, value) in &entries {
            check_key(key)?;
            if value.contains('\0') || value.chars().nth(Self::MAX_VALUE_LEN).is_some() {
                return Err(MetadataError(MetadataFault::Value(key.clone())));
            }
        }
        let metadata = Self(entries);
        match metadata.size() {
            size if size > Self::MAX_SIZE => Err(MetadataError(MetadataFault::Size(size))),
            _ => Ok(metadata),
        }
    }
}

impl From<Metadata> for BTreeMap<Box<str>, Box<str>> {
    fn from(metadata: Metadata) -> Self {
        metadata.0
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

fn check_key(key: &str) -> Result<(), MetadataError> {
    let fits = !key.is_empty() && key.chars().nth(Metadata::MAX_KEY_LEN).is_none();
    match fits && !key.contains(char::is_control) {
        true => Ok(()),
        false => Err(MetadataError(MetadataFault::Key)),
    }
}

/// Changes to [`Metadata`], as a JSON merge patch ([RFC 7396](https://www.rfc-editor.org/rfc/rfc7396)):
/// keys with a value are set, keys without one are removed, and all others stay.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{Metadata, MetadataPatch};
///
/// let metadata = Metadata::new([("plan", "free"), ("trial", "yes")])?;
/// let patch = MetadataPatch::default().set("plan", "pro").remove("trial");
/// assert_eq!(patch.apply(&metadata)?, Metadata::new([("plan", "pro")])?);
/// # Ok::<(), tower_api_tokens::MetadataError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(transparent)
)]
pub struct MetadataPatch(BTreeMap<Box<str>, Option<Box<str>>>);

impl MetadataPatch {
    /// Sets a key.
    #[must_use]
    pub fn set(mut self, key: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.0.insert(key.into(), Some(value.into()));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn remove(mut self, key: impl Into<Box<str>>) -> Self {
        self.0.insert(key.into(), None);
        self
    }

    /// Returns whether the patch changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the keys that are set or removed.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(|key| &**key)
    }

    /// Returns the patched metadata.
    ///
    /// # Errors
    ///
    /// Returns an error if the result is not valid metadata.
    pub fn apply(&self, metadata: &Metadata) -> Result<Metadata, MetadataError> {
        let mut entries = metadata.0.clone();
        for (key, value) in &self.0 {
            match value {
                Some(value) => entries.insert(key.clone(), value.clone()),
                None => entries.remove(key),
            };
        }
        Metadata::try_from(entries)
    }
}

/// The keys or values are not valid metadata.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(transparent)]
pub struct MetadataError(MetadataFault);

#[derive(Clone, Debug, Error, PartialEq, Eq)]
enum MetadataFault {
    #[error("invalid metadata key; use 1 to 40 characters without control characters")]
    Key,
    #[error(
        "the value of metadata key `{0}` is too long or contains NUL; use up to 500 characters"
    )]
    Value(Box<str>),
    #[error("too many metadata keys ({0}); use at most 50")]
    Keys(usize),
    #[error(
        "the metadata is too large ({0} bytes); use at most 8,192 bytes for all keys and values"
    )]
    Size(usize),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(keys: usize) -> impl Iterator<Item = (String, String)> {
        (0..keys).map(|n| (format!("k{n}"), String::new()))
    }

    #[test]
    fn metadata_is_limited_in_keys_values_and_size() {
        assert!(Metadata::new(numbered(50)).is_ok());
        let longest = [("k".repeat(40), "é".repeat(500))];
        assert!(Metadata::new(longest).is_ok());
        let many = Metadata::new(numbered(51)).unwrap_err();
        assert!(many.to_string().contains("at most 50"), "{many}");
        for key in [
            String::new(),
            "k".repeat(41),
            "a\nb".into(),
            "\u{85}".into(),
        ] {
            let error = Metadata::new([(key, "v".to_owned())]).unwrap_err();
            assert!(error.to_string().contains("1 to 40 characters"), "{error}");
        }
        for value in ["v".repeat(501), "\0".into()] {
            let error = Metadata::new([("plan".to_owned(), value)]).unwrap_err();
            assert!(error.to_string().contains("`plan`"), "{error}");
        }
        let large = numbered(50).map(|(key, _)| (key, "v".repeat(200)));
        let large = Metadata::new(large).unwrap_err();
        assert!(large.to_string().contains("8,192 bytes"), "{large}");
    }

    #[test]
    fn a_patch_sets_and_removes_keys_and_keeps_the_others() {
        let metadata = Metadata::new([("a", "1"), ("b", "2"), ("c", "3")]).unwrap();
        let patch = MetadataPatch::default()
            .set("a", "9")
            .remove("b")
            .remove("missing");
        let patched = patch.apply(&metadata).unwrap();
        assert_eq!(patched, Metadata::new([("a", "9"), ("c", "3")]).unwrap());
        assert!(
            MetadataPatch::default()
                .set("", "")
                .apply(&metadata)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn valid_metadata_reads_back_and_stays_within_its_limits(
            entries in proptest::collection::btree_map("\\PC{0,45}", "\\PC{0,510}", 0..60)
        ) {
            if let Ok(metadata) = Metadata::new(entries.clone()) {
                prop_assert!(metadata.len() <= 50 && metadata.size() <= 8192);
                for (key, value) in &entries {
                    prop_assert_eq!(metadata.get(key), Some(value.as_str()));
                }
            }
        }
    }
}
