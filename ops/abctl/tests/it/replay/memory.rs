//! How much memory a run takes, whatever is sent through it.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// Of a line, as a gateway would take it.
const LINE: usize = 4_096;
/// Lines until all buffers have been full, and afterwards.
const FIRST: usize = 6_000;
const THEN: usize = 24_000;

/// The most that a process has had, in bytes.
fn peak(child: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1_024
}

#[test]
fn memory_does_not_grow_with_what_is_read() {
    let directory = testkit::temp_dir("memory").unwrap();
    let mut command = Command::new(testkit::bin("abctl").unwrap());
    command.env_clear().current_dir(&directory).stdin(Stdio::piped()).stdout(Stdio::null());
    // Few lanes: what they may hold is little beside what is read, also if they held nothing at first.
    let arguments = ["replay", "-", "--source", "memory", "--dry-run", "--concurrency", "2"];
    let mut run = command.args(arguments).spawn().unwrap();
    let mut input = run.stdin.take().unwrap();
    let mut write = |lines: std::ops::Range<usize>| {
        for i in lines {
            let head = format!(r#"{{"type":"conversion","user_id":"u{i}","metric":"m","properties":{{"x":""#);
            let filler = "y".repeat(LINE - head.len() - 4);
            input.write_all(format!("{head}{filler}\"}}}}\n").as_bytes()).unwrap();
        }
    };
    // What was written was read, but for what a pipe holds.
    write(0..FIRST);
    let before = peak(&run);
    write(FIRST..FIRST + THEN);
    let after = peak(&run);
    drop(input);
    assert!(run.wait().unwrap().success());
    let (grown, read) = (after.saturating_sub(before), THEN * LINE);
    assert!(grown < read / 4, "{before} bytes at first, {grown} more after {read} were read");
    fs::remove_dir_all(directory).unwrap();
}
