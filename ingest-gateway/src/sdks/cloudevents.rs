//! CloudEvents 1.0 over HTTP, `POST /api/v1/cloudevents`: structured (`application/cloudevents+json`), batch
//! (`application/cloudevents-batch+json`) and binary (attributes in `ce-` headers, the data as body).
//!
//! Shapes as cloudevents (Python) 2.2 and cloudevents (npm) 10.0 write them (`tests/data/sdks`): attributes `id`,
//! `source`, `type`, `subject`, `time`, and the event's own `data`. Python's binary form has no content type unless
//! told one.
//!
//! The subject is the user. A type whose last segment is `exposure` is an exposure, with `experiment` and `variation`
//! in its data; one that ends with `conversion` is a conversion of the metric in its data, any other one of the metric
//! of its type. `source` and `id` together make an event this one and no other, by the standard, so they are its key.

use std::borrow::Cow;

use domain::Timestamp;
use domain::event::{check_metric, check_user_id};
use percent_encoding::percent_decode_str;
use service::http::header::{CONTENT_TYPE, HeaderMap};

use super::event::{Terms, exposure, first, key_of, required, user, worth};
use super::json::{event_members, events, property_members, single};
use crate::body::{Fault, Item, Parsed, Raw, Refusal, What};
use crate::codes::Code;

pub const PATH: &str = "/api/v1/cloudevents";

/// The attributes of an event, wherever they stood, and its data.
struct Event<'a> {
    index: u32,
    id: Option<Cow<'a, str>>,
    source: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    subject: Option<Cow<'a, str>>,
    time: Option<Timestamp>,
    spec: Option<Cow<'a, str>>,
    data: Option<Raw<'a>>,
}

/// `headers` say which of the three forms the body has.
pub fn decode<'a>(text: &'a str, headers: &'a HeaderMap, terms: Terms<'_>) -> Result<Parsed<'a>, Refusal> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.trim_start().to_ascii_lowercase();
    if content_type.starts_with("application/cloudevents-batch") {
        events(text, terms.max_events, |json, index| structured(json, index)?.item(terms))
    } else if content_type.starts_with("application/cloudevents") {
        single(text, |json, index| structured(json, index)?.item(terms))
    } else {
        single(text, |json, index| binary(json, index, headers)?.item(terms))
    }
}

fn structured(json: &str, index: u32) -> Result<Event<'_>, Fault> {
    let names = ["id", "source", "type", "subject", "time", "specversion", "data"];
    let [id, source, kind, subject, time, spec, data] = event_members(json, names)?;
    Ok(Event {
        index,
        id: text(id)?,
        source: text(source)?,
        kind: text(kind)?,
        subject: first([subject]).map(user).transpose()?,
        time: first([time]).map(Raw::instant).transpose()?,
        spec: text(spec)?,
        data,
    })
}

fn text(attribute: Option<Raw<'_>>) -> Result<Option<Cow<'_, str>>, Fault> {
    first([attribute]).map(Raw::text).transpose()
}

fn binary<'a>(data: &'a str, index: u32, headers: &'a HeaderMap) -> Result<Event<'a>, Fault> {
    let attribute = |name: &str| {
        let text = headers.get(name)?.to_str().ok().map(unescaped)?;
        (!text.is_empty()).then_some(text)
    };
    let time = attribute("ce-time").map(|time| {
        Timestamp::parse(&time)
            .ok_or_else(|| Fault::field(Code::InvalidOccurredAt, "time", "`time` is not RFC 3339"))
    });
    let subject = attribute("ce-subject").map(|subject| match check_user_id(&subject) {
        Ok(()) => Ok(subject),
        Err(error) => Err(Fault::field(Code::InvalidUserId, "subject", format!("`subject` {error}"))),
    });
    Ok(Event {
        index,
        id: attribute("ce-id"),
        source: attribute("ce-source"),
        kind: attribute("ce-type"),
        subject: subject.transpose()?,
        time: time.transpose()?,
        spec: attribute("ce-specversion"),
        data: Some(Raw { name: "data", json: data }),
    })
}

/// A header's value as the binding has it: `%XX` for what is not printable ASCII.
fn unescaped(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

impl<'a> Event<'a> {
    fn item(self, terms: Terms<'_>) -> Result<Item<'a>, Fault> {
        let Event { index, id, source, kind, subject, time, spec, data } = self;
        if !spec.is_some_and(|spec| spec.starts_with("1.") || spec == "0.3") {
            let detail = "`specversion` must be 1.0";
            return Err(Fault::field(Code::InvalidItem, "specversion", detail));
        }
        let (id, source) = (given(id, "id")?, given(source, "source")?);
        let kind = given(kind, "type")?;
        let [user_id, metric] = property_members(data, ["user_id", "metric"])?;
        let user_id = match subject {
            Some(subject) => subject,
            None => user(required([user_id], "subject")?)?,
        };
        let (experiment, what) = match kind.rsplit('.').next().unwrap_or_default() {
            "exposure" => {
                let (experiment, what) = exposed(data)?;
                (Some(experiment), what)
            }
            "conversion" => {
                let metric = required([metric], "metric")?.checked(Code::InvalidMetric, check_metric)?;
                (None, worth(metric, data, terms)?)
            }
            _ => match check_metric(&kind) {
                Ok(()) => (None, worth(kind, data, terms)?),
                Err(error) => {
                    return Err(Fault::field(Code::InvalidMetric, "type", format!("`type` {error}")));
                }
            },
        };
        Ok(Item { index, user_id, experiment, key: Some(key(&source, &id)), occurred_given: time, what })
    }
}

fn given<'a>(attribute: Option<Cow<'a, str>>, name: &'static str) -> Result<Cow<'a, str>, Fault> {
    attribute.ok_or_else(|| Fault::field(Code::MissingField, name, format!("`{name}` is required")))
}

fn exposed(data: Option<Raw<'_>>) -> Result<(Cow<'_, str>, What<'_>), Fault> {
    let names = ["experiment", "experiment_id", "variation", "variation_id", "variant"];
    let [experiment, experiment_id, variation, variation_id, variant] = property_members(data, names)?;
    let variation = required([variation, variation_id, variant], "variation")?;
    exposure(required([experiment, experiment_id], "experiment")?, variation)
}

/// A source holds no space, being a URI, so no other pair reads the same; one that does is told apart by its length.
fn key(source: &str, id: &str) -> Cow<'static, str> {
    let pair = match source.contains(' ') {
        false => format!("{source} {id}"),
        true => format!("{} {source} {id}\0", source.len()),
    };
    Cow::Owned(key_of(pair.into()).into_owned())
}
