//! The port of everything but the apply transaction, by concern; [`Store`] is all of it.

use crate::apply::Connect;
use crate::{
    Accounts, Actor, ApiKey, ArmRow, Asked, AuditEntry, Change, Changed, ConversionRow, Counter, Created,
    Deed, Erasure, Experiment, Imported, Kept, Letter, LetterFilter, Listing, Migration, NewKey, Purge,
    ReceiptPart, Removal, Restored, Slice, Snapshot, Status, StoreError, Transition, UnitRow, Webhooks,
};
use async_trait::async_trait;
use domain::definition::Definition;
use domain::{BatchId, Day, ExperimentId, Partition, UnitId};

/// A database of ours, as the tiers and tools share it: `Arc<dyn Store>`.
pub trait Store:
    Connect
    + Upkeep
    + Experiments
    + Answers
    + DeadLetters
    + RawRows
    + Views
    + Erasures
    + ApiKeys
    + Audits
    + Webhooks
    + Retention
{
}

impl<S> Store for S where
    S: Connect
        + Upkeep
        + Experiments
        + Answers
        + DeadLetters
        + RawRows
        + Views
        + Erasures
        + ApiKeys
        + Audits
        + Webhooks
        + Retention
{
}

/// Schema, start checks and probes.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Brings the schema to this release's version. Any number of replicas may call it at once.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Every migration that the database has or this release knows, ascending.
    async fn migrations(&self) -> Result<Vec<Migration>, StoreError>;

    /// Schema version and number of partitions; the first start records the latter.
    async fn check(&self, partitions: u16) -> Result<(), StoreError>;

    /// What [`Upkeep::check`] and [`Upkeep::write_probe`] refuse, without recording anything. An older schema is none
    /// of it: it is migrated at the start.
    async fn examine(&self, partitions: u16) -> Result<(), StoreError>;

    /// The number of partitions as recorded; `None` before the first start, when there may be no schema either.
    async fn partitions(&self) -> Result<Option<u16>, StoreError>;

    /// A real write, rolled back: false readiness is worse than a slow probe.
    async fn write_probe(&self) -> Result<(), StoreError>;
}

/// Experiments: created, listed, and moved through their statuses, each change audited in its transaction.
#[async_trait]
pub trait Experiments: Send + Sync {
    /// Creates an experiment in status draft; an existing one with this key is returned as it is.
    async fn create_experiment(
        &self,
        tenant: &str,
        definition: &Definition,
        actor: Actor<'_>,
    ) -> Result<Created, StoreError>;

    /// Creates experiments in status draft, all of them or none, except those that are there already as defined: what
    /// becomes of each. Nothing is written unless `commit`, nor while anything is in the way.
    async fn import_experiments(
        &self,
        tenant: &str,
        definitions: &[Definition],
        commit: bool,
        actor: Actor<'_>,
    ) -> Result<Vec<Imported>, StoreError>;

    /// By key or numeric id; deleted ones are not found.
    async fn experiment(&self, tenant: &str, reference: &str) -> Result<Option<Experiment>, StoreError>;

    /// Ascending by id, without deleted ones.
    async fn list_experiments(
        &self,
        tenant: &str,
        listing: Listing<'_>,
    ) -> Result<Vec<Experiment>, StoreError>;

    /// Every experiment of every tenant that is not deleted, for the projection.
    async fn all_experiments(&self) -> Result<Vec<Experiment>, StoreError>;

    /// Moves an experiment to another status, if that is allowed from where it is; staying is always.
    async fn set_status(
        &self,
        tenant: &str,
        id: ExperimentId,
        to: Status,
        actor: Actor<'_>,
    ) -> Result<Transition, StoreError>;

    /// Replaces the definition of an experiment that nobody has changed since `change` was made of it. One that the
    /// sums kept cannot answer is a new plan version, which the owners of the partitions build from the raw rows
    /// while the old one is served. New weights begin a phase, if anybody is enrolled.
    async fn change_definition(
        &self,
        tenant: &str,
        id: ExperimentId,
        change: Change<'_>,
        actor: Actor<'_>,
    ) -> Result<Changed, StoreError>;

