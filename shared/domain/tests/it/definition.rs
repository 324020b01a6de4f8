use domain::definition::{Analysis, Correction, Cuped, Definition, Direction, Invalid, Mode, Role};
use serde_json::{Value, json};

/// A definition from its JSON, checked.
pub fn read(json: Value) -> Definition {
    serde_json::from_str::<Definition>(&json.to_string()).unwrap().checked().unwrap()
}

/// One metric of every kind, over three events, two of them capped.
pub fn all_kinds() -> Definition {
    read(json!({
        "key": "all-kinds",
        "variations": [{"key": "a"}, {"key": "b"}, {"key": "c"}],
        "metrics": [
            {"key": "signup", "type": "proportion"},
            {"key": "revenue", "event": "purchase", "type": "mean"},
            {"key": "revenue-capped", "event": "purchase", "type": "mean", "cap": "12.5"},
            {"key": "purchase", "type": "count"},
            {"key": "purchase-capped", "event": "purchase", "type": "count", "cap": 2},
            {"key": "basket", "type": "ratio", "numerator": "purchase"},
            {"key": "margin", "type": "ratio", "numerator": "profit", "denominator": "purchase"},
        ],
    }))
}

fn minimal() -> Value {
    json!({
        "key": "checkout",
        "variations": [{"key": "control"}, {"key": "treatment"}],
        "metrics": [{"key": "purchase", "type": "mean"}, {"key": "visits", "type": "count"}],
    })
}

/// The minimal definition with one value replaced, added (or, for null, removed), then read and checked.
fn with(pointer: &str, value: Value) -> Result<Definition, Invalid> {
    let mut json = minimal();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    match json.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(field.into(), value)),
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = value,
        other => panic!("{pointer} leads into {other}"),
    }
    serde_json::from_str::<Definition>(&json.to_string()).unwrap().checked()
}

fn variations(n: usize) -> Value {
    (0..n).map(|i| json!({"key": format!("v{i}")})).collect()
}

fn metrics(n: usize) -> Value {
    (0..n).map(|i| json!({"key": format!("m{i}"), "type": "proportion"})).collect()
}

