//! `GET .../timeseries`: the answer as it stood at the ends of days, cumulative and per step.
//!
//! By day of receipt it is what live-stats said `as_of` each day, and costs one read of the moments rows. By day of
//! occurrence ([`occurred`]) it is recomputed from the raw rows, which is how the chart of a backfill is drawn; it reads
//! every user, so one such answer is made at a time.

mod occurred;
pub mod points;

use domain::{Day, Plan};
use serde::Serialize;
use service::http::{Problem, Request, Response};
use store::{Asked, Experiment, Rows, Snapshot};

use crate::answer::{self, Parameters, tagged};
use crate::app::Analyzer;
use crate::experiments;
use crate::known::{Arms, Days, Unanswerable, unanswerable};
use crate::live_stats::{ArmView, Subject};
use crate::metric::methods::Methods;
use crate::quality::Quality;
use points::{MetricSeries, SrmPoint};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayBasis {
    /// When it was applied: what was known at the end of the day.
    Received,
    /// When it happened, by all that is known now.
    Occurred,
}

/// The ends of days on which anything changed, ascending.
pub type History = Vec<(Day, Arms)>;

#[derive(Debug, Serialize)]
pub struct Timeseries<'a> {
    pub experiment: Subject<'a>,
    /// Known at the end of this UTC day; null = now.
    pub as_of: Option<String>,
    pub day_basis: DayBasis,
    /// Days between points; the last one is at the end of the range.
    pub step: u16,
    pub days: Vec<String>,
    /// Of the experiment; by day of receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_quality: Option<Quality>,
    /// At the end of the last day that is known.
    pub arms: Vec<ArmView<'a>>,
    pub srm: Vec<SrmPoint>,
    pub metrics: Vec<MetricSeries<'a>>,
}

/// Which points are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub from: Option<Day>,
    pub to: Option<Day>,
    pub step: u16,
}

const MAX_STEP: u16 = 366;
const MAX_POINTS: usize = 400;

pub async fn get(app: &Analyzer, request: &Request, reference: &str) -> Result<Response, Problem> {
    let parameters = Parameters::of(request, &["from", "to", "step", "day_basis", "as_of"])?;
    let as_of = parameters.as_of()?;
    let date = |name| parameters.parsed(name, "must be a date, YYYY-MM-DD", Day::parse);
    let days = |n: &u16| (1..=MAX_STEP).contains(n);
    let step = parameters
        .parsed("step", "must be a number of days from 1 to 366", |text| text.parse().ok().filter(days))?;
    let wanted = Wanted { from: date("from")?, to: date("to")?, step: step.unwrap_or(1) };
    let basis = parameters.parsed("day_basis", "must be `received` or `occurred`", |text| match text {
        "received" => Some(DayBasis::Received),
        "occurred" => Some(DayBasis::Occurred),
        _ => None,
    })?;
    let basis = basis.unwrap_or(DayBasis::Received);
    let rows = match basis {
        DayBasis::Received => |_: &_| Rows::EveryDay,
        DayBasis::Occurred => |_: &_| Rows::None,
    };
    let asked = Asked { counters: basis == DayBasis::Received, ..Asked::of(as_of, rows) };
    let Snapshot { experiment, moments, counters, .. } =
        answer::snapshot(&*app.store, request, reference, &asked).await?;
    let plan = experiment.plan();
    let history = match basis {
        DayBasis::Received => {
            received(Days::of(&experiment, &moments)).map_err(|error| unanswerable(&error))?
        }
        DayBasis::Occurred if experiment.purged_at.is_some() => return Err(experiments::purged()),
        DayBasis::Occurred => {
            let _one_at_a_time = app.scans.try_acquire().map_err(|_| {
                let detail = "another series by day of occurrence is being made: try again";
                Problem::unavailable("scan_in_progress", detail, 5)
            })?;
            occurred::history(&*app.store, &experiment, &plan, as_of).await?
        }
    };
    let none = Arms::none(experiment.definition.variations.len());
    let counters = asked.counters.then_some(&*counters);
    let points = wanted.points(&history).ok_or_else(|| {
        let detail = format!("more than {MAX_POINTS} points: ask for a larger step or fewer days");
        Problem::unprocessable("too_many_points", detail)
    })?;
    let methods = Methods::of(&experiment.definition).map_err(|error| unanswerable(&error))?;
    let series = Series { experiment: &experiment, plan: &plan, methods: &methods, history: &history };
    let srm = series.srm(&points).map_err(|error| unanswerable(&error))?;
    tagged(
        request,
        &Timeseries {
            experiment: Subject::of(&experiment),
            as_of: as_of.map(|day| day.to_string()),
            day_basis: basis,
            step: wanted.step,
            days: points.iter().map(ToString::to_string).collect(),
            data_quality: counters.map(|counters| Quality::of(&experiment.definition, counters)),
            arms: ArmView::all(&experiment, &history.last().map_or(&none, |(_, arms)| arms).all, counters),
            srm,
            metrics: series.metrics(&points),
        },
    )
}

/// What a series is made of.
#[derive(Clone, Copy)]
pub struct Series<'a> {
    pub experiment: &'a Experiment,
    pub plan: &'a Plan,
    pub methods: &'a Methods,
    pub history: &'a History,
}

pub fn received(mut days: Days<'_>) -> Result<History, Unanswerable> {
    let mut history = History::new();
    while let Some(day) = days.next_day(|_| true) {
        history.push((day, days.arms()?));
    }
    Ok(history)
}

impl Wanted {
    /// Back from the last day in steps; without a range, the days there are. None: too many.
    pub fn points(&self, history: &History) -> Option<Vec<Day>> {
        let known = history.first().map(|(day, _)| *day).zip(history.last().map(|(day, _)| *day));
        let Some((from, to)) = self.from.or(known.map(|k| k.0)).zip(self.to.or(known.map(|k| k.1))) else {
            return Some(Vec::new());
        };
        let back = (from.0..=to.0).rev().step_by(self.step.into());
        let mut points: Vec<Day> = back.take(MAX_POINTS + 1).map(Day).collect();
        points.reverse();
        (points.len() <= MAX_POINTS).then_some(points)
    }
}
