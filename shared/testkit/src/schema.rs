//! Answers held against an OpenAPI document: is the status documented, and the body what its schema says?
//!
//! Reads the part of JSON Schema that our document uses; any other keyword is an error, so that nothing in it goes
//! unread.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::Response;

/// What says nothing about validity.
const ANNOTATIONS: [&str; 3] = ["description", "default", "format"];

/// A document, `paths` and `components`.
pub struct Document(Value);

impl Document {
    /// From its text.
    pub fn read(text: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(text)?))
    }

    /// Every operation, as `GET /path/{parameter}`.
    pub fn routes(&self) -> Vec<String> {
        let methods = |(path, of): (&String, &Value)| {
            let names: Vec<&String> = of.as_object().into_iter().flat_map(|of| of.keys()).collect();
            names.into_iter().map(|name| format!("{} {path}", name.to_uppercase())).collect::<Vec<_>>()
        };
        self.0["paths"].as_object().into_iter().flatten().flat_map(methods).collect()
    }

    /// Statuses documented for a route.
    pub fn statuses(&self, route: &str) -> Vec<u16> {
        let responses = self.operation(route).map(|of| &of["responses"]);
        let statuses = responses.ok().and_then(Value::as_object).into_iter().flat_map(|of| of.keys());
        statuses.filter_map(|status| status.parse().ok()).collect()
    }

    /// The documented route of a request, if there is one. Literal segments come before parameters.
    pub fn route_of(&self, method: &str, path: &str) -> Option<String> {
        let path = path.split('?').next().unwrap_or_default();
        let fits = |route: &str| {
            let (known, template) = route.split_once(' ').unwrap_or_default();
            let (a, b): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
            let segment = |(t, p): (&&str, &&str)| t == p || (t.starts_with('{') && !p.is_empty());
            known == method && a.len() == b.len() && a.iter().zip(&b).all(segment)
        };
        let mut found: Vec<String> = self.routes().into_iter().filter(|route| fits(route)).collect();
        found.sort_by_key(|route| route.matches('{').count());
        found.into_iter().next()
    }

    /// That an answer of a route is as documented.
    pub fn check(&self, route: &str, answer: &Response) -> Result<()> {
        let responses = &self.operation(route)?["responses"];
        let response = &responses[answer.status.to_string()];
        ensure!(!response.is_null(), "{route}: {} is not documented: {}", answer.status, answer.text());
        let Some(content) = response["content"].as_object() else {
            ensure!(answer.body.is_empty(), "{route}: {} has a body", answer.status);
            return Ok(());
        };
        let given = answer.header("content-type").unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default();
        let schema = content.get(essence).with_context(|| format!("{route}: content type {given}"))?;
        if essence.ends_with("json") {
            let body = answer.json()?;
            self.valid(&schema["schema"], &body, "")
                .with_context(|| format!("{route}: {}: {body}", answer.status))?;
        }
        Ok(())
    }

    fn operation(&self, route: &str) -> Result<&Value> {
        let (method, path) = route.split_once(' ').context("METHOD /path")?;
        let found = &self.0["paths"][path][method.to_lowercase()];
        ensure!(!found.is_null(), "{route} is not documented");
        Ok(found)
    }

    /// That a value is what a schema says.
    pub fn valid(&self, schema: &Value, value: &Value, at: &str) -> Result<()> {
        let Some(schema) = schema.as_object() else { bail!("{at}: no schema: {schema}") };
        for (keyword, wanted) in schema {
            match keyword.as_str() {
                "$ref" => {
                    let name = wanted.as_str().and_then(|r| r.strip_prefix('#')).context("a local $ref")?;
                    let target = self.0.pointer(name).with_context(|| format!("{name} is not there"))?;
                    self.valid(target, value, at)?;
                }
                "type" => {
                    let names = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                    let fits = names.iter().filter_map(Value::as_str).any(|name| is_a(value, name));
                    ensure!(fits, "{at}: {value} is not of type {wanted}");
                }
                "enum" => {
                    let known = wanted.as_array().is_some_and(|all| all.contains(value));
                    ensure!(known, "{at}: {value} is none of {wanted}");
                }
                "required" => {
                    let names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                    for name in names.filter(|_| value.is_object()) {
                        ensure!(value.get(name).is_some(), "{at}: {name} is missing in {value}");
                    }
                }
                "properties" => {
                    for (name, of) in wanted.as_object().into_iter().flatten() {
                        if let Some(member) = value.get(name) {
                            self.valid(of, member, &format!("{at}/{name}"))?;
                        }
                    }
                }
                "additionalProperties" => {
                    ensure!(wanted == &Value::Bool(false), "{at}: additionalProperties: {wanted}");
                    let known = schema.get("properties").and_then(Value::as_object);
                    for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
                        ensure!(known.is_some_and(|k| k.contains_key(name)), "{at}: {name} is not known");
                    }
                }
                "items" => {
                    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.valid(wanted, item, &format!("{at}/{i}"))?;
                    }
                }
                "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                    if let (Some(value), Some(bound)) = (value.as_f64(), wanted.as_f64()) {
                        let fits = match keyword.as_str() {
                            "minimum" => value >= bound,
                            "maximum" => value <= bound,
                            "exclusiveMinimum" => value > bound,
                            _ => value < bound,
                        };
                        ensure!(fits, "{at}: {value} against {keyword} {bound}");
                    }
                }
                "minLength" | "maxLength" => {
                    if let (Some(text), Some(bound)) = (value.as_str(), wanted.as_u64()) {
                        let length = text.chars().count() as u64;
                        let fits = if keyword == "minLength" { length >= bound } else { length <= bound };
                        ensure!(fits, "{at}: {length} characters against {keyword} {bound}");
                    }
                }
                "minItems" | "maxItems" => {
                    if let (Some(list), Some(bound)) = (value.as_array(), wanted.as_u64()) {
                        let length = list.len() as u64;
                        let fits = if keyword == "minItems" { length >= bound } else { length <= bound };
                        ensure!(fits, "{at}: {length} items against {keyword} {bound}");
                    }
                }
                // Of what clients send.
                "pattern" => {}
                annotation if ANNOTATIONS.contains(&annotation) => {}
                unread => bail!("{at}: the keyword {unread} is not read here"),
            }
        }
        Ok(())
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
