//! Redis loses what it had accepted: what was not applied yet is gone, is counted to the event, and nothing else is.

use super::{LIMIT, assert_counted, heals, shows, worker};
use crate::support::eventually;
use e2e::diary::{Diary, UNDER_WAY};
use e2e::{Deployment, Setup, System};
use testkit::Redis;

const LOST: &str = "abstream_applied_events_total{fate=\"lost\"}";
/// Of a thousand acknowledged: what was under way when the worker was stopped it may have read already.
const LEAST: u16 = 1_000 - UNDER_WAY;
const REPLACED: &str = "abstream_streams_replaced_total";

/// Takes something away while events are on their way; ends when the loss is counted and later events are applied.
async fn lose(system: &mut System, diary: &Diary, take: impl AsyncFnOnce(&System)) {
    let before = (worker(system, LOST).await, worker(system, REPLACED).await);
    // Nothing is applied while it stands still, so that something is lost.
    system.worker.as_mut().unwrap().pause().unwrap();
    diary.fill(1_000).await.unwrap();
    take(system).await;
    system.worker.as_mut().unwrap().resume().unwrap();
    shows(system, LOST, before.0).await;
    shows(system, REPLACED, before.1).await;
    diary.fill(2_000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_emptied_or_older_redis_takes_away_is_counted() {
    let mut system = System::start(Setup { proxied: true, ..Setup::default() }).await.unwrap();
    let diary = Diary::start(&system).await.unwrap();
    diary.fill(2_000).await.unwrap();

    // The streams deleted, then everything.
    lose(&mut system, &diary, async |system| {
        for partition in 0..system.partitions() {
            system.redis.command(&["DEL", &format!("ab:{{events:{partition:02}}}")]).await.unwrap();
        }
    })
    .await;

    lose(&mut system, &diary, async |system| {
        system.redis.command(&["FLUSHALL"]).await.unwrap();
    })
    .await;

    let replica = replica_of(&system.redis).await;
    // From here on it hears of nothing; some of that is applied.
    replica.command(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    diary.fill(2_000).await.unwrap();
    heals(&system, "the replica knows nothing of it").await;
    lose(&mut system, &diary, async |system| {
        system.proxies.as_ref().unwrap().redis.redirect(replica.addr());
    })
    .await;

    let account = diary.account(&system).await.unwrap();
    assert_counted(&account);
    let least = (3 * u64::from(LEAST)).saturating_sub(account.doubted);
    assert!(account.comparison.lost >= least, "{} of {least}", account.comparison.lost);
    system.stop().await.unwrap();
}

/// In step with its master.
async fn replica_of(master: &Redis) -> Redis {
    let replica = Redis::start().await.unwrap();
    let port = master.addr().port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap();
    eventually("the replica follows", LIMIT, async || {
        let info = replica.command(&["INFO", "replication"]).await.unwrap();
        format!("{info:?}").contains("master_link_status:up")
    })
    .await;
    replica
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_while_nobody_sends_is_counted_as_well() {
    let mut system = System::start(Setup::default()).await.unwrap();
    let mut diary = Diary::start(&system).await.unwrap();
    diary.fill(2_000).await.unwrap();
    // Applied are those before; each writer has said its last word when nothing more comes in.
    system.worker.as_mut().unwrap().pause().unwrap();
    diary.fill(1_000).await.unwrap();
    let acknowledged = diary.acknowledged();
    diary.close().await.unwrap();
    assert!(diary.acknowledged() >= acknowledged);
    quiet(&system).await;
    system.redis.command(&["FLUSHALL"]).await.unwrap();
    system.worker.as_mut().unwrap().resume().unwrap();
    let lost = async || worker(&system, LOST).await >= f64::from(LEAST);
    eventually("the loss is counted", LIMIT, lost).await;
    system.stop().await.unwrap();
}

/// Waits until the gateway writes nothing any more.
async fn quiet(system: &System) {
    let mut last = None;
    eventually("the gateway is quiet", LIMIT, async || {
        let entries = super::gateway(system, "abstream_queue_entries_total").await;
        // Longer than idle writers wait before they say their last word.
        tokio::time::sleep(std::time::Duration::from_secs(6)).await;
        last.replace(entries) == Some(entries)
    })
    .await;
}
