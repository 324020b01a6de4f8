//! `experiments create`: whatever flags are accepted, what they make is a definition.

use abctl::experiments::create::Create;
use clap::{CommandFactory, FromArgMatches, Parser};
use domain::definition::{Definition, Direction, MetricKind, Role};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    create: Create,
}

fn parse(arguments: &[String]) -> Result<Create, clap::Error> {
    let arguments = std::iter::once("create").chain(arguments.iter().map(String::as_str));
    let matches = Command::command().try_get_matches_from(arguments)?;
    Ok(Command::from_arg_matches(&matches)?.create)
}

fn definition(arguments: &[&str]) -> Value {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    parse(&arguments).unwrap().definition().unwrap().unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    match parse(&arguments) {
        Err(error) => error.to_string(),
        Ok(create) => create.definition().unwrap_err().to_string(),
    }
}

#[test]
fn flags_say_what_the_definition_says() {
    assert_eq!(
        definition(&[
            "checkout",
            "--variation",
            "control",
            "--variation",
            "one_page",
            "--metric",
            "purchase:proportion",
            "--metric",
            "revenue=purchase:mean,cap=500,secondary",
            "--metric",
            "aov=revenue/orders:ratio",
            "--metric",
            "refund:count,down,guardrail",
            "--name",
            "One page checkout",
            "--window-hours",
            "72",
        ]),
        json!({
            "key": "checkout",
            "name": "One page checkout",
            "variations": [{"key": "control"}, {"key": "one_page"}],
            "metrics": [
                {"key": "purchase", "event": "purchase", "type": "proportion"},
                {"key": "revenue", "event": "purchase", "type": "mean", "cap": "500", "role": "secondary"},
                {"key": "aov", "event": "revenue", "type": "ratio", "denominator": "orders"},
                {"key": "refund", "event": "refund", "type": "count", "direction": "down", "role": "guardrail"},
            ],
            "attribution": {"window_hours": 72},
        })
    );
    let weighted = definition(&["k", "--variation=a=0.3", "--variation", "b=1e1", "--metric", "x/y:mean"]);
    assert_eq!(weighted["variations"], json!([{"key": "a", "weight": 0.3}, {"key": "b", "weight": 10.0}]));
    assert_eq!(weighted["metrics"][0]["event"], "x/y", "only a ratio has something below its line");
    assert!(parse(&["file.json".into()]).unwrap().definition().unwrap().is_none());
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_can() {
    let two = ["k", "--variation", "a", "--variation", "b"];
    let with = |metric: &'static str| refused(&[two.as_slice(), &["--metric", metric]].concat());
    assert!(with("purchase").contains("EVENT:TYPE, with proportion, mean, count or ratio"));
    assert!(with("purchase:median").contains("`median` is no type: proportion, mean, count or ratio"));
    assert!(with("purchase:mean,capped").contains("`capped` is no option: down, primary"));
    assert!(refused(&two).contains("--metric"), "no metric");
    assert!(refused(&["k", "--metric", "x:mean"]).contains("--variation"), "no variation");
    assert!(refused(&["file.json", "--name", "x"]).contains("--metric"), "a file has a name of its own");
    let mixed = ["k", "--variation", "a=0.3", "--variation", "b", "--metric", "x:mean"];
    assert_eq!(refused(&mixed), "--variation: give each of them a weight, or none");
    let odd = ["k", "--variation", "a=much", "--variation", "b", "--metric", "x:mean"];
    assert!(refused(&odd).contains("the weight `much` is not a number"));
    assert!(refused(&["k", "--variation", "a=-1", "--metric", "x:mean"]).contains("from 0 on"));
    assert!(refused(&["k", "--variation", "a=inf", "--metric", "x:mean"]).contains("from 0 on"));
}

/// A name as flags can give it.
fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_. é界-]{1,20}".prop_filter("not a flag, not padded away", |n| !n.starts_with('-'))
}

