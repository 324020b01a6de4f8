//! A deployment with the experiment "load", and files for it.

use crate::deployment::{Ran, abctl};
use crate::up::rig::{Up, command};
use abctl::verify::{RawRows, read_all};
use domain::Unit;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use store::{Location, StoreError};

pub struct Rig {
    pub up: Up,
    /// Of the files.
    pub dir: PathBuf,
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::of(&[]).await
    }

    /// With these settings.
    pub async fn of(settings: &[(&str, &str)]) -> Rig {
        let data = testkit::temp_dir("replay").unwrap();
        let (command, addr) = command(&data);
        let command = settings.iter().fold(command, |command, (name, value)| command.env(*name, *value));
        let up = Up::of(command, addr, &data).await;
        up.create().await;
        Rig { up, dir: testkit::temp_dir("replay").unwrap() }
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        let packed = match name.rsplit('.').next() {
            Some("gz") => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            }
            Some("zst") => zstd::encode_all(text.as_bytes(), 1).unwrap(),
            _ => text.as_bytes().to_vec(),
        };
        fs::write(&path, packed).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `abctl replay`, with the key that may send events only.
    pub fn replay(&self, arguments: &[&str]) -> Ran {
        self.replay_input(arguments, None)
    }

    pub fn replay_input(&self, arguments: &[&str], stdin: Option<&Path>) -> Ran {
        self.run(&self.up.keys().1, arguments, stdin)
    }

    /// With the key that may do everything: what is told of users takes more than sending events.
    pub fn replay_all(&self, arguments: &[&str]) -> Ran {
        self.run(&self.up.keys().0, arguments, None)
    }

    fn run(&self, key: &str, arguments: &[&str], stdin: Option<&Path>) -> Ran {
        abctl(&[&["replay"], arguments].concat(), &[("AB_URL", &self.up.url()), ("AB_API_TOKEN", key)], stdin)
    }

    /// Every user's state and keys of conversions.
    pub async fn stored(&self) -> BTreeMap<String, (Unit, Vec<String>)> {
        let file = self.up.data.join("abstream.db");
        let store = store::connect(&Location::Sqlite { file }).await.unwrap();
        let mut users = BTreeMap::new();
        read_all(&*store, 1, &mut async |_, rows: &RawRows| {
            for unit in &rows.units {
                let keys = rows.conversions_of(unit.id).map(|c| c.key.clone()).collect();
                users.insert(unit.user_id.clone(), (unit.unit.clone(), keys));
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
        users
    }
}

/// Deterministic lines: users who see a variation and buy, most of them more than once.
pub fn events(count: u32) -> String {
    let line = |i: u32| {
        let user = i.wrapping_mul(2_654_435_761) % (count / 4).max(1);
        let at = 1_790_000_000 + i64::from(i);
        match i % 3 {
            0 => format!(
                r#"{{"type":"exposure","experiment":"load","user_id":"u{user}","variation_index":{},"occurred_at":{at}}}"#,
                i / 3 % 2
            ),
            _ => format!(
                r#"{{"type":"conversion","user_id":"u{user}","metric":"purchase","value":"{}.25","occurred_at":{at}}}"#,
                i % 100
            ),
        }
    };
    (0..count).map(|i| line(i) + "\n").collect()
}

/// The numbers of the last line: `replay: received=1 recorded=1 ..`.
pub fn numbers(out: &str) -> BTreeMap<String, u64> {
    let last = out.lines().last().unwrap().strip_prefix("replay: ").unwrap();
    let pairs = last.split(' ').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, n)| (name.to_owned(), n.parse().unwrap())).collect()
}
