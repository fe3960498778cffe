//! Scopes, which limit what a token may be used for.

use std::{fmt, str::FromStr};

use compact_str::CompactString;
use thiserror::Error;

use crate::text::serde_text;

/// A scope: a `scope-token` of [RFC 6749 section
/// 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3).
///
/// # Examples
///
/// ```
/// use tower_api_tokens::Scope;
///
/// let scope: Scope = "invoices:read".parse()?;
/// assert_eq!(scope.as_str(), "invoices:read");
/// assert!("two words".parse::<Scope>().is_err());
/// # Ok::<(), tower_api_tokens::ScopeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(CompactString);

impl Scope {
    /// The maximum length of a scope, in characters.
    pub const MAX_LEN: usize = 128;

    /// Creates a scope from text.
    ///
    /// # Errors
    ///
    /// Returns an error unless the text is 1 to 128 visible ASCII characters without `"` and `\`.
    pub fn new(text: &str) -> Result<Self, ScopeError> {
        let grammatical = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        if text.is_empty() || text.len() > Self::MAX_LEN || !grammatical {
            return Err(ScopeError(ScopeFault::Grammar));
        }
        Ok(Self(text.into()))
    }

    /// Returns the scope as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.0)
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::new(text)
    }
}

serde_text!(Scope, "scope");

impl TryFrom<&str> for Scope {
    type Error = ScopeError;

    fn try_from(text: &str) -> Result<Self, ScopeError> {
        Self::new(text)
    }
}

/// A set of scopes. The empty set grants nothing.
///
/// Its text form is the `scope` of [RFC 6749 section
/// 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3): the scopes in order, separated by
/// spaces.
///
/// # Examples
///
/// ```
/// use tower_api_tokens::{Scope, ScopeSet};
///
/// let scopes: ScopeSet = "write read read".parse()?;
/// assert_eq!(scopes.as_str(), "read write");
/// assert!(scopes.contains(&Scope::new("read")?));
/// assert!(!ScopeSet::default().contains(&Scope::new("read")?));
/// # Ok::<(), tower_api_tokens::ScopeError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(CompactString);

impl ScopeSet {
    /// The maximum length of a set as text, in characters.
    pub const MAX_LEN: usize = 1024;

    /// Creates a set of scopes.
    ///
    /// # Errors
    ///
    /// Returns an error if a scope is invalid (see [`Scope::new`]), or if the set is longer than
    /// 1,024 characters as text.
    pub fn new<I>(scopes: I) -> Result<Self, ScopeError>
    where
        I: IntoIterator,
        I::Item: TryInto<Scope, Error: Into<ScopeError>>,
    {
        let mut sorted = Vec::new();
        for scope in scopes {
            sorted.push(scope.try_into().map_err(Into::into)?);
        }
        sorted.sort_unstable();
        sorted.dedup();
        let mut text = CompactString::default();
        for scope in &sorted {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(scope.as_str());
        }
        if text.len() > Self::MAX_LEN {
            return Err(ScopeError(ScopeFault::TooMany));
        }
        Ok(Self(text))
    }

    /// Parses a list of scopes that a person typed: scopes separated by white space or commas.
    ///
    /// RFC 6749 allows commas in a scope, and so do [`Scope`] and the set's own text form (see
    /// [`FromStr`](#impl-FromStr-for-ScopeSet)). In a typed list, a comma almost always separates
    /// two scopes. The command line, the dashboard and the JSON API parse lists with this function,
    /// so a scope that contains a comma can only be granted in code.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::ScopeSet;
    ///
    /// let scopes = ScopeSet::parse_list("invoices:read, invoices:write")?;
    /// assert_eq!(scopes.as_str(), "invoices:read invoices:write");
    /// # Ok::<(), tower_api_tokens::ScopeError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if a scope is invalid (see [`Scope::new`]), or if the set is longer than
    /// 1,024 characters as text.
    pub fn parse_list(text: &str) -> Result<Self, ScopeError> {
        let separates = |c: char| c == ',' || c.is_whitespace();
        Self::new(text.split(separates).filter(|scope| !scope.is_empty()))
    }

