//! The listening socket, with connections that can be cut: a fault must be able to end a connection without an answer,
//! which no HTTP handler can do by itself.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One connection, as handlers see it.
#[derive(Debug, Clone, Default)]
pub struct Peer(Arc<AtomicBool>);

impl Peer {
    /// Cuts the connection at the next byte that would be written.
    pub fn lose(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A connection that its [`Peer`] can cut, and that ends when the server goes down.
pub struct Wire {
    stream: TcpStream,
    peer: Peer,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The end of the stream wakes idle connections too, which a check at the next write would not.
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.peer.is_lost() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.peer.is_lost() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.peer.is_lost() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// Accepts connections; while the cluster is down it drops them at once.
#[derive(Debug)]
pub struct Door {
    inner: TcpListener,
    down: watch::Receiver<bool>,
}

impl Door {
    pub fn new(inner: TcpListener, down: watch::Receiver<bool>) -> Self {
        Self { inner, down }
    }
}

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        loop {
            let (stream, addr) = Listener::accept(&mut self.inner).await;
            if *self.down.borrow() {
                continue;
            }
            // Small answers must not wait for one another.
            drop(stream.set_nodelay(true));
            let mut down = self.down.clone();
            let end = Box::pin(async move {
                // Without its server a connection has nobody to talk to either.
                drop(down.wait_for(|down| *down).await);
            });
            return (Wire { stream, peer: Peer::default(), end }, addr);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().peer.clone()
    }
}