#[derive(Debug, Clone)]
struct MetricFlag {
    event: String,
    below: Option<String>,
    kind: &'static str,
    down: bool,
    guardrail: bool,
    cap: Option<u32>,
}

fn metric() -> impl Strategy<Value = MetricFlag> {
    let kind = prop::sample::select(vec!["proportion", "mean", "count", "ratio"]);
    (name(), option::of(name()), kind, any::<bool>(), any::<bool>(), option::of(1u32..1_000_000)).prop_map(
        |(event, below, kind, down, guardrail, cap)| MetricFlag {
            event,
            below: below.filter(|_| kind == "ratio"),
            kind,
            down,
            guardrail,
            cap: cap.filter(|_| matches!(kind, "mean" | "count")),
        },
    )
}

impl MetricFlag {
    fn text(&self, key: &str) -> String {
        let below = self.below.as_ref().map(|b| format!("/{b}")).unwrap_or_default();
        let mut text = format!("{key}={}{below}:{}", self.event, self.kind);
        text.push_str(if self.down { ",down" } else { "" });
        text.push_str(if self.guardrail { ",guardrail" } else { "" });
        self.cap.iter().for_each(|cap| text.push_str(&format!(",cap={cap}")));
        text
    }
}

proptest! {
    #[test]
    fn flags_make_the_definition_they_name(
        key in "[a-zA-Z][a-zA-Z0-9_.-]{0,30}",
        title in option::of(name()),
        variations in btree_set(name(), 2..=10),
        weights in option::of(vec((1u32..1_000_000).prop_map(|n| f64::from(n) / 1000.0), 10)),
        keys in btree_set(name(), 1..6),
        metrics in vec(metric(), 6),
        hours in option::of(1u32..=87_600),
    ) {
        let mut arguments = vec![key.clone()];
        for (i, variation) in variations.iter().enumerate() {
            let weight = weights.as_ref().map(|w| format!("={}", w[i])).unwrap_or_default();
            arguments.push(format!("--variation={variation}{weight}"));
        }
        for (key, metric) in keys.iter().zip(&metrics) {
            arguments.push(format!("--metric={}", metric.text(key)));
        }
        title.iter().for_each(|t| arguments.push(format!("--name={t}")));
        hours.iter().for_each(|h| arguments.push(format!("--window-hours={h}")));

        let made = parse(&arguments).unwrap().definition().unwrap().unwrap();
        let made: Definition = serde_json::from_str(&made.to_string()).unwrap();
        let made = made.checked().unwrap();

        prop_assert_eq!(&made.key, &key);
        prop_assert_eq!(made.name, title.unwrap_or(key));
        prop_assert_eq!(made.attribution.window_hours, hours);
        prop_assert!(made.variations.iter().map(|v| &v.key).eq(&variations));
        for (i, variation) in made.variations.iter().enumerate() {
            prop_assert_eq!(variation.weight, weights.as_ref().map_or(1.0, |w| w[i]));
        }
        prop_assert_eq!(made.metrics.len(), keys.len());
        for ((made, key), flag) in made.metrics.iter().zip(&keys).zip(&metrics) {
            prop_assert_eq!((&made.key, made.event()), (key, flag.event.as_str()));
            prop_assert_eq!(&made.denominator, &flag.below);
            prop_assert_eq!(made.direction, if flag.down { Direction::Down } else { Direction::Up });
            prop_assert_eq!(made.role == Some(Role::Guardrail), flag.guardrail);
            prop_assert_eq!(made.cap.map(|c| c.0), flag.cap.map(|c| i64::from(c) * 1_000_000));
            let kind = match made.kind {
                MetricKind::Proportion => "proportion",
                MetricKind::Mean => "mean",
                MetricKind::Count => "count",
                MetricKind::Ratio => "ratio",
            };
            prop_assert_eq!(kind, flag.kind);
        }
    }
}
