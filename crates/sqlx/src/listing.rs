//! The statement that lists tokens. Its text depends on which filters are set and on the order, never on values, so
//! that it is prepared once for each kind of listing.

use jiff::Timestamp;
use tower_api_tokens::{
    StoreError, TokenCursor, TokenOrder, TokenQuery, TokenStatus,
    store::{from_microseconds, microseconds},
};

use crate::rows::{Identifier, surplus, unsupported};

/// What differs between the databases. Tokens are `t`. In a condition, `#` is the parameter.
pub(crate) struct Dialect {
    /// What precedes the number of a parameter.
    pub(crate) parameter: char,
    /// The columns of a token.
    pub(crate) columns: &'static str,
    /// The tables.
    pub(crate) source: &'static str,
    /// The expiry, or the greatest integer if there is none.
    pub(crate) end: &'static str,
    pub(crate) app_disabled_at: &'static str,
    pub(crate) is_named: &'static str,
    pub(crate) has_head: &'static str,
    pub(crate) has_tail: &'static str,
    pub(crate) is_created_by: &'static str,
    /// Written so that no index is used for it: the order is what needs the index.
    pub(crate) is_unexpired: &'static str,
    /// Whether the planner estimates which index is best, instead of preferring any that fits a condition.
    pub(crate) weighs_indexes: bool,
    /// Whether `(a, b) > (c, d)` starts at its place in an index.
    pub(crate) compares_rows: bool,
}

/// A value to bind.
pub(crate) enum Value {
    Integer(i64),
    Text(String),
    Digest([u8; 32]),
    Identifier(Identifier),
}

/// A statement with its values. Its columns are those of a token, and what the token is sorted by.
pub(crate) struct Listing {
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
}

/// The day of the last use, or of the creation if the token was never used.
const LAST_DAY: &str = "coalesce(t.last_used_day, t.created_at / 86400000000 \
    - CASE WHEN t.created_at % 86400000000 < 0 THEN 1 ELSE 0 END)";

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Returns the statement that lists what [`TokenQuery::selects`], except that it does not judge what
/// restrictions mean.
pub(crate) fn listing(
    query: &TokenQuery,
    now: Timestamp,
    dialect: &Dialect,
) -> Result<Listing, StoreError> {
    let mut select = Select {
        order: query.order(),
        dialect,
        conditions: Vec::new(),
        values: Vec::new(),
    };
    select.record(query);
    select.expiry(query);
    select.usage(query);
    select.status(query, now)?;
    if !select.order.includes_revoked() {
        select.holds("t.revoked_at IS NULL");
    }
    if let Some(after) = query.after {
        select.position(query, after)?;
    }
    select.finish(query)
}

