//! Where people come in: the page's port, and what the page is served with.

use std::{io::ErrorKind, net::SocketAddr};

use gateway::{CertificateFiles, Certificates};
use tokio::net::TcpListener;

use super::StartError;
use crate::config::GatewayConfig;

/// The port, taken, and the certificate.
pub(super) struct Page {
    pub(super) listener: TcpListener,
    pub(super) certificates: Option<Certificates>,
}

impl Page {
    /// Takes the port. A node that serves nobody would only send people on to others: it goes on without a page, and says why.
    ///
    /// # Errors
    /// Why a node that serves people has no page.
    pub(super) async fn open(config: &GatewayConfig, serves_people: bool) -> Result<Option<Self>, StartError> {
        let opened = match page_certificates(config) {
            Ok(certificates) => bind(config.listen)
                .await
                .map(|listener| Self { listener, certificates }),
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if !serves_people => {
                tracing::warn!(%error, "no page is served here; this node serves no people, so it goes on without");
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }
}

/// What the page is served with; in the clear only on this machine, or where that was allowed in so many words.
pub(crate) fn page_certificates(config: &GatewayConfig) -> Result<Option<Certificates>, StartError> {
    match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => {
            let files = CertificateFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            };
            Ok(Some(Certificates::load(files)?))
        }
        (None, None) if config.listen.ip().is_loopback() || config.plain_http => Ok(None),
        (None, None) => Err(StartError::PlainHttp(config.listen)),
        _ => Err(StartError::HalfOfTls),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = match error.kind() {
            ErrorKind::AddrInUse => "the port is already in use by another program".to_owned(),
            _ => error.to_string(),
        };
        StartError::Http { address, reason }
    })
}
