use std::time::Duration;

use domain::BatchId;
use queue::Queue;
use queue::reader::EntryId;
use queue::receipts::{ReceiptMessage, Receipts, Totals};
use queue::reporter::Reporter;
use testkit::{FaultProxy, Redis};
use tokio::time::Instant;

use crate::support::{P0, eventually, int, queue, soon};

struct Rig {
    redis: Redis,
    proxy: FaultProxy,
    receipts: Box<dyn Receipts>,
    reporter: Box<dyn Reporter>,
}

impl Rig {
    async fn start() -> Rig {
        let redis = Redis::start().await.unwrap();
        let proxy = FaultProxy::start(redis.addr()).await.unwrap();
        let receipts = queue(&redis.url_at(proxy.addr())).receipts();
        let reporter = queue(&redis.url()).reporter();
        let rig = Rig { redis, proxy, receipts, reporter };
        rig.subscribed(1).await;
        rig
    }

    async fn subscribed(&self, wanted: i64) {
        eventually("the subscription is as wanted", || async {
            let reply = self.redis.command(&["PUBSUB", "NUMSUB", self.receipts.address()]).await.unwrap();
            let redis::Value::Array(mut pair) = reply else { panic!("a pair") };
            int(pair.remove(1)) == wanted
        })
        .await;
    }

    fn receipt(&self, batch: BatchId, request_id: &str, part: u16) -> ReceiptMessage {
        ReceiptMessage {
            address: self.receipts.address().to_owned(),
            request_id: request_id.to_owned(),
            batch,
            part,
            recorded: 10 + u32::from(part),
            deduplicated: 2,
            conflicts: 1,
            dead_lettered: 3,
        }
    }

    async fn tell(&self, receipts: &[ReceiptMessage]) {
        self.reporter.report(P0, &[], receipts, EntryId::ZERO, Duration::ZERO).await;
    }
}

#[tokio::test]
async fn the_parts_of_a_request_add_up() {
    let rig = Rig::start().await;
    let batch = BatchId(uuid::Uuid::now_v7());
    let waiter = rig.receipts.expect(batch, "request \"1\"", 70);
    let another = rig.receipts.expect(BatchId(uuid::Uuid::now_v7()), "request \"1\"", 1);
    let mut parts: Vec<_> = (0..70).rev().map(|part| rig.receipt(batch, "request \"1\"", part)).collect();
    // Told twice, told of nobody, told of a part that there is not, told to nobody.
    parts.insert(3, parts[2].clone());
    parts.insert(0, rig.receipt(batch, "unknown", 0));
    parts.insert(0, rig.receipt(batch, "request \"1\"", 70 + 64));
    parts.insert(0, ReceiptMessage { address: String::new(), ..rig.receipt(batch, "request \"1\"", 0) });
    rig.tell(&parts[..40]).await;
    rig.tell(&parts[40..]).await;
    let recorded = (0..70).map(|part| 10 + part).sum();
    assert_eq!(
        waiter.wait(soon()).await,
        Some(Totals { recorded, deduplicated: 140, conflicts: 70, dead_lettered: 210 })
    );
    assert_eq!(another.wait(Instant::now()).await, None);
}

#[tokio::test]
async fn the_same_request_twice_at_once_is_told_twice() {
    let rig = Rig::start().await;
    let batch = BatchId(uuid::Uuid::now_v7());
    let waiters = [(); 3].map(|()| rig.receipts.expect(batch, "r", 1));
    let [first, second, dropped] = waiters;
    drop(dropped);
    rig.tell(&[rig.receipt(batch, "r", 0)]).await;
    assert!(first.wait(soon()).await.is_some());
    assert!(second.wait(soon()).await.is_some());
    // Nothing is left of them.
    let waiter = rig.receipts.expect(batch, "r", 1);
    rig.tell(&[rig.receipt(batch, "r", 0)]).await;
    assert!(waiter.wait(soon()).await.is_some());
}

#[tokio::test]
async fn a_lost_subscription_comes_back_and_garbage_is_passed_over() {
    let rig = Rig::start().await;
    rig.proxy.refuse();
    rig.proxy.cut();
    rig.subscribed(0).await;
    rig.proxy.heal();
    rig.subscribed(1).await;
    let batch = BatchId(uuid::Uuid::now_v7());
    let waiter = rig.receipts.expect(batch, "r", 1);
    rig.redis.command(&["PUBLISH", rig.receipts.address(), "no receipts"]).await.unwrap();
    rig.redis.command(&["PUBLISH", rig.receipts.address(), "[[1]]"]).await.unwrap();
    rig.tell(&[rig.receipt(batch, "r", 0)]).await;
    assert!(waiter.wait(soon()).await.is_some());
}

#[tokio::test]
async fn dropping_the_receipts_ends_the_subscription() {
    let rig = Rig::start().await;
    let address = rig.receipts.address().to_owned();
    drop(rig.receipts);
    eventually("nobody listens", || async {
        let reply = rig.redis.command(&["PUBSUB", "NUMSUB", &address]).await.unwrap();
        let redis::Value::Array(mut pair) = reply else { panic!("a pair") };
        int(pair.remove(1)) == 0
    })
    .await;
}
