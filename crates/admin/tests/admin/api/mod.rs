//! The JSON API.

mod access;
mod bad_input;
mod deletion;
mod description;
mod editing;
mod editing_apps;
mod events;
mod filters;
mod formats;
mod hygiene;
mod idempotency;
mod lifecycle;
mod limited;
mod listing;
mod new_fields;
mod nodes;
mod policy;
mod search;
mod socket;
mod suspension;
mod unavailable;
mod versions;
