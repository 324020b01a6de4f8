//! Where a request carries its key.

use super::request::parameters;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Where the clients of a route put their key, beside `Authorization: Bearer` and `X-API-Key`, which every route
/// takes. Looked for in the order of the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyPlaces {
    /// `Authorization: Basic base64(key:)`; the password is not looked at.
    pub basic: bool,
    /// A query parameter. Taken from keys with no other scope than `events`: addresses end up in logs.
    pub query: Option<&'static str>,
    /// A member of the JSON object that is the body, which is read before the key is known.
    pub body: Option<&'static str>,
}

impl KeyPlaces {
    pub(super) fn in_headers<'h>(&self, headers: &'h HeaderMap) -> Option<Cow<'h, str>> {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = authorization.and_then(|text| {
            let (scheme, key) = text.split_once(' ')?;
            match scheme {
                _ if scheme.eq_ignore_ascii_case("bearer") => Some(Cow::Borrowed(key.trim())),
                _ if self.basic && scheme.eq_ignore_ascii_case("basic") => basic_user(key).map(Cow::Owned),
                _ => None,
            }
        });
        key.or_else(|| headers.get("x-api-key")?.to_str().ok().map(Cow::Borrowed))
    }

    pub(super) fn in_query<'q>(&self, query: Option<&'q str>) -> Option<Cow<'q, str>> {
        let name = self.query?;
        parameters(query).find(|(known, _)| known == name).map(|(_, key)| key)
    }

    /// For whoever forgot it.
    pub(super) fn hint(&self) -> String {
        let mut hint = "send a key: Authorization: Bearer KEY, or X-API-Key: KEY".to_owned();
        if self.basic {
            hint.push_str(", or Basic with KEY as user");
        }
        for (place, name) in [("query parameter", self.query), ("body", self.body)] {
            if let Some(name) = name {
                hint.push_str(&format!(", or `{name}` in the {place}"));
            }
        }
        hint
    }
}

fn basic_user(encoded: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, _) = text.split_once(':')?;
    Some(user.to_owned())
}

/// The text member `name` of a JSON object; the first one given. `None` also when the body is no JSON object.
pub(super) fn member(body: &[u8], name: &str) -> Option<String> {
    serde_json::Deserializer::from_slice(body).deserialize_map(Member(name)).ok()?
}

struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == self.0 && found.is_none() {
                found = Some(map.next_value::<String>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
