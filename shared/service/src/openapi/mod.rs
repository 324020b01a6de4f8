//! The API document (OpenAPI 3.1) of all tiers, and the page that shows it.
//!
//! `operations.json` has a line for each route with what is peculiar to it, `schemas.json` what bodies look like,
//! `errors.json` every `error_code`. What all routes share is added here: refusals of keys, bodies and overload. Both
//! HTTP tiers serve the same document; tests hold it against their routes and against what they answer.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::{Page, Problem, Request, Response};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    tag: String,
    id: String,
    summary: String,
    #[serde(default)]
    note: String,
    /// Of which a key needs one; none: no key is needed.
    scopes: Vec<String>,
    /// Of which it needs one with this in the query; with nothing: otherwise.
    #[serde(default)]
    scopes_with: BTreeMap<String, Vec<String>>,
    /// Names among `parameters.json`.
    #[serde(default)]
    query: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    /// A schema.
    #[serde(default)]
    body: Option<String>,
    /// A key may come in the address, and the body as text.
    #[serde(default)]
    beacon: bool,
    /// By status: a schema, media types, or nothing.
    answers: BTreeMap<String, Option<String>>,
    /// Statuses of refusals beyond those of every such route.
    problems: Vec<String>,
}

const REFUSED_KEYS: [&str; 3] = ["401", "403", "429"];
const REFUSED_BODIES: [&str; 5] = ["400", "408", "413", "415", "422"];
const FAILURES: [&str; 2] = ["500", "503"];
/// Of events 503 says that they can be sent again.
const LATE: &str = "504";

/// The document, or why the files beside this one are none.
pub static DOCUMENT: LazyLock<Result<String, serde_json::Error>> = LazyLock::new(assemble);

static DOCS: LazyLock<Page> =
    LazyLock::new(|| Page::of(include_str!("docs.html"), include_str!("docs.css"), include_str!("docs.js")));

/// `GET /openapi.json`.
pub fn document(request: &Request) -> Result<Response, Problem> {
    let text = DOCUMENT.as_ref().map_err(|error| {
        tracing::error!(%error, "the API document cannot be assembled");
        Problem::internal().retryable(false)
    })?;
    Response::tagged(request, "application/json", text.as_bytes())
}

/// `GET /docs`.
pub fn docs(request: &Request) -> Result<Response, Problem> {
    DOCS.answer(request)
}

fn assemble() -> Result<String, serde_json::Error> {
    let operations: BTreeMap<String, Operation> = serde_json::from_str(include_str!("operations.json"))?;
    let parameters: BTreeMap<String, Value> = serde_json::from_str(include_str!("parameters.json"))?;
    let errors: BTreeMap<String, Value> = serde_json::from_str(include_str!("errors.json"))?;
    let mut schemas: Map<String, Value> = serde_json::from_str(include_str!("schemas.json"))?;
    let codes: Vec<&String> = errors.keys().collect();
    schemas.insert("ErrorCode".to_owned(), json!({"type": "string", "enum": codes}));
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (route, operation) in &operations {
        let (method, path) = route.split_once(' ').unwrap_or_default();
        paths.entry(path).or_default().insert(method.to_lowercase(), operation.described(path));
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "abstream",
            "version": env!("CARGO_PKG_VERSION"),
            "description": include_str!("introduction.md"),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": parameters,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "query": {"type": "apiKey", "in": "query", "name": "key", "description": "Of a key with only `events`."},
            },
        },
        "x-error-codes": errors,
    });
    serde_json::to_string(&document)
}

impl Operation {
    fn described(&self, path: &str) -> Value {
        let named = |name: &str| json!({"$ref": format!("#/components/parameters/{name}")});
        let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameters: Vec<Value> = in_path
            .chain(self.query.iter().map(String::as_str))
            .chain(self.headers.iter().map(String::as_str))
            .map(named)
            .collect();
        let mut scopes = self.note.clone();
        if !self.scopes.is_empty() {
            scopes += &format!(" Needs a key with the scope {}", self.scopes.join(" or "));
            for (query, of) in self.scopes_with.iter().rev() {
                let of = of.join(" or ");
                scopes += &match query.as_str() {
                    "" => format!("; otherwise: {of}"),
                    query => format!("; with {query}: {of}"),
                };
            }
            scopes.push('.');
        }
        let mut described = json!({
            "tags": [self.tag],
            "operationId": self.id,
            "summary": self.summary,
            "description": scopes.trim(),
            "parameters": parameters,
            "responses": self.responses(),
            "security": self.security(),
        });
        if let Some(body) = &self.body {
            let schema = json!({"schema": {"$ref": format!("#/components/schemas/{body}")}});
            described["requestBody"] = json!({"required": true, "content": {"application/json": schema}});
        }
        described
    }

    fn responses(&self) -> Map<String, Value> {
        let mut responses = Map::new();
        let keys = if self.scopes.is_empty() { &[][..] } else { &REFUSED_KEYS };
        let bodies = if self.body.is_some() { &REFUSED_BODIES[..] } else { &[] };
        let shared = keys.iter().chain(bodies).chain(&FAILURES).copied();
        let late =
            (!self.scopes.is_empty() && !["Ingest", "SDKs"].contains(&self.tag.as_str())).then_some(LATE);
        for status in shared.chain(late).chain(self.problems.iter().map(String::as_str)) {
            let problem = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
            let mut response = json!({"description": meaning(status)});
            if status != "304" {
                response["content"] = json!({"application/problem+json": problem});
            }
            responses.insert(status.to_owned(), response);
        }
        for (status, of) in &self.answers {
            let mut response = json!({"description": meaning(status)});
            if let Some(of) = of {
                response["content"] = match of.contains('/') {
                    true => of
                        .split(", ")
                        .map(|of| (of.to_owned(), json!({"schema": {"type": "string"}})))
                        .collect(),
                    false => {
                        json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{of}")}}})
                    }
                };
            }
            responses.insert(status.clone(), response);
        }
        responses
    }

    fn security(&self) -> Value {
        match (self.scopes.is_empty(), self.beacon) {
            (true, _) => json!([]),
            (false, false) => json!([{"bearer": []}, {"header": []}]),
            (false, true) => json!([{"bearer": []}, {"header": []}, {"query": []}]),
        }
    }
}

fn meaning(status: &str) -> &'static str {
    match status {
        "200" => "Done",
        "201" => "Created",
        "202" => "Accepted: durable, and applied later",
        "204" => "Done; nothing to say",
        "304" => "The client has it: its entity tag was in If-None-Match",
        "400" => "The body cannot be read",
        "401" => "No key, or an unknown one",
        "403" => "The key lacks the scope",
        "404" => "There is no such thing, or it is another tenant's",
        "408" => "The request came too slowly",
        "409" => "Not in the present state",
        "412" => "It has changed since: If-Match names another entity tag",
        "413" => "The body is too large",
        "415" => "The body is of a type or encoding that is not read here",
        "422" => "A field or parameter is not what it must be",
        "429" => "Too many; Retry-After says when to come back",
        "500" => "The service failed to answer",
        "504" => "The answer was not ready in the time that the route has",
        "503" => "Not now: a dependency is away, or the service is full",
        _ => "",
    }
}
