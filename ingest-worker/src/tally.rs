//! The fate of every event of a chunk, counted: per tenant and experiment for the books, per request for receipts.

use crate::chunk::{Chunk, Event, Kind};
use domain::attributes::Attribute;
use domain::{Decimal, ExperimentId, Timestamp};
use foldhash::{HashMap, HashMapExt};
use queue::frame::{Frame, Receipt};
use queue::receipts::ReceiptMessage;
use std::collections::BTreeMap;
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
}

/// Belongs to no arm.
const NO_VARIATION: i16 = -1;

#[derive(Default)]
pub struct Tally<'a> {
    counts: HashMap<(&'a str, ExperimentId, i16, &'static str), i64>,
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

    /// It took effect: a first exposure (in the arm it enrolled into), a conversion stored, something told that was
    /// not known.
    pub fn recorded(&mut self, chunk: &Chunk<'a>, event: &Event<'a>) {
        let frame = chunk.frame(event);
        let (fate, arm) = match &event.kind {
            Kind::Exposure(e) => (name::EXPOSURES, e.variation),
            Kind::Conversion(_) => (name::CONVERSIONS, NO_VARIATION),
            Kind::Told(told) => match told.attribute {
                Attribute::Covariate { .. } => (name::PRE_PERIOD, NO_VARIATION),
                Attribute::Stratum { .. } => (name::STRATA, NO_VARIATION),
                Attribute::Exclusion { .. } => (name::EXCLUSIONS, NO_VARIATION),
            },
        };
        self.count(frame.tenant, event.experiment, arm, fate, 1);
        if frame.clock_shift != 0 && event.kind.occurred_given().is_some() {
            self.count(frame.tenant, event.experiment, arm, name::CLOCK_CORRECTED, 1);
        }
        self.totals.recorded += 1;
        self.frames[event.frame].recorded += 1;
    }

    pub fn keyless(&mut self, chunk: &Chunk<'a>, event: &Event<'a>) {
        self.count(chunk.frame(event).tenant, event.experiment, NO_VARIATION, name::KEYLESS, 1);
    }

    /// A user's stratum was one more than there is room for.
    pub fn merged(&mut self, chunk: &Chunk<'a>, event: &Event<'a>) {
        self.count(chunk.frame(event).tenant, event.experiment, NO_VARIATION, name::STRATA_MERGED, 1);
    }

    pub fn deduplicated(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, conflict: bool) {
        let tenant = chunk.frame(event).tenant;
        self.count(tenant, event.experiment, NO_VARIATION, name::DEDUPLICATED, 1);
        self.totals.deduplicated += 1;
        let frame = &mut self.frames[event.frame];
        frame.deduplicated += 1;
        if conflict {
            frame.conflicts += 1;
            self.count(tenant, event.experiment, NO_VARIATION, name::CONFLICTS, 1);
        }
    }

    /// Counted, not kept.
    pub fn discarded(&mut self, chunk: &Chunk<'a>, event: &Event<'a>, why: Discard) {
        let tenant = chunk.frame(event).tenant;
        self.count(tenant, event.experiment, NO_VARIATION, name::DISCARDED, 1);
        self.count(tenant, event.experiment, NO_VARIATION, why.counter(), 1);
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

    pub fn counters(&self) -> Vec<Count<'a>> {
        let count = |(&(tenant, experiment, variation, name), &n): (
            &(&'a str, ExperimentId, i16, &'static str),
            &i64,
        )| { Count { tenant, experiment, variation, name, n } };
        self.counts.iter().map(count).collect()
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
        *self.counts.entry((tenant, experiment, variation, name)).or_default() += n.cast_signed();
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
