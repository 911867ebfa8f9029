//! The certificate and key that new sessions begin with, from PEM files, replaced as a whole by a reload: sessions that exist
//! go on with what they began with.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{NoServerSessionStorage, ProducesTickets},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::Session;

/// One is what a client that comes back needs; it may get another then.
const TICKETS: usize = 1;

/// Why there is no certificate: the file, and what is wrong with it. Never shows what a file holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", file.display())]
pub struct TlsError {
    /// Which of the two files.
    pub file: PathBuf,
    /// A sentence.
    pub message: String,
}

/// A certificate with its key, as sessions begin with it.
pub struct Shown(Arc<ServerConfig>);

/// Begins sessions.
pub struct Acceptor {
    config: RwLock<Arc<ServerConfig>>,
    /// Outlives reloads: a client may come back with what it got before.
    tickets: Arc<dyn ProducesTickets>,
    provider: Arc<CryptoProvider>,
}

/// Nothing of the key.
impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Shows the chain in `certificate` (PEM, the server's own first) and proves it with `key` (PEM, not encrypted).
    ///
    /// # Errors
    /// A file cannot be read, holds something else, or the two do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let failed = |error: rustls::Error| TlsError { file: key.to_owned(), message: error.to_string() };
        let tickets = ring::Ticketer::new().map_err(failed)?;
        let config = config(&provider, &tickets, certificate, key)?;
        Ok(Self { config: RwLock::new(Arc::new(config)), tickets, provider })
    }

    /// Reads both files again, for [`Acceptor::show`].
    ///
    /// # Errors
    /// As [`Acceptor::load`].
    pub fn read(&self, certificate: &Path, key: &Path) -> Result<Shown, TlsError> {
        config(&self.provider, &self.tickets, certificate, key).map(|config| Shown(Arc::new(config)))
    }

    /// From now on new sessions begin with this.
    pub fn show(&self, shown: Shown) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = shown.0;
    }

    /// A session for a socket that was just accepted.
    ///
    /// # Errors
    /// When rustls finds its configuration wanting, which [`Acceptor::load`] rules out.
    pub fn begin(&self) -> io::Result<Session> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        Session::new(config).map_err(io::Error::other)
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    tickets: &Arc<dyn ProducesTickets>,
    certificate: &Path,
    key: &Path,
) -> Result<ServerConfig, TlsError> {
    let failed = |file: &Path, message: String| TlsError { file: file.to_owned(), message };
    let chain: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_file_iter(certificate).and_then(|certificates| certificates.collect());
    let chain = chain.map_err(|error| failed(certificate, sentence(&error, "certificate")))?;
    if chain.is_empty() {
        return Err(failed(certificate, sentence(&pem::Error::NoItemsFound, "certificate")));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, sentence(&error, "private key")))?;
    let certified = CertifiedKey::from_der(chain, private, provider).map_err(|error| {
        let message = match error {
            rustls::Error::InconsistentKeys(_) => format!("is not the key of {}", certificate.display()),
            error => format!("is no key that TLS can use: {error}"),
        };
        failed(key, message)
    })?;
    let config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(certificate, error.to_string()))?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    // WebSockets over HTTP/1.1 alone.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // What a session can be taken up with is in the client's hands, encrypted: a cache here would grow with the clients.
    config.ticketer = Arc::clone(tickets);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    Ok(config)
}

fn sentence(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("holds no {wanted} in PEM"),
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        error => format!("is no PEM file: {error}"),
    }
}
