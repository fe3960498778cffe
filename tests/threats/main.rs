//! Attacks on the crate, by topic. Each test states what holds under an attack.

#![allow(
    clippy::unwrap_used,
    reason = "a step that cannot go on fails its test"
)]

mod credentials;
mod expiry;
mod inputs;
mod lifecycle;
mod lookups;
mod randomness;
mod readiness;
mod secrets;
mod spoofing;
mod support;
mod telemetry;
mod types;
mod uniformity;
mod waiting;
