//! Benches of verification. `README.md` explains how to run them.

use std::fs;

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
