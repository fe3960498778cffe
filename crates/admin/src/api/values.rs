//! The fields of edits, metadata, networks and the policy. Each accepts exactly what the OpenAPI
//! document describes. Rules that it cannot describe are checked afterwards, and violations are
//! answered with 422.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use tower_api_tokens::{
    AppId, Metadata, MetadataPatch, Network, Networks, ScopeSet, TimeError, TokenSelection,
    parse_instant,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat,
        schema::{SchemaType, Type},
    },
};

use super::fields::{AppIdText, ScopeText, whole_number};
use crate::problem::Problem;

/// Deserializes a field of a merge patch that is present. With `#[serde(default)]`, an absent field is
/// `None`, while null is a value like any other.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Deserializes an object, and rejects one that has a key twice.
struct Object<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Object<K, V> {
    type Value = BTreeMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = BTreeMap::new();
        while let Some((key, value)) = entries.next_entry()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("the object has a key twice; send it once"));
            }
        }
        Ok(object)
    }
}

/// Deserializes an object whose keys are unique.
fn object<'de, D, K, V>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(Object(PhantomData))
}

fn metadata_schema(values: impl IntoIterator<Item = Type>) -> ObjectBuilder {
    let key = ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::String))
        .pattern(Some(format!(
            r"^[^\u0000-\u001F\u007F-\u009F]{{1,{}}}$",
            Metadata::MAX_KEY_LEN
        )))
        .build();
    let value = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter(values))
        .max_length(Some(Metadata::MAX_VALUE_LEN))
        .pattern(Some(r"^[^\u0000]*$"));
    ObjectBuilder::new()
        .property_names(Some(key))
        .additional_properties(Some(Schema::from(value)))
}

/// Checks a key with its value. Whether all of them fit together is checked later.
fn check_entry<E: Error>(key: &str, value: &str) -> Result<(), E> {
    Metadata::new([(key, value)]).map(drop).map_err(E::custom)
}

/// The metadata of a new app or token.
#[derive(Default)]
pub(super) struct MetadataText(BTreeMap<Box<str>, Box<str>>);

impl MetadataText {
    /// Returns the metadata, unless it is too large in total.
    pub(super) fn read(self) -> Result<Metadata, Problem> {
        Metadata::try_from(self.0)
            .map_err(|error| Problem::unprocessable("invalid_metadata", error.to_string()))
    }
}

impl<'de> Deserialize<'de> for MetadataText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: BTreeMap<Box<str>, Box<str>> = object(deserializer)?;
        for (key, value) in &entries {
            check_entry(key, value)?;
        }
        match entries.len() {
            0..=Metadata::MAX_KEYS => Ok(Self(entries)),
            _ => Metadata::try_from(entries)
                .map_err(D::Error::custom)
                .map(|metadata| Self(metadata.into())),
        }
    }
}

impl PartialSchema for MetadataText {
    fn schema() -> RefOr<Schema> {
        metadata_schema([Type::String])
            .max_properties(Some(Metadata::MAX_KEYS))
            .into()
    }
}

impl ToSchema for MetadataText {}

/// Changes to the metadata of an app or a token: a key with null is removed, and others are set.
#[derive(Default)]
pub(super) struct MetadataChanges(BTreeMap<Box<str>, Option<Box<str>>>);

impl MetadataChanges {
    pub(super) fn into_patch(self) -> MetadataPatch {
        let changes = self.0.into_iter();
        changes.fold(
            MetadataPatch::default(),
            |patch, (key, value)| match value {
                Some(value) => patch.set(key, value),
                None => patch.remove(key),
            },
        )
    }
}

impl<'de> Deserialize<'de> for MetadataChanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let changes: BTreeMap<Box<str>, Option<Box<str>>> = object(deserializer)?;
        if changes.is_empty() {
            return Err(D::Error::custom("set or remove at least one key"));
        }
        for (key, value) in &changes {
            check_entry(key, value.as_deref().unwrap_or_default())?;
        }
        Ok(Self(changes))
    }
}

impl PartialSchema for MetadataChanges {
    fn schema() -> RefOr<Schema> {
        metadata_schema([Type::String, Type::Null])
            .min_properties(Some(1))
            .into()
    }
}

impl ToSchema for MetadataChanges {}

/// The networks from which a token may be used.
#[derive(Deserialize)]
pub(super) struct NetworkList(Vec<String>);

impl NetworkList {
    /// Returns the networks, or an error that names the invalid one.
    pub(super) fn read(self) -> Result<Networks, Problem> {
        let invalid = |detail| Problem::unprocessable("invalid_networks", detail);
        let mut networks = Vec::with_capacity(self.0.len());
        for (at, text) in self.0.iter().enumerate() {
            let network: Network = text
                .parse()
                .map_err(|error| invalid(format!("in `networks`, entry {}: {error}", at + 1)))?;
            networks.push(network);
        }
        Networks::new(networks).map_err(|error| invalid(format!("in `networks`: {error}")))
    }
}

