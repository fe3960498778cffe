//! Apps, tokens and audit events as plain values.

pub(crate) mod app;
pub(crate) mod audit;
pub(crate) mod edit;
pub(crate) mod grantable;
pub(crate) mod metadata;
pub(crate) mod name;
pub(crate) mod network;
pub(crate) mod policy;
pub(crate) mod principal;
pub(crate) mod record;
pub(crate) mod restrictions;
pub(crate) mod scope;
pub(crate) mod version;
