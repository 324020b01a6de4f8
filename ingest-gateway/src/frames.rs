//! From accepted items to frames: one per partition, events grouped by experiment and kind.
//!
//! Within a group the order of the request is kept. Between an exposure and a conversion of one user it does not
//! matter (the fold gives the same answer either way), and what is told of users comes in requests of its own, so groups
//! may stand in any order.

use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, ExperimentId, Partition};
use queue::frame::{self, Control, Events, Frame, FrameError, Group, Receipt};
use queue::producer::Outgoing;

use crate::body::{Item, What};
use crate::clock::Clock;

/// Where one accepted item goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub partition: Partition,
    /// [`ExperimentId::NONE`] = the tenant.
    pub experiment: ExperimentId,
    pub after_stop: bool,
    pub kind: Kind,
    /// Index into the accepted items.
    pub position: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Conversion,
    /// In this variation, which is not part of a group's identity.
    Exposure(i16),
    Control,
}

impl Slot {
    fn group(&self) -> (Partition, ExperimentId, bool, u8) {
        let kind = match self.kind {
            Kind::Conversion => 0,
            Kind::Exposure(_) => 1,
            Kind::Control => 2,
        };
        (self.partition, self.experiment, self.after_stop, kind)
    }
}

/// What all frames of one request say alike.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    pub batch: BatchId,
    pub tenant: &'a str,
    pub request_id: &'a str,
    pub traceparent: Option<&'a str>,
    /// Where receipts go; `Some("")` = stored only, `None` = nobody asked.
    pub receipt: Option<&'a str>,
}

/// The frames of a request, encoded; as many as partitions concerned.
pub fn encode(
    common: Common<'_>,
    clock: &Clock,
    items: &[Item<'_>],
    mut slots: Vec<Slot>,
) -> Result<Vec<Outgoing>, FrameError> {
    slots.sort_unstable_by_key(|slot| (slot.group(), slot.position));
    let partitions = || slots.chunk_by(|a, b| a.partition == b.partition);
    let parts = u16::try_from(partitions().count()).unwrap_or(u16::MAX);
    (0..)
        .zip(partitions())
        .map(|(part, slots)| {
            let frame = Frame {
                batch: common.batch,
                tenant: common.tenant,
                request_id: common.request_id,
                traceparent: common.traceparent,
                sent_at: clock.sent_at,
                received_at: clock.received_at,
                clock_shift: clock.shift,
                receipt: common.receipt.map(|address| Receipt { address, part, parts }),
                groups: slots
                    .chunk_by(|a, b| a.group() == b.group())
                    .map(|slots| group(slots, items))
                    .collect(),
            };
            Ok(Outgoing {
                partition: slots[0].partition,
                bytes: frame::encode(&frame)?,
                events: frame.events(),
            })
        })
        .collect()
}

fn group<'a>(slots: &[Slot], items: &'a [Item<'_>]) -> Group<'a> {
    let pairs = || slots.iter().map(|slot| (slot, &items[slot.position as usize]));
    let events = match slots[0].kind {
        Kind::Conversion => Events::Conversions(pairs().filter_map(|(_, item)| conversion(item)).collect()),
        Kind::Exposure(_) => {
            Events::Exposures(pairs().filter_map(|(slot, item)| exposure(slot, item)).collect())
        }
        Kind::Control => Events::Controls(pairs().filter_map(|(_, item)| control(item)).collect()),
    };
    Group { experiment: slots[0].experiment, after_stop: slots[0].after_stop, events }
}

fn exposure<'a>(slot: &Slot, item: &'a Item<'_>) -> Option<Exposure<'a>> {
    let Kind::Exposure(variation) = slot.kind else { return None };
    let (occurred_given, key) = (item.occurred_given, item.key.as_deref());
    Some(Exposure { user_id: &item.user_id, variation, occurred_given, key })
}

fn control<'a>(item: &'a Item<'_>) -> Option<Control<'a>> {
    let (user_id, occurred_given) = (item.user_id.as_ref(), item.occurred_given);
    match &item.what {
        What::Exposure(_) | What::Conversion { .. } => None,
        What::PrePeriod { covariate, value, .. } => Some(Control::PrePeriod {
            user_id,
            covariate: covariate.as_deref(),
            value: *value,
            occurred_given,
        }),
        What::Stratum(stratum) => Some(Control::Stratum { user_id, stratum, occurred_given }),
        What::Exclusion { reason, excluded } => {
            Some(Control::Exclusion { user_id, reason: reason.as_deref(), excluded: *excluded })
        }
    }
}

fn conversion<'a>(item: &'a Item<'_>) -> Option<Conversion<'a>> {
    let What::Conversion { metric, value, .. } = &item.what else { return None };
    Some(Conversion {
        user_id: &item.user_id,
        metric,
        value: *value,
        occurred_given: item.occurred_given,
        key: item.key.as_deref().map_or(Key::Index(item.index), Key::Client),
    })
}
