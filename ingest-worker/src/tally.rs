//! The fate of every event of a chunk, counted: per tenant and experiment for the books, per request for receipts.

use crate::cache::PartitionCache;
use crate::chunk::{Chunk, Event, Kind};
use domain::attributes::Attribute;
use domain::event::{Conversion, Key};
use domain::{Day, Decimal, ExperimentId, Partition, Timestamp};
use foldhash::{HashMap, HashMapExt, HashSet};
use queue::frame::{Frame, Receipt};
use queue::receipts::ReceiptMessage;
use service::traces::{AppliedRequest, is_sampled};
use std::collections::BTreeMap;
use store::UNUSED_METRIC;
use store::apply::{Count, DeadLetter, NewReceipt, Outcome};

/// Names of `counters`. Down to `discarded` they are fates: every event applied has exactly one of them. Those of
/// [`store::RECORDED`] add up to what is recorded.
pub mod name {
    pub const EXPOSURES: &str = "exposures";
    pub const CONVERSIONS: &str = "conversions";
    pub const PRE_PERIOD: &str = "pre_period";
    pub const STRATA: &str = "strata";
    pub const EXCLUSIONS: &str = "exclusions";
    pub const DEDUPLICATED: &str = "deduplicated";
    pub const DEAD_LETTERED: &str = "dead_lettered";
    pub const DISCARDED: &str = "discarded";
    pub const CONFLICTS: &str = "conflicts";
    pub const KEYLESS: &str = "keyless";
    pub const STRATA_MERGED: &str = "strata_merged";
    pub const CLOCK_CORRECTED: &str = "clock_corrected";
    /// Exposures and conversions recorded on a later day than they occurred.
    pub const LATE: &str = "late";
    /// Conversions that name the experiment, of users who are not enrolled in it; what came before a user's exposure
    /// is taken back when that arrives.
    pub const NEVER_EXPOSED: &str = "never_exposed";
}

/// Belongs to no arm; the holdout is none.
pub const NO_VARIATION: i16 = -1;

/// Metrics without a plan that are counted by name, of one experiment in one partition; the others are together.
const UNUSED_MAX: usize = 100;
const UNUSED_OTHERS: &str = "(other)";

#[derive(Default)]
pub struct Tally<'a> {
    counts: HashMap<(&'a str, ExperimentId, i16, &'static str), i64>,
    /// Conversions of metrics that no plan uses, by what they are counted under.
    unused: HashMap<(&'a str, ExperimentId, String), i64>,
    /// By index of frame.
    frames: Vec<FrameTally>,
    pub dead_letters: Vec<DeadLetter<'a>>,
    pub totals: Totals,
    /// Events discarded, by reason.
    pub discards: BTreeMap<&'static str, u64>,
}

/// Why an event is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    DeletedExperiment,
    /// The user asked to be forgotten.
    Erased,
    /// An exposure that occurred after the experiment was stopped enrolls nobody.
    AfterStop,
}

impl Discard {
    pub fn reason(self) -> &'static str {
        match self {
            Discard::DeletedExperiment => "deleted_experiment",
            Discard::Erased => "erased",
            Discard::AfterStop => "after_stop",
        }
    }

    /// In `counters`, beside [`name::DISCARDED`].
    fn counter(self) -> &'static str {
        match self {
            Discard::DeletedExperiment => "discarded:deleted_experiment",
            Discard::Erased => "discarded:erased",
            Discard::AfterStop => "discarded:after_stop",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameTally {
    pub recorded: u32,
    pub deduplicated: u32,
    pub conflicts: u32,
    /// Discarded events too: whoever sent them is told that they took no effect.
    pub dead_lettered: u32,
}

/// Events of the chunk by fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub recorded: u64,
    pub deduplicated: u64,
    pub dead_lettered: u64,
    pub discarded: u64,
}

