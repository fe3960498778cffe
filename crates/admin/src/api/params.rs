//! The filters of tokens, which the listing and the revocation of many tokens have in common.

use serde::Deserialize;
use tower_api_tokens::{TokenFormats, TokenOrder, TokenQuery, TokenStatus};
use utoipa::IntoParams;

use super::{
    fields::{AppIdText, Cursor, FormatLabel, Limit, NamePart, TokenIdText},
    filter::{ActorName, LastFour, OrderSchema},
    values::Instant,
};
use crate::{operations::OperationError, problem::Problem, view::StatusSchema};

/// Defines the parameters of a request: the filters, and then others.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($other:tt)* }) => {
        $(#[$meta])*
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {

    /// Return only the token with this identifier.
    #[param(inline, nullable = false)]
    id: Option<TokenIdText>,
    /// Return only tokens of this app.
    #[param(inline, nullable = false)]
    app_id: Option<AppIdText>,
    /// Return only tokens with this status.
    #[param(inline, nullable = false, value_type = Option<StatusSchema>)]
    status: Option<TokenStatus>,
    /// Return only tokens whose name contains this text. Ignores the case of ASCII letters.
    #[param(inline, nullable = false)]
    name: Option<NamePart>,
    /// Return only tokens of this format. Takes the label or the prefix of the format.
    #[param(inline, nullable = false)]
    format: Option<FormatLabel>,
    #[param(inline, nullable = false)]
    last_four: Option<LastFour>,
    /// Return only tokens that were created by this actor.
    #[param(inline, nullable = false)]
    created_by: Option<ActorName>,
    /// Return only tokens that were created before this instant.
    #[param(inline, nullable = false)]
    created_before: Option<Instant>,
    /// Return only tokens that expire before this instant.
    #[param(inline, nullable = false)]
    expires_before: Option<Instant>,
    /// With `true`, return only tokens that never expire.
    #[serde(default)]
    #[param(default = false)]
    never_expires: bool,
    /// Return only tokens that were created before this instant and not used since. Only recorded uses
    /// count.
    #[param(inline, nullable = false)]
    unused_since: Option<Instant>,
    /// With `true`, return only tokens without a recorded use.
    #[serde(default)]
    #[param(default = false)]
    never_used: bool,
    /// With `true`, return only tokens that were replaced in a rotation; with `false`, only those that
    /// were not.
    #[param(nullable = false)]
    replaced: Option<bool>,
    /// Return only tokens that were replaced in a rotation. With `true`, only those that were used
    /// afterwards; with `false`, only those that were not.
    #[param(nullable = false)]
    used_since_rotation: Option<bool>,
            $($other)*
        }

        impl $name {
            /// Returns the query with the filters, or an error if two of them contradict each other.
            fn filters(&mut self, formats: &TokenFormats) -> Result<TokenQuery, Problem> {
                let instant = |at: &mut Option<Instant>| at.take().map(|Instant(at)| at);
                let mut query = TokenQuery::default();
                query.id = self.id.take().map(|TokenIdText(id)| id);
                query.app = self.app_id.take().map(|AppIdText(app)| app);
                query.status = self.status;
                query.name = self.name.take().map(|NamePart(part)| part);
                query.mask_tail = self.last_four.take().map(|LastFour(tail)| tail);
                query.created_by = self.created_by.take().map(|ActorName(actor)| actor);
                query.created_before = instant(&mut self.created_before);
                query.expires_before = instant(&mut self.expires_before);
                query.never_expires = self.never_expires;
                query.unused_since = instant(&mut self.unused_since);
                query.never_used = self.never_used;
                query.replaced = self.replaced;
                query.used_since_rotation = self.used_since_rotation;
                if let Some(FormatLabel(name)) = self.format.take() {
                    let format = formats.named(&name).map_err(OperationError::from)?;
                    query = query.format(format);
                }
                Ok(query)
            }
        }
    };
}

params! {
    /// The parameters of a listing of tokens.
    TokenParams {
    /// The order: `newest` or `oldest` by the time of creation, `expiry` for the earliest expiry first,
    /// or `last_used` for the longest unused first. `expiry` and `last_used` leave out revoked tokens.
    /// Defaults to the order that fits the filters: `expiry` for filters by expiry or rotation,
    /// `last_used` for those by use, or `newest`.
    #[param(inline, nullable = false, value_type = Option<OrderSchema>)]
    sort: Option<TokenOrder>,
    #[param(inline, nullable = false)]
    cursor: Option<Cursor>,
    #[param(inline, nullable = false)]
    limit: Option<Limit>,
    }
}

params! {
    /// The parameters of a revocation of many tokens.
    SelectionParams {}
}

impl TokenParams {
    /// Returns the query of the listing, from the first page on, and the cursor.
    pub(super) fn query(
        mut self,
        formats: &TokenFormats,
    ) -> Result<(TokenQuery, Option<Cursor>), Problem> {
        let mut query = self.filters(formats)?.limit(Limit::of(self.limit));
        query.order = self.sort;
        Ok((checked(query)?, self.cursor))
    }
}

impl SelectionParams {
    /// Returns the query of the selection.
    pub(super) fn query(mut self, formats: &TokenFormats) -> Result<TokenQuery, Problem> {
        checked(self.filters(formats)?)
    }
}

fn checked(query: TokenQuery) -> Result<TokenQuery, Problem> {
    match query.check() {
        Ok(()) => Ok(query),
        Err(conflict) => Err(Problem::unprocessable(
            "contradictory_filters",
            conflict.to_string(),
        )),
    }
}
