//! What tells a server to stop.

use tokio::{select, signal};

/// Waits for SIGTERM or SIGINT.
#[cfg(unix)]
pub(super) async fn asked_to_stop() {
    use signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            select! {
                _ = signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
pub(super) async fn asked_to_stop() {
    let _ = signal::ctrl_c().await;
}
