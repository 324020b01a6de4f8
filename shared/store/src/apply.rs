//! The port of the apply transaction: what the worker needs from a database.
//!
//! One connection, one transaction at a time, four calls: [`ApplyStore::begin`], [`ApplyStore::record`],
//! [`ApplyStore::write`], [`ApplyStore::commit`]. After any error, and after `begin` answered `None`, nothing was
//! written; the caller drops its cache. An error of `commit` may hide a commit: the position tells, because the next
//! `begin` fails.

use crate::{ArmRow, Experiment, MomentsKey, PurgeCounts, Slice, StoreError, WriterRow};
use async_trait::async_trait;
use domain::{BatchId, Day, Decimal, ExperimentId, Moments, Partition, Timestamp, Unit, UnitId};
use uuid::Uuid;

/// Where a partition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    pub epoch: i64,
    /// Entry id of the last entry applied; `0-0` = none.
    pub position: String,
    pub day: Day,
    pub writers: Vec<WriterRow>,
}

/// A partition taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub state: PartitionState,
    /// Processes, this one included, that have taken it since its position last moved.
    pub takes: u32,
    /// Other processes that have begun to apply its next entry alone ([`ApplyStore::suspect`]).
    pub begun: u32,
}

/// The move of the position that a transaction begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    pub partition: Partition,
    pub epoch: i64,
    pub from: String,
    pub to: String,
    pub day: Day,
    /// Events of the entries passed, by their writers' totals, and how many of them never arrived.
    pub accepted: u64,
    pub lost: u64,
    /// The position does not go forwards (another stream has taken the place of the old one): the epoch is raised with
    /// it, for a position that comes again must not let an owner in that remembers the time before.
    pub rewinds: bool,
}

/// What must be known of users being enrolled.
#[derive(Debug, Clone, Default)]
pub struct HistoryOf<'a> {
    pub units: Vec<UnitId>,
    /// The experiments that enroll; conversions of the tenant are always included.
    pub experiments: Vec<ExperimentId>,
    /// The events of their plans; what names an experiment is included whatever its metric.
    pub metrics: Vec<&'a str>,
}

/// A conversion to be stored; distinct by (unit, experiment, key) within a call.
#[derive(Debug, Clone)]
pub struct NewConversion<'a> {
    pub unit: UnitId,
    pub tenant: &'a str,
    pub experiment: ExperimentId,
    pub key: std::borrow::Cow<'a, str>,
    pub metric: &'a str,
    pub value: Decimal,
    pub occurred_at: Timestamp,
    pub occurred_given: Option<Timestamp>,
    pub received_at: Timestamp,
    pub batch: BatchId,
}

/// Whether a conversion was stored now, or what had been stored under its key before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    New,
    Known { metric: String, value: Decimal, occurred_given: Option<Timestamp> },
}

/// A conversion of a user who is being enrolled, stored before this transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    pub unit: UnitId,
    pub experiment: ExperimentId,
    pub metric: String,
    pub value: Decimal,
    pub occurred_at: Timestamp,
}

/// Experiments, and the last row of each of their keys in one partition.
#[derive(Debug, Default)]
pub struct Known {
    /// Deleted ones included, as if they were archived: their sums are kept up for as long as they may be restored.
    pub experiments: Vec<Experiment>,
    /// Those of them that are deleted: nothing that names one is taken.
    pub deleted: Vec<ExperimentId>,
    pub moments: Vec<ArmRow>,
    /// How far the partition is with the versions asked for.
    pub rebuilds: Vec<RebuildRow>,
    /// Every row of the versions it is not done with: what changed on each day.
    pub days: Vec<ArmRow>,
}

/// How far a partition is with the sums of a plan version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildRow {
    pub experiment: ExperimentId,
    pub version: u32,
    /// Units up to here have sums of that version; `None` = no unit has.
    pub cursor: Option<UnitId>,
    /// All units have, and the rows are running totals.
    pub done: bool,
}

/// A user to be erased, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRow {
    pub unit: UnitId,
    pub tenant: String,
    pub actor: String,
    pub request_id: String,
}

/// What is to be purged of a partition, and how far that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeRow {
    pub partition: Partition,
    /// To be counted only.
    pub dry_run: bool,
    /// What is of an earlier day goes; `None`: none of these.
    pub conversions: Option<Day>,
    pub dead_letters: Option<Day>,
    pub audit: Option<Day>,
    /// Units up to here are done with.
    pub cursor: Option<UnitId>,
    /// Of a dry run: the experiments that a purge would seal.
    pub sealed: Vec<ExperimentId>,
}

