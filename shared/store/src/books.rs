//! The books: in which column every accepted event ended. The database's accounts, put together with what the
//! queue says was sent.

use crate::{Loss, PartitionAccount, WriterRow};
use domain::Partition;
use std::collections::HashMap;
use uuid::Uuid;

/// Names of the counters that add up to what is recorded: what took effect, by kind.
pub const RECORDED: [&str; 6] =
    ["exposures", "conversions", "pre_period", "strata", "exclusions", "controls"];

/// Begins the names of the counters of conversions that no metric of the experiment they name uses; the rest is what
/// they called it.
pub const UNUSED_METRIC: &str = "unused:";

/// What the database knows, of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Of the partitions that a worker has held so far.
    pub partitions: Vec<PartitionAccount>,
    pub writers: Vec<(Partition, WriterRow)>,
    /// The latest [`LOSSES_MAX`], the newest first.
    pub losses: Vec<Loss>,
}

/// Losses named in the books; the sums count all.
pub const LOSSES_MAX: u32 = 1_000;

/// What the queue says of a writer, by its running totals of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub partition: Partition,
    pub writer: Uuid,
    pub sent: u64,
    /// As told to the queue before the accounts were read: what counts where the database has forgotten a silent
    /// writer.
    pub applied: u64,
}

/// Events of one partition, or of all: `received` is the sum of the other six.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Book {
    /// Accepted by gateways: in the queue or applied.
    pub received: i64,
    pub recorded: i64,
    pub deduplicated: i64,
    pub dead_lettered: i64,
    pub discarded: i64,
    /// Sent by a gateway, not applied yet.
    pub in_flight: i64,
    pub lost: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Books {
    /// Every partition of the deployment, ascending.
    pub partitions: Vec<(Partition, Book)>,
    pub total: Book,
    /// The latest losses, the newest first.
    pub losses: Vec<Loss>,
}

impl Book {
    pub fn closes(&self) -> bool {
        let Book { received, recorded, deduplicated, dead_lettered, discarded, in_flight, lost } = self;
        *received == recorded + deduplicated + dead_lettered + discarded + in_flight + lost
    }

    fn add(&mut self, other: &Book) {
        self.received += other.received;
        self.recorded += other.recorded;
        self.deduplicated += other.deduplicated;
        self.dead_lettered += other.dead_lettered;
        self.discarded += other.discarded;
        self.in_flight += other.in_flight;
        self.lost += other.lost;
    }
}

/// The line that scripts look for.
impl std::fmt::Display for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Book { received, recorded, deduplicated, dead_lettered, discarded, in_flight, lost } = self;
        write!(
            f,
            "accounting: received={received} recorded={recorded} deduplicated={deduplicated} \
             dead={dead_lettered} discarded={discarded} in_flight={in_flight} lost={lost}"
        )
    }
}

impl Books {
    /// Every partition closes, and nothing is lost.
    pub fn are_good(&self) -> bool {
        self.total.lost == 0 && self.partitions.iter().all(|(_, book)| book.closes())
    }

    /// `sent` must be read after `accounts`: what is applied in between then shows as in flight, and nothing that
    /// is in flight is missed.
    pub fn balance(accounts: &Accounts, sent: &[Sent], partitions: u16) -> Books {
        let applied: HashMap<(Partition, Uuid), u64> =
            accounts.writers.iter().map(|(p, w)| ((*p, w.writer), w.total)).collect();
        let mut in_flight: HashMap<Partition, u64> = HashMap::new();
        for s in sent {
            // A writer of which the queue knows less than was applied has nothing in flight: Redis was emptied.
            let applied = applied.get(&(s.partition, s.writer)).copied().unwrap_or(s.applied);
            *in_flight.entry(s.partition).or_default() += s.sent.saturating_sub(applied);
        }
        let mut books = Books { losses: accounts.losses.clone(), ..Books::default() };
        for partition in (0..partitions).map(Partition) {
            let in_flight = in_flight.get(&partition).map_or(0, |n| i64::try_from(*n).unwrap_or(i64::MAX));
            let mut book = Book { received: in_flight, in_flight, ..Book::default() };
            if let Some(a) = accounts.partitions.iter().find(|a| a.partition == partition) {
                book.received = a.accepted.saturating_add(in_flight);
                book.recorded = a.recorded;
                book.deduplicated = a.deduplicated;
                book.dead_lettered = a.dead_lettered;
                book.discarded = a.discarded;
                book.lost = a.lost;
            }
            books.total.add(&book);
            books.partitions.push((partition, book));
        }
        books
    }
}
