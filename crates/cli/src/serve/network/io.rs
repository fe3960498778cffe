//! A stream that records what its client does, and that closes without destroying the last response.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limit::Permit;

/// The stream of a connection.
pub(super) struct Io<S> {
    stream: S,
    permit: Permit,
    /// The stream was shut down for writing.
    shut_down: bool,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, permit: Permit) -> Self {
        Self {
            stream,
            permit,
            shut_down: false,
        }
    }

    /// Records whether the client accepts what is written.
    fn record<T>(&self, written: Poll<T>) -> Poll<T> {
        match written.is_ready() {
            true => self.permit.write_proceeds(),
            false => self.permit.write_blocks(),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.permit.bytes_arrive();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.record(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.record(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.record(flushed)
    }

    /// Shuts down. If the client may still be sending a request that was refused, then reads what it sends until
    /// it closes the connection: a socket that is closed before everything is read resets the connection, and
    /// the client might lose the response.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.permit.closes();
        if !self.shut_down {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut_down = true;
        }
        while self.permit.may_be_sending() {
            let mut space = [MaybeUninit::uninit(); 8192];
            let mut discarded = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut discarded))?;
            if discarded.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