/// The next step of a purge, in a partition.
#[derive(Debug, Clone)]
pub struct PurgeStep<'a> {
    pub of: &'a PurgeRow,
    pub conversions: Vec<(UnitId, ExperimentId, &'a str)>,
    /// How far it gets.
    pub cursor: UnitId,
    /// No unit is left behind the cursor.
    pub is_last: bool,
    /// Dead letters, and audit entries, deleted at most.
    pub limit: u32,
}

impl PurgeStep<'_> {
    pub(crate) fn is_done(&self, counts: &PurgeCounts) -> bool {
        let all = |n| self.of.dry_run || n < u64::from(self.limit);
        self.is_last && all(counts.dead_letters) && all(counts.audit)
    }
}

/// A row of moments to be written.
#[derive(Debug, Clone)]
pub struct MomentsRow<'a> {
    pub key: MomentsKey,
    pub day: Day,
    pub moments: &'a Moments,
    /// The key has no row of any day.
    pub is_new: bool,
}

/// Everything a transaction writes besides conversions.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    pub new_units: Vec<NewUnit<'a>>,
    /// Encoded states of units that have a row.
    pub changed_units: Vec<(UnitId, Vec<u8>)>,
    pub moments: Vec<MomentsRow<'a>>,
    pub rebuilds: Vec<RebuildRow>,
    /// The conversions and the name of this user are deleted, which is audited. The state that is left is among the
    /// units, without a name if it is new.
    pub erased: Option<&'a ErasureRow>,
    pub counters: Vec<Count<'a>>,
    pub receipts: Vec<NewReceipt<'a>>,
    pub dead_letters: Vec<DeadLetter<'a>>,
    pub losses: Vec<NewLoss>,
    pub writers: Vec<WriterRow>,
    /// Writers silent for so long that they are not remembered any more.
    pub forgotten: Vec<Uuid>,
}

#[derive(Debug)]
pub struct NewUnit<'a> {
    pub id: UnitId,
    pub tenant: &'a str,
    pub user_id: &'a str,
    pub state: Vec<u8>,
}

/// `n` more of what `name` counts; distinct by the other fields within a call.
#[derive(Debug, Clone, Copy)]
pub struct Count<'a> {
    pub tenant: &'a str,
    pub experiment: ExperimentId,
    pub variation: i16,
    pub name: &'a str,
    pub n: i64,
}

#[derive(Debug)]
pub struct NewReceipt<'a> {
    pub tenant: &'a str,
    pub batch: BatchId,
    pub request_id: &'a str,
    pub part: u16,
    pub parts: u16,
    pub recorded: u64,
    pub deduplicated: u64,
    pub conflicts: u64,
    pub dead_lettered: u64,
}

#[derive(Debug)]
pub struct DeadLetter<'a> {
    /// Empty where the frame could not be read.
    pub tenant: &'a str,
    pub experiment: ExperimentId,
    pub entry: String,
    pub batch: Option<BatchId>,
    pub request_id: Option<&'a str>,
    /// A stable code.
    pub reason: &'static str,
    pub detail: String,
    pub events: u64,
    /// One frame or several: written to the queue again they are the same events. Or bytes that are no frame.
    pub payload: std::borrow::Cow<'a, [u8]>,
    /// SHA-256 of a payload that is not kept; `payload` is empty then.
    pub digest: Option<[u8; 32]>,
}

/// What an entry shows to be gone from the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLoss {
    /// `None`: the stream was replaced.
    pub writer: Option<Uuid>,
    /// Numbers of the writer's entries that are gone, or twice that of the entry that is cut short.
    pub first: u64,
    pub last: u64,
    pub events: u64,
    /// Id of the entry that showed it.
    pub entry: String,
    /// A stable code.
    pub why: &'static str,
}

#[async_trait]
pub trait ApplyStore: Send {
    /// Takes the partitions nobody else holds, of those wanted; held until the connection ends.
    async fn acquire(&mut self, wanted: &[Partition]) -> Result<Vec<Partition>, StoreError>;

    /// Gives up a partition that was acquired; between transactions.
    async fn release(&mut self, partition: Partition) -> Result<(), StoreError>;

    /// What [`Members`] call this connection; `None` where there are no members.
    fn session(&self) -> Option<Session>;

    /// Where a partition stands, for a process that begins to apply it; creates its row on first use.
    async fn take(&mut self, partition: Partition, me: Uuid) -> Result<Taken, StoreError>;

    /// Notes that `me` is about to apply `entry` alone; returns how many processes have begun it by now. Committed at
    /// once: it must outlive us.
    async fn suspect(&mut self, partition: Partition, me: Uuid, entry: &str) -> Result<u32, StoreError>;

    /// Where a partition stands that was taken before.
    async fn load(&mut self, partition: Partition) -> Result<PartitionState, StoreError>;

