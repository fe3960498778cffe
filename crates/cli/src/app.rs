//! `app`: creates, lists, shows, edits, disables, enables and deletes apps.

mod delete;
mod edit;

use clap::Subcommand;
use futures_util::TryStreamExt;
use tower_api_tokens::{AppEdit, AppId, AppQuery};

use crate::{
    backend::{App, Context, Document},
    failure::Failure,
    metadata::MetadataOptions,
    output::{Listing, print_fields},
    session::Purpose,
    views::ShownApp,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create an app, and the database and its tables if they do not exist
    Create {
        /// Display name of the app; it does not have to be unique
        name: String,
        /// Identifier that your platform already uses for the app. Defaults to a generated one
        #[arg(long)]
        id: Option<AppId>,
        #[command(flatten)]
        metadata: MetadataOptions,
    },
    /// List all apps
    List,
    /// Show the details of an app
    Show {
        /// Identifier or name of the app; write `id:IDENTIFIER` if it matches several apps
        app: String,
    },
    /// Rename an app; its identifier stays the same
    Rename {
        /// Identifier or name of the app; write `id:IDENTIFIER` if it matches several apps
        app: String,
        /// New name of the app; it does not have to be unique
        name: String,
    },
    /// Edit an app: its name or metadata. Anything that you do not specify stays the same
    Edit(edit::Arguments),
    /// Disable an app: none of its tokens work until you enable it again
    Disable {
        /// Identifier or name of the app; write `id:IDENTIFIER` if it matches several apps
        app: String,
    },
    /// Enable an app: its tokens work again, except those that are expired or revoked
    Enable {
        /// Identifier or name of the app; write `id:IDENTIFIER` if it matches several apps
        app: String,
    },
    /// Delete an app that has no live tokens, and the records of its expired and revoked tokens
    Delete(delete::Arguments),
}

impl Command {
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Create { .. } => Purpose::Fill { in_memory: false },
            Self::List | Self::Show { .. } => Purpose::Read,
            Self::Rename { .. }
            | Self::Edit(_)
            | Self::Disable { .. }
            | Self::Enable { .. }
            | Self::Delete(_) => Purpose::Change,
        }
    }
}

pub(crate) async fn run(command: Command, context: &Context<'_>) -> Result<(), Failure> {
    let backend = context.backend;
    let app = match command {
        Command::List => return list(context).await,
        Command::Show { app } => context.find_app(&app).await?,
        Command::Create { name, id, metadata } => {
            backend.create_app(id, &name, metadata.read()?).await?
        }
        Command::Rename { app, name } => {
            let app = context.find_app(&app).await?.id;
            let edit = AppEdit::default().name(name);
            backend.edit_app(&app, None, edit).await?
        }
        Command::Edit(arguments) => edit::run(&arguments, context).await?,
        Command::Delete(arguments) => delete::run(&arguments, context).await?,
        Command::Disable { app } => {
            let app = context.find_app(&app).await?.id;
            backend.disable_app(&app).await.map_err(|failure| {
                failure.advising_if_uncertain(|| {
                    "The app may or may not be disabled. Repeat the command until it succeeds."
                        .to_owned()
                })
            })?
        }
        Command::Enable { app } => {
            let app = context.find_app(&app).await?.id;
            backend.enable_app(&app).await?
        }
    };
    print(context, &app)
}

async fn list(context: &Context<'_>) -> Result<(), Failure> {
    let mut listing = Listing::new::<ShownApp>(context.json);
    let mut apps = context.backend.apps(AppQuery::default().limit(1000));
    while let Some(app) = apps.try_next().await? {
        listing.add(&ShownApp(&app))?;
    }
    listing.end("No apps yet. Create one with `api-tokens app create NAME`.")
}

fn print(context: &Context<'_>, app: &Document<App>) -> Result<(), Failure> {
    let app = ShownApp(app);
    if context.json {
        context.print_json(&app)
    } else {
        print_fields(&app.fields())
    }
}
