//! `app`: creates, lists, disables and enables apps.

use clap::Subcommand;
use futures_util::TryStreamExt;
use tower_api_tokens::{AppId, AppQuery, AppRecord, TokenRegistryStreams};

use crate::{
    failure::Failure,
    output::{Listing, print_fields, print_json},
    session::{Purpose, Session},
    views::ShownApp,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create an app; the database and its tables too, if they are missing
    Create {
        /// The app's name, for people; several may have one name
        name: String,
        /// The identifier by which the platform knows the app already; a new one unless it is given
        #[arg(long)]
        id: Option<AppId>,
    },
    /// List all apps
    List,
    /// Disable an app: from now on none of its tokens is admitted
    Disable {
        /// The app's identifier or name; `id:IDENTIFIER` where the text fits several apps
        app: String,
    },
    /// Enable an app: its tokens that are neither revoked nor expired are admitted again
    Enable {
        /// The app's identifier or name; `id:IDENTIFIER` where the text fits several apps
        app: String,
    },
}

impl Command {
    pub(crate) fn purpose(&self) -> Purpose {
        match self {
            Self::Create { .. } => Purpose::Fill { passing: false },
            Self::List => Purpose::Read,
            Self::Disable { .. } | Self::Enable { .. } => Purpose::Change,
        }
    }
}

pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    let operator = &session.operator;
    let app = match command {
        Command::List => return list(session).await,
        Command::Create { name, id } => operator.create_app(id, &name).await?,
        Command::Disable { app } => {
            let app = session.find_app(&app).await?.id;
            let disabled = operator.disable_app(&app).await;
            disabled.map_err(|error| Failure::from(error).unless_certain(|| {
                "It is not certain whether the app is disabled: repeat the command until it succeeds."
                    .to_owned()
            }))?
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
    listing.end("There is no app yet: `api-tokens app create NAME` makes one.")
}

fn print(session: &Session, app: &AppRecord) -> Result<(), Failure> {
    let app = ShownApp(app);
    if session.json {
        print_json(&app)
    } else {
        print_fields(&app.fields())
    }
}
