//! `app`: creates, lists, disables and enables apps.

use clap::Subcommand;
use futures_util::TryStreamExt;
use tower_api_tokens::{AppId, AppQuery, AppRecord, NewApp, TokenRegistryStreams};

use crate::{
    failure::Failure,
    output::{Listing, print_fields, print_json},
    session::{Purpose, Session},
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
    },
    /// List all apps
    List,
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
}

impl Command {
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Create { .. } => Purpose::Fill { in_memory: false },
            Self::List => Purpose::Read,
            Self::Disable { .. } | Self::Enable { .. } => Purpose::Change,
        }
    }
}

pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let operator = &session.operator;
    let app = match command {
        Command::List => return list(session).await,
        Command::Create { name, id } => operator.create_app(NewApp::named(name).id(id)).await?,
        Command::Disable { app } => {
            let app = session.find_app(&app).await?.id;
            let disabled = operator.disable_app(&app).await;
            disabled.map_err(|error| {
                Failure::from(error).advising_if_uncertain(|| {
                    "The app may or may not be disabled. Repeat the command until it succeeds."
                        .to_owned()
                })
            })?
        }
        Command::Enable { app } => {
            let app = session.find_app(&app).await?.id;
            operator.enable_app(&app).await?
        }
    };
    print(session, &app)
}

async fn list(session: &Session) -> Result<(), Failure> {
    let mut listing = Listing::new::<ShownApp>(session.json);
    let mut apps = session
        .registry
        .stream_apps(AppQuery::default().limit(1000));
    while let Some(app) = apps.try_next().await? {
        listing.add(&ShownApp(&app))?;
    }
    listing.end("No apps yet. Create one with `api-tokens app create NAME`.")
}

fn print(session: &Session, app: &AppRecord) -> Result<(), Failure> {
    let app = ShownApp(app);
    if session.json {
        print_json(&app)
    } else {
        print_fields(&app.fields())
    }
}