impl<'a> Tally<'a> {
    /// Starts with what could not be read.
    pub fn new(chunk: &Chunk<'a>) -> Tally<'a> {
        let mut tally = Tally {
            counts: HashMap::with_capacity(16),
            frames: vec![FrameTally::default(); chunk.frames.len()],
            ..Tally::default()
        };
        for u in &chunk.unreadable {
            let frame = u.frame.and_then(|f| chunk.frames.get(f)).map(|f| &f.1);
            let tenant = frame.map_or("", |f| f.tenant);
            tally.count(tenant, ExperimentId::NONE, NO_VARIATION, name::DEAD_LETTERED, u.events);
            tally.totals.dead_lettered += u.events;
            if let Some(f) = u.frame.and_then(|f| tally.frames.get_mut(f)) {
                f.dead_lettered += u32::try_from(u.events).unwrap_or(u32::MAX);
            }
            tally.dead_letters.push(DeadLetter {
                tenant,
                experiment: ExperimentId::NONE,
                entry: u.entry.id.to_string(),
                batch: frame.map(|f| f.batch),
                request_id: frame.map(|f| f.request_id),
                reason: u.reason,
                detail: u.detail.clone(),
                events: u.events,
                payload: u.bytes.clone(),
                digest: None,
            });
        }
        tally
    }

    /// It took effect on `day`: a first exposure, a conversion stored, something told that was not known. `arm` is the one
    /// its user is in by now.
    pub fn recorded(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, arm: i16, day: Day) {
        let frame = chunk.frame(event);
        let (fate, of) = match &event.kind {
            Kind::Exposure(e) => (name::EXPOSURES, e.variation),
            Kind::Conversion(_) => (name::CONVERSIONS, NO_VARIATION),
            Kind::Told(told) => match told.attribute {
                Attribute::Covariate { .. } => (name::PRE_PERIOD, NO_VARIATION),
                Attribute::Stratum { .. } => (name::STRATA, NO_VARIATION),
                Attribute::Exclusion { .. } => (name::EXCLUSIONS, NO_VARIATION),
            },
        };
        self.count(frame.tenant, event.experiment, of, fate, 1);
        if frame.clock_shift != 0 && event.kind.occurred_given().is_some() {
            self.count(frame.tenant, event.experiment, arm, name::CLOCK_CORRECTED, 1);
        }
        if !matches!(event.kind, Kind::Told(_)) && chunk.occurred_at(event).day() < day {
            self.count(frame.tenant, event.experiment, arm, name::LATE, 1);
        }
        if let Kind::Conversion(Conversion { key: Key::Index(_), .. }) = event.kind {
            self.count(frame.tenant, event.experiment, arm, name::KEYLESS, 1);
        }
        self.totals.recorded += 1;
        self.frames[event.frame].recorded += 1;
    }

    /// Conversions that name the experiment and whose user is not in it: more of them, or fewer because the user came.
    pub fn never_exposed(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, change: i64) {
        let tenant = chunk.frame(event).tenant;
        self.add(tenant, event.experiment, NO_VARIATION, name::NEVER_EXPOSED, change);
    }

    /// A conversion that names an experiment without such a metric.
    pub fn unused(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, metric: &str, cache: &PartitionCache) {
        let tenant = chunk.frame(event).tenant;
        let mut key = (tenant, event.experiment, format!("{UNUSED_METRIC}{metric}"));
        let known = cache.unused.get(&event.experiment);
        if known.is_none_or(|known| !known.contains(&key.2)) && !self.unused.contains_key(&key) {
            let fresh = self.unused.keys().filter(|other| other.1 == event.experiment);
            let fresh = fresh.filter(|other| known.is_none_or(|known| !known.contains(&other.2))).count();
            if known.map_or(0, HashSet::len) + fresh >= UNUSED_MAX {
                key.2 = format!("{UNUSED_METRIC}{UNUSED_OTHERS}");
            }
        }
        *self.unused.entry(key).or_default() += 1;
    }

    /// What the metrics without a plan were counted under.
    pub fn unused_names(&self) -> impl Iterator<Item = (ExperimentId, &String)> {
        self.unused.keys().map(|(_, experiment, name)| (*experiment, name))
    }

    /// A user's stratum was one more than there is room for.
    pub fn merged(&mut self, chunk: &Chunk<'a>, event: &Event<'a>) {
        self.count(chunk.frame(event).tenant, event.experiment, NO_VARIATION, name::STRATA_MERGED, 1);
    }

    /// `arm`: its user's.
    pub fn deduplicated(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, arm: i16, conflict: bool) {
        let tenant = chunk.frame(event).tenant;
        self.count(tenant, event.experiment, NO_VARIATION, name::DEDUPLICATED, 1);
        self.totals.deduplicated += 1;
        let frame = &mut self.frames[event.frame];
        frame.deduplicated += 1;
        if conflict {
            frame.conflicts += 1;
            self.count(tenant, event.experiment, arm, name::CONFLICTS, 1);
        }
    }

    /// Counted, not kept.
    pub fn discarded(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, why: Discard) {
        let tenant = chunk.frame(event).tenant;
        self.count(tenant, event.experiment, NO_VARIATION, name::DISCARDED, 1);
        // Who comes too late is in no arm; which one was shown is known.
        let arm = match (&event.kind, why) {
            (Kind::Exposure(e), Discard::AfterStop) => e.variation,
            _ => NO_VARIATION,
        };
        self.count(tenant, event.experiment, arm, why.counter(), 1);
        *self.discards.entry(why.reason()).or_default() += 1;
        self.totals.discarded += 1;
        self.frames[event.frame].dead_lettered += 1;
    }

    pub fn dead(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, reason: &'static str, detail: String) {
        let (entry, frame) = &chunk.frames[event.frame];
        self.count(frame.tenant, event.experiment, NO_VARIATION, name::DEAD_LETTERED, 1);
        self.totals.dead_lettered += 1;
        self.frames[event.frame].dead_lettered += 1;
        self.dead_letters.push(DeadLetter {
            tenant: frame.tenant,
            experiment: event.experiment,
            entry: entry.id.to_string(),
            batch: Some(frame.batch),
            request_id: Some(frame.request_id),
            reason,
            detail,
            events: 1,
            payload: chunk.frame_of(event).into(),
            digest: None,
        });
    }

    /// Which requests a commit was of, and what became of each.
    pub fn log(&self, chunk: &Chunk<'a>, partition: Partition) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        for ((entry, frame), n) in chunk.frames.iter().zip(&self.frames) {
            let Frame { request_id, traceparent, .. } = frame;
            let entry = entry.id.to_string();
            let FrameTally { recorded, deduplicated, dead_lettered, .. } = n;
            tracing::debug!(
                partition = partition.0,
                entry,
                request_id,
                traceparent,
                recorded,
                deduplicated,
                dead_lettered,
                "request applied"
            );
        }
    }

