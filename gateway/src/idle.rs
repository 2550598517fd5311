//! Connections that say nothing are closed: a silent or half-spoken request must not hold a file handle for ever.
//!
//! A page's socket answers a ping every twenty seconds, so it never counts as silent.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Instant, Sleep, sleep},
};

use crate::limits::CONNECTION_SILENCE_MAX;

/// A listener whose connections are closed when they are silent.
pub(crate) struct PatientListener(pub(crate) TcpListener);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// How many requests of a connection take their time: while there is one, the other end has nothing to say and is not silent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patience(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held(Patience);

impl Patience {
    pub(crate) fn hold(&self) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    fn is_held(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) peer: Peer,
    pub(crate) patience: Patience,
}

impl Connected<IncomingStream<'_, PatientListener>> for Line {
    fn connect_info(stream: IncomingStream<'_, PatientListener>) -> Self {
        Self {
            peer: Peer(*stream.remote_addr()),
            patience: stream.io().patience.clone(),
        }
    }
}

impl Listener for PatientListener {
    type Io = PatientStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (PatientStream, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        // Tokens are small frames: with the usual delay each would wait up to 40 ms for the one before it to be acknowledged.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        (
            PatientStream {
                stream,
                deadline: Box::pin(sleep(CONNECTION_SILENCE_MAX)),
                patience: Patience::default(),
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that fails to read when nothing has come for [`CONNECTION_SILENCE_MAX`].
pub(crate) struct PatientStream {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    patience: Patience,
}

impl AsyncRead for PatientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.deadline.as_mut().reset(Instant::now() + CONNECTION_SILENCE_MAX);
                Poll::Ready(result)
            }
            Poll::Pending => {
                while self.deadline.as_mut().poll(cx).is_ready() {
                    if !self.patience.is_held() {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    self.deadline.as_mut().reset(Instant::now() + CONNECTION_SILENCE_MAX);
                }
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_ends_and_one_that_speaks_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = PatientListener(listener);
        let client = TcpStream::connect(address).await.unwrap();
        let (mut served, _) = listener.accept().await;
        tokio::time::advance(CONNECTION_SILENCE_MAX / 2).await;
        client.writable().await.unwrap();
        client.try_write(b"x").unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'x');
        let began = Instant::now();
        assert_eq!(served.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(
            began.elapsed() >= CONNECTION_SILENCE_MAX,
            "what was said gave it the whole time again"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_an_answer_may_be_silent_for_as_long_as_it_takes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = PatientListener(listener);
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut served, _) = listener.accept().await;
        let held = served.patience.hold();
        let waiting = tokio::time::timeout(CONNECTION_SILENCE_MAX * 5, served.read_u8());
        assert!(waiting.await.is_err(), "it is waited for");
        drop(held);
        assert_eq!(served.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
