//! What changed between two definitions, as the audit log keeps it and people read it.

use domain::definition::Definition;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service::http::Problem;

/// One member that is another; absent where there is none.
#[derive(Debug, Serialize, Deserialize)]
pub struct Difference {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// JSON pointers of the members that differ.
pub fn pointers(before: &Definition, after: &Definition) -> Result<Vec<String>, serde_json::Error> {
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    let mut found = Vec::new();
    collect(String::new(), Some(&before), Some(&after), &mut found);
    Ok(found.into_iter().map(|difference| difference.pointer).collect())
}

/// JSON: a list of [`Difference`]s.
pub fn between(before: &Definition, after: &Definition) -> Result<String, Problem> {
    let write = || {
        let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
        let mut found = Vec::new();
        collect(String::new(), Some(&before), Some(&after), &mut found);
        serde_json::to_string(&found)
    };
    write().map_err(|error| {
        tracing::error!(%error, "a change cannot be written as JSON");
        Problem::internal()
    })
}

fn collect(pointer: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Value::Object(b)), Some(Value::Object(a))) => {
            let added = a.keys().filter(|name| !b.contains_key(*name));
            for name in b.keys().chain(added) {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                collect(format!("{pointer}/{escaped}"), b.get(name), a.get(name), found);
            }
        }
        (Some(Value::Array(b)), Some(Value::Array(a))) if a.len() == b.len() => {
            for (index, (b, a)) in b.iter().zip(a).enumerate() {
                collect(format!("{pointer}/{index}"), Some(b), Some(a), found);
            }
        }
        _ if before == after => {}
        _ => found.push(Difference { pointer, from: before.cloned(), to: after.cloned() }),
    }
}
