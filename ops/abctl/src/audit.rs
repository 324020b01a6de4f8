//! `abctl audit`: who changed what, and when, over HTTP.

use crate::api::Api;
use crate::client::segment;
use crate::listing::{self, Look};
use crate::output;
use crate::results::minute;
use crate::table::{clean, fit, painted};
use anstyle::Style;
use anyhow::Result;
use clap::Args;
use serde::Deserialize;
use serde_json::Value;
use service::settings::Settings;

/// Show who changed what, and when, the latest first.
#[derive(Args)]
pub struct Audit {
    /// Only actions that begin so, as experiment. or key.revoke.
    #[arg(long)]
    action: Option<String>,
    /// Print CSV, with a header row; cells that a spreadsheet would take for a formula begin with an apostrophe.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

const PATH: &str = "/api/v1/audit";
/// Rows the service gives at a time.
const LIMIT: usize = 200;
const ACTOR_WIDTH: usize = 28;
const ACTION_WIDTH: usize = 20;
const SUBJECT_WIDTH: usize = 16;

#[derive(Deserialize)]
struct Entry {
    at: String,
    actor: String,
    action: String,
    subject: String,
    request_id: String,
    detail: Value,
}

impl Audit {
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<()> {
        let mut api = Api::of(settings)?;
        if self.csv {
            return self.csv(&mut api).await;
        }
        let look = Look { heads, line, empty: "nothing was changed yet\n" };
        listing::show(&mut api, PATH, &[("action", self.action.as_deref())], &look, json).await
    }

    /// As the service writes it, page by page: the first column is the cursor.
    async fn csv(&self, api: &mut Api) -> Result<()> {
        let action = self.action.as_deref().map(segment).unwrap_or_default();
        let first = format!("{PATH}?format=csv&limit={LIMIT}&action={action}");
        let mut path = first.clone();
        loop {
            let page = api.get(&path).await?;
            let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(&*page.body);
            let mut out = csv::Writer::from_writer(Vec::new());
            let (mut count, mut last) = (0, String::new());
            for row in rows.records() {
                let row = row?;
                // Every page has a header row; one is enough.
                let is_head = row.get(0) == Some("id");
                if !is_head || path == first {
                    out.write_record(&row)?;
                }
                if !is_head {
                    count += 1;
                    last = row.get(0).unwrap_or_default().to_owned();
                }
            }
            output::bytes(&out.into_inner()?)?;
            if count < LIMIT {
                return Ok(());
            }
            path = format!("{first}&cursor={last}");
        }
    }
}

/// Fixed widths, because a page is shown before the next one is known; the detail, of any length, comes last.
fn heads() -> String {
    let line = format!(
        "{:<20}  {:<ACTOR_WIDTH$}  {:<ACTION_WIDTH$}  {:<SUBJECT_WIDTH$}  {:<20}  detail",
        "at", "actor", "action", "subject", "request"
    );
    format!("{}\n", painted(&line, Style::new().dimmed()))
}

fn line(entry: &Entry) -> String {
    let Entry { at, actor, action, subject, request_id, detail } = entry;
    let (at, request) = (minute(at), fit(request_id, 20));
    let (actor, action, subject) =
        (fit(actor, ACTOR_WIDTH), fit(action, ACTION_WIDTH), fit(subject, SUBJECT_WIDTH));
    let detail = match detail {
        Value::Null => String::new(),
        Value::String(text) => clean(text),
        structured => clean(&structured.to_string()),
    };
    let line = format!(
        "{at:<20}  {actor:<ACTOR_WIDTH$}  {action:<ACTION_WIDTH$}  {subject:<SUBJECT_WIDTH$}  {request:<20}  {detail}"
    );
    format!("{}\n", line.trim_end())
}
