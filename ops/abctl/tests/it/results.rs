//! The page of `abctl results`: fixed answers of the analyzer in, exact text out.

use abctl::results::model::{Experiment, LiveStats};
use abctl::results::{TrueLift, page};
use abctl::table::{Align, Table, clean, fit};
use proptest::prelude::*;
use serde::Deserialize;
use std::path::Path;
use unicode_width::UnicodeWidthStr;

#[derive(Deserialize)]
struct Case {
    experiment: Experiment,
    live_stats: LiveStats,
    #[serde(default)]
    truth: Vec<Truth>,
}

#[derive(Deserialize)]
struct Truth {
    metric: String,
    variation: usize,
    lift: f64,
}

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/results").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shown(name: &str) -> String {
    let case: Case = serde_json::from_str(&read(&format!("{name}.json"))).unwrap();
    let truth = case.truth.into_iter();
    let truth: Vec<TrueLift> =
        truth.map(|t| TrueLift { metric: t.metric, variation: t.variation, lift: t.lift }).collect();
    page(&case.experiment, &case.live_stats, &truth)
}

const CASES: [&str; 12] = [
    "typical",
    "no_data",
    "one_arm",
    "ten_arms",
    "wide_names",
    "srm_mismatch",
    "srm_certain",
    "unavailable",
    "huge",
    "few_users",
    "planned_looks",
    "simulated",
];

#[test]
fn each_answer_has_its_page() {
    let mut different = Vec::new();
    for name in CASES {
        let shown = anstream::adapter::strip_str(&shown(name)).to_string();
        if shown != read(&format!("{name}.txt")) {
            different.push(format!("-- {name}\n{shown}"));
        }
    }
    assert!(different.is_empty(), "not as in tests/data/results:\n{}", different.join("\n"));
}

#[test]
fn significant_effects_are_coloured_by_whether_they_are_good() {
    let (green, red) = ("\u{1b}[32m", "\u{1b}[31m");
    let page = shown("typical");
    // Up and good, up without significance, down and bad; nothing else.
    assert!(page.contains(&format!("{green}+14.3%")) && page.contains(" +7.0%"), "{page}");
    assert!(page.contains(&format!("{red}-4.1%")) && page.contains(&format!("{red}-6.6%")), "{page}");
    assert_eq!((page.matches(green).count(), page.matches(red).count()), (1, 2), "{page}");
    // Fewer refunds would be good.
    let mut case: Case = serde_json::from_str(&read("typical.json")).unwrap();
    let refunds = case.live_stats.metrics.last_mut().unwrap();
    refunds.comparisons[0].readings.sequential.as_mut().unwrap().relative.p_value = Some(0.01);
    let page = abctl::results::page(&case.experiment, &case.live_stats, &[]);
    assert!(page.contains(&format!("{green}-6.5%")), "{page}");
    assert!(shown("srm_mismatch").contains("\u{1b}[31mMISMATCH"));
}

#[test]
fn codes_of_a_later_service_are_shown_as_they_are() {
    let page = shown("unavailable");
    assert!(page.contains("  a_reason_of_tomorrow\n"), "{page}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,40}", "[a-z]{0,12}", "[界面テスト👩\u{200d}💻e\u{301}\u{fe0f}]{0,30}", "\\PC{0,60}"]
}

proptest! {
    #[test]
    fn a_fitted_text_is_never_wider_than_asked_for_nor_cut_without_need(name in text(), width in 1usize..40) {
        let fitted = fit(&name, width);
        prop_assert!(fitted.width() <= width, "{fitted:?}");
        prop_assert!(!fitted.chars().any(char::is_control));
        if clean(&name).width() <= width {
            prop_assert_eq!(fitted, clean(&name));
        } else {
            prop_assert!(fitted.ends_with('…'));
        }
    }

    #[test]
    fn columns_begin_in_the_same_place_whatever_is_in_them(rows in proptest::collection::vec([text(), text(), text()], 1..8)) {
        let mut table = Table::new([("a", Align::Left), ("b", Align::Right), ("c", Align::Left), ("", Align::Left)]);
        for [a, b, c] in &rows {
            table.row([fit(a, 20).into(), fit(b, 20).into(), fit(c, 20).into(), "\u{2551}".into()]);
        }
        let rendered = anstream::adapter::strip_str(&table.render(2)).to_string();
        let places: Vec<usize> = rendered
            .lines()
            .skip(1)
            .map(|line| line.strip_suffix('\u{2551}').map_or(0, UnicodeWidthStr::width))
            .collect();
        prop_assert_eq!(places.len(), rows.len());
        prop_assert!(places.iter().all(|place| *place > 2 && *place == places[0]), "{}\n{:?}", rendered, places);
    }
}
