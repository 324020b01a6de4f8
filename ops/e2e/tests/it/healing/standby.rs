//! PostgreSQL fails over to a standby that was behind: what the stream still holds is applied again; what was trimmed
//! from it is counted as lost.

use super::{LIMIT, assert_counted, shows, worker};
use crate::support::eventually;
use domain::Partition;
use e2e::diary::{Account, Diary};
use e2e::{Setup, System};
use queue::Queue;
use queue::reader::{EntryId, Read};
use std::time::Duration;
use testkit::{FaultProxy, Postgres};

const LOST: &str = "abstream_applied_events_total{fate=\"lost\"}";

/// A system in front of which a standby takes over that was cut off while events were applied, as long as `behind`
/// says not yet.
async fn fail_over(keep: &str, behind: impl AsyncFn(&System, &Postgres) -> bool) -> (Account, f64) {
    let environment = vec![("AB_QUEUE_KEEP", keep.to_owned())];
    let system = System::start(Setup { proxied: true, environment, ..Setup::default() }).await.unwrap();
    let diary = Diary::start(&system).await.unwrap();
    diary.fill(2_000).await.unwrap();
    let replication = FaultProxy::start(system.postgres.addr()).await.unwrap();
    let standby = system.postgres.standby(replication.addr()).await.unwrap();
    let (primary, copy) = (
        system.postgres.connect(&system.database).await.unwrap(),
        standby.connect(&system.database).await.unwrap(),
    );
    let accepted = async |client: &testkit::PostgresClient| {
        let sql = "SELECT coalesce(sum(accepted), 0)::int8 FROM partitions";
        client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    let now = accepted(&primary).await;
    eventually("the standby follows", LIMIT, async || accepted(&copy).await >= now).await;

    replication.refuse();
    replication.cut();
    let cut = accepted(&primary).await;
    diary.fill(3_000).await.unwrap();
    eventually("more is applied", LIMIT, async || accepted(&primary).await > cut).await;
    eventually("the standby is far enough behind", LIMIT, async || behind(&system, &standby).await).await;
    let ahead = accepted(&primary).await;
    let failures = worker(&system, "abstream_apply_failures_total").await;
    system.postgres.kill().await.unwrap();
    standby.promote().await.unwrap();
    assert!(accepted(&copy).await < ahead, "commits are gone");
    system.proxies.as_ref().unwrap().postgres.redirect(standby.addr());
    shows(&system, "abstream_apply_failures_total", failures).await;
    diary.fill(2_000).await.unwrap();

    let account = diary.account(&system).await.unwrap();
    assert_counted(&account);
    assert_eq!(account.doubted, 0);
    let counted = worker(&system, LOST).await;
    system.stop().await.unwrap();
    (account, counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standby_lacks_is_applied_again() {
    let (account, counted) = fail_over("60s", async |_, _| true).await;
    assert_eq!((account.comparison.lost, account.books.total.lost), (0, 0));
    assert!(counted == 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standby_lacks_and_the_stream_too_is_counted() {
    let (account, counted) = fail_over("0s", async |system, standby| {
        let copy = standby.connect(&system.database).await.unwrap();
        let sql = "SELECT split_part(position, '-', 1)::int8 FROM partitions WHERE partition = 0";
        let position: i64 = copy.query_one(sql, &[]).await.unwrap().get(0);
        let mut stream = system.queue.reader(Partition(0), EntryId::ZERO);
        let Ok(Read::Entries(entries)) = stream.next(1, Duration::ZERO).await else { return false };
        // More than the entry behind the position is gone.
        entries.first().is_some_and(|first| first.id.ms > position.cast_unsigned() + 1_000)
    })
    .await;
    assert!(account.comparison.lost > 0);
    assert!(counted > 0.0);
}
