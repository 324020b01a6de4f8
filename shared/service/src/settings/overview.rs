//! All settings as programs would have them, whether or not they would start with them.

use super::error::SettingsError;
use super::spec::SPECS;
use super::tier::Tier;
use super::{Effective, Settings, sources};
use clap::ArgMatches;
use std::collections::{BTreeSet, HashMap};

#[derive(Debug)]
pub struct Overview {
    /// In the order of the table.
    pub settings: Vec<Setting>,
    /// Environment variables that the settings file overrides.
    pub shadowed: BTreeSet<String>,
    /// Names of systems we replace, without effect.
    pub ignored: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    /// The variable that names a file with the value.
    pub file_variable: Option<&'static str>,
    pub doc: &'static str,
    /// Each value, with the programs that have it.
    pub values: Vec<(Vec<Tier>, Effective)>,
}

impl Overview {
    /// Of these programs; `matches` are of a command with [`super::all_flags`].
    pub fn of(
        tiers: &[Tier],
        env: &HashMap<String, String>,
        matches: &ArgMatches,
    ) -> Result<Self, SettingsError> {
        let (mut shadowed, mut ignored) = (BTreeSet::new(), BTreeSet::new());
        let mut settings: Vec<_> = SPECS
            .iter()
            .map(|spec| Setting {
                name: spec.name,
                file_variable: spec.file.map(|(variable, _)| variable),
                doc: spec.doc,
                values: Vec::new(),
            })
            .collect();
        for tier in tiers {
            let of_tier = Settings::build(*tier, sources::merge(*tier, env.clone(), matches)?)?;
            shadowed.extend(of_tier.shadowed);
            ignored.extend(of_tier.ignored);
            for value in of_tier.effective {
                let Some(setting) = settings.iter_mut().find(|s| s.name == value.name) else { continue };
                match setting.values.iter_mut().find(|(_, known)| *known == value) {
                    Some((having, _)) => having.push(*tier),
                    None => setting.values.push((vec![*tier], value)),
                }
            }
        }
        settings.retain(|setting| !setting.values.is_empty());
        Ok(Self { settings, shadowed, ignored })
    }
}
