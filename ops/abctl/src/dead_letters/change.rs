//! `abctl dead-letters redrive` and `drop`, slice by slice.

use super::model::{Ids, Letter, Outcomes};
use super::{Filter, PATH};
use crate::api::{Api, ApiError};
use crate::listing::Page;
use crate::output;
use crate::table::{Align, Cell, Table, clean};
use anyhow::Result;
use clap::Args;
use service::settings::Refusal;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

#[derive(Args)]
pub struct Change {
    /// Ids, as listed.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with_all = ["all", "experiment", "reason", "unknown_tenant"])]
    ids: Vec<i64>,
    /// Every letter that the options below let through.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Do not ask before --all.
    #[arg(long)]
    yes: bool,
}

/// Letters per request: the service sends them within seconds.
const SLICE: usize = 200;
/// Ids shown of letters that it was not done to.
const SHOWN: usize = 10;

impl Change {
    /// Does `action`, which leaves every letter `done`; whether it was done to all.
    pub async fn run(&self, api: &mut Api, action: &str, done: &str, json: bool) -> Result<bool> {
        if self.all && !self.yes && !io::stdin().is_terminal() {
            let reason = format!("there is nobody to ask whether to {action} all: say --yes");
            return Err(Refusal::new("--all", reason).into());
        }
        let ids = if self.all { self.found(api).await? } else { self.ids.clone() };
        if self.all && !self.yes && !ids.is_empty() && !confirmed(action, ids.len())? {
            return Ok(false);
        }
        let mut outcomes = Outcomes::default();
        let ended = change(api, action, &ids, &mut outcomes).await;
        // What was done stays done, whatever came after.
        if json {
            output::json(&outcomes)?;
        } else {
            output::text(&summary(&outcomes, done))?;
        }
        ended?;
        Ok(outcomes.items.iter().all(|item| item.outcome == done))
    }

    /// All of them before the first is touched: a letter that cannot be applied this time either comes again, under
    /// another id.
    async fn found(&self, api: &mut Api) -> Result<Vec<i64>, ApiError> {
        let (mut ids, mut cursor) = (Vec::new(), None);
        loop {
            let page = Page::get(api, PATH, &self.filter.parameters(), cursor.as_deref()).await?;
            for item in page.items {
                ids.push(api.parse::<Letter>(item.get().as_bytes())?.id);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(ids);
            }
        }
    }
}

async fn change(api: &mut Api, action: &str, ids: &[i64], outcomes: &mut Outcomes) -> Result<()> {
    for ids in ids.chunks(SLICE) {
        let answer = api.post(&format!("{PATH}/{action}"), serde_json::to_vec(&Ids { ids })?).await?;
        outcomes.items.extend(api.read::<Outcomes>(&answer)?.items);
    }
    Ok(())
}

fn confirmed(action: &str, letters: usize) -> io::Result<bool> {
    write!(io::stderr(), "{action} {letters} dead letters? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}

fn summary(outcomes: &Outcomes, done: &str) -> String {
    let mut ids: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for item in &outcomes.items {
        ids.entry(&item.outcome).or_default().push(item.id);
    }
    if ids.is_empty() {
        return "no dead letters\n".into();
    }
    let mut table = Table::new([("outcome", Align::Left), ("letters", Align::Right), ("ids", Align::Left)]);
    for (outcome, ids) in ids {
        let mut shown: Vec<String> = ids.iter().take(SHOWN).map(i64::to_string).collect();
        if ids.len() > SHOWN {
            shown.push("..".into());
        }
        let shown = if outcome == done { String::new() } else { shown.join(", ") };
        table.row([clean(outcome), ids.len().to_string(), shown].map(Cell::from));
    }
    table.render(0)
}
