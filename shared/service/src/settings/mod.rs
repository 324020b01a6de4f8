//! Settings: every one is an `AB_` variable, a flag, and a key of the YAML file named by `AB_CONFIG`.
//!
//! Flags win over the file, the file over the environment, the environment over defaults. `*_FILE` variants read a
//! secret from a file. An unknown name refuses to start; a name of another tier is accepted, so one environment and one
//! file can serve all tiers. [`Settings::load`] takes environment and arguments as values, so tests need no process.

mod budgets;
mod error;
mod file;
mod groups;
mod otlp;
mod overview;
mod production;
mod rates;
mod sdk_values;
mod secret;
mod setting;
mod sources;
mod spec;
mod tier;
mod value;

pub use budgets::{BUDGET_CLASSES, Budgets};
pub use error::{Refusal, SettingsError};
pub use groups::{
    Auth, Client, Database, Http, Ingest, Lifecycle, LogFormat, Queue, Retention, Telemetry, Webhooks, Worker,
};
pub use otlp::Otlp;
pub use overview::{Overview, Setting};
pub use rates::{Rate, Rates};
pub use sdk_values::{SdkValue, SdkValues};
pub use secret::{Secret, ServiceUrl, mask_url};
pub use sources::{Source, all_flags, flags};
pub use tier::Tier;
pub use value::parse_duration;

use clap::{ArgMatches, Command};
use groups::Values;
use sources::Merged;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// All settings of a tier, checked one by one and against each other.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    pub tier: Tier,
    /// `AB_ENV`.
    pub environment: String,
    pub http: Http,
    pub auth: Auth,
    /// `AB_DATA`.
    pub data: Option<PathBuf>,
    pub database: Database,
    pub queue: Queue,
    pub ingest: Ingest,
    pub worker: Worker,
    pub webhooks: Webhooks,
    pub retention: Retention,
    pub telemetry: Telemetry,
    pub lifecycle: Lifecycle,
    pub client: Client,
    /// `--check-config`: print and exit.
    pub check_only: bool,
    /// `--check-health`: ask whoever runs with these settings, and exit.
    pub check_health: bool,
    effective: Vec<Effective>,
    shadowed: Vec<String>,
    ignored: Vec<String>,
}

/// A setting in force: `AB_PORT=8008 (default)`. Secrets are hidden, passwords in addresses masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    pub name: &'static str,
    /// `None`: unset.
    pub shown: Option<String>,
    pub source: Source,
    /// What the value was read from, for `*_FILE` variants.
    pub file: Option<PathBuf>,
    pub doc: &'static str,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shown {
            Some(shown) => write!(f, "{}={shown} ({}", self.name, self.source)?,
            None => write!(f, "{} unset ({}", self.name, self.source)?,
        }
        match &self.file {
            Some(file) => write!(f, ", from {})", file.display()),
            None => f.write_str(")"),
        }
    }
}

