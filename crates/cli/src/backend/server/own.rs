//! Revokes the token that requests are sent with, on behalf of its holder.

use http::StatusCode;

use super::{PAUSE, connection::Connection};
use crate::failure::Failure;

/// How often to ask whether the token is refused. Another node may accept it until it has read the change.
const CHECKS: usize = 20;

/// What a server answers about a token.
enum Verdict {
    /// The token works, or would work from another network.
    Accepted,
    Refused,
    /// The server has no endpoint for the question.
    Unknown,
}

/// Revokes the token. A server answers every text in the same way (RFC 7009 section 2.2), so the server is
/// asked before and afterwards whether it accepts the token.
pub(super) async fn revoke(connection: &Connection) -> Result<(), Failure> {
    let address = connection.address();
    let before = verify(connection).await?;
    if matches!(before, Verdict::Refused) {
        return Err(Failure::refused(format!(
            "{address} does not accept the token, so nothing was revoked; check the token and the URL"
        ))
        .advising("If this token was revoked before, there is nothing to do. If it is suspended, it can be revoked by its identifier."));
    }
    send(connection).await?;
    if matches!(before, Verdict::Unknown) {
        return Err(not_verified(connection));
    }
    for _ in 0..CHECKS {
        match verify(connection).await? {
            Verdict::Accepted => tokio::time::sleep(PAUSE).await,
            Verdict::Refused => return Ok(()),
            Verdict::Unknown => return Err(not_verified(connection)),
        }
    }
    Err(
        Failure::failed(format!("{address} still accepts the token"))
            .advising("Check the URL, and repeat the command until it succeeds."),
    )
}

async fn verify(connection: &Connection) -> Result<Verdict, Failure> {
    match connection.verify_own().await?.status() {
        // 403 is the answer to a token that is restricted to other networks.
        status if status.is_success() || status == StatusCode::FORBIDDEN => Ok(Verdict::Accepted),
        StatusCode::UNAUTHORIZED => Ok(Verdict::Refused),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(Verdict::Unknown),
        status => Err(unexpected(connection, status)),
    }
}

async fn send(connection: &Connection) -> Result<(), Failure> {
    match connection.revoke_own().await?.status() {
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            let address = connection.address();
            Err(Failure::failed(format!("{address} does not revoke tokens for their holders"))
                .advising("Revocation was expected at `/revoke` below this URL. Check the URL, and that `serve` runs without `--no-revoke` and `--verify-only`."))
        }
        status => Err(unexpected(connection, status)),
    }
}

fn unexpected(connection: &Connection, status: StatusCode) -> Failure {
    Failure::failed(format!(
        "{} responded with status {status}, and the token may not be revoked",
        connection.address()
    ))
    .advising("Repeat the command.")
}

fn not_verified(connection: &Connection) -> Failure {
    Failure::failed(format!(
        "{} was asked to revoke the token, but does not show whether it has done so",
        connection.address()
    ))
    .advising("Verification was expected at `/verify/any` below this URL. Check the URL, and that your service refuses the token.")
}
