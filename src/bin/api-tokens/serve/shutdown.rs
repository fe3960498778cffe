//! Serves until it is told to stop.

use std::{io, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, select, signal, sync::oneshot, time::sleep};

use crate::output::note;

/// How long requests that are under way may take after that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT, and then to the end of what is under way, within limits.
pub(super) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let (stop, stopping) = oneshot::channel();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        asked_to_stop().await;
        note("Stopping");
        let _ = stop.send(());
    });
    let late = async {
        let _ = stopping.await;
        sleep(PATIENCE).await;
    };
    select! {
        served = serving.into_future() => served,
        () = late => Ok(()),
    }
}

#[cfg(unix)]
async fn asked_to_stop() {
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
async fn asked_to_stop() {
    let _ = signal::ctrl_c().await;
}
