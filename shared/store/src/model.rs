//! Rows as the rest of the program sees them.

use domain::definition::Definition;
use domain::{BatchId, Day, Decimal, ExperimentId, Moments, Partition, Plan, Timestamp, Unit, UnitId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Created, never started: exposures are refused.
    Draft,
    Running,
    /// Still records what occurred before the stop.
    Stopped,
    /// Refuses every event.
    Archived,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Draft => "draft",
            Status::Running => "running",
            Status::Stopped => "stopped",
            Status::Archived => "archived",
        }
    }

    /// `None`: deleted, or not a status.
    pub fn parse(text: &str) -> Option<Status> {
        [Status::Draft, Status::Running, Status::Stopped, Status::Archived]
            .into_iter()
            .find(|s| s.as_str() == text)
    }

    /// Whether a change to `next` is allowed; staying is.
    pub fn may_become(self, next: Status) -> bool {
        use Status::{Archived, Draft, Running, Stopped};
        self == next || matches!((self, next), (Draft | Stopped, Running | Archived) | (Running, Stopped))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    pub id: ExperimentId,
    pub tenant: String,
    pub key: String,
    pub definition: Definition,
    pub plan_version: u32,
    /// Raised by every change: of two copies the higher is the later.
    pub revision: u64,
    pub status: Status,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub stopped_at: Option<Timestamp>,
    /// What was asked for last, while its sums are not there yet: `definition` and `plan_version` are what is served.
    pub rebuild: Option<Box<Rebuild>>,
    /// Periods of constant weights, numbered from 0; none before the weights change for the first time.
    pub phases: Vec<Phase>,
    /// Since when raw rows are purged: the sums stay as they were then, and nothing can be counted anew.
    pub purged_at: Option<Timestamp>,
}

/// A plan version that is being built.
#[derive(Debug, Clone, PartialEq)]
pub struct Rebuild {
    pub version: u32,
    pub definition: Definition,
    /// Partitions that have all of it, of so many.
    pub done_partitions: u16,
    pub partitions: u16,
}

/// A period in which users were assigned with the same weights.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Phase {
    pub began_at: Timestamp,
    pub coverage: f64,
    /// One per variation.
    pub weights: Vec<f64>,
}

impl Experiment {
    /// Of the sums that are served.
    pub fn plan(&self) -> Plan {
        Plan::new(self.id, self.plan_version, &self.definition)
    }

    /// Of the sums that are being built.
    pub fn next_plan(&self) -> Option<Plan> {
        self.rebuild.as_ref().map(|next| Plan::new(self.id, next.version, &next.definition))
    }

    /// What was asked for last.
    pub fn wanted(&self) -> &Definition {
        self.rebuild.as_ref().map_or(&self.definition, |next| &next.definition)
    }

    /// The phase in which users enroll now.
    pub fn phase(&self) -> u16 {
        u16::try_from(self.phases.len().saturating_sub(1)).unwrap_or(u16::MAX)
    }
}

/// What creating an experiment found.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    New(Experiment),
    /// The tenant has one with this key already.
    Exists(Experiment),
}

/// What becomes of a definition that is imported.
#[derive(Debug, Clone, PartialEq)]
pub enum Imported {
    New(Experiment),
    /// There is one with this definition.
    Equal(Experiment),
    /// The tenant has another one with this key.
    Taken(Experiment),
    /// The key belonged to an experiment that was deleted.
    Used,
}

impl Imported {
    pub fn is_in_the_way(&self) -> bool {
        matches!(self, Imported::Taken(_) | Imported::Used)
    }

    /// Of one that could not be created.
    pub(crate) fn known(existing: Option<Experiment>, definition: &Definition) -> Imported {
        match existing {
            Some(existing) if existing.wanted() == definition => Imported::Equal(existing),
            Some(existing) => Imported::Taken(existing),
            None => Imported::Used,
        }
    }
}

/// What a change of status did.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    Done(Box<Experiment>),
    /// Not from this status.
    Refused(Status),
    NotFound,
}

/// Which experiments of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing<'a> {
    /// Beginning after this one.
    pub after: ExperimentId,
    pub limit: u32,
    pub status: Option<Status>,
    pub label: Option<&'a str>,
}

/// A new definition for an experiment.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Of the experiment that it was made of.
    pub revision: u64,
    pub definition: &'a Definition,
    /// What changed, for the audit log; JSON.
    pub detail: &'a str,
}

/// What replacing a definition did.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    Done(Box<Experiment>),
    /// Somebody else changed the experiment first.
    Outrun,
    /// It cannot be counted anew: its raw rows are purged.
    Purged,
    NotFound,
}

/// What restoring did.
#[derive(Debug, Clone, PartialEq)]
pub enum Restored {
    Done(Box<Experiment>),
    /// Its raw rows are purged: what came a second time would be counted again.
    Purged,
    NotFound,
}

/// Something that was done, by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: i64,
    pub at: Timestamp,
    pub actor: String,
    /// `experiment.create`, ..
    pub action: String,
    /// What it was done to: the id of an experiment or a key, ..
    pub subject: String,
    pub request_id: String,
    /// By action: a definition, what changed in it, a status.
    pub detail: String,
}

