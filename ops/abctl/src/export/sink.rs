//! Where an export is written.

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Fast, and small enough: the service is the slower one.
const ZSTD_LEVEL: i32 = 3;
/// How lines begin that say that an export was cut, as CSV and as NDJSON.
const CUT: [&[u8]; 2] = [b"# cut after ", b"{\"type\":\"cut\""];

/// By the end of a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
    Zstd,
}

enum Packer {
    Plain(File),
    Gzip(GzEncoder<File>),
    Zstd(zstd::Encoder<'static, File>),
    Stdout(io::Stdout),
}

pub struct Sink {
    packer: Packer,
    /// The file, and what it is called until it is whole.
    file: Option<(PathBuf, PathBuf)>,
    lines: u64,
    /// Beginning of the line being written, and of the last one that is whole.
    line: Vec<u8>,
    last: Vec<u8>,
}

impl Packing {
    pub fn of(path: &Path) -> Packing {
        match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => Packing::Gzip,
            Some("zst") => Packing::Zstd,
            _ => Packing::None,
        }
    }
}

impl Sink {
    /// `None`: standard output.
    pub fn open(path: Option<PathBuf>) -> Result<Sink> {
        let (packer, file) = match path {
            None => (Packer::Stdout(io::stdout()), None),
            Some(path) => {
                let mut part = path.clone();
                part.add_extension("part");
                let file =
                    File::create(&part).with_context(|| format!("{} cannot be written", part.display()))?;
                let packer = match Packing::of(&path) {
                    Packing::None => Packer::Plain(file),
                    Packing::Gzip => Packer::Gzip(GzEncoder::new(file, Compression::fast())),
                    Packing::Zstd => Packer::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL)?),
                };
                (packer, Some((path, part)))
            }
        };
        Ok(Sink { packer, file, lines: 0, line: Vec::new(), last: Vec::new() })
    }

    /// Lines written, those within a cell of CSV too.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    pub fn is_cut(&self) -> bool {
        CUT.iter().any(|cut| self.last.starts_with(cut))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = CUT[1].len().saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.lines += 1;
                self.last = std::mem::take(&mut self.line);
            }
        }
        match &mut self.packer {
            Packer::Plain(to) => to.write_all(bytes),
            Packer::Gzip(to) => to.write_all(bytes),
            Packer::Zstd(to) => to.write_all(bytes),
            Packer::Stdout(to) => to.write_all(bytes),
        }
    }

    /// Everything is there: on disk, and under its name.
    pub fn finish(self) -> Result<()> {
        let file = match self.packer {
            Packer::Plain(file) => file,
            Packer::Gzip(to) => to.finish()?,
            Packer::Zstd(to) => to.finish()?,
            Packer::Stdout(mut to) => return Ok(to.flush()?),
        };
        file.sync_all()?;
        if let Some((path, part)) = self.file {
            fs::rename(&part, &path).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }
}
