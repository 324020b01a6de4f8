//! The command line. Settings (`AB_*`) are flags of every command; exit 0 done, 1 failed, 2 bad usage.

use crate::accounting::Accounting;
use crate::audit::Audit;
use crate::completions::Completions;
use crate::config::Config;
use crate::dead_letters::DeadLetters;
use crate::demo::Demo;
use crate::doctor::Doctor;
use crate::erase_user::EraseUser;
use crate::experiments::Experiments;
use crate::export::Export;
use crate::keys::Keys;
use crate::migrate::Migrate;
use crate::migrate_store::MigrateStore;
use crate::output;
use crate::purge::Purge;
use crate::rebuild::Rebuild;
use crate::replay::Replay;
use crate::results::Results;
use crate::simulate::Simulate;
use crate::top::Top;
use crate::up;
use crate::verify::Verify;
use crate::webhooks::Webhooks;
use crate::workspace::Workspace;
use anyhow::Result;
use backends::OpenError;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use service::boot;
use service::settings::{self, Overview, Refusal, Settings, SettingsError, Tier};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "abctl", version, about = "Operate an abstream deployment")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of tables.
    // Behind a command's own options, however many commands there are: they count in the order, too.
    #[arg(long, global = true, display_order = 900)]
    json: bool,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant)] // one, on the stack of main
enum Command {
    /// Run everything in one process: gateway, worker and analyzer on one port, with nothing else installed.
    ///
    /// Database (SQLite), keys and a lock are in the directory --data. The queue is in memory, and a request is
    /// answered once its events are committed. The first start prints two keys and three calls to try.
    Up,
    Demo(Demo),
    Config(Config),
    Completions(Completions),
    #[command(flatten)]
    Tool(Tool),
}

/// What is done once and ends.
#[derive(Subcommand)]
enum Tool {
    Simulate(Simulate),
    Replay(Replay),
    Accounting(Accounting),
    Verify(Verify),
    Rebuild(Rebuild),
    EraseUser(EraseUser),
    Purge(Purge),
    /// Create, list, show, start, stop and archive experiments.
    #[command(subcommand)]
    Experiments(Experiments),
    /// Show which variation of an experiment does what, and how sure that is.
    Results(Results),
    Export(Export),
    /// Write the definitions of all experiments to a file, and create experiments from one.
    #[command(subcommand)]
    Workspace(Workspace),
    /// List, show, redrive and drop what was accepted and could not be applied.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Have programs of yours told of decisions, alarms and dead letters, and see what became of it.
    #[command(subcommand)]
    Webhooks(Webhooks),
    /// List, issue and revoke keys of the tenant.
    #[command(subcommand)]
    Keys(Keys),
    Audit(Audit),
    /// Show the database's schema, and bring it up to this release's.
    #[command(subcommand)]
    Migrate(Migrate),
    MigrateStore(MigrateStore),
    Doctor(Doctor),
    Top(Top),
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
    match cli.command {
        Command::Up => {
            let settings = settings(Tier::OneProcess, &matches);
            boot::run_loaded(Tier::OneProcess, settings, backends::examine, |boot| up::run(boot, cli.json))
        }
        Command::Demo(demo) => demo.main(cli.json),
        Command::Config(command) => config(&command, &matches, cli.json),
        Command::Completions(completions) => match completions.print(command()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                output::error(&error.to_string());
                ExitCode::FAILURE
            }
        },
        Command::Tool(command) => tool(&command, &matches, cli.json),
    }
}

/// Each command has the settings of its tier as flags, which come after its own options in the help.
pub fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| {
        let flags = match command.get_name() {
            "up" => settings::flags(Tier::OneProcess),
            // Whose process, directory and keys are its own; and who has nothing to do with any.
            "demo" | "completions" => Vec::new(),
            "config" => settings::all_flags(),
            _ => settings::flags(Tier::Tool),
        };
        command.args(flags.into_iter().map(|flag| flag.global(true).help_heading("Settings")))
    })
}

fn settings(tier: Tier, matches: &ArgMatches) -> Result<Settings, SettingsError> {
    Settings::from_matches(tier, boot::environment(), own(matches))
}

/// Those of the command.
fn own(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, own)| own)
}

/// Shown also where the program would refuse them, so that it can be seen why.
fn config(command: &Config, matches: &ArgMatches, json: bool) -> ExitCode {
    let overview = match Overview::of(&command.tiers(), &boot::environment().collect(), own(matches)) {
        Ok(overview) => overview,
        Err(error) => return refuse(&error),
    };
    match (command.show(&overview, json), command.of) {
        (Err(error), _) if !output::is_unread(&error) => {
            output::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
        (_, Some(program)) => match settings(program.tier(), matches) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => refuse(&error),
        },
        (_, None) => ExitCode::SUCCESS,
    }
}

fn refuse(error: &SettingsError) -> ExitCode {
    match error {
        SettingsError::Usage(usage) => print_usage(usage),
        error => {
            output::error(&error.to_string());
            ExitCode::from(2)
        }
    }
}

fn tool(command: &Tool, matches: &ArgMatches, json: bool) -> ExitCode {
    let settings = match settings(Tier::Tool, matches) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    match run(command, &settings, json) {
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
fn run(command: &Tool, settings: &Settings, json: bool) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Tool::Simulate(command) => command.run(settings, json).await,
            Tool::Replay(command) => command.run(settings, json).await,
            Tool::Accounting(command) => command.run(settings, json).await,
            Tool::Verify(command) => command.run(settings, json).await,
            Tool::EraseUser(command) => command.run(settings, json).await,
            Tool::Rebuild(command) => command.run(settings, json).await,
            Tool::Experiments(command) => command.run(settings, json).await.map(|()| true),
            Tool::Results(command) => command.run(settings, json).await.map(|()| true),
            Tool::Export(command) => command.run(settings, json).await.map(|()| true),
            Tool::Workspace(command) => command.run(settings, json).await,
            Tool::DeadLetters(command) => command.run(settings, json).await,
            Tool::Webhooks(command) => command.run(settings, json).await,
            Tool::Keys(command) => command.run(settings, json).await.map(|()| true),
            Tool::Audit(command) => command.run(settings, json).await.map(|()| true),
            Tool::Purge(command) => command.run(settings, json).await,
            Tool::Doctor(command) => command.run(settings, json).await,
            Tool::Top(command) => command.run(settings, json).await.map(|()| true),
            Tool::Migrate(command) => command.run(settings, json).await,
            Tool::MigrateStore(command) => command.run(settings, json).await,
        }
    })
}
