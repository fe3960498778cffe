//! The fields of requests. Each accepts exactly what the OpenAPI document describes.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};
use tower_api_tokens::{
    AppId, AppIdError, EventPositionError, EventStart, IdempotencyKey, IdempotencyKeyError,
    MAX_NAME_LEN, NameError, NamePartError, NodeId, NodeIdError, PageSize, Scope, ScopeError,
    ScopeSet, TimeError, TokenFormat, TokenId, TokenIdError, check_name_part, normalize_name,
    parse_expiry,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat,
        schema::{SchemaType, Type},
    },
};

/// Defines a type that is parsed from a string, and its schema in the OpenAPI document.
macro_rules! text_field {
    ($(#[doc = $doc:literal])* $field:ident($inner:ty), $schema:expr) => {
        $(#[doc = $doc])*
        #[derive(Deserialize)]
        #[serde(try_from = "String")]
        pub(super) struct $field(pub(super) $inner);

        impl PartialSchema for $field {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
                let describe: fn(ObjectBuilder) -> ObjectBuilder = $schema;
                describe(text).into()
            }
        }

        impl ToSchema for $field {
            fn name() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(stringify!($field))
            }
        }
    };
}

pub(super) use text_field;

text_field! {
    /// The identifier of an app.
    AppIdText(AppId),
    |text| text
        .description(Some("The identifier of an app."))
        .pattern(Some(r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,39}$"))
}

impl TryFrom<String> for AppIdText {
    type Error = AppIdError;

    fn try_from(text: String) -> Result<Self, AppIdError> {
        AppId::new(&text).map(Self)
    }
}

text_field! {
    /// The identifier of a token.
    TokenIdText(TokenId),
    |text| text
        .description(Some("The identifier of a token."))
        .format(Some(SchemaFormat::Custom("uuid".into())))
        .pattern(Some(UUID))
}

impl TryFrom<String> for TokenIdText {
    type Error = TokenIdError;

    fn try_from(text: String) -> Result<Self, TokenIdError> {
        hyphenated(&text).parse().map(Self)
    }
}

text_field! {
    /// The identifier of a node.
    NodeIdText(NodeId),
    |text| text
        .description(Some("The identifier of a node."))
        .format(Some(SchemaFormat::Custom("uuid".into())))
        .pattern(Some(UUID))
}

impl TryFrom<String> for NodeIdText {
    type Error = NodeIdError;

    fn try_from(text: String) -> Result<Self, NodeIdError> {
        hyphenated(&text).parse().map(Self)
    }
}

/// The pattern of a UUID.
const UUID: &str = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$";

/// Returns the text of a UUID, or no text if it has another notation, which `parse` would accept.
fn hyphenated(text: &str) -> &str {
    if text.len() == 36 { text } else { "" }
}

/// White space other than control characters and line separators.
const SPACES: &str = r"\u0020\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000";

/// The characters that a name must not contain.
const CONTROLS: &str = r"\u0000-\u001F\u007F-\u009F\u2028\u2029";

text_field! {
    /// The name of an app or a token.
    Name(String),
    |text| text
        .description(Some(
            "A display name. Names do not have to be unique. Leading and trailing white space is removed.",
        ))
        .min_length(Some(1))
        .max_length(Some(MAX_NAME_LEN))
        .pattern(Some(format!("^[^{CONTROLS}]*[^{CONTROLS}{SPACES}][^{CONTROLS}]*$")))
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        // The surrounding white space must match the pattern too.
        let text = match check_name_part(&text) {
            Ok(()) => text,
            Err(_) => String::new(),
        };
        normalize_name(&text).map(Self)
    }
}

text_field! {
    /// Text that a name contains.
    NamePart(String),
    |text| text
        .description(Some("Text to search for in names."))
        .min_length(Some(1))
        .max_length(Some(MAX_NAME_LEN))
        .pattern(Some(format!("^[^{CONTROLS}]+$")))
}

impl TryFrom<String> for NamePart {
    type Error = NamePartError;

    fn try_from(text: String) -> Result<Self, NamePartError> {
        check_name_part(&text).map(|()| Self(text))
    }
}

text_field! {
    /// A scope, or several separated by commas.
    ScopeText(ScopeSet),
    |text| text
        .description(Some(
            "A scope (RFC 6749 section 3.3). Commas separate scopes, so a scope cannot contain one.",
        ))
        .pattern(Some(r"^[!#-\[\]-~]{1,128}$"))
}

impl TryFrom<String> for ScopeText {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        Scope::new(&text).and_then(|_| ScopeSet::parse_list(&text).map(Self))
    }
}

text_field! {
    /// The label of a format.
    FormatLabel(String),
    |text| text
        .description(Some("The label of a format of tokens."))
        .pattern(Some(r"^[!-+\--<>-~]{1,40}$"))
}

impl TryFrom<String> for FormatLabel {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'=');
        if !(1..=TokenFormat::MAX_LABEL_LEN).contains(&text.len()) || !text.bytes().all(visible) {
            return Err(
                "invalid format; use the label of a format: 1 to 40 visible ASCII characters without commas and equals signs",
            );
        }
        Ok(Self(text))
    }
}

/// The expiry of a token: an instant, or a date for the end of that day in UTC.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Expiry(pub(super) Timestamp);

impl TryFrom<String> for Expiry {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        parse_expiry(&text).map(Self)
    }
}

impl PartialSchema for Expiry {
    fn schema() -> RefOr<Schema> {
        let text = |format: KnownFormat, description: &str| {
            ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .description(Some(description))
                .format(Some(SchemaFormat::KnownFormat(format)))
        };
        OneOfBuilder::new()
            .item(text(KnownFormat::DateTime, "An instant (RFC 3339)."))
            .item(text(
                KnownFormat::Date,
                "The last day on which the token works, in UTC.",
            ))
            .into()
    }
}

