//! The limit of the system on open files.

#[cfg(target_os = "linux")]
use crate::{note::note, number::grouped};

/// File descriptors reserved for the store, the listener and other uses.
#[cfg(target_os = "linux")]
const RESERVED: u64 = 64;

/// Returns how many of the requested connections the limit on open files allows, after raising that
/// limit as far as the system permits.
#[cfg(target_os = "linux")]
pub(in crate::serve) fn within_descriptors(requested: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let needed = u64::try_from(requested)
        .unwrap_or(u64::MAX)
        .saturating_add(RESERVED);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        let raised = Rlimit {
            current: Some(maximum.map_or(needed, |maximum| maximum.min(needed))),
            maximum,
        };
        // On failure, the current limit applies.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    let Some(files) = getrlimit(Resource::Nofile).current else {
        return requested;
    };
    if files >= needed {
        return requested;
    }
    let allowed = files.saturating_sub(RESERVED).max(files / 2).max(1);
    note(&format!(
        "warning: serving at most {} connections at a time, because the process can open only {} files (`ulimit -n`); {RESERVED} of them are reserved",
        grouped(allowed),
        grouped(files)
    ));
    usize::try_from(allowed).unwrap_or(requested)
}

#[cfg(not(target_os = "linux"))]
pub(in crate::serve) fn within_descriptors(requested: usize) -> usize {
    requested
}
