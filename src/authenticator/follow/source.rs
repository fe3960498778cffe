/// Where the tokens of a [preloaded](crate::FollowerBuilder::preload) cache came from when its follower
/// started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreloadSource {
    /// All live tokens were read from the store.
    #[non_exhaustive]
    Store {
        /// Why the [snapshot](crate::FollowerBuilder::snapshot) was not used, if one is configured.
        discarded: Option<String>,
    },
    /// The tokens were read from the [snapshot](crate::FollowerBuilder::snapshot), and only the changes since
    /// then from the store.
    #[non_exhaustive]
    Snapshot {
        /// The number of tokens in the snapshot.
        tokens: usize,
        /// The number of changes since then.
        changes: u64,
    },
}
