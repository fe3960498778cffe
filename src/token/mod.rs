//! The forms of a token: plaintext, digest, mask and identifier.

mod digest;
mod format;
mod grammar;
mod id;
mod mask;
mod scan;
mod secret;

pub use digest::{DigestError, TokenDigest};
pub use format::{LabelError, PrefixError, TokenFormat};
pub(crate) use grammar::is_b64token;
pub use id::{TokenId, TokenIdError};
pub use mask::{MaskError, MaskedToken};
pub use secret::ApiToken;
