//! Data and definitions as files: what the commands say, and what is refused. That exports are taken back is tested end
//! to end.

use crate::deployment::{Ran, abctl};
use crate::up::rig::{Up, command, definition, visit};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

const KEY: &str = "a signing key of 16 and more";

struct Rig {
    up: Up,
    dir: PathBuf,
}

impl Rig {
    async fn start(settings: &[(&str, &str)]) -> Rig {
        let data = testkit::temp_dir("exporting").unwrap();
        let (command, addr) = command(&data);
        let command = settings.iter().fold(command, |command, (name, value)| command.env(*name, *value));
        Rig { up: Up::of(command, addr, &data).await, dir: testkit::temp_dir("exporting").unwrap() }
    }

    fn abctl(&self, arguments: &[&str]) -> Ran {
        abctl(arguments, &[("AB_URL", &self.up.url()), ("AB_ADMIN_TOKEN", &self.up.keys().0)], None)
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_whole_or_has_no_name() {
    let rig = Rig::start(&[]).await;
    rig.up.create().await;
    for user in ["ann", "bo", "cat"] {
        let sent = rig.up.sender().post_json("/api/v1/events", &visit(user)).await.unwrap();
        assert_eq!(sent.status, 200, "{}", sent.text());
    }
    let packed = rig.file("units.csv.gz");
    assert_eq!(rig.abctl(&["export", "load", "-o", &packed]).ok(), format!("3 rows in {packed}\n"));
    let mut units = String::new();
    #[allow(clippy::disallowed_types)] // our own file
    flate2::read::MultiGzDecoder::new(fs::File::open(&packed).unwrap()).read_to_string(&mut units).unwrap();
    assert!(units.starts_with("user_id,experiment,variation,variation_index,exposed_at,"), "{units}");
    assert_eq!((units.lines().count(), Path::new(&format!("{packed}.part")).exists()), (4, false));

    let all = rig.abctl(&["export", "load", "--kind", "conversions", "--format", "ndjson"]).ok();
    let keys: Vec<String> = all
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["idempotency_key"].to_string())
        .collect();
    assert_eq!(keys.len(), 3, "{all}");
    assert!(["ann", "bo", "cat"].iter().all(|user| keys.contains(&format!("\"order-{user}\""))), "{all}");
    let results = rig.abctl(&["export", "load", "--kind", "results"]).ok();
    assert_eq!(results.lines().count(), 3, "{results}");
    assert!(results.starts_with("experiment,metric,type,role,direction,variation,"), "{results}");

    // A file that was cut says so, and so does the command.
    let cut = rig.file("some.ndjson");
    let run = rig.abctl(&["--json", "export", "load", "--limit", "2", "-o", &cut]);
    assert_eq!((run.code, run.error.as_str()), (0, "cut after 2 rows: there are more\n"));
    assert!(run.out.contains("\"rows\":2,\"cut\":true"), "{}", run.out);
    assert_eq!(text(&cut).lines().last(), Some("{\"type\":\"cut\",\"rows\":2}"));
    let taken_back = abctl(
        &["replay", &cut, "--kind", "units", "--dry-run"],
        &[("AB_URL", &rig.up.url()), ("AB_API_TOKEN", &rig.up.keys().0)],
        None,
    );
    assert_eq!(taken_back.code, 1, "{}", taken_back.out);
    assert!(text(&rig.file("some.ndjson.rejects.ndjson")).contains("export_cut"));

    let nowhere = rig.file("none.csv");
    assert!(rig.abctl(&["export", "nothing", "-o", &nowhere]).failed(1).contains("unknown_experiment"));
    assert!(!Path::new(&nowhere).exists());
    assert!(rig.abctl(&["export", "load", "-o", &rig.file("units.txt")]).failed(2).contains("--format"));
    // Rows that name users take an admin's key.
    let sender = [("AB_URL", rig.up.url()), ("AB_API_TOKEN", rig.up.keys().1)];
    let sender: Vec<(&str, &str)> = sender.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(abctl(&["export", "load"], &sender, None).failed(1).contains("missing_scope"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_imported_whole_and_unaltered_or_not_at_all() {
    let from = Rig::start(&[("AB_WORKSPACE_SIGNING_KEY", KEY)]).await;
    let to = Rig::start(&[("AB_WORKSPACE_SIGNING_KEY", KEY)]).await;
    for key in ["one", "two"] {
        let created = from.up.admin().post_json("/api/v1/experiments", &definition(key)).await.unwrap();
        assert_eq!(created.status, 201, "{}", created.text());
    }
    let file = from.file("definitions.json");
    assert_eq!(from.abctl(&["workspace", "export", "-o", &file]).ok(), "");
    let last = |out: String| out.lines().last().unwrap().to_owned();
    for dry_run in [vec!["workspace", "validate", &file], vec!["workspace", "import", &file, "--dry-run"]] {
        let out = to.abctl(&dry_run).ok();
        assert!(out.contains("to be created"), "{out}");
        assert_eq!(last(out), "validate: created=2 equal=0 conflicts=0, signature valid");
    }
    let imported = to.abctl(&["workspace", "import", &file]).ok();
    assert_eq!(last(imported), "import: created=2 equal=0 conflicts=0, signature valid");
    let again = to.abctl(&["workspace", "import", &file]).ok();
    assert_eq!(last(again), "import: created=0 equal=2 conflicts=0, signature valid");
    // What was imported is exported as it came.
    let back = to.file("back.json");
    to.abctl(&["workspace", "export", "-o", &back]).ok();
    assert_eq!(text(&back), text(&file));

    let altered = from.file("altered.json");
    fs::write(&altered, text(&file).replace("\"two\"", "\"six\"")).unwrap();
    assert!(to.abctl(&["workspace", "import", &altered]).failed(1).contains("bundle_altered"));
    let unsigned = Rig::start(&[]).await;
    unsigned.up.create().await;
    let plain = unsigned.file("plain.json");
    unsigned.abctl(&["workspace", "export", "-o", &plain]).ok();
    assert!(to.abctl(&["workspace", "import", &plain]).failed(1).contains("bundle_unsigned"));

    // Another definition under a key of the bundle: told when asked, refused when meant, and nothing done.
    let mut other = definition("one");
    other["name"] = "another".into();
    let created = unsigned.up.admin().post_json("/api/v1/experiments", &other).await.unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    let told = unsigned.abctl(&["workspace", "validate", &file]);
    assert_eq!(told.code, 1, "{}", told.error);
    assert!(told.out.contains("another definition (/name)"), "{}", told.out);
    assert_eq!(last(told.out), "validate: created=1 equal=0 conflicts=1, signature not checked");
    let refused = unsigned.abctl(&["workspace", "import", &file]).failed(1);
    assert!(refused.contains("nothing was imported") && refused.contains("bundle_conflicts"), "{refused}");
    let listed = unsigned.abctl(&["experiments", "list"]).ok();
    assert!(listed.contains("one") && !listed.contains("two"), "{listed}");
    for secret in [KEY, &to.up.keys().0] {
        assert!(!refused.contains(secret) && !text(&file).contains(secret));
    }
}
