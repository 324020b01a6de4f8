//! Frames: what a gateway writes of one request into one partition, and the only thing queue entries carry.
//!
//! ```text
//! offset  0  "ABFR"            4
//!         4  format number     u16, says how the body is encoded
//!         6  flags             u16, none defined: must be 0
//!         8  length of body    u32
//!        12  number of events  u32
//!        16  CRC32 of body     u32
//!        20  CRC32 of 0..20    u32
//!        24  body
//! ```
//!
//! All little-endian. The layout of the header is the same for every format number, and it has a checksum of its
//! own: with a damaged body, or a format this build does not know, the next frame is still found and the number
//! of events is still right. An entry's payload is a concatenation of frames ([`split`]).

mod bincode_v1;

use domain::event::{Conversion, Exposure};
use domain::{BatchId, Decimal, ExperimentId, Timestamp};

const MAGIC: [u8; 4] = *b"ABFR";
const HEADER: usize = 24;
const FORMAT_BINCODE_V1: u16 = 1;

/// Largest body, in bytes, that is written or read. The gateway decodes requests of at most 8 MiB.
pub const BODY_MAX: usize = 16 << 20;
/// Most events in one frame: bounds what reading one can allocate. A request has at most 10,000 by default.
pub const EVENTS_MAX: u32 = 100_000;

/// The part of one request that goes to one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<'a> {
    pub batch: BatchId,
    pub tenant: &'a str,
    pub request_id: &'a str,
    pub traceparent: Option<&'a str>,
    /// The client's clock when it sent, as it said.
    pub sent_at: Option<Timestamp>,
    pub received_at: Timestamp,
    /// Microseconds added to every `occurred_given`; 0 = the client's clock was not corrected.
    pub clock_shift: i64,
    /// `None`: nobody asked what became of the request.
    pub receipt: Option<Receipt<'a>>,
    pub groups: Vec<Group<'a>>,
}

/// Where to tell what became of this part of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Channel to publish on ([`crate::receipts::Receipts::address`]); empty = store it only.
    pub address: &'a str,
    /// 0-based, below `parts`.
    pub part: u16,
    /// Number of frames of the request.
    pub parts: u16,
}

/// Events of one kind and one experiment, in the order of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// [`ExperimentId::NONE`] = the tenant.
    pub experiment: ExperimentId,
    /// Accepted while the gateway knew the experiment to be stopped.
    pub after_stop: bool,
    pub events: Events<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Events<'a> {
    Exposures(Vec<Exposure<'a>>),
    Conversions(Vec<Conversion<'a>>),
    Controls(Vec<Control<'a>>),
}

/// Changes of units and experiments that are neither exposure nor conversion. They travel with the events, so
/// that the partition's owner orders them all.
#[derive(Debug, Clone, PartialEq)]
pub enum Control<'a> {
    /// Weights or coverage changed: enrollments from here on belong to phase `number`.
    Phase {
        number: u16,
        coverage: f64,
        weights: Vec<f64>,
        at: Timestamp,
    },
    Stop {
        at: Timestamp,
    },
    Restart {
        at: Timestamp,
    },
    /// Forget this user of the tenant.
    Erase {
        user_id: &'a str,
    },
    /// A covariate known before the exposure; no name = the metric's own pre-period value.
    PrePeriod {
        user_id: &'a str,
        covariate: Option<&'a str>,
        value: Decimal,
        occurred_given: Option<Timestamp>,
    },
    Stratum {
        user_id: &'a str,
        stratum: &'a str,
        occurred_given: Option<Timestamp>,
    },
    /// `excluded: false` lifts an earlier exclusion.
    Exclusion {
        user_id: &'a str,
        reason: Option<&'a str>,
        excluded: bool,
    },
}

impl<'a> Control<'a> {
    /// Whom it is about; `None` = an experiment.
    pub fn user_id(&self) -> Option<&'a str> {
        match self {
            Control::Phase { .. } | Control::Stop { .. } | Control::Restart { .. } => None,
            Control::Erase { user_id }
            | Control::PrePeriod { user_id, .. }
            | Control::Stratum { user_id, .. }
            | Control::Exclusion { user_id, .. } => Some(user_id),
        }
    }
}

/// Why bytes are not a frame, or a frame cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the frame is cut short")]
    Truncated,
    #[error("not a frame: wrong magic")]
    Magic,
    #[error("the header's checksum is wrong")]
    HeaderChecksum,
    #[error("the body's checksum is wrong")]
    BodyChecksum,
    #[error("format {0} is not known")]
    Format(u16),
    #[error("flags {0:#06x} are not known")]
    Flags(u16),
    #[error("the body has {0} bytes, more than {BODY_MAX}")]
    BodyTooLarge(usize),
    #[error("the frame has {0} events, more than {EVENTS_MAX}")]
    TooManyEvents(u64),
    #[error("the body does not decode")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the body does not encode")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} bytes follow the body's content")]
    TrailingBytes(usize),
    #[error("the share of a phase is no number")]
    NoNumber,
    #[error("the header says {header} events, the body has {body}")]
    EventCount { header: u32, body: u64 },
}

/// A part of a payload that could not be read.
#[derive(Debug)]
pub struct BadFrame<'a> {
    /// The frame with its header, or, after an unsound header, the whole rest of the payload.
    pub bytes: &'a [u8],
    /// Number of events, if the header is sound.
    pub events: Option<u32>,
    pub error: FrameError,
}

