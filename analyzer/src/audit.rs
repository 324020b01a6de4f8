//! Who did what to what is the tenant's, and when; the latest first.

use serde::Serialize;
use serde_json::Value;
use service::http::header::{HeaderValue, LINK};
use service::http::{Problem, Request, Response, StatusCode};
use store::AuditEntry;

use crate::answer::{Parameters, storage, tagged};
use crate::app::Analyzer;
use crate::paging::{Page, Paging};

#[derive(Serialize)]
struct Item<'e> {
    id: i64,
    at: String,
    actor: &'e str,
    action: &'e str,
    subject: &'e str,
    request_id: &'e str,
    /// By action: JSON, or a text; null for nothing.
    detail: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

pub async fn get(app: &Analyzer, request: &Request) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["limit", "cursor", "action", "format"])?;
    let paging = Paging::of(&parameters)?;
    let format = parameters.parsed("format", "must be json or csv", |text| match text {
        "json" => Some(Format::Json),
        "csv" => Some(Format::Csv),
        _ => None,
    })?;
    let action = parameters.get("action").unwrap_or_default();
    let tenant = &request.principal().tenant;
    let found = app.store.audit_log(tenant, action, paging.cursor, paging.wanted()).await;
    let page = paging.page(found.map_err(storage)?, |entry| entry.id);
    match format {
        Some(Format::Csv) => csv_page(&parameters, &page),
        Some(Format::Json) | None => tagged(request, &page.shown(Item::of)),
    }
}

/// With a header row. Where the next page is stands in `Link` (RFC 8288).
fn csv_page(parameters: &Parameters, page: &Page<AuditEntry>) -> Result<Response, Problem> {
    let response = Response::bytes(StatusCode::OK, "text/csv; charset=utf-8", table(&page.items)?);
    let Some(next) = &page.next_cursor else { return Ok(response) };
    let kept = parameters.encoded(&["limit", "action", "format"]);
    let link = format!("</api/v1/audit?{kept}&cursor={next}>; rel=\"next\"");
    Ok(response.with(LINK, HeaderValue::try_from(link).map_err(|_| Problem::internal())?))
}

fn table(entries: &[AuditEntry]) -> Result<Vec<u8>, Problem> {
    let write = || {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["id", "at", "actor", "action", "subject", "request_id", "detail"])?;
        for entry in entries {
            let AuditEntry { id, at, actor, action, subject, request_id, detail } = entry;
            let (id, at) = (id.to_string(), at.to_string());
            let texts = [&id, &at, actor, action, subject, request_id, detail];
            csv.write_record(texts.map(|text| harmless(text)))?;
        }
        csv.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    };
    write().map_err(|error| {
        tracing::error!(%error, "the audit log cannot be written as CSV");
        Problem::internal()
    })
}

/// A cell that a spreadsheet would take for a formula is made a text: names of keys are anybody's choice.
fn harmless(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

impl<'e> Item<'e> {
    fn of(entry: &'e AuditEntry) -> Item<'e> {
        let AuditEntry { id, at, actor, action, subject, request_id, detail } = entry;
        let structured =
            || serde_json::from_str(detail).ok().filter(|v: &Value| v.is_object() || v.is_array());
        let detail = match detail.as_str() {
            "" => Value::Null,
            _ => structured().unwrap_or_else(|| Value::String(detail.clone())),
        };
        Item { id: *id, at: at.to_string(), actor, action, subject, request_id, detail }
    }
}