    /// What became of the requests that are traced.
    pub fn traced(&self, chunk: &Chunk<'a>, partition: Partition) -> Vec<AppliedRequest> {
        let frames = chunk.frames.iter().zip(&self.frames);
        let traced = frames.filter_map(|((_, frame), n)| Some((frame, frame.traceparent?, n)));
        let request = |(frame, traceparent, n): (&Frame<'a>, &str, &FrameTally)| AppliedRequest {
            request_id: frame.request_id.to_owned(),
            traceparent: traceparent.to_owned(),
            partition: partition.0,
            recorded: n.recorded,
            deduplicated: n.deduplicated,
            dead_lettered: n.dead_lettered,
        };
        traced.filter(|(_, traceparent, _)| is_sampled(traceparent)).map(request).collect()
    }

    pub fn counters(&self) -> Vec<Count<'_>> {
        let count = |(&(tenant, experiment, variation, name), &n): (
            &(&'a str, ExperimentId, i16, &'static str),
            &i64,
        )| { Count { tenant, experiment, variation, name, n } };
        let unused = self.unused.iter().map(|((tenant, experiment, name), n)| Count {
            tenant,
            experiment: *experiment,
            variation: NO_VARIATION,
            name,
            n: *n,
        });
        // Taken back as soon as it was counted.
        self.counts.iter().filter(|(_, n)| **n != 0).map(count).chain(unused).collect()
    }

    /// Of the frames whose sender asked, to be stored.
    pub fn receipts(&self, chunk: &Chunk<'a>) -> Vec<NewReceipt<'a>> {
        let receipt = |(frame, receipt, n): (&Frame<'a>, Receipt<'a>, &FrameTally)| NewReceipt {
            tenant: frame.tenant,
            batch: frame.batch,
            request_id: frame.request_id,
            part: receipt.part,
            parts: receipt.parts,
            recorded: n.recorded.into(),
            deduplicated: n.deduplicated.into(),
            conflicts: n.conflicts.into(),
            dead_lettered: n.dead_lettered.into(),
        };
        self.asked(chunk).map(receipt).collect()
    }

    /// Of the frames whose sender waits, to be published.
    pub fn messages(&self, chunk: &Chunk<'a>) -> Vec<ReceiptMessage> {
        let waiting = self.asked(chunk).filter(|(_, receipt, _)| !receipt.address.is_empty());
        let message = |(frame, receipt, n): (&Frame<'a>, Receipt<'a>, &FrameTally)| ReceiptMessage {
            address: receipt.address.to_owned(),
            request_id: frame.request_id.to_owned(),
            batch: frame.batch,
            part: receipt.part,
            recorded: n.recorded,
            deduplicated: n.deduplicated,
            conflicts: n.conflicts,
            dead_lettered: n.dead_lettered,
        };
        waiting.map(message).collect()
    }

    fn asked<'s>(
        &'s self,
        chunk: &'s Chunk<'a>,
    ) -> impl Iterator<Item = (&'s Frame<'a>, Receipt<'a>, &'s FrameTally)> {
        let frames = chunk.frames.iter().zip(&self.frames);
        frames.filter_map(|((_, frame), n)| Some((frame, frame.receipt?, n)))
    }

    fn count(
        &mut self,
        tenant: &'a str,
        experiment: ExperimentId,
        variation: i16,
        name: &'static str,
        n: u64,
    ) {
        self.add(tenant, experiment, variation, name, n.cast_signed());
    }

    fn add(&mut self, tenant: &'a str, experiment: ExperimentId, variation: i16, name: &'static str, n: i64) {
        *self.counts.entry((tenant, experiment, variation, name)).or_default() += n;
    }
}

/// Whether what was stored under a key differs from what came now: metric, value, or a time the client gave both
/// times (compared as written, before any clock correction).
pub fn conflicts(known: &Outcome, metric: &str, value: Decimal, given: Option<Timestamp>) -> bool {
    match known {
        Outcome::New => false,
        Outcome::Known { metric: m, value: v, occurred_given } => {
            m != metric || *v != value || matches!((occurred_given, given), (Some(a), Some(b)) if *a != b)
        }
    }
}
