//! The fuzz targets' own checks, over their checked-in corpora and over each of those cut off and changed by a byte.

#[path = "../../../ops/fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/fuzz/corpus").join(target);
    let mut inputs = 0;
    for file in std::fs::read_dir(&corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        run(&bytes);
        let step = bytes.len() / 40 + 1;
        for at in (0..bytes.len()).step_by(step) {
            run(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            run(&changed);
            inputs += 2;
        }
    }
    assert!(inputs > 20, "{}: the corpus is gone", corpus.display());
}

#[test]
fn bodies() {
    replay("body", targets::body);
}

#[test]
fn lines() {
    replay("ndjson", targets::ndjson);
}

#[test]
fn compressed_bodies() {
    replay("decompression", targets::decompression);
}

#[test]
fn frames() {
    replay("frame", targets::frame);
}

#[test]
fn files_of_keys() {
    replay("keys", targets::keys);
}

#[test]
fn settings_files() {
    replay("settings", targets::settings);
}

#[test]
fn bodies_of_sdks() {
    replay("sdks", targets::sdks);
}
