//! Segment and RudderStack: one wire format, `POST /v1/batch`, and `/v1/track` for one event.
//!
//! Recorded from analytics-python 2.4, @segment/analytics-node 3.1, rudder-sdk-python 2.1 and rudder-sdk-node 3.0
//! (`tests/data/sdks`): `{"batch": [{"type", "event", "userId", "anonymousId", "messageId", "timestamp", "properties"}],
//! "sentAt"}`, the write key as Basic user. RudderStack's node client labels its gzipped JSON as a form and says
//! `originalTimestamp`; Segment's node client has ids such as `node-next-<milliseconds>-<uuid>`; browsers put the
//! `writeKey` into the body and send one event to `/v1/<type>`.
//!
//! A `track` named "Experiment Viewed" is an exposure, as Segment's A/B testing spec has it; any other is a
//! conversion of the metric of its name. `identify`, `page`, `screen`, `group` and `alias` are ignored.

use super::event::{Terms, conversion, exposure, first, ignored, key, occurred, required, user};
use super::json::{event_members, events, members, property_members, refusal, single};
use crate::body::{Fault, Item, Parsed, Raw, Refusal};

const EXPOSURE: &str = "Experiment Viewed";
/// The calls that have a route of their own.
const CALLS: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];

/// What the path says of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Batch,
    /// One event of this type.
    Call(&'static str),
}

/// `path` without the leading slash.
pub fn route(path: &str) -> Option<Body> {
    let call = path.strip_prefix("v1/")?;
    match call {
        "batch" => Some(Body::Batch),
        _ => CALLS.into_iter().find(|known| *known == call).map(Body::Call),
    }
}

pub fn decode<'a>(text: &'a str, body: Body, terms: Terms<'_>) -> Result<Parsed<'a>, Refusal> {
    let wrong = |error| refusal(&error, "an object with the array `batch`");
    let [batch, sent_at] = members(text, ["batch", "sentAt"]).map_err(wrong)?;
    let mut parsed = match body {
        Body::Batch => {
            let read = |json, index| event(json, index, None, terms);
            events(batch.map_or("null", |raw| raw.json), terms.max_events, read)?
        }
        Body::Call(kind) => single(text, |json, index| event(json, index, Some(kind), terms))?,
    };
    // One that cannot be read corrects nothing; it is no reason to lose the batch.
    parsed.sent_at = sent_at.and_then(|raw| raw.instant().ok());
    Ok(parsed)
}

/// `kind`: what the route says the event is.
fn event<'a>(
    json: &'a str,
    index: u32,
    kind: Option<&'static str>,
    terms: Terms<'_>,
) -> Result<Item<'a>, Fault> {
    let names = [
        "type",
        "event",
        "userId",
        "anonymousId",
        "messageId",
        "timestamp",
        "originalTimestamp",
        "properties",
    ];
    let [said, name, user_id, anonymous_id, message_id, timestamp, original, properties] =
        event_members(json, names)?;
    let track = match kind {
        Some(kind) => kind == "track",
        None => required([said], "type")?.text()? == "track",
    };
    if !track {
        return Err(ignored("only events of type track are of interest here"));
    }
    let name = required([name], "event")?;
    let (experiment, what) = if name.text()? == EXPOSURE {
        let (experiment, what) = viewed(properties)?;
        (Some(experiment), what)
    } else {
        (None, conversion(name, properties, terms)?)
    };
    Ok(Item {
        index,
        user_id: user(required([user_id, anonymous_id], "userId")?)?,
        experiment,
        key: key(message_id)?,
        occurred_given: occurred([timestamp, original])?,
        what,
    })
}

fn viewed<'a>(
    properties: Option<Raw<'a>>,
) -> Result<(std::borrow::Cow<'a, str>, crate::body::What<'a>), Fault> {
    let names = [
        "experiment_id",
        "experiment_name",
        "variation_id",
        "variation_name",
        "variant_id",
        "variant_name",
        "variant",
    ];
    let [id, name, variation_id, variation_name, variant_id, variant_name, variant] =
        property_members(properties, names)?;
    let experiment = required([id, name], "experiment_id")?;
    let variation = first([variation_id, variation_name, variant_id, variant_name, variant]);
    exposure(experiment, required([variation], "variation_id")?)
}
