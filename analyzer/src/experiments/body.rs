//! What requests about experiments carry.

use domain::definition::Definition;
use service::http::{Problem, Request, check_depth};

use crate::answer::{json, unreadable};

const INVALID: &str = "invalid_definition";

pub async fn definition(request: &mut Request) -> Result<Definition, Problem> {
    checked(json(request, INVALID).await?)
}

/// A JSON merge patch (RFC 7396), applied to a definition.
pub fn patched(definition: &Definition, patch: &serde_json::Value) -> Result<Definition, Problem> {
    let mut document = serde_json::to_value(definition).map_err(|error| {
        tracing::error!(%error, "a definition cannot be written as JSON");
        Problem::internal()
    })?;
    merge(&mut document, patch);
    checked(serde_json::from_value(document).map_err(|error| unreadable(&error, INVALID))?)
}

/// A merge patch, of any shape.
pub async fn patch(request: &mut Request) -> Result<serde_json::Value, Problem> {
    json(request, INVALID).await
}

/// Actions take no body; `{}` is none.
pub async fn nothing(request: &mut Request) -> Result<(), Problem> {
    let body = request.read_body().await?;
    if body.trim_ascii().is_empty() {
        return Ok(());
    }
    check_depth(&body)?;
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    serde_json::from_slice(&body).map(|Nothing {}| ()).map_err(|error| unreadable(&error, INVALID))
}

fn checked(definition: Definition) -> Result<Definition, Problem> {
    definition.checked().map_err(|invalid| Problem::unprocessable(INVALID, invalid.to_string()))
}

/// Members are replaced one by one, null removes, and what is no object is replaced whole.
fn merge(target: &mut serde_json::Value, patch: &serde_json::Value) {
    let serde_json::Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = serde_json::Value::Object(serde_json::Map::new());
    }
    let Some(object) = target.as_object_mut() else { return };
    for (name, value) in members {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name).or_insert(serde_json::Value::Null), value);
        }
    }
}
