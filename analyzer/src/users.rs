//! `GET .../users/{user_id}`: one user in one experiment: the enrollment, what it adds to each metric, and everything
//! stored of what the user did, with where it fell. Recomputed from the raw rows, as verify does.

use domain::attributes::{Exclusion, Said};
use domain::contribution::Contribution;
use domain::definition::MetricKind;
use domain::fold::Fact;
use domain::ladder::{Dated, ladder};
use domain::plan::{Feature, Placement};
use domain::{Attributes, Day, Decimal, Enrollment, Plan, Timestamp, UnitId};
use ethnum::I256;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use service::http::{Problem, Request, Response};
use store::{Asked, ConversionRow, Experiment, Rows, Snapshot, UserRows};

use crate::answer::{self, Parameters, tagged};
use crate::app::Analyzer;
use crate::known::unanswerable;
use crate::live_stats::Subject;
use crate::metric::arm::{decimal, decimals};

#[derive(Serialize)]
struct User<'a> {
    experiment: Subject<'a>,
    user_id: &'a str,
    /// The end of this UTC day; null = now.
    as_of: Option<String>,
    /// Null: not enrolled.
    enrollment: Option<Enrolled<'a>>,
    /// What was told of a user who is not enrolled: it takes effect when the exposure comes. Null: nothing, or enrolled.
    waiting: Option<Told>,
    /// What the user adds to each; empty unless the user contributes.
    metrics: Vec<Value<'a>>,
    /// Conversions of this experiment and of the tenant, in order of occurrence; the latest if there are more.
    conversions: Vec<Conversion<'a>>,
    conversions_total: usize,
}

#[derive(Serialize)]
struct Enrolled<'a> {
    /// -1 is the holdout.
    variation_index: i16,
    variation: Option<&'a str>,
    exposed_at: String,
    /// When the exposure was applied.
    day: String,
    phase: u16,
    /// Further variations seen, by index.
    crossed: Vec<i16>,
    earlier_exposure_seen: Option<String>,
    #[serde(flatten)]
    told: Told,
    filtered: bool,
    excluded: bool,
    before_exposure: u32,
    after_window: u32,
}

#[derive(Serialize)]
struct Told {
    stratum: Option<String>,
    covariates: Vec<Covariate>,
    /// In the order they came; the last one holds.
    exclusions: Vec<Excluded>,
}

#[derive(Serialize)]
struct Covariate {
    /// Empty: the primary metric's own value.
    name: String,
    /// Exact decimal.
    value: String,
    day: String,
    /// Accepted behind the exposure, or of a time not before it.
    late: bool,
}

#[derive(Serialize)]
struct Excluded {
    excluded: bool,
    reason: Option<String>,
    day: String,
}

#[derive(Serialize)]
pub struct Value<'a> {
    pub key: &'a str,
    #[serde(rename = "type")]
    pub kind: MetricKind,
    pub converted: bool,
    /// Counted conversions.
    pub conversions: String,
    /// Exact decimal: the outcome; of a ratio the numerator.
    pub value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denominator: Option<String>,
    /// Exact decimal: the outcome in the window before the exposure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

#[derive(Serialize)]
struct Conversion<'a> {
    occurred_at: String,
    received_at: String,
    /// When it was applied.
    day: String,
    metric: &'a str,
    /// Exact decimal.
    value: String,
    key: &'a str,
    /// False: the tenant's, which counts in every experiment that uses its metric.
    named_experiment: bool,
    fell: Fell,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Fell {
    Counted,
    /// In the window before the exposure.
    PreExposure,
    BeforeExposure,
    AfterWindow,
    NotEnrolled,
    UnusedMetric,
}

/// Shown of one user.
const MOST: usize = 1_000;

pub async fn get(
    app: &Analyzer,
    request: &Request,
    reference: &str,
    user_id: &str,
) -> Result<Response, Problem> {
    let as_of = Parameters::of(request, &["as_of"])?.as_of()?;
    let user_id = percent_decode_str(user_id).decode_utf8().map_err(|_| unknown_user())?;
    let unit = UnitId::of(&request.principal().tenant, &user_id);
    let asked = Asked { user: Some(unit), conversions: true, ..Asked::of(None, |_| Rows::None) };
    let Snapshot { experiment, user, .. } = answer::snapshot(&*app.store, request, reference, &asked).await?;
    let user = user.ok_or_else(unknown_user)?;
    tagged(request, &User::of(&experiment, &user, as_of)?)
}

fn unknown_user() -> Problem {
    Problem::not_found("unknown_user", "nothing is stored of such a user")
}