#[test]
fn every_rule_names_the_field_it_refuses() {
    let long = "x".repeat(101);
    let table = [
        ("/key", json!(""), "/key"),
        ("/key", json!("1st"), "/key"),
        ("/key", json!("-a"), "/key"),
        ("/key", json!("a b"), "/key"),
        ("/key", json!("é"), "/key"),
        ("/key", json!("a\u{0}"), "/key"),
        ("/key", json!(long), "/key"),
        ("/name", json!("a\u{0}b"), "/name"),
        ("/name", json!(long), "/name"),
        ("/variations", variations(0), "/variations"),
        ("/variations", variations(1), "/variations"),
        ("/variations", variations(11), "/variations"),
        ("/variations", json!([{"key": "a", "weight": 0}, {"key": "b", "weight": 0}]), "/variations"),
        ("/variations/1/key", json!(""), "/variations/1/key"),
        ("/variations/1/key", json!("control"), "/variations/1/key"),
        ("/variations/1/name", json!("\n"), "/variations/1/name"),
        ("/variations/0/weight", json!(-0.1), "/variations/0/weight"),
        ("/variations/0/weight", json!(1.1e9), "/variations/0/weight"),
        ("/metrics", metrics(0), "/metrics"),
        ("/metrics", metrics(51), "/metrics"),
        ("/metrics/1/key", json!(""), "/metrics/1/key"),
        ("/metrics/1/key", json!("purchase"), "/metrics/1/key"),
        ("/metrics/1/event", json!(long), "/metrics/1/event"),
        ("/metrics/0/numerator", json!("x"), "/metrics/0/numerator"),
        ("/metrics/0/denominator", json!("x"), "/metrics/0/denominator"),
        ("/metrics/0/cap", json!(0), "/metrics/0/cap"),
        ("/metrics/0/cap", json!("-1"), "/metrics/0/cap"),
        ("/metrics/1/cap", json!(2.5), "/metrics/1/cap"),
        ("/metrics/0", json!({"key": "a", "type": "proportion", "cap": 1}), "/metrics/0/cap"),
        ("/metrics/0", json!({"key": "a", "type": "ratio", "cap": 1}), "/metrics/0/cap"),
        ("/metrics/0", json!({"key": "a", "type": "ratio", "numerator": ""}), "/metrics/0/numerator"),
        ("/metrics/0", json!({"key": "a", "type": "ratio", "denominator": "\t"}), "/metrics/0/denominator"),
        (
            "/metrics",
            json!([{"key": "a", "type": "count", "role": "primary"}, {"key": "b", "type": "count", "role": "primary"}]),
            "/metrics",
        ),
        ("/analysis", json!({"alpha": 0}), "/analysis/alpha"),
        ("/analysis", json!({"alpha": 1}), "/analysis/alpha"),
        ("/analysis", json!({"srm_alpha": -1}), "/analysis/srm_alpha"),
        ("/analysis", json!({"cuped": {"lookback_days": 367}}), "/analysis/cuped/lookback_days"),
        ("/analysis", json!({"cuped": {"gap_minutes": 10081}}), "/analysis/cuped/gap_minutes"),
        ("/metrics/0/margin", json!(0.01), "/metrics/0/margin"),
        (
            "/metrics/1",
            json!({"key": "a", "type": "count", "role": "guardrail", "margin": -0.01}),
            "/metrics/1/margin",
        ),
        (
            "/metrics/1",
            json!({"key": "a", "type": "count", "role": "guardrail", "margin": 1}),
            "/metrics/1/margin",
        ),
        ("/analysis", json!({"power": 1}), "/analysis/power"),
        ("/analysis", json!({"power": 0.05}), "/analysis/power"),
        ("/analysis", json!({"mde": 0}), "/analysis/mde"),
        ("/analysis", json!({"mde": -0.02}), "/analysis/mde"),
        ("/analysis", json!({"mde": 10.5}), "/analysis/mde"),
        ("/analysis", json!({"min_days": 367}), "/analysis/min_days"),
        ("/analysis", json!({"prior": {"stddev": 0}}), "/analysis/prior/stddev"),
        ("/analysis", json!({"prior": {"stddev": 11}}), "/analysis/prior/stddev"),
        ("/analysis", json!({"prior": {"mean": -11, "stddev": 1}}), "/analysis/prior/mean"),
        ("/analysis", json!({"mode": "group_sequential"}), "/analysis/looks"),
        ("/analysis", json!({"mode": "group_sequential", "looks": [100, 100]}), "/analysis/looks"),
        ("/analysis", json!({"mode": "group_sequential", "looks": [200, 100]}), "/analysis/looks"),
        ("/analysis", json!({"mode": "group_sequential", "looks": [1]}), "/analysis/looks"),
        (
            "/analysis",
            json!({"mode": "group_sequential", "looks": [2, 1_000_000_000_001u64]}),
            "/analysis/looks",
        ),
        (
            "/analysis",
            json!({"mode": "group_sequential", "looks": (2..23).collect::<Vec<_>>()}),
            "/analysis/looks",
        ),
        ("/analysis", json!({"mode": "fixed", "looks": [100, 200]}), "/analysis/looks"),
        ("/analysis", json!({"looks": [100, 200]}), "/analysis/looks"),
        ("/analysis", json!({"mode": "bayesian", "looks": [100]}), "/analysis/looks"),
        (
            "/analysis",
            json!({"cuped": {"lookback_days": 1, "gap_minutes": 1440}}),
            "/analysis/cuped/gap_minutes",
        ),
        (
            "/analysis",
            json!({"cuped": {"covariates": ["a", "b", "c", "d", "e", "f"]}}),
            "/analysis/cuped/covariates",
        ),
        ("/analysis", json!({"cuped": {"covariates": ["a", "b", "a"]}}), "/analysis/cuped/covariates/2"),
        ("/analysis", json!({"cuped": {"covariates": ["a", ""]}}), "/analysis/cuped/covariates/1"),
        ("/attribution", json!({"window_hours": 0}), "/attribution/window_hours"),
        ("/attribution", json!({"window_hours": 87_601}), "/attribution/window_hours"),
        ("/attribution", json!({"window_hours": u32::MAX}), "/attribution/window_hours"),
        ("/attribution", json!({"tolerance_seconds": 86_401}), "/attribution/tolerance_seconds"),
        ("/spike_limit", json!(0), "/spike_limit"),
    ];
    for (pointer, value, expected) in table {
        let refused = with(pointer, value.clone()).expect_err(&format!("{pointer} = {value}"));
        assert_eq!(refused.pointer, expected, "{pointer} = {value}: {refused}");
    }
}

