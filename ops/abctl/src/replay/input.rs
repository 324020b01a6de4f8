//! The files: found, opened, unpacked, and known by the digest of what they hold.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes read at once.
const BUFFER: usize = 256 * 1024;
/// Of a zstd frame's window, as a power of two: what `zstd --ultra` writes, and no more memory than that.
const WINDOW_LOG_MAX: u32 = 27;

/// Where lines come from.
#[derive(Debug, Clone)]
pub struct Input {
    /// As messages name it.
    pub name: String,
    /// `None`: standard input.
    pub path: Option<PathBuf>,
    pub csv: bool,
    /// Begins the keys of its events: the digest of what it holds, unpacked, or the name given by `--source`.
    pub identity: String,
    /// Lines, where they were counted.
    pub lines: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Ndjson,
    Csv,
}

impl Input {
    /// The inputs that `arguments` name, patterns with `*`, `?` or `[` resolved in order of their names.
    pub fn all(arguments: &[String], format: Option<Format>, source: Option<&str>) -> Result<Vec<Input>> {
        let mut inputs = Vec::new();
        for argument in arguments {
            if argument == "-" {
                let Some(source) = source else {
                    bail!("standard input has no digest for its keys to begin with: name it with --source");
                };
                inputs.push(Input {
                    name: "standard input".into(),
                    path: None,
                    csv: format == Some(Format::Csv),
                    identity: source.to_owned(),
                    lines: None,
                });
                continue;
            }
            for path in expand(argument)? {
                inputs.push(Input::file(path, format)?);
            }
        }
        Ok(inputs)
    }

    fn file(path: PathBuf, format: Option<Format>) -> Result<Input> {
        let name = path.display().to_string();
        let csv = match format {
            Some(format) => format == Format::Csv,
            None => match Path::new(bare(&name)).extension().and_then(|e| e.to_str()) {
                Some("csv") => true,
                Some("ndjson" | "jsonl" | "json" | "log") => false,
                _ => bail!("{name}: neither .csv nor .ndjson (.gz, .zst): say which with --format"),
            },
        };
        let mut input = Input { name, path: Some(path), csv, identity: String::new(), lines: None };
        (input.identity, input.lines) = input.digest()?;
        Ok(input)
    }

    /// What the file holds, unpacked by the ending of its name.
    pub fn open(&self) -> Result<Box<dyn BufRead + Send>> {
        let Some(path) = &self.path else {
            return Ok(Box::new(BufReader::with_capacity(BUFFER, io::stdin())));
        };
        let file = File::open(path).with_context(|| self.name.clone())?;
        let packed = BufReader::with_capacity(BUFFER, file);
        let unpacked: Box<dyn Read + Send> = match path.extension().and_then(|e| e.to_str()) {
            // Files are appended to and concatenated; their size is nobody's promise.
            #[allow(clippy::disallowed_types)]
            Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Some("zst") => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
            _ => return Ok(Box::new(packed)),
        };
        Ok(Box::new(BufReader::with_capacity(BUFFER, unpacked)))
    }

    /// Hex of half a SHA-256, and the number of lines. Reads everything once, so a file that is cut off is found
    /// before anything of it is sent.
    fn digest(&self) -> Result<(String, Option<u64>)> {
        let mut reader = self.open()?;
        let (mut hash, mut lines, mut last) = (Sha256::new(), 0_u64, b'\n');
        loop {
            let bytes = reader.fill_buf().with_context(|| format!("{} cannot be read", self.name))?;
            let Some(end) = bytes.last() else { break };
            last = *end;
            lines += bytes.iter().map(|b| u64::from(*b == b'\n')).sum::<u64>();
            hash.update(bytes);
            let read = bytes.len();
            reader.consume(read);
        }
        lines += u64::from(last != b'\n');
        let digest = hash.finalize();
        Ok((base16ct::lower::encode_string(&digest[..16]), Some(lines)))
    }
}

/// A name without the ending of its packing.
fn bare(name: &str) -> &str {
    name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
}

fn expand(argument: &str) -> Result<Vec<PathBuf>> {
    let path = PathBuf::from(argument);
    if path.exists() || !argument.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let found: Vec<PathBuf> = glob::glob(argument)?.collect::<Result<_, _>>()?;
    if found.is_empty() {
        bail!("{argument}: no such file");
    }
    Ok(found)
}
