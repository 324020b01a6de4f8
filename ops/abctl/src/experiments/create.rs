//! `abctl experiments create`: a definition from a file, from standard input, or from flags.

use super::{act, show};
use crate::api::Api;
use crate::output;
use crate::results::model::Experiment;
use crate::table::clean;
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::{Map, Value, json};
use service::settings::Refusal;
use std::fs::File;
use std::io::{self, ErrorKind, Read};

/// Create an experiment, from flags or from its definition as JSON.
///
/// The first variation is the control, the first metric the primary one. Creating the same again changes nothing.
#[derive(Debug, Args)]
#[command(
    override_usage = "abctl experiments create [OPTIONS] KEY --variation A --variation B --metric EVENT:TYPE\n       \
                      abctl experiments create [--start] FILE",
    after_help = "Examples:
  abctl experiments create checkout --variation control --variation one_page \\
      --metric purchase:proportion --metric revenue=purchase:mean --start
  abctl experiments create pricing --variation old=0.9 --variation new=0.1 --metric refund:mean,down,cap=500
  abctl experiments create definition.json
  curl -s https://example.com/definition.json | abctl experiments create -"
)]
pub struct Create {
    /// Key of the new experiment; without --variation and --metric, the JSON file of its definition (-: standard input).
    #[arg(value_name = "KEY|FILE", value_parser = NonEmptyStringValueParser::new())]
    subject: String,
    /// A variation and its share of the traffic, relative to the others' (default: equal shares); at least two.
    #[arg(long = "variation", value_name = "NAME[=WEIGHT]", value_parser = variation, requires = "metrics")]
    variations: Vec<Variation>,
    #[arg(
        long = "metric",
        value_name = "[NAME=]EVENT:TYPE[,OPTION..]",
        value_parser = metric,
        requires = "variations",
        help = METRIC_HELP,
        long_help = METRIC_HELP
    )]
    metrics: Vec<Metric>,
    /// Name for people (default: the key).
    #[arg(long, requires = "metrics")]
    name: Option<String>,
    /// Conversions count for this many hours after the exposure (default: without end).
    #[arg(long, value_name = "HOURS", requires = "metrics")]
    window_hours: Option<u32>,
    /// Start it at once.
    #[arg(long)]
    start: bool,
}

const METRIC_HELP: &str = "What is measured of each user, from the conversions named EVENT; TYPE is one of
  proportion  whether there is any
  mean        the sum of their values
  count       their number
  ratio       the sum of their values over their number, or with EVENT/OTHER over the sum of OTHER's values
OPTION is one of
  down        lower is better
  primary, secondary, guardrail
  cap=N       upper bound of a user's sum (mean) or number (count)
NAME is the event's, unless given";

#[derive(Debug, Clone, PartialEq)]
struct Variation {
    key: String,
    weight: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Metric {
    key: String,
    event: String,
    denominator: Option<String>,
    kind: &'static str,
    down: bool,
    role: Option<&'static str>,
    cap: Option<String>,
}

/// Definitions are far smaller; the service would refuse a larger one.
const FILE_MAX: u64 = 1 << 20;

impl Create {
    pub async fn run(&self, api: &mut Api, json: bool) -> Result<()> {
        let body = match self.definition()? {
            Some(definition) => definition.to_string().into_bytes(),
            None => self.read()?,
        };
        let mut answer = api.post("/api/v1/experiments", body).await?;
        let created = answer.status == 201;
        if self.start {
            let experiment: Experiment = api.read(&answer)?;
            answer = act(api, &experiment.id.to_string(), "start").await?;
        }
        if json {
            return Ok(output::untouched(&answer.body)?);
        }
        let experiment: Experiment = api.read(&answer)?;
        let key = clean(&experiment.key);
        let what = if created { "created" } else { "was there already, with the same definition:" };
        let next = match experiment.status.as_str() {
            "draft" => format!("\n`abctl experiments start {key}` opens it for exposures\n"),
            _ => String::new(),
        };
        Ok(output::text(&format!("{what} {}{next}", show::page(&experiment)))?)
    }

