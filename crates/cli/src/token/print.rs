//! Prints tokens.

use crate::{
    backend::{Context, Document, IssuedDocument, Token},
    failure::Failure,
    note::note,
    output::{note_fields, print_fields, print_line},
    views::ShownToken,
};

pub(super) fn print(context: &Context<'_>, token: &Document<Token>) -> Result<(), Failure> {
    let token = ShownToken(token);
    if context.json {
        context.print_json(&token)
    } else {
        print_fields(&token.fields())
    }
}

/// Prints a newly issued token. Its text goes only to standard output.
pub(super) fn print_issued(context: &Context<'_>, issued: &IssuedDocument) -> Result<(), Failure> {
    if context.json {
        return context.print_json(issued);
    }
    note_fields(&ShownToken(&issued.record).fields());
    print_line(&issued.token)?;
    note(
        "The token was printed to standard output. It is shown only once: keep it in a secrets manager.",
    );
    Ok(())
}
