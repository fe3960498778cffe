//! The signals that stop the server or reload its certificate.

use std::{fs, future::pending, io, sync::Arc};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{Certificate, certificate::Reloader};
use crate::{note::note, serve::systemd};

/// Catches SIGTERM, SIGINT and SIGHUP.
pub(in crate::serve) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if it is ignored.
    hangup: Option<Signal>,
    /// Reloads the certificate on SIGHUP.
    reloader: Option<Reloader>,
}

impl Signals {
    /// Starts to catch the signals. SIGHUP reloads the certificate. Without one, it stops the server, as the end
    /// of a terminal session does, unless it is ignored, as under `nohup`, or the server is a service of systemd.
    pub(in crate::serve) fn catch(certificate: Option<Arc<Certificate>>) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match certificate.is_none() && hangup_is_ignored() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
            reloader: certificate.map(Reloader::start).transpose()?,
        })
    }

    /// Waits for the next signal to stop.
    pub(in crate::serve) async fn stop(&mut self) {
        loop {
            let hung_up = async {
                match &mut self.hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => pending().await,
                }
            };
            select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                () = hung_up => match &self.reloader {
                    Some(reloader) => reloader.request(),
                    // A service has no terminal session that could end.
                    None if systemd::is_used() => note("Nothing to reload, because TLS is not used"),
                    None => return,
                },
            }
        }
    }
}

/// Whether the process was started with SIGHUP ignored. Always false except on Linux.
fn hangup_is_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}
