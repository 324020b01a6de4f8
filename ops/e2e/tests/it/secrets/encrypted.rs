//! A gateway that shows a certificate: its key is in no log, also when the files are wrong.

use super::given::Given;
use super::{Chance, LIMIT, Said};
use crate::support::eventually;
use std::net::SocketAddr;
use std::process::Command;
use testkit::http::{Client, raw};
use testkit::{Certificates, Process};

pub async fn serve(said: &mut Said, chance: &mut Chance, settings: &Given) {
    let certificates = Certificates::make().unwrap();
    let (certificate, key) = (certificates.certificate("here"), certificates.key("here"));
    let text = std::fs::read_to_string(&key).unwrap();
    chance.0.extend(text.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    assert!(chance.0.iter().all(|secret| secret.len() >= 16), "too short to be found by");
    let [public, internal] =
        [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], testkit::free_port().unwrap())));
    let program = || {
        let files = [("AB_TLS_CERT", certificate.to_str().unwrap()), ("AB_TLS_KEY", key.to_str().unwrap())];
        settings
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .chain(files.map(|(name, value)| (name.to_owned(), value.to_owned())))
    };
    let check = |said: &mut Said, swapped: bool| {
        let mut command = Command::new(testkit::bin("ingest-gateway").unwrap());
        command.env_clear().envs(program()).arg("--check-config");
        if swapped {
            command.env("AB_TLS_CERT", &key).env("AB_TLS_KEY", &certificate);
        }
        let ended = command.output().unwrap();
        let text = [ended.stdout, ended.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        said.0.push(("--check-config with a certificate".into(), text));
        ended.status.code()
    };
    assert_eq!(check(said, false), Some(0));
    assert_eq!(check(said, true), Some(2), "the key for the certificate");
    assert!(said.0.last().unwrap().1.contains("AB_TLS_CERT"));

    let mut process = Process::of("ingest-gateway").unwrap();
    for (name, value) in program() {
        process = process.env(name, value);
    }
    let process = process.env("AB_LOG_LEVEL", "trace").env("AB_PORT", public.port().to_string());
    let mut process = process.env("AB_INTERNAL_ADDR", internal.to_string()).spawn().unwrap();
    process.wait_ready(internal, "/readyz", LIMIT).await.unwrap();
    // Whoever does not encrypt is not answered in the clear, and what was sent is not told.
    for bytes in [&b"GET /hidden HTTP/1.1\r\nx-api-key: hidden\r\n\r\n"[..], b"\x16\x03\x01hidden-garbage"] {
        let answer = raw(public, bytes, true, LIMIT).await.unwrap();
        assert!(!answer.starts_with(b"HTTP/"), "{:?}", String::from_utf8_lossy(&answer));
    }
    let metrics = Client::at(internal).get("/metrics").await.unwrap();
    said.answer("/metrics of an encrypted gateway", &metrics);
    let ends =
        format!("abstream_tls_certificate_not_after_seconds {}\n", certificates.not_after("here").unwrap());
    assert!(metrics.text().contains(&ends), "{ends} is not in\n{}", metrics.text());
    // Its files are mixed up while it runs.
    std::fs::copy(&key, &certificate).unwrap();
    // The one that stays lasts for two days.
    eventually("the files are found wrong, and the certificate old", LIMIT, async || {
        let log = process.stderr();
        log.contains("certificate cannot be taken over")
            && log.contains("certificate ends within thirty days")
    })
    .await;
    // Counted before it is said.
    let metrics = Client::at(internal).get("/metrics").await.unwrap().text();
    assert!(metrics.contains(&ends), "{ends} is not in\n{metrics}");
    let refused = "abstream_tls_certificate_reloads_total{result=\"refused\"}";
    assert!(metrics.contains(refused) && !metrics.contains(&format!("{refused} 0\n")), "{metrics}");
    assert!(process.terminate(LIMIT).await.unwrap().success());
    said.0.push(("log of an encrypted gateway".into(), process.stderr()));
}
