use super::Applied;
use crate::store::Revision;

/// The result of a [`Mutation`](super::Mutation), and where it is in the change log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The result.
    pub applied: Applied,
    /// A revision that includes the change: that of its last entry in the
    /// [change log](crate::ChangeLog). A change without an entry has the latest one, or none. `None` if
    /// the store does not return revisions.
    pub revision: Option<Revision>,
}

impl Committed {
    /// Creates the result of a change that a revision includes, if it is known.
    #[must_use]
    pub fn new(applied: Applied, revision: impl Into<Option<Revision>>) -> Self {
        let revision = revision.into();
        Self { applied, revision }
    }
}
