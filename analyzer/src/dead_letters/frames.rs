//! From the payload of a letter back to the queue.

use std::collections::BTreeMap;

use domain::{Partition, UnitId};
use queue::frame::{self, Control, Events, Frame, FrameError, Group};
use queue::producer::Outgoing;

/// Why a payload cannot be written to the queue again.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("a frame of the payload cannot be read")]
    Frame(#[from] FrameError),
    #[error("the payload changes an experiment in one partition, and belongs nowhere else")]
    Control,
    #[error("the payload holds no event")]
    Empty,
}

/// Every frame of a payload.
pub fn read(payload: &[u8]) -> Result<Vec<Frame<'_>>, FrameError> {
    frame::split(payload).map(|part| part.map_err(|bad| bad.error)).collect()
}

/// The events of a payload as they were sent: same batches, same keys, same times. Each goes to the partition of its
/// user, which is another than it came from in a deployment that has moved to more partitions.
pub fn outgoing(payload: &[u8], partitions: u16) -> Result<Vec<Outgoing>, Unusable> {
    let mut outgoing = Vec::new();
    for mut frame in read(payload)? {
        let mut groups: BTreeMap<Partition, Vec<Group<'_>>> = BTreeMap::new();
        for group in std::mem::take(&mut frame.groups) {
            for (partition, group) in parted(frame.tenant, group, partitions)? {
                groups.entry(partition).or_default().push(group);
            }
        }
        // A receipt is of the frame it was asked in.
        frame.receipt = frame.receipt.filter(|_| groups.len() == 1);
        for (partition, groups) in groups {
            let frame = Frame { groups, ..frame.clone() };
            outgoing.push(Outgoing { partition, bytes: frame::encode(&frame)?, events: frame.events() });
        }
    }
    if outgoing.is_empty() { Err(Unusable::Empty) } else { Ok(outgoing) }
}

/// A group by the partitions of its users, each in the order of the group.
fn parted<'a>(
    tenant: &str,
    group: Group<'a>,
    partitions: u16,
) -> Result<Vec<(Partition, Group<'a>)>, Unusable> {
    let Group { experiment, after_stop, events } = group;
    let of = |user: &str| UnitId::of(tenant, user).partition(partitions);
    let parts = match events {
        Events::Exposures(items) => by(items, |e| of(e.user_id), Events::Exposures),
        Events::Conversions(items) => by(items, |c| of(c.user_id), Events::Conversions),
        Events::Controls(items) => {
            let users: Option<Vec<&str>> = items.iter().map(Control::user_id).collect();
            users.ok_or(Unusable::Control)?;
            by(items, |c| of(c.user_id().unwrap_or_default()), Events::Controls)
        }
    };
    let group = |(partition, events)| (partition, Group { experiment, after_stop, events });
    Ok(parts.into_iter().map(group).collect())
}

fn by<'a, E>(
    items: Vec<E>,
    partition: impl Fn(&E) -> Partition,
    events: fn(Vec<E>) -> Events<'a>,
) -> Vec<(Partition, Events<'a>)> {
    let mut parts: BTreeMap<Partition, Vec<E>> = BTreeMap::new();
    for item in items {
        parts.entry(partition(&item)).or_default().push(item);
    }
    parts.into_iter().map(|(partition, items)| (partition, events(items))).collect()
}
