//! Tests of the `api-tokens` executable.

mod apps;
mod arguments;
mod draining;
mod events;
mod filters;
mod formats;
mod guide;
mod http2;
mod hygiene;
mod limits;
mod measuring;
mod oauth;
mod output;
mod policies;
mod prompts;
mod remote;
mod server;
mod serving;
mod support;
mod tls;
mod tokens;
mod transfer;
mod triggers;
mod unix;
mod verifying;
