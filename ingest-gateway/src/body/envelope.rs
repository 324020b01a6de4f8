//! The object around the items of a JSON body.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::{Refusal, shown_name};
use super::field::Raw;
use super::item::{ItemSeed, Name};
use super::{Parsed, Shape, check_depth, too_many};
use crate::codes::Code;

/// Room made for items before their number is known; most batches are of about this size.
const USUAL_ITEMS: usize = 128;

/// Reads `{"sent_at"?, LIST: [..]}`.
pub(super) fn parse(text: &str, shape: Shape, max_items: usize) -> Result<Parsed<'_>, Refusal> {
    let mut envelope = Envelope {
        shape,
        max_items,
        parsed: Parsed::default(),
        found: 0,
        seen_list: false,
        sent_at: None,
        nested: false,
        refusal: None,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_map(&mut envelope).and_then(|()| reader.end());
    if envelope.nested || read.is_err() {
        check_depth(text)?;
    }
    read.map_err(|error| refusal_of(&error, text, shape))?;
    envelope.finish()
}

fn refusal_of(error: &serde_json::Error, text: &str, shape: Shape) -> Refusal {
    let list = shape.list();
    if !error.is_data() {
        let detail = format!("the body is not JSON at line {} column {}", error.line(), error.column());
        Refusal::new(Code::MalformedJson, detail)
    } else if text.trim_ascii_start().starts_with('{') {
        Refusal::new(Code::InvalidBody, format!("`{list}` must be an array"))
    } else {
        Refusal::new(Code::InvalidBody, format!("the body must be an object with the array `{list}`"))
    }
}

struct Envelope<'a> {
    shape: Shape,
    max_items: usize,
    parsed: Parsed<'a>,
    /// Items in the list, those beyond the limit included.
    found: usize,
    seen_list: bool,
    sent_at: Option<&'a str>,
    nested: bool,
    /// The first thing wrong with the object itself.
    refusal: Option<Refusal>,
}

impl<'a> Envelope<'a> {
    fn finish(mut self) -> Result<Parsed<'a>, Refusal> {
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        if !self.seen_list {
            return Err(Refusal::new(Code::InvalidBody, format!("`{}` is required", self.shape.list())));
        }
        if self.found > self.max_items {
            return Err(too_many(self.found, self.max_items));
        }
        if let Some(json) = self.sent_at.filter(|json| *json != "null") {
            let instant = Raw { name: "sent_at", json }.instant();
            self.parsed.sent_at =
                Some(instant.map_err(|fault| Refusal::new(Code::InvalidSentAt, fault.detail))?);
        }
        Ok(self.parsed)
    }

    fn refuse(&mut self, code: Code, detail: String) {
        self.refusal.get_or_insert_with(|| Refusal::new(code, detail));
    }
}

impl<'de> Visitor<'de> for &mut Envelope<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the list of items")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            if name == self.shape.list() && !self.seen_list {
                self.seen_list = true;
                map.next_value_seed(List(self))?;
                continue;
            }
            let json = map.next_value::<&RawValue>()?.get();
            self.nested |= json.starts_with(['{', '[']);
            let duplicate = match name.as_ref() {
                "sent_at" => self.sent_at.replace(json).is_some(),
                known if known == self.shape.list() => true,
                unknown => {
                    self.refuse(Code::UnknownField, format!("unknown field `{}`", shown_name(unknown)));
                    false
                }
            };
            if duplicate {
                self.refuse(Code::DuplicateField, format!("`{name}` is given more than once"));
            }
        }
        Ok(())
    }
}

struct List<'e, 'a>(&'e mut Envelope<'a>);

impl<'de> DeserializeSeed<'de> for List<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Envelope { shape, max_items, parsed, found, nested, .. } = self.0;
        parsed.items.reserve(USUAL_ITEMS.min(*max_items));
        while *found < *max_items {
            let index = parsed.next_index();
            let Some(item) = seq.next_element_seed(ItemSeed { shape: *shape, index, nested })? else {
                return Ok(());
            };
            parsed.push(index, item);
            *found += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            *found += 1;
            *nested = true;
        }
        Ok(())
    }
}
