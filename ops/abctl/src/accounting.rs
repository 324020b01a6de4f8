//! `abctl accounting`: in which column every accepted event ended.

use domain::Partition;
use queue::QueueError;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use store::{PartitionAccount, Store, StoreError, WriterRow};
use uuid::Uuid;

/// Events of one partition, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Book {
    /// Accepted by gateways: in the queue or applied.
    pub received: i64,
    pub recorded: i64,
    pub deduplicated: i64,
    pub dead: i64,
    pub discarded: i64,
    /// Sent by a gateway, not applied yet.
    pub in_flight: i64,
    pub lost: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Books {
    pub partitions: Vec<(Partition, Book)>,
    pub total: Book,
}

/// Totals of events per writer that Redis says were sent to a partition.
pub type Sent = HashMap<Partition, HashMap<Uuid, u64>>;

impl Book {
    pub fn closes(&self) -> bool {
        let parts =
            self.recorded + self.deduplicated + self.dead + self.discarded + self.in_flight + self.lost;
        self.received == parts
    }

    fn add(&mut self, other: &Book) {
        self.received += other.received;
        self.recorded += other.recorded;
        self.deduplicated += other.deduplicated;
        self.dead += other.dead;
        self.discarded += other.discarded;
        self.in_flight += other.in_flight;
        self.lost += other.lost;
    }
}

impl std::fmt::Display for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Book { received, recorded, deduplicated, dead, discarded, in_flight, lost } = self;
        write!(
            f,
            "accounting: received={received} recorded={recorded} deduplicated={deduplicated} dead={dead} \
             discarded={discarded} in_flight={in_flight} lost={lost}"
        )
    }
}

impl Books {
    /// Every partition closes, and nothing is lost.
    pub fn are_good(&self) -> bool {
        self.total.lost == 0 && self.partitions.iter().all(|(_, book)| book.closes())
    }
}

/// Puts the database's books and the queue's totals together.
pub fn balance(accounts: &[PartitionAccount], writers: &[(Partition, WriterRow)], sent: &Sent) -> Books {
    let applied: HashMap<(Partition, Uuid), u64> =
        writers.iter().map(|(p, w)| ((*p, w.writer), w.total)).collect();
    let mut books = Books { partitions: Vec::new(), total: Book::default() };
    for account in accounts {
        let p = account.partition;
        // A writer of which Redis knows less than was applied has nothing in flight: Redis lost its hash.
        let in_flight: u64 = sent
            .get(&p)
            .into_iter()
            .flatten()
            .map(|(writer, total)| total.saturating_sub(applied.get(&(p, *writer)).copied().unwrap_or(0)))
            .sum();
        let in_flight = i64::try_from(in_flight).unwrap_or(i64::MAX);
        let book = Book {
            received: account.accepted.saturating_add(in_flight),
            recorded: account.recorded,
            deduplicated: account.deduplicated,
            dead: account.dead_lettered,
            discarded: account.discarded,
            in_flight,
            lost: account.lost,
        };
        books.total.add(&book);
        books.partitions.push((p, book));
    }
    books
}

#[derive(Debug, thiserror::Error)]
pub enum AccountingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// The books as they are now.
pub async fn read(store: &Store, redis_url: &str, partitions: u16) -> Result<Books, AccountingError> {
    // What was applied is read first: while events move, some may be shown in flight that are applied already,
    // but nothing that is in flight is missed.
    let writers = store.writers().await?;
    let accounts = store.accounting().await?;
    let mut sent = Sent::new();
    for (partition, writer, total) in queue::producer::sent_totals(redis_url, partitions).await? {
        sent.entry(partition).or_default().insert(writer, total);
    }
    Ok(balance(&accounts, &writers, &sent))
}

/// Between two looks at the books while waiting.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// The books once nothing is in flight, or as they are after `limit`.
pub async fn settled(
    store: &Store,
    redis_url: &str,
    partitions: u16,
    limit: Duration,
) -> Result<Books, AccountingError> {
    let deadline = Instant::now() + limit;
    loop {
        let books = read(store, redis_url, partitions).await?;
        if books.total.in_flight == 0 || Instant::now() >= deadline {
            return Ok(books);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}
