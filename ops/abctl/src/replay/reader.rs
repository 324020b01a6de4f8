//! The thread that reads: from lines to batches, each for the lane of its users.

use super::command::Kind;
use super::input::Input;
use super::ledger::{Ledger, Place, Rejected, Ticket};
use super::records::{self, Header};
use super::row::{Item, Names, Reason, Reject, Row};
use super::sort::Sorter;
use super::target::Target;
use super::turns::Turns;
use super::{lines, ndjson, units};
use anyhow::{Context, Result};
use csv::ByteRecord;
use domain::Timestamp;
use foldhash::fast::FixedState;
use std::cell::LazyCell;
use std::hash::BuildHasher;
use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bytes of items in a batch, at most: below `AB_MAX_REQUEST_BODY_BYTES` as it is by default.
const BATCH_BYTES: usize = 900 * 1024;
/// A window ends after this many batches' worth of lines, or after so long: what a crash has to send again.
const WINDOW_BATCHES: u64 = 32;
const WINDOW: Duration = Duration::from_secs(5);

/// Which rows are sent, and how they are understood.
#[derive(Clone)]
pub struct Rules {
    pub kind: Kind,
    /// Where rows go that do not say so themselves.
    pub target: Arc<Target>,
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
    pub target: Arc<Target>,
    pub json: String,
    /// The row as it stands in the file.
    pub record: Arc<str>,
}

pub struct Batch {
    /// By which the ledger knows it.
    pub ticket: Ticket,
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
    /// Where and when the window being read began.
    window: (u64, Instant),
    turns: Turns,
}

impl Reader {
    /// Reads everything; returns the number of lines. Blocks while lanes are busy.
    pub fn run(self) -> Result<u64> {
        let mut progress = Progress {
            pass: if self.rules.sort_exposures { Pass::Exposures(Sorter::default()) } else { Pass::All },
            waiting: self.lanes.iter().map(|_| Waiting::default()).collect(),
            reader: &self,
            line: 0,
            window: (self.settled, Instant::now()),
            turns: Turns::default(),
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
        // A lane that is gone says why itself.
        let _ = progress.close(progress.line);
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
        while let Some((user_id, entry)) = merge.next(self.line + 1, &self.reader.rules.target)? {
            self.line += 1;
            if self.line > self.reader.settled
                && (self.wait(&user_id, entry).is_err() || self.turn().is_err())
            {
                return Ok(Err(Abandoned));
            }
        }
        // No exposure waits while a conversion is already sent: what is settled would not say so.
        Ok(self.close(self.line))
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
                false => {
                    Err(Reject::new(Reason::LineTooLong, format!("longer than {} bytes", lines::LINE_MAX)))
                }
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
        let header = Header::new(&record, &self.reader.rules, &of.name)?;
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
                None => header.rows(&record, self.reader.rules.kind),
                Some((1, _)) if record.get(0).is_some_and(|cell| cell.starts_with(b"# cut after ")) => {
                    Err(Reject::cut())
                }
                Some((cells, columns)) => Err(Reject::new(
                    Reason::WrongNumberOfCells,
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
        let has_turns = rules.kind == Kind::Exclusions && !collecting;
        // What is settled ends with a block, so that whoever goes on counts the same turns.
        if has_turns && self.turns.begin(input, number) && self.close(at_line - 1).is_err() {
            return Ok(Err(Abandoned));
        }
        let reject = |column: String, reject: Reject| {
            if !collecting {
                ledger.reject(None, at_line, Rejected::of(inputs, place(column), reject, record()));
            }
        };
        let rows = rows.unwrap_or_else(|fault| {
            reject(String::new(), fault);
            Vec::new()
        });
        // Of many items of a row, all have the same.
        let text = LazyCell::new(|| Arc::from(record()));
        for (column, row) in rows {
            let separator = if column.is_empty() { "" } else { "/" };
            let key = || format!("replay:{}:{number}{separator}{column}", of.identity);
            let items = match rules.kind {
                Kind::Units => units::items(row),
                kind => row.item(kind, key).map(|item| vec![(Arc::clone(&rules.target), item)]),
            };
            let items = match items {
                Ok(items) => items,
                Err(fault) => {
                    reject(column, fault);
                    continue;
                }
            };
            for (target, item) in items {
                let wanted = rules.wanted(&item);
                let Item { user_id, exposure, occurred_at, json } = item;
                let target = match has_turns {
                    true => self.turns.target(&target, &of.identity, &user_id),
                    false => target,
                };
                let (place, record) = (place(column.clone()), Arc::clone(&text));
                let entry = Entry { line: at_line, place, target, json, record };
                match &mut self.pass {
                    Pass::Exposures(sorter) if exposure && wanted => {
                        sorter.push(user_id, occurred_at, entry)?
                    }
                    Pass::Exposures(_) => {}
                    Pass::All | Pass::Others if !wanted => ledger.skip(),
                    Pass::Others if exposure => {}
                    Pass::All | Pass::Others => {
                        if self.wait(&user_id, entry).is_err() {
                            return Ok(Err(Abandoned));
                        }
                    }
                }
            }
        }
        Ok(if collecting { Ok(()) } else { self.turn() })
    }

    /// After each line.
    fn turn(&mut self) -> Result<(), Abandoned> {
        if self.reader.rules.kind == Kind::Exclusions {
            return Ok(());
        }
        let (began, at) = self.window;
        let full = self.line.saturating_sub(began) >= self.reader.rules.batch as u64 * WINDOW_BATCHES;
        if full || at.elapsed() >= WINDOW { self.close(self.line) } else { Ok(()) }
    }

    /// Hands out everything that waits: what follows the line `end` is of another window.
    fn close(&mut self, end: u64) -> Result<(), Abandoned> {
        for lane in 0..self.waiting.len() {
            self.hand_out(lane)?;
        }
        self.reader.ledger.close(end);
        self.window = (end, Instant::now());
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

    fn hand_out(&mut self, lane: usize) -> Result<(), Abandoned> {
        let Waiting { entries, .. } = std::mem::take(&mut self.waiting[lane]);
        if entries.is_empty() {
            return Ok(());
        }
        let ticket = self.reader.ledger.hand_out();
        self.reader.lanes[lane].blocking_send(Batch { ticket, entries }).map_err(|_| Abandoned)
    }
}

impl Rules {
    fn wanted(&self, item: &Item) -> bool {
        let Some(at) = item.occurred_at else { return true };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}