impl Events<'_> {
    pub fn len(&self) -> usize {
        match self {
            Events::Exposures(exposures) => exposures.len(),
            Events::Conversions(conversions) => conversions.len(),
            Events::Controls(controls) => controls.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every floating-point number is finite: anything else is damage, and equals not even itself.
    fn are_numbers(&self) -> bool {
        let Events::Controls(controls) = self else { return true };
        controls.iter().all(|control| match control {
            Control::Phase { coverage, weights, .. } => {
                coverage.is_finite() && weights.iter().all(|weight| weight.is_finite())
            }
            _ => true,
        })
    }

    /// About as many bytes as these events take when encoded: an over-estimate for usual texts, so that the
    /// frame is written without growing its buffer.
    fn size_hint(&self) -> usize {
        const FIXED: usize = 24;
        match self {
            Events::Exposures(e) => {
                e.iter().map(|e| FIXED + e.user_id.len() + e.key.map_or(0, str::len)).sum()
            }
            Events::Conversions(c) => c.iter().map(|c| FIXED + 40 + c.user_id.len() + c.metric.len()).sum(),
            Events::Controls(c) => c.len() * 64,
        }
    }
}

impl Frame<'_> {
    /// Number of events in all groups, control events included.
    pub fn events(&self) -> u32 {
        u32::try_from(self.count()).unwrap_or(u32::MAX)
    }

    fn count(&self) -> u64 {
        self.groups.iter().map(|group| group.events.len() as u64).sum()
    }
}

/// The frame as bytes, header included.
pub fn encode(frame: &Frame<'_>) -> Result<Vec<u8>, FrameError> {
    let count = frame.count();
    let events = u32::try_from(count).ok().filter(|&n| n <= EVENTS_MAX);
    let events = events.ok_or(FrameError::TooManyEvents(count))?;
    let hint: usize = frame.groups.iter().map(|group| 16 + group.events.size_hint()).sum();
    let mut bytes = Vec::with_capacity(HEADER + 256 + hint);
    bytes.resize(HEADER, 0);
    bincode_v1::encode(frame, &mut bytes)?;

    let (header, body) = bytes.split_at_mut(HEADER);
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= BODY_MAX);
    let length = length.ok_or(FrameError::BodyTooLarge(body.len()))?;
    header[0..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&FORMAT_BINCODE_V1.to_le_bytes());
    header[8..12].copy_from_slice(&length.to_le_bytes());
    header[12..16].copy_from_slice(&events.to_le_bytes());
    header[16..20].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    let checksum = crc32fast::hash(&header[..20]);
    header[20..24].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// Reads exactly one frame; anything after it is an error.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let header = Header::read(bytes)?;
    let body = bytes.get(HEADER..).unwrap_or_default();
    match body.len().checked_sub(header.length) {
        None => Err(FrameError::Truncated),
        Some(0) => header.decode(body),
        Some(more) => Err(FrameError::TrailingBytes(more)),
    }
}

/// The frames of an entry's payload, in order.
pub fn split(payload: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, BadFrame<'_>>> {
    Split { rest: payload }
}

/// Number of events a payload announces, by its headers alone; stops at the first unsound one.
pub fn announced(payload: &[u8]) -> u64 {
    let (mut rest, mut events) = (payload, 0);
    while let Ok(header) = Header::read(rest) {
        events += u64::from(header.events);
        rest = rest.get(HEADER + header.length..).unwrap_or_default();
    }
    events
}

struct Split<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<Frame<'a>, BadFrame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let header = match Header::read(self.rest) {
            Ok(header) => header,
            Err(error) => {
                let bytes = std::mem::take(&mut self.rest);
                return Some(Err(BadFrame { bytes, events: None, error }));
            }
        };
        let end = self.rest.len().min(HEADER + header.length);
        let (bytes, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(decode(bytes).map_err(|error| BadFrame { bytes, events: Some(header.events), error }))
    }
}

struct Header {
    format: u16,
    flags: u16,
    length: usize,
    events: u32,
    body_checksum: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, FrameError> {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Err(FrameError::Truncated) };
        if header[0..4] != MAGIC {
            return Err(FrameError::Magic);
        }
        let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let u32_at =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if crc32fast::hash(&header[..20]) != u32_at(20) {
            return Err(FrameError::HeaderChecksum);
        }
        Ok(Header {
            format: u16_at(4),
            flags: u16_at(6),
            length: u32_at(8) as usize,
            events: u32_at(12),
            body_checksum: u32_at(16),
        })
    }

    fn decode<'a>(&self, body: &'a [u8]) -> Result<Frame<'a>, FrameError> {
        if body.len() > BODY_MAX {
            return Err(FrameError::BodyTooLarge(body.len()));
        }
        if self.events > EVENTS_MAX {
            return Err(FrameError::TooManyEvents(self.events.into()));
        }
        if crc32fast::hash(body) != self.body_checksum {
            return Err(FrameError::BodyChecksum);
        }
        if self.flags != 0 {
            return Err(FrameError::Flags(self.flags));
        }
        let frame = match self.format {
            FORMAT_BINCODE_V1 => bincode_v1::decode(body)?,
            format => return Err(FrameError::Format(format)),
        };
        if frame.count() != u64::from(self.events) {
            return Err(FrameError::EventCount { header: self.events, body: frame.count() });
        }
        match frame.groups.iter().all(|group| group.events.are_numbers()) {
            true => Ok(frame),
            false => Err(FrameError::NoNumber),
        }
    }
}
