use domain::ExperimentId;
use queue::Queue;
use queue::catalogue::{Catalogue, Copies, Entry, Projection, Reconciled, Unavailable};
use queue::redis::{ProducerConfig, RedisCatalogue, RedisQueue};
use testkit::{Direction, FaultProxy, Redis};

use crate::support::{config, eventually};

const HASH: &str = "ab:{catalogue}";

struct Rig {
    redis: Redis,
    proxy: FaultProxy,
    projection: Box<dyn Projection>,
    catalogue: RedisCatalogue,
}

impl Rig {
    async fn start(max_loaded: usize) -> Rig {
        let redis = Redis::start().await.unwrap();
        let proxy = FaultProxy::start(redis.addr()).await.unwrap();
        let projection = queue(&redis.url(), 16).projection();
        let catalogue = queue(&redis.url_at(proxy.addr()), 16).redis_catalogue(max_loaded);
        let rig = Rig { redis, proxy, projection, catalogue };
        eventually("subscribed", || async { rig.catalogue.is_subscribed() }).await;
        rig
    }

    /// Waits until everything published so far is heard: with the first change of another experiment known, only
    /// a message, which comes behind all others, brings the second.
    async fn heard_all(&self) {
        for (revision, status) in [(1, "draft"), (2, "running")] {
            self.projection.put(&entry(999, status, revision)).await.unwrap();
            self.eventually_status("999", Some(status)).await;
        }
    }

    async fn reconcile(&self, all: &[Entry]) -> Reconciled {
        let ticket = self.projection.begin().await.unwrap();
        self.projection.reconcile(ticket, all.to_vec()).await.unwrap()
    }

    async fn status(&self, reference: &str) -> Option<String> {
        self.catalogue.lookup("acme", reference).await.unwrap().map(|entry| entry.status.clone())
    }

    async fn eventually_status(&self, reference: &str, wanted: Option<&str>) {
        eventually("the change is heard", || async {
            let found = self.catalogue.lookup("acme", reference).await;
            found.is_ok_and(|entry| entry.map(|entry| entry.status.clone()).as_deref() == wanted)
        })
        .await;
    }

