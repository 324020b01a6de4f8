//! The certificate that the public port shows, read again when its file changes.

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are read: they are small, and comparing content also sees the swapped links of Kubernetes.
const INTERVAL: Duration = Duration::from_secs(5);
pub const H2: &[u8] = b"h2";

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: pem::Error },
    #[error("there is no certificate in {}", .0.display())]
    Empty(PathBuf),
    #[error("certificate and key do not go together, or cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What the public port shows.
pub struct Tls {
    pub acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    files: (PathBuf, PathBuf),
    /// The last look found files that cannot be used, and said so.
    failing: AtomicBool,
}

#[derive(Debug)]
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    pub fn new(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let shown = Arc::new(Shown(ArcSwap::from_pointee(read(certificate, key)?)));
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&shown) as _;
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        let files = (certificate.to_owned(), key.to_owned());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, shown, files, failing: AtomicBool::default() })
    }

    /// Looks at the files every five seconds until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let tls = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || tls.look()).await {
                tracing::error!(%error, "looking at the certificate failed");
            }
        }
    }

    /// True when another certificate is shown now. Files that cannot be used leave the one there is: a key that was
    /// written before its certificate is such a case, and over at the next look.
    pub fn look(&self) -> bool {
        let (certificate, key) = &self.files;
        let found = read(certificate, key);
        let failed_before = self.failing.swap(found.is_err(), Ordering::Relaxed);
        match found {
            Ok(found) if found.cert == self.shown.0.load().cert => false,
            Ok(found) => {
                self.shown.0.store(Arc::new(found));
                tracing::info!(path = %certificate.display(), "certificate taken over");
                true
            }
            Err(error) => {
                // Once, not every five seconds.
                if !failed_before {
                    tracing::warn!(%error, "certificate cannot be taken over, the one there is stays");
                }
                false
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(failed(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(certificate.to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    Ok(CertifiedKey::from_der(chain, key, &ring::default_provider())?)
}
