//! Reads a JSON object strictly: without duplicate or unknown fields. Messages do not repeat what
//! was read, which may be a digest or, by mistake, a token.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use super::report::{FaultKind, Flaw};
use crate::{
    model::metadata::Metadata,
    time::{parse_instant, truncate_to_microsecond},
};

/// More than any object of the format has.
const MAX_FIELDS: usize = 64;

/// The fields of an object that have not been read yet.
pub(super) struct Fields(Vec<(String, Json)>);

enum Json {
    Null,
    Text(String),
    Count(u64),
    Object(Fields),
    /// A value that no field of the format has.
    Other,
}

impl Fields {
    pub(super) fn read(text: &[u8]) -> Result<Self, Flaw> {
        let json = serde_json::from_slice(text).map_err(|error| match error.classify() {
            Category::Data => Flaw::new(
                FaultKind::InvalidField,
                "an object has a duplicate field, or too many fields",
            ),
            _ => Flaw::new(FaultKind::Malformed, "not valid JSON"),
        })?;
        match json {
            Json::Object(fields) => Ok(fields),
            _ => Err(Flaw::new(FaultKind::Malformed, "not a JSON object")),
        }
    }

    /// Returns the value of a field, unless it is missing or null.
    fn take(&mut self, field: &str) -> Option<Json> {
        let at = self.0.iter().position(|(name, _)| name == field)?;
        match self.0.swap_remove(at).1 {
            Json::Null => None,
            json => Some(json),
        }
    }

    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, Flaw> {
        match self.take(field) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(field, "not a text")),
        }
    }

    pub(super) fn count(&mut self, field: &str) -> Result<Option<u64>, Flaw> {
        match self.take(field) {
            None => Ok(None),
            Some(Json::Count(count)) if i64::try_from(count).is_ok() => Ok(Some(count)),
            Some(_) => Err(wrong(field, "not a whole number from 0 to 2^63 - 1")),
        }
    }

    pub(super) fn object(&mut self, field: &str) -> Result<Option<Self>, Flaw> {
        match self.take(field) {
            None => Ok(None),
            Some(Json::Object(fields)) => Ok(Some(fields)),
            Some(_) => Err(wrong(field, "not an object")),
        }
    }

    /// Reads an object whose values are strings.
    pub(super) fn metadata(&mut self, field: &str) -> Result<Option<Metadata>, Flaw> {
        let Some(Self(entries)) = self.object(field)? else {
            return Ok(None);
        };
        let entries = entries.into_iter().map(|(key, value)| match value {
            Json::Text(value) => Ok((key, value)),
            _ => Err(wrong(field, "a value is not a text")),
        });
        let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
        // The metadata error includes the key. It is not a secret, but may have been put there by
        // mistake.
        let metadata = Metadata::new(entries).map_err(|_| {
            wrong(field, "use at most 50 keys of 1 to 40 characters, values of up to 500 characters, and 8 KiB in all")
        })?;
        Ok(Some(metadata))
    }

    /// Reads a field that is either a text or an object.
    pub(super) fn text_or_object(&mut self, field: &str) -> Result<Result<String, Self>, Flaw> {
        match self.take(field) {
            Some(Json::Text(text)) => Ok(Ok(text)),
            Some(Json::Object(fields)) => Ok(Err(fields)),
            Some(_) => Err(wrong(field, "neither a text nor an object")),
            None => Err(missing(field)),
        }
    }

    /// Reads a field as a type whose errors do not repeat the text.
    pub(super) fn parsed<T>(&mut self, field: &str) -> Result<Option<T>, Flaw>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.parsed_by(field, T::from_str)
    }

    /// Reads a text field with a function whose errors do not repeat the text.
    pub(super) fn parsed_by<T, E: fmt::Display>(
        &mut self,
        field: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Flaw> {
        let text = self.text(field)?;
        text.map(|text| parse(&text).map_err(|error| wrong(field, error)))
            .transpose()
    }

    pub(super) fn time(&mut self, field: &str) -> Result<Option<Timestamp>, Flaw> {
        let parse = |text: &str| {
            let time = read_time(text);
            time.ok_or("not a time in the format of RFC 3339, such as `2026-03-02T09:00:00Z`")
        };
        Ok(self.parsed_by(field, parse)?.map(truncate_to_microsecond))
    }

    /// Checks that no field is left.
    pub(super) fn end(self) -> Result<(), Flaw> {
        let Some((name, _)) = self.0.first() else {
            return Ok(());
        };
        // A short name without digits cannot be a token, so it may be repeated.
        let is_safe = name.len() <= 20 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let name = if is_safe { name } else { "…" };
        Err(Flaw::new(
            FaultKind::InvalidField,
            format!("unknown field `{name}`; remove it"),
        ))
    }
}

fn read_time(text: &str) -> Option<Timestamp> {
    // RFC 3339 has no years before 0. An export writes them with a sign.
    match text.starts_with('-') {
        true => text.parse().ok(),
        false => parse_instant(text).ok(),
    }
}

/// Returns the value of a required field.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T, Flaw> {
    value.ok_or_else(|| missing(field))
}

fn missing(field: &str) -> Flaw {
    Flaw::new(FaultKind::InvalidField, format!("missing field `{field}`"))
}

pub(super) fn wrong(field: &str, reason: impl fmt::Display) -> Flaw {
    Flaw::new(
        FaultKind::InvalidField,
        format!("invalid field `{field}`: {reason}"),
    )
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_u64<E>(self, count: u64) -> Result<Json, E> {
        Ok(Json::Count(count))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            if fields.len() == MAX_FIELDS || fields.iter().any(|(there, _)| *there == name) {
                return Err(de::Error::custom("a field too many"));
            }
            fields.push((name, entries.next_value()?));
        }
        Ok(Json::Object(Fields(fields)))
    }
}
