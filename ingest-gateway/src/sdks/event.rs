//! What the events of all SDKs have in common: a user, an id, a time, and either a variation or a value.

use std::borrow::Cow;

use domain::event::{check_key, check_metric, check_user_id};
use domain::{Decimal, Timestamp};
use service::settings::{SdkValue, SdkValues};
use uuid::Uuid;

use super::json::{member, property_members};
use crate::body::{Fault, Raw, Variation, What};
use crate::codes::Code;

/// What the events of one request are read by.
#[derive(Clone, Copy)]
pub struct Terms<'t> {
    pub tenant: &'t str,
    pub values: &'t SdkValues,
    pub max_events: usize,
}

/// Properties that hold the value of an event nothing was said of; the first one given counts.
const USUAL_VALUES: [&str; 3] = ["revenue", "value", "total"];

/// Namespace of keys made from ids that cannot be keys themselves. Frozen: changing it would count resent events
/// twice.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6162_7374_7265_616d_8000_7364_6b6b_6579);

/// The first that is given and not the empty text.
pub fn first<'a, const N: usize>(candidates: [Option<Raw<'a>>; N]) -> Option<Raw<'a>> {
    candidates.into_iter().flatten().find(|raw| raw.json != "\"\"")
}

/// The same, when there must be one. `name` is the member whose absence is told.
pub fn required<'a, const N: usize>(
    candidates: [Option<Raw<'a>>; N],
    name: &'static str,
) -> Result<Raw<'a>, Fault> {
    first(candidates).ok_or_else(|| Fault::field(Code::MissingField, name, format!("`{name}` is required")))
}

/// A user's id: a text, or a number taken as its text.
pub fn user(raw: Raw<'_>) -> Result<Cow<'_, str>, Fault> {
    let text = raw.text_or_integer()?;
    match check_user_id(&text) {
        Ok(()) => Ok(text),
        Err(error) => Err(Fault::field(Code::InvalidUserId, raw.name, format!("`{}` {error}", raw.name))),
    }
}

/// A client's own id of an event as its idempotency key.
pub fn key(id: Option<Raw<'_>>) -> Result<Option<Cow<'_, str>>, Fault> {
    let Some(id) = first([id]) else { return Ok(None) };
    Ok(Some(key_of(id.text_or_integer()?)))
}

/// An id that breaks the rules of keys (too long, control characters) stands for itself by its digest: what makes an
/// event this one and no other is never a reason to refuse it.
pub fn key_of(id: Cow<'_, str>) -> Cow<'_, str> {
    match check_key(&id) {
        Ok(()) => id,
        Err(_) => Cow::Owned(format!("id:{}", Uuid::new_v5(&KEY_NAMESPACE, id.as_bytes()))),
    }
}

pub fn occurred<const N: usize>(candidates: [Option<Raw<'_>>; N]) -> Result<Option<Timestamp>, Fault> {
    first(candidates).map(Raw::instant).transpose()
}

/// "User u saw variation v", the variation by its key or its index.
pub fn exposure<'a>(experiment: Raw<'a>, variation: Raw<'a>) -> Result<(Cow<'a, str>, What<'a>), Fault> {
    let variation = Variation::Named(variation.text_or_integer()?);
    Ok((experiment.text_or_integer()?, What::Exposure(variation)))
}

/// "User u did `event`", worth what its properties say, else 1.
pub fn conversion<'a>(
    event: Raw<'a>,
    properties: Option<Raw<'a>>,
    terms: Terms<'_>,
) -> Result<What<'a>, Fault> {
    let metric = event.checked(Code::InvalidMetric, check_metric)?;
    worth(metric, properties, terms)
}

/// A conversion of a metric that is known to be fit.
pub fn worth<'a>(
    metric: Cow<'a, str>,
    properties: Option<Raw<'a>>,
    terms: Terms<'_>,
) -> Result<What<'a>, Fault> {
    let value = match terms.values.find(terms.tenant, &metric) {
        Some(SdkValue::One) => None,
        Some(SdkValue::Property(path)) => Some(nested(properties, path)?),
        None => first(property_members(properties, USUAL_VALUES)?),
    };
    let (value, rounded) = match value {
        Some(raw) => raw.decimal().map(|parsed| (parsed.value, parsed.rounded))?,
        None => (Decimal::ONE, false),
    };
    Ok(What::Conversion { metric, value, rounded })
}

/// The property the settings name. An event without it is refused: counting it 1 would be making a value up.
fn nested<'a>(properties: Option<Raw<'a>>, path: &[String]) -> Result<Raw<'a>, Fault> {
    let found = properties.and_then(|all| path.iter().try_fold(all.json, |json, name| member(json, name)));
    let missing = || {
        let detail =
            format!("the event has no property `{}`, where AB_SDK_VALUES says its value is", path.join("."));
        Fault::field(Code::MissingField, "properties", detail)
    };
    found.map(|json| Raw { name: "value", json }).ok_or_else(missing)
}

/// An event that is neither an exposure nor a conversion.
pub fn ignored(what: &'static str) -> Fault {
    Fault::item(Code::EventIgnored, what)
}
