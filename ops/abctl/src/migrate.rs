//! `abctl migrate`: the database's schema, shown and brought up to this release's.
//!
//! Workers and analyzers migrate when they start. This is for whoever wants it done before, by a role that may.

use crate::output;
use crate::table::{Align, Cell, Table};
use crate::up::Directory;
use anyhow::Result;
use clap::Subcommand;
use service::settings::Settings;
use store::Migration;

#[derive(Subcommand)]
pub enum Migrate {
    /// Show which migrations the database has; exit 1 if it lacks any, or has some that this release does not know.
    Status,
    /// Apply the migrations that the database lacks.
    Up,
}

#[derive(serde::Serialize)]
struct Schema {
    /// The last migration the database has; 0 = none.
    version: i32,
    /// What this release needs.
    wanted: i32,
    migrations: Vec<Migration>,
}

impl Migrate {
    /// Whether the schema is this release's.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let store = match self {
            Migrate::Status => backends::reach_store(settings).await?,
            Migrate::Up => {
                // Nobody writes to a file while it is held.
                let file = settings.data.as_deref().filter(|_| settings.database.url.is_none());
                let _held = file.map(Directory::hold).transpose()?;
                let store = backends::reach_store_to_write(settings).await?;
                backends::migrate(settings, &*store).await?;
                store
            }
        };
        let migrations = backends::schema(settings, &*store).await?;
        let version =
            |of: fn(&&Migration) -> bool| migrations.iter().filter(of).map(|m| m.version).max().unwrap_or(0);
        let (found, wanted) = (version(|m| m.applied_at.is_some()), version(|m| m.known));
        let equal = migrations.iter().all(|m| m.known && m.applied_at.is_some());
        if json {
            output::json(&Schema { version: found, wanted, migrations })?;
        } else {
            output::text(&shown(&migrations, found, wanted, equal))?;
        }
        Ok(equal)
    }
}

fn shown(migrations: &[Migration], found: i32, wanted: i32, equal: bool) -> String {
    let mut table =
        Table::new([("version", Align::Right), ("migration", Align::Left), ("applied", Align::Left)]);
    for m in migrations {
        let applied = match &m.applied_at {
            Some(at) if m.known => at.clone(),
            Some(at) => format!("{at}, unknown to this release"),
            None => "no".into(),
        };
        table.row([m.version.to_string(), m.name.clone(), applied].map(Cell::from));
    }
    let end =
        if equal { "this release's" } else { "NOT this release's: `abctl migrate up`, or another release" };
    format!("{}schema: version {found}, {wanted} wanted: {end}\n", table.render(0))
}
