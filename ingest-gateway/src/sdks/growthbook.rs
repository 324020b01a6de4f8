//! GrowthBook's tracking plugin: `POST /track?client_key=..`, a bare array as `text/plain`.
//!
//! Recorded from @growthbook/growthbook 1.8 and growthbook (Python) 4.0 (`tests/data/sdks`):
//! `[{"event_name", "properties_json", "user_id", "device_id", ..}]`. The two clients differ in their exposures:
//! JavaScript says `Experiment Viewed` with `experimentId`, `variationId` (the variation's key) and `hashValue`, Python
//! `$$experiment_viewed` with `experiment_id`, `variation_id` (its index), `variation_key` and `hash_value`.
//!
//! The user is the hash value, which is what the variation was chosen by. Other events name no hash value: theirs is
//! `user_id`, else `device_id`, which holds the attribute `id` when there is no more specific one. Events have neither
//! id nor time, and the client never sends twice: a conversion is keyless, its time is that of receipt.

use super::event::{Terms, conversion, exposure, ignored, required, user};
use super::json::{event_members, events, property_members};
use crate::body::{Fault, Item, Parsed, Raw, Refusal};

pub fn decode<'a>(text: &'a str, terms: Terms<'_>) -> Result<Parsed<'a>, Refusal> {
    events(text, terms.max_events, |json, index| event(json, index, terms))
}

fn event<'a>(json: &'a str, index: u32, terms: Terms<'_>) -> Result<Item<'a>, Fault> {
    let [name, properties, user_id, device_id] =
        event_members(json, ["event_name", "properties_json", "user_id", "device_id"])?;
    let name = required([name], "event_name")?;
    match name.text()?.as_ref() {
        "Experiment Viewed" | "$$experiment_viewed" => viewed(properties, index),
        "Feature Evaluated" | "$$feature_evaluated" => {
            Err(ignored("a feature's evaluation is no exposure; the experiment's own event is"))
        }
        _ => Ok(Item {
            index,
            user_id: user(required([user_id, device_id], "user_id")?)?,
            experiment: None,
            key: None,
            occurred_given: None,
            what: conversion(name, properties, terms)?,
        }),
    }
}

fn viewed<'a>(properties: Option<Raw<'a>>, index: u32) -> Result<Item<'a>, Fault> {
    let names = [
        "experimentId",
        "experiment_id",
        "variationId",
        "variation_key",
        "variation_id",
        "hashValue",
        "hash_value",
        "in_experiment",
    ];
    let [experiment, py_experiment, variation, py_key, py_index, hash, py_hash, taking_part] =
        property_members(properties, names)?;
    if taking_part.is_some_and(|raw| raw.json == "false") {
        return Err(ignored("the user takes no part in the experiment"));
    }
    let variation = required([variation, py_key, py_index], "variationId")?;
    let (experiment, what) = exposure(required([experiment, py_experiment], "experimentId")?, variation)?;
    Ok(Item {
        index,
        user_id: user(required([hash, py_hash], "hashValue")?)?,
        experiment: Some(experiment),
        key: None,
        occurred_given: None,
        what,
    })
}