impl<'a> User<'a> {
    fn of(experiment: &'a Experiment, user: &'a UserRows, as_of: Option<Day>) -> Result<User<'a>, Problem> {
        let plan = experiment.plan();
        let known = |day: Day| as_of.is_none_or(|as_of| day <= as_of);
        let ours = |c: &&ConversionRow| c.experiment.is_none() || c.experiment == experiment.id;
        let mut rows: Vec<&ConversionRow> =
            user.conversions.iter().filter(ours).filter(|c| known(c.day)).collect();
        rows.sort_by_key(|c| c.occurred_at);
        let enrollment = match user.unit.unit.enrollment(experiment.id) {
            Some(stored) => {
                let facts: Vec<Dated<'_>> = rows.iter().map(|row| applied(row)).collect();
                let mut steps =
                    ladder(&plan, stored, &facts).map_err(|overflow| unanswerable(&overflow.into()))?;
                steps.retain(|(day, _)| known(*day));
                steps.pop().map(|(_, enrollment)| enrollment)
            }
            None => None,
        };
        let told = user.unit.unit.attributes(experiment.id).filter(|_| enrollment.is_none());
        let waiting = told.map(|told| as_of.map_or_else(|| told.clone(), |day| told.as_of(day)));
        let shown = rows.len().saturating_sub(MOST);
        Ok(User {
            experiment: Subject::of(experiment),
            user_id: &user.unit.user_id,
            as_of: as_of.map(|day| day.to_string()),
            metrics: enrollment.as_ref().map_or_else(Vec::new, |e| values(experiment, &plan, e)),
            conversions_total: rows.len(),
            conversions: rows
                .into_iter()
                .skip(shown)
                .map(|row| Conversion::of(row, &plan, enrollment.as_ref()))
                .collect(),
            waiting: waiting.filter(|told| !told.is_empty()).map(|told| Told::of(&told, None)),
            enrollment: enrollment.as_ref().map(|e| Enrolled::of(e, experiment, &plan)),
        })
    }
}

fn applied(row: &ConversionRow) -> Dated<'_> {
    let fact = Fact { experiment: row.experiment, event: &row.metric, value: row.value, at: row.occurred_at };
    Dated { day: row.day, fact }
}

pub fn values<'a>(experiment: &'a Experiment, plan: &Plan, enrollment: &Enrollment) -> Vec<Value<'a>> {
    let contribution = Contribution::of(enrollment, plan);
    if contribution.features.is_empty() {
        return Vec::new();
    }
    let of = |feature: Feature| {
        let at = plan.features.iter().position(|f| *f == feature);
        at.and_then(|i| contribution.features.get(i)).copied().unwrap_or_default()
    };
    let text = |feature: Feature| decimal(I256::from(of(feature)), decimals(feature));
    let metrics = experiment.definition.metrics.iter();
    metrics
        .map(|metric| {
            let features = plan.metric(metric);
            Value {
                key: &metric.key,
                kind: metric.kind,
                converted: of(features.converted) > 0,
                conversions: text(features.count),
                value: text(features.outcome),
                denominator: features.denominator.map(text),
                before: features.pre.map(text),
            }
        })
        .collect()
}

impl<'a> Enrolled<'a> {
    fn of(e: &Enrollment, experiment: &'a Experiment, plan: &Plan) -> Enrolled<'a> {
        let heads = Contribution::of(e, plan).heads;
        let variation = usize::try_from(e.variation).ok();
        let variation = variation.and_then(|i| experiment.definition.variations.get(i));
        Enrolled {
            variation_index: e.variation,
            variation: variation.map(|v| v.key.as_str()),
            exposed_at: e.exposed_at.to_string(),
            day: e.day.to_string(),
            phase: e.phase,
            crossed: e.crossed.iter().map(|(variation, _)| *variation).collect(),
            earlier_exposure_seen: e.earlier_seen.map(|day| day.to_string()),
            told: Told::of(&e.attributes, Some(e.exposed_at)),
            filtered: heads.filtered > 0,
            excluded: heads.excluded > 0,
            before_exposure: e.before,
            after_window: e.after_window,
        }
    }
}

impl Told {
    fn of(attributes: &Attributes, exposed_at: Option<Timestamp>) -> Told {
        let covariate = |(name, said): &(String, Said<Decimal>)| Covariate {
            name: name.clone(),
            value: decimal(I256::from(said.value.0), 6),
            day: said.day.to_string(),
            late: exposed_at.is_some_and(|at| said.is_late(at)),
        };
        let excluded = |exclusion: &Exclusion| Excluded {
            excluded: exclusion.excluded,
            reason: exclusion.reason.clone(),
            day: exclusion.day.to_string(),
        };
        Told {
            stratum: attributes.stratum.as_ref().map(|said| said.value.clone()),
            covariates: attributes.covariates.iter().map(covariate).collect(),
            exclusions: attributes.exclusions.iter().map(excluded).collect(),
        }
    }
}

impl<'a> Conversion<'a> {
    fn of(row: &'a ConversionRow, plan: &Plan, enrollment: Option<&Enrollment>) -> Conversion<'a> {
        let fell = match (enrollment, plan.event_index(&row.metric)) {
            (_, None) => Fell::UnusedMetric,
            (None, _) => Fell::NotEnrolled,
            (Some(e), _) => match plan.place(e.exposed_at, row.occurred_at) {
                Placement::Counted => Fell::Counted,
                Placement::Pre => Fell::PreExposure,
                Placement::Before => Fell::BeforeExposure,
                Placement::AfterWindow => Fell::AfterWindow,
            },
        };
        Conversion {
            occurred_at: row.occurred_at.to_string(),
            received_at: row.received_at.to_string(),
            day: row.day.to_string(),
            metric: &row.metric,
            value: decimal(I256::from(row.value.0), 6),
            key: &row.key,
            named_experiment: !row.experiment.is_none(),
            fell,
        }
    }
}