impl PartialSchema for NetworkList {
    fn schema() -> RefOr<Schema> {
        let network = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some(
                "An address and a prefix length, like `10.0.0.0/8` or `2001:db8::/32`, or one address.",
            ));
        ArrayBuilder::new().items(network).into()
    }
}

impl ToSchema for NetworkList {}

/// An instant.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Instant(pub(super) Timestamp);

impl TryFrom<String> for Instant {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        parse_instant(&text).map(Self)
    }
}

impl PartialSchema for Instant {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Instant {}

/// Defines a whole number within limits.
macro_rules! whole_field {
    ($(#[doc = $doc:literal])* $field:ident, $least:literal..=$most:expr, $what:literal) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $field(pub(super) u64);

        impl<'de> Deserialize<'de> for $field {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match whole_number(deserializer, $what)? {
                    number @ $least..=$most => Ok(Self(number)),
                    _ => Err(D::Error::custom(concat!("expected ", $what))),
                }
            }
        }

        impl PartialSchema for $field {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(SchemaType::new(Type::Integer))
                    .minimum(Some($least))
                    .maximum(Some($most))
                    .into()
            }
        }

        impl ToSchema for $field {}
    };
}

/// Ten thousand years, more than any timestamp is apart from another.
const LONGEST: u64 = 10_000 * 366 * 86_400;

const MOST_TOKENS: u64 = u32::MAX as u64;

whole_field! {
    /// A lifetime, in seconds.
    Lifetime, 1..=LONGEST, "a whole number of seconds from 1 to 316,224,000,000"
}

whole_field! {
    /// A number of tokens.
    TokenCount, 0..=MOST_TOKENS, "a whole number from 0 to 4,294,967,295"
}

const MOST_SELECTED: u64 = TokenSelection::MAX_COUNT as u64;

whole_field! {
    /// How many tokens a revocation selects.
    SelectedCount, 1..=MOST_SELECTED, "a whole number from 1 to 100,000"
}

/// Lists of scopes, by app.
#[derive(Default)]
pub(super) struct ScopesOfApps(BTreeMap<AppId, Vec<ScopeText>>);

impl ScopesOfApps {
    /// Returns the scopes, unless those of one app are too long in total.
    pub(super) fn read(self) -> Result<BTreeMap<AppId, ScopeSet>, Problem> {
        let apps = self.0.into_iter();
        apps.map(|(app, list)| Ok((app, scopes(&list)?))).collect()
    }
}

impl<'de> Deserialize<'de> for ScopesOfApps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

impl PartialSchema for ScopesOfApps {
    fn schema() -> RefOr<Schema> {
        let scopes = ArrayBuilder::new().items(ScopeText::schema());
        let object = ObjectBuilder::new().additional_properties(Some(Schema::from(scopes)));
        match AppIdText::schema() {
            RefOr::T(app) => object.property_names(Some(app)),
            RefOr::Ref(_) => object,
        }
        .into()
    }
}

impl ToSchema for ScopesOfApps {}

/// Returns the scopes of a list, unless they are too long in total.
pub(super) fn scopes(list: &[ScopeText]) -> Result<ScopeSet, Problem> {
    let lists: Vec<_> = list.iter().map(|scopes| scopes.0.as_str()).collect();
    ScopeSet::parse_list(&lists.join(" "))
        .map_err(|error| Problem::unprocessable("invalid_scopes", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keys_match_their_documented_pattern() {
        let RefOr::T(Schema::Object(schema)) = MetadataText::schema() else {
            panic!("not an object");
        };
        let Schema::Object(key) = *schema.property_names.unwrap() else {
            panic!("not an object");
        };
        let pattern = regex::Regex::new(&key.pattern.unwrap()).unwrap();
        let long = ["k".repeat(40), "é".repeat(41)];
        for key in [
            "a", "", " ", "a\n", "\u{85}", "\u{7f}b", "é", &long[0], &long[1],
        ] {
            let entry = serde_json::json!({ key: "" });
            let read = serde_json::from_value::<MetadataText>(entry).is_ok();
            assert_eq!(read, pattern.is_match(key), "{key:?}");
        }
    }

    #[test]
    fn the_limits_are_what_the_messages_state() {
        assert_eq!(LONGEST, 316_224_000_000);
        assert_eq!(MOST_SELECTED, 100_000);
    }

    #[test]
    fn an_object_has_each_key_once() {
        let twice = serde_json::from_str::<MetadataChanges>(r#"{"a": "1", "a": null}"#);
        assert!(twice.err().unwrap().to_string().contains("twice"));
    }
}
