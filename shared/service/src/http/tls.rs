//! The certificate that the public port shows, read again when its file changes.

use crate::metrics::Metrics;
use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntGauge};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are read: they are small, and comparing content also sees the swapped links of Kubernetes.
const INTERVAL: Duration = Duration::from_secs(5);
const DAY: i64 = 86_400;
/// Days before its end from which on a certificate is warned of.
const SOON: i64 = 30;
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

/// There also where nothing is encrypted: then they stay 0.
#[derive(Debug)]
pub struct TlsStats {
    not_after: IntGauge,
    accepted: IntCounter,
    refused: IntCounter,
}

impl TlsStats {
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let not_after = metrics.gauge(
            "abstream_tls_certificate_not_after_seconds",
            "Unix time at which the certificate of the public port ends; 0: it is not encrypted",
        )?;
        let reloads = metrics.counter_vec(
            "abstream_tls_certificate_reloads_total",
            "Changed certificate files by result: accepted once, refused at every look while they cannot be used",
            &["result"],
        )?;
        let [accepted, refused] = ["accepted", "refused"].map(|result| reloads.with_label_values(&[result]));
        Ok(Self { not_after, accepted, refused })
    }
}

/// What the public port shows.
pub struct Tls {
    pub acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    files: (PathBuf, PathBuf),
    stats: TlsStats,
    /// The last look found files that cannot be used, and said so.
    failing: AtomicBool,
    /// It was said that the certificate shown ends soon.
    warned: AtomicBool,
}

#[derive(Debug)]
struct Shown(ArcSwap<Certificate>);

#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    /// Unix seconds.
    not_after: i64,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

impl Tls {
    pub fn new(certificate: &Path, key: &Path, stats: TlsStats) -> Result<Self, TlsError> {
        let files = (certificate.to_owned(), key.to_owned());
        let found = read(certificate, key)?;
        stats.not_after.set(found.not_after);
        let shown = Arc::new(Shown(ArcSwap::from_pointee(found)));
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&shown) as _;
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (failing, warned) = (AtomicBool::default(), AtomicBool::default());
        Ok(Self { acceptor, shown, files, stats, failing, warned })
    }

    /// Looks at the files every five seconds until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let tls = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || tls.look(UnixTime::now())).await {
                tracing::error!(%error, "looking at the certificate failed");
            }
        }
    }

    /// True when another certificate is shown now. Files that cannot be used leave the one there is: a key that was
    /// written before its certificate is such a case, and over at the next look.
    pub fn look(&self, now: UnixTime) -> bool {
        let (certificate, key) = &self.files;
        let found = read(certificate, key);
        let failed_before = self.failing.swap(found.is_err(), Ordering::Relaxed);
        let taken = match found {
            Ok(found) if found.key.cert == self.shown.0.load().key.cert => false,
            Ok(found) => {
                self.stats.not_after.set(found.not_after);
                self.stats.accepted.inc();
                self.shown.0.store(Arc::new(found));
                self.warned.store(false, Ordering::Relaxed);
                tracing::info!(path = %certificate.display(), "certificate taken over");
                true
            }
            Err(error) => {
                self.stats.refused.inc();
                // Once, not every five seconds.
                if !failed_before {
                    tracing::warn!(%error, "certificate cannot be taken over, the one there is stays");
                }
                false
            }
        };
        self.warn_before_the_end(now);
        taken
    }

    fn warn_before_the_end(&self, now: UnixTime) {
        let days = (self.shown.0.load().not_after - seconds(now)).div_euclid(DAY);
        if days < SOON && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(days, path = %self.files.0.display(), "certificate ends within thirty days");
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Certificate, TlsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(failed(certificate))?;
    let Some(own) = chain.first() else { return Err(TlsError::Empty(certificate.to_owned())) };
    let not_after = seconds(not_after(own)?);
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
    Ok(Certificate { key: Arc::new(key), not_after })
}

/// rustls tells when a certificate ends only where it refuses it for that, which it does before it asks who signed: so it
/// is asked about the end of time.
fn not_after(certificate: &CertificateDer<'_>) -> Result<UnixTime, rustls::Error> {
    let certificate = ParsedCertificate::try_from(certificate)?;
    let (nobody, never) = (RootCertStore::empty(), UnixTime::since_unix_epoch(Duration::MAX));
    match verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], never, &[]) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(not_after)
        }
        Err(error) => Err(error),
        Ok(()) => Err(CertificateError::UnknownIssuer.into()),
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
