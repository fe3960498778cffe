//! The guides in `docs`: what they show is what is compiled and run, and what they link exists, in the
//! repository and on docs.rs.

#![allow(
    clippy::unwrap_used,
    reason = "a step that cannot go on fails its test"
)]

mod code;
mod commands;
mod custom_registry;
mod customers;
mod embed;
mod formats;
mod handlers;
mod items;
mod links;
mod names;
mod pages;
mod plan;
mod rotation;
mod tonic;
