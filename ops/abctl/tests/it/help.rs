//! `--help`, word for word, up to the settings that commands share.

use crate::deployment::abctl;

#[test]
fn help_is_as_reviewed() {
    let mut different = Vec::new();
    for (name, arguments) in [
        ("abctl", vec!["--help"]),
        ("config", vec!["config", "--help"]),
        ("experiments", vec!["experiments", "--help"]),
        ("experiments_create", vec!["experiments", "create", "--help"]),
        ("experiments_list", vec!["experiments", "list", "--help"]),
        ("experiments_start", vec!["experiments", "start", "--help"]),
        ("demo", vec!["demo", "--help"]),
        ("migrate_store", vec!["migrate-store", "--help"]),
        ("replay", vec!["replay", "--help"]),
        ("rebuild", vec!["rebuild", "--help"]),
        ("results", vec!["results", "--help"]),
        ("export", vec!["export", "--help"]),
        ("workspace", vec!["workspace", "--help"]),
        ("workspace_export", vec!["workspace", "export", "--help"]),
        ("workspace_import", vec!["workspace", "import", "--help"]),
        ("dead_letters", vec!["dead-letters", "--help"]),
        ("dead_letters_list", vec!["dead-letters", "list", "--help"]),
        ("dead_letters_show", vec!["dead-letters", "show", "--help"]),
        ("dead_letters_redrive", vec!["dead-letters", "redrive", "--help"]),
        ("dead_letters_drop", vec!["dead-letters", "drop", "--help"]),
        ("webhooks", vec!["webhooks", "--help"]),
        ("webhooks_create", vec!["webhooks", "create", "--help"]),
        ("webhooks_deliveries", vec!["webhooks", "deliveries", "--help"]),
        ("webhooks_test", vec!["webhooks", "test", "--help"]),
        ("keys", vec!["keys", "--help"]),
        ("keys_list", vec!["keys", "list", "--help"]),
        ("keys_create", vec!["keys", "create", "--help"]),
        ("keys_revoke", vec!["keys", "revoke", "--help"]),
        ("audit", vec!["audit", "--help"]),
        ("up", vec!["up", "--help"]),
    ] {
        let shown = abctl(&arguments, &[], None).ok();
        let shown = shown.split("\nSettings:\n").next().unwrap();
        let path = format!("{}/tests/data/help/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::fs::read_to_string(&path).unwrap_or_default() != shown {
            different.push(format!("-- {name}\n{shown}"));
        }
    }
    assert!(different.is_empty(), "not as in tests/data/help:\n{}", different.join("\n"));
}
