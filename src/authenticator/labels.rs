//! The labels of the configured formats.

use sha2::{Digest, Sha256};

use crate::{
    intern::Label,
    token::{MaskedToken, TokenFormat},
};

/// The formats with their labels, which principals show.
#[derive(Debug, Default)]
pub(super) struct Labels(Box<[(TokenFormat, Label)]>);

impl Labels {
    pub(super) fn new(formats: &[TokenFormat]) -> Self {
        let labelled = |format: &TokenFormat| (format.clone(), Label::new(format.label()));
        Self(formats.iter().map(labelled).collect())
    }

    /// Returns the label of the format that a token has, by its mask.
    pub(super) fn of(&self, mask: &MaskedToken) -> Option<Label> {
        let (_, label) = self.0.iter().find(|(format, _)| format.has_mask(mask))?;
        Some(*label)
    }

    /// Returns the label of a configured format.
    pub(super) fn named(&self, label: &str) -> Option<Label> {
        let mut labels = self.0.iter().map(|(_, label)| *label);
        labels.find(|known| known.as_str() == label)
    }

    /// Returns a digest that differs if a token may have another label.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (format, label) in &self.0 {
            for text in [format.prefix(), label.as_str()] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        hash.finalize().into()
    }
}