#[test]
fn the_edges_inside_are_accepted() {
    let table = [
        ("/key", json!("x".repeat(100))),
        ("/key", json!("A.b_c-9")),
        ("/name", json!("Größe \u{1f600}")),
        ("/variations", variations(10)),
        ("/variations/0/weight", json!(0)),
        ("/variations/0/weight", json!(1e9)),
        ("/metrics", metrics(50)),
        ("/metrics/0/cap", json!("0.000001")),
        ("/metrics/1/cap", json!(1)),
        ("/analysis", json!({"cuped": {"lookback_days": 366, "gap_minutes": 10080}})),
        ("/analysis", json!({"cuped": {"lookback_days": 0, "gap_minutes": 60}})),
        ("/analysis", json!({"cuped": {"lookback_days": 0, "covariates": ["told"]}})),
        (
            "/analysis",
            json!({"cuped": {"lookback_days": 1, "gap_minutes": 1439, "covariates": ["a", "b", "c", "d", "e"]}}),
        ),
        ("/analysis", json!({"mode": "group_sequential", "looks": (2..22).collect::<Vec<_>>(), "mde": 10})),
        (
            "/analysis",
            json!({"mode": "fixed", "looks": [1_000_000_000_000u64], "power": 0.051, "min_days": 0}),
        ),
        (
            "/analysis",
            json!({"mode": "bayesian", "prior": {"stddev": 10}, "correction": "none", "min_days": 366}),
        ),
        ("/analysis", json!({"correction": "benjamini_hochberg", "prior": {"mean": 0.1, "stddev": 1e-9}})),
        ("/metrics/1", json!({"key": "a", "type": "count", "role": "guardrail", "margin": 0})),
        ("/attribution", json!({"window_hours": 87_600, "tolerance_seconds": 86_400})),
        ("/spike_limit", json!(1)),
    ];
    for (pointer, value) in table {
        let checked = with(pointer, value.clone());
        assert!(checked.is_ok(), "{pointer} = {value}: {checked:?}");
    }
}

#[test]
fn fields_and_values_unknown_to_this_release_are_refused() {
    for (pointer, value) in [
        ("/colour", json!(1)),
        ("/variations/0/colour", json!(1)),
        ("/metrics/0/colour", json!(1)),
        ("/attribution", json!({"colour": 1})),
        ("/analysis", json!({"colour": 1})),
        ("/analysis", json!({"cuped": {"colour": 1}})),
        ("/analysis", json!({"prior": {"stddev": 1, "colour": 1}})),
        ("/analysis", json!({"prior": {"mean": 1}})),
        ("/analysis", json!({"mode": "peeking"})),
        ("/analysis", json!({"correction": "bonferroni"})),
        ("/analysis", json!({"looks": [-1]})),
        ("/metrics/0/type", json!("median")),
        ("/metrics/0/role", json!("main")),
        ("/metrics/0/cap", json!("x")),
        ("/crossovers", json!("drop")),
        ("/spike_limit", json!(-1)),
    ] {
        let mut json = minimal();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        json.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.into(), value);
        assert!(serde_json::from_str::<Definition>(&json.to_string()).is_err(), "{pointer}");
    }
}

