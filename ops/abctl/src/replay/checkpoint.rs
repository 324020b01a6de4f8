//! How far a replay has come, in a file: written beside it, synced and moved into place, so that it is whole whenever
//! the machine stops. Rejects are synced before it speaks of them.

use super::ledger::{Ledger, Totals};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    /// What is replayed, and how: another run must not go on from here.
    run: Vec<String>,
    settled_lines: u64,
    rejects_bytes: u64,
    totals: Totals,
}

/// The checkpoint of a run and its list of rejects, held by this process alone.
pub struct Checkpoint {
    path: PathBuf,
    rejects: File,
    rejects_path: PathBuf,
    saved: Saved,
}

impl Checkpoint {
    /// Goes on where `path` says, or from the beginning when there is no such file.
    pub fn open(path: PathBuf, rejects_path: PathBuf, run: Vec<String>) -> Result<Checkpoint> {
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).read(true).write(true).open(&rejects_path);
        let mut rejects = opened.with_context(|| {
            let name = rejects_path.display();
            format!("{name} cannot be written; --rejects and --checkpoint choose other places")
        })?;
        if rejects.try_lock().is_err() {
            bail!("another replay writes {}", rejects_path.display());
        }
        let saved = match fs::read(&path) {
            Ok(bytes) => {
                let saved: Saved = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is no checkpoint of abctl replay", path.display()))?;
                if saved.run != run {
                    bail!(
                        "{} is of a replay of other files or with other options: remove it to begin anew, or choose \
                         another with --checkpoint",
                        path.display()
                    );
                }
                saved
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Saved { run, ..Saved::default() },
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        // What was written behind the last checkpoint is found again.
        rejects.set_len(saved.rejects_bytes)?;
        rejects.seek(SeekFrom::End(0))?;
        Ok(Checkpoint { path, rejects, rejects_path, saved })
    }

    /// Lines settled by earlier runs.
    pub fn settled(&self) -> u64 {
        self.saved.settled_lines
    }

    pub fn totals(&self) -> Totals {
        self.saved.totals
    }

    /// Makes durable what is settled by now.
    pub fn save(&mut self, ledger: &Ledger) -> Result<()> {
        let (settled, rejects, totals) = ledger.settled();
        for reject in &rejects {
            let mut line = serde_json::to_vec(reject)?;
            line.push(b'\n');
            self.rejects.write_all(&line)?;
            self.saved.rejects_bytes += line.len() as u64;
        }
        if !rejects.is_empty() {
            self.rejects.sync_data()?;
        }
        self.saved.settled_lines = settled;
        self.saved.totals = totals;
        replace(&self.path, &serde_json::to_vec(&self.saved)?)
            .with_context(|| format!("the checkpoint {} cannot be written", self.path.display()))
    }

    /// Everything is settled: a second run begins anew. Returns where the rejects are, if there are any.
    pub fn finish(self) -> Result<Option<PathBuf>> {
        fs::remove_file(&self.path)?;
        if self.saved.rejects_bytes > 0 {
            return Ok(Some(self.rejects_path));
        }
        fs::remove_file(&self.rejects_path)?;
        Ok(None)
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("checkpoint-new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