    /// As the flags say; none when there is a file instead.
    pub fn definition(&self) -> Result<Option<Value>, Refusal> {
        if self.variations.is_empty() {
            return Ok(None);
        }
        let weighted = self.variations.iter().filter(|v| v.weight.is_some()).count();
        if weighted != 0 && weighted != self.variations.len() {
            return Err(Refusal::new("--variation", "give each of them a weight, or none"));
        }
        let mut definition = Map::new();
        definition.insert("key".into(), json!(self.subject));
        if let Some(name) = &self.name {
            definition.insert("name".into(), json!(name));
        }
        let variations: Vec<Value> = self.variations.iter().map(Variation::definition).collect();
        let metrics: Vec<Value> = self.metrics.iter().map(Metric::definition).collect();
        definition.insert("variations".into(), variations.into());
        definition.insert("metrics".into(), metrics.into());
        if let Some(hours) = self.window_hours {
            definition.insert("attribution".into(), json!({"window_hours": hours}));
        }
        Ok(Some(definition.into()))
    }

    fn read(&self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.subject == "-" {
            io::stdin().take(FILE_MAX + 1).read_to_end(&mut body).context("standard input")?;
        } else {
            let file = File::open(&self.subject).map_err(|error| match error.kind() {
                ErrorKind::NotFound => anyhow::Error::from(Refusal::new(
                    &self.subject,
                    "there is no such file; a key needs --variation, at least twice, and --metric",
                )),
                _ => anyhow::Error::from(error).context(self.subject.clone()),
            })?;
            file.take(FILE_MAX + 1).read_to_end(&mut body).with_context(|| self.subject.clone())?;
        }
        if body.len() as u64 > FILE_MAX {
            return Err(Refusal::new(&self.subject, format!("is longer than {FILE_MAX} bytes")).into());
        }
        Ok(body)
    }
}

/// `NAME[=WEIGHT]`.
fn variation(text: &str) -> Result<Variation, String> {
    let Some((key, weight)) = text.rsplit_once('=') else {
        return Ok(Variation { key: text.to_owned(), weight: None });
    };
    match weight.parse::<f64>() {
        Ok(weight) if weight.is_finite() && weight >= 0.0 => {
            Ok(Variation { key: key.to_owned(), weight: Some(weight) })
        }
        _ => Err(format!("the weight `{weight}` is not a number from 0 on")),
    }
}

/// `[NAME=]EVENT[/DENOMINATOR]:TYPE[,OPTION..]`.
fn metric(text: &str) -> Result<Metric, String> {
    let types = "proportion, mean, count or ratio";
    let (what, how) = text.rsplit_once(':').ok_or_else(|| format!("no type: EVENT:TYPE, with {types}"))?;
    let mut options = how.split(',');
    let kind = match options.next().unwrap_or_default() {
        "proportion" => "proportion",
        "mean" => "mean",
        "count" => "count",
        "ratio" => "ratio",
        other => return Err(format!("`{other}` is no type: {types}")),
    };
    let (key, source) = what.split_once('=').map_or((None, what), |(key, source)| (Some(key), source));
    let (event, denominator) = match source.split_once('/') {
        Some((event, below)) if kind == "ratio" => (event, Some(below.to_owned())),
        _ => (source, None),
    };
    let mut metric = Metric {
        key: key.unwrap_or(event).to_owned(),
        event: event.to_owned(),
        denominator,
        kind,
        down: false,
        role: None,
        cap: None,
    };
    for option in options {
        match option {
            "down" => metric.down = true,
            "primary" => metric.role = Some("primary"),
            "secondary" => metric.role = Some("secondary"),
            "guardrail" => metric.role = Some("guardrail"),
            _ => match option.strip_prefix("cap=") {
                Some(cap) => metric.cap = Some(cap.to_owned()),
                None => {
                    return Err(format!(
                        "`{option}` is no option: down, primary, secondary, guardrail, cap=N"
                    ));
                }
            },
        }
    }
    Ok(metric)
}

impl Variation {
    fn definition(&self) -> Value {
        match self.weight {
            Some(weight) => json!({"key": self.key, "weight": weight}),
            None => json!({"key": self.key}),
        }
    }
}

impl Metric {
    fn definition(&self) -> Value {
        let mut metric = json!({"key": self.key, "event": self.event, "type": self.kind});
        if let Some(below) = &self.denominator {
            metric["denominator"] = json!(below);
        }
        if self.down {
            metric["direction"] = json!("down");
        }
        if let Some(role) = self.role {
            metric["role"] = json!(role);
        }
        if let Some(cap) = &self.cap {
            metric["cap"] = json!(cap);
        }
        metric
    }
}
