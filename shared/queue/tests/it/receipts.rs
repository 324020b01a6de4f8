use std::time::Duration;

use domain::BatchId;
use queue::Queue;
use queue::reader::EntryId;
use queue::receipts::{ReceiptMessage, Receipts};
use queue::reporter::Reporter;
use testkit::{FaultProxy, Redis};
use tokio::time::{timeout, timeout_at};

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
async fn who_waits_to_be_heard_misses_nothing_that_is_told_afterwards() {
    let rig = Rig::start().await;
    let heard = async || timeout(Duration::ZERO, rig.receipts.heard()).await.is_ok();
    eventually("somebody listens", heard).await;
    rig.proxy.refuse();
    rig.proxy.cut();
    eventually("nobody listens", || async { !heard().await }).await;
    let batch = BatchId(uuid::Uuid::now_v7());
    let waiter = rig.receipts.expect(batch, "r", 1);
    let told = async {
        timeout_at(soon(), rig.receipts.heard()).await.unwrap();
        rig.tell(&[rig.receipt(batch, "r", 0)]).await;
    };
    let ((), ()) = tokio::join!(told, async { rig.proxy.heal() });
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
