//! The network side of the server: listeners, connections with limits and timeouts, signals, and a
//! shutdown that finishes requests in progress.
//!
//! A [`Server`] serves several [`Listener`]s, each with what [responds](Respond) and a [`ConnectionLimit`] that several
//! may share. Its [`Phase`] says whether it is about to stop.

mod activity;
mod body;
mod certificate;
mod connection;
mod descriptors;
mod driver;
mod endpoint;
mod io;
mod limit;
mod listener;
mod options;
mod phase;
mod requests;
mod server;
mod signals;
mod since;
mod stream;
mod streams;
mod unix;

pub(super) use body::RequestBody;
pub(super) use certificate::Certificate;
pub(super) use descriptors::within_descriptors;
pub(super) use endpoint::Endpoint;
pub(super) use limit::ConnectionLimit;
pub(super) use listener::{Listener, Peer};
pub(super) use options::NetworkOptions;
pub(super) use phase::Phase;
pub(super) use requests::Respond;
pub(super) use server::Server;
pub(super) use signals::Signals;
