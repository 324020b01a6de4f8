//! A disk without room: senders are told to come back, nothing acknowledged is lost, and room is enough to go on.

use super::directory::refused;
use super::rig::{LIMIT, Load, Recorded, Up, configured, definition, visit};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::{Process, ProcessBuilder};

/// On a small file system of its own that nobody else sees, and that ends with the process.
struct SmallDisk {
    command: ProcessBuilder,
    addr: SocketAddr,
    data: PathBuf,
}

impl SmallDisk {
    /// `None` where we may not mount.
    #[allow(clippy::print_stderr)] // for whoever reads the log
    fn new(options: &str) -> Option<SmallDisk> {
        let namespace = ["-m", "-rm"].into_iter().find(|flags| {
            let mounts = ["sh", "-c", "mount -t tmpfs tmpfs /mnt"];
            Command::new("unshare").arg(flags).args(mounts).output().is_ok_and(|ran| ran.status.success())
        });
        let Some(namespace) = namespace else {
            eprintln!("not tested: a full disk needs the right to mount (root, or user namespaces)");
            return None;
        };
        let data = testkit::temp_dir("up").unwrap();
        let addr = ([127, 0, 0, 1], testkit::free_port().unwrap()).into();
        let script = format!("mount -t tmpfs -o {options} tmpfs \"$0\" && exec \"$@\"");
        let abctl = testkit::bin("abctl").unwrap();
        let arguments =
            [namespace, "sh", "-c", &script, data.to_str().unwrap(), abctl.to_str().unwrap(), "up"];
        let command = arguments.iter().fold(Process::at("abctl", "unshare"), |command, a| command.arg(a));
        Some(SmallDisk { command: configured(command, &data, addr), addr, data })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_with_retry_after_and_room_is_enough_to_go_on() {
    let Some(SmallDisk { command, addr, data }) = SmallDisk::new("size=64m") else { return };
    let up = Up::of(command, addr, &data).await;
    // As the process sees it.
    let inside = PathBuf::from(format!("/proc/{}/root{}", up.process.pid(), data.display()));
    let mut up = Up { data: inside.clone(), ..up };
    up.create().await;
    let (client, admin) = (up.sender(), up.admin());
    let load = Load::start(&up, "user");
    load.reaches(100).await;

    let fill = inside.join("fill");
    let mut file = File::create(&fill).unwrap();
    while file.write_all(&[1; 4_096]).is_ok() {}
    let status = async |user: &str| client.post_json("/api/v1/events", &visit(user)).await.unwrap().status;
    let refused = || async { status("late").await == 503 };
    testkit::eventually("senders are refused", LIMIT, refused).await.unwrap();
    // What the log still has room for is written all the same, until nothing fits.
    let mut number = 0;
    let unwritable = || {
        number += 1;
        let name = format!("more-{number}");
        let admin = &admin;
        async move {
            let answer = admin.post_json("/api/v1/experiments", &definition(&name)).await.unwrap();
            matches!((answer.status, answer.header("retry-after")), (503, Some(_)))
        }
    };
    testkit::eventually("experiments are refused", LIMIT, unwritable).await.unwrap();
    let read = admin.get("/api/v1/experiments/load/live-stats").await.unwrap();
    assert_eq!(read.status, 200, "reading goes on");
    let line = another_start(&up, &data.join("another")).await;
    let expected = format!("abctl up: AB_DATA: {}/another/", data.display());
    assert!(line.starts_with(&expected) && line.contains("No space left on device"), "{line}");

    drop(file);
    std::fs::remove_file(&fill).unwrap();
    testkit::eventually("it goes on", LIMIT, || async { status("late").await == 200 }).await.unwrap();
    load.reaches(load.acknowledged() + 100).await;
    let acknowledged = load.end().await;
    let ready = || async { admin.get("/readyz").await.unwrap().status == 200 };
    testkit::eventually("it is ready", LIMIT, ready).await.unwrap();
    // SQLite would follow the link into a place we do not see.
    let copy = testkit::temp_dir("up-copy").unwrap();
    // Both as they are at one moment: what is moved from the log to the database between would be in neither.
    up.process.pause().unwrap();
    for name in ["abstream.db", "abstream.db-wal"] {
        std::fs::copy(inside.join(name), copy.join(name)).unwrap();
    }
    up.process.resume().unwrap();
    Recorded::read(&copy).await.has_all(&acknowledged);
    let books = &admin.get("/api/v1/accounting").await.unwrap().json().unwrap()["books"];
    let count = |name: &str| books[name].as_u64().unwrap();
    assert_eq!(count("received"), count("recorded") + count("deduplicated"), "{books}");
    assert_eq!(count("in_flight") + count("lost"), 0, "{books}");
}

/// A start on the same disk.
async fn another_start(up: &Up, data: &Path) -> String {
    let abctl = testkit::bin("abctl").unwrap();
    let arguments = ["--mount", "--target", &up.process.pid().to_string(), abctl.to_str().unwrap(), "up"];
    let command = arguments.iter().fold(Process::at("abctl", "nsenter"), |command, a| command.arg(a));
    let addr = ([127, 0, 0, 1], testkit::free_port().unwrap()).into();
    refused(configured(command, data, addr)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_system_is_refused() {
    let Some(SmallDisk { command, data, .. }) = SmallDisk::new("ro") else { return };
    let line = refused(command).await;
    let expected = "lock cannot be written: Read-only file system (os error 30)";
    assert_eq!(line, format!("abctl up: AB_DATA: {}/{expected}", data.display()));
}
