//! `--sort-exposures`: the first exposure accepted sticks, so those of a file that is not in the order of time are sent
//! in that order, before everything else. Sorted in runs that fit into memory, which wait in unnamed temporary files.

use super::ledger::Place;
use super::reader::Entry;
use super::target::Target;
use anyhow::Result;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::sync::Arc;

/// Bytes of a run, roughly.
const RUN: usize = 64 << 20;

/// An exposure to be sorted. Ordered by time; without one it comes last; else in the order of the files.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sorted {
    at: Timestamp,
    nth: u64,
    input: usize,
    line: u64,
    user_id: String,
    json: String,
    record: String,
}

#[derive(Default)]
pub struct Sorter {
    waiting: Vec<Sorted>,
    bytes: usize,
    runs: Vec<File>,
    pushed: u64,
}

impl Sorter {
    pub fn push(&mut self, user_id: String, at: Option<Timestamp>, entry: Entry) -> Result<()> {
        self.pushed += 1;
        let Entry { place, json, record, .. } = entry;
        self.bytes += json.len() + record.len() + user_id.len() + 128;
        self.waiting.push(Sorted {
            at: at.unwrap_or(Timestamp(i64::MAX)),
            nth: self.pushed,
            input: place.input,
            line: place.line,
            user_id,
            json,
            record: record.to_string(),
        });
        if self.bytes > RUN { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        self.bytes = 0;
        self.waiting.sort_unstable();
        let mut run = BufWriter::new(tempfile::tempfile()?);
        for sorted in self.waiting.drain(..) {
            serde_json::to_writer(&mut run, &sorted)?;
            run.write_all(b"\n")?;
        }
        let mut file = run.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        Ok(())
    }

    /// All of them in order.
    pub fn merge(mut self) -> Result<Merge> {
        self.spill()?;
        let mut merge = Merge { runs: Vec::new(), heads: BinaryHeap::new() };
        for file in self.runs {
            merge.runs.push(BufReader::new(file));
            merge.refill(merge.runs.len() - 1)?;
        }
        Ok(merge)
    }
}

pub struct Merge {
    runs: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<(Sorted, usize)>>,
}

impl Merge {
    fn refill(&mut self, run: usize) -> Result<()> {
        let mut line = Vec::new();
        if self.runs[run].read_until(b'\n', &mut line)? > 0 {
            self.heads.push(Reverse((serde_json::from_slice(&line)?, run)));
        }
        Ok(())
    }

    /// The next one, as what is counted as `line`.
    pub fn next(&mut self, line: u64, target: &Arc<Target>) -> Result<Option<(String, Entry)>> {
        let Some(Reverse((sorted, run))) = self.heads.pop() else { return Ok(None) };
        self.refill(run)?;
        let Sorted { at: _, nth: _, input, line: of_file, user_id, json, record } = sorted;
        let place = Place { input, line: of_file, column: String::new() };
        let (target, record) = (Arc::clone(target), record.into());
        Ok(Some((user_id, Entry { line, place, target, json, record })))
    }
}
