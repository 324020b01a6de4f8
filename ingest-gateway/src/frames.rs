//! From accepted items to frames: one per partition, events grouped by experiment and kind.
//!
//! Within a group the order of the request is kept. Between an exposure and a conversion of one user it does not
//! matter (the fold gives the same answer either way), so groups may stand in any order.

use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, ExperimentId, Partition};
use queue::frame::{self, Events, Frame, FrameError, Group, Receipt};
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
    /// Of an exposure; `None` = a conversion. Not part of a group's identity.
    pub variation: Option<i16>,
    /// Index into the accepted items.
    pub position: u32,
}

impl Slot {
    fn group(&self) -> (Partition, ExperimentId, bool, bool) {
        (self.partition, self.experiment, self.after_stop, self.variation.is_some())
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
    let exposures = slots[0].variation.is_some();
    let events = if exposures {
        Events::Exposures(pairs().map(|(slot, item)| exposure(slot, item)).collect())
    } else {
        Events::Conversions(pairs().filter_map(|(_, item)| conversion(item)).collect())
    };
    Group { experiment: slots[0].experiment, after_stop: slots[0].after_stop, events }
}

fn exposure<'a>(slot: &Slot, item: &'a Item<'_>) -> Exposure<'a> {
    Exposure {
        user_id: &item.user_id,
        variation: slot.variation.unwrap_or_default(),
        occurred_given: item.occurred_given,
        key: item.key.as_deref(),
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
