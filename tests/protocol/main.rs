//! What goes over the wire, request by request.
//!
//! Where the protocol matters, the bytes go through a real hyper server on loopback, over HTTP/1 and
//! HTTP/2 alike, and the verdicts must agree.

mod admission;
mod extractors;
mod failures;
mod malformed;
mod modes;
mod refusals;
mod scopes;
mod service;
mod stacking;
mod upgrades;
mod wire;
