//! Where values come from, and which one wins: flag, settings file, environment (ours before others'), default.

use super::error::{Refusal, SettingsError};
use super::file;
use super::setting::{Preset, Spec};
use super::spec::{REPLACED, SPECS};
use super::tier::Tier;
use clap::{Arg, ArgAction, ArgMatches};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Flag,
    File,
    Environment,
    /// A variable that is not ours, as `PORT` of hosting platforms.
    Foreign(&'static str),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Flag => "flag",
            Source::File => "settings file",
            Source::Environment => "environment",
            Source::Foreign(name) => name,
            Source::Default => "default",
        })
    }
}

/// The text of one setting before it is parsed.
#[derive(Debug, Clone)]
pub struct Found {
    pub spec: &'static Spec,
    pub text: Option<String>,
    pub source: Source,
    /// The file the value was read from, for `*_FILE` variants.
    pub file: Option<PathBuf>,
}

/// All settings as found, and what the start should log about them.
#[derive(Debug, Default)]
pub struct Merged {
    pub found: BTreeMap<&'static str, Found>,
    /// Environment variables the settings file overrides.
    pub shadowed: Vec<String>,
    /// Names of systems we replace, without effect.
    pub ignored: Vec<String>,
}

/// Variables of hosting platforms, honoured when ours is unset.
const PLATFORM: [(&str, &str); 1] = [("AB_PORT", "PORT")];
/// The same of OpenTelemetry. A cluster may set them for everybody: a program without the feature leaves them alone.
const OPEN_TELEMETRY: [(&str, &str); 4] = [
    ("AB_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ("AB_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"),
    ("AB_OTLP_RATIO", "OTEL_TRACES_SAMPLER_ARG"),
    ("AB_OTLP_SERVICE", "OTEL_SERVICE_NAME"),
];

/// The flags that servers have besides those of their settings.
pub const CHECKS: [(&str, &str); 2] = [
    (CHECK_ONLY, "check the settings, print them, exit 0 or 2"),
    (CHECK_HEALTH, "ask the server that runs with these settings for its health, exit 0 or 1"),
];
pub const CHECK_ONLY: &str = "check-config";
pub const CHECK_HEALTH: &str = "check-health";

/// Flags of a tier, one for each setting it reads, to be added to its command; of a server, [`CHECKS`] too.
pub fn flags(tier: Tier) -> Vec<Arg> {
    let check = |(name, help)| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    SPECS
        .iter()
        .filter(|spec| spec.read_by(tier))
        .flat_map(|spec| flags_of(spec, spec.default_for(tier)))
        .chain(CHECKS.into_iter().filter(|_| tier.serves()).map(check))
        .collect()
}

/// Flags of all settings, for a command that looks at them as every program would.
pub fn all_flags() -> Vec<Arg> {
    let default = |spec: &Spec| match spec.default {
        Preset::Same(text) => Some(text),
        Preset::Unset | Preset::PerTier(_) => None,
    };
    SPECS.iter().flat_map(|spec| flags_of(spec, default(spec))).collect()
}

fn flags_of(spec: &'static Spec, default: Option<&str>) -> impl Iterator<Item = Arg> + use<> {
    let flag = |id, long, help: String| Arg::new(id).long(long).help(help).value_name("VALUE");
    let default = default.map(|text| format!(", default {text}")).unwrap_or_default();
    let plain = flag(spec.name, spec.flag, format!("{} [{}{default}]", spec.doc, spec.name));
    let file = spec.file.map(|(id, long)| flag(id, long, format!("file that holds it [{id}]")));
    std::iter::once(plain).chain(file)
}

/// Whether a switch is in the command, and given.
pub fn is_set(matches: &ArgMatches, switch: &str) -> bool {
    matches.try_get_one::<bool>(switch).is_ok_and(|set| set == Some(&true))
}

/// Text of the settings by name, or `NAME_FILE`, as one source gives it. Empty text means unset.
pub type Names = HashMap<String, String>;

pub fn merge(
    tier: Tier,
    env: HashMap<String, String>,
    matches: &ArgMatches,
) -> Result<Merged, SettingsError> {
    let mut merged = Merged::default();
    let given = from_flags(tier, matches);
    let config = given.get("AB_CONFIG").or_else(|| env.get("AB_CONFIG")).filter(|path| !path.is_empty());
    let file = match config {
        Some(path) => file::read(Path::new(path), &env, &mut merged.ignored)?,
        None => Names::new(),
    };
    let environment = from_environment(&env, &mut merged.ignored)?;
    for spec in SPECS.iter().filter(|spec| spec.read_by(tier)) {
        let flag = look_up(spec, &given, Source::Flag)?;
        let in_file = look_up(spec, &file, Source::File)?;
        let variable = look_up(spec, &environment, Source::Environment)?;
        let foreign = foreign(spec, &env);
        if in_file.is_some() {
            let set = names_of(spec).filter(|name| environment.contains_key(*name));
            merged.shadowed.extend(set.map(str::to_owned));
            merged.shadowed.extend(foreign.as_ref().map(|found| found.source.to_string()));
        }
        let found = flag.or(in_file).or(variable).or(foreign).unwrap_or_else(|| Found {
            spec,
            text: spec.default_for(tier).map(str::to_owned),
            source: Source::Default,
            file: None,
        });
        merged.found.insert(spec.name, found);
    }
    Ok(merged)
}

fn names_of(spec: &Spec) -> impl Iterator<Item = &'static str> {
    std::iter::once(spec.name).chain(spec.file.map(|(name, _)| name))
}

