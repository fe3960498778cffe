//! Prints tokens.

use tower_api_tokens::{IssuedToken, TokenRecord};
use tower_api_tokens_admin::view::IssuedView;

use crate::{
    failure::Failure,
    note::note,
    output::{note_fields, print_fields, print_json, print_line},
    session::Session,
    views::ShownToken,
};

pub(super) fn print(session: &Session, token: &TokenRecord) -> Result<(), Failure> {
    let token = ShownToken::now(session, token);
    if session.json {
        print_json(&token)
    } else {
        print_fields(&token.fields())
    }
}

/// Prints a newly issued token. Its text goes only to standard output.
pub(super) fn print_issued(session: &Session, issued: &IssuedToken) -> Result<(), Failure> {
    if session.json {
        let format = session.tokens.formats().label_of(&issued.record().mask);
        return print_json(&IssuedView::at(session.operator.now(), issued).with_format(format));
    }
    note_fields(&ShownToken::now(session, issued.record()).fields());
    print_line(issued.token().expose())?;
    note(
        "The token was printed to standard output. It is shown only once: keep it in a secrets manager.",
    );
    Ok(())
}
