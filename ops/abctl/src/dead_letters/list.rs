//! `abctl dead-letters list`.

use super::model::Letter;
use super::{Filter, PATH};
use crate::api::Api;
use crate::listing::{self, Look};
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
        let look = Look { heads, line, empty: "no dead letters\n" };
        listing::show(api, PATH, &self.filter.parameters(), &look, json).await
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