    /// Creates a set of one scope that is known at compile time.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_api_tokens::ScopeSet;
    ///
    /// const WRITE: ScopeSet = ScopeSet::from_static("invoices:write");
    /// assert_eq!(WRITE, "invoices:write".parse()?);
    /// # Ok::<(), tower_api_tokens::ScopeError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the text is not a valid [scope](Scope::new). In a constant, that is a compile
    /// error.
    #[must_use]
    pub const fn from_static(scope: &'static str) -> Self {
        let bytes = scope.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= Scope::MAX_LEN,
            "a scope is 1 to 128 characters"
        );
        let mut place = 0;
        while place < bytes.len() {
            assert!(
                bytes[place].is_ascii_graphic() && bytes[place] != b'"' && bytes[place] != b'\\',
                "a scope is visible ASCII without `\"` and `\\`"
            );
            place += 1;
        }
        Self(CompactString::const_new(scope))
    }

    /// Returns the set as text: the scopes in order, separated by spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns an iterator over the scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// Returns the scopes of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &ScopeSet) -> ScopeSet {
        self.filter(|scope| !other.iter().any(|held| held == scope))
    }

    /// Returns the scopes of this set for which a predicate holds.
    pub(crate) fn filter(&self, mut holds: impl FnMut(&str) -> bool) -> ScopeSet {
        let mut text = CompactString::default();
        for scope in self.iter().filter(|scope| holds(scope)) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(scope);
        }
        Self(text)
    }

    /// Returns the scopes that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &ScopeSet) -> ScopeSet {
        self.difference(&self.difference(other))
    }

    /// Returns whether `scope` is in the set.
    #[must_use]
    pub fn contains(&self, scope: &Scope) -> bool {
        self.iter().any(|held| held == scope.as_str())
    }

    /// Returns whether every scope of `required` is in the set.
    #[must_use]
    pub fn contains_all(&self, required: &ScopeSet) -> bool {
        required
            .iter()
            .all(|scope| self.iter().any(|held| held == scope))
    }

    /// Returns whether at least one scope of `accepted` is in the set.
    #[must_use]
    pub fn contains_any(&self, accepted: &ScopeSet) -> bool {
        accepted
            .iter()
            .any(|scope| self.iter().any(|held| held == scope))
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromStr for ScopeSet {
    type Err = ScopeError;

    /// Parses scopes separated by spaces. The empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::new(text.split(' ').filter(|scope| !scope.is_empty()))
    }
}

serde_text!(ScopeSet, "set of scopes");

/// A scope or a set of scopes is invalid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ScopeError(ScopeFault);

impl From<std::convert::Infallible> for ScopeError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
enum ScopeFault {
    #[error(
        "invalid scope; use 1 to 128 visible ASCII characters without `\"` and `\\`, such as `invoices:read`"
    )]
    Grammar,
    #[error("too many scopes; use at most 1,024 characters, including spaces")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(text: &str) -> ScopeSet {
        text.parse().unwrap()
    }

    #[test]
    fn the_empty_set_grants_nothing() {
        let nothing = ScopeSet::default();
        assert!(!nothing.contains_all(&set("read")));
        assert!(!nothing.contains_any(&set("read write")));
        assert!(!set("read").contains_any(&nothing));
    }

    #[test]
    fn scopes_are_compared_as_a_whole() {
        assert!(!set("read:all").contains_all(&set("read")));
        assert!(!set("read").contains_all(&set("read:all")));
        assert!(set("read write").contains_all(&set("write read")));
        assert!(set("read write").contains_any(&set("admin write")));
    }

    #[test]
    fn a_scope_follows_the_grammar_of_rfc_6749() {
        for bad in ["", "a b", "a\"b", "a\\b", "ä", "a\n", "a\0", "\u{7f}"] {
            assert!(Scope::new(bad).is_err(), "{bad:?}");
        }
        assert!(Scope::new(&"a".repeat(128)).is_ok());
        assert!(Scope::new(&"a".repeat(129)).is_err());
        assert!("a\tb".parse::<ScopeSet>().is_err());
    }

    #[test]
    fn commas_and_white_space_separate_what_people_type() {
        for list in [
            "a,b",
            "a b",
            " a , b,",
            "a,,b",
            "a\tb",
            "a\r\nb\n",
            "a,\u{a0}b",
            "b a,b",
        ] {
            assert_eq!(ScopeSet::parse_list(list), Ok(set("a b")), "{list:?}");
        }
        for nothing in ["", " ", ",", " , ,"] {
            assert_eq!(ScopeSet::parse_list(nothing), Ok(set("")), "{nothing:?}");
        }
        for bad in ["a,\"b", "a\0b", "a,ä", "a\u{200b}"] {
            assert!(ScopeSet::parse_list(bad).is_err(), "{bad:?}");
        }
        assert_eq!(set("a,b").iter().count(), 1, "a scope of RFC 6749");
    }

    #[test]
    fn a_set_is_bounded() {
        let many: Vec<Scope> = (0..200)
            .map(|i| Scope::new(&format!("scope{i:03}")).unwrap())
            .collect();
        assert!(ScopeSet::new(many[..100].iter().cloned()).is_ok());
        let error = ScopeSet::new(many.iter().cloned()).unwrap_err();
        assert!(error.to_string().contains("1,024"));
    }

    proptest! {
        #[test]
        fn a_set_round_trips_as_text(text in "[!#-\\[\\]-~ ]{0,40}") {
            let scopes = set(&text);
            prop_assert_eq!(set(scopes.as_str()), scopes);
        }

        #[test]
        fn arbitrary_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<ScopeSet>();
        }
    }
}
