//! `abctl dead-letters list`, page by page: what was read is shown before more is asked for.

use super::Filter;
use super::model::Letter;
use crate::api::Api;
use crate::output;
use crate::results::minute;
use crate::table::{clean, fit, painted};
use anstyle::Style;
use anyhow::Result;
use clap::Args;

/// List what was accepted and could not be applied, the oldest first.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    filter: Filter,
}

/// Our longest code of a reason.
const REASON_WIDTH: usize = 19;

impl List {
    pub async fn run(&self, api: &mut Api, json: bool) -> Result<()> {
        let (mut cursor, mut listed) = (None, 0);
        output::text(if json { "{\"items\":[" } else { "" })?;
        loop {
            let page = self.filter.page(api, cursor.as_deref()).await?;
            let mut text = String::new();
            for item in page.items {
                if json {
                    text.push_str(if listed == 0 { "" } else { "," });
                    text.push_str(item.get());
                } else {
                    text.push_str(&if listed == 0 { heads() } else { String::new() });
                    text.push_str(&line(&api.parse(item.get().as_bytes())?));
                }
                listed += 1;
            }
            output::text(&text)?;
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(match (json, listed) {
            (true, _) => output::text("],\"next_cursor\":null}\n"),
            (false, 0) => output::text("no dead letters\n"),
            (false, _) => Ok(()),
        }?)
    }
}

/// Fixed widths, because a page is shown before the next one is known; the detail, of any length, comes last.
fn heads() -> String {
    let line = format!(
        "{:>8}  {:<20}  {:<REASON_WIDTH$}  {:>10}  {:>6}  {:<7}  detail",
        "id", "since", "reason", "experiment", "events", "payload"
    );
    format!("{}\n", painted(&line, Style::new().dimmed()))
}

fn line(letter: &Letter) -> String {
    let Letter { id, created_at, reason, detail, experiment, events, payload_kept, .. } = letter;
    let (since, reason) = (minute(created_at), fit(reason, REASON_WIDTH));
    let experiment = experiment.map_or_else(|| "-".into(), |id| id.to_string());
    let payload = if *payload_kept { "kept" } else { "no" };
    let detail = clean(detail);
    format!(
        "{id:>8}  {since:<20}  {reason:<REASON_WIDTH$}  {experiment:>10}  {events:>6}  {payload:<7}  {detail}\n"
    )
}
