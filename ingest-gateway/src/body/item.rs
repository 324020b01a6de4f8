//! One item of a batch: its fields gathered in one pass over the body, then read by what the item is.
//!
//! Gathering cannot fail on a well-formed object, whatever is in it; so one bad item never hides the others,
//! and there is no second, slower parser for bodies with mistakes.

use std::borrow::Cow;
use std::fmt;

use domain::event::{TextError, check_key, check_metric, check_user_id};
use domain::{Decimal, Timestamp};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Shape;
use super::fault::Fault;
use super::field::Raw;
use crate::codes::Code;

/// Bytes of `properties` an item may carry; they are not stored.
const PROPERTIES_MAX: usize = 8 * 1024;

/// A well-formed item, not yet judged against the clock and the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// Position in the request as sent, refused items counted.
    pub index: u32,
    pub user_id: Cow<'a, str>,
    /// Key or number of an experiment; `/events` only, elsewhere the path says it.
    pub experiment: Option<Cow<'a, str>>,
    pub key: Option<Cow<'a, str>>,
    /// As the client wrote it, unshifted.
    pub occurred_given: Option<Timestamp>,
    pub what: What<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What<'a> {
    Exposure(Variation<'a>),
    /// `rounded`: the value had more than six decimals.
    Conversion {
        metric: Cow<'a, str>,
        value: Decimal,
        rounded: bool,
    },
    /// Without a name it is the primary metric's own.
    PrePeriod {
        covariate: Option<Cow<'a, str>>,
        value: Decimal,
        rounded: bool,
    },
    Stratum(Cow<'a, str>),
    Exclusion {
        reason: Option<Cow<'a, str>>,
        excluded: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variation<'a> {
    Index(i64),
    Key(Cow<'a, str>),
    /// None of them.
    Holdout,
    /// As SDKs that are not ours have it: a key, or else an index in decimal.
    Named(Cow<'a, str>),
    /// What a feature flag answered.
    Flag(bool),
}

#[derive(Clone, Copy)]
enum Field {
    Type,
    UserId,
    Experiment,
    Variation,
    VariationIndex,
    Metric,
    Value,
    CovariateName,
    Stratum,
    Reason,
    Excluded,
    Key,
    OccurredAt,
    Properties,
}

/// Every field that an item of some route has.
pub const NAMES: [&str; 14] = [
    "type",
    "user_id",
    "experiment",
    "variation",
    "variation_index",
    "metric",
    "value",
    "covariate_name",
    "stratum",
    "exclusion_reason",
    "excluded",
    "idempotency_key",
    "occurred_at",
    "properties",
];

impl Field {
    fn of(name: &str, shape: Shape) -> Option<Field> {
        let field = match name {
            "type" => Field::Type,
            "user_id" => Field::UserId,
            "experiment" => Field::Experiment,
            "variation" => Field::Variation,
            "variation_index" => Field::VariationIndex,
            "metric" => Field::Metric,
            "value" => Field::Value,
            "covariate_name" => Field::CovariateName,
            "stratum" => Field::Stratum,
            "exclusion_reason" => Field::Reason,
            "excluded" => Field::Excluded,
            "idempotency_key" => Field::Key,
            "occurred_at" => Field::OccurredAt,
            "properties" => Field::Properties,
            _ => return None,
        };
        let known = match field {
            Field::Type | Field::Experiment => shape == Shape::Events,
            Field::Variation | Field::VariationIndex => matches!(shape, Shape::Events | Shape::Exposures),
            Field::Metric => matches!(shape, Shape::Events | Shape::Conversions),
            Field::Value => matches!(shape, Shape::Events | Shape::Conversions | Shape::PrePeriod),
            Field::CovariateName => shape == Shape::PrePeriod,
            Field::Stratum => shape == Shape::Strata,
            Field::Reason | Field::Excluded => shape == Shape::Exclusions,
            Field::Key => matches!(shape, Shape::Events | Shape::Exposures | Shape::Conversions),
            Field::OccurredAt => shape != Shape::Exclusions,
            Field::UserId | Field::Properties => true,
        };
        known.then_some(field)
    }

    fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// The JSON text of each field that was given.
#[derive(Default)]
struct Fields<'a>([Option<&'a str>; NAMES.len()]);

impl<'a> Fields<'a> {
    /// `None` when it is absent or null.
    fn get(&self, field: Field) -> Option<Raw<'a>> {
        self.given(field).filter(|raw| raw.json != "null")
    }

    /// `None` when it is absent.
    fn given(&self, field: Field) -> Option<Raw<'a>> {
        self.0[field as usize].map(|json| Raw { name: field.name(), json })
    }

    fn required(&self, field: Field) -> Result<Raw<'a>, Fault> {
        self.get(field).ok_or_else(|| {
            Fault::field(Code::MissingField, field.name(), format!("`{}` is required", field.name()))
        })
    }

    fn read(&self, shape: Shape, index: u32) -> Result<Item<'a>, Fault> {
        let exposure = shape == Shape::Events && self.is_exposure()?;
        let user_id = self.required(Field::UserId)?.checked(Code::InvalidUserId, check_user_id)?;
        let what = match shape {
            Shape::Events if exposure => self.exposure()?,
            Shape::Exposures => self.exposure()?,
            Shape::Events | Shape::Conversions => self.conversion()?,
            Shape::PrePeriod => self.pre_period()?,
            Shape::Strata => {
                What::Stratum(self.required(Field::Stratum)?.checked(Code::InvalidStratum, check_metric)?)
            }
            Shape::Exclusions => self.exclusion()?,
            Shape::Holdout => What::Exposure(Variation::Holdout),
        };
        let experiment = match self.get(Field::Experiment) {
            Some(raw) => Some(raw.text_or_integer()?),
            None if exposure => Some(self.required(Field::Experiment)?.text()?),
            None => None,
        };
        let key = self.optional(Field::Key, Code::InvalidIdempotencyKey, check_key)?;
        let occurred_given = self.get(Field::OccurredAt).map(Raw::instant).transpose()?;
        if let Some(raw) = self.get(Field::Properties) {
            raw.object(PROPERTIES_MAX)?;
        }
        Ok(Item { index, user_id, experiment, key, occurred_given, what })
    }

    fn optional(
        &self,
        field: Field,
        code: Code,
        check: fn(&str) -> Result<(), TextError>,
    ) -> Result<Option<Cow<'a, str>>, Fault> {
        self.get(field).map(|raw| raw.checked(code, check)).transpose()
    }

    fn is_exposure(&self) -> Result<bool, Fault> {
        let kind = self.required(Field::Type)?.text()?;
        let (exposure, foreign) = match kind.as_ref() {
            "exposure" => (true, [Field::Metric, Field::Value]),
            "conversion" => (false, [Field::Variation, Field::VariationIndex]),
            _ => {
                let detail = "`type` must be exposure or conversion";
                return Err(Fault::field(Code::UnknownEventType, "type", detail));
            }
        };
        match foreign.into_iter().find(|field| self.get(*field).is_some()) {
            Some(field) => {
                let detail = format!("`{}` does not belong to an event of this type", field.name());
                Err(Fault::field(Code::UnknownField, field.name(), detail))
            }
            None => Ok(exposure),
        }
    }

    fn exposure(&self) -> Result<What<'a>, Fault> {
        let variation = match (self.get(Field::Variation), self.get(Field::VariationIndex)) {
            (Some(key), None) => Variation::Key(key.text()?),
            (None, Some(index)) => Variation::Index(index.integer()?),
            (None, None) => {
                let detail = "one of `variation` and `variation_index` is required";
                return Err(Fault::field(Code::MissingField, "variation", detail));
            }
            (Some(_), Some(_)) => {
                let detail = "`variation` and `variation_index` exclude each other";
                return Err(Fault::field(Code::AmbiguousVariation, "variation", detail));
            }
        };
        Ok(What::Exposure(variation))
    }

    fn conversion(&self) -> Result<What<'a>, Fault> {
        let metric = self.required(Field::Metric)?.checked(Code::InvalidMetric, check_metric)?;
        let (value, rounded) = match self.given(Field::Value) {
            Some(raw) => raw.decimal().map(|parsed| (parsed.value, parsed.rounded))?,
            None => (Decimal::ONE, false),
        };
        Ok(What::Conversion { metric, value, rounded })
    }

    fn pre_period(&self) -> Result<What<'a>, Fault> {
        let covariate = self.optional(Field::CovariateName, Code::InvalidCovariateName, check_metric)?;
        let raw = self.given(Field::Value).map_or_else(|| self.required(Field::Value), Ok)?;
        let parsed = raw.decimal()?;
        Ok(What::PrePeriod { covariate, value: parsed.value, rounded: parsed.rounded })
    }

    fn exclusion(&self) -> Result<What<'a>, Fault> {
        let reason = self.optional(Field::Reason, Code::InvalidExclusionReason, check_metric)?;
        let excluded = self.get(Field::Excluded).map(Raw::boolean).transpose()?.unwrap_or(true);
        Ok(What::Exclusion { reason, excluded })
    }
}

