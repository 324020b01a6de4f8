//! `abctl config`: what is in force, and who said so.

use crate::output;
use crate::table::{Align, Cell, Table};
use anstyle::Style;
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::json;
use service::settings::{Effective, Overview, Setting, Tier};

/// Show the settings in force and where each comes from, secrets hidden.
///
/// Takes every setting of every program as a flag. A setting of which programs have different values has a row for each
/// of them. Looks at nothing but the settings: `--check-config` of a program also asks its stores.
#[derive(Args)]
pub struct Config {
    /// Only of this program; exit 2 if it would not start with them.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub of: Option<Program>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Program {
    Gateway,
    Worker,
    Analyzer,
    /// `abctl up`.
    Up,
    /// All other commands of abctl.
    Tools,
}

impl Program {
    pub fn tier(self) -> Tier {
        match self {
            Program::Gateway => Tier::Gateway,
            Program::Worker => Tier::Worker,
            Program::Analyzer => Tier::Analyzer,
            Program::Up => Tier::OneProcess,
            Program::Tools => Tier::Tool,
        }
    }

    fn name(tier: Tier) -> &'static str {
        match tier {
            Tier::Gateway => "gateway",
            Tier::Worker => "worker",
            Tier::Analyzer => "analyzer",
            Tier::OneProcess => "up",
            Tier::Tool => "tools",
        }
    }
}

impl Config {
    pub fn tiers(&self) -> Vec<Tier> {
        match self.of {
            Some(program) => vec![program.tier()],
            None => Program::value_variants().iter().map(|program| program.tier()).collect(),
        }
    }

    pub fn show(&self, overview: &Overview, json: bool) -> Result<()> {
        if json {
            output::json(&as_json(overview))?;
        } else {
            output::text(&self.table(overview))?;
        }
        for name in &overview.shadowed {
            output::error(&format!("{name} has no effect: the settings file speaks of it"));
        }
        for name in &overview.ignored {
            output::error(&format!("{name} is ignored: it is of a replaced system"));
        }
        Ok(())
    }

    fn table(&self, overview: &Overview) -> String {
        let mut table =
            Table::new([("setting", Align::Left), ("value", Align::Left), ("source", Align::Left)]);
        if self.of.is_none() {
            table.column("read by", Align::Left);
        }
        for (setting, tiers, value) in rows(overview) {
            let shown = match &value.shown {
                Some(shown) => Cell::from(shown.as_str()),
                None => Cell::from("unset").styled(Style::new().dimmed()),
            };
            let source = match &value.file {
                Some(file) => format!("{}, from {}", value.source, file.display()),
                None => value.source.to_string(),
            };
            let cells = [setting.name.into(), shown, source.into()];
            let programs = match self.of {
                Some(_) => None,
                None if tiers.len() == Program::value_variants().len() => Some("all".into()),
                None => Some(names(tiers).join(", ").into()),
            };
            table.row(cells.into_iter().chain(programs));
        }
        table.render(0)
    }
}

fn rows(overview: &Overview) -> impl Iterator<Item = (&Setting, &[Tier], &Effective)> {
    overview.settings.iter().flat_map(|setting| {
        setting.values.iter().map(move |(tiers, value)| (setting, tiers.as_slice(), value))
    })
}

fn names(tiers: &[Tier]) -> Vec<&'static str> {
    tiers.iter().map(|tier| Program::name(*tier)).collect()
}

fn as_json(overview: &Overview) -> serde_json::Value {
    let settings: Vec<_> = rows(overview)
        .map(|(setting, tiers, value)| {
            json!({
                "name": setting.name,
                "value": value.shown,
                "source": value.source.to_string(),
                "file": value.file,
                "read_by": names(tiers),
                "meaning": setting.doc,
            })
        })
        .collect();
    json!({ "settings": settings, "shadowed": overview.shadowed, "ignored": overview.ignored })
}
