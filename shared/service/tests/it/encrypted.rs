//! The public port behind TLS.

use crate::kit::{ENV, Server, limits, request, start_on};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use service::http::{Tls, TlsError, TlsStats};
use service::metrics::Metrics;
use service::settings::{Settings, Tier};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use testkit::Certificates;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn connect(
    server: &Server,
    trusted: &Certificates,
    name: &str,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted.authority()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(server.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

fn shows(certificate: &Path, key: &Path) -> Result<Tls, TlsError> {
    Tls::new(certificate, key, TlsStats::new(&Metrics::new()).unwrap())
}

fn look(tls: &Tls) -> bool {
    tls.look(UnixTime::now())
}

async fn status(mut stream: TlsStream<TcpStream>) -> String {
    stream.write_all(&request("GET", "/health", &[], b"")).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap().to_owned()
}

#[tokio::test]
async fn requests_come_encrypted_and_the_certificate_changes_while_it_runs() {
    let certificates = Certificates::make().unwrap();
    let tls = Arc::new(shows(&certificates.certificate("here"), &certificates.key("here")).unwrap());
    // A connection is idle while certificates are made.
    let patient = limits(|limits| limits.header_time = Duration::from_secs(3_600));
    let server = start_on(ENV, patient, Some(Arc::clone(&tls))).await;
    let open = connect(&server, &certificates, "localhost", b"http/1.1").await.unwrap();
    let h2 = connect(&server, &certificates, "127.0.0.1", b"h2").await.unwrap();
    assert_eq!(h2.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert!(connect(&server, &certificates, "elsewhere.test", b"http/1.1").await.is_err());
    assert!(!look(&tls), "nothing has changed");

    // A key without its certificate is not taken over; both together are.
    let key = fs::read(certificates.key("here")).unwrap();
    fs::write(certificates.key("here"), fs::read(certificates.key("elsewhere")).unwrap()).unwrap();
    assert!(!look(&tls));
    fs::write(certificates.key("here"), key).unwrap();
    certificates.sign("here", "DNS:elsewhere.test").unwrap();
    assert!(look(&tls));
    let moved = connect(&server, &certificates, "elsewhere.test", b"http/1.1").await.unwrap();
    for stream in [moved, open] {
        assert_eq!(status(stream).await, "HTTP/1.1 200 OK");
    }
    server.stop().await;
}

#[tokio::test]
async fn metrics_say_when_the_certificate_that_clients_see_ends_and_how_reloads_went() {
    let certificates = Certificates::make().unwrap();
    let (file, metrics) = (certificates.certificate("here"), Metrics::new());
    let stats = TlsStats::new(&metrics).unwrap();
    let tls = Arc::new(Tls::new(&file, &certificates.key("here"), stats).unwrap());
    let server = start_on(ENV, limits(|_| {}), Some(Arc::clone(&tls))).await;
    let seen = async || {
        let stream = connect(&server, &certificates, "localhost", b"http/1.1").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    // When it ends; files accepted, and refused.
    let said = || {
        let page = metrics.render().unwrap();
        [
            "certificate_not_after_seconds",
            "certificate_reloads_total{result=\"accepted\"}",
            "certificate_reloads_total{result=\"refused\"}",
        ]
        .map(|name| {
            let value = page.lines().find_map(|line| line.strip_prefix(&format!("abstream_tls_{name} ")));
            value.unwrap_or_else(|| panic!("{name} is not in\n{page}")).parse::<i64>().unwrap()
        })
    };
    let first = certificates.not_after("here").unwrap();
    assert_eq!(said(), [first, 0, 0]);
    assert!(!look(&tls));
    assert_eq!(said(), [first, 0, 0], "what has not changed is no reload");

    certificates.sign_for("here", "DNS:localhost", 40).unwrap();
    let (second, der) =
        (certificates.not_after("here").unwrap(), CertificateDer::from_pem_file(&file).unwrap());
    assert!(second > first + 30 * 86_400, "{first} {second}");
    assert_ne!(seen().await, der);
    assert_eq!(said()[0], first, "what is shown, not what lies there");
    assert!(look(&tls));
    assert_eq!(seen().await, der);
    assert_eq!(said(), [second, 1, 0]);

    let whole = fs::read(&file).unwrap();
    let half = &whole[..whole.len() / 2];
    let no_certificate = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    for (broken, refused) in [half, b"", no_certificate].iter().zip(1..) {
        fs::write(&file, broken).unwrap();
        assert!(!look(&tls));
        assert_eq!(seen().await, der);
        assert_eq!(said(), [second, 1, refused]);
    }
    fs::write(&file, whole).unwrap();
    assert!(!look(&tls));
    assert_eq!(said(), [second, 1, 3], "the one that is shown, mended");
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_shake_hands_is_closed() {
    let certificates = Certificates::make().unwrap();
    let tls = Arc::new(shows(&certificates.certificate("here"), &certificates.key("here")).unwrap());
    let change = limits(|limits| limits.header_time = Duration::from_millis(200));
    let server = start_on(ENV, change, Some(tls)).await;
    for said in [&b""[..], b"\x16\x03\x01", b"GET /health HTTP/1.1\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset: no request is answered in the open.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP"), "{said:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn half_a_certificate_is_refused_by_name() {
    let refused = |said: &[(&str, &str)]| {
        let env = [&[("AB_REDIS_URL", "redis://h")], said].concat();
        Settings::for_testing(Tier::Gateway, &env).unwrap_err().to_string()
    };
    assert!(refused(&[("AB_TLS_CERT", "/c.pem")]).starts_with("AB_TLS_KEY: "));
    assert!(refused(&[("AB_TLS_KEY", "/k.pem")]).starts_with("AB_TLS_CERT: "));
    let certificates = Certificates::make().unwrap();
    let (here, elsewhere) = (certificates.certificate("here"), certificates.key("elsewhere"));
    assert!(shows(&here, &elsewhere).is_err());
    assert!(shows(&certificates.key("here"), &certificates.key("here")).is_err());
    assert!(shows(Path::new("/nowhere"), &elsewhere).unwrap_err().to_string().contains("/nowhere"));
}
