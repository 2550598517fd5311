//! Connections that drip, swell or say nothing, on real sockets; only the clock is not real.

use std::{net::SocketAddr, path::Path};

use axum::{
    body::Bytes,
    middleware,
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, SupportedProtocolVersion, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

use super::*;
use crate::{
    limits::{CERTIFICATE_LOOK_EVERY, CONNECTION_SILENCE_MAX, HEADERS_MAX, REQUEST_TIMEOUT},
    routes::deadline,
    tls::CertificateFiles,
};

/// Between two drips: far below what counts as silence.
const DRIP: Duration = Duration::from_secs(3);

fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "here" }))
        .route("/body", post(|body: Bytes| async move { body.len().to_string() }))
}

/// Serves for as long as what is returned lives.
async fn serve(service: Service) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(run(listener, service, stopping));
    (address, stop)
}

/// Says `beginning`, then drips until the other end is closed or `patience` is over; what was answered, and when it was closed.
async fn drip(address: SocketAddr, beginning: &str, patience: Duration) -> (String, Option<Duration>) {
    let began = Instant::now();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    to.write_all(beginning.as_bytes()).await.unwrap();
    let dripping = async {
        while to.write_all(b"x").await.is_ok() {
            sleep(DRIP).await;
        }
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let hearing = async {
        // A reset is an end, too.
        let _ = from.read_to_end(&mut said).await;
        began.elapsed()
    };
    let closed = tokio::select! {
        closed = hearing => Some(closed),
        () = dripping => None,
        () = sleep(patience) => None,
    };
    (String::from_utf8_lossy(&said).into_owned(), closed)
}

// Red when: a head that drips holds its connection for longer than it may.
#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut_off() {
    let head = "GET / HTTP/1.1\r\nhost: here\r\nx-slow: ";
    let patience = HEAD_TIMEOUT * 4;
    let (address, _stop) = serve(Service::new(router(), None)).await;
    let (_, closed) = drip(address, head, patience).await;
    let closed = closed.expect("it is cut off");
    assert!(closed >= HEAD_TIMEOUT && closed < HEAD_TIMEOUT + DRIP, "{closed:?}");
    // Without the limit it is not: no drip counts as silence.
    let endless = Service {
        head_timeout: patience * 10,
        ..Service::new(router(), None)
    };
    let (address, _stop) = serve(endless).await;
    assert_eq!(drip(address, head, patience).await.1, None);
}

// Red when: a body that drips holds its connection for longer than a request may take.
#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_cut_off() {
    let head = "POST /body HTTP/1.1\r\nhost: here\r\ncontent-length: 100000\r\n\r\n";
    let patience = REQUEST_TIMEOUT * 2;
    let limited = router().layer(middleware::from_fn(deadline));
    let (address, _stop) = serve(Service::new(limited, None)).await;
    let (said, closed) = drip(address, head, patience).await;
    let closed = closed.expect("it is cut off");
    assert!(
        said.starts_with("HTTP/1.1 504") && said.contains("\"timeout\""),
        "{said}"
    );
    assert!(
        closed >= REQUEST_TIMEOUT && closed < REQUEST_TIMEOUT + DRIP,
        "{closed:?}"
    );
    let (address, _stop) = serve(Service::new(router(), None)).await;
    assert_eq!(drip(address, head, patience).await.1, None, "without the deadline");
}

// Red when: a connection that says nothing stays, before or between requests.
#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_ends() {
    let (address, _stop) = serve(Service::new(router(), None)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let began = Instant::now();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("here"), "{said}");
    assert!(began.elapsed() < CONNECTION_SILENCE_MAX, "{:?}", began.elapsed());
}

async fn status_of(address: SocketAddr, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n{headers}\r\n");
    // It may be refused before all of it was said.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    let said = String::from_utf8_lossy(&said).into_owned();
    said.split(' ').nth(1).unwrap_or_default().to_owned()
}

