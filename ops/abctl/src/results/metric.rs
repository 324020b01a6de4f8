//! One metric of the page: a row an arm, with its difference from the control.

use super::model::{Arm, Comparison, LiveStats, Metric, MetricArm, Reading, Test};
use super::number::{Digits, level, p_value};
use super::page::{Codes, TrueLift};
use crate::table::{Align, Cell, NAME_WIDTH, Table, clean, fit, painted};
use anstyle::{AnsiColor, Style};

/// Where the service has no number.
const NONE: &str = "-";

/// Digits of rates and means that tell something.
const SIGNIFICANT: i32 = 4;

pub fn section(metric: &Metric, stats: &LiveStats, truth: &[TrueLift], codes: &mut Codes) -> String {
    let mut title = painted(&fit(&metric.key, NAME_WIDTH * 2), Style::new().bold());
    title.push_str(&format!("  {}", clean(&metric.kind)));
    if let Some(role) = &metric.role {
        title.push_str(&format!(", {}", clean(role)));
    }
    if metric.direction == "down" {
        title.push_str(", lower is better");
    }
    let truth: Vec<&TrueLift> = truth.iter().filter(|t| t.metric == metric.key).collect();
    let control = stats.arms.first().map_or(NONE, |arm| &arm.key);
    let [first, second, mean] = heads(&metric.kind);
    let mut table = Table::new([
        ("arm", Align::Left),
        ("users", Align::Right),
        (first, Align::Right),
        (second, Align::Right),
        (mean, Align::Right),
        (&format!("vs {}", fit(control, NAME_WIDTH / 2)), Align::Right),
        (&format!("{}% interval", level(stats.alpha)), Align::Right),
        ("p", Align::Right),
    ]);
    if !truth.is_empty() {
        table.column("true", Align::Right);
    }
    table.column("", Align::Left);
    let means = Means::of(metric);
    let lifts = Lifts::of(metric, stats);
    for ((index, arm), about) in metric.arms.iter().enumerate().zip(&stats.arms) {
        let comparison = metric.comparisons.iter().find(|c| c.variation_index == index);
        let mut row = sums(metric, arm, about);
        row.push(means.show(arm));
        row.extend(comparison.map_or(["", "", ""].map(Cell::from), |c| lifts.show(c)));
        if !truth.is_empty() {
            let lift = truth.iter().find(|t| t.variation == index);
            row.push(lift.map_or_else(|| "".into(), |t| format!("{:+.1}%", t.lift * 100.0).into()));
        }
        row.push(notes(arm, comparison, stats, codes).into());
        table.row(row);
    }
    format!("{title}\n{}", table.render(2))
}

/// Of the columns before the effect: what was done, how much of it, and per what.
fn heads(kind: &str) -> [&'static str; 3] {
    match kind {
        "proportion" => ["converters", "", "rate"],
        "mean" => ["converters", "sum", "mean"],
        "count" => ["converters", "events", "per user"],
        "ratio" => ["numerator", "denominator", "ratio"],
        _ => ["converters", "sum", "mean"],
    }
}

fn sums(metric: &Metric, arm: &MetricArm, about: &Arm) -> Vec<Cell> {
    let count = |n: Option<i64>| n.map_or_else(|| NONE.to_owned(), |n| n.to_string());
    let [first, second] = match metric.kind.as_str() {
        "proportion" => [count(arm.converters), String::new()],
        "ratio" => [clean(&arm.sum), arm.denominator.as_deref().map_or(NONE.into(), clean)],
        _ => [count(arm.converters), clean(&arm.sum)],
    };
    vec![fit(&about.key, NAME_WIDTH).into(), count(arm.users).into(), first.into(), second.into()]
}

/// Rates of proportions are shown in percent, other means as they are.
struct Means {
    unit: f64,
    sign: &'static str,
    digits: Digits,
}

impl Means {
    fn of(metric: &Metric) -> Means {
        let (unit, sign) = if metric.kind == "proportion" { (100.0, "%") } else { (1.0, "") };
        let all = metric.arms.iter().filter_map(|arm| arm.mean).map(|mean| mean * unit);
        Means { unit, sign, digits: Digits::of(all, SIGNIFICANT) }
    }

