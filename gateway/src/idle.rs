//! Connections on which nothing moves are closed: a silent page, or one that takes no answer, must not hold a file handle for ever.
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

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use crate::limits::CONNECTION_SILENCE_MAX;

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

/// A connection that fails when nothing has come, and nothing was taken, for [`CONNECTION_SILENCE_MAX`].
pub(crate) struct PatientStream {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    patience: Patience,
}

impl PatientStream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            deadline: Box::pin(sleep(CONNECTION_SILENCE_MAX)),
            patience: Patience::default(),
        }
    }

    /// Held by requests that take their time.
    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    /// What moved gives the whole time again; what did not is waited for until the time is over.
    fn judge<T>(&mut self, cx: &mut Context<'_>, moved: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.deadline.as_mut().reset(Instant::now() + CONNECTION_SILENCE_MAX);
            return moved;
        }
        let late = |()| Err(io::ErrorKind::TimedOut.into());
        self.deadline.as_mut().poll(cx).map(late)
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        // Only for what is read: whoever takes no answer is no better for having asked.
        while read.is_pending() && self.patience.is_held() && self.deadline.as_mut().poll(cx).is_ready() {
            self.deadline.as_mut().reset(Instant::now() + CONNECTION_SILENCE_MAX);
        }
        self.judge(cx, read)
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, written)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (PatientStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let (served, _) = listener.accept().await.unwrap();
        (PatientStream::new(served), client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_ends_and_one_that_speaks_does_not() {
        let (mut served, client) = pair().await;
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
        let (mut served, _client) = pair().await;
        let held = served.patience().hold();
        let waiting = tokio::time::timeout(CONNECTION_SILENCE_MAX * 5, served.read_u8());
        assert!(waiting.await.is_err(), "it is waited for");
        drop(held);
        assert_eq!(served.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    // Red when: whoever asks and takes no answer holds the connection for ever.
    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_its_connection() {
        let (mut served, client) = pair().await;
        let much = vec![0; 64 * 1024];
        let error = loop {
            if let Err(error) = served.write_all(&much).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
