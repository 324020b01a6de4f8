//! What people and scripts read: results on standard output, progress on standard error.

use crate::results::minute;
use crate::table::{Align, Cell, Table, clean};
use crate::verify::Report;
use anstyle::AnsiColor;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use store::{Books, Loss};

/// Differences and losses shown to people; `--json` has all.
const SHOWN: usize = 20;

pub fn json(value: &impl serde::Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)
}

/// An answer of the service, byte for byte.
pub fn untouched(body: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(body)?;
    if body.ends_with(b"\n") { Ok(()) } else { writeln!(out) }
}

/// As they are.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// For people, beside what a script reads.
pub fn notice(line: &str) {
    // What was done is done, whether anybody can be told or not.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Text with its line ends; colours show on terminals only, and not with `NO_COLOR`.
pub fn text(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A table with a row per partition, and the line that scripts look for last.
pub fn books(books: &Books) -> io::Result<()> {
    let heads = ["received", "recorded", "deduplicated", "dead", "discarded", "in flight", "lost"];
    let mut table = Table::new([("partition", Align::Right)]);
    heads.into_iter().for_each(|head| table.column(head, Align::Right));
    table.column("closes", Align::Left);
    for (partition, b) in &books.partitions {
        let numbers =
            [b.received, b.recorded, b.deduplicated, b.dead_lettered, b.discarded, b.in_flight, b.lost];
        let closes = match b.closes() {
            true => Cell::from("yes"),
            false => Cell::from("NO").styled(AnsiColor::Red.on_default().bold()),
        };
        let numbers = numbers.iter().map(|n| Cell::from(n.to_string()));
        table.row(std::iter::once(Cell::from(partition.to_string())).chain(numbers).chain([closes]));
    }
    text(&format!("{}{}{}\n", table.render(0), losses(&books.losses), books.total))
}

/// What is gone, and when that showed; the newest first.
fn losses(losses: &[Loss]) -> String {
    if losses.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        ("lost from", Align::Right),
        ("writer", Align::Left),
        ("entries", Align::Left),
        ("events", Align::Right),
        ("why", Align::Left),
        ("seen", Align::Left),
        ("by entry", Align::Left),
    ]);
    for loss in losses.iter().take(SHOWN) {
        let entries = match (loss.first, loss.last) {
            (0, _) => "-".into(),
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let writer = loss.writer.map_or_else(|| "-".into(), |writer| writer.to_string());
        let (partition, events) = (loss.partition.to_string(), loss.events.to_string());
        let seen = minute(&loss.seen_at.to_string());
        let cells = [partition, writer, entries, events, clean(&loss.why), seen, clean(&loss.entry)];
        table.row(cells.map(Cell::from));
    }
    let more = losses.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(".. and {more} more\n") } else { String::new() };
    format!("\n{}{more}\n", table.render(0))
}

pub fn verified(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Report { experiment, rows, units, conversions, differences } = report;
    if differences.is_empty() {
        return writeln!(
            out,
            "verify {experiment}: equal (rows={rows}, units={units}, conversions={conversions})"
        );
    }
    for d in differences.iter().take(SHOWN) {
        writeln!(out, "{}\n  stored     {}\n  recomputed {}", d.at, d.stored, d.recomputed)?;
    }
    if differences.len() > SHOWN {
        writeln!(out, ".. and {} more", differences.len() - SHOWN)?;
    }
    writeln!(out, "verify {experiment}: DIFFERENT in {} places", differences.len())
}

pub fn lines(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// One line, whatever the message holds.
pub fn error(message: &str) {
    note(&format!("abctl: {message}"));
}

/// One line beside the results.
pub fn note(message: &str) {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // Nothing is left to do when standard error is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether whoever read our standard output has seen enough, as `head` has.
pub fn is_unread(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// A bar on a terminal, a plain line every few seconds elsewhere.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// None: nobody knows.
    total: Option<u64>,
    /// What is counted, in the plural.
    what: &'static str,
    plain: Mutex<Plain>,
}

/// What lines are made of.
struct Plain {
    events: u64,
    /// When the last line was written.
    at: Instant,
    /// What else is known: see [`Progress::tell`].
    told: String,
}

const PLAIN_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    pub fn new(total: u64) -> Progress {
        Progress::of(total, "events")
    }

    pub fn of(total: u64, what: &'static str) -> Progress {
        Progress::shown(Some(total), what)
    }

    /// Of what has no known number.
    pub fn counting(what: &'static str) -> Progress {
        Progress::shown(None, what)
    }

    fn shown(total: Option<u64>, what: &'static str) -> Progress {
        let bar = io::stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    "{bar:20} {human_pos}/{human_len} {prefix}, {per_sec}, {eta} left{msg}",
                ),
                None => (ProgressBar::no_length(), "{spinner} {human_pos} {prefix}, {per_sec}{msg}"),
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.with_prefix(what)
        });
        let plain = Plain { events: 0, at: Instant::now(), told: String::new() };
        Progress { bar, total, what, plain: Mutex::new(plain) }
    }

    pub fn add(&self, events: u64) {
        if let Some(bar) = &self.bar {
            return bar.inc(events);
        }
        let Ok(mut plain) = self.plain.lock() else { return };
        plain.events += events;
        if plain.at.elapsed() >= PLAIN_EVERY {
            plain.at = Instant::now();
            let of = self.total.map_or_else(String::new, |total| format!("of {total} "));
            let _ = writeln!(io::stderr(), "{} {of}{}{}", plain.events, self.what, plain.told);
        }
    }

    /// What became of them so far, shown behind the rest.
    pub fn tell(&self, told: &str) {
        let told = if told.is_empty() { String::new() } else { format!(": {told}") };
        if let Some(bar) = &self.bar {
            return bar.set_message(told);
        }
        if let Ok(mut plain) = self.plain.lock() {
            plain.told = told;
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