    fn show(&self, arm: &MetricArm) -> Cell {
        match arm.mean {
            Some(mean) => format!("{}{}", self.digits.show(mean * self.unit), self.sign).into(),
            None => NONE.into(),
        }
    }
}

/// The relative effects of a metric: as many digits as the narrowest interval supports, bounds below each other.
struct Lifts<'a> {
    mode: Option<&'a str>,
    alpha: f64,
    /// Whether an effect above zero is a good one.
    up: bool,
    digits: Digits,
    /// Of the lower and the upper bounds as shown.
    widths: [usize; 2],
}

impl<'a> Lifts<'a> {
    fn of(metric: &Metric, stats: &'a LiveStats) -> Lifts<'a> {
        let mode = stats.mode.as_deref();
        let all: Vec<[f64; 2]> = metric
            .comparisons
            .iter()
            .filter_map(|c| Some(c.decisive().of(mode).relative.numbers()?.0))
            .collect();
        let largest = all.iter().flatten().fold(0.0_f64, |largest, bound| largest.max(bound.abs()));
        let digits = match Digits::of(all.iter().map(|[low, high]| (high - low) * 50.0), 2) {
            // A percentage of more than millions is read by its power of ten.
            _ if largest >= 1e5 => Digits::Scientific,
            Digits::Fixed(0) if largest < 10.0 => Digits::Fixed(1),
            digits => digits,
        };
        let width = |bound: usize| all.iter().map(|ci| digits.change(ci[bound]).len()).max().unwrap_or(0);
        let (alpha, up) = (stats.alpha, metric.direction != "down");
        Lifts { mode, alpha, up, digits, widths: [width(0), width(1)] }
    }

    fn show(&self, comparison: &Comparison) -> [Cell; 3] {
        let readings = comparison.decisive();
        // Every method reads the same effect; not every one has an interval for it.
        let Some(effect) = readings.fixed.relative.effect else { return [NONE, "", ""].map(Cell::from) };
        let change = |share| self.digits.change(share);
        let Some(([low, high], p)) = readings.of(self.mode).relative.numbers() else {
            return [change(effect).into(), NONE.into(), NONE.into()];
        };
        let [wide_low, wide_high] = self.widths;
        let colour = if (effect > 0.0) == self.up { AnsiColor::Green } else { AnsiColor::Red };
        let style = if p < self.alpha { colour.on_default() } else { Style::new() };
        [
            Cell::from(change(effect)).styled(style),
            format!("[{:>wide_low$}, {:>wide_high$}]", change(low), change(high)).into(),
            p_value(p).into(),
        ]
    }
}

/// Why a number is missing or to be read with care, in the service's own codes; the difference itself where it
/// cannot be told relative to the control.
fn notes(arm: &MetricArm, comparison: Option<&Comparison>, stats: &LiveStats, codes: &mut Codes) -> String {
    let mut notes: Vec<String> = arm.reason.iter().map(|reason| codes.mark(reason)).collect();
    let Some(comparison) = comparison else { return notes.join(", ") };
    let readings = comparison.decisive();
    let Reading { absolute, relative } = readings.of(stats.mode.as_deref());
    if relative.numbers().is_none() {
        let reason = codes.mark(relative.reason.as_ref().unwrap_or(&relative.status));
        let difference = difference(absolute).map(|d| format!(": {d}")).unwrap_or_default();
        if !notes.contains(&reason) {
            notes.push(format!("{reason}{difference}"));
        }
    }
    notes.extend(readings.fixed.relative.flags.iter().map(|flag| codes.mark(flag)));
    let reduction = comparison.cuped.as_ref().filter(|c| c.readings.is_some()).map(|c| c.variance_reduction);
    if let Some(reduction) = reduction {
        let visible = reduction.filter(|share| share.abs() >= 0.005);
        let change = visible.map(|share| format!(" {:+.0}% variance", share * -100.0));
        notes.push(format!("{}{}", codes.mark("cuped"), change.unwrap_or_default()));
    }
    notes.join(", ")
}

fn difference(absolute: &Test) -> Option<String> {
    let (effect, ([low, high], p)) = (absolute.effect?, absolute.numbers()?);
    let digits = Digits::of([(high - low) / 2.0], 2);
    let [effect, low, high] = [effect, low, high].map(|x| digits.show(x));
    Some(format!("difference {effect} [{low}, {high}], p {}", p_value(p)))
}
