//! PostHog: `POST /batch/` with the key in the body, and `POST /i/v1/analytics/events`, which is answered event by
//! event.
//!
//! Recorded from posthog (Python) 7.91 and posthog-node 5.70 in both capture modes (`tests/data/sdks`):
//! `{"api_key", "sent_at", "batch": [{"event", "uuid", "distinct_id", "timestamp", "properties"}]}`; the second
//! route has the key as Bearer and the client's clock in `PostHog-Request-Timestamp`, and wants
//! `{"results": {uuid: {"result": "ok" | "warning" | "drop" | "retry", "details"}}}`.
//!
//! `$feature_flag_called` is an exposure to the experiment of the flag's name; most flags are no experiments, so one
//! that is not known is nothing wrong. A flag that answers true or false is an experiment's only when that has
//! variations of these names. What only describes a person is ignored; any other event is a conversion of the
//! metric of its name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::event::{Terms, conversion, ignored, key, occurred, required, user};
use super::json::{each, event_members, events, members, property_members, refusal};
use crate::body::{Fault, Item, Parsed, Raw, Refusal, Variation, What};
use crate::codes::Code;

/// Events that say something of a person or a group.
const DESCRIBING: [&str; 6] =
    ["$identify", "$create_alias", "$groupidentify", "$merge_dangerously", "$set", "$set_once"];

/// Ids that many people would share, because somebody's code had none: PostHog refuses them too.
const NOBODY: [&str; 15] = [
    "anonymous",
    "guest",
    "distinctid",
    "distinct_id",
    "id",
    "not_authenticated",
    "email",
    "undefined",
    "true",
    "false",
    "nan",
    "none",
    "null",
    "0",
    "[object object]",
];

pub fn decode<'a>(text: &'a str, terms: Terms<'_>) -> Result<Parsed<'a>, Refusal> {
    let wrong = |error| refusal(&error, "an object with the array `batch`");
    let [batch, sent_at] = members(text, ["batch", "sent_at"]).map_err(wrong)?;
    let read = |json, index| event(json, index, terms);
    let mut parsed = events(batch.map_or("null", |raw| raw.json), terms.max_events, read)?;
    // One that cannot be read corrects nothing; it is no reason to lose the batch.
    parsed.sent_at = sent_at.and_then(|raw| raw.instant().ok());
    Ok(parsed)
}

fn event<'a>(json: &'a str, index: u32, terms: Terms<'_>) -> Result<Item<'a>, Fault> {
    let [name, uuid, distinct_id, timestamp, properties] =
        event_members(json, ["event", "uuid", "distinct_id", "timestamp", "properties"])?;
    let name = required([name], "event")?;
    let text = name.text()?;
    if DESCRIBING.contains(&text.as_ref()) {
        return Err(ignored("the event only describes a person or a group"));
    }
    let (experiment, what) = if text == "$feature_flag_called" {
        let (experiment, what) = called(properties)?;
        (Some(experiment), what)
    } else {
        (None, conversion(name, properties, terms)?)
    };
    Ok(Item {
        index,
        user_id: person(required([distinct_id], "distinct_id")?)?,
        experiment,
        key: key(uuid)?,
        occurred_given: occurred([timestamp])?,
        what,
    })
}

fn called<'a>(properties: Option<Raw<'a>>) -> Result<(Cow<'a, str>, What<'a>), Fault> {
    let [flag, response] = property_members(properties, ["$feature_flag", "$feature_flag_response"])?;
    let flag = required([flag], "$feature_flag")?.text_or_integer()?;
    let response = response.ok_or_else(|| ignored("the flag gave no answer"))?;
    let variation = match response.json {
        "true" | "false" => Variation::Flag(response.json == "true"),
        _ => Variation::Named(response.text_or_integer()?),
    };
    Ok((flag, What::Exposure(variation)))
}

fn person(raw: Raw<'_>) -> Result<Cow<'_, str>, Fault> {
    let id = user(raw)?;
    if NOBODY.iter().any(|nobody| id.trim().eq_ignore_ascii_case(nobody)) {
        let detail = "`distinct_id` is one that code without an id sends, so it would be many people's";
        return Err(Fault::field(Code::InvalidUserId, raw.name, detail));
    }
    Ok(id)
}

#[derive(Serialize)]
struct Results {
    results: BTreeMap<String, Verdict>,
}

/// What the client is told of one event; the worse of two is the greater one. `drop` reaches the application, so it
/// is kept for mistakes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "result", rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning { details: &'static str },
    Drop { details: &'static str },
}

impl Verdict {
    fn of(fault: &Fault) -> Verdict {
        let details = fault.code.as_str();
        match fault.code {
            Code::EventIgnored | Code::UnknownExperiment => Verdict::Warning { details },
            _ => Verdict::Drop { details },
        }
    }
}

/// The answer to `/i/v1/analytics/events`: a verdict for each id, as the client wrote it. Never `retry`: a request is
/// durable as a whole, or refused as a whole. `faults` are in order of index.
pub fn results(text: &str, faults: &[(u32, Fault)]) -> impl Serialize + use<> {
    let mut results = BTreeMap::new();
    let mut faults = faults.iter().peekable();
    let mut indexes = 0..;
    let judge = |event| {
        let fault = indexes.next().and_then(|index| faults.next_if(|(at, _)| *at == index));
        let verdict = fault.map_or(Verdict::Ok, |(_, fault)| Verdict::of(fault));
        if let Some(uuid) = uuid(event) {
            let known = results.entry(uuid).or_insert(Verdict::Ok);
            if verdict > *known {
                *known = verdict;
            }
        }
    };
    if let Ok([Some(batch)]) = members(text, ["batch"]) {
        // The body was taken apart before, so this cannot fail.
        drop(each(batch.json, judge));
    }
    Results { results }
}

fn uuid(event: &str) -> Option<String> {
    let [uuid] = members(event, ["uuid"]).ok()?;
    uuid?.text().ok().map(Cow::into_owned)
}
