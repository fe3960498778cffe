//! The dashboard without scripts: requests and the pages in response.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where what it relies on fails"
)]

mod accounts;
mod activity;
mod apps;
mod brand;
mod create;
mod customers;
mod editing;
mod editing_apps;
mod export;
mod filters;
mod formats;
mod list;
mod login;
mod mount;
mod nodes;
mod overview;
mod policy;
mod reveal;
mod rotate;
mod security;
mod support;
mod suspension;
mod token;
mod trouble;
