//! Body of format 1: bincode 2.0.1, little-endian, variable-length integers. The only file that names bincode.
//!
//! The order of fields and variants *is* the format. Nothing here may be edited in place except by adding variants
//! at the end of an enum; a changed layout is a new format number in a new file, read side by side with this one
//! until the longest stream retention has passed. `tests/data` keeps golden frames of every kind.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::enc::{Encode, Encoder};
use bincode::error::EncodeError;
use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, Decimal, ExperimentId, Timestamp};
use uuid::Uuid;

use super::{BODY_MAX, Control, Events, Frame, FrameError, Group, Receipt};

/// What decoding may claim: the body, plus the vectors announced and not yet read.
const LIMIT: usize = 2 * BODY_MAX;
const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> = bincode::config::standard().with_limit();

pub(super) fn encode(frame: &Frame<'_>, into: &mut Vec<u8>) -> Result<(), FrameError> {
    let wire = WireFrame {
        batch: frame.batch.0.into_bytes(),
        tenant: frame.tenant,
        request_id: frame.request_id,
        traceparent: frame.traceparent,
        sent_at: frame.sent_at.map(|at| at.0),
        received_at: frame.received_at.0,
        clock_shift: frame.clock_shift,
        receipt: frame.receipt.map(|r| WireReceipt { address: r.address, part: r.part, parts: r.parts }),
        groups: GroupsRef(&frame.groups),
    };
    bincode::encode_into_writer(wire, Append(into), CONFIG).map_err(|e| FrameError::Encode(Box::new(e)))
}

pub(super) fn decode(body: &[u8]) -> Result<Frame<'_>, FrameError> {
    let (wire, read): (WireFrame<'_, Vec<WireGroup<'_>>>, usize) =
        bincode::borrow_decode_from_slice(body, CONFIG).map_err(|e| FrameError::Body(Box::new(e)))?;
    if read != body.len() {
        return Err(FrameError::TrailingBytes(body.len().saturating_sub(read)));
    }
    Ok(Frame {
        batch: BatchId(Uuid::from_bytes(wire.batch)),
        tenant: wire.tenant,
        request_id: wire.request_id,
        traceparent: wire.traceparent,
        sent_at: wire.sent_at.map(Timestamp),
        received_at: Timestamp(wire.received_at),
        clock_shift: wire.clock_shift,
        receipt: wire.receipt.map(|r| Receipt { address: r.address, part: r.part, parts: r.parts }),
        groups: wire.groups.into_iter().map(Group::from).collect(),
    })
}

/// Writes at the end of the frame's one buffer.
struct Append<'v>(&'v mut Vec<u8>);

impl Writer for Append<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct WireFrame<'a, G> {
    batch: [u8; 16],
    tenant: &'a str,
    request_id: &'a str,
    traceparent: Option<&'a str>,
    sent_at: Option<i64>,
    received_at: i64,
    clock_shift: i64,
    receipt: Option<WireReceipt<'a>>,
    groups: G,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct WireReceipt<'a> {
    address: &'a str,
    part: u16,
    parts: u16,
}

#[derive(bincode::BorrowDecode)]
struct WireGroup<'a> {
    experiment: i64,
    after_stop: bool,
    events: WireEvents<'a>,
}

#[derive(bincode::BorrowDecode)]
enum WireEvents<'a> {
    Exposures(Vec<WireExposure<'a>>),
    Conversions(Vec<WireConversion<'a>>),
    Controls(Vec<WireControl<'a>>),
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct WireExposure<'a> {
    user_id: &'a str,
    variation: i16,
    occurred_given: Option<i64>,
    key: Option<&'a str>,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
struct WireConversion<'a> {
    user_id: &'a str,
    metric: &'a str,
    /// Millionths.
    value: i64,
    occurred_given: Option<i64>,
    key: WireKey<'a>,
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
enum WireKey<'a> {
    Client(&'a str),
    Index(u32),
}

#[derive(bincode::Encode, bincode::BorrowDecode)]
enum WireControl<'a> {
    Phase { number: u16, coverage: f64, weights: Vec<f64>, at: i64 },
    Stop { at: i64 },
    Restart { at: i64 },
    Erase { user_id: &'a str },
    PrePeriod { user_id: &'a str, covariate: Option<&'a str>, value: i64, occurred_given: Option<i64> },
    Stratum { user_id: &'a str, stratum: &'a str, occurred_given: Option<i64> },
    Exclusion { user_id: &'a str, reason: Option<&'a str>, excluded: bool },
}

/// Encodes like `Vec<WireGroup>`, without building one: the gateway's hot path.
struct GroupsRef<'a>(&'a [Group<'a>]);

impl Encode for GroupsRef<'_> {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        for group in self.0 {
            group.experiment.0.encode(encoder)?;
            group.after_stop.encode(encoder)?;
            match &group.events {
                Events::Exposures(events) => encode_events(0, events, WireExposure::from, encoder)?,
                Events::Conversions(events) => encode_events(1, events, WireConversion::from, encoder)?,
                Events::Controls(events) => encode_events(2, events, WireControl::from, encoder)?,
            }
        }
        Ok(())
    }
}

/// `variant` is that of [`WireEvents`].
fn encode_events<'a, T, W: Encode, E: Encoder>(
    variant: u32,
    events: &'a [T],
    wire: fn(&'a T) -> W,
    encoder: &mut E,
) -> Result<(), EncodeError> {
    variant.encode(encoder)?;
    (events.len() as u64).encode(encoder)?;
    events.iter().try_for_each(|event| wire(event).encode(encoder))
}

impl<'a> From<WireGroup<'a>> for Group<'a> {
    fn from(wire: WireGroup<'a>) -> Self {
        let events = match wire.events {
            WireEvents::Exposures(events) => {
                Events::Exposures(events.into_iter().map(Exposure::from).collect())
            }
            WireEvents::Conversions(events) => {
                Events::Conversions(events.into_iter().map(Conversion::from).collect())
            }
            WireEvents::Controls(events) => Events::Controls(events.into_iter().map(Control::from).collect()),
        };
        Group { experiment: ExperimentId(wire.experiment), after_stop: wire.after_stop, events }
    }
}

