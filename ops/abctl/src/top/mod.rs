//! `abctl top`: what flows through a deployment now, over HTTP: two looks at its books, and what is between them.

mod look;
mod screen;

use crate::api::Api;
use crate::cli::duration;
use crate::output;
use anyhow::Result;
use clap::Args;
use look::{Look, Looker};
use service::settings::Settings;
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Show what flows through a deployment, what waits and how long, until it is interrupted.
///
/// Rates are of the time between two looks. An operator's key sees all partitions; others see what became of the events
/// of their own tenant. On a terminal the page is drawn anew, elsewhere one follows the other.
#[derive(Args)]
pub struct Top {
    /// Between two looks.
    #[arg(long, default_value = "2s", value_parser = every)]
    every: Duration,
    /// Show one page, of two looks, and end.
    #[arg(long)]
    once: bool,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = duration(text)?;
    let in_range = (Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&every);
    if in_range { Ok(every) } else { Err("from 100ms to 1h".into()) }
}

impl Top {
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<()> {
        let mut looker = Looker::new(Api::of(settings)?);
        // Who asks for what cannot be had is told so at once.
        let mut before = looker.look().await?;
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            }
            match looker.look().await {
                Ok(now) => {
                    self.show(&before, &now, json)?;
                    before = now;
                }
                Err(error) if self.once => return Err(error),
                // A service that is away is what one looks at this for.
                Err(error) => output::error(&format!("{error:#}")),
            }
            if self.once {
                return Ok(());
            }
        }
    }

    fn show(&self, before: &Look, now: &Look, json: bool) -> io::Result<()> {
        let flow = now.since(before);
        if json {
            return output::json(&flow);
        }
        let page = screen::page(&flow);
        output::text(&match (self.once, io::stdout().is_terminal()) {
            (true, _) => page,
            (false, true) => format!("{}{page}", screen::CLEAR),
            (false, false) => format!("{page}\n"),
        })
    }
}
