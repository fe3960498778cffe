//! Records moved between stores, and from tables of other systems.

#![allow(
    clippy::unwrap_used,
    reason = "a step that cannot go on fails its test"
)]

mod again;
mod bad_lines;
mod exports;
mod other_systems;
mod properties;
mod support;