    /// Builds all sums of an experiment anew, from the raw rows, while the old ones are served.
    async fn rebuild_experiment(
        &self,
        tenant: &str,
        id: ExperimentId,
        actor: Actor<'_>,
    ) -> Result<Changed, StoreError>;

    /// Brings an archived or deleted experiment back, its sums with it: as stopped, or as the draft that it was. By key or numeric id; one that is neither is returned as it is.
    async fn restore_experiment(
        &self,
        tenant: &str,
        reference: &str,
        actor: Actor<'_>,
    ) -> Result<Restored, StoreError>;

    /// Entries of the audit log about an experiment, deleted ones included; the latest first, beginning before the
    /// entry `before`.
    async fn experiment_history(
        &self,
        tenant: &str,
        id: ExperimentId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// Deletes an experiment: nobody finds it, its key stays used, events that still arrive are discarded. Its sums are
    /// kept up until a purge, for it may be restored. Returns whether there was one.
    async fn delete_experiment(
        &self,
        tenant: &str,
        id: ExperimentId,
        actor: Actor<'_>,
    ) -> Result<bool, StoreError>;
}

/// What the analyzer asks: last moments rows, counters, receipts, the books.
#[async_trait]
pub trait Answers: Send + Sync {
    /// The last row of every key of the experiment's served plan version, as of the end of a day; one snapshot.
    /// Cost: O(partitions x arms x strata x phases), whatever the number of events.
    async fn answer(&self, experiment: &Experiment, as_of: Option<Day>) -> Result<Vec<ArmRow>, StoreError>;

    /// Every day's row of every key, in key order.
    async fn moments_rows(
        &self,
        experiment: ExperimentId,
        plan_version: u32,
    ) -> Result<Vec<ArmRow>, StoreError>;

    /// Counters of a tenant, summed over partitions and days; of one experiment or of all.
    async fn counters(
        &self,
        tenant: &str,
        experiment: Option<ExperimentId>,
        as_of: Option<Day>,
    ) -> Result<Vec<Counter>, StoreError>;

    /// What an answer about an experiment (by key or numeric id) needs, all of it as it stood at one instant.
    async fn snapshot(
        &self,
        tenant: &str,
        reference: &str,
        asked: &Asked,
    ) -> Result<Option<Snapshot>, StoreError>;

    /// The parts of a batch applied so far; of one request or of every request that carried it.
    async fn receipt(
        &self,
        tenant: &str,
        batch: BatchId,
        request_id: Option<&str>,
    ) -> Result<Vec<ReceiptPart>, StoreError>;

