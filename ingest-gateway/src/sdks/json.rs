//! Reading of events whose shape is somebody else's: member by member, each as its text. There is no type for a
//! whole event, so a member of the wrong type never hides the others, nor the events beside it; and nothing
//! recurses, whatever a body is nested like.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::body::{Fault, Item, Name, Parsed, Raw, Refusal, check_depth};
use crate::codes::Code;

/// The members of a JSON object that are asked for, without those that are null. Of several with one name the last
/// counts, as in JavaScript.
pub fn members<'a, const N: usize>(
    json: &'a str,
    names: [&'static str; N],
) -> Result<[Option<Raw<'a>>; N], serde_json::Error> {
    let found = find(json, names)?;
    Ok(std::array::from_fn(|i| found[i].map(|json| Raw { name: names[i], json })))
}

/// The text of one member by a name that is not ours; `None` also when `json` is no object.
pub fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let [found] = find(json, [name]).ok()?;
    found
}

/// The members of an event, or of an object in it called `what`.
pub fn event_members<'a, const N: usize>(
    json: &'a str,
    names: [&'static str; N],
) -> Result<[Option<Raw<'a>>; N], Fault> {
    members(json, names).map_err(|_| Fault::item(Code::InvalidItem, "the event must be an object"))
}

/// The members of an event's properties; all absent when the properties are.
pub fn property_members<'a, const N: usize>(
    properties: Option<Raw<'a>>,
    names: [&'static str; N],
) -> Result<[Option<Raw<'a>>; N], Fault> {
    let Some(Raw { name, json }) = properties else { return Ok([None; N]) };
    members(json, names)
        .map_err(|_| Fault::field(Code::InvalidType, name, format!("`{name}` must be an object")))
}

/// Takes the events of a JSON array apart with `read`, which is told the index of each.
pub fn events<'a>(
    array: &'a str,
    max_events: usize,
    mut read: impl FnMut(&'a str, u32) -> Result<Item<'a>, Fault>,
) -> Result<Parsed<'a>, Refusal> {
    let mut parsed = Parsed::default();
    let mut found = 0;
    let read_all = each(array, |event| {
        found += 1;
        // The rest is counted only.
        if found <= max_events {
            let index = parsed.next_index();
            parsed.push(index, shallow(event).and_then(|()| read(event, index)));
        }
    });
    read_all.map_err(|error| refusal(&error, "an array of events"))?;
    if found > max_events {
        let detail = format!("the batch holds {found} events, at most {max_events} are taken");
        return Err(Refusal::new(Code::TooManyEvents, detail));
    }
    Ok(parsed)
}

/// Shows `look` the text of each element of a JSON array.
pub fn each<'a>(array: &'a str, look: impl FnMut(&'a str)) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(array);
    reader.deserialize_seq(Elements(look))?;
    reader.end()
}

/// A batch of the one event that is the whole body.
pub fn single<'a>(
    body: &'a str,
    read: impl FnOnce(&'a str, u32) -> Result<Item<'a>, Fault>,
) -> Result<Parsed<'a>, Refusal> {
    serde_json::from_str::<&RawValue>(body).map_err(|error| refusal(&error, "an event"))?;
    let mut parsed = Parsed::default();
    parsed.push(0, shallow(body).and_then(|()| read(body, 0)));
    Ok(parsed)
}

/// Why a body, or the list in it, is not what it must be.
pub fn refusal(error: &serde_json::Error, wanted: &str) -> Refusal {
    if error.is_data() {
        return Refusal::new(Code::InvalidBody, format!("the body must be, or hold, {wanted}"));
    }
    let detail = format!("the body is not JSON at line {} column {}", error.line(), error.column());
    Refusal::new(Code::MalformedJson, detail)
}

/// Nesting costs the event that is nested, not its batch.
fn shallow(event: &str) -> Result<(), Fault> {
    check_depth(event).map_err(|refusal| Fault::item(refusal.code, refusal.detail))
}

fn find<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader.deserialize_map(Members(names))?;
    reader.end()?;
    Ok(found.map(|json| json.filter(|json| *json != "null")))
}

struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de str>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(name) = map.next_key_seed(Name)? {
            let name: Cow<'de, str> = name;
            match self.0.iter().position(|wanted| *wanted == name) {
                Some(at) => found[at] = Some(map.next_value::<&RawValue>()?.get()),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&RawValue>()? {
            (self.0)(element.get());
        }
        Ok(())
    }
}
