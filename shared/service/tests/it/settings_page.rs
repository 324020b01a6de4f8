//! What is written about settings names every one of them, with its default: the page and `.env.example`.

use clap::Command;
use service::settings::{Overview, Setting, Tier, all_flags};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const TIERS: [(Tier, &str); 5] = [
    (Tier::Gateway, "gateway"),
    (Tier::Worker, "worker"),
    (Tier::Analyzer, "analyzer"),
    (Tier::OneProcess, "`up`"),
    (Tier::Tool, "`abctl`"),
];
const MARK: &str = "<!-- From the code, as the test settings_page says. -->\n";

fn settings() -> Vec<Setting> {
    let matches = Command::new("any").args(all_flags()).get_matches_from(["any"]);
    Overview::of(&TIERS.map(|(tier, _)| tier), &HashMap::new(), &matches).unwrap().settings
}

fn names(of: &[Tier]) -> String {
    let names = TIERS.iter().filter(|(tier, _)| of.contains(tier)).map(|(_, name)| *name);
    if of.len() == TIERS.len() { "all".into() } else { names.collect::<Vec<_>>().join(", ") }
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// `fresh` is what `path` has to hold.
fn assert_written(path: &str, fresh: &str) {
    let found = std::fs::read_to_string(file(path)).unwrap_or_default();
    if found != fresh {
        let name = path.rsplit('/').next().unwrap();
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&place, fresh).unwrap();
        panic!("{path} is not of these settings: if they are meant, cp {} {path}", place.display());
    }
}

#[test]
fn the_page_has_every_setting() {
    let mut table = String::from("| Variable | Default | Read by | Meaning |\n|---|---|---|---|\n");
    for Setting { name, file_variable, doc, values } in settings() {
        let shown = |shown: &Option<String>| match shown {
            Some(text) => format!("`{text}`"),
            None => "unset".into(),
        };
        let default = match values.as_slice() {
            [(_, value)] => shown(&value.shown),
            several => several
                .iter()
                .map(|(tiers, value)| format!("{} {}", names(tiers), shown(&value.shown)))
                .collect::<Vec<_>>()
                .join("; "),
        };
        let readers: Vec<Tier> = values.iter().flat_map(|(tiers, _)| tiers).copied().collect();
        let file = file_variable.map(|name| format!(", `{name}`")).unwrap_or_default();
        let doc = doc.replace('|', "\\|");
        writeln!(table, "| `{name}`{file} | {default} | {} | {doc} |", names(&readers)).unwrap();
    }
    let page = std::fs::read_to_string(file("ops/docs/settings.md")).unwrap();
    let (text, _) = page.split_once(MARK).expect("the page has its mark");
    assert_written("ops/docs/settings.md", &format!("{text}{MARK}{table}"));
}

#[test]
fn the_example_has_every_setting() {
    let mut example = String::from(
        "# Every setting, with its default: copied as it is, this changes nothing. Remove a # to change a value.\n\
         # ops/docs/settings.md says who reads it. Where a program's default differs, the gateway's is shown.\n",
    );
    for Setting { name, file_variable, doc, values } in settings() {
        let default = values.first().and_then(|(_, value)| value.shown.clone()).unwrap_or_default();
        write!(example, "\n# {doc}\n# {name}={default}\n").unwrap();
        if let Some(variable) = file_variable {
            writeln!(example, "# {variable}=").unwrap();
        }
    }
    assert_written(".env.example", &example);
}

#[test]
fn the_example_can_be_loaded_as_it_is_and_with_every_line_in_force() {
    let example = std::fs::read_to_string(file(".env.example")).unwrap();
    let variables: HashMap<String, String> = example
        .lines()
        .filter_map(|line| line.strip_prefix("# AB_")?.split_once('='))
        .map(|(name, value)| (format!("AB_{name}"), value.to_owned()))
        .collect();
    assert!(variables.len() >= settings().len());
    let matches = Command::new("any").args(all_flags()).get_matches_from(["any"]);
    let loaded = Overview::of(&[Tier::Gateway], &variables, &matches).unwrap();
    let defaults = Overview::of(&[Tier::Gateway], &HashMap::new(), &matches).unwrap();
    for (setting, default) in loaded.settings.iter().zip(&defaults.settings) {
        assert_eq!(setting.values[0].1.shown, default.values[0].1.shown, "{}", setting.name);
    }
}
