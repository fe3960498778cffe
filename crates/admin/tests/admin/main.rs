//! The management of apps and tokens: operations, guard, audit log and API.

mod api;
mod audit;
mod authority;
mod client;
mod guard;
mod interruption;
mod oauth;
mod operations;
mod repetition;
mod support;
