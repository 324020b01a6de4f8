//! The answer of an experiment as a page of text: who is in which arm, what they did, and what the difference is.

use super::metric;
use super::model::{Arm, DataQuality, Experiment, LiveStats, Metric, Srm};
use super::number::p_value;
use crate::table::{Align, Cell, NAME_WIDTH, Table, clean, fit, painted};
use anstyle::{AnsiColor, Style};

/// An effect that is known because it was simulated, shown beside the measured one.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueLift {
    pub metric: String,
    pub variation: usize,
    pub lift: f64,
}

/// Colours included; whoever prints it takes them out where there is no terminal.
pub fn page(experiment: &Experiment, stats: &LiveStats, truth: &[TrueLift]) -> String {
    let mut codes = Codes::default();
    let mut text = header(experiment, stats);
    text.push_str(&sample_ratio(stats, &mut codes));
    for metric in &stats.metrics {
        text.push('\n');
        text.push_str(&metric::section(metric, stats, truth, &mut codes));
    }
    text.push_str(&warnings(&stats.arms));
    text.push_str(&codes.legend());
    text.push_str(&caption(stats));
    text
}

/// When the intervals and p of the page hold; nothing where it has none.
fn caption(stats: &LiveStats) -> String {
    let mode = stats.mode.as_deref();
    let tested = |metric: &Metric| {
        metric.comparisons.iter().any(|c| c.decisive().of(mode).relative.numbers().is_some())
    };
    if !stats.metrics.iter().any(tested) {
        return String::new();
    }
    let caption = match mode {
        Some("sequential") => "intervals and p hold however often one looks",
        Some("group_sequential") => {
            "intervals and p hold for one look; the verdict is that of the planned looks (--json)"
        }
        Some("bayesian") => {
            "intervals and p hold for one look; the verdict is that of the posterior (--json)"
        }
        _ => "intervals and p hold for one look at the planned size, not for stopping at the first small p",
    };
    format!("\n{}\n", painted(caption, Style::new().dimmed()))
}

/// `checkout  One page checkout` and what state it is in.
fn header(experiment: &Experiment, stats: &LiveStats) -> String {
    let mut title = painted(&clean(&experiment.key), Style::new().bold());
    if experiment.name != experiment.key {
        title.push_str("  ");
        title.push_str(&clean(&experiment.name));
    }
    let as_of = match &stats.as_of {
        Some(day) => format!("as of the end of {} (UTC)", clean(day)),
        None => "as of now".into(),
    };
    format!("{title}\n{}, {}, {as_of}\n", life(experiment), people(stats.users))
}

/// Status and times, such as `running since 2026-11-20 10:15 UTC`.
pub fn life(experiment: &Experiment) -> String {
    let status = clean(&experiment.status);
    match (&experiment.started_at, &experiment.stopped_at) {
        (Some(started), None) if status == "running" => format!("{status} since {}", minute(started)),
        (Some(started), None) => format!("{status}, started {}", minute(started)),
        (Some(started), Some(stopped)) => {
            format!("{status}, started {}, stopped {}", minute(started), minute(stopped))
        }
        (None, _) => format!("{status}, never started"),
    }
}

/// An RFC 3339 time in UTC to the minute; any other text as it is.
pub fn minute(time: &str) -> String {
    match (time.get(..10), time.get(10..11), time.get(11..16)) {
        (Some(date), Some("T"), Some(clock)) if time.ends_with('Z') => clean(&format!("{date} {clock} UTC")),
        _ => clean(time),
    }
}

fn people(users: i64) -> String {
    if users == 1 { "1 user".into() } else { format!("{users} users") }
}

fn sample_ratio(stats: &LiveStats, codes: &mut Codes) -> String {
    let Srm { status, p_value: p, mismatch, flags, reason } = &stats.srm;
    if *mismatch {
        return mismatched(stats, *p);
    }
    let flags: String = flags.iter().map(|flag| format!(", {}", codes.mark(flag))).collect();
    match p {
        Some(p) => format!("sample ratio ok (p {}{flags})\n", p_value(*p)),
        None => format!("sample ratio not tested: {}\n", codes.mark(reason.as_ref().unwrap_or(status))),
    }
}

