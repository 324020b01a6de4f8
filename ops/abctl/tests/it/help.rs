//! `--help` of the client commands, word for word, up to the settings that all commands share.

use crate::deployment::abctl;

#[test]
fn help_is_as_reviewed() {
    let mut different = Vec::new();
    for (name, arguments) in [
        ("experiments", vec!["experiments", "--help"]),
        ("experiments_create", vec!["experiments", "create", "--help"]),
        ("experiments_list", vec!["experiments", "list", "--help"]),
        ("experiments_start", vec!["experiments", "start", "--help"]),
        ("results", vec!["results", "--help"]),
    ] {
        let shown = abctl(&arguments, &[], None).ok();
        let (shown, _) = shown.split_once("\nSettings:\n").unwrap();
        let path = format!("{}/tests/data/help/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::fs::read_to_string(&path).unwrap_or_default() != shown {
            different.push(format!("-- {name}\n{shown}"));
        }
    }
    assert!(different.is_empty(), "not as in tests/data/help:\n{}", different.join("\n"));
}
