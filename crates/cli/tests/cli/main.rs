//! Tests of the `api-tokens` executable.

mod apps;
mod arguments;
mod configuration;
mod events;
mod filters;
mod formats;
mod guide;
mod hygiene;
mod leaks;
mod measuring;
mod oauth;
mod output;
mod policies;
mod prompts;
mod remote;
mod server;
mod serving;
mod support;
mod tokens;
mod transfer;
mod triggers;
mod verifying;
