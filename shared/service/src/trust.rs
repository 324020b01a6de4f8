//! TLS to servers of others, trusting whom the system trusts (`SSL_CERT_FILE` names others).

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, LazyLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

static CONFIG: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(config);

/// `None`: whoever answers is not known to be `host`.
pub async fn connect(host: &str, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let connector = TlsConnector::from(CONFIG.clone()?);
    connector.connect(name, stream).await.ok()
}

fn config() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let (found, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if found == 0 {
        tracing::error!("no trusted certificates were found: nobody can be reached over https");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
