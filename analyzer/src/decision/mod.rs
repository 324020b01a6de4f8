//! `GET .../decision`: may this be shipped, and if not, why not and what is missing?
//!
//! [`rules`] is the table; this file gathers the facts from the same readings that live-stats shows.

pub mod rules;

use domain::definition::{Metric, Mode, Role};
use domain::{Day, Timestamp};
use serde::Serialize;
use service::http::{Problem, Request, Response};
use store::{Asked, Experiment};

use crate::answer::{self, Parameters, tagged};
use crate::app::Analyzer;
use crate::clock;
use crate::known::{Known, rows_needed};
use crate::live_stats::{ArmView, Subject};
use crate::metric::contrast::Treatment;
use crate::metric::guardrail::{Guarded, guarded};
use crate::metric::reading::Reading;
use crate::metric::verdict::{Verdict, verdicts};
use crate::quality::Quality;
use crate::sample_ratio::{FilterImbalance, SampleRatio};
use rules::{Code, Decision, Facts, Judgement, judge};

#[derive(Debug, Serialize)]
pub struct Decided<'a> {
    pub experiment: Subject<'a>,
    /// The end of this UTC day; null = now.
    pub as_of: Option<String>,
    pub mode: Mode,
    pub decision: Decision,
    /// Which treatment to ship.
    pub variation: Option<&'a str>,
    pub reasons: Vec<Code>,
    pub blockers: Vec<Code>,
    /// Days that have passed whole since the start, up to the stop.
    pub full_days: i64,
    pub min_days: i64,
    pub primary: Option<&'a str>,
    pub mde: Option<f64>,
    pub srm: SampleRatio,
    pub filter_imbalance: FilterImbalance,
    /// Of the experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_quality: Option<Quality>,
    pub arms: Vec<ArmView<'a>>,
    pub treatments: Vec<Judged<'a>>,
}

/// One treatment.
#[derive(Debug, Serialize)]
pub struct Judged<'a> {
    pub variation_index: usize,
    pub key: &'a str,
    #[serde(flatten)]
    pub judgement: Judgement,
    /// Of the primary metric.
    pub verdict: Option<Reading<Verdict>>,
    pub guardrails: Vec<GuardrailView<'a>>,
    /// While it should keep running.
    pub missing: Option<Missing>,
}

#[derive(Debug, Serialize)]
pub struct GuardrailView<'a> {
    pub key: &'a str,
    #[serde(flatten)]
    pub reading: Reading<Guarded>,
}

/// What is still to come before the question can be answered; null: not known.
#[derive(Debug, Serialize)]
pub struct Missing {
    /// Of control and treatment together.
    pub users: Option<u64>,
    /// Until the minimum is reached.
    pub days: i64,
    /// Until the users are there, if they go on coming as they did.
    pub days_at_this_rate: Option<u64>,
}

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    let as_of = Parameters::of(request, &["as_of"])?.as_of()?;
    let asked = Asked { counters: true, ..Asked::of(as_of, rows_needed) };
    let snapshot = answer::snapshot(&*app.store, request, reference, &asked).await?;
    let now = clock::now();
    let known = Known::from(&snapshot, as_of, now)?;
    tagged(request, &Decided::of(&known, now))
}

impl<'a> Decided<'a> {
    pub fn of(known: &'a Known<'_>, now: Timestamp) -> Decided<'a> {
        let definition = &known.experiment.definition;
        let life = Life::of(known.experiment, known.as_of, now);
        let primary = definition.metrics.iter().find(|m| m.role == Some(Role::Primary));
        let (srm, filter_imbalance) = (SampleRatio::of(known), FilterImbalance::of(known));
        let judge = |i: usize, (treatment, verdict): (Treatment<'a>, Option<Reading<Verdict>>)| {
            let guardrails: Vec<(&Metric, Reading<Guarded>)> = guardrails(known, i);
            let checks: Vec<Reading<Guarded>> = guardrails.iter().map(|(_, check)| check.clone()).collect();
            let facts = Facts {
                started: life.started,
                over: life.over,
                srm_mismatch: srm.mismatch(),
                filter_imbalance: filter_imbalance.mismatch,
                guardrails: &checks,
                primary: verdict.as_ref(),
                direction: primary.map(|m| m.direction).unwrap_or_default(),
                mde: known.methods.mde,
                full_days: life.full_days,
                min_days: definition.analysis.min_days.into(),
            };
            let judgement = judge(&facts);
            let primary = verdict.as_ref().and_then(Reading::ok);
            Judged {
                variation_index: treatment.variation_index,
                key: treatment.key,
                missing: (judgement.decision == Decision::KeepRunning)
                    .then(|| Missing::of(primary, &facts, life.elapsed_days)),
                judgement,
                verdict,
                guardrails: guardrails
                    .into_iter()
                    .map(|(metric, reading)| GuardrailView { key: &metric.key, reading })
                    .collect(),
            }
        };
        let treatments = read_primary(known, primary);
        let treatments: Vec<Judged> = treatments.into_iter().enumerate().map(|(i, t)| judge(i, t)).collect();
        let (decision, winner) = overall(&treatments);
        let deciding = || treatments.iter().filter(|t| t.judgement.decision == decision);
        let deciding: Vec<&Judged> = match winner {
            Some(winner) => treatments.iter().filter(|t| t.key == winner).collect(),
            None => deciding().collect(),
        };
        Decided {
            experiment: Subject::of(known.experiment),
            as_of: known.as_of.map(|day| day.to_string()),
            mode: known.methods.mode,
            decision,
            variation: winner,
            reasons: union(deciding.iter().map(|t| &t.judgement.reasons)),
            blockers: union(deciding.iter().map(|t| &t.judgement.blockers)),
            full_days: life.full_days,
            min_days: definition.analysis.min_days.into(),
            primary: primary.map(|m| m.key.as_str()),
            mde: known.methods.mde,
            srm,
            filter_imbalance,
            data_quality: known.quality(),
            arms: ArmView::all(known.experiment, &known.arms.all, known.counters),
            treatments,
        }
    }
}

