//! Tests that play another part in another process: this very test program, started again with a variable that says
//! what with.

// Not a setting: a word between a test and itself.
#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DISK: &str = "STORE_TEST_DISK";
const READS: &str = "STORE_TEST_READS";

/// The disk to play on.
pub fn disk() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

/// The file to read, and to tell of.
pub fn reads() -> Option<PathBuf> {
    std::env::var_os(READS).map(PathBuf::from)
}

/// What the process that plays the reader of `test` tells of a file.
pub fn read_elsewhere(test: &str, file: &Path) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(READS, file);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let told = output.lines().find_map(|line| line.strip_prefix("told: "));
    told.unwrap_or_else(|| panic!("{output}")).to_owned()
}

pub fn tell(what: &str) {
    std::io::stdout().write_all(format!("\ntold: {what}\n").as_bytes()).unwrap();
}

/// Plays the second part of `test` with a disk of its own of `megabytes`, gone when it ends: a file system in memory,
/// mounted where only that process sees it. Root may mount, others may as root of a user namespace.
pub fn play_on_disk(test: &str, megabytes: u32) {
    let disk = testkit::temp_dir("disk").unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", r#"mount -t tmpfs -o "size=$0" none "$1" && shift && exec "$@""#])
        .arg(format!("{megabytes}m"))
        .arg(&disk)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DISK, &disk)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
