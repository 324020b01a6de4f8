//! `abctl experiments list`.

use crate::api::Api;
use crate::listing::{self, Look};
use crate::results::minute;
use crate::results::model::Experiment;
use crate::table::{clean, painted};
use anstyle::Style;
use anyhow::Result;
use clap::Args;

/// List experiments, the oldest first.
#[derive(Args)]
pub struct List {
    /// Only experiments of this status.
    #[arg(long, value_parser = ["draft", "running", "stopped", "archived"])]
    status: Option<String>,
}

impl List {
    pub async fn run(&self, api: &mut Api, json: bool) -> Result<()> {
        let look = Look { heads, line, empty: "no experiments\n" };
        listing::show(api, "/api/v1/experiments", &[("status", self.status.as_deref())], &look, json).await
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
