//! The values of filters that only the listing of tokens has. Each accepts exactly what the OpenAPI
//! document describes.

use serde::Deserialize;
use tower_api_tokens::{AuditEvent, MaskedToken, TokenOrder, one_line};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema,
        schema::{SchemaType, Type},
    },
};

use super::fields::text_field;

text_field! {
    /// The last characters of a token, as its mask shows them.
    LastFour(String),
    |text| text
        .description(Some(
            "Return only tokens that end with exactly these characters, as their masks show them: \
             the last four.",
        ))
        .pattern(Some("^[!-~]{1,4}$"))
}

impl TryFrom<String> for LastFour {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match !text.is_empty() && MaskedToken::new("", &text).is_ok() {
            true => Ok(Self(text)),
            false => {
                Err("invalid `last_four`; use the 1 to 4 characters at the end of the token's mask")
            }
        }
    }
}

text_field! {
    /// The name of an actor in the audit log.
    ActorName(String),
    |text| text
        .description(Some("The name of an actor, as `created_by` of a token shows it."))
        .pattern(Some(format!(
            r"^[^\u0000-\u001F\u007F-\u009F]{{1,{}}}$",
            AuditEvent::MAX_ACTOR_LEN
        )))
}

impl TryFrom<String> for ActorName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() || one_line(&text, AuditEvent::MAX_ACTOR_LEN) != text {
            return Err(
                "invalid `created_by`; use 1 to 200 bytes without control characters, as `created_by` of a token shows them",
            );
        }
        Ok(Self(text))
    }
}

/// The schema of a [`TokenOrder`].
pub(super) struct OrderSchema;

impl PartialSchema for OrderSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .enum_values(Some(TokenOrder::ALL.iter().map(|order| order.as_str())))
            .into()
    }
}

impl ToSchema for OrderSchema {}