/// A statement in progress.
struct Select<'d> {
    order: TokenOrder,
    dialect: &'d Dialect,
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Select<'_> {
    /// Adds a value and returns its parameter.
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("{}{}", self.dialect.parameter, self.values.len())
    }

    fn holds(&mut self, condition: impl Into<String>) {
        self.conditions.push(condition.into());
    }

    /// Adds a condition with one value, if there is one.
    fn holds_for(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            let parameter = self.bind(value);
            self.holds(condition.replace('#', &parameter));
        }
    }

    fn record(&mut self, query: &TokenQuery) {
        let identifier = |id| Value::Identifier(Identifier::from(id));
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        self.holds_for("t.id = #", query.id.map(identifier));
        let digest = query.digest.map(|digest| Value::Digest(*digest.as_bytes()));
        self.holds_for("t.digest = #", digest);
        let app = query.app.map(|app| Value::Text(app.to_string()));
        self.holds_for("t.app_id = #", app);
        self.holds_for(self.dialect.is_named, text(&query.name));
        self.holds_for(self.dialect.has_head, text(&query.mask_head));
        self.holds_for(self.dialect.has_tail, text(&query.mask_tail));
        self.holds_for(self.dialect.is_created_by, text(&query.created_by));
        self.holds_for("t.created_at < #", query.created_before.map(before));
        self.holds_for("t.successor = #", query.successor.map(identifier));
        match query.replaced {
            Some(true) => self.holds("t.successor IS NOT NULL"),
            Some(false) => self.holds("t.successor IS NULL"),
            None => {}
        }
    }

    fn expiry(&mut self, query: &TokenQuery) {
        let end = self.dialect.end;
        self.holds_for(&format!("{end} < #"), query.expires_before.map(before));
        if query.never_expires {
            self.holds(format!("{end} = {}", i64::MAX));
        }
    }

    fn usage(&mut self, query: &TokenQuery) {
        if let Some(at) = query.unused_since {
            let unused = "coalesce(t.last_used_at, t.created_at) < #";
            self.holds_for(unused, Some(before(at)));
            // For the index, which has days.
            let day = microseconds(at).div_euclid(MICROSECONDS_PER_DAY);
            self.holds_for(&format!("{LAST_DAY} <= #"), Some(Value::Integer(day)));
        }
        if query.never_used {
            self.holds("t.last_used_at IS NULL AND t.last_used_day IS NULL");
        }
        if let Some(used) = query.used_since_rotation {
            self.holds(format!(
                "t.successor IS NOT NULL AND t.used_since_rotation = {used}"
            ));
        }
    }

    fn status(&mut self, query: &TokenQuery, now: Timestamp) -> Result<(), StoreError> {
        let (end, disabled) = (self.dialect.end, self.dialect.app_disabled_at);
        let is_enabled = format!("{disabled} IS NULL");
        if query.admissible {
            self.is_active(now);
            self.holds(&*is_enabled);
        }
        match query.status {
            None => {}
            Some(TokenStatus::Revoked) => self.holds("t.revoked_at IS NOT NULL"),
            Some(TokenStatus::Expired) => {
                self.holds("t.revoked_at IS NULL");
                self.holds_for(&format!("{end} <= #"), Some(instant(now)));
            }
            Some(TokenStatus::AppDisabled) => {
                self.is_active(now);
                self.holds(format!("{disabled} IS NOT NULL"));
            }
            Some(TokenStatus::Live) => {
                self.is_active(now);
                self.holds(is_enabled);
            }
            // What restrictions mean is judged afterwards.
            Some(TokenStatus::Restricted | TokenStatus::Suspended | TokenStatus::NotYetValid) => {
                self.is_active(now);
                self.holds(is_enabled);
                self.holds("t.restrictions IS NOT NULL");
            }
            Some(_) => return Err(unsupported()),
        }
        Ok(())
    }

    /// Neither revoked nor expired.
    fn is_active(&mut self, now: Timestamp) {
        self.holds("t.revoked_at IS NULL");
        let by_end = format!("{} > #", self.dialect.end);
        let is_unexpired = match self.order {
            TokenOrder::Expiry => &*by_end,
            // The index by use has the expiry, too.
            TokenOrder::LastUsed if self.dialect.weighs_indexes => &*by_end,
            _ => self.dialect.is_unexpired,
        };
        self.holds_for(is_unexpired, Some(instant(now)));
    }

    /// What tokens are sorted by before the identifier, if anything.
    fn key(&self) -> Result<Option<&'static str>, StoreError> {
        match self.order {
            TokenOrder::Newest | TokenOrder::Oldest => Ok(None),
            TokenOrder::Expiry => Ok(Some(self.dialect.end)),
            TokenOrder::LastUsed => Ok(Some(LAST_DAY)),
            _ => Err(unsupported()),
        }
    }

    /// Whether all tokens have the same key, the greatest: those that never expire.
    fn is_at_one_place(&self, query: &TokenQuery) -> bool {
        query.never_expires && self.order == TokenOrder::Expiry
    }

    fn position(&mut self, query: &TokenQuery, after: TokenCursor) -> Result<(), StoreError> {
        let id = Value::Identifier(after.id().into());
        let Some(key) = self.key()? else {
            let comes_after = match self.order.is_ascending() {
                true => "t.id > #",
                false => "t.id < #",
            };
            self.holds_for(comes_after, Some(id));
            return Ok(());
        };
        let (place, id) = (self.bind(Value::Integer(after.key())), self.bind(id));
        self.holds(match self.dialect.compares_rows {
            true => format!("({key}, t.id) > ({place}, {id})"),
            false if self.is_at_one_place(query) => format!("({key} > {place} OR t.id > {id})"),
            false => format!("{key} >= {place} AND ({key} > {place} OR t.id > {id})"),
        });
        Ok(())
    }

    fn finish(mut self, query: &TokenQuery) -> Result<Listing, StoreError> {
        let limit = self.bind(Value::Integer(surplus(query.limit.get())));
        let key = self.key()?;
        let order = match key {
            None if self.order.is_ascending() => "t.id".to_owned(),
            None => "t.id DESC".to_owned(),
            Some(_) if self.is_at_one_place(query) => "t.id".to_owned(),
            Some(key) => format!("{key}, t.id"),
        };
        let (columns, source) = (self.dialect.columns, self.dialect.source);
        let key = key.unwrap_or("CAST(0 AS bigint)");
        let mut text = format!("SELECT {columns}, {key} FROM {source}");
        for (n, condition) in self.conditions.iter().enumerate() {
            text.push_str(if n == 0 { " WHERE " } else { " AND " });
            text.push_str(condition);
        }
        text.push_str(&format!(" ORDER BY {order} LIMIT {limit}"));
        Ok(Listing {
            text,
            values: self.values,
        })
    }
}

/// An instant that is reached when its microsecond begins.
fn instant(at: Timestamp) -> Value {
    Value::Integer(microseconds(at))
}

/// The microsecond before which all times before an instant are. Times are stored in microseconds.
fn before(at: Timestamp) -> Value {
    let begun = microseconds(at);
    Value::Integer(begun + i64::from(from_microseconds(begun) < at))
}
