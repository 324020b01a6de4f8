//! One row of a file as an item of a request.

use super::command::Kind;
use domain::Timestamp;
use ingest_gateway::body::NAMES;
use serde_json::json;
use std::borrow::Cow;
use std::collections::HashMap;

/// Why a row is not sent, or was refused. `detail` names fields, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    pub error_code: Cow<'static, str>,
    pub detail: String,
}

/// Why this command refuses rows itself; gateways have reasons of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    InvalidUtf8,
    MalformedJson,
    JsonTooDeep,
    LineTooLong,
    InvalidItem,
    MissingField,
    InvalidOccurredAt,
    WrongNumberOfCells,
    ContentTooLarge,
    ExportCut,
}

impl Reason {
    pub const ALL: [Reason; 10] = [
        Reason::InvalidUtf8,
        Reason::MalformedJson,
        Reason::JsonTooDeep,
        Reason::LineTooLong,
        Reason::InvalidItem,
        Reason::MissingField,
        Reason::InvalidOccurredAt,
        Reason::WrongNumberOfCells,
        Reason::ContentTooLarge,
        Reason::ExportCut,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::MalformedJson => "malformed_json",
            Reason::JsonTooDeep => "json_too_deep",
            Reason::LineTooLong => "line_too_long",
            Reason::InvalidItem => "invalid_item",
            Reason::MissingField => "missing_field",
            Reason::InvalidOccurredAt => "invalid_occurred_at",
            Reason::WrongNumberOfCells => "wrong_number_of_cells",
            Reason::ContentTooLarge => "content_too_large",
            Reason::ExportCut => "export_cut",
        }
    }
}

impl Reject {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Reject {
        Reject { error_code: reason.as_str().into(), detail: detail.into() }
    }

    /// The last line of an export that was cut at its limit.
    pub fn cut() -> Reject {
        Reject::new(Reason::ExportCut, "the export was cut here: what follows is not in the file")
    }
}

/// `--map`: names of columns, and of members of an object, by the field they are.
#[derive(Debug, Clone, Default)]
pub struct Names(pub HashMap<String, &'static str>);

impl Names {
    /// `field=column` pairs.
    pub fn parse(pairs: &[String]) -> Result<Names, String> {
        let mut names = HashMap::new();
        for pair in pairs {
            let (field, column) =
                pair.split_once('=').ok_or(format!("--map {pair}: must be FIELD=COLUMN"))?;
            let known = NAMES.into_iter().find(|known| *known == field);
            let field = known.ok_or(format!("--map {pair}: the fields are {}", NAMES.join(", ")))?;
            if names.insert(column.to_owned(), field).is_some() {
                return Err(format!("--map {pair}: the column is mapped twice"));
            }
        }
        Ok(Names(names))
    }

    pub fn field<'n>(&self, name: &'n str) -> &'n str
    where
        'static: 'n,
    {
        self.0.get(name).copied().unwrap_or(name)
    }
}

/// What of a row the reader needs to know, and the item itself.
pub struct Row {
    /// JSON text of its members, in the order of the file.
    members: Vec<(String, String)>,
}

/// An item ready to be sent.
pub struct Item {
    pub user_id: String,
    pub exposure: bool,
    /// `None`: absent, or not an instant (the gateway will say so).
    pub occurred_at: Option<Timestamp>,
    pub json: String,
}

impl Row {
    pub fn new(members: Vec<(String, String)>) -> Row {
        Row { members }
    }

    fn get(&self, field: &str) -> Option<&str> {
        let found = self.members.iter().find(|(name, _)| name == field);
        found.map(|(_, json)| json.as_str()).filter(|json| *json != "null")
    }

    fn text(&self, field: &str) -> Option<String> {
        serde_json::from_str(self.get(field)?).ok()
    }

    fn occurred_at(&self) -> Option<Timestamp> {
        let json = self.get("occurred_at")?;
        match serde_json::from_str::<String>(json) {
            Ok(text) => Timestamp::parse(&text),
            Err(_) => Timestamp::from_unix_number(json),
        }
    }

    /// The item for the route of `kind`; a conversion without a key gets `key`.
    pub fn item(mut self, kind: Kind, key: impl FnOnce() -> String) -> Result<Item, Reject> {
        if self.is_cut() {
            return Err(Reject::cut());
        }
        let user_id = self
            .text("user_id")
            .ok_or_else(|| Reject::new(Reason::MissingField, "`user_id` is required, as a string"))?;
        let is = |own: Kind, name: &str| match kind {
            Kind::Events => self.text("type").is_some_and(|t| t == name),
            kind => kind == own,
        };
        let (exposure, conversion) = (is(Kind::Exposures, "exposure"), is(Kind::Conversions, "conversion"));
        if conversion && self.get("idempotency_key").is_none() {
            self.members.retain(|(name, _)| name != "idempotency_key");
            self.members.push(("idempotency_key".into(), json!(key()).to_string()));
        }
        let occurred_at = self.occurred_at();
        Ok(Item { user_id, exposure, occurred_at, json: self.json() })
    }

    pub fn is_cut(&self) -> bool {
        self.get("type") == Some("\"cut\"")
    }

    /// The row as an object.
    pub fn json(&self) -> String {
        let mut text = String::from("{");
        for (i, (name, value)) in self.members.iter().enumerate() {
            text.push_str(if i == 0 { "" } else { "," });
            text.push_str(&json!(name).to_string());
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}
