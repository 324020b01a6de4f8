//! A page of `abctl top`.

use super::look::{Counted, Flow};
use crate::results::minute;
use crate::table::{Align, Cell, Table, clean};
use anstyle::{AnsiColor, Style};

/// The cursor goes to the beginning of an empty page.
pub const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Experiments on a page; `--json` has all.
const SHOWN: usize = 15;
/// An entry that waits for longer is one that no worker has got on with.
const BEHIND: f64 = 60.0;

pub fn page(flow: &Flow) -> String {
    let mut text = format!("abstream {}  {}\n\n", clean(&flow.version), minute(&flow.at));
    text.push_str(&stores(flow));
    text.push('\n');
    text.push_str(&counted(
        "events",
        flow.columns.iter().map(|(name, counted)| (name.replace('_', " "), *counted)),
    ));
    if !flow.experiments.is_empty() {
        text.push('\n');
        text.push_str(&experiments(flow));
    }
    if !flow.partitions.is_empty() {
        text.push('\n');
        text.push_str(&partitions(flow));
    }
    text
}

fn alarming(text: String) -> Cell {
    Cell::from(text).styled(AnsiColor::Red.on_default().bold())
}

fn stores(flow: &Flow) -> String {
    let mut table = Table::headless([Align::Left, Align::Left]);
    let storage = &flow.storage;
    let said = format!("{}, {} partitions", clean(&storage.backend), storage.partitions);
    table.row([
        Cell::from("database"),
        match storage.write_probe_ok {
            true => Cell::from(said),
            false => alarming(format!("{said}, CANNOT BE WRITTEN")),
        },
    ]);
    let queue = &flow.queue;
    let backend = clean(&queue.backend);
    let oldest = queue.oldest_unapplied_seconds.unwrap_or(0.0);
    let said = match queue.in_flight_events {
        Some(events) => format!("{backend}, {events} events in flight, the oldest waits {oldest:.1} s"),
        None => format!("{backend}, the oldest event waits {oldest:.1} s"),
    };
    table.row([
        Cell::from("queue"),
        match queue.reachable {
            false => alarming(format!("{backend}, DOES NOT ANSWER")),
            true if oldest > BEHIND => alarming(said),
            true => Cell::from(said),
        },
    ]);
    table.render(0)
}

fn rate(counted: Counted) -> Cell {
    let cell = Cell::from(format!("{:.1}", counted.per_second));
    if counted.per_second == 0.0 { cell.styled(Style::new().dimmed()) } else { cell }
}

fn number(counted: Counted) -> Cell {
    Cell::from(counted.events.to_string())
}

fn counted(what: &'static str, rows: impl Iterator<Item = (String, Counted)>) -> String {
    let mut table = Table::new([("", Align::Left), (what, Align::Right), ("a second", Align::Right)]);
    rows.for_each(|(name, of)| table.row([Cell::from(name), number(of), rate(of)]));
    table.render(0)
}

fn experiments(flow: &Flow) -> String {
    let mut table = Table::new([
        ("experiment", Align::Left),
        ("recorded", Align::Right),
        ("a second", Align::Right),
        ("deduplicated", Align::Right),
        ("a second", Align::Right),
        ("dead-lettered", Align::Right),
    ]);
    for of in flow.experiments.iter().take(SHOWN) {
        let key = of.key.as_deref().map_or_else(|| "(none named)".into(), clean);
        let (recorded, again) = (of.recorded, of.deduplicated);
        let cells = [number(recorded), rate(recorded), number(again), rate(again), number(of.dead_lettered)];
        table.row(std::iter::once(Cell::from(key)).chain(cells));
    }
    let more = flow.experiments.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(".. and {more} more\n") } else { String::new() };
    format!("{}{more}", table.render(0))
}

fn partitions(flow: &Flow) -> String {
    let mut table = Table::new([
        ("partition", Align::Right),
        ("received a second", Align::Right),
        ("applied a second", Align::Right),
        ("in flight", Align::Right),
        ("", Align::Left),
    ]);
    for of in &flow.partitions {
        // Nobody owns it, or its owner does not get on.
        let stands = of.in_flight > 0 && of.applied.per_second == 0.0;
        let said = if stands { alarming("nothing is applied".into()) } else { Cell::from("") };
        let cells = [Cell::from(of.partition.to_string()), rate(of.received), rate(of.applied)];
        table.row(cells.into_iter().chain([Cell::from(of.in_flight.to_string()), said]));
    }
    table.render(0)
}