    /// Every partition's account and the last entry applied of every writer, in one snapshot.
    async fn accounting(&self) -> Result<Accounts, StoreError>;
}

/// Events that were accepted and could not be applied. The tenant is empty where the frame could not be read.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// At most `limit` letters of a tenant, ascending by id, beginning after `after`.
    async fn dead_letters(
        &self,
        tenant: &str,
        filter: LetterFilter<'_>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Letter>, StoreError>;

    /// A letter and its payload.
    async fn dead_letter(&self, tenant: &str, id: i64) -> Result<Option<(Letter, Vec<u8>)>, StoreError>;

    /// Ids and payloads of at most `limit` letters of a tenant that kept one, ascending, beginning after `after`.
    async fn dead_letter_payloads(
        &self,
        tenant: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError>;

    /// Deletes those of the letters that the tenant has, which is audited; returns which, ascending.
    async fn delete_dead_letters(
        &self,
        tenant: &str,
        ids: &[i64],
        removal: Removal,
        actor: Actor<'_>,
    ) -> Result<Vec<i64>, StoreError>;
}

/// Users who are forgotten.
#[async_trait]
pub trait Erasures: Send + Sync {
    /// Asks for a user of the tenant to be erased: conversions and name deleted, everything the user added taken out
    /// of all sums, later events discarded. A user of whom nothing is known is erased all the same.
    async fn erase_user(
        &self,
        tenant: &str,
        user_id: &str,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<Erasure, StoreError>;
}

/// Keys that admins issue; every change is audited.
#[async_trait]
pub trait ApiKeys: Send + Sync {
    /// `None`: the tenant has [`KEYS_MAX`](crate::KEYS_MAX) in force. Requests at the same moment may go past it by
    /// their number.
    async fn create_key(
        &self,
        tenant: &str,
        key: NewKey<'_>,
        actor: Actor<'_>,
    ) -> Result<Option<ApiKey>, StoreError>;

    /// Revoked ones too, the latest first, beginning before the key `before`.
    async fn keys(&self, tenant: &str, before: Option<i64>, limit: u32) -> Result<Vec<ApiKey>, StoreError>;

    /// Every key of every tenant that is in force, for the projection.
    async fn keys_in_force(&self) -> Result<Vec<ApiKey>, StoreError>;

    /// `None`: the tenant has no such key. One that is revoked stays as it is.
    async fn revoke_key(&self, tenant: &str, id: i64, actor: Actor<'_>)
    -> Result<Option<ApiKey>, StoreError>;
}

/// The audit log: who did what, when.
#[async_trait]
pub trait Audits: Send + Sync {
    /// Writes down what has no transaction of its own in this port; what has one does it there.
    async fn audit(&self, tenant: &str, deed: Deed<'_>, actor: Actor<'_>) -> Result<(), StoreError>;

    /// Entries of a tenant whose action begins with `action`, the latest first, beginning before the entry `before`.
    async fn audit_log(
        &self,
        tenant: &str,
        action: &str,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError>;
}

/// What is not kept for ever. The owners of the partitions delete it, a little at a time.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Asks for everything older than `kept` to be purged, or counted; what was asked for before is given up. Experiments
    /// put away for as long as conversions are kept are sealed: nothing changes their sums any more, they cannot be
    /// restored, counted anew or verified, and no raw row is kept for them. The sums of deleted ones go. `tenant`: of the
    /// operator who asks.
    async fn purge(
        &self,
        tenant: &str,
        kept: Kept,
        dry_run: bool,
        partitions: u16,
        actor: Actor<'_>,
    ) -> Result<Purge, StoreError>;

    /// The same, unless the last purge takes as much by now: once a day. Whether it was asked for.
    async fn purge_when_due(&self, kept: Kept, partitions: u16, actor: Actor<'_>)
    -> Result<bool, StoreError>;

    /// How far the last purge is, or the last dry run.
    async fn last_purge(&self, dry_run: bool) -> Result<Option<Purge>, StoreError>;
}

/// Raw rows in key order, for tools that run alone: ranges of users, each its own short snapshot.
#[async_trait]
pub trait RawRows: Send + Sync {
    /// At most `limit` units of a range (both ends inclusive), ascending, beginning after `after`.
    async fn units(
        &self,
        range: (UnitId, UnitId),
        after: Option<UnitId>,
        limit: i64,
    ) -> Result<Vec<UnitRow>, StoreError>;

    /// Every conversion of the units of a range, both ends inclusive, in key order.
    async fn conversions(&self, first: UnitId, last: UnitId) -> Result<Vec<ConversionRow>, StoreError>;

    /// At most `limit` conversions of an experiment and of none, in key order, beginning after `after` (unit,
    /// experiment, key; nothing has an experiment below 0), of units up to `last`.
    async fn conversions_after(
        &self,
        after: (UnitId, ExperimentId, &str),
        last: UnitId,
        experiment: ExperimentId,
        limit: i64,
    ) -> Result<Vec<ConversionRow>, StoreError>;
}

/// Views of partitions, for verify.
#[async_trait]
pub trait Views: Send + Sync {
    /// An experiment's moments in a partition as they are now, and a view of the partition's raw rows as they are
    /// now; `None` if the experiment does not exist. Another view of the partition that is open ends.
    async fn view(
        &self,
        experiment: ExperimentId,
        partition: Partition,
    ) -> Result<Option<Box<dyn View>>, StoreError>;
}

/// A partition as it stood at one instant, while its owner goes on.
#[async_trait]
pub trait View: Send {
    fn experiment(&self) -> &Experiment;

    /// Every day's row of every key of the partition, in key order.
    fn moments(&self) -> &[ArmRow];

    /// The first users of a range (both ends inclusive), at most `limit`, with all their conversions; a short
    /// snapshot. `None`: the view has ended, and another one must be opened.
    async fn slice(&mut self, first: UnitId, last: UnitId, limit: u32) -> Result<Option<Slice>, StoreError>;

    async fn close(self: Box<Self>) -> Result<(), StoreError>;
}
