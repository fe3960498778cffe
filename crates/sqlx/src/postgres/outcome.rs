//! The outcome of a change, as the database returns it: JSON with the columns of a row.

use jiff::Timestamp;
use serde_json::Value;
use tower_api_tokens::{
    AppRecord, Applied, Repeated, Revision, StoreError, StoreErrorKind, TokenId, TokenRecord,
};
use uuid::Uuid;

use super::error::odd_outcome;
use crate::rows::{
    Columns, TOKEN_COLUMNS, app_from, corrupt, count, revision_at, time, token_from,
};

/// The columns: those of [`token_from`], then the outcome.
const COLUMNS: [&str; TOKEN_COLUMNS + 7] = [
    "id",
    "digest",
    "mask",
    "name",
    "scopes",
    "created_at",
    "expires_at",
    "revoked_at",
    "successor",
    "last_used_at",
    "uses",
    "app_id",
    "app_name",
    "app_created_at",
    "app_disabled_at",
    "restrictions",
    "metadata",
    "app_metadata",
    "created_by",
    "outcome",
    "detail",
    "made",
    "affected",
    "revision",
    "mark",
    "successor_expires_at",
];

const OUTCOME: usize = TOKEN_COLUMNS;
const DETAIL: usize = OUTCOME + 1;
const MADE: usize = OUTCOME + 2;
const AFFECTED: usize = OUTCOME + 3;
const REVISION: usize = OUTCOME + 4;
const SUCCESSOR_EXPIRES_AT: usize = OUTCOME + 6;

/// What a change returns.
#[derive(Clone, Copy)]
pub(super) enum Returns {
    App,
    Token,
    Count,
}

/// A change that was made.
pub(super) struct Made {
    pub(super) applied: Applied,
    /// The revision that contains the change, unless it is not logged.
    pub(super) revision: Option<Revision>,
}

pub(super) struct Outcome(Vec<Cell>);

enum Cell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A value of the outcome has an unknown form.
#[derive(Debug, thiserror::Error)]
#[error("column `{0}` of an outcome has an unknown form")]
struct OddCell(&'static str);

impl Outcome {
    /// Reads the outcomes of changes. One that cannot be read is an error of its own.
    pub(super) fn read_all(text: &str) -> Result<Vec<Result<Self, StoreError>>, serde_json::Error> {
        let outcomes: Vec<Value> = serde_json::from_str(text)?;
        Ok(outcomes.into_iter().map(Self::read).collect())
    }

    fn read(outcome: Value) -> Result<Self, StoreError> {
        let Value::Object(mut outcome) = outcome else {
            return Err(odd_outcome("no object"));
        };
        let cells = COLUMNS.map(|name| match outcome.remove(name) {
            None | Some(Value::Null) => Ok(Cell::Null),
            Some(Value::String(text)) if name == "digest" => {
                bytes_of(&text).map(Cell::Bytes).ok_or(OddCell(name))
            }
            Some(Value::String(text)) => Ok(Cell::Text(text)),
            Some(value) => value.as_i64().map(Cell::Integer).ok_or(OddCell(name)),
        });
        let cells: Result<_, _> = cells.into_iter().collect();
        cells.map(Self).map_err(corrupt)
    }

    /// Returns whether the change was made, or something that it depends on has changed since it was
    /// planned.
    ///
    /// # Errors
    ///
    /// Returns an error if the change was refused.
    pub(super) fn is_made(&self) -> Result<bool, StoreError> {
        match self.text(OUTCOME)?.unwrap_or_default() {
            "done" => Ok(true),
            "stale" => Ok(false),
            "not_found" => Err(StoreError::new(StoreErrorKind::NotFound)),
            "too_many_keys" => Err(StoreError::new(StoreErrorKind::TooManyKeys)),
            "already_exists" => Err(StoreError::new(StoreErrorKind::AlreadyExists)),
            "repeated" => {
                let made = self.identifier(MADE)?;
                let made = made.ok_or_else(|| odd_outcome("no token of a key"))?;
                let is_same = self.text(DETAIL)? == Some("same");
                Err(Repeated::new(TokenId::from_bytes(made), is_same).into())
            }
            other => Err(odd_outcome(other)),
        }
    }

    pub(super) fn detail(&self) -> Result<Option<&str>, StoreError> {
        self.text(DETAIL)
    }

    pub(super) fn token(&self) -> Result<TokenRecord, StoreError> {
        token_from(self)
    }

    /// Returns the app of a token.
    pub(super) fn app(&self) -> Result<AppRecord, StoreError> {
        app_from(self, 11, 17)
    }

    pub(super) fn successor_expires_at(&self) -> Result<Option<Timestamp>, StoreError> {
        time(self, SUCCESSOR_EXPIRES_AT)
    }

    /// Returns the change with what it returns.
    pub(super) fn made(&self, applied: Applied) -> Result<Made, StoreError> {
        let revision = match self.integer(REVISION)? {
            Some(_) => Some(revision_at(self, REVISION)?),
            None => None,
        };
        Ok(Made { applied, revision })
    }

    pub(super) fn applied(&self, returns: Returns) -> Result<Applied, StoreError> {
        Ok(match returns {
            Returns::App => Applied::App(self.app()?),
            Returns::Token => Applied::Token(self.token()?),
            Returns::Count => {
                let affected = count(self, AFFECTED)?;
                Applied::Count(usize::try_from(affected).unwrap_or(usize::MAX))
            }
        })
    }
}

/// Reads bytes in hexadecimal digits.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let pairs = pairs.iter().map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect()
}

