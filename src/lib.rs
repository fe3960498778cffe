//! API tokens for tower services.

#![warn(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod app;
mod authenticator;
#[cfg(feature = "axum")]
pub mod axum;
mod challenge;
mod clock;
mod credential;
mod entropy;
pub mod middleware;
mod name;
mod principal;
mod record;
mod rejection;
mod scope;
pub mod store;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod tokens;

pub use app::{AppId, AppIdError, AppRecord};
pub use authenticator::{Authenticator, AuthenticatorBuilder, Follower, FollowerBuilder, Stats};
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use middleware::{ApiTokenAuth, ApiTokenLayer, LayerError, RequireScopeLayer};
pub use name::{MAX_NAME_LEN, NameError};
pub use principal::AppPrincipal;
pub use record::{TokenRecord, TokenStatus, TransitionError};
pub use rejection::{Rejection, RejectionKind};
pub use scope::{Scope, ScopeError, ScopeSet};
#[cfg(feature = "sqlite")]
pub use store::sqlite::SqliteStore;
pub use store::{
    AppQuery, Change, ChangeLog, Changes, MemoryStore, Page, PageSize, Revision, Rotation,
    StoreError, StoreErrorKind, TokenQuery, TokenRegistry, TokenStore, TokenTarget, Usage,
    UsageLog,
};
pub use token::{
    ApiToken, DigestError, MaskError, MaskedToken, PrefixError, TokenDigest, TokenFormat, TokenId,
    TokenIdError,
};
pub use tokens::{
    ApiTokens, ApiTokensBuilder, AppTokens, ForeignToken, IssuedToken, LifecycleError,
    LifecycleErrorKind, NewToken,
};
