//! `abctl webhooks` against a real analyzer.

use crate::deployment::Deployment;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_made_tried_out_and_deleted() {
    let deployment = Deployment::start_with(&[("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8")]).await;
    let run = |arguments: &[&str]| deployment.abctl(&[&["webhooks"], arguments].concat());
    assert_eq!(run(&["list"]).ok(), "no webhooks\n");
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        for status in ["200 OK", "500 No"] {
            let (mut stream, _) = receiver.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                let mut more = [0; 4_096];
                let read = stream.read(&mut more).unwrap();
                assert!(read > 0, "it ended early");
                request.extend_from_slice(&more[..read]);
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
    });

    let made = run(&["create", &url, "--event", "srm_mismatch", "--event", "dead_letters"]).ok();
    assert!(made.starts_with("webhook 1\nsecret  whsec_"), "{made}");
    let listed = run(&["list"]).ok();
    let heads = "    id  waiting  next attempt          url, events\n";
    assert_eq!(
        listed,
        format!("{heads}     1        0  -                     {url}  dead_letters srm_mismatch\n")
    );
    assert!(!run(&["list", "--json"]).ok().contains("secret"));

    let tested = run(&["test", "1", "--wait", "60s"]).ok();
    assert!(
        tested.lines().count() == 2 && tested.ends_with("  delivered         1  test                  200\n"),
        "{tested}"
    );
    // It is tried again in seconds; nobody waits for that here.
    let failing = run(&["test", "1", "--wait", "1s", "--json"]);
    assert_eq!(failing.code, 1, "{failing:?}");
    let shown: Value = serde_json::from_str(&failing.out).unwrap();
    assert_eq!((&shown["number"], &shown["state"]), (&Value::from(2), &Value::from("waiting")));
    serving.join().unwrap();
    let log = run(&["deliveries", "1"]).ok();
    assert_eq!(log.lines().count(), 3, "{log}");
    assert_eq!(run(&["deliveries", "1", "--state", "delivered"]).ok().lines().count(), 2);

    assert_eq!(run(&["delete", "1"]).ok(), "webhook 1 is deleted\n");
    let gone = run(&["deliveries", "1"]);
    assert!(gone.code == 1 && gone.error.contains("abctl webhooks list"), "{gone:?}");
    let refused = run(&["create", "http://10.0.0.1/"]);
    assert!(refused.code == 1 && refused.error.contains("AB_WEBHOOK_ALLOW_PRIVATE"), "{refused:?}");
}

/// Receivers that speak TLS, and a certificate for each.
#[cfg(feature = "tls")]
mod encrypted {
    use crate::deployment::Deployment;
    use serde_json::Value;
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    const RECEIVER: &str = r#"
import http.server, ssl, sys
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *told):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

    struct Receiver {
        process: Child,
        url: String,
    }

    impl Receiver {
        fn start(certificate: &Path, key: &Path) -> Receiver {
            let mut process = Command::new("python3")
                .args(["-c", RECEIVER])
                .args([certificate, key])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut port = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
            Receiver { process, url: format!("https://127.0.0.1:{}/", port.trim()) }
        }
    }

    impl Drop for Receiver {
        fn drop(&mut self) {
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }

    fn certificate(dir: &Path, name: &str, place: &str) -> (std::path::PathBuf, std::path::PathBuf) {
        let (pem, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        let made = Command::new("openssl")
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '))
            .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName={place}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .args([&key, Path::new("-out"), &pem])
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        (pem, key)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_delivery_goes_to_whom_the_certificate_is_for_and_to_nobody_else() {
        let dir = testkit::temp_dir("webhooks-tls").unwrap();
        let here = certificate(&dir, "here", "IP:127.0.0.1");
        let elsewhere = certificate(&dir, "elsewhere", "DNS:elsewhere.test");
        let stranger = certificate(&dir, "stranger", "IP:127.0.0.1");
        let trusted = dir.join("trusted.pem");
        let both = [std::fs::read(&here.0).unwrap(), std::fs::read(&elsewhere.0).unwrap()].concat();
        std::fs::write(&trusted, both).unwrap();
        let deployment = Deployment::start_with(&[
            ("AB_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8"),
            ("SSL_CERT_FILE", trusted.to_str().unwrap()),
        ])
        .await;
        let run = |arguments: &[&str]| deployment.abctl(&[&["webhooks"], arguments].concat());
        let receivers = [&here, &elsewhere, &stranger].map(|(pem, key)| Receiver::start(pem, key));
        for receiver in &receivers {
            assert!(run(&["create", &receiver.url]).ok().contains("whsec_"));
        }
        let tested = run(&["test", "1", "--wait", "60s"]);
        assert!(tested.code == 0 && tested.out.contains("  delivered "), "{tested:?}");
        for id in ["2", "3"] {
            assert_eq!(run(&["test", id, "--wait", "0s"]).code, 1);
            let tried = async || {
                let log: Value = serde_json::from_str(&run(&["deliveries", id, "--json"]).ok()).unwrap();
                log["items"][0]["error"] == "tls"
            };
            testkit::eventually("the handshake fails", Duration::from_secs(60), tried).await.unwrap();
        }
    }
}
