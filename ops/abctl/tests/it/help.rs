//! `--help` of every command, word for word, up to the settings that commands share.

use crate::deployment::abctl;
use crate::tree;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn help_is_as_reviewed() {
    let reviewed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/help");
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("help");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).unwrap();
    let mut names = BTreeSet::new();
    let mut different = Vec::new();
    for path in tree::paths() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let shown = abctl(&arguments, &[], None).ok();
        let shown = shown.split("\nSettings:\n").next().unwrap();
        let name = if path.is_empty() { "abctl".to_owned() } else { path.join("_").replace('-', "_") };
        let file = format!("{name}.txt");
        if fs::read_to_string(reviewed.join(&file)).unwrap_or_default() != shown {
            different.push(name);
        }
        fs::write(fresh.join(&file), shown).unwrap();
        names.insert(file);
    }
    let there = fs::read_dir(&reviewed).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let gone: Vec<String> = there.filter(|file| !names.contains(file)).collect();
    assert!(
        different.is_empty() && gone.is_empty(),
        "{different:?} are not as in {0}, {gone:?} is of no command: if that is meant, rm -r {0} && cp -r {1} {0}",
        reviewed.display(),
        fresh.display(),
    );
}

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = abctl(&["completions", shell], &[], None).ok();
        for path in tree::paths().iter().filter(|path| !path.is_empty()) {
            assert!(script.contains(path.last().unwrap().as_str()), "{shell} {path:?}");
        }
        assert!(script.contains("conversions-days"), "{shell}");
    }
}