fn mismatched(stats: &LiveStats, p: Option<f64>) -> String {
    let why = match p {
        Some(p) => format!("p {}", p_value(p)),
        None => "users in an arm of weight 0".into(),
    };
    let alarm = painted("MISMATCH", AnsiColor::Red.on_default().bold());
    let mut table = Table::new([
        ("arm", Align::Left),
        ("users", Align::Right),
        ("share", Align::Right),
        ("planned", Align::Right),
    ]);
    let weights: f64 = stats.arms.iter().map(|arm| arm.weight).sum();
    for arm in &stats.arms {
        #[allow(clippy::cast_precision_loss)] // for people
        let share = arm.users as f64 / (stats.users as f64).max(1.0);
        let percent = |share: f64| format!("{:.2}%", share * 100.0).into();
        let cells = [fit(&arm.key, NAME_WIDTH).into(), arm.users.to_string().into(), percent(share)];
        table.row(cells.into_iter().chain([percent(arm.weight / weights)]));
    }
    format!(
        "sample ratio {alarm} ({why})\n  \
         do not trust what is below: something loses or adds users of one arm, such as assignment, redirects,\n  \
         crashes, blocked or late exposures, bots\n{}",
        table.render(2)
    )
}

/// A line for each thing that was seen and that may bend the numbers; nothing when there is none.
fn warnings(arms: &[Arm]) -> String {
    const USER: [&str; 2] = ["user", "users"];
    const CONVERSION: [&str; 2] = ["conversion", "conversions"];
    type Count = fn(&DataQuality) -> i64;
    let kinds: [(_, _, Count); 6] = [
        (USER, "saw a further variation: counted in the first one seen", |q| q.crossovers),
        (USER, "sent an exposure late that claims an earlier time", |q| q.earlier_exposure_seen),
        (USER, "went over the spike limit: in no metric", |q| q.filtered),
        (USER, "excluded: in no metric", |q| q.excluded),
        (CONVERSION, "came before the exposure: not counted", |q| q.before_exposure),
        (CONVERSION, "came after the attribution window: not counted", |q| q.after_window),
    ];
    let mut table = Table::headless([Align::Right, Align::Left, Align::Left, Align::Left]);
    for ([one, many], what, of) in kinds {
        let counts = arms.iter().map(|arm| (&arm.key, of(&arm.data_quality)));
        let counts: Vec<_> = counts.filter(|(_, n)| *n != 0).collect();
        if counts.is_empty() {
            continue;
        }
        let total: i64 = counts.iter().map(|(_, n)| n).sum();
        let places = counts.iter().map(|(arm, n)| format!("{} {n}", fit(arm, NAME_WIDTH)));
        let places = places.collect::<Vec<_>>().join(", ");
        let whom = if total == 1 { one } else { many };
        table.row([total.to_string(), whom.into(), what.into(), format!("({places})")].map(Cell::from));
    }
    if table.is_empty() { String::new() } else { format!("\ndata quality\n{}", table.render(2)) }
}

/// The service's codes that marked something on the page, each explained once at its end.
#[derive(Default)]
pub struct Codes(Vec<String>);

impl Codes {
    /// The code, to be explained.
    pub fn mark(&mut self, code: &str) -> String {
        let code = clean(code);
        if !self.0.contains(&code) {
            self.0.push(code.clone());
        }
        code
    }

    fn legend(&self) -> String {
        let known: Vec<(&str, &str)> =
            self.0.iter().filter_map(|c| Some((c.as_str(), explain(c)?))).collect();
        if known.is_empty() {
            return String::new();
        }
        let mut table = Table::headless([Align::Left, Align::Left]);
        known.into_iter().for_each(|(code, text)| table.row([code.into(), text.into()]));
        format!("\n{}", table.render(0))
    }
}

/// In the words of the analyzer's own documentation.
fn explain(code: &str) -> Option<&'static str> {
    Some(match code {
        "no_units" => "an arm has no users",
        "too_few_units" => "an arm has fewer than two users",
        "zero_variance" => "the values do not vary",
        "zero_baseline" => "the control's mean is 0, so there is nothing to be relative to",
        "zero_denominator" => "an arm's denominators sum to 0",
        "unbounded" => "the control's mean does not differ from 0, so the relative effect could be anything",
        "not_enough_users" => "an arm has too few users for an answer that holds at every look",
        "cuped" => "effect adjusted by what users did before their exposure",
        "too_few_arms" => "fewer than two arms have a weight",
        "out_of_range" => "the sums are beyond the range of exact arithmetic",
        "inconsistent" => "the sums contradict each other: run `abctl verify`",
        "low_data" => "too few users or conversions for the test to be trusted",
        "unstable_baseline" => "the control's mean is within two standard errors of 0",
        _ => return None,
    })
}
