//! `abctl audit`: who changed what, and when, over HTTP.

use crate::api::Api;
use crate::client::segment;
use crate::listing::{self, LIMIT, Look};
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

    /// As the service writes it, page by page; of their header rows the first.
    async fn csv(&self, api: &mut Api) -> Result<()> {
        let action = self.action.as_deref().map(segment).unwrap_or_default();
        let mut page = api.get(&format!("{PATH}?format=csv&limit={LIMIT}&action={action}")).await?;
        output::bytes(&page.body)?;
        while let Some(next) = page.next_page.take() {
            page = api.get(&next).await?;
            let head = page.body.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            output::bytes(&page.body.slice(head..))?;
        }
        Ok(())
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