/// Reads the item at `index`; `nested` is set when any of its values is an array or an object, so that the
/// depth of the body has to be looked at.
pub(super) struct ItemSeed<'n> {
    pub shape: Shape,
    pub index: u32,
    pub nested: &'n mut bool,
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = Result<Item<'de>, Fault>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn not_an_object<T>() -> Result<T, Fault> {
    Err(Fault::item(Code::InvalidItem, "the item must be an object"))
}

impl<'de> Visitor<'de> for ItemSeed<'_> {
    type Value = Result<Item<'de>, Fault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        let mut fault = None;
        while let Some(name) = map.next_key_seed(Name)? {
            let json = map.next_value::<&RawValue>()?.get();
            *self.nested |= json.starts_with(['{', '[']);
            match Field::of(&name, self.shape) {
                Some(field) => {
                    if fields.0[field as usize].replace(json).is_some() {
                        let detail = format!("`{name}` is given more than once");
                        fault.get_or_insert(Fault::field(Code::DuplicateField, field.name(), detail));
                    }
                }
                None => {
                    fault.get_or_insert_with(|| Fault::unknown_field(&name));
                }
            }
        }
        Ok(match fault {
            Some(fault) => Err(fault),
            None => fields.read(self.shape, self.index),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        *self.nested = true;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(not_an_object())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }
}

/// A field's name, borrowed from the body unless it holds escapes.
pub(crate) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}
