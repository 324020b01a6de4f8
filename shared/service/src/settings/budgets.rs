use super::value::parse_duration;
use crate::auth::is_tenant;
use std::time::Duration;

/// What a gateway does with a request that brings events, whichever route it came by.
const INGEST: &str = "ingest";
/// Classes of routes that can have a budget: the gateway's one, and the analyzer's values of the metrics label `route`.
pub const BUDGET_CLASSES: &[&str] = &[
    INGEST,
    "accounting",
    "assign",
    "audit",
    "batches",
    "dead-letters",
    "decision",
    "diagnostics",
    "erase",
    "experiments",
    "export",
    "ingestion",
    "keys",
    "live-stats",
    "purge",
    "stats",
    "stream",
    "timeseries",
    "users",
    "workspace",
];
/// Of classes that are not spoken of.
const DEFAULTS: &[(&str, Duration)] = &[(INGEST, INGEST_BUDGET), ("live-stats", Duration::from_secs(5))];
const INGEST_BUDGET: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3_600);
const FORM: &str = "must read class=5s or class:tenant/experiment=5s";

/// `AB_SLA_TIMEOUTS`: how long an answer may take, by class of route, and otherwise for some experiments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budgets {
    classes: Vec<(&'static str, Duration)>,
    experiments: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    class: &'static str,
    tenant: String,
    /// As it stands in the path: a key or a number.
    experiment: String,
    budget: Duration,
}

impl Budgets {
    /// `class=5s` and `class:tenant/experiment=500ms`, separated by `;` or line ends. Lines that begin with `#` are
    /// comments.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut budgets = Self::default();
        let entries = text
            .split([';', '\n'])
            .map(str::trim)
            .filter(|entry| !entry.is_empty() && !entry.starts_with('#'));
        for (number, entry) in entries.enumerate() {
            budgets.add(entry).map_err(|reason| format!("entry {}: {reason}", number + 1))?;
        }
        let unsaid = |class| !budgets.classes.iter().any(|(said, _)| *said == class);
        let defaults: Vec<_> = DEFAULTS.iter().copied().filter(|(class, _)| unsaid(*class)).collect();
        budgets.classes.extend(defaults);
        Ok(budgets)
    }

    fn add(&mut self, entry: &str) -> Result<(), String> {
        let (whose, budget) = entry.split_once('=').ok_or(FORM)?;
        let budget = parse_duration(budget.trim()).filter(|budget| !budget.is_zero() && *budget <= LONGEST);
        let budget = budget.ok_or("a budget is 1ms to 1h, with its unit")?;
        let (class, experiment) = match whose.trim().split_once(':') {
            None => (whose.trim(), None),
            Some((class, experiment)) => (class, Some(experiment.split_once('/').ok_or(FORM)?)),
        };
        let class = BUDGET_CLASSES.iter().find(|known| **known == class);
        let class = *class.ok_or_else(|| format!("the classes are {}", BUDGET_CLASSES.join(", ")))?;
        let twice = match experiment {
            None => {
                let twice = self.classes.iter().any(|(known, _)| *known == class);
                self.classes.push((class, budget));
                twice
            }
            Some((tenant, experiment)) => {
                if !is_tenant(tenant) || experiment.is_empty() {
                    return Err(FORM.to_owned());
                }
                let twice = self.exception(class, tenant, experiment).is_some();
                let (tenant, experiment) = (tenant.to_owned(), experiment.to_owned());
                self.experiments.push(Exception { class, tenant, experiment, budget });
                twice
            }
        };
        if twice { Err("there is an entry for this already".to_owned()) } else { Ok(()) }
    }

    /// Of a request that brings events.
    pub fn ingest(&self, tenant: &str, experiment: Option<&str>) -> Duration {
        self.of(INGEST, tenant, experiment).unwrap_or(INGEST_BUDGET)
    }

    /// `None`: as long as it takes.
    pub fn of(&self, class: &str, tenant: &str, experiment: Option<&str>) -> Option<Duration> {
        let exception = experiment.and_then(|experiment| self.exception(class, tenant, experiment));
        exception
            .or_else(|| self.classes.iter().find(|(known, _)| *known == class).map(|(_, budget)| *budget))
    }

    fn exception(&self, class: &str, tenant: &str, experiment: &str) -> Option<Duration> {
        let same = |e: &&Exception| e.class == class && e.tenant == tenant && e.experiment == experiment;
        self.experiments.iter().find(same).map(|e| e.budget)
    }
}

/// Syntax of `AB_SLA_TIMEOUTS`.
pub fn check_budgets(text: &str) -> Result<(), String> {
    Budgets::parse(text).map(drop)
}