/// Every treatment with its verdict on the primary metric, if there is one.
fn read_primary<'a>(
    known: &'a Known<'_>,
    primary: Option<&'a Metric>,
) -> Vec<(Treatment<'a>, Option<Reading<Verdict>>)> {
    let Some(metric) = primary.or(known.experiment.definition.metrics.first()) else { return Vec::new() };
    let treatments = Treatment::all(known, metric);
    let mut read = verdicts(&treatments, &known.methods).into_iter();
    treatments.into_iter().map(|t| (t, primary.and_then(|_| read.next()))).collect()
}

/// Every guardrail of the treatment in place `i`.
fn guardrails<'a>(known: &'a Known<'_>, i: usize) -> Vec<(&'a Metric, Reading<Guarded>)> {
    let metrics = known.experiment.definition.metrics.iter();
    metrics
        .filter(|metric| metric.role == Some(Role::Guardrail))
        .filter_map(|metric| {
            let treatments = Treatment::all(known, metric);
            treatments.get(i).map(|treatment| (metric, guarded(treatment, &known.methods)))
        })
        .collect()
}

/// Ship if anything may be shipped, the largest effect first; stop if nothing can be any more.
fn overall<'a>(treatments: &[Judged<'a>]) -> (Decision, Option<&'a str>) {
    let size = |t: &&Judged<'a>| {
        t.verdict.as_ref().and_then(Reading::ok).map_or(0.0, |verdict| verdict.effect.abs())
    };
    let all = |decision| treatments.iter().all(|t| t.judgement.decision == decision);
    let shipping = treatments.iter().filter(|t| t.judgement.decision == Decision::Ship);
    match shipping.max_by(|a, b| size(a).total_cmp(&size(b))) {
        Some(best) => (Decision::Ship, Some(best.key)),
        None if !treatments.is_empty() && all(Decision::NoShip) => (Decision::NoShip, None),
        None => (Decision::KeepRunning, None),
    }
}

fn union<'c>(codes: impl Iterator<Item = &'c Vec<Code>>) -> Vec<Code> {
    let mut all = Vec::new();
    for code in codes.flatten() {
        if !all.contains(code) {
            all.push(*code);
        }
    }
    all
}

/// How long the experiment has run.
struct Life {
    started: bool,
    over: bool,
    full_days: i64,
    elapsed_days: f64,
}

const DAY: i64 = 86_400 * 1_000_000;

impl Life {
    fn of(experiment: &Experiment, as_of: Option<Day>, now: Timestamp) -> Life {
        let until = as_of.map_or(now, |day| now.min(Day(day.0.saturating_add(1)).start()));
        let started = experiment.started_at.filter(|at| *at <= until);
        let stopped = experiment.stopped_at.filter(|at| *at <= until);
        let elapsed = started.map_or(0, |at| stopped.unwrap_or(until).0.saturating_sub(at.0).max(0));
        Life {
            started: started.is_some(),
            over: stopped.is_some(),
            full_days: elapsed / DAY,
            elapsed_days: elapsed as f64 / DAY as f64,
        }
    }
}

impl Missing {
    fn of(verdict: Option<&Verdict>, facts: &Facts<'_>, elapsed_days: f64) -> Missing {
        let users = verdict.and_then(|v| v.users_needed.map(|needed| needed.saturating_sub(v.users)));
        let rate =
            verdict.map(|v| v.users as f64 / elapsed_days).filter(|rate| rate.is_finite() && *rate > 0.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bounded just here
        let days_at_this_rate = users
            .zip(rate)
            .map(|(users, rate)| (users as f64 / rate).ceil())
            .filter(|days| *days < 1e9)
            .map(|days| days as u64);
        Missing { users, days: (facts.min_days - facts.full_days).max(0), days_at_this_rate }
    }
}
