use tokio::sync::oneshot;

use crate::store::StoreError;

pub(super) type Done = oneshot::Sender<Result<(), StoreError>>;

/// A request to apply the log up to now.
#[derive(Debug)]
pub(super) struct CatchUp {
    pub(super) done: Done,
    /// Whether to re-read changed tokens before completing the request.
    pub(super) refreshes: bool,
}