#[test]
fn defaults_are_those_of_the_contract() {
    let d = with("/name", json!("")).unwrap();
    assert_eq!((d.name.as_str(), d.variations[1].name.as_str()), ("checkout", "treatment"));
    assert_eq!(d.variations[0].weight, 1.0);
    assert_eq!(
        d.metrics.iter().map(|m| m.role).collect::<Vec<_>>(),
        [Some(Role::Primary), Some(Role::Secondary)]
    );
    assert_eq!(d.metrics[0].direction, Direction::Up);
    assert_eq!(d.metrics[0].event(), "purchase");
    assert_eq!((d.attribution.window_hours, d.attribution.tolerance_seconds), (None, 0));
    assert_eq!((d.analysis.alpha, d.analysis.srm_alpha), (0.05, 0.001));
    assert_eq!((d.analysis.mode, d.analysis.correction), (Mode::Sequential, Correction::Holm));
    assert_eq!((d.analysis.power, d.analysis.mde, d.analysis.min_days), (0.8, None, 7));
    assert_eq!((d.analysis.looks.len(), d.analysis.planned_size(), d.analysis.prior), (0, None, None));
    assert_eq!((d.analysis.cuped.lookback_days, d.analysis.cuped.gap_minutes), (14, 60));
    assert_eq!((d.spike_limit, d.crossovers), (None, domain::definition::Crossovers::Keep));
    assert_eq!((d.variation_index("treatment"), d.variation_index("none")), (Some(1), None));
}

#[test]
fn the_first_unmarked_metric_is_primary_unless_another_is() {
    let d = with("/metrics/1/role", json!("primary")).unwrap();
    assert_eq!(
        d.metrics.iter().map(|m| m.role).collect::<Vec<_>>(),
        [Some(Role::Secondary), Some(Role::Primary)]
    );
    let d = with("/metrics/0/role", json!("guardrail")).unwrap();
    assert_eq!(
        d.metrics.iter().map(|m| m.role).collect::<Vec<_>>(),
        [Some(Role::Guardrail), Some(Role::Primary)]
    );
}

/// A metric that is to go down cannot go down by all of itself or more.
#[test]
fn the_smallest_effect_must_be_possible() {
    let primary = |direction: &str| json!([{"key": "a", "type": "mean"}, {"key": "b", "type": "mean", "role": "primary", "direction": direction}]);
    let check = |direction: &str| {
        let mut json = minimal();
        json["metrics"] = primary(direction);
        json["analysis"] = json!({"mde": 1});
        serde_json::from_str::<Definition>(&json.to_string()).unwrap().checked()
    };
    assert!(check("up").is_ok());
    assert_eq!(check("down").unwrap_err().pointer, "/analysis/mde");
}

/// As the release before this one stored it.
#[test]
fn definitions_stored_by_an_earlier_release_read_as_they_were_meant() {
    let stored = r#"{"key":"checkout","name":"Checkout","variations":[{"key":"control","name":"control","weight":1.0},
        {"key":"treatment","name":"treatment","weight":1.0}],"metrics":[{"key":"purchase","type":"mean","direction":"up",
        "role":"primary","cap":"99.5"}],"attribution":{"window_hours":null,"tolerance_seconds":0},"spike_limit":null,
        "crossovers":"keep","analysis":{"alpha":0.1,"srm_alpha":0.001,"cuped":{"lookback_days":7,"gap_minutes":60}}}"#;
    let read: Definition = serde_json::from_str(stored).unwrap();
    let analysis = Analysis {
        alpha: 0.1,
        cuped: Cuped { lookback_days: 7, gap_minutes: 60, covariates: vec![] },
        ..Analysis::default()
    };
    assert_eq!((read.analysis.clone(), read.metrics[0].margin), (analysis, None));
    assert_eq!(read.clone().checked(), Ok(read));
}

/// It is stored as its JSON: reading it back and checking it again changes nothing.
#[test]
fn the_stored_form_reads_back() {
    let everything = json!({
        "mode": "group_sequential", "alpha": 0.01, "power": 0.9, "mde": 0.02, "srm_alpha": 0.0001, "min_days": 14,
        "correction": "benjamini_hochberg", "looks": [1000, 2000], "prior": {"mean": 0.001, "stddev": 0.3},
        "cuped": {"lookback_days": 28, "gap_minutes": 30, "covariates": ["visit"]},
    });
    let mut d = with("/analysis", everything).unwrap();
    d.metrics[0].cap = Some(domain::Decimal(99_500_000));
    d.metrics[1].role = Some(Role::Guardrail);
    d.metrics[1].margin = Some(0.015);
    let stored = serde_json::to_string(&d).unwrap();
    let read: Definition = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.clone().checked().unwrap(), d);
    // Also through a parsed tree, as a jsonb column hands it out.
    let tree: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(serde_json::from_value::<Definition>(tree).unwrap(), read);
}