    /// Opens the transaction: moves the position, if it and the epoch are still what `advance` says, and reads the
    /// units that exist among `units`. `None`: somebody else moved it; the transaction is rolled back.
    async fn begin(
        &mut self,
        advance: &Advance,
        units: &[UnitId],
    ) -> Result<Option<Vec<(UnitId, Unit)>>, StoreError>;

    /// Inside the transaction: the experiments that there are, with the last moments of each of their keys in this
    /// partition.
    async fn experiments(&mut self, partition: Partition, ids: &[ExperimentId]) -> Result<Known, StoreError>;

    /// Inside the transaction: reads the conversions stored that `history` asks for, then stores
    /// `conversions` as of `day`. An outcome per conversion, in order.
    async fn record(
        &mut self,
        day: Day,
        history: &HistoryOf<'_>,
        conversions: &[NewConversion<'_>],
    ) -> Result<(Vec<Past>, Vec<Outcome>), StoreError>;

    /// Inside the transaction: how many dead letters of a tenant hold a payload. Counts no further than `limit`.
    async fn dead_letters_kept(&mut self, tenant: &str, limit: u64) -> Result<u64, StoreError>;

    /// Inside the transaction: the first units of a range (both ends inclusive), at most `limit`, with all their
    /// conversions.
    async fn slice(&mut self, first: UnitId, last: UnitId, limit: u32) -> Result<Slice, StoreError>;

    /// Inside the transaction: every day's row of every key of a plan version in a partition.
    async fn moments(
        &mut self,
        partition: Partition,
        experiment: ExperimentId,
        plan_version: u32,
    ) -> Result<Vec<ArmRow>, StoreError>;

    /// Inside the transaction: whether somebody looks at the partition as it was ([`crate::Views`]), who must find every
    /// conversion that was there.
    fn is_viewed(&self) -> bool;

    /// Inside the transaction: deletes what a step of a purge names, or counts it, and notes how far it is.
    async fn purge(&mut self, step: &PurgeStep<'_>) -> Result<PurgeCounts, StoreError>;

    /// Writes the rest.
    async fn write(&mut self, advance: &Advance, changes: &Changes<'_>) -> Result<(), StoreError>;

    async fn commit(&mut self) -> Result<(), StoreError>;

    /// Gives the transaction up.
    async fn rollback(&mut self) -> Result<(), StoreError>;

    /// Between transactions: what is not done of the versions asked for, of these partitions.
    async fn rebuilding(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ExperimentId)>, StoreError>;

    /// Between transactions: users of these partitions who are to be erased, some of them.
    async fn erasures(
        &mut self,
        partitions: &[Partition],
    ) -> Result<Vec<(Partition, ErasureRow)>, StoreError>;

    /// Between transactions: what is to be purged of these partitions; dry runs last.
    async fn purges(&mut self, partitions: &[Partition]) -> Result<Vec<PurgeRow>, StoreError>;

    /// Between transactions: serves the version asked for of every experiment that all partitions are done with.
    async fn serve_rebuilt(&mut self) -> Result<Vec<ExperimentId>, StoreError>;

    /// Deletes at most `limit` receipts older than 24 hours; returns how many.
    async fn expire_receipts(&mut self, limit: i64) -> Result<u64, StoreError>;
}

/// Opens a connection that applies; called again after every failure.
#[async_trait]
pub trait Connect: Send + Sync {
    async fn connect(&self) -> Result<Box<dyn ApplyStore>, StoreError>;

    /// How many transactions of such connections can be under way at the same time.
    fn at_once(&self) -> u16;

    /// Joins the workers of this database, on a connection of its own; `None` where only one process can be.
    async fn members(&self) -> Result<Option<Box<dyn Members>>, StoreError>;
}

/// An apply connection as the server knows it. Together these two name one connection for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub pid: i32,
    pub started: Timestamp,
}

/// A worker process, as the others see it by the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub id: Uuid,
    /// No sign of life for three seconds.
    pub silent: bool,
}

/// The worker processes of a database: who lives, so that they share the partitions out. Ownership only avoids wasted
/// work: the books are kept by the compare-and-set of the position.
#[async_trait]
pub trait Members: Send {
    /// A sign of life of `me`, with the connections that apply for it. Everybody there is, in order of id.
    async fn beat(&mut self, me: Uuid, sessions: &[Session]) -> Result<Vec<Member>, StoreError>;

    /// Ends the apply connections of a member that is still silent, and with them its locks, and forgets it. Returns
    /// how many were ended.
    async fn free(&mut self, silent: Uuid) -> Result<u64, StoreError>;

    /// An orderly end: the others need not wait for silence.
    async fn leave(&mut self, me: Uuid) -> Result<(), StoreError>;
}
