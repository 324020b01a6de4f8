//! `abctl doctor`: before a deployment starts, and when one is ill, everything that abstream needs of its surroundings is
//! looked at, and what is not as it must be comes with what to do about it. Nothing is changed: the one write is rolled
//! back.

pub mod check;
pub mod clock;
mod deployment;
mod disk;
mod postgres;
mod redis;

use crate::output;
use crate::table::{Align, Cell, Table, clean};
use anstyle::AnsiColor;
use anyhow::Result;
use check::{Check, State};
use clap::Args;
use clock::Clocks;
use service::settings::Settings;

/// Look at everything a deployment needs, and say what to do where something is wrong; exit 1 if anything is.
///
/// PostgreSQL, Redis, their settings and clocks, schema, partitions, permissions, backlog, owners, and disks where they
/// can be seen from here. Run it with the settings of the deployment, on one of its machines.
#[derive(Args)]
pub struct Doctor {}

#[derive(serde::Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
}

impl Doctor {
    /// Whether nothing fails.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let mut checks = Vec::new();
        let mut clocks = Clocks::default();
        if settings.database.url.is_some() || settings.data.is_none() {
            postgres::look(settings.database_url()?, &mut checks, &mut clocks).await;
            redis::look(settings, &mut checks, &mut clocks).await?;
        }
        deployment::look(settings, &mut checks).await;
        clocks.compare(&mut checks)?;
        let healthy = checks.iter().all(|check| check.state != State::Fail);
        let report = Report { healthy, checks };
        if json {
            output::json(&report)?;
        } else {
            output::text(&shown(&report))?;
        }
        Ok(healthy)
    }
}

fn shown(report: &Report) -> String {
    let columns = [("", Align::Left), ("check", Align::Left), ("found", Align::Left), ("do", Align::Left)];
    let mut table = Table::new(columns);
    for check in &report.checks {
        let (word, colour) = match check.state {
            State::Ok => ("ok", AnsiColor::Green),
            State::Warn => ("warn", AnsiColor::Yellow),
            State::Fail => ("FAIL", AnsiColor::Red),
        };
        let advice = check.advice.as_deref().unwrap_or_default();
        table.row([
            Cell::from(word).styled(colour.on_default()),
            Cell::from(check.name),
            Cell::from(clean(&check.found)),
            Cell::from(clean(advice)),
        ]);
    }
    let count = |state| report.checks.iter().filter(|check| check.state == state).count();
    let (fail, warn, ok) = (count(State::Fail), count(State::Warn), count(State::Ok));
    format!("{}doctor: {fail} failed, {warn} warnings, {ok} fine\n", table.render(0))
}
