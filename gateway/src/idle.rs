//! Connections that say nothing are closed: a silent or half-spoken request must not hold a file handle for ever.
//!
//! A page's socket answers a ping every twenty seconds, so it never counts as silent.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
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

impl Connected<IncomingStream<'_, PatientListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, PatientListener>) -> Self {
        Self(*stream.remote_addr())
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
}

impl AsyncRead for PatientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.deadline.as_mut().reset(Instant::now() + CONNECTION_SILENCE_MAX);
                Poll::Ready(result)
            }
            Poll::Pending => self
                .deadline
                .as_mut()
                .poll(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
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
}
