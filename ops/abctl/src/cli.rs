//! The command line. Settings (`AB_*`) are flags of every command; exit 0 done, 1 failed, 2 bad usage.

use crate::accounting::Accounting;
use crate::experiments::Experiments;
use crate::output;
use crate::results::Results;
use crate::simulate::Simulate;
use crate::verify::Verify;
use anyhow::Result;
use backends::OpenError;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use service::settings::{self, Refusal, Settings, SettingsError, Tier};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "abctl", version, about = "Operate an abstream deployment")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Simulate(Simulate),
    Accounting(Accounting),
    Verify(Verify),
    /// Create, list, show, start, stop and archive experiments.
    #[command(subcommand)]
    Experiments(Experiments),
    /// Show which variation of an experiment does what, and how sure that is.
    Results(Results),
}

pub fn duration(text: &str) -> Result<Duration, String> {
    settings::parse_duration(text).ok_or_else(|| "a duration such as 500ms, 60s, 5m".into())
}

pub fn main() -> ExitCode {
    let parsed =
        command().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(usage) => return print_usage(&usage),
    };
    tool(&cli, &matches)
}

/// Each command has the settings of its tier as flags, which come after its own options in the help.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        let flags = settings::flags(Tier::Tool);
        command.args(flags.into_iter().map(|flag| flag.global(true).help_heading("Settings")))
    })
}

fn settings(tier: Tier, matches: &ArgMatches) -> Result<Settings, SettingsError> {
    let env = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    let own = matches.subcommand().map_or(matches, |(_, own)| own);
    Settings::from_matches(tier, env, own)
}

fn tool(cli: &Cli, matches: &ArgMatches) -> ExitCode {
    let settings = match settings(Tier::Tool, matches) {
        Ok(settings) => settings,
        Err(SettingsError::Usage(usage)) => return print_usage(&usage),
        Err(error) => {
            output::error(&error.to_string());
            return ExitCode::from(2);
        }
    };
    match run(cli, &settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if output::is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&format!("{error:#}"));
            if is_usage(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Whether the caller has to change something.
fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<Refusal>() || matches!(error.downcast_ref(), Some(OpenError::Refused(_)))
}

fn print_usage(usage: &clap::Error) -> ExitCode {
    let code = u8::try_from(usage.exit_code()).unwrap_or(2);
    usage.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code))
}

/// Whether all is as it should be.
fn run(cli: &Cli, settings: &Settings) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match &cli.command {
            Command::Simulate(command) => command.run(settings, cli.json).await,
            Command::Accounting(command) => command.run(settings, cli.json).await,
            Command::Verify(command) => command.run(settings, cli.json).await,
            Command::Experiments(command) => command.run(settings, cli.json).await.map(|()| true),
            Command::Results(command) => command.run(settings, cli.json).await.map(|()| true),
        }
    })
}
