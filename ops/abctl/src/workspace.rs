//! `abctl workspace`: the definitions of all experiments as a file, and back.

use crate::api::Api;
use crate::output;
use crate::table::{Align, Cell, Table, clean};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use service::settings::Settings;
use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

/// Larger files are refused before they are read: the service takes 8 MiB.
const FILE_MAX: u64 = 64 << 20;

#[derive(Subcommand)]
pub enum Workspace {
    Export(Out),
    /// Say what importing a file would do: what would be created, what is there, what is in the way.
    Validate(In),
    Import(Import),
}

/// Write the definitions of all experiments to a file.
///
/// Neither ids nor statuses nor events: `abctl export` writes those. The file has a checksum, and a signature if the
/// service has AB_WORKSPACE_SIGNING_KEY.
#[derive(Args)]
pub struct Out {
    /// Standard output unless given.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Args)]
pub struct In {
    /// - for standard input.
    file: PathBuf,
}

/// Create the experiments of a file, all of them or none.
///
/// They are drafts. Experiments that are there as defined are left alone; another definition under the same key is a
/// conflict, and nothing is imported.
#[derive(Args)]
pub struct Import {
    #[command(flatten)]
    from: In,
    /// Say what it would do, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize, Deserialize)]
struct Report {
    dry_run: bool,
    signature: String,
    created: u64,
    equal: u64,
    conflicts: u64,
    experiments: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    outcome: String,
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Workspace {
    /// Whether nothing is in the way.
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<bool> {
        let mut api = Api::of(settings)?;
        let (from, what) = match self {
            Workspace::Export(to) => return to.write(&mut api).await.map(|()| true),
            Workspace::Validate(from) | Workspace::Import(Import { from, dry_run: true }) => {
                (from, "validate")
            }
            Workspace::Import(Import { from, .. }) => (from, "import"),
        };
        let answer = api.post_packed(&format!("/api/v1/workspace/{what}"), from.packed()?).await?;
        let report: Report = api.read(&answer)?;
        if json {
            output::json(&report)?
        } else {
            output::text(&report.text())?
        }
        Ok(report.conflicts == 0)
    }
}

impl Out {
    async fn write(&self, api: &mut Api) -> Result<()> {
        let answer = api.get("/api/v1/workspace/export").await?;
        let Some(file) = &self.output else { return Ok(output::untouched(&answer.body)?) };
        let written = fs::write(file, [&answer.body[..], b"\n"].concat());
        written.with_context(|| format!("{} cannot be written", file.display()))
    }
}

impl In {
    /// What the file holds, as gzip.
    fn packed(&self) -> Result<Vec<u8>> {
        let name = || format!("{} cannot be read", self.file.display());
        let mut bytes = Vec::new();
        if self.file.as_os_str() == "-" {
            io::stdin().take(FILE_MAX).read_to_end(&mut bytes)?;
        } else {
            fs::File::open(&self.file)
                .with_context(name)?
                .take(FILE_MAX)
                .read_to_end(&mut bytes)
                .with_context(name)?;
        }
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&bytes)?;
        Ok(packed.finish()?)
    }
}

impl Report {
    fn text(&self) -> String {
        let mut table = Table::new([
            ("experiment", Align::Left),
            ("outcome", Align::Left),
            ("id", Align::Right),
            ("", Align::Left),
        ]);
        for line in &self.experiments {
            let id = line.id.map_or_else(String::new, |id| id.to_string());
            let outcome = match line.outcome.as_str() {
                "created" if self.dry_run => "to be created",
                other => other,
            };
            let detail = line.detail.as_deref().unwrap_or_default();
            table.row([clean(&line.key), outcome.to_owned(), id, clean(detail)].map(Cell::from));
        }
        let Report { dry_run, signature, created, equal, conflicts, .. } = self;
        let (what, signature) = match (dry_run, signature.as_str()) {
            (true, "valid") => ("validate", "valid"),
            (true, _) => ("validate", "not checked"),
            (false, "valid") => ("import", "valid"),
            (false, _) => ("import", "not checked"),
        };
        format!(
            "{}{what}: created={created} equal={equal} conflicts={conflicts}, signature {signature}\n",
            table.render(0)
        )
    }
}
