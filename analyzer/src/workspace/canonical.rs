//! Canonical JSON: members by name, no white space, strings as we write them, numbers as they are written. What is
//! signed does not depend on how a tool on the way laid the text out.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members by name.
pub type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The members of the object that `json` is; a name given twice is an error.
pub fn members(json: &str) -> Result<Members<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let members = reader.deserialize_map(Object)?;
    reader.end().map(|()| members)
}

pub fn object(members: &Members<'_>) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    write_object(members, &mut text)?;
    Ok(text)
}

fn write_object(members: &Members<'_>, to: &mut String) -> Result<(), serde_json::Error> {
    to.push('{');
    for (i, (name, value)) in members.iter().enumerate() {
        to.push_str(if i == 0 { "" } else { "," });
        to.push_str(&serde_json::to_string(name)?);
        to.push(':');
        write(value.get(), to)?;
    }
    to.push('}');
    Ok(())
}

/// Nested no deeper than a request's body may be.
fn write(json: &str, to: &mut String) -> Result<(), serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'{') => write_object(&members(json)?, to),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            to.push('[');
            for (i, item) in items.into_iter().enumerate() {
                to.push_str(if i == 0 { "" } else { "," });
                write(item.get(), to)?;
            }
            to.push(']');
            Ok(())
        }
        Some(b'"') => {
            let text: String = serde_json::from_str(json)?;
            to.push_str(&serde_json::to_string(&text)?);
            Ok(())
        }
        _ => {
            to.push_str(json);
            Ok(())
        }
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let again = format!("`{name}` is given more than once");
            if members.insert(name, value).is_some() {
                return Err(serde::de::Error::custom(again));
            }
        }
        Ok(members)
    }
}
