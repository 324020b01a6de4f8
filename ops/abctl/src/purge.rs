//! `abctl purge`: what is older than it is kept is deleted, or counted, over HTTP.

use crate::api::Api;
use crate::cli::duration;
use crate::client::Answer;
use crate::output;
use crate::table::{Align, Cell, Table, clean};
use anyhow::Result;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde::Deserialize;
use service::settings::Settings;
use std::time::{Duration, Instant};

/// Delete what is older than it is kept, of all tenants, or count it; exit 1 if it takes too long.
///
/// Conversions that an experiment counts stay, whatever their age: those that name an experiment, and those of its users,
/// until it has been put away (archived) for as long. Purging the rows of an
/// experiment that is put away freezes its answers: it cannot be restored, rebuilt or verified any more. Days that are
/// not given are those of AB_RETENTION_*, unless any is given. Needs an operator's key.
#[derive(Args)]
pub struct Purge {
    /// Keep conversions for so many days.
    #[arg(long, value_name = "DAYS", value_parser = days())]
    conversions_days: Option<u32>,
    /// Keep dead letters for so many days.
    #[arg(long, value_name = "DAYS", value_parser = days())]
    dead_letters_days: Option<u32>,
    /// Keep entries of the audit log for so many days.
    #[arg(long, value_name = "DAYS", value_parser = days())]
    audit_days: Option<u32>,
    /// Count what would go, and delete nothing.
    #[arg(long)]
    dry_run: bool,
    /// Wait this long until it is done; the workers go on all the same.
    #[arg(long, default_value = "10m", value_parser = duration)]
    wait: Duration,
}

const PATH: &str = "/api/v1/admin/retention/purge";
/// Between two looks while waiting; workers take a step every second.
const POLL_EVERY: Duration = Duration::from_millis(500);

fn days() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=36_600)
}

#[derive(Deserialize)]
struct State {
    conversions: Option<Of>,
    dead_letters: Option<Of>,
    audit: Option<Of>,
    done_partitions: u16,
    partitions: u16,
    done: bool,
}

#[derive(Deserialize)]
struct Of {
    before: String,
    rows: u64,
}

impl Purge {
    /// Whether it is done.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let mut api = Api::of(settings)?;
        let Purge { conversions_days, dead_letters_days, audit_days, dry_run, wait } = self;
        let body = serde_json::json!({
            "conversions_days": conversions_days, "dead_letters_days": dead_letters_days,
            "audit_days": audit_days, "dry_run": dry_run,
        });
        let mut answer = api.post(PATH, body.to_string()).await?;
        let deadline = Instant::now() + *wait;
        let mut state: State = api.read(&answer)?;
        while !state.done && Instant::now() < deadline {
            tokio::time::sleep(POLL_EVERY).await;
            answer = api.get(&format!("{PATH}?dry_run={dry_run}")).await?;
            state = api.read(&answer)?;
        }
        self.show(&answer, &state, json)?;
        Ok(state.done)
    }

    fn show(&self, answer: &Answer, state: &State, json: bool) -> Result<()> {
        if json {
            return Ok(output::untouched(&answer.body)?);
        }
        let rows = if self.dry_run { "would go" } else { "deleted" };
        let mut table =
            Table::new([("kind", Align::Left), ("of days before", Align::Left), (rows, Align::Right)]);
        let kinds = [
            ("conversions", &state.conversions),
            ("dead letters", &state.dead_letters),
            ("audit entries", &state.audit),
        ];
        for (kind, of) in kinds {
            let cells = match of {
                Some(of) => [kind.into(), clean(&of.before), of.rows.to_string()],
                None => [kind.into(), "kept".into(), String::new()],
            };
            table.row(cells.map(Cell::from));
        }
        let State { done_partitions, partitions, .. } = state;
        let purge = if self.dry_run { "purge, dry run" } else { "purge" };
        let end = match state.done {
            true => format!("{purge}: done\n"),
            false => format!("{purge}: {done_partitions} of {partitions} partitions are done\n"),
        };
        Ok(output::text(&format!("{}{end}", table.render(0)))?)
    }
}
