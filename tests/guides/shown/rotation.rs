use std::time::Duration;

use tower_api_tokens::{ApiTokens, IssuedToken, LifecycleError, TokenId};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Step 1: issues the successor. The old token is admitted for a week more.
async fn begin(tokens: &ApiTokens, old: TokenId) -> Result<IssuedToken, LifecycleError> {
    tokens.rotate(old, WEEK).await
}

/// Step 2: whether a use of the old token was recorded since the rotation. An earlier use proves
/// nothing.
async fn is_still_used(tokens: &ApiTokens, old: TokenId) -> Result<bool, LifecycleError> {
    let old = tokens.get(old).await?;
    let Some(successor) = old.successor else {
        return Ok(true);
    };
    let rotated = tokens.get(successor).await?.created_at;
    Ok(old.last_used_at.is_some_and(|used| used >= rotated))
}

/// Step 3: revokes the old token, unless a client still uses it. Call it after the client that runs
/// least often has run.
async fn finish(tokens: &ApiTokens, old: TokenId) -> Result<bool, LifecycleError> {
    let is_unused = !is_still_used(tokens, old).await?;
    if is_unused {
        tokens.revoke(old).await?;
    }
    Ok(is_unused)
}
