//! The listening socket. Its connections can be cut, because a fault must be able to end a connection without an
//! answer, which no HTTP handler can do by itself.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One connection, as handlers see it.
#[derive(Debug, Clone, Default)]
pub struct Peer(Arc<AtomicBool>);

impl Peer {
    /// Closes the connection at the next byte that would be written.
    pub fn lose(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A connection that its [`Peer`] can cut, and that ends when the cluster goes down.
pub struct Wire {
    stream: TcpStream,
    peer: Peer,
    /// None after it was received, because it must not be polled again.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
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
        // The end of the stream also wakes up idle connections, which a check at the next write would not.
        let ended = match &mut self.end {
            Some(end) => end.as_mut().poll(cx).is_ready(),
            None => true,
        };
        if ended {
            self.end = None;
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

/// Accepts connections. While the cluster is down nothing listens, so clients are refused as by a dead server.
#[derive(Debug)]
pub struct Door {
    inner: Option<TcpListener>,
    addr: SocketAddr,
    down: watch::Receiver<bool>,
}

/// How long to wait before the port is opened again if another process has it.
const AGAIN: Duration = Duration::from_millis(50);

impl Door {
    pub fn new(inner: TcpListener, down: watch::Receiver<bool>) -> io::Result<Self> {
        Ok(Self { addr: inner.local_addr()?, inner: Some(inner), down })
    }

    /// The listening socket, opened (again) if the cluster is up.
    async fn listener(&mut self) -> &mut TcpListener {
        if *self.down.borrow() {
            self.inner = None;
        }
        while self.inner.is_none() {
            if self.down.wait_for(|down| !down).await.is_err() {
                // Nobody is left to end the outage.
                std::future::pending::<()>().await;
            }
            match TcpListener::bind(self.addr).await {
                Ok(listener) => self.inner = Some(listener),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
        match &mut self.inner {
            Some(listener) => listener,
            None => std::future::pending().await,
        }
    }
}

impl Listener for Door {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        loop {
            let mut down = self.down.clone();
            let listener = self.listener().await;
            let went_down = async {
                if down.wait_for(|down| *down).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let (stream, addr) = tokio::select! {
                accepted = Listener::accept(listener) => accepted,
                () = went_down => continue,
            };
            // Small answers must not be delayed to be sent together.
            drop(stream.set_nodelay(true));
            let end: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                // Without its server, a connection is of no use.
                drop(down.wait_for(|down| *down).await);
            });
            return (Wire { stream, peer: Peer::default(), end: Some(end) }, addr);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().peer.clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_never_asked_ends_with_its_server_and_can_be_read_again() {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (down, told) = watch::channel(false);
        let mut door = Door::new(inner, told).unwrap();
        let client = TcpStream::connect(door.addr).await.unwrap();
        let (mut wire, _) = door.accept().await;
        down.send_replace(true);
        let mut buf = [0; 8];
        for _ in 0..3 {
            assert_eq!(wire.read(&mut buf).await.unwrap(), 0);
        }
        drop(client);
    }
}
