//! `verify`: checks whether a token is accepted.

use std::net::IpAddr;

use clap::Args;
use serde::Serialize;
use tower_api_tokens::{AppId, AppPrincipal, Rejection, RejectionKind, ScopeSet, TokenId};

use crate::{
    failure::Failure,
    output::{print_fields, print_json},
    presented, scopes,
    session::Session,
    views::{Time, time_or},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Scope that the token must have. Separate several with commas, or repeat the option
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scopes::list)]
    scopes: Vec<ScopeSet>,
    /// Address of the client, for a token that is restricted to networks
    #[arg(long, value_name = "ADDRESS")]
    client_address: Option<IpAddr>,
    #[command(flatten)]
    misplaced: presented::Misplaced,
}

/// The JSON output.
#[derive(Serialize)]
struct Verdict {
    admitted: bool,
    reason: Option<RejectionKind>,
    app_id: Option<AppId>,
    app_name: Option<String>,
    token_id: Option<TokenId>,
    token_name: Option<String>,
    /// The label of the token's format.
    format: Option<String>,
    scopes: Vec<String>,
    expires_at: Option<Time>,
}

pub(crate) async fn run(arguments: &Arguments, session: &Session) -> Result<(), Failure> {
    arguments.misplaced.check()?;
    let required = scopes::union(&arguments.scopes)?;
    let token = presented::read("api-tokens verify")?;
    let authenticator = session.tokens.authenticator();
    let verdict = authenticator.authenticate_from(&token, arguments.client_address);
    match verdict.await {
        Ok(principal) => admitted(session, &principal, &required),
        Err(rejection) => refused(session, rejection),
    }
}

fn admitted(
    session: &Session,
    principal: &AppPrincipal,
    required: &ScopeSet,
) -> Result<(), Failure> {
    let missing = required
        .iter()
        .find(|scope| !principal.scopes().iter().any(|held| held == *scope));
    let verdict = Verdict {
        admitted: missing.is_none(),
        reason: missing.map(|_| RejectionKind::InsufficientScope),
        app_id: Some(*principal.app_id()),
        app_name: Some(principal.app_name().to_owned()),
        token_id: Some(principal.token_id()),
        token_name: Some(principal.token_name().to_owned()),
        format: principal.format().map(str::to_owned),
        scopes: principal.scopes().iter().map(str::to_owned).collect(),
        expires_at: principal.expires_at().map(Time),
    };
    let printed = if session.json {
        print_json(&verdict)
    } else if missing.is_none() {
        let mut fields = vec![
            (
                "app",
                format!("{} ({})", principal.app_name(), principal.app_id()),
            ),
            (
                "token",
                format!("{} ({})", principal.token_name(), principal.token_id()),
            ),
            ("scopes", principal.scopes().as_str().to_owned()),
            ("expires", time_or(principal.expires_at(), "never")),
        ];
        if let Some(format) = principal.format() {
            fields.push(("format", format.to_owned()));
        }
        print_fields(&fields)
    } else {
        Ok(())
    };
    match missing {
        None => printed,
        Some(scope) => Err(Failure::refused(format!(
            "the token lacks the scope `{scope}`"
        ))),
    }
}

fn refused(session: &Session, rejection: Rejection) -> Result<(), Failure> {
    if rejection.kind().is_unavailable() {
        return Err(Failure::failed("cannot check the token").because(rejection));
    }
    if session.json {
        let printed = print_json(&Verdict {
            admitted: false,
            reason: Some(rejection.kind()),
            app_id: rejection.app_id().copied(),
            app_name: None,
            token_id: rejection.token_id(),
            token_name: None,
            format: None,
            scopes: Vec::new(),
            expires_at: None,
        });
        // The exit code shows the refusal, even if nobody reads the output.
        drop(printed);
    }
    Err(Failure::refused(rejection.to_string()))
}
