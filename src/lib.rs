//! API tokens for tower services.

mod app;
mod clock;
mod entropy;
mod name;
mod principal;
mod record;
mod rejection;
mod scope;
pub mod store;
mod token;

pub use app::{AppId, AppIdError, AppRecord};
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use name::{MAX_NAME_LEN, NameError};
pub use principal::AppPrincipal;
pub use record::{TokenRecord, TokenStatus, TransitionError};
pub use rejection::{Rejection, RejectionKind};
pub use scope::{Scope, ScopeError, ScopeSet};
pub use store::{
    AppQuery, MemoryStore, Page, PageSize, Rotation, StoreError, StoreErrorKind, TokenQuery,
    TokenRegistry, TokenStore, TokenTarget,
};
pub use token::{
    ApiToken, DigestError, MaskError, MaskedToken, PrefixError, TokenDigest, TokenFormat, TokenId,
    TokenIdError,
};
