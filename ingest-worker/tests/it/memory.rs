//! A lane on the queue in memory: requests are released by commits, also by those whose outcome it did not learn.

use crate::rig::{Rig, TENANT, conversions, frame};
use crate::yielding::{Commit, Commits, Yielding};
use async_trait::async_trait;
use domain::{BatchId, ExperimentId, Partition};
use ingest_worker::shares::Share;
use ingest_worker::{Lane, LaneConfig, Ownership, Progress, Sessions, WorkerMetrics};
use queue::Queue;
use queue::frame::{Receipt, encode};
use queue::local::LocalQueue;
use queue::producer::{Outgoing, Producer};
use queue::receipts::{Receipts, Totals};
use service::metrics::Metrics;
use service::traces::Traces;
use std::sync::Arc;
use std::time::Duration;
use store::apply::{ApplyStore, Connect, Members};
use store::{Store, StoreError};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

struct Doubtful {
    store: Arc<dyn Store>,
    commits: Commits,
}

#[async_trait]
impl Connect for Doubtful {
    async fn connect(&self) -> Result<Box<dyn ApplyStore>, StoreError> {
        Ok(Box::new(Yielding::with(self.store.connect().await?, self.commits.clone())))
    }

    fn at_once(&self) -> u16 {
        self.store.at_once()
    }

    async fn members(&self) -> Result<Option<Box<dyn Members>>, StoreError> {
        Ok(None)
    }
}

struct Running {
    commits: Commits,
    producer: Box<dyn Producer>,
    receipts: Box<dyn Receipts>,
    stop: CancellationToken,
    lane: JoinHandle<()>,
}

impl Running {
    fn start(store: &Arc<dyn Store>) -> Running {
        let queue: Arc<dyn Queue> = Arc::new(LocalQueue::new(1));
        let (commits, stop) = (Commits::default(), CancellationToken::new());
        let config = LaneConfig {
            me: Uuid::new_v4(),
            partitions: 1,
            lane: 0,
            lanes: 1,
            ownership: Ownership::None,
            max_events: 100,
            max_letters: 100,
            keep: Duration::ZERO,
            traces: Traces::default(),
        };
        let lane = Lane::new(
            Arc::new(Doubtful { store: store.clone(), commits: commits.clone() }),
            queue.clone(),
            config,
            tokio::sync::watch::channel(Share::ALL).1,
            Sessions::default(),
            Arc::new(WorkerMetrics::new(&Metrics::new()).unwrap()),
            Arc::new(Progress::new(Duration::from_secs(60))),
        );
        let lane = tokio::spawn(lane.run(stop.clone()));
        Running { commits, producer: queue.producer(), receipts: queue.receipts(), stop, lane }
    }

    /// Sends a conversion of this key and returns what its receipt says, without waiting for one.
    async fn send(&self, key: &str) -> (BatchId, Option<Totals>) {
        let batch = BatchId(Uuid::now_v7());
        let receipt = Receipt { address: self.receipts.address(), part: 0, parts: 1 };
        let events = conversions(ExperimentId::NONE, &[("u", "m", 1, 0, key)]);
        let frame = queue::frame::Frame { receipt: Some(receipt), ..frame(batch, vec![events]) };
        let outgoing = Outgoing { partition: Partition(0), bytes: encode(&frame).unwrap(), events: 1 };
        let waiter = self.receipts.expect(batch, frame.request_id, 1);
        let deadline = Instant::now() + Duration::from_secs(60);
        self.producer.send(vec![outgoing], deadline).await.unwrap();
        (batch, waiter.wait(Instant::now()).await)
    }

    async fn end(self) {
        self.stop.cancel();
        self.lane.await.unwrap();
    }
}

on_both!(whatever_a_lane_learns_of_its_commits_requests_are_released_once_they_are_committed);

async fn whatever_a_lane_learns_of_its_commits_requests_are_released_once_they_are_committed(rig: Rig) {
    let running = Running::start(&rig.store);
    let recorded = Totals { recorded: 1, ..Totals::default() };
    let expect = |commits: &[Commit]| running.commits.lock().unwrap().extend(commits);

    assert_eq!(running.send("a").await.1, Some(recorded));
    // Committed, and the lane begins again: the totals that it loads release the request. The receipt is stored.
    expect(&[Commit::Unknown]);
    let (batch, told) = running.send("b").await;
    assert_eq!(told, None);
    let stored = rig.store.receipt(TENANT, batch, Some("r1")).await.unwrap();
    assert_eq!(stored.iter().map(|part| part.recorded).sum::<u64>(), 1);
    // Not committed: the entry is read again, by a lane that begins again.
    expect(&[Commit::Failed, Commit::Failed]);
    assert_eq!(running.send("c").await.1, Some(recorded));
    // One after the other, and a request that is sent again.
    expect(&[Commit::Unknown, Commit::Done, Commit::Failed, Commit::Unknown]);
    for key in ["d", "e", "f", "d"] {
        running.send(key).await;
    }
    assert!(running.commits.lock().unwrap().is_empty());
    assert_eq!(running.producer.backlog().events, 0);
    running.end().await;
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    assert_eq!((account.accepted, account.recorded, account.deduplicated, account.lost), (7, 6, 1, 0));

    // The process dies and another begins: new writers, and ids above the position.
    let running = Running::start(&rig.store);
    assert_eq!(running.send("g").await.1, Some(recorded));
    let again = Totals { deduplicated: 1, ..Totals::default() };
    assert_eq!(running.send("a").await.1, Some(again));
    running.end().await;
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    assert_eq!((account.accepted, account.recorded, account.deduplicated, account.lost), (9, 7, 2, 0));
    rig.assert_books(&[]).await;
}
