//! `abctl experiments show`: a definition as tables.

use crate::results::model::{Experiment, MetricDefinition};
use crate::results::{life, minute};
use crate::table::{Align, Cell, NAME_WIDTH, Table, clean, fit, painted};
use anstyle::Style;

pub fn page(experiment: &Experiment) -> String {
    let mut text = painted(&clean(&experiment.key), Style::new().bold());
    if experiment.name != experiment.key {
        text.push_str(&format!("  {}", clean(&experiment.name)));
    }
    let Experiment { id, created_at, .. } = experiment;
    text.push_str(&format!("\n{}, created {}, id {id}\n\n", life(experiment), minute(created_at)));
    text.push_str(&variations(experiment));
    text.push('\n');
    text.push_str(&metrics(&experiment.metrics));
    text.push('\n');
    text.push_str(&rules(experiment));
    text
}

fn variations(experiment: &Experiment) -> String {
    let mut table = Table::new([
        ("arm", Align::Left),
        ("name", Align::Left),
        ("weight", Align::Right),
        ("share", Align::Right),
        ("", Align::Left),
    ]);
    let all: f64 = experiment.variations.iter().map(|v| v.weight).sum();
    for (index, v) in experiment.variations.iter().enumerate() {
        let name = if v.name == v.key { String::new() } else { fit(&v.name, NAME_WIDTH) };
        let share = format!("{:.2}%", v.weight / all * 100.0);
        let control = if index == 0 { "control" } else { "" };
        let cells = [fit(&v.key, NAME_WIDTH), name, v.weight.to_string(), share, control.into()];
        table.row(cells.map(Cell::from));
    }
    table.render(0)
}

fn metrics(metrics: &[MetricDefinition]) -> String {
    let mut table = Table::new([
        ("metric", Align::Left),
        ("type", Align::Left),
        ("event", Align::Left),
        ("role", Align::Left),
        ("better", Align::Left),
        ("cap", Align::Right),
    ]);
    for m in metrics {
        let event = m.numerator.as_ref().or(m.event.as_ref()).unwrap_or(&m.key);
        let event = match &m.denominator {
            Some(below) => format!("{}/{}", fit(event, NAME_WIDTH / 2), fit(below, NAME_WIDTH / 2)),
            None => fit(event, NAME_WIDTH),
        };
        let cap = m.cap.map(|cap| cap.to_string()).unwrap_or_default();
        let (role, better) = (m.role.as_deref().unwrap_or_default(), clean(&m.direction));
        table.row([fit(&m.key, NAME_WIDTH), clean(&m.kind), event, clean(role), better, cap].map(Cell::from));
    }
    table.render(0)
}

/// Which conversions count, where the definition says something about it.
fn rules(experiment: &Experiment) -> String {
    let Experiment { attribution, crossovers, spike_limit, .. } = experiment;
    let mut text = match attribution.window_hours {
        Some(hours) => format!("conversions count for {hours} h after the exposure\n"),
        None => "conversions count from the exposure on, without an end\n".into(),
    };
    if attribution.tolerance_seconds > 0 {
        text.push_str(&format!("and up to {} s before it\n", attribution.tolerance_seconds));
    }
    if crossovers == "exclude" {
        text.push_str("users who saw two variations add to no metric\n");
    }
    if let Some(limit) = spike_limit {
        text.push_str(&format!("users with more than {limit} conversions add to no metric\n"));
    }
    text
}
