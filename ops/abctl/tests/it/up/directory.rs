//! The directory: held by one, and every fault of it said in one line.

use super::rig::{LIMIT, Up, command, complaints, configured};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use testkit::{Process, ProcessBuilder};

/// The one line a start ends with that is refused.
pub async fn refused(command: ProcessBuilder) -> String {
    let mut process = command.spawn().unwrap();
    let status = process.wait(LIMIT).await.unwrap();
    let line = complaints(&process).trim_end().to_owned();
    assert_eq!((status.code(), process.stdout().as_str(), line.lines().count()), (Some(2), "", 1), "{line}");
    line
}

async fn refused_on(data: &Path) -> String {
    refused(command(data).0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_has_it_and_a_kill_frees_it() {
    let data = testkit::temp_dir("up").unwrap();
    let mut first = Up::start(&data).await;
    let holder = format!("process {} on {}", first.process.pid(), first.url());
    let line = refused_on(&data).await;
    assert_eq!(line, format!("abctl up: AB_DATA: {} is in use by {holder}", data.display()));
    // By another way to the same place.
    let link = data.with_extension("link");
    std::os::unix::fs::symlink(&data, &link).unwrap();
    assert_eq!(refused_on(&link).await, line);
    first.process.kill().unwrap();
    Up::start(&link).await.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_directory_or_cannot_be_written_is_refused() {
    let root = testkit::temp_dir("up").unwrap();
    let file = root.join("file");
    fs::write(&file, "mine").unwrap();
    let line = refused_on(&file).await;
    assert_eq!(line, format!("abctl up: AB_DATA: {} is not a directory", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let line = refused_on(&file.join("below")).await;
    assert!(line.contains("/file/below cannot be made: Not a directory"), "{line}");

    let noise = root.join("noise");
    fs::create_dir(&noise).unwrap();
    fs::write(noise.join("abstream.db"), [7; 5_000]).unwrap();
    let line = refused_on(&noise).await;
    assert!(line.contains("AB_DATA: ") && line.contains("/noise/abstream.db"), "{line}");
    assert!(line.contains("the file is not a database"), "{line}");
    assert_eq!(fs::read(noise.join("abstream.db")).unwrap(), [7; 5_000]);
}

/// Without root's right to write anywhere.
fn powerless(data: &Path) -> (ProcessBuilder, SocketAddr) {
    let addr = ([127, 0, 0, 1], testkit::free_port().unwrap()).into();
    let abctl = testkit::bin("abctl").unwrap();
    let command = match fs::metadata("/proc/self").unwrap().uid() {
        0 => Process::at("abctl", "setpriv").arg("--bounding-set=-all").arg("--inh-caps=-all").arg(abctl),
        _ => Process::at("abctl", abctl),
    };
    (configured(command.arg("up"), data, addr), addr)
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_written_is_refused_by_name() {
    let data = testkit::temp_dir("up").unwrap();
    permit(&data, 0o555);
    let denied = |file: &str, what: &str| {
        format!("abctl up: AB_DATA: {} {what}: Permission denied (os error 13)", data.join(file).display())
    };
    assert_eq!(refused(powerless(&data).0).await, denied("lock", "cannot be written"));

    // In use before, read-only now.
    permit(&data, 0o700);
    let (command, addr) = powerless(&data);
    Up::of(command, addr, &data).await.end().await;
    permit(&data, 0o555);
    let line = refused(powerless(&data).0).await;
    assert!(line.starts_with("abctl up: AB_DATA: ") && line.contains("abstream.db"), "{line}");
    assert!(line.contains("cannot be opened or created") || line.contains("read-only"), "{line}");

    permit(&data, 0o700);
    permit(&data.join("keys"), 0o000);
    assert_eq!(refused(powerless(&data).0).await, denied("keys", "cannot be read"));
    // Somebody else's, if we can make it so.
    if std::os::unix::fs::chown(&data, Some(65_534), None).is_ok() {
        assert_eq!(refused(powerless(&data).0).await, denied("lock", "cannot be written"));
    }
}
