//! `abctl config` as it is typed.

use crate::deployment::abctl;
use serde_json::{Value, json};

const FILE: &str = "\
redis_url: redis://:${REDIS_PASSWORD}@redis:6379/0
api_keys: ['a-hidden-key:shop:ingest']
partitions: 8
";

fn with_file<T>(test: impl FnOnce(&[(&str, &str)], &str) -> T) -> T {
    let dir = testkit::temp_dir("abctl-config").unwrap();
    let (file, secret) = (dir.join("ab.yaml"), dir.join("database-url"));
    std::fs::write(&file, FILE).unwrap();
    std::fs::write(&secret, "postgres://me:hidden@db/ab\n").unwrap();
    let env = [
        ("AB_CONFIG", file.to_str().unwrap()),
        ("REDIS_PASSWORD", "hidden"),
        ("AB_DATABASE_URL_FILE", secret.to_str().unwrap()),
        ("AB_PARTITIONS", "4"),
        ("AB_SQLITE_PATH", "x"),
        ("PORT", "7000"),
    ];
    let ended = test(&env, secret.to_str().unwrap());
    std::fs::remove_dir_all(&dir).unwrap();
    ended
}

#[test]
fn every_setting_is_shown_with_its_source_and_no_secret() {
    with_file(|env, secret| {
        let ran = abctl(&["config", "--max-loaded", "77"], env, None);
        assert_eq!(ran.code, 0, "{}", ran.error);
        assert!(!format!("{ran:?}").contains("hidden"), "{ran:?}");
        assert_eq!(
            ran.error,
            "abctl: AB_PARTITIONS has no effect: the settings file speaks of it\n\
             abctl: AB_SQLITE_PATH is ignored: it is of a replaced system\n"
        );
        let lines: Vec<String> =
            ran.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[0], "setting value source read by");
        for line in [
            "AB_REDIS_URL redis://:***@redis:6379/0 settings file all",
            "AB_API_KEYS *** settings file gateway, analyzer, up",
            "AB_MAX_LOADED 77 flag gateway, up",
            "AB_PARTITIONS 8 settings file all",
            "AB_PORT 7000 PORT gateway, worker, analyzer, up",
            "AB_API_TOKEN unset default gateway, analyzer, up, tools",
            "AB_INTERNAL_ADDR 127.0.0.1:9109 default worker",
            "AB_INTERNAL_ADDR 127.0.0.1:9110 default analyzer",
            &format!(
                "AB_DATABASE_URL postgres://me:***@db/ab environment, from {secret} worker, analyzer, up, tools"
            ),
        ] {
            assert!(lines.iter().any(|known| known == line), "{line} is missing:\n{}", lines.join("\n"));
        }
    });
}

#[test]
fn scripts_get_json() {
    with_file(|env, secret| {
        let ran = abctl(&["config", "--of", "worker", "--json"], env, None);
        assert_eq!(ran.code, 0, "{}", ran.error);
        assert!(!ran.out.contains("hidden"), "{}", ran.out);
        let shown: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(
            (&shown["shadowed"], &shown["ignored"]),
            (&json!(["AB_PARTITIONS"]), &json!(["AB_SQLITE_PATH"]))
        );
        let setting = |name: &str| {
            let all = shown["settings"].as_array().unwrap();
            all.iter().find(|setting| setting["name"] == name).cloned()
        };
        let database = setting("AB_DATABASE_URL").unwrap();
        assert_eq!(
            (&database["value"], &database["source"], &database["file"], &database["read_by"]),
            (&json!("postgres://me:***@db/ab"), &json!("environment"), &json!(secret), &json!(["worker"]))
        );
        assert_eq!(setting("AB_MAX_EVENT_AGE"), None, "of the gateway");
        assert_eq!(setting("AB_LOG_FORMAT").unwrap()["value"], Value::Null);
    });
}

#[test]
fn a_program_that_would_not_start_is_shown_and_told() {
    for (program, wanted) in
        [("gateway", "abctl: AB_REDIS_URL: must be set"), ("worker", "abctl: AB_REDIS_URL: must be set")]
    {
        let ran = abctl(&["config", "--of", program], &[("AB_LOG_LEVEL", "debug")], None);
        assert_eq!(ran.code, 2);
        assert!(ran.error.starts_with(wanted) && ran.error.lines().count() == 1, "{}", ran.error);
        assert!(ran.out.contains("AB_LOG_LEVEL") && !ran.out.contains("read by"), "{}", ran.out);
    }
    for program in ["up", "tools"] {
        assert!(abctl(&["config", "--of", program], &[], None).ok().starts_with("setting "));
    }
    for (arguments, env, wanted) in [
        (
            &["config"][..],
            ("AB_PARTITIONS", "many"),
            "abctl: AB_PARTITIONS: must be a whole number from 1 to 256",
        ),
        (&["config"], ("AB_PARTITION", "1"), "abctl: AB_PARTITION: is not a known setting"),
        (&["config"], ("AB_CONFIG", "/nowhere"), "abctl: AB_CONFIG: cannot read /nowhere: "),
    ] {
        let line = abctl(arguments, &[env], None).failed(2);
        assert!(line.starts_with(wanted), "{line}");
    }
    assert_eq!(abctl(&["config", "--of", "nobody"], &[], None).code, 2);
}
