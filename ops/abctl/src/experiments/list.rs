//! `abctl experiments list`, page by page: what was read is shown before more is asked for.

use crate::api::Api;
use crate::client::segment;
use crate::output;
use crate::results::minute;
use crate::results::model::Experiment;
use crate::table::{clean, painted};
use anstyle::Style;
use anyhow::Result;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

/// List experiments, the oldest first.
#[derive(Args)]
pub struct List {
    /// Only experiments of this status.
    #[arg(long, value_parser = ["draft", "running", "stopped", "archived"])]
    status: Option<String>,
}

/// As many as the service gives at a time.
const LIMIT: u32 = 200;

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

impl List {
    pub async fn run(&self, api: &mut Api, json: bool) -> Result<()> {
        let (mut cursor, mut listed) = (None, 0);
        output::text(if json { "{\"items\":[" } else { "" })?;
        loop {
            let after = cursor.map(|c: String| format!("&cursor={}", segment(&c))).unwrap_or_default();
            let answer = api.get(&format!("/api/v1/experiments?limit={LIMIT}{after}")).await?;
            let page: Page = api.read(&answer)?;
            let mut text = String::new();
            for item in page.items {
                let experiment: Experiment = api.parse(item.get().as_bytes())?;
                if self.status.as_ref().is_some_and(|wanted| *wanted != experiment.status) {
                    continue;
                }
                if json {
                    text.push_str(if listed == 0 { "" } else { "," });
                    text.push_str(item.get());
                } else {
                    text.push_str(&if listed == 0 { heads() } else { String::new() });
                    text.push_str(&line(&experiment));
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
            (false, 0) => output::text("no experiments\n"),
            (false, _) => Ok(()),
        }?)
    }
}

/// Fixed widths, because a page is shown before the next one is known; the key, of any length, comes last.
fn heads() -> String {
    let line = format!("{:<8}  {:<20}  {:>4}  {:>7}  experiment", "status", "started", "arms", "metrics");
    format!("{}\n", painted(&line, Style::new().dimmed()))
}

fn line(experiment: &Experiment) -> String {
    let Experiment { key, name, status, started_at, variations, metrics, .. } = experiment;
    let started = started_at.as_deref().map_or_else(|| "-".into(), minute);
    let title = if key == name { clean(key) } else { format!("{}  {}", clean(key), clean(name)) };
    let (arms, metrics) = (variations.len(), metrics.len());
    format!("{:<8}  {started:<20}  {arms:>4}  {metrics:>7}  {title}\n", clean(status))
}
