//! Benches of verification. `README.md` explains how to run them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

/// Returns the resident memory of this process, in bytes.
///
/// # Panics
///
/// Panics unless the system is Linux.
pub fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: f64 = kibibytes
        .and_then(|n| n.parse().ok())
        .expect("the size is a number");
    kibibytes * 1024.0
}

/// Threads that keep every processor busy.
#[derive(Debug)]
pub struct Foreign(Arc<AtomicBool>, Vec<thread::JoinHandle<()>>);

impl Foreign {
    /// Starts a thread for each processor.
    #[must_use]
    pub fn start() -> Self {
        let stopped = Arc::<AtomicBool>::default();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..processors).map(|_| {
            let stopped = Arc::clone(&stopped);
            thread::spawn(move || {
                while !stopped.load(Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        let threads = threads.collect();
        Self(stopped, threads)
    }

    /// Ends the threads.
    pub fn stop(self) {
        self.0.store(true, Relaxed);
        for thread in self.1 {
            drop(thread.join());
        }
    }
}
