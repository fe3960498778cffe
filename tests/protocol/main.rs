//! The behavior over HTTP: which requests are admitted, and how the others are refused.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where what it relies on fails"
)]

mod axum;
mod challenges;
mod fields;
mod formats;
mod hints;
mod http2;
mod inner;
mod modes;
mod outside;
mod parsing;
mod passing;
mod places;
mod properties;
mod refusals;
mod renderer;
mod restrictions;
mod revisions;
mod scopes;
mod stacking;
mod support;
mod unavailable;
mod upgrades;
mod wire;
