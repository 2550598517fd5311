//! TLS 1.3 with a certificate from files, which are read again when they change: whoever renews a certificate need not restart a node.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::sync::watch;
use tokio_rustls::rustls::{
    ServerConfig, crypto,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    version::TLS13,
};

use crate::limits::{CERTIFICATE_BYTES_MAX, CERTIFICATE_LOOK_EVERY};

/// Where a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those between it and the root, as PEM.
    pub certificate: PathBuf,
    /// Its private key as PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Larger than any certificate.
    #[error("{0} is larger than {CERTIFICATE_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// There is no certificate in it.
    #[error("{0} holds no certificate in PEM")]
    NoCertificate(PathBuf),
    /// There is no key in it.
    #[error("{0} holds no private key in PEM")]
    NoKey(PathBuf),
    /// They do not belong together, or are of a kind that is not known.
    #[error("the certificate {certificate} and the key {key} cannot be used together: {reason}")]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What was found.
        reason: String,
    },
}

/// What tells one version of a file from the next.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// A certificate that follows its files.
#[derive(Debug)]
pub struct Certificates {
    files: CertificateFiles,
    read: Stamp,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(files: CertificateFiles) -> Result<Self, CertificateError> {
        let read = stamp(&files);
        let current = watch::Sender::new(Arc::new(read_files(&files)?));
        Ok(Self { files, read, current })
    }

    /// What the next connection is served with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.borrow().clone()
    }

    /// Reads the files again whenever they change. Those that cannot be used change nothing: the certificate of before goes on.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut known = self.read;
        loop {
            tokio::time::sleep(CERTIFICATE_LOOK_EVERY).await;
            let certificates = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || certificates.look(known));
            known = look.await.unwrap_or(known);
        }
    }

    fn look(&self, known: Stamp) -> Stamp {
        let found = stamp(&self.files);
        if found != known {
            match read_files(&self.files) {
                Ok(config) => {
                    self.current.send_replace(Arc::new(config));
                    tracing::info!(certificate = %self.files.certificate.display(), "a changed certificate is used from now on");
                }
                // Often one file is new and the other is not yet: the next change is looked at, too.
                Err(error) => tracing::warn!(%error, "a changed certificate cannot be used; the one of before goes on"),
            }
        }
        found
    }
}

fn stamp(files: &CertificateFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(unreadable)?.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateError::TooLarge(path.to_owned()));
    }
    fs::read(path).map_err(unreadable)
}

fn read_files(files: &CertificateFiles) -> Result<ServerConfig, CertificateError> {
    let no_certificate = || CertificateError::NoCertificate(files.certificate.clone());
    let chain = read_file(&files.certificate)?;
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|_| no_certificate())?;
    if chain.is_empty() {
        return Err(no_certificate());
    }
    let key = read_file(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| CertificateError::NoKey(files.key.clone()))?;
    let mismatch = |reason: String| CertificateError::Mismatch {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        reason,
    };
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| mismatch(error.to_string()))?;
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| mismatch(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed certificate for a name, and its key.
    fn made(directory: &Path, name: &str) -> CertificateFiles {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let files = CertificateFiles {
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
        };
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.key_pair.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn changed_files_are_read_again_and_bad_ones_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let files = made(directory.path(), "localhost");
        let certificates = Certificates::load(files.clone()).unwrap();
        let first = certificates.current();
        let known = certificates.look(certificates.read);
        assert!(Arc::ptr_eq(&first, &certificates.current()), "nothing changed");
        fs::write(&files.key, "half of a key").unwrap();
        let known = certificates.look(known);
        assert!(
            Arc::ptr_eq(&first, &certificates.current()),
            "the one of before goes on"
        );
        made(directory.path(), "other.example");
        certificates.look(known);
        assert!(!Arc::ptr_eq(&first, &certificates.current()));
    }

    #[test]
    fn what_is_wrong_with_the_files_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = made(directory.path(), "localhost");
        let said = |files: CertificateFiles| Certificates::load(files).unwrap_err().to_string();
        let missing = directory.path().join("none.pem");
        let without = CertificateFiles {
            certificate: missing,
            ..files.clone()
        };
        assert!(said(without).contains("none.pem cannot be read"));
        let swapped = CertificateFiles {
            certificate: files.key.clone(),
            key: files.certificate.clone(),
        };
        assert!(said(swapped).contains("key.pem holds no certificate"));
        let twice = CertificateFiles {
            key: files.certificate.clone(),
            ..files.clone()
        };
        assert!(said(twice).contains("certificate.pem holds no private key"));
        let other = tempfile::tempdir().unwrap();
        let strange = CertificateFiles {
            key: made(other.path(), "localhost").key,
            ..files
        };
        assert!(said(strange).contains("cannot be used together"));
    }
}
