//! Tells systemd about the state of the service (`sd_notify`).

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use crate::note::note;

/// The variable with the address of the socket.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// The server accepts requests.
pub(super) fn ready() {
    notify("READY=1");
}

/// The server is about to stop.
pub(super) fn stopping() {
    notify("STOPPING=1");
}

/// Whether systemd waits for the state of the service.
pub(super) fn is_used() -> bool {
    socket().is_some()
}

fn socket() -> Option<OsString> {
    env::var_os(VARIABLE).filter(|socket| !socket.is_empty())
}

fn notify(state: &str) {
    let Some(socket) = socket() else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        note(&format!("warning: cannot notify systemd: {error}"));
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    // A name that begins with `@` is in the abstract namespace.
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
