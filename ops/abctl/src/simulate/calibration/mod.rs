//! `abctl simulate --aa`: how often each method finds an effect where there is none, and how often its interval holds an
//! effect that is there. Whole experiments in this process, through the fold and the answers of the analyzer.

mod experiment;
mod findings;

pub use experiment::{DAYS, Life, Look, Trial, USERS};
pub use findings::Line;

use crate::output;
use crate::table::{Align, Cell, Table};
use analyzer::known::Unanswerable;
use domain::Overflow;
use findings::{Found, Holding};
use serde::Serialize;

/// Relative, on the mean, of the experiments with an effect.
pub const LIFT: f64 = 0.1;

#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    #[error("the definition of the simulated experiments: {0}")]
    Definition(#[from] serde_json::Error),
    #[error(transparent)]
    Invalid(#[from] domain::definition::Invalid),
    #[error(transparent)]
    Overflow(#[from] Overflow),
    #[error(transparent)]
    Unanswerable(#[from] Unanswerable),
}

#[derive(Debug, Serialize)]
pub struct Calibration {
    pub runs: u32,
    pub seed: u64,
    pub users: u32,
    /// Looks at each experiment, one a day.
    pub looks: u16,
    /// A/A: how many of the runs are called an effect, or a mismatch, though there is none.
    pub false_positives: Vec<Line>,
    pub lift: f64,
    /// With that effect on the mean: in how many of the runs the interval holds it.
    pub coverage: Vec<Line>,
    /// In how many of those runs it is found.
    pub power: Vec<Line>,
}

/// The same for the same seed. `step` hears of every experiment done, of twice `runs`.
pub fn calibrate(runs: u32, seed: u64, mut step: impl FnMut()) -> Result<Calibration, CalibrationError> {
    let (none, some) = (Trial::new(0.0)?, Trial::new(LIFT)?);
    let (mut found, mut holding) = (Found::default(), Holding::default());
    for run in 0..runs {
        none.run(seed, 2 * u64::from(run), |look| found.see(look))?;
        found.end();
        step();
        some.run(seed, 2 * u64::from(run) + 1, |look| holding.see(look))?;
        holding.end();
        step();
    }
    Ok(Calibration {
        runs,
        seed,
        users: USERS,
        looks: DAYS,
        false_positives: found.lines(runs),
        lift: LIFT,
        coverage: holding.coverage(runs),
        power: holding.power(runs),
    })
}

impl Calibration {
    /// Whether no method breaks its promise beyond what chance explains.
    pub fn holds(&self) -> bool {
        self.false_positives.iter().chain(&self.coverage).all(Line::holds)
    }

    pub fn print(&self, json: bool) -> std::io::Result<()> {
        if json {
            return output::json(self);
        }
        let head = format!(
            "{} experiments of {} users without an effect, {} looks each: called one, or a mismatch\n",
            self.runs, self.users, self.looks
        );
        let covered = format!(
            "\n{} experiments with an effect of {:+.0}% on the mean: held by the interval\n",
            self.runs,
            100.0 * self.lift
        );
        output::text(&format!(
            "{head}{}{covered}{}\nthe same: found\n{}",
            table(&self.false_positives),
            table(&self.coverage),
            table(&self.power)
        ))
    }
}

fn table(lines: &[Line]) -> String {
    let mut table = Table::new([
        ("METHOD", Align::Left),
        ("PROMISED", Align::Right),
        ("RUNS", Align::Right),
        ("SHARE", Align::Right),
        ("99% INTERVAL", Align::Left),
        ("", Align::Left),
    ]);
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    for line in lines {
        let promised = line.promised.map_or_else(String::new, |p| p.to_string());
        let broken = if line.holds() { "" } else { "broken" };
        let interval = format!("{} .. {}", percent(line.interval[0]), percent(line.interval[1]));
        let cells = [line.method.to_owned(), promised, line.runs.to_string(), percent(line.share), interval];
        table.row(cells.into_iter().map(Cell::from).chain([Cell::from(broken)]));
    }
    table.render(2)
}
