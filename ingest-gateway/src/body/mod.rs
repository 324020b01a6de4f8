//! From a body to its items, in one pass and without copying what the body already holds.
//!
//! A mistake in an item is a [`Fault`] of that item; only what makes the items unfindable (no JSON, no list,
//! nested too deep) is a [`Refusal`] of the body.

mod envelope;
mod fault;
mod field;
mod item;

use domain::Timestamp;

pub use fault::{Fault, Refusal};
pub(crate) use field::Raw;
pub(crate) use item::Name;
pub use item::{Item, NAMES, Variation, What};

use crate::codes::Code;
use item::ItemSeed;
use serde::de::DeserializeSeed;
use service::http::MAX_DEPTH;

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Kinds and experiments mixed, each item names its own.
    Events,
    Exposures,
    Conversions,
    PrePeriod,
    Strata,
    Exclusions,
    /// Exposures to no variation: the users kept out of every arm.
    Holdout,
}

impl Shape {
    /// Whether its items enroll users, which an experiment that was never started refuses.
    pub fn enrolls(self) -> bool {
        matches!(self, Shape::Exposures | Shape::Holdout)
    }

    /// Name of the list in a JSON body, and of the route in batch ids.
    pub fn list(self) -> &'static str {
        match self {
            Shape::Events => "events",
            Shape::Exposures => "exposures",
            Shape::Conversions => "conversions",
            Shape::PrePeriod => "pre_period_values",
            Shape::Strata => "strata",
            Shape::Exclusions => "exclusions",
            Shape::Holdout => "holdout",
        }
    }
}

/// How the items stand in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `{"sent_at"?, LIST: [item, ..]}`.
    Json,
    /// One item a line; blank lines are skipped and not counted.
    NdJson,
}

/// A body taken apart. Every item is in exactly one of the two lists, each in order of index.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed<'a> {
    pub items: Vec<Item<'a>>,
    pub faults: Vec<(u32, Fault)>,
    /// The client's clock when it sent the request, by the body.
    pub sent_at: Option<Timestamp>,
}

impl<'a> Parsed<'a> {
    /// Items sent.
    pub fn total(&self) -> usize {
        self.items.len() + self.faults.len()
    }

    pub(crate) fn push(&mut self, index: u32, item: Result<Item<'a>, Fault>) {
        match item {
            Ok(item) => self.items.push(item),
            Err(fault) => self.faults.push((index, fault)),
        }
    }

    /// Index of the next item; the limit on items keeps it far below `u32::MAX`.
    pub(crate) fn next_index(&self) -> u32 {
        u32::try_from(self.total()).unwrap_or(u32::MAX)
    }
}

/// Takes a body of 1 to `max_items` items apart.
pub fn parse(body: &[u8], shape: Shape, form: Form, max_items: usize) -> Result<Parsed<'_>, Refusal> {
    let text = text(body)?;
    let parsed = match form {
        Form::Json => envelope::parse(text, shape, max_items)?,
        Form::NdJson => parse_lines(text, shape, max_items)?,
    };
    if parsed.total() == 0 {
        return Err(Refusal::new(Code::EmptyBatch, "the batch holds no items"));
    }
    Ok(parsed)
}

pub(crate) fn text(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body)
        .map_err(|e| Refusal::new(Code::InvalidUtf8, format!("not UTF-8 from byte {} on", e.valid_up_to())))
}

fn parse_lines(text: &str, shape: Shape, max_items: usize) -> Result<Parsed<'_>, Refusal> {
    let mut parsed = Parsed::default();
    let lines = || text.lines().filter(|line| !line.trim_ascii().is_empty());
    for line in lines() {
        if parsed.total() == max_items {
            return Err(too_many(lines().count(), max_items));
        }
        let index = parsed.next_index();
        let mut nested = false;
        let mut reader = serde_json::Deserializer::from_str(line);
        let item = ItemSeed { shape, index, nested: &mut nested }
            .deserialize(&mut reader)
            .and_then(|item| reader.end().map(|()| item));
        if nested || item.is_err() {
            check_depth(line)?;
        }
        let item = item.unwrap_or_else(|error| {
            let detail = format!("the line is not JSON at column {}", error.column());
            Err(Fault::item(Code::MalformedJson, detail))
        });
        parsed.push(index, item);
    }
    Ok(parsed)
}

fn too_many(total: usize, max_items: usize) -> Refusal {
    let detail = format!("the batch holds {total} items, at most {max_items} are taken");
    Refusal::new(Code::BatchTooLarge, detail)
}

/// Refuses nesting beyond the kit's limit, also in text that turns out not to be JSON.
pub(crate) fn check_depth(text: &str) -> Result<(), Refusal> {
    service::http::check_depth(text.as_bytes()).map_err(|_| {
        Refusal::new(Code::JsonTooDeep, format!("the JSON is nested deeper than {MAX_DEPTH} levels"))
    })
}
