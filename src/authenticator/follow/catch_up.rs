use tokio::sync::oneshot;

use crate::store::StoreError;

pub(super) type Done = oneshot::Sender<Result<(), StoreError>>;

/// To apply the log up to now.
#[derive(Debug)]
pub(super) struct CatchUp {
    pub(super) done: Done,
    /// Whether what has changed is re-read before that is done.
    pub(super) refreshes: bool,
}
