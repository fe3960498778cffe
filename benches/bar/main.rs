//! Compares the cost of verification with its minimum, and with other layers.
//!
//! One run alternates many short rounds of each candidate, so a change in the machine's speed
//! affects all of them alike. Compare the ratios, not the times.
//!
//! Run it with `cargo bench --bench bar`. With `-- NAME`, only the parts whose name contains NAME
//! run: `hot`, `cold`, `refusals`, `single`, `threads`, `herd`, `loopback`. `-- profile` is for use
//! under a profiler.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

mod floor;
mod herd;
mod loopback;
mod paths;
mod platform;
mod profile;
mod refusals;
mod rounds;
mod single;
mod threads;
mod written;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if filter.as_deref() == Some("profile") {
        return profile::run();
    }
    let chosen = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    let parts: [(&str, fn()); 7] = [
        ("hot", paths::hot),
        ("cold", paths::cold),
        ("refusals", refusals::run),
        ("single", single::run),
        ("threads", threads::run),
        ("herd", herd::run),
        ("loopback", loopback::run),
    ];
    for (_, run) in parts.iter().filter(|(name, _)| chosen(name)) {
        run();
    }
}