impl ToSchema for Expiry {}

text_field! {
    /// The start of a page of a listing.
    Cursor(String),
    |text| text
        .description(Some(
            "The `next` value of the previous page, with the same filters. Omit it for the first page.",
        ))
        .pattern(Some("^[A-Za-z0-9_-]{1,128}$"))
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let written = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=128).contains(&text.len()) || !text.bytes().all(written) {
            return Err("invalid cursor; send `next` from the previous page unchanged");
        }
        Ok(Self(text))
    }
}

text_field! {
    /// Where to start in the order of commits.
    After(EventStart),
    |text| text
        .description(Some(
            "A position, or `oldest` for all events that still exist, or `latest` for those from now on.",
        ))
        .pattern(Some("^(oldest|latest|0|([1-9][0-9]*-)?[0-9a-fA-F-]{36})$"))
}

impl TryFrom<String> for After {
    type Error = EventPositionError;

    fn try_from(text: String) -> Result<Self, EventPositionError> {
        Ok(Self(match text.as_str() {
            "oldest" => EventStart::Oldest,
            "latest" => EventStart::Latest,
            position => EventStart::After(position.parse()?),
        }))
    }
}

/// How long to wait for an event, in seconds.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct Wait(pub(super) Duration);

impl Wait {
    const MAX: u16 = 30;
}

impl TryFrom<u16> for Wait {
    type Error = &'static str;

    fn try_from(seconds: u16) -> Result<Self, Self::Error> {
        match seconds {
            0..=Self::MAX => Ok(Self(Duration::from_secs(seconds.into()))),
            _ => Err("`wait` is a number of seconds from 0 to 30"),
        }
    }
}

impl PartialSchema for Wait {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .description(Some(
                "With `after`: how long to wait for an event if there is none yet, in seconds.",
            ))
            .minimum(Some(0))
            .maximum(Some(Self::MAX))
            .default(Some(0.into()))
            .into()
    }
}

impl ToSchema for Wait {}

text_field! {
    /// An idempotency key.
    KeyText(IdempotencyKey),
    |text| text
        .description(Some(
            "Identifies the request, so that repeating it within a day creates no second token.",
        ))
        .pattern(Some("^[!-~]{1,255}$"))
}

impl TryFrom<String> for KeyText {
    type Error = IdempotencyKeyError;

    fn try_from(text: String) -> Result<Self, IdempotencyKeyError> {
        IdempotencyKey::new(&text).map(Self)
    }
}

/// The maximum number of records on a page.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct Limit(usize);

impl Limit {
    pub(super) fn of(limit: Option<Self>) -> usize {
        limit.map_or(PageSize::default().get(), |limit| limit.0)
    }
}

impl TryFrom<u16> for Limit {
    type Error = &'static str;

    fn try_from(records: u16) -> Result<Self, Self::Error> {
        match usize::from(records) {
            records @ 1..=PageSize::MAX => Ok(Self(records)),
            _ => Err("a limit is a number from 1 to 1,000"),
        }
    }
}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .description(Some("The maximum number of records on the page."))
            .minimum(Some(1))
            .maximum(Some(PageSize::MAX))
            .default(Some(PageSize::default().get().into()))
            .into()
    }
}

impl ToSchema for Limit {}

/// A number of seconds. JSON has a single number type, so `60.0` is accepted as `60`.
pub(super) struct Seconds(pub(super) u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole_number(deserializer, "a whole number of seconds").map(Self)
    }
}

/// Deserializes a number that is not negative and has no fraction.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<u64, D::Error> {
    struct Whole(&'static str);

    impl Visitor<'_> for Whole {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<u64, E> {
            match number.fract() == 0.0 && number >= 0.0 {
                true => Ok(number as u64),
                false => Err(E::invalid_value(Unexpected::Float(number), &self)),
            }
        }
    }

    deserializer.deserialize_u64(Whole(expected))
}

impl PartialSchema for Seconds {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .description(Some("How long the old token keeps working, in seconds."))
            .minimum(Some(0))
            .into()
    }
}

impl ToSchema for Seconds {}

/// The bound of a fleet: a number of seconds, which may have a fraction.
pub(super) struct BoundSeconds(pub(super) Duration);

impl<'de> Deserialize<'de> for BoundSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if seconds < 0.0 {
            let expected = &"a number of seconds that is not negative";
            return Err(D::Error::invalid_value(
                Unexpected::Float(seconds),
                expected,
            ));
        }
        // Any longer bound is the same.
        Ok(Self(
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX),
        ))
    }
}

impl PartialSchema for BoundSeconds {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Number))
            .description(Some(
                "The maximum time for which a node may use a cached answer, in seconds, which may have a fraction.",
            ))
            .minimum(Some(0))
            .into()
    }
}

impl ToSchema for BoundSeconds {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_documented_pattern() {
        let RefOr::T(Schema::Object(schema)) = Name::schema() else {
            panic!("not an object");
        };
        let pattern = regex::Regex::new(&schema.pattern.unwrap()).unwrap();
        for text in [
            "a",
            " a ",
            "",
            " ",
            "\u{a0}",
            "a\n",
            "\ta",
            "a\u{2028}",
            "é\u{3000}b",
            "\u{85}a",
        ] {
            let read = Name::try_from(text.to_owned()).is_ok();
            assert_eq!(read, pattern.is_match(text), "{text:?}");
        }
    }
}