impl Columns for Outcome {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match &self.0[column] {
            Cell::Null => Ok(None),
            Cell::Integer(number) => Ok(Some(*number)),
            _ => Err(corrupt(OddCell(COLUMNS[column]))),
        }
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match &self.0[column] {
            Cell::Null => Ok(None),
            Cell::Text(text) => Ok(Some(text)),
            _ => Err(corrupt(OddCell(COLUMNS[column]))),
        }
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match &self.0[column] {
            Cell::Null => Ok(None),
            Cell::Bytes(bytes) => Ok(Some(bytes)),
            _ => Err(corrupt(OddCell(COLUMNS[column]))),
        }
    }

    fn identifier(&self, column: usize) -> Result<Option<[u8; 16]>, StoreError> {
        let id = self.text(column)?.map(Uuid::parse_str);
        Ok(id.transpose().map_err(corrupt)?.map(Uuid::into_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_of_another_form_is_an_error() {
        for odd in ["", "{}", "1"] {
            assert!(Outcome::read_all(odd).is_err(), "{odd}");
        }
        for odd in [
            "1",
            r#"{"digest": "\\x0101"}"#,
            r#"{"digest": "010"}"#,
            r#"{"uses": 1.5}"#,
            r#"{"id": []}"#,
        ] {
            let outcomes = Outcome::read_all(&format!(r#"[{odd}, {{"outcome": "done"}}]"#));
            let [of_odd, of_other] = outcomes.unwrap().try_into().ok().unwrap();
            assert!(of_odd.is_err(), "{odd}");
            assert!(of_other.unwrap().is_made().unwrap());
        }
        let outcomes = Outcome::read_all(r#"[{"uses": "1", "name": 1, "id": "1"}]"#);
        let [outcome] = outcomes.unwrap().try_into().ok().unwrap();
        let outcome = outcome.unwrap();
        assert!(outcome.integer(10).is_err());
        assert!(outcome.text(3).is_err());
        assert!(outcome.identifier(0).is_err());
        assert!(outcome.is_made().is_err());
    }

    #[test]
    fn bytes_are_read_in_hexadecimal_digits() {
        assert_eq!(bytes_of("00ff").unwrap(), [0, 255]);
    }
}
