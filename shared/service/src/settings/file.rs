//! The settings file: each key is a flag's name with `_` for `-`. What is a list or a mapping by nature may be written as
//! one; it becomes the text that the variable would hold, so there is one parser of each setting.

use super::error::{Refusal, SettingsError};
use super::sources::{Names, read_text, spec_named};
use super::spec::REPLACED;
use super::value::Kind;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

pub fn read(
    path: &Path,
    env: &HashMap<String, String>,
    ignored: &mut Vec<String>,
) -> Result<Names, SettingsError> {
    let text = read_text("AB_CONFIG", path)?;
    let keys: Option<Keys> = serde_saphyr::from_str(&text).map_err(|error| broken(path, &error))?;
    let mut names = Names::new();
    for (key, written) in keys.unwrap_or_default().0 {
        let name = variable(&key);
        if REPLACED.iter().any(|prefix| name.starts_with(prefix)) {
            ignored.push(key);
        } else if let (true, Some(written)) = (is_known(&key), written) {
            names.insert(name, written.flat(&key, env)?);
        } else {
            return Err(Refusal::new(key, format!("is not a known key ({})", path.display())).into());
        }
    }
    Ok(names)
}

fn variable(key: &str) -> String {
    format!("AB_{}", key.to_ascii_uppercase())
}

fn is_known(key: &str) -> bool {
    let name = variable(key);
    key == key.to_ascii_lowercase() && name != "AB_CONFIG" && spec_named(&name).is_some()
}

/// Where it is and of what kind: the parser's own words quote the file, which may hold secrets.
fn broken(path: &Path, error: &serde_saphyr::Error) -> SettingsError {
    let what = match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a key is given twice",
        _ => "is not a YAML mapping of settings",
    };
    let at = error.location().map(|at| format!(", line {} column {}", at.line(), at.column()));
    SettingsError::Yaml { path: path.to_owned(), what, at: at.unwrap_or_default() }
}

/// The file as it is, in its order. `None` for a key nobody knows, whose value may be anything.
#[derive(Default)]
struct Keys(Vec<(String, Option<Written>)>);

/// A value as the file has it. Numbers keep their text.
enum Written {
    Text(Option<String>),
    List(Vec<String>, &'static str),
    Pairs(Pairs),
    /// By tenant; `true`: in one entry.
    Tenants(Vec<(String, Pairs)>, bool),
    /// What it should have been.
    Other(&'static str),
}

/// A mapping in the order of the file.
type Pairs = Vec<(String, Option<String>)>;

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(file: D) -> Result<Self, D::Error> {
        file.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut keys = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let kind = spec_named(&variable(&key)).map(|spec| &spec.kind);
            let written = match kind {
                None => {
                    map.next_value::<IgnoredAny>()?;
                    None
                }
                Some(Kind::List(between, _)) => Some(match map.next_value::<Nested<IgnoredAny>>()? {
                    Nested::Text(text) => Written::Text(text),
                    Nested::List(items) => Written::List(items, between),
                    Nested::Map(_) => Written::Other("must be a text or a list"),
                }),
                Some(Kind::Pairs(_)) => Some(match map.next_value()? {
                    Nested::Text(text) => Written::Text(text),
                    Nested::List(items) => Written::List(items, ";"),
                    Nested::Map(pairs) => Written::Pairs(pairs),
                }),
                Some(Kind::Tenants { together, .. }) => Some(match map.next_value()? {
                    Nested::Text(text) => Written::Text(text),
                    Nested::List(items) => Written::List(items, ";"),
                    Nested::Map(tenants) => Written::of_tenants(tenants, *together),
                }),
                Some(_) => Some(Written::Text(map.next_value()?)),
            };
            keys.push((key, written));
        }
        Ok(Keys(keys))
    }
}

/// Text, a list of texts, or a mapping to `V`.
enum Nested<V> {
    Text(Option<String>),
    List(Vec<String>),
    Map(Vec<(String, V)>),
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Nested<V> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(NestedVisitor(std::marker::PhantomData))
    }
}

struct NestedVisitor<V>(std::marker::PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for NestedVisitor<V> {
    type Value = Nested<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a list or a mapping")
    }

    fn visit_str<E>(self, text: &str) -> Result<Nested<V>, E> {
        Ok(Nested::Text(Some(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Nested<V>, E> {
        Ok(Nested::Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Nested<V>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Nested::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Nested<V>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Nested::Map(entries))
    }
}

impl Written {
    fn of_tenants(tenants: Vec<(String, Nested<Option<String>>)>, together: bool) -> Self {
        let pairs = |(tenant, of_tenant)| match of_tenant {
            Nested::Map(pairs) => Some((tenant, pairs)),
            Nested::Text(_) | Nested::List(_) => None,
        };
        match tenants.into_iter().map(pairs).collect() {
            Some(tenants) => Self::Tenants(tenants, together),
            None => Self::Other("must have a mapping for each tenant"),
        }
    }

    /// As the variable would hold it, each `${NAME}` replaced. No single value can become two.
    fn flat(self, key: &str, env: &HashMap<String, String>) -> Result<String, Refusal> {
        let one = |text: &str, apart: &str| {
            let text = substitute(key, text, env)?;
            match text.chars().any(|c| c == '\n' || apart.contains(c)) {
                true => Err(Refusal::new(key, format!("an item of it holds a line end or one of {apart}"))),
                false => Ok(text),
            }
        };
        match self {
            Written::Other(wanted) => Err(Refusal::new(key, wanted)),
            Written::Text(text) => substitute(key, &text.unwrap_or_default(), env),
            Written::List(items, between) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| one(item, between)).collect();
                Ok(items?.join(between))
            }
            Written::Pairs(pairs) => {
                let pair = |(name, value): (String, Option<String>)| {
                    let value = one(value.as_deref().unwrap_or_default(), ";")?;
                    Ok(format!("{}={value}", one(&name, ";=")?))
                };
                let pairs: Result<Vec<_>, Refusal> = pairs.into_iter().map(pair).collect();
                Ok(pairs?.join(";"))
            }
            Written::Tenants(tenants, together) => {
                let (apart, mut entries) = (if together { ";,=" } else { ";" }, Vec::new());
                for (tenant, pairs) in tenants {
                    let tenant = one(&tenant, ";,=:")?;
                    let mut of_tenant = Vec::new();
                    for (name, value) in pairs {
                        let value = one(value.as_deref().unwrap_or_default(), apart)?;
                        of_tenant.push(format!("{}={value}", one(&name, apart)?));
                    }
                    match together {
                        true => entries.push(format!("{tenant}:{}", of_tenant.join(","))),
                        false => entries.extend(of_tenant.iter().map(|pair| format!("{tenant}:{pair}"))),
                    }
                }
                Ok(entries.join(";"))
            }
        }
    }
}

/// Replaces each `${NAME}`. Done on single values, so a value cannot add keys to the file.
fn substitute(key: &str, text: &str, env: &HashMap<String, String>) -> Result<String, Refusal> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) =
            after.split_once('}').ok_or_else(|| Refusal::new(key, "holds a ${ without its closing brace"))?;
        let value = env
            .get(name)
            .ok_or_else(|| Refusal::new(key, format!("needs the variable {name}, which is not set")))?;
        out.push_str(before);
        out.push_str(value);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}
