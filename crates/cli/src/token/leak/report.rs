//! The output of a search for leaked tokens. It never contains the text of one.

use serde::{Serialize, Serializer, ser::SerializeStruct};
use tower_api_tokens::TokenStatus;

use super::{
    search::{Leak, Place},
    walk::{Skipped, Unreadable},
};
use crate::{
    backend::{Document, Revocation, Token},
    number::grouped,
    output::Listed,
    views::ShownToken,
};

/// A token that was found and has a record.
pub(super) struct Found {
    pub(super) leak: Leak,
    pub(super) record: Document<Token>,
}

impl Found {
    pub(super) fn is_live(&self) -> bool {
        is_live(&self.record)
    }
}

/// Whether a token works, or would work again later. A status that this program does not know counts as such.
pub(super) fn is_live(token: &Token) -> bool {
    let ended = [TokenStatus::Revoked, TokenStatus::Expired];
    ended.iter().all(|ended| ended.as_str() != token.status)
}

/// The result as one JSON object.
#[derive(Serialize)]
pub(super) struct Report<'r> {
    pub(super) tokens: &'r [Found],
    /// How many different texts have a valid checksum, but no record.
    pub(super) unknown: u64,
    pub(super) unreadable: &'r [Unreadable],
    pub(super) unreadable_count: u64,
    pub(super) skipped: &'r Skipped,
    pub(super) revoked: u64,
    pub(super) batches: Vec<&'r str>,
}

impl<'r> Report<'r> {
    /// Adds what was revoked.
    pub(super) fn add(&mut self, revocation: &'r Revocation) {
        self.revoked += revocation.revoked;
        self.batches.extend(revocation.batch.as_deref());
    }
}

impl Serialize for Found {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Found", 3)?;
        fields.serialize_field("record", &self.record)?;
        fields.serialize_field("places", &self.leak.places)?;
        fields.serialize_field("more_places", &self.leak.more_places)?;
        fields.end()
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Place", 2)?;
        fields.serialize_field("path", &*self.path)?;
        fields.serialize_field("line", &self.line)?;
        fields.end()
    }
}

impl Listed for Found {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "TOKEN",
        "APP",
        "STATUS",
        "LAST USED",
        "FOUND IN",
    ];

    fn cells(&self) -> Vec<String> {
        let shown = ShownToken(&self.record);
        let places = self.leak.places.iter();
        let places = places.map(|place| match place.line {
            Some(line) => format!("{}:{line}", place.path),
            None => format!("{} (in the name)", place.path),
        });
        let mut found_in = places.collect::<Vec<_>>().join(", ");
        if self.leak.more_places > 0 {
            found_in += &format!(" and {} more", grouped(self.leak.more_places));
        }
        vec![
            self.record.id.to_string(),
            self.record.name.clone(),
            shown.mask(),
            self.record.app_name.clone(),
            shown.status(),
            shown.last_used(),
            found_in,
        ]
    }
}