// Red when: a head of any size, or any number of headers, is taken.
#[tokio::test]
async fn heads_are_limited_in_size_and_number() {
    let (address, _stop) = serve(Service::new(router(), None)).await;
    let long = |bytes: usize| format!("x-long: {}\r\n", "x".repeat(bytes));
    assert_eq!(status_of(address, &long(HEAD_BYTES_MAX - 200)).await, "200");
    assert_eq!(status_of(address, &long(HEAD_BYTES_MAX)).await, "431");
    // `host` and `connection` count, too.
    let many = |count: usize| "x-many: x\r\n".repeat(count);
    assert_eq!(status_of(address, &many(HEADERS_MAX - 2)).await, "200");
    assert_eq!(status_of(address, &many(HEADERS_MAX - 1)).await, "431");
}

fn files_in(directory: &Path) -> CertificateFiles {
    CertificateFiles {
        certificate: directory.join("certificate.pem"),
        key: directory.join("key.pem"),
    }
}

/// Writes a new certificate and its key; what trusts it.
fn write_certificate(directory: &Path) -> RootCertStore {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (files, pem) = (files_in(directory), made.cert.pem());
    std::fs::write(&files.certificate, &pem).unwrap();
    std::fs::write(&files.key, made.key_pair.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    roots
}

/// A certificate of the test, and what trusts it.
fn certificates() -> (tempfile::TempDir, Arc<Certificates>, RootCertStore) {
    let directory = tempfile::tempdir().unwrap();
    let roots = write_certificate(directory.path());
    let certificates = Certificates::load(files_in(directory.path())).unwrap();
    (directory, Arc::new(certificates), roots)
}

async fn said_over_tls(
    address: SocketAddr,
    roots: RootCertStore,
    version: &'static SupportedProtocolVersion,
) -> io::Result<String> {
    let client = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said)
}

// Red when: anything older than TLS 1.3 is spoken, or plain HTTP beside it.
#[tokio::test]
async fn with_a_certificate_only_tls_1_3_is_spoken() {
    let (_directory, certificates, roots) = certificates();
    let (address, _stop) = serve(Service::new(router(), Some(certificates))).await;
    let said = said_over_tls(address, roots.clone(), &TLS13).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("here"), "{said}");
    assert!(said_over_tls(address, roots, &TLS12).await.is_err());
    assert_eq!(status_of(address, "").await, "", "plain HTTP has no answer");
}

// Red when: a connection that never agrees on keys stays.
#[tokio::test(start_paused = true)]
async fn keys_that_never_come_are_not_waited_for() {
    let (_directory, certificates, _) = certificates();
    let (address, _stop) = serve(Service::new(router(), Some(certificates))).await;
    // The beginning of a record that would be 16 KiB long.
    let (said, closed) = drip(address, "\u{16}\u{3}\u{1}\u{40}", TLS_TIMEOUT * 4).await;
    let closed = closed.expect("it is cut off");
    assert!(
        said.is_empty() && closed >= TLS_TIMEOUT && closed < TLS_TIMEOUT + DRIP,
        "{said:?} {closed:?}"
    );
}

// Red when: a renewed certificate is not used until the node is started again.
#[tokio::test(start_paused = true)]
async fn a_renewed_certificate_is_used_without_a_start() {
    let (directory, certificates, old) = certificates();
    let following = tokio::spawn(Arc::clone(&certificates).follow());
    let (address, _stop) = serve(Service::new(router(), Some(certificates))).await;
    let new = write_certificate(directory.path());
    assert!(said_over_tls(address, old.clone(), &TLS13).await.is_ok());
    assert!(said_over_tls(address, new.clone(), &TLS13).await.is_err());
    sleep(CERTIFICATE_LOOK_EVERY * 2).await;
    assert!(said_over_tls(address, new, &TLS13).await.is_ok());
    assert!(said_over_tls(address, old, &TLS13).await.is_err());
    following.abort();
}
