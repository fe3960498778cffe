//! `app delete`: deletes an app.

use clap::Args;

use crate::{
    backend::{App, Context, Document},
    failure::Failure,
    prompt::Confirmation,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Identifier or name of the app; write `id:IDENTIFIER` if it matches several apps
    app: String,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// Deletes the app, and returns it as it was.
pub(super) async fn run(
    arguments: &Arguments,
    context: &Context<'_>,
) -> Result<Document<App>, Failure> {
    let app = context.find_app(&arguments.app).await?;
    let question = format!(
        "Delete the app `{}` ({}) and the records of its expired and revoked tokens? This cannot be undone.",
        app.name, app.id
    );
    arguments.confirmation.ask(&question)?;
    let deleted = context.backend.delete_app(&app.id).await;
    deleted.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            format!(
                "The app may or may not be deleted: check with `api-tokens app show id:{}`.",
                app.id
            )
        })
    })?;
    Ok(app)
}
