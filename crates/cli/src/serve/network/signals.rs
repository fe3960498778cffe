//! The signals that stop the server.

use std::{fs, future::pending, io};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

/// Catches SIGTERM, SIGINT and SIGHUP.
pub(in crate::serve) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if it is ignored.
    hangup: Option<Signal>,
}

impl Signals {
    /// Starts to catch the signals. If SIGHUP is ignored, as under `nohup`, it stays ignored.
    pub(in crate::serve) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: match hangup_is_ignored() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    /// Waits for the next signal to stop.
    pub(in crate::serve) async fn stop(&mut self) {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => pending().await,
            }
        };
        select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = hung_up => {}
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
