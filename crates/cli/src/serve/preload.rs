//! How the cache is filled before serving.

use std::path::PathBuf;

use clap::Args;
use tower_api_tokens::{FollowerBuilder, PreloadSource};

use crate::number::count;

#[derive(Args)]
pub(super) struct PreloadOptions {
    /// Load all live tokens into the cache before serving, and keep them there. Unknown tokens are then refused
    /// without a lookup
    #[arg(long)]
    preload: bool,
    /// Preload the cache and save it to this file, so that a restart reads the file and the changes since then.
    /// The file contains digests; other users must not be able to write to its directory
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// How many tokens the cache holds, at about 150 bytes each
    #[arg(long, value_name = "TOKENS", default_value_t = 1 << 20)]
    pub(super) cache_capacity: usize,
}

impl PreloadOptions {
    pub(super) fn configure(&self, follower: FollowerBuilder) -> FollowerBuilder {
        let follower = match self.preload {
            true => follower.preload(|_| ()),
            false => follower,
        };
        match &self.snapshot {
            Some(file) => follower.snapshot(file),
            None => follower,
        }
    }
}

/// Describes how the cache was filled.
pub(super) fn describe(source: &PreloadSource, cached: usize) -> String {
    let cached = count(cached as u64, "token");
    match source {
        PreloadSource::Snapshot {
            tokens, changes, ..
        } => format!(
            "Preloaded {} from the snapshot, and {} since then",
            count(*tokens as u64, "token"),
            count(*changes, "change"),
        ),
        PreloadSource::Store {
            discarded: Some(reason),
            ..
        } => format!("Preloaded {cached} from the store; the snapshot was not used: {reason}"),
        _ => format!("Preloaded {cached} from the store"),
    }
}
