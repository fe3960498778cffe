//! The JSON API.

mod access;
mod bad_input;
mod description;
mod formats;
mod idempotency;
mod lifecycle;
mod listing;
mod socket;
mod unavailable;
