//! Figures by name, medians over the runs, beside goal and ceiling: for people on the terminal, for machines in a file.

use crate::usage::Busy;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// What a figure is held against.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    None,
    AtLeast(f64),
    AtMost(f64),
    /// At least this share of the figure's ceiling.
    Share(f64),
}

struct Figure {
    name: String,
    unit: &'static str,
    goal: Goal,
    /// Name of a figure of the same run that this one cannot exceed.
    ceiling: Option<String>,
    /// Why it stops where it does.
    reason: Option<String>,
    values: Vec<f64>,
}

/// A figure as it is written down.
#[derive(Serialize)]
struct Row<'t> {
    target: &'t str,
    unit: &'t str,
    measured: f64,
    ceiling: Option<f64>,
    /// What the ceiling is.
    ceiling_is: Option<&'t str>,
    ratio: Option<f64>,
    goal: Option<String>,
    met: Option<bool>,
    /// Of a goal that is not met.
    reason: Option<String>,
}

const UNENDED: &str = ": did not come to its end";

#[derive(Default)]
pub struct Table {
    figures: Vec<Figure>,
    /// Since the last part ended.
    busy: Busy,
}

impl Table {
    /// Adds one run's figure.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        value: f64,
        goal: Goal,
        ceiling: Option<&str>,
    ) {
        let name = name.into();
        eprintln!("  {name}: {} {unit}", number(value));
        match self.figures.iter_mut().find(|f| f.name == name) {
            Some(figure) => figure.values.push(value),
            None => {
                let ceiling = ceiling.map(str::to_owned);
                self.figures.push(Figure { name, unit, goal, ceiling, reason: None, values: vec![value] });
            }
        }
    }

    /// What to say if the figure added last misses its goal.
    pub fn explain(&mut self, reason: impl Into<String>) {
        if let Some(figure) = self.figures.last_mut() {
            figure.reason = Some(reason.into());
        }
    }

    /// What a part came to; one that did not is a goal missed, for this reason.
    pub fn ended<T>(&mut self, part: &str, outcome: Result<T>) -> Option<T> {
        let busy = self.busy.look().map_or(0.0, |busy| busy * 100.0);
        for figure in self.figures.iter_mut().filter(|figure| figure.reason.is_none()) {
            figure.reason = Some(format!(
                "all processors were {busy:.0}% busy in this part, load generator and servers included; what with: \
                 ops/docs/performance.md"
            ));
        }
        let error = match outcome {
            Ok(value) => return Some(value),
            Err(error) => format!("{error:#}"),
        };
        eprintln!("  {part}: {error}");
        self.add(format!("{part}{UNENDED}"), "times", 1.0, Goal::AtMost(0.0), None);
        self.explain(error);
        None
    }

    pub fn failed(&self) -> bool {
        self.figures.iter().any(|figure| figure.name.ends_with(UNENDED))
    }

    fn median(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|f| f.name == name).and_then(Figure::median)
    }

    fn row<'t>(&'t self, figure: &'t Figure) -> Row<'t> {
        let measured = figure.median().unwrap_or_default();
        let ceiling = figure.ceiling.as_deref().and_then(|name| Some((name, self.median(name)?)));
        let (goal, met) = match figure.goal {
            Goal::None => (None, None),
            Goal::AtLeast(least) => (Some(format!(">= {}", number(least))), Some(measured >= least)),
            Goal::AtMost(most) => (Some(format!("<= {}", number(most))), Some(measured <= most)),
            Goal::Share(share) => {
                let met = ceiling.is_some_and(|(_, ceiling)| measured >= share * ceiling);
                (Some(format!(">= {share} of the ceiling")), Some(met))
            }
        };
        Row {
            target: &figure.name,
            unit: figure.unit,
            measured,
            ceiling: ceiling.map(|(_, ceiling)| ceiling),
            ceiling_is: ceiling.map(|(name, _)| name),
            ratio: ceiling.map(|(_, ceiling)| measured / ceiling),
            goal,
            met,
            reason: (met == Some(false)).then(|| reason(figure, ceiling)),
        }
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let rows: Vec<Row<'_>> = self.figures.iter().map(|figure| self.row(figure)).collect();
        let text = serde_json::to_string_pretty(&rows)? + "\n";
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    pub fn lines(&self) -> Vec<String> {
        let line = |cells: [&str; 5]| {
            format!("{:<72}{:>12} {:<14}{:<32}{}", cells[0], cells[1], cells[2], cells[3], cells[4])
                .trim_end()
                .to_owned()
        };
        let mut lines = vec![line(["what", "median", "", "goal", "share of the ceiling of these runs"])];
        for row in self.figures.iter().map(|figure| self.row(figure)) {
            let verdict = match row.met {
                Some(true) => ": met",
                Some(false) => ": MISSED",
                None => "",
            };
            let goal = row.goal.map_or_else(String::new, |goal| goal + verdict);
            let share = row.ratio.zip(row.ceiling).zip(row.ceiling_is);
            let share =
                share.map(|((ratio, ceiling), name)| format!("{ratio:.2} of {name} ({})", number(ceiling)));
            lines.push(line([
                row.target,
                &number(row.measured),
                row.unit,
                &goal,
                &share.unwrap_or_default(),
            ]));
            lines.extend(row.reason.map(|reason| format!("    {reason}")));
        }
        lines
    }
}

impl Figure {
    fn median(&self) -> Option<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

fn reason(figure: &Figure, ceiling: Option<(&str, f64)>) -> String {
    match (&figure.goal, ceiling) {
        (Goal::AtLeast(least), Some((name, ceiling))) if ceiling < *least => {
            format!("the machine: {name} itself came to {} only", number(ceiling))
        }
        (Goal::AtMost(most), Some((name, ceiling))) if ceiling > *most => {
            format!("the machine: {name} itself took {}", number(ceiling))
        }
        _ => figure.reason.clone().unwrap_or_default(),
    }
}

/// Thousands apart, three digits where they matter.
pub fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
