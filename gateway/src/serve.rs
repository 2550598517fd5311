//! Connections: from the listener, over TLS where there is a certificate, to the router; and an end for each that does not speak.
//!
//! A connection has [`TLS_TIMEOUT`] to agree on keys, then [`HEAD_TIMEOUT`] for the whole head of each request, however slowly its
//! bytes drip; a body has to come within the deadline of its endpoint. The head's size and the number of its headers are limited.

#[cfg(test)]
mod tests;

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::{
    app::stopped,
    idle::{Patience, PatientStream, Peer},
    limits::{ACCEPT_AGAIN, CONNECTIONS_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT, TLS_TIMEOUT},
    tls::Certificates,
};

/// What every connection is served with.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) router: Router,
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// For the whole head of a request.
    pub(crate) head_timeout: Duration,
}

impl Service {
    pub(crate) const fn new(router: Router, certificates: Option<Arc<Certificates>>) -> Self {
        Self {
            router,
            certificates,
            head_timeout: HEAD_TIMEOUT,
        }
    }
}

/// Serves connections until `stopping` becomes true, then lets those that are open finish what they were asked.
pub(crate) async fn run(listener: TcpListener, service: Service, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    // When there is no place the connection ends at once: its page goes to another gateway instead of waiting.
                    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                        let talk = talk(stream, Peer(address), service.clone(), stopping.clone());
                        connections.spawn(async move {
                            talk.await;
                            drop(place);
                        });
                    }
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A connection that broke before it was taken is no matter; out of files, others must end first.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "no connection can be taken just now");
        tokio::time::sleep(ACCEPT_AGAIN).await;
    }
}

async fn talk(stream: TcpStream, peer: Peer, service: Service, stopping: watch::Receiver<bool>) {
    // Tokens are small frames: with the usual delay each would wait up to 40 ms for the one before it to be acknowledged.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let stream = PatientStream::new(stream);
    let line = (peer, stream.patience());
    let Some(certificates) = &service.certificates else {
        return speak(stream, line, service, stopping).await;
    };
    let accepting = TlsAcceptor::from(certificates.current()).accept(stream);
    match tokio::time::timeout(TLS_TIMEOUT, accepting).await {
        Ok(Ok(stream)) => speak(stream, line, service, stopping).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection came to no keys"),
        Err(_) => tracing::debug!("a connection came to no keys in time"),
    }
}

async fn speak<S>(stream: S, (peer, patience): (Peer, Patience), service: Service, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = service.router;
    let answer = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(patience.clone());
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(service.head_timeout)
        .max_header_size(HEAD_BYTES_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), answer).with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