/// Something done that no other function of the port writes down.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    /// Kind of thing and what was done: `webhook.create`.
    pub action: &'a str,
    pub subject: &'a str,
    /// For people and programs: a text, or JSON.
    pub detail: &'a str,
}

/// A key that an admin has issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: i64,
    pub tenant: String,
    /// SHA-256 of the key.
    pub digest: [u8; 32],
    pub name: String,
    /// Names, by commas.
    pub scopes: String,
    /// By which people tell keys apart.
    pub last_digits: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// For the audit log; JSON.
    pub(crate) fn told(&self) -> String {
        let ApiKey { name, scopes, last_digits, .. } = self;
        serde_json::json!({ "name": name, "scopes": scopes, "last_digits": last_digits }).to_string()
    }
}

/// A key to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    pub digest: [u8; 32],
    pub name: &'a str,
    pub scopes: &'a str,
    pub last_digits: &'a str,
}

/// Keys in force that a tenant may have.
pub const KEYS_MAX: u32 = 1_000;
/// Revoked keys of a tenant that are still listed, the latest; the audit log has all.
pub const REVOKED_KEPT: u32 = 1_000;

/// How far the erasure of a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// The owner of the user's partition will do it.
    Asked,
    Done,
}

/// Who changed something, for the audit log.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// A name of the key used, never the key.
    pub name: &'a str,
    pub request_id: &'a str,
}

/// One row of moments: the cumulative sums of a key at the end of `day`.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmRow {
    pub key: MomentsKey,
    pub day: Day,
    pub moments: Moments,
}

/// What sums are kept apart by, within a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MomentsKey {
    pub experiment: ExperimentId,
    pub plan_version: u32,
    pub partition: Partition,
    /// -1 is the holdout.
    pub variation: i16,
    pub stratum: String,
    pub phase: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    pub experiment: ExperimentId,
    /// -1 where the count belongs to no arm.
    pub variation: i16,
    pub name: String,
    pub n: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptPart {
    pub request_id: String,
    pub part: u16,
    pub parts: u16,
    pub recorded: u64,
    pub deduplicated: u64,
    /// Part of `deduplicated`.
    pub conflicts: u64,
    pub dead_lettered: u64,
}

/// A dead letter without its payload: something that was accepted and could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub id: i64,
    pub experiment: ExperimentId,
    pub partition: Partition,
    /// Id of the queue entry it came in.
    pub entry: String,
    pub batch: Option<BatchId>,
    pub request_id: Option<String>,
    /// A stable code.
    pub reason: String,
    pub detail: String,
    pub events: u64,
    /// SHA-256 of the payload, where that is not kept.
    pub digest: Option<[u8; 32]>,
    pub created_at: Timestamp,
}

/// Which letters; `None`: whatever it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct LetterFilter<'a> {
    pub experiment: Option<ExperimentId>,
    pub reason: Option<&'a str>,
}

/// Why letters are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Given up: in the books they stay dead-lettered.
    Dropped,
    /// The queue has their events again: they leave the books, in which the events get another fate.
    Redriven,
    /// Their user is forgotten: in the books they stay dead-lettered.
    Erased,
}

impl Removal {
    /// In the audit log.
    pub fn action(self) -> &'static str {
        match self {
            Removal::Dropped => "dead_letters.drop",
            Removal::Redriven => "dead_letters.redrive",
            Removal::Erased => "dead_letters.erase",
        }
    }
}

/// Something that a stream should have held and did not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Loss {
    pub partition: Partition,
    /// `None`: of no writer, the stream was replaced.
    pub writer: Option<uuid::Uuid>,
    /// Numbers of the writer's entries that are gone, or twice that of the entry that is cut short.
    pub first: u64,
    pub last: u64,
    pub events: u64,
    /// Id of the entry that showed it.
    pub entry: String,
    /// A stable code.
    pub why: String,
    #[serde(serialize_with = "spelled")]
    pub seen_at: Timestamp,
}

fn spelled<S: serde::Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

/// The books of one partition, in events: `accepted` is the sum of the other five.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PartitionAccount {
    pub partition: Partition,
    pub position: String,
    pub accepted: i64,
    pub recorded: i64,
    pub deduplicated: i64,
    pub dead_lettered: i64,
    pub discarded: i64,
    pub lost: i64,
}

/// The last entry applied of one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterRow {
    pub writer: uuid::Uuid,
    pub number: u64,
    pub total: u64,
    /// Milliseconds of that entry's id.
    pub seen_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRow {
    pub id: UnitId,
    pub tenant: String,
    pub user_id: String,
    pub unit: Unit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionRow {
    pub unit: UnitId,
    pub experiment: ExperimentId,
    pub key: String,
    pub metric: String,
    pub value: Decimal,
    pub occurred_at: Timestamp,
    pub occurred_given: Option<Timestamp>,
    pub received_at: Timestamp,
    pub day: Day,
    pub batch: BatchId,
}

/// Users of a range of ids, in order, and the conversions of the range, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub units: Vec<UnitRow>,
    pub conversions: Vec<ConversionRow>,
    /// Where it ends: with the last user, or with the range.
    pub end: UnitId,
}
