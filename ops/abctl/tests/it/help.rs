//! `--help` of every command, word for word, up to the settings that commands share.

use crate::deployment::abctl;
use crate::golden::assert_reviewed;
use crate::tree;
use std::collections::BTreeMap;

#[test]
fn help_is_as_reviewed() {
    let mut texts = BTreeMap::new();
    for path in tree::paths() {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let shown = abctl(&arguments, &[], None).ok();
        let shown = shown.split("\nSettings:\n").next().unwrap();
        let name = if path.is_empty() { "abctl".to_owned() } else { path.join(" ") };
        texts.insert(name, shown.to_owned());
    }
    assert_reviewed("help", &texts);
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
