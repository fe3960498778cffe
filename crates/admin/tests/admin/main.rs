//! Managing apps and tokens: the operations, the guard, the audit and the API.

mod api;
mod audit;
mod authority;
mod client;
mod guard;
mod interruption;
mod operations;
mod repetition;
mod support;
