//! A stream that records what its client does, and that closes without destroying the last response.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limit::Permit;

/// The bytes with which an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The stream of a connection.
pub(super) struct Io<S> {
    stream: S,
    permit: Permit,
    /// The first bytes, until they are read again.
    first: Vec<u8>,
    /// The stream was shut down for writing.
    shut_down: bool,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, permit: Permit) -> Self {
        Self {
            stream,
            permit,
            first: Vec::new(),
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

impl<S: AsyncRead + Unpin> Io<S> {
    /// Puts back bytes that were read, so that they are read again.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.permit.bytes_arrive();
            self.first = [bytes, &self.first].concat();
        }
    }

    /// Waits for the first byte of a request, which is read again.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            ready!(self.poll_more(cx, 1))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads up to a number of bytes, which are read again.
    fn poll_more(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        let mut space = [0; PREFACE.len()];
        let mut bytes = ReadBuf::new(&mut space[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut bytes))?;
        if bytes.filled().is_empty() {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        self.permit.bytes_arrive();
        self.first.extend_from_slice(bytes.filled());
        Poll::Ready(Ok(()))
    }

    /// Reads until it is clear whether the connection begins with the preface of HTTP/2. What was read is read
    /// again.
    ///
    /// Nothing is allocated for a client that sends nothing.
    pub(super) fn poll_preface(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            ready!(self.poll_more(cx, PREFACE.len() - self.first.len()))?;
            if !PREFACE.starts_with(&self.first) {
                return Poll::Ready(Ok(false));
            }
            if self.first.len() == PREFACE.len() {
                return Poll::Ready(Ok(true));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let len = self.first.len().min(into.remaining());
            into.put_slice(&self.first[..len]);
            self.first.drain(..len);
            if self.first.is_empty() {
                self.first = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        task::yield_now,
    };

    use super::*;
    use crate::serve::network::ConnectionLimit;

    /// Sends bytes in two parts, and returns whether they begin HTTP/2, and what is read afterwards.
    async fn received(first: &[u8], second: &[u8]) -> (Option<bool>, Vec<u8>) {
        let (mut client, server) = duplex(1024);
        let mut io = Io::new(server, ConnectionLimit::new(1).acquire().await);
        let sending = async {
            client.write_all(first).await.unwrap();
            yield_now().await;
            client.write_all(second).await.unwrap();
            drop(client);
        };
        let receiving = async {
            let is_http2 = std::future::poll_fn(|cx| io.poll_preface(cx)).await.ok();
            let mut read = Vec::new();
            io.read_to_end(&mut read).await.unwrap();
            (is_http2, read)
        };
        tokio::join!(sending, receiving).1
    }

    #[tokio::test]
    async fn the_preface_distinguishes_http_2_and_is_not_lost() {
        let http2 = [PREFACE, b"frames"].concat();
        let post = b"POST /revoke HTTP/1.1\r\n\r\n";
        let almost = b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n";
        for (sent, expected) in [
            (&http2[..], Some(true)),
            (post, Some(false)),
            (almost, Some(false)),
            (b"P", None),
            (b"", None),
        ] {
            for split in [0, 1, sent.len() / 2, sent.len()] {
                let (first, second) = sent.split_at(split.min(sent.len()));
                let (is_http2, read) = received(first, second).await;
                assert_eq!(is_http2, expected, "{sent:?} {split}");
                assert_eq!(read, sent, "{split}");
            }
        }
    }
}
