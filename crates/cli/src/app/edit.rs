//! `app edit`: edits an app.

use clap::{ArgGroup, Args};
use tower_api_tokens::{AppEdit, RecordVersion};

use crate::{
    backend::{App, Context, Document},
    failure::Failure,
    metadata::MetadataChanges,
};

#[derive(Args)]
#[command(group(
    ArgGroup::new("changes")
        .required(true)
        .multiple(true)
        .args(["name", "metadata", "remove_metadata"])
))]
pub(crate) struct Arguments {
    /// Identifier or name of the app; write `id:IDENTIFIER` if it matches several apps
    app: String,
    /// New name of the app; it does not have to be unique
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    metadata: MetadataChanges,
    /// Edit the app only if it still has this version, which `app show` prints
    #[arg(long, value_name = "VERSION")]
    if_version: Option<RecordVersion>,
}

pub(super) async fn run(
    arguments: &Arguments,
    context: &Context<'_>,
) -> Result<Document<App>, Failure> {
    let mut edit = AppEdit::default().metadata(arguments.metadata.read()?);
    edit.name.clone_from(&arguments.name);
    let id = context.find_app(&arguments.app).await?.id;
    let edited = context.backend.edit_app(&id, arguments.if_version, edit);
    edited.await.map_err(|failure| {
        failure.advising_if_uncertain(|| {
            format!(
                "The app may or may not have been edited: check with `api-tokens app show id:{id}`."
            )
        })
    })
}
