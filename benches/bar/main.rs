//! What verification costs, against the least that it could cost and against other layers.
//!
//! Everything is measured in turn within one run, many short rounds of each, so that a drift of the
//! machine's speed meets all alike: the ratios are what counts.
//!
//! `cargo bench --bench bar`, or with `-- NAME` only the parts whose name contains NAME: `paths`,
//! `single`, `threads`.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

mod contenders;
mod paths;
mod rounds;
mod single;
mod threads;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let chosen = |name: &str| filter.as_deref().is_none_or(|filter| name.contains(filter));
    let parts: [(&str, fn()); 3] = [
        ("paths", paths::run),
        ("single", single::run),
        ("threads", threads::run),
    ];
    for (_, run) in parts.iter().filter(|(name, _)| chosen(name)) {
        run();
    }
}
