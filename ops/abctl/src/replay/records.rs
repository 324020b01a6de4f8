//! A record of a CSV file as one row (long form), or as one for each metric it has a value for (wide form).

use super::command::Kind;
use super::reader::Rules;
use super::row::{Reason, Reject, Row};
use super::units;
use anyhow::{Result, bail};
use csv::ByteRecord;
use ingest_gateway::body::NAMES;
use serde_json::json;

/// What the columns are.
pub struct Header {
    columns: Vec<Column>,
    /// Whether a record of the wide form is also an exposure.
    exposed: bool,
    wide: bool,
}

enum Column {
    Field(&'static str),
    /// Wide form: the name of a metric.
    Metric(String),
    Ignored,
}

impl Header {
    pub fn new(record: &ByteRecord, rules: &Rules, file: &str) -> Result<Header> {
        let Rules { names, wide, ignored, kind, .. } = rules;
        let (wide, fields) = (*wide, if *kind == Kind::Units { units::FIELDS } else { &NAMES[..] });
        let mut columns = Vec::new();
        for (i, name) in record.iter().enumerate() {
            let name = if i == 0 { name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name) } else { name };
            let Ok(name) = std::str::from_utf8(name) else { bail!("{file}: the header is not UTF-8") };
            let name = name.trim();
            let field = fields.iter().copied().find(|field| *field == names.field(name));
            columns.push(match field {
                _ if ignored.iter().any(|i| i == name) => Column::Ignored,
                Some(field @ ("metric" | "value" | "type")) if wide => {
                    bail!("{file}: column `{field}` does not belong to the wide form, where metrics are columns")
                }
                Some(field) => Column::Field(field),
                // What is computed from the others, for readers of the file.
                None if *kind == Kind::Units => Column::Ignored,
                None if wide => Column::Metric(name.to_owned()),
                None => bail!(
                    "{file}: column `{name}` is none of {}; say which it is with --map FIELD={name}, leave it out \
                     with --ignore {name}, or take it for a metric with --wide",
                    NAMES.join(", ")
                ),
            });
        }
        let has =
            |wanted: &[&str]| columns.iter().any(|c| matches!(c, Column::Field(f) if wanted.contains(f)));
        if !has(&["user_id"]) {
            bail!("{file}: no column is `user_id`; say which it is with --map user_id=COLUMN");
        }
        let exposed = wide && has(&["variation", "variation_index"]);
        Ok(Header { columns, exposed, wide })
    }

    /// Each row with what tells it from others of the same record: empty, or its metric.
    pub fn rows(&self, record: &ByteRecord, kind: Kind) -> Result<Vec<(String, Row)>, Reject> {
        let mut cells = Vec::new();
        for (column, cell) in self.columns.iter().zip(record) {
            let cell = std::str::from_utf8(cell)
                .map_err(|_| Reject::new(Reason::InvalidUtf8, "a cell of the record is not UTF-8"))?;
            if !cell.is_empty() {
                cells.push((column, cell));
            }
        }
        let members = |wanted: &dyn Fn(&str) -> bool| -> Vec<(String, String)> {
            let fields = cells.iter().filter_map(|(column, cell)| match column {
                Column::Field(field) if wanted(field) => Some(((*field).to_owned(), value(field, cell))),
                _ => None,
            });
            fields.collect()
        };
        if !self.wide {
            return Ok(vec![(String::new(), Row::new(members(&|_| true)))]);
        }
        let mut rows = Vec::new();
        let variation = |field: &str| matches!(field, "variation" | "variation_index");
        if self.exposed && kind == Kind::Events {
            let mut exposure = members(&|_| true);
            exposure.push(("type".into(), json!("exposure").to_string()));
            rows.push((String::new(), Row::new(exposure)));
        }
        for (column, cell) in &cells {
            let Column::Metric(metric) = column else { continue };
            let mut conversion = members(&|field| !variation(field));
            // One key would make all metrics of the record the same event.
            for (name, json) in &mut conversion {
                if name == "idempotency_key" {
                    *json = json!(format!(
                        "{}/{metric}",
                        serde_json::from_str::<String>(json).unwrap_or_default()
                    ))
                    .to_string();
                }
            }
            if kind == Kind::Events {
                conversion.push(("type".into(), json!("conversion").to_string()));
            }
            conversion.push(("metric".into(), json!(metric).to_string()));
            conversion.push(("value".into(), json!(cell).to_string()));
            rows.push((metric.clone(), Row::new(conversion)));
        }
        Ok(rows)
    }
}

/// A cell as the JSON that its field has; what does not look like it stays a string, for the gateway to refuse.
fn value(field: &str, cell: &str) -> String {
    let cell = cell.trim();
    let number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite) && json_number(text);
    match field {
        "variation_index" if cell.parse::<i64>().is_ok() && json_number(cell) => cell.to_owned(),
        "occurred_at" if number(cell) => cell.to_owned(),
        field if units::JSON_CELLS.contains(&field) && is_json(cell) => cell.to_owned(),
        "excluded" if matches!(cell, "true" | "false") => cell.to_owned(),
        "properties" if serde_json::from_str::<serde_json::Value>(cell).is_ok_and(|v| v.is_object()) => {
            cell.to_owned()
        }
        _ => json!(cell).to_string(),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn json_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// The record as it would stand in a file, for the list of rejects.
pub fn text(record: &ByteRecord) -> String {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    let written = writer.write_byte_record(record).ok().and_then(|()| writer.into_inner().ok());
    String::from_utf8_lossy(&written.unwrap_or_default()).trim_end().to_owned()
}
