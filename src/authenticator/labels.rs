//! The labels of the configured formats.

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
}
