//! Compares `api-tokens serve` with handlers that do the same work, and measures its memory.
//!
//! Run it with `cargo build --release -p api-tokens && cargo bench --bench serve`. It needs Linux, two
//! cores, and `wrk`; for the part `nginx`, also nginx. With `-- NAME`, only the parts whose name contains
//! NAME run: `verify`, `introspect`, `nginx`, `memory`.
//!
//! The server runs on the first core, and wrk on the second.

#![expect(clippy::disallowed_methods, reason = "real time is what is measured")]

#[cfg(target_os = "linux")]
mod compare;
#[cfg(target_os = "linux")]
mod floor;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod nginx;
#[cfg(target_os = "linux")]
mod platform;
#[cfg(target_os = "linux")]
mod process;

/// A part of the bench.
#[cfg(target_os = "linux")]
type Part = fn(&platform::Platform);

#[cfg(target_os = "linux")]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, file] = &arguments[..]
        && first == floor::ARGUMENT
    {
        return floor::run(file.as_ref());
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let platform = platform::Platform::new();
    let parts: [(&str, Part); 4] = [
        ("verify", compare::verify),
        ("introspect", compare::introspect),
        ("nginx", nginx::run),
        ("memory", memory::run),
    ];
    for (name, run) in parts {
        if filter.is_none_or(|filter| name.contains(&**filter)) {
            run(&platform);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("This bench reads `/proc`, so it needs Linux.");
}
