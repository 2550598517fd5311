//! Why a node does not start, in words that say what to do.

use mesh::blobs::BlobError;

use crate::{control::ControlError, data_directory::DataDirectoryError};

/// Why a node does not start; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    DataDirectory(#[from] DataDirectoryError),
    /// It was put out, or has left.
    #[error(
        "this node is a member of its mesh no longer: {0}. With a new invite this machine can join again, into another data directory"
    )]
    NotAMember(String),
    /// A rotation of its key was interrupted.
    #[error("the rotation of this node's key was interrupted; finish it with: starling rotate")]
    HalfRotated,
    /// The mesh's port or network.
    #[error("{0}. Choose another port with --mesh-listen or in the configuration")]
    Mesh(#[from] mesh::TransportError),
    /// The store.
    #[error("the store cannot be opened: {0}")]
    Store(#[from] crdt::StoreError),
    /// The store of blobs.
    #[error("the store of blobs cannot be opened: {0}")]
    Blobs(#[from] BlobError),
    /// The monitor.
    #[error(transparent)]
    Monitor(#[from] monitor::MonitorError),
    /// The model.
    #[error("{0}")]
    Model(#[from] inference::engine::ModelError),
    /// The key for the upstream server.
    #[error("the file upstream_key_file of the configuration cannot be read: {0}")]
    UpstreamKey(#[source] std::io::Error),
    /// The model is there but cannot be loaded.
    #[error(
        "the model {model} cannot be used: {reason}. Is the file whole? Choose another with --model or in the configuration"
    )]
    Engine {
        /// What was configured.
        model: String,
        /// What the engine said.
        reason: String,
    },
    /// The page would be served in the clear.
    #[error(
        "the page on {0} would be served without encryption: whoever is on the way reads passwords and chats. Name tls_certificate and \
         tls_key under [gateway] in the configuration; or serve it on 127.0.0.1, behind a server that encrypts; or, in a network you \
         trust, allow it with --plain-http or plain_http = true"
    )]
    PlainHttp(std::net::SocketAddr),
    /// A certificate without its key, or a key without its certificate.
    #[error("tls_certificate and tls_key of the configuration belong together: name both or neither")]
    HalfOfTls,
    /// The certificate.
    #[error("the page's certificate cannot be used: {0}")]
    Certificate(#[from] gateway::CertificateError),
    /// The page's port.
    #[error("cannot serve the page on {address}: {reason}. Choose another port with --http or in the configuration")]
    Http {
        /// What was asked for.
        address: std::net::SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The program's own path.
    #[error("the program does not know where it is: {0}")]
    Program(std::io::Error),
}
