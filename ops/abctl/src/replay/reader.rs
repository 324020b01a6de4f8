//! The thread that reads: from lines to batches, each for the lane of its users.

use super::command::Kind;
use super::input::Input;
use super::ledger::{Ledger, Place};
use super::records::{self, Header};
use super::row::{Item, Names, Reject, Row};
use super::sort::Sorter;
use super::{lines, ndjson};
use anyhow::{Context, Result};
use csv::ByteRecord;
use domain::Timestamp;
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::io::BufRead;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Bytes of items in a batch, at most: below `AB_MAX_REQUEST_BODY_BYTES` as it is by default.
const BATCH_BYTES: usize = 900 * 1024;
/// A batch that has not filled up while this many were read goes out as it is, so that the settled line follows.
const PATIENCE_BATCHES: u64 = 64;

/// Which rows are sent, and how they are understood.
#[derive(Clone)]
pub struct Rules {
    pub kind: Kind,
    pub names: Names,
    pub wide: bool,
    pub ignored: Vec<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub batch: usize,
    pub sort_exposures: bool,
}

/// A row to be sent.
pub struct Entry {
    /// Counted over all inputs.
    pub line: u64,
    pub place: Place,
    pub json: String,
    /// The row as it stands in the file.
    pub record: String,
}

pub struct Batch {
    /// By which the ledger knows it.
    pub ticket: (u64, u64),
    pub entries: Vec<Entry>,
}

pub struct Reader {
    pub inputs: Arc<Vec<Input>>,
    pub rules: Rules,
    pub ledger: Arc<Ledger>,
    /// Lines that earlier runs settled.
    pub settled: u64,
    pub lanes: Vec<mpsc::Sender<Batch>>,
}

/// What a lane gets next.
#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    bytes: usize,
}

/// What a pass over the files is for.
enum Pass {
    /// Everything, in the order of the files.
    All,
    /// Exposures go to the sorter, the rest is left for the next pass.
    Exposures(Sorter),
    /// Everything else.
    Others,
}

/// A lane is gone: its error says why, and reading on is of no use.
struct Abandoned;

struct Progress<'r> {
    reader: &'r Reader,
    pass: Pass,
    waiting: Vec<Waiting>,
    /// Of the line being read; sorted exposures come before them.
    line: u64,
    swept: u64,
}

impl Reader {
    /// Reads everything; returns the number of lines. Blocks while lanes are busy.
    pub fn run(self) -> Result<u64> {
        let mut progress = Progress {
            pass: if self.rules.sort_exposures { Pass::Exposures(Sorter::default()) } else { Pass::All },
            waiting: self.lanes.iter().map(|_| Waiting::default()).collect(),
            reader: &self,
            line: 0,
            swept: 0,
        };
        if progress.files()?.is_err() {
            return Ok(progress.line);
        }
        let mut sorted = 0;
        if self.rules.sort_exposures
            && let Pass::Exposures(sorter) = std::mem::replace(&mut progress.pass, Pass::Others)
        {
            progress.line = 0;
            if progress.sorted(sorter)?.is_err() {
                return Ok(0);
            }
            sorted = progress.line;
            if progress.files()?.is_err() {
                return Ok(progress.line - sorted);
            }
        }
        if progress.sweep(u64::MAX).is_ok() {
            self.ledger.read_up_to(progress.line + 1);
        }
        Ok(progress.line - sorted)
    }
}