impl Settings {
    /// Reads the settings of `tier`; `args` begins with the program's name.
    pub fn load(
        tier: Tier,
        env: impl IntoIterator<Item = (String, String)>,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, SettingsError> {
        let command = Command::new(tier.name()).version(env!("CARGO_PKG_VERSION")).args(flags(tier));
        Self::from_matches(tier, env, &command.try_get_matches_from(args)?)
    }

    /// The same from a command of the caller's own, to which [`flags`] were added.
    pub fn from_matches(
        tier: Tier,
        env: impl IntoIterator<Item = (String, String)>,
        matches: &ArgMatches,
    ) -> Result<Self, SettingsError> {
        let env: HashMap<String, String> = env.into_iter().collect();
        let mut settings = Self::build(tier, sources::merge(tier, env, matches)?)?;
        settings.check_only = sources::is_set(matches, sources::CHECK_ONLY);
        settings.check_health = sources::is_set(matches, sources::CHECK_HEALTH);
        production::check(&settings)?;
        Ok(settings)
    }

    /// Exactly these variables, no flags.
    pub fn for_testing(tier: Tier, env: &[(&str, &str)]) -> Result<Self, SettingsError> {
        let env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Self::load(tier, env, [OsString::from(tier.name())])
    }

    fn build(tier: Tier, mut merged: Merged) -> Result<Self, Refusal> {
        let environment = merged.found.get("AB_ENV").and_then(|found| found.text.clone()).unwrap_or_default();
        if production::is_production(&environment) {
            drop_local_origins(&mut merged);
        }
        let others = spec::SPECS.iter().filter(|spec| !spec.read_by(tier));
        let defaults = others
            .map(|spec| (spec.name, spec.default_for(tier).and_then(|text| spec.kind.parse(text).ok())));
        let values = Values::parse(&merged, defaults)?;
        let keys_file = merged.found.get("AB_API_KEYS").and_then(|found| found.file.clone());
        let ingest = Ingest::build(&values)?;
        Ok(Self {
            tier,
            environment,
            http: Http::build(&values)?,
            auth: Auth::build(&values, keys_file),
            data: values.text("AB_DATA").map(PathBuf::from),
            database: Database::build(&values)?,
            queue: Queue::build(&values)?,
            worker: Worker::build(&values)?,
            webhooks: Webhooks::build(&values)?,
            retention: Retention::build(&values)?,
            telemetry: Telemetry::build(&values)?,
            lifecycle: Lifecycle::build(&values, &ingest)?,
            client: Client::build(&values),
            ingest,
            check_only: false,
            check_health: false,
            effective: spec::SPECS.iter().filter_map(|spec| merged.found.get(spec.name)).map(show).collect(),
            shadowed: merged.shadowed,
            ignored: merged.ignored,
        })
    }

    /// True for `AB_ENV=production` and `prod`.
    pub fn is_production(&self) -> bool {
        production::is_production(&self.environment)
    }

    /// `AB_PARTITIONS`, or the refusal that names it; unset for tools only.
    pub fn partitions(&self) -> Result<u16, Refusal> {
        self.queue.partitions.ok_or_else(|| Refusal::new("AB_PARTITIONS", "must be set"))
    }

    /// `AB_REDIS_URL`, or the refusal that names it.
    pub fn redis_url(&self) -> Result<&ServiceUrl, Refusal> {
        self.queue
            .redis_url
            .as_ref()
            .ok_or_else(|| Refusal::new("AB_REDIS_URL", "must be set: there is no queue without it"))
    }

    /// `AB_DATABASE_URL`, or the refusal that names it.
    pub fn database_url(&self) -> Result<&ServiceUrl, Refusal> {
        self.database.url.as_ref().ok_or_else(|| {
            Refusal::new(
                "AB_DATABASE_URL",
                "must be set: there is no store without it (AB_DATA for the one of abctl up)",
            )
        })
    }

    /// The settings in force, in the order of the table.
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// Environment variables the settings file overrides.
    pub fn shadowed(&self) -> &[String] {
        &self.shadowed
    }

    /// Names of systems we replace, without effect.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }
}

/// The default origins are for a developer's machine only.
fn drop_local_origins(merged: &mut Merged) {
    if let Some(found) =
        merged.found.get_mut("AB_CORS_ORIGINS").filter(|found| found.source == Source::Default)
    {
        found.text = None;
    }
}

fn show(found: &sources::Found) -> Effective {
    let shown = found.text.as_ref().map(|text| match found.spec.name {
        "AB_DATABASE_URL" | "AB_REDIS_URL" | "AB_URL" | "AB_RESULTS_URL" | "AB_OTLP_ENDPOINT" => {
            mask_url(text)
        }
        _ if found.spec.secret => "***".into(),
        _ => text.clone(),
    });
    let (source, file) = (found.source, found.file.clone());
    Effective { name: found.spec.name, shown, source, file, doc: found.spec.doc }
}
