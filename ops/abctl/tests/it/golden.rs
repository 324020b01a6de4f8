//! Texts of commands as somebody reviewed them, a file each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// `texts` by command are those of `tests/data/{directory}`, and of no other command is there any.
pub fn assert_reviewed(directory: &str, texts: &BTreeMap<String, String>) {
    let reviewed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(directory);
    let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join(directory);
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).unwrap();
    let file = |name: &str| format!("{}.txt", name.replace([' ', '-'], "_"));
    let mut different = Vec::new();
    for (name, text) in texts {
        if fs::read_to_string(reviewed.join(file(name))).unwrap_or_default() != *text {
            different.push(name);
        }
        fs::write(fresh.join(file(name)), text).unwrap();
    }
    let names: BTreeSet<String> = texts.keys().map(|name| file(name)).collect();
    let there = fs::read_dir(&reviewed).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let gone: Vec<String> = there.filter(|file| !names.contains(file)).collect();
    assert!(
        different.is_empty() && gone.is_empty(),
        "{different:?} are not as in {0}, {gone:?} is of no command: if that is meant, rm -r {0} && cp -r {1} {0}",
        reviewed.display(),
        fresh.display(),
    );
}