    /// Reads of the hash so far.
    async fn reads(&self) -> u64 {
        let info = self.redis.command(&["INFO", "commandstats"]).await.unwrap();
        let redis::Value::BulkString(text) = info else { panic!("INFO answers text") };
        let text = String::from_utf8(text).unwrap();
        let stats = text.lines().find_map(|line| line.strip_prefix("cmdstat_hmget:calls="));
        stats.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    async fn fields(&self) -> Vec<String> {
        let reply = self.redis.command(&["HKEYS", HASH]).await.unwrap();
        let mut fields: Vec<String> = redis::from_redis_value(reply).unwrap();
        fields.sort();
        fields
    }

    async fn field(&self, name: &str) -> Option<String> {
        redis::from_redis_value(self.redis.command(&["HGET", HASH, name]).await.unwrap()).unwrap()
    }
}

fn queue(url: &str, partitions: u16) -> RedisQueue {
    RedisQueue::with(ProducerConfig { partitions, ..config(url) }).unwrap()
}

fn entry(id: i64, status: &str, revision: u64) -> Entry {
    Entry {
        id: ExperimentId(id),
        tenant: "acme".to_owned(),
        key: format!("exp-{id}"),
        status: status.to_owned(),
        variations: vec!["control".to_owned(), "treatment".to_owned()],
        metrics: vec!["purchase".to_owned()],
        revision,
    }
}

#[tokio::test]
async fn without_the_marker_the_answer_is_never_no() {
    let rig = Rig::start(100).await;
    assert!(matches!(rig.catalogue.check().await, Err(Unavailable::Incomplete)));
    rig.projection.put(&entry(7, "running", 1)).await.unwrap();
    assert!(matches!(rig.catalogue.lookup("acme", "exp-7").await, Err(Unavailable::Incomplete)));
    assert!(matches!(rig.catalogue.lookup("acme", "exp-8").await, Err(Unavailable::Incomplete)));
    assert!(matches!(rig.catalogue.uses_metric("acme", "x").await, Err(Unavailable::Incomplete)));

    rig.reconcile(&[entry(7, "running", 1)]).await;
    rig.eventually_status("exp-7", Some("running")).await;
    rig.catalogue.check().await.unwrap();

    rig.redis.command(&["FLUSHALL"]).await.unwrap();
    assert!(matches!(rig.catalogue.check().await, Err(Unavailable::Incomplete)));
    assert!(matches!(rig.catalogue.lookup("acme", "exp-9").await, Err(Unavailable::Incomplete)));
    rig.reconcile(&[entry(7, "running", 1), entry(9, "draft", 1)]).await;
    rig.eventually_status("exp-9", Some("draft")).await;
}

#[tokio::test]
async fn a_catalogue_of_another_partition_count_is_not_ours() {
    let rig = Rig::start(100).await;
    let theirs = queue(&rig.redis.url(), 32).projection();
    let ticket = theirs.begin().await.unwrap();
    theirs.reconcile(ticket, vec![entry(7, "running", 1)]).await.unwrap();
    let error = rig.catalogue.lookup("acme", "exp-7").await.unwrap_err();
    assert!(matches!(&error, Unavailable::Partitions { found, wanted: 16 } if found == "32"), "{error}");
}

#[tokio::test]
async fn answers_are_kept_until_a_change_is_heard() {
    let rig = Rig::start(100).await;
    rig.reconcile(&[entry(7, "running", 1)]).await;
    rig.eventually_status("exp-7", Some("running")).await;
    rig.heard_all().await;
    rig.eventually_status("exp-7", Some("running")).await;
    let before = rig.reads().await;
    for _ in 0..100 {
        assert_eq!(rig.status("exp-7").await.as_deref(), Some("running"));
    }
    assert_eq!(rig.reads().await, before);

    rig.projection.put(&entry(7, "stopped", 2)).await.unwrap();
    rig.eventually_status("exp-7", Some("stopped")).await;
    // Also that there is none: creation must not wait for the second a "no" is believed.
    assert_eq!(rig.status("exp-8").await, None);
    rig.projection.put(&entry(8, "draft", 1)).await.unwrap();
    rig.eventually_status("exp-8", Some("draft")).await;
    rig.projection.remove("acme", ExperimentId(8), "exp-8").await.unwrap();
    rig.eventually_status("exp-8", None).await;
    rig.reconcile(&[entry(7, "archived", 3)]).await;
    rig.eventually_status("7", Some("archived")).await;
}

#[tokio::test]
async fn a_miss_is_read_once_for_all_who_ask() {
    let rig = Rig::start(100).await;
    rig.reconcile(&[entry(7, "running", 1)]).await;
    rig.heard_all().await;
    let before = rig.reads().await;
    rig.proxy.stall(Direction::ToClient);
    let catalogue = std::sync::Arc::new(rig.catalogue);
    let ask = |reference| {
        let catalogue = std::sync::Arc::clone(&catalogue);
        tokio::spawn(async move { catalogue.lookup("acme", reference).await.unwrap().is_some() })
    };
    let lookups: Vec<_> = (0..50).flat_map(|_| [ask("exp-7"), ask("exp-8")]).collect();
    tokio::task::yield_now().await;
    rig.proxy.heal();
    let mut found = 0;
    for lookup in lookups {
        found += usize::from(lookup.await.unwrap());
    }
    assert_eq!(found, 50);
    let info = rig.redis.command(&["INFO", "commandstats"]).await.unwrap();
    let redis::Value::BulkString(text) = info else { panic!("INFO answers text") };
    let text = String::from_utf8(text).unwrap();
    let calls = text.lines().find_map(|line| line.strip_prefix("cmdstat_hmget:calls=")).unwrap();
    let calls: u64 = calls.split(',').next().unwrap().parse().unwrap();
    assert_eq!(calls, before + 2);
}

#[tokio::test]
async fn no_more_is_kept_than_allowed() {
    let rig = Rig::start(2).await;
    let all: Vec<Entry> = (1..=4).map(|id| entry(id, "running", 1)).collect();
    rig.reconcile(&all).await;
    rig.heard_all().await;
    for id in ["1", "2", "3", "4"] {
        assert_eq!(rig.status(id).await.as_deref(), Some("running"));
    }
    let before = rig.reads().await;
    rig.status("4").await;
    rig.status("3").await;
    assert_eq!(rig.reads().await, before, "the last two are there");
    rig.status("1").await;
    rig.status("3").await;
    assert_eq!(rig.reads().await, before + 1, "the one asked for longest ago gave way");
    rig.status("4").await;
    assert_eq!(rig.reads().await, before + 2);
    assert_eq!(rig.catalogue.copies().kept, 2);
    for n in 0..100 {
        assert_eq!(rig.status(&format!("nowhere-{n}")).await, None);
        assert_eq!(rig.catalogue.copies().kept, 2, "what is not there takes no more room than what is");
    }
    let Copies { misses, .. } = rig.catalogue.copies();
    rig.status("nowhere").await;
    rig.status("nowhere").await;
    assert!(rig.catalogue.copies().misses > misses);
}

#[tokio::test]
async fn nothing_is_believed_for_long_while_changes_cannot_be_heard() {
    let rig = Rig::start(100).await;
    rig.reconcile(&[entry(7, "running", 1)]).await;
    rig.eventually_status("exp-7", Some("running")).await;
    rig.proxy.refuse();
    rig.proxy.cut();
    eventually("nothing is heard", || async { !rig.catalogue.is_subscribed() }).await;
    eventually("unavailable, not unknown", || async {
        matches!(rig.catalogue.lookup("acme", "exp-7").await, Err(Unavailable::Unreachable(_)))
    })
    .await;
    rig.projection.put(&entry(7, "stopped", 2)).await.unwrap();
    rig.proxy.heal();
    eventually("back, with the change nobody told", || async {
        let found = rig.catalogue.lookup("acme", "exp-7").await;
        found.is_ok_and(|entry| entry.unwrap().status == "stopped")
    })
    .await;
}

#[tokio::test]
async fn uses_of_metrics_follow_every_change() {
    let rig = Rig::start(100).await;
    rig.reconcile(&[]).await;
    let with = |id, revision, metrics: &[&str]| Entry {
        metrics: metrics.iter().map(|&m| m.to_owned()).collect(),
        ..entry(id, "running", revision)
    };
    rig.projection.put(&with(9, 1, &["a", "b"])).await.unwrap();
    rig.projection.put(&with(10, 1, &["b"])).await.unwrap();
    rig.projection.put(&with(2, 1, &["b", "c"])).await.unwrap();
    assert_eq!(rig.field("uses:acme/a").await.as_deref(), Some("9"));
    assert_eq!(rig.field("uses:acme/b").await.as_deref(), Some("2,9,10"));
    rig.projection.put(&with(9, 2, &["c"])).await.unwrap();
    assert_eq!(rig.field("uses:acme/a").await, None);
    assert_eq!(rig.field("uses:acme/b").await.as_deref(), Some("2,10"));
    assert_eq!(rig.field("uses:acme/c").await.as_deref(), Some("2,9"));
    // What the script kept is what reconciliation computes.
    let all = [with(9, 2, &["c"]), with(10, 1, &["b"]), with(2, 1, &["b", "c"])];
    assert_eq!(rig.reconcile(&all).await, Reconciled::Done { changed: 0 });
    rig.projection.remove("acme", ExperimentId(2), "exp-2").await.unwrap();
    assert_eq!(rig.field("uses:acme/c").await.as_deref(), Some("9"));
    assert_eq!(rig.reconcile(&all[..2]).await, Reconciled::Done { changed: 0 });
}

#[tokio::test]
async fn reconciliation_repairs_whatever_differs() {
    let rig = Rig::start(100).await;
    let all = [entry(1, "running", 1), entry(2, "draft", 1)];
    rig.reconcile(&all).await;
    let fields = rig.fields().await;
    rig.redis.command(&["HDEL", HASH, "id:acme/1", "uses:acme/purchase"]).await.unwrap();
    rig.redis.command(&["HSET", HASH, "key:acme/exp-2", "{}", "id:acme/3", "{}", "junk", "?"]).await.unwrap();
    assert_eq!(rig.reconcile(&all).await, Reconciled::Done { changed: 5 });
    assert_eq!(rig.fields().await, fields);
    assert_eq!(rig.reconcile(&all).await, Reconciled::Done { changed: 0 });

    // More than are named one by one.
    let many: Vec<Entry> = (1..=1000).map(|id| entry(id, "running", 2)).collect();
    rig.eventually_status("1000", None).await;
    assert_eq!(rig.reconcile(&many).await, Reconciled::Done { changed: 2001 });
    rig.eventually_status("1000", Some("running")).await;
    assert_eq!(rig.reconcile(&[]).await, Reconciled::Done { changed: 2001 });
    rig.eventually_status("1000", None).await;
    assert_eq!(rig.fields().await, ["complete", "version"]);
}

#[tokio::test]
async fn experiments_can_be_stopped_while_the_queue_is_full() {
    let rig = Rig::start(100).await;
    rig.reconcile(&[entry(1, "running", 1)]).await;
    rig.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    rig.projection.put(&entry(1, "stopped", 2)).await.unwrap();
    rig.eventually_status("1", Some("stopped")).await;
    assert_eq!(rig.reconcile(&[entry(1, "archived", 3)]).await, Reconciled::Done { changed: 2 });
}

#[tokio::test]
async fn a_catalogue_emptied_meanwhile_is_another_one() {
    let rig = Rig::start(100).await;
    let all = [entry(1, "stopped", 2)];
    assert_eq!(rig.reconcile(&all).await, Reconciled::Done { changed: 4 });
    let ticket = rig.projection.begin().await.unwrap();
    rig.redis.command(&["FLUSHALL"]).await.unwrap();
    let emptied = rig.projection.reconcile(ticket, all.to_vec()).await.unwrap();
    assert_eq!(emptied, Reconciled::Superseded);
    assert_eq!(rig.reconcile(&all).await, Reconciled::Done { changed: 4 });
}
