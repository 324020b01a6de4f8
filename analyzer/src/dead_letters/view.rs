//! Letters as clients see them.

use base16ct::lower::encode_string;
use domain::event::{Conversion, Exposure, Key};
use domain::{ExperimentId, Timestamp};
use queue::frame::{Control, Events, Frame, Group};
use serde::Serialize;
use store::Letter;
use uuid::Uuid;

use super::frames;

/// Most events of a payload that are shown; a letter can hold all of a queue entry.
const EVENTS_SHOWN: usize = 1_000;
/// Most bytes shown of a payload that cannot be read.
const BYTES_SHOWN: usize = 64 << 10;

#[derive(Serialize)]
pub struct Summary<'a> {
    id: i64,
    created_at: String,
    reason: &'a str,
    detail: &'a str,
    /// Null: the tenant's, or unknown.
    experiment: Option<ExperimentId>,
    events: u64,
    batch_id: Option<Uuid>,
    request_id: Option<&'a str>,
    entry: &'a str,
    payload_kept: bool,
    /// SHA-256 of a payload that was not kept.
    digest: Option<String>,
}

#[derive(Serialize)]
pub struct Whole<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    /// Null: it was not kept.
    payload: Option<Payload<'a>>,
}

#[derive(Serialize)]
struct Payload<'a> {
    bytes: usize,
    redrivable: bool,
    /// Whether there is more than is shown.
    cut: bool,
    #[serde(flatten)]
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Content<'a> {
    /// What each request sent.
    Frames(Vec<FrameView<'a>>),
    /// The bytes of what cannot be read.
    Hex(String),
}

#[derive(Serialize)]
struct FrameView<'a> {
    tenant: &'a str,
    batch_id: Uuid,
    request_id: &'a str,
    /// Of the request, as the client sent it.
    traceparent: Option<&'a str>,
    received_at: String,
    events: Vec<EventView<'a>>,
}

/// An event in the terms of the routes that take it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum EventView<'a> {
    Exposure {
        user_id: &'a str,
        experiment: Option<ExperimentId>,
        variation_index: i16,
        occurred_at: String,
        idempotency_key: Option<&'a str>,
    },
    Conversion {
        user_id: &'a str,
        experiment: Option<ExperimentId>,
        metric: &'a str,
        value: String,
        occurred_at: String,
        idempotency_key: String,
    },
    PrePeriod {
        user_id: &'a str,
        experiment: Option<ExperimentId>,
        covariate_name: Option<&'a str>,
        value: String,
        occurred_at: String,
    },
    Stratum {
        user_id: &'a str,
        experiment: Option<ExperimentId>,
        stratum: &'a str,
        occurred_at: String,
    },
    Exclusion {
        user_id: &'a str,
        experiment: Option<ExperimentId>,
        excluded: bool,
        exclusion_reason: Option<&'a str>,
    },
    /// What no client sends.
    Control {
        experiment: Option<ExperimentId>,
    },
}

impl<'a> Summary<'a> {
    pub fn of(letter: &'a Letter) -> Summary<'a> {
        Summary {
            id: letter.id,
            created_at: letter.created_at.to_string(),
            reason: &letter.reason,
            detail: &letter.detail,
            experiment: named(letter.experiment),
            events: letter.events,
            batch_id: letter.batch.map(|b| b.0),
            request_id: letter.request_id.as_deref(),
            entry: &letter.entry,
            payload_kept: letter.digest.is_none(),
            digest: letter.digest.map(|d| encode_string(&d)),
        }
    }
}

impl<'a> Whole<'a> {
    pub fn of(letter: &'a Letter, payload: &'a [u8], partitions: u16) -> Whole<'a> {
        let kept = letter.digest.is_none();
        Whole { summary: Summary::of(letter), payload: kept.then(|| Payload::of(payload, partitions)) }
    }
}

impl<'a> Payload<'a> {
    fn of(payload: &'a [u8], partitions: u16) -> Payload<'a> {
        let bytes = payload.len();
        let redrivable = frames::outgoing(payload, partitions).is_ok();
        let (content, cut) = match frames::read(payload) {
            Ok(frames) => {
                let events: u64 = frames.iter().map(|f| u64::from(f.events())).sum();
                (Content::Frames(shown(frames)), events > EVENTS_SHOWN as u64)
            }
            Err(_) => (
                Content::Hex(encode_string(payload.get(..BYTES_SHOWN).unwrap_or(payload))),
                bytes > BYTES_SHOWN,
            ),
        };
        Payload { bytes, redrivable, cut, content }
    }
}

fn shown(frames: Vec<Frame<'_>>) -> Vec<FrameView<'_>> {
    let mut left = EVENTS_SHOWN;
    let mut views = Vec::new();
    for frame in frames {
        let events: Vec<EventView<'_>> =
            frame.groups.iter().flat_map(|g| events(&frame, g)).take(left).collect();
        left -= events.len();
        views.push(FrameView {
            tenant: frame.tenant,
            batch_id: frame.batch.0,
            request_id: frame.request_id,
            traceparent: frame.traceparent,
            received_at: frame.received_at.to_string(),
            events,
        });
        if left == 0 {
            break;
        }
    }
    views
}

fn events<'a>(frame: &Frame<'a>, group: &Group<'a>) -> Vec<EventView<'a>> {
    let experiment = named(group.experiment);
    let at =
        |given: Option<Timestamp>| given.map_or(frame.received_at, |t| t.plus(frame.clock_shift)).to_string();
    let exposure = |e: &Exposure<'a>| EventView::Exposure {
        user_id: e.user_id,
        experiment,
        variation_index: e.variation,
        occurred_at: at(e.occurred_given),
        idempotency_key: e.key,
    };
    let conversion = |c: &Conversion<'a>| EventView::Conversion {
        user_id: c.user_id,
        experiment,
        metric: c.metric,
        value: c.value.to_string(),
        occurred_at: at(c.occurred_given),
        idempotency_key: match c.key {
            Key::Client(key) => key.to_owned(),
            Key::Index(index) => frame.batch.key_of(index),
        },
    };
    let control = |c: &Control<'a>| match *c {
        Control::PrePeriod { user_id, covariate: covariate_name, value, occurred_given } => {
            let (value, occurred_at) = (value.to_string(), at(occurred_given));
            EventView::PrePeriod { user_id, experiment, covariate_name, value, occurred_at }
        }
        Control::Stratum { user_id, stratum, occurred_given } => {
            EventView::Stratum { user_id, experiment, stratum, occurred_at: at(occurred_given) }
        }
        Control::Exclusion { user_id, reason: exclusion_reason, excluded } => {
            EventView::Exclusion { user_id, experiment, excluded, exclusion_reason }
        }
        Control::Phase { .. } | Control::Stop { .. } | Control::Restart { .. } | Control::Erase { .. } => {
            EventView::Control { experiment }
        }
    };
    match &group.events {
        Events::Exposures(items) => items.iter().map(exposure).collect(),
        Events::Conversions(items) => items.iter().map(conversion).collect(),
        Events::Controls(items) => items.iter().map(control).collect(),
    }
}

fn named(experiment: ExperimentId) -> Option<ExperimentId> {
    Some(experiment).filter(|id| !id.is_none())
}
