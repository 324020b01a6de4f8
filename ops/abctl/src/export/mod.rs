//! `abctl export`: an experiment's users, conversions or results as a file, written as they come. A file has its name
//! only once it is whole.

mod sink;

use crate::api::Api;
use crate::client::segment;
use crate::output::{self, Progress};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use domain::Day;
use serde::Serialize;
use service::settings::{Refusal, Settings};
use sink::Sink;
use std::path::PathBuf;

/// Write an experiment's users, conversions or results to a file.
///
/// Units and conversions, replayed into an empty deployment with the same experiments (`abctl workspace import`), give
/// the same answers: `abctl replay --kind units`, then `abctl replay` for the conversions. A file that could not be
/// completed does not get its name.
#[derive(Args)]
pub struct Export {
    /// Key or number.
    experiment: String,
    /// A row for each user, each conversion, or each metric and variation.
    #[arg(long, value_enum, default_value_t = Kind::Units)]
    kind: Kind,
    /// Where to; packed if the name ends with .gz or .zst. Standard output unless given.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// As the name of the file ends, unless given; CSV on standard output.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Rows, at most. The last line of a file that was cut says so.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Results as known at the end of this day (UTC).
    #[arg(long, value_name = "DATE", value_parser = date)]
    as_of: Option<Day>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Units,
    Conversions,
    Results,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
}

/// How it ended.
#[derive(Serialize)]
struct Summary {
    file: PathBuf,
    rows: u64,
    /// There are more rows than were asked for.
    cut: bool,
}

fn date(text: &str) -> Result<Day, String> {
    Day::parse(text).ok_or_else(|| "a date such as 2026-11-21".into())
}

impl Export {
    pub async fn run(&self, settings: &Settings, json: bool) -> Result<()> {
        let format = self.format()?;
        let mut path = format!(
            "/api/v1/experiments/{}/export?kind={}&format={}",
            segment(&self.experiment),
            name(self.kind),
            name(format)
        );
        if let Some(limit) = self.limit {
            path += &format!("&limit={limit}");
        }
        if let Some(day) = self.as_of {
            path += &format!("&as_of={day}");
        }
        let mut api = Api::of(settings)?;
        let mut body = api.download(&path).await?;
        let mut sink = Sink::open(self.output.clone())?;
        let progress = Progress::counting("rows");
        while let Some(bytes) = body.next().await.context("the export was broken off: run it again")? {
            let before = sink.lines();
            sink.write(&bytes)?;
            progress.add(sink.lines() - before);
        }
        progress.finish();
        let (lines, cut) = (sink.lines(), sink.is_cut());
        let head = u64::from(format == Format::Csv && lines > 0);
        let rows = lines.saturating_sub(head + u64::from(cut));
        sink.finish()?;
        if cut {
            output::note(&format!("cut after {rows} rows: there are more"));
        }
        match &self.output {
            Some(file) if json => output::json(&Summary { file: file.clone(), rows, cut })?,
            Some(file) => output::text(&format!("{rows} rows in {}\n", file.display()))?,
            None => {}
        }
        Ok(())
    }

    fn format(&self) -> Result<Format, Refusal> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let Some(file) = &self.output else { return Ok(Format::Csv) };
        let mut file = file.clone();
        if sink::Packing::of(&file) != sink::Packing::None {
            file.set_extension("");
        }
        match file.extension().and_then(|e| e.to_str()) {
            Some("csv") => Ok(Format::Csv),
            Some("ndjson" | "jsonl" | "json") => Ok(Format::Ndjson),
            _ => Err(Refusal::new(
                "--output",
                "ends neither with .csv nor .ndjson (.gz, .zst): say which with --format",
            )),
        }
    }
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