impl Progress<'_> {
    fn files(&mut self) -> Result<Result<(), Abandoned>> {
        for (index, input) in self.reader.inputs.iter().enumerate() {
            let reader = input.open()?;
            let read = match input.csv {
                true => self.records(index, input, reader),
                false => self.lines(index, input, reader),
            };
            if read.with_context(|| input.name.clone())?.is_err() {
                return Ok(Err(Abandoned));
            }
        }
        Ok(Ok(()))
    }

    fn sorted(&mut self, sorter: Sorter) -> Result<Result<(), Abandoned>> {
        let mut merge = sorter.merge()?;
        while let Some((user_id, entry)) = merge.next(self.line + 1)? {
            self.line += 1;
            if self.line > self.reader.settled
                && (self.wait(&user_id, entry).is_err() || self.turn().is_err())
            {
                return Ok(Err(Abandoned));
            }
        }
        // No exposure waits while a conversion is already sent: what is settled would not say so.
        Ok(self.sweep(u64::MAX))
    }

    fn lines(
        &mut self,
        input: usize,
        of: &Input,
        mut reader: Box<dyn BufRead + Send>,
    ) -> Result<Result<(), Abandoned>> {
        let (mut line, mut number) = (Vec::new(), 0);
        while let Some(whole) = lines::next(&mut *reader, &mut line)? {
            number += 1;
            self.line += 1;
            if self.is_settled() {
                continue;
            }
            let text = if number == 1 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
            let row = match whole {
                true => ndjson::row(text, &self.reader.rules.names),
                false => Err(Reject::new("line_too_long", format!("longer than {} bytes", lines::LINE_MAX))),
            };
            let record = || String::from_utf8_lossy(text).into_owned();
            let rows = row.map(|row| row.into_iter().map(|row| (String::new(), row)).collect());
            if self.take(input, of, number, rows, &record)?.is_err() {
                return Ok(Err(Abandoned));
            }
        }
        Ok(Ok(()))
    }

    fn records(
        &mut self,
        input: usize,
        of: &Input,
        reader: Box<dyn BufRead + Send>,
    ) -> Result<Result<(), Abandoned>> {
        let mut csv = csv::ReaderBuilder::new().has_headers(false).from_reader(reader);
        let mut record = ByteRecord::new();
        if !csv.read_byte_record(&mut record)? {
            return Ok(Ok(()));
        }
        let Rules { names, wide, ignored, kind, .. } = &self.reader.rules;
        let header = Header::new(&record, names, *wide, ignored, &of.name)?;
        // Lines as people count them; a record with line ends in its cells is as long as it is.
        let before = self.line;
        loop {
            let more = csv.read_byte_record(&mut record);
            let unequal = match more {
                Ok(false) => break,
                Ok(true) => None,
                Err(error) => match error.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Some((*len, *expected_len)),
                    _ => return Err(error.into()),
                },
            };
            let number = record.position().map_or(0, csv::Position::line);
            self.line = before + number;
            if self.is_settled() {
                continue;
            }
            let rows = match unequal {
                None => header.rows(&record, *kind),
                Some((cells, columns)) => Err(Reject::new(
                    "wrong_number_of_cells",
                    format!("the record has {cells} cells, the header {columns}"),
                )),
            };
            if self.take(input, of, number, rows, &|| records::text(&record))?.is_err() {
                return Ok(Err(Abandoned));
            }
        }
        self.line = before + csv.position().line().saturating_sub(1);
        Ok(Ok(()))
    }

    /// Whether an earlier run settled the line being read. While exposures are collected nothing is known of that.
    fn is_settled(&self) -> bool {
        !matches!(self.pass, Pass::Exposures(_)) && self.line <= self.reader.settled
    }

    /// Puts the rows of a line where they belong.
    fn take(
        &mut self,
        input: usize,
        of: &Input,
        number: u64,
        rows: Result<Vec<(String, Row)>, Reject>,
        record: &dyn Fn() -> String,
    ) -> Result<Result<(), Abandoned>> {
        let Reader { rules, ledger, inputs, .. } = self.reader;
        let place = |column: String| Place { input, line: number, column };
        let at_line = self.line;
        let collecting = matches!(self.pass, Pass::Exposures(_));
        let reject = |column: String, reject: Reject| {
            if !collecting {
                ledger.reject(at_line, inputs, place(column), reject, record());
            }
        };
        let rows = rows.unwrap_or_else(|fault| {
            reject(String::new(), fault);
            Vec::new()
        });
        for (column, row) in rows {
            let separator = if column.is_empty() { "" } else { "/" };
            let key = || format!("replay:{}:{number}{separator}{column}", of.identity);
            let item = match row.item(rules.kind, key) {
                Ok(item) => item,
                Err(fault) => {
                    reject(column, fault);
                    continue;
                }
            };
            let entry = |item: Item| {
                (
                    item.user_id,
                    Entry { line: at_line, place: place(column), json: item.json, record: record() },
                )
            };
            match &mut self.pass {
                Pass::Exposures(_) if !item.exposure => {}
                Pass::Others if item.exposure => {}
                Pass::Exposures(_) | Pass::All | Pass::Others if !rules.wanted(&item) => ledger.skip(),
                Pass::Exposures(sorter) => {
                    let at = item.occurred_at;
                    let (user_id, entry) = entry(item);
                    sorter.push(user_id, at, entry)?;
                }
                Pass::All | Pass::Others => {
                    let (user_id, entry) = entry(item);
                    if self.wait(&user_id, entry).is_err() {
                        return Ok(Err(Abandoned));
                    }
                }
            }
        }
        Ok(if collecting { Ok(()) } else { self.turn() })
    }

    /// After each line: batches that have waited long go out, and the ledger hears how far reading is.
    fn turn(&mut self) -> Result<(), Abandoned> {
        let batch = self.reader.rules.batch as u64;
        if self.line - self.swept > batch {
            self.swept = self.line;
            self.sweep(self.line.saturating_sub(batch * PATIENCE_BATCHES))?;
            let first = |w: &Waiting| w.entries.first().map(|e| e.line);
            let unsent = self.waiting.iter().filter_map(first).min();
            self.reader.ledger.read_up_to(unsent.unwrap_or(self.line + 1));
        }
        Ok(())
    }

    fn wait(&mut self, user_id: &str, entry: Entry) -> Result<(), Abandoned> {
        let lanes = self.waiting.len() as u64;
        let lane = usize::try_from(FixedState::default().hash_one(user_id) % lanes).unwrap_or_default();
        if self.waiting[lane].bytes + entry.json.len() > BATCH_BYTES {
            self.hand_out(lane)?;
        }
        let waiting = &mut self.waiting[lane];
        waiting.bytes += entry.json.len() + 1;
        waiting.entries.push(entry);
        if waiting.entries.len() >= self.reader.rules.batch { self.hand_out(lane) } else { Ok(()) }
    }

    /// Hands out what has waited since a line up to `line`.
    fn sweep(&mut self, line: u64) -> Result<(), Abandoned> {
        for lane in 0..self.waiting.len() {
            if self.waiting[lane].entries.first().is_some_and(|first| first.line <= line) {
                self.hand_out(lane)?;
            }
        }
        Ok(())
    }

    fn hand_out(&mut self, lane: usize) -> Result<(), Abandoned> {
        let Waiting { entries, .. } = std::mem::take(&mut self.waiting[lane]);
        let Some(first) = entries.first() else { return Ok(()) };
        let ticket = self.reader.ledger.hand_out(first.line);
        self.reader.lanes[lane].blocking_send(Batch { ticket, entries }).map_err(|_| Abandoned)
    }
}

impl Rules {
    fn wanted(&self, item: &Item) -> bool {
        let Some(at) = item.occurred_at else { return true };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}