pub fn spec_named(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| names_of(spec).any(|known| known == name))
}

fn look_up(spec: &'static Spec, names: &Names, source: Source) -> Result<Option<Found>, SettingsError> {
    let plain = names.get(spec.name);
    let by_file = spec.file.and_then(|(name, _)| names.get(name).map(|path| (name, path)));
    match (plain, by_file) {
        (Some(_), Some((name, _))) => {
            Err(Refusal::new(spec.name, format!("is given twice by the {source}, also as {name}")).into())
        }
        (Some(text), None) => {
            let text = (!text.is_empty()).then(|| text.clone());
            Ok(Some(Found { spec, text, source, file: None }))
        }
        (None, Some((_, path))) if path.is_empty() => {
            Ok(Some(Found { spec, text: None, source, file: None }))
        }
        (None, Some((name, path))) => {
            let path = PathBuf::from(path);
            let text = read_text(name, &path)?;
            Ok(Some(Found {
                spec,
                text: Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                source,
                file: Some(path),
            }))
        }
        (None, None) => Ok(None),
    }
}

/// The same, from a variable that is not ours.
fn foreign(spec: &'static Spec, env: &HashMap<String, String>) -> Option<Found> {
    let telemetry = OPEN_TELEMETRY.iter().filter(|_| cfg!(feature = "otlp"));
    let (_, name) = *PLATFORM.iter().chain(telemetry).find(|(ours, _)| *ours == spec.name)?;
    let text = env.get(name).filter(|text| !text.is_empty())?;
    Some(Found { spec, text: Some(text.clone()), source: Source::Foreign(name), file: None })
}

fn from_flags(tier: Tier, matches: &ArgMatches) -> Names {
    SPECS
        .iter()
        .filter(|spec| spec.read_by(tier))
        .flat_map(names_of)
        .filter_map(|name| matches.get_one::<String>(name).map(|text| (name.to_owned(), text.clone())))
        .collect()
}

/// Variables `AB_*`. Container files pass unset variables as empty ones, so empty ones are left out.
fn from_environment(
    env: &HashMap<String, String>,
    ignored: &mut Vec<String>,
) -> Result<Names, SettingsError> {
    let mut names = Names::new();
    for (name, text) in env.iter().filter(|(name, _)| name.starts_with("AB_")) {
        if REPLACED.iter().any(|prefix| name.starts_with(prefix)) {
            ignored.push(name.clone());
        } else if spec_named(name).is_none() {
            return Err(Refusal::new(name.as_str(), "is not a known setting").into());
        } else if !text.is_empty() {
            names.insert(name.clone(), text.clone());
        }
    }
    ignored.sort();
    Ok(names)
}

pub fn read_text(variable: &str, path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        variable: variable.to_owned(),
        path: path.to_owned(),
        source,
    })
}
