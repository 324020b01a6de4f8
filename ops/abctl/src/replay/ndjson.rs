//! A line of NDJSON as a row. Values stay the text they are: a decimal is read once, by the gateway.

use super::row::{Names, Reason, Reject, Row};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use service::http::{MAX_DEPTH, check_depth};
use std::fmt;

/// `None`: the line is blank.
pub fn row(line: &[u8], names: &Names) -> Result<Option<Row>, Reject> {
    let text = std::str::from_utf8(line).map_err(|e| {
        Reject::new(Reason::InvalidUtf8, format!("not UTF-8 from byte {} on", e.valid_up_to()))
    })?;
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // A gateway refuses the whole request for one such line.
    check_depth(line)
        .map_err(|_| Reject::new(Reason::JsonTooDeep, format!("nested deeper than {MAX_DEPTH} levels")))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Members(names)).and_then(|m| reader.end().map(|()| m));
    match members {
        Ok(members) => Ok(Some(Row::new(members))),
        Err(error) if error.is_data() => {
            Err(Reject::new(Reason::InvalidItem, "the line is not a JSON object"))
        }
        Err(error) => Err(Reject::new(
            Reason::MalformedJson,
            format!("the line is not JSON at column {}", error.column()),
        )),
    }
}

struct Members<'n>(&'n Names);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((self.0.field(&name).to_owned(), value.get().to_owned()));
        }
        Ok(members)
    }
}
