//! The JSON API.

mod access;
mod bad_input;
mod description;
mod events;
mod formats;
mod idempotency;
mod lifecycle;
mod listing;
mod socket;
mod unavailable;
