//! The way to Redis, encrypted.

use std::time::Duration;

use domain::BatchId;
use queue::reader::{EntryId, Read};
use queue::receipts::ReceiptMessage;
use queue::redis::RedisQueue;
use queue::{Queue, QueueError, Weakness};
use testkit::{Certificates, Redis};

use crate::support::{P0, entries, eventually, int, names, queue, send, soon};

/// With a second port, where everything is encrypted.
async fn server(certificates: &Certificates, name: &str) -> (Redis, u16) {
    let (certificate, key) = (certificates.certificate(name), certificates.key(name));
    let (ca, port) = (certificates.authority(), testkit::free_port().unwrap());
    let settings = [
        ("tls-port", &*port.to_string()),
        ("tls-cert-file", certificate.to_str().unwrap()),
        ("tls-key-file", key.to_str().unwrap()),
        ("tls-ca-cert-file", ca.to_str().unwrap()),
        ("tls-auth-clients", "no"),
    ];
    (Redis::start_with(&settings).await.unwrap(), port)
}

async fn weaknesses(url: &str) -> Result<Vec<Weakness>, QueueError> {
    RedisQueue::new(url, 1, 0)?.weaknesses(Duration::ZERO).await
}

#[tokio::test]
async fn a_server_is_trusted_by_its_name_and_by_who_signed_it() {
    let certificates = Certificates::make().unwrap();
    let ours = certificates.authority().display().to_string();
    let (here, port) = server(&certificates, "here").await;
    let url = format!("rediss://127.0.0.1:{port}/");
    let trusted = queue(&format!("{url}?sslrootcert={ours}"));
    assert_eq!(trusted.weaknesses(Duration::ZERO).await.unwrap(), []);
    weaknesses(&url).await.expect_err("nobody of the system's list has signed it");
    weaknesses(&format!("rediss://{}/?sslrootcert={ours}", here.addr())).await.expect_err("no TLS there");
    assert!(RedisQueue::new(&format!("{url}?sslrootcert=/nowhere/ca.pem"), 1, 0).is_err());

    let (_elsewhere, port) = server(&certificates, "elsewhere").await;
    let url = format!("rediss://127.0.0.1:{port}/?sslrootcert={ours}");
    weaknesses(&url).await.expect_err("a certificate for another name");
}

#[tokio::test]
async fn events_receipts_and_subscriptions_pass() {
    let certificates = Certificates::make().unwrap();
    let (redis, port) = server(&certificates, "here").await;
    let url = format!("rediss://localhost:{port}/?sslrootcert={}", certificates.authority().display());
    let queue = queue(&url);
    let producer = queue.producer();
    send(&*producer, "secret", 3).await;
    let entries = entries(&redis).await;
    assert_eq!(entries.iter().flat_map(names).collect::<Vec<_>>(), ["secret"]);
    let mut reader = queue.reader(P0, EntryId::ZERO);
    assert!(matches!(reader.next(10, Duration::ZERO).await.unwrap(), Read::Entries(read) if read.len() == 1));

    let (receipts, reporter, batch) = (queue.receipts(), queue.reporter(), BatchId(uuid::Uuid::now_v7()));
    let address = receipts.address();
    eventually("somebody listens", || async {
        let reply = redis.command(&["PUBSUB", "NUMSUB", address]).await.unwrap();
        matches!(reply, redis::Value::Array(pair) if int(pair[1].clone()) == 1)
    })
    .await;
    let waiter = receipts.expect(batch, "r", 1);
    let receipt = ReceiptMessage {
        address: address.to_owned(),
        request_id: "r".to_owned(),
        batch,
        part: 0,
        recorded: 3,
        deduplicated: 0,
        conflicts: 0,
        dead_lettered: 0,
    };
    reporter.report(P0, &[], &[receipt], EntryId::ZERO, Duration::ZERO).await;
    assert!(waiter.wait(soon()).await.is_some());
}