impl<'a> From<&'a Exposure<'a>> for WireExposure<'a> {
    fn from(event: &'a Exposure<'a>) -> Self {
        let occurred_given = event.occurred_given.map(|at| at.0);
        WireExposure { user_id: event.user_id, variation: event.variation, occurred_given, key: event.key }
    }
}

impl<'a> From<WireExposure<'a>> for Exposure<'a> {
    fn from(wire: WireExposure<'a>) -> Self {
        let occurred_given = wire.occurred_given.map(Timestamp);
        Exposure { user_id: wire.user_id, variation: wire.variation, occurred_given, key: wire.key }
    }
}

impl<'a> From<&'a Conversion<'a>> for WireConversion<'a> {
    fn from(event: &'a Conversion<'a>) -> Self {
        WireConversion {
            user_id: event.user_id,
            metric: event.metric,
            value: event.value.0,
            occurred_given: event.occurred_given.map(|at| at.0),
            key: match event.key {
                Key::Client(key) => WireKey::Client(key),
                Key::Index(index) => WireKey::Index(index),
            },
        }
    }
}

impl<'a> From<WireConversion<'a>> for Conversion<'a> {
    fn from(wire: WireConversion<'a>) -> Self {
        Conversion {
            user_id: wire.user_id,
            metric: wire.metric,
            value: Decimal(wire.value),
            occurred_given: wire.occurred_given.map(Timestamp),
            key: match wire.key {
                WireKey::Client(key) => Key::Client(key),
                WireKey::Index(index) => Key::Index(index),
            },
        }
    }
}

impl<'a> From<&'a Control<'a>> for WireControl<'a> {
    fn from(event: &'a Control<'a>) -> Self {
        match *event {
            Control::Phase { number, coverage, ref weights, at } => {
                WireControl::Phase { number, coverage, weights: weights.clone(), at: at.0 }
            }
            Control::Stop { at } => WireControl::Stop { at: at.0 },
            Control::Restart { at } => WireControl::Restart { at: at.0 },
            Control::Erase { user_id } => WireControl::Erase { user_id },
            Control::PrePeriod { user_id, covariate, value, occurred_given } => WireControl::PrePeriod {
                user_id,
                covariate,
                value: value.0,
                occurred_given: occurred_given.map(|at| at.0),
            },
            Control::Stratum { user_id, stratum, occurred_given } => {
                WireControl::Stratum { user_id, stratum, occurred_given: occurred_given.map(|at| at.0) }
            }
            Control::Exclusion { user_id, reason, excluded } => {
                WireControl::Exclusion { user_id, reason, excluded }
            }
        }
    }
}

impl<'a> From<WireControl<'a>> for Control<'a> {
    fn from(wire: WireControl<'a>) -> Self {
        match wire {
            WireControl::Phase { number, coverage, weights, at } => {
                Control::Phase { number, coverage, weights, at: Timestamp(at) }
            }
            WireControl::Stop { at } => Control::Stop { at: Timestamp(at) },
            WireControl::Restart { at } => Control::Restart { at: Timestamp(at) },
            WireControl::Erase { user_id } => Control::Erase { user_id },
            WireControl::PrePeriod { user_id, covariate, value, occurred_given } => Control::PrePeriod {
                user_id,
                covariate,
                value: Decimal(value),
                occurred_given: occurred_given.map(Timestamp),
            },
            WireControl::Stratum { user_id, stratum, occurred_given } => {
                Control::Stratum { user_id, stratum, occurred_given: occurred_given.map(Timestamp) }
            }
            WireControl::Exclusion { user_id, reason, excluded } => {
                Control::Exclusion { user_id, reason, excluded }
            }
        }
    }
}
