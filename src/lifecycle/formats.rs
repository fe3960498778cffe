//! The formats in which tokens are issued and accepted.

use super::{LifecycleError, LifecycleErrorKind};
use crate::token::{MaskedToken, TokenFormat};

/// The issued formats, the default one first, and those that are only accepted.
#[derive(Clone, Debug)]
pub(super) struct Formats {
    pub(super) issued: Vec<TokenFormat>,
    pub(super) accepted: Vec<TokenFormat>,
    /// Whether tokens of other formats may have a successor in the default format.
    pub(super) replaces_imported: bool,
}

impl Formats {
    pub(super) fn new(format: TokenFormat) -> Self {
        Self {
            issued: vec![format],
            accepted: Vec::new(),
            replaces_imported: false,
        }
    }

    /// Returns the issued format with this prefix, or the default one.
    pub(super) fn named(&self, prefix: Option<&str>) -> Result<&TokenFormat, LifecycleError> {
        let named = |format: &&TokenFormat| prefix.is_none_or(|prefix| prefix == format.prefix());
        let found = self.issued.iter().find(named);
        found.ok_or_else(|| LifecycleError::new(LifecycleErrorKind::UnknownFormat))
    }

    /// Returns the format for the successor of a token with this mask: the same format, so that a
    /// token for a sandbox is not replaced by one for production.
    pub(super) fn of_successor(&self, mask: &MaskedToken) -> Result<&TokenFormat, LifecycleError> {
        let mut formats = self.issued.iter().chain(&self.accepted);
        match formats.find(|format| format.has_mask(mask)) {
            Some(format) => Ok(format),
            None if self.replaces_imported => self.named(None),
            None => Err(LifecycleError::new(LifecycleErrorKind::UnknownFormat)),
        }
    }
}
