//! Nothing outlives its owner. The owner is this very test program, started again by the test with a variable
//! that makes the test play the owner instead.

use std::fs;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Postgres, Process, Redis, eventually};

const LIMIT: Duration = Duration::from_secs(120);

const ROLE: &str = "TESTKIT_OWNER_TELLS";

/// Starts one of everything, tells where and who by a file, and never returns.
async fn own(file: &Path) {
    let (postgres, redis) = (testkit::postgres().await, Redis::start().await.unwrap());
    let second = Postgres::fast().await.unwrap();
    let mut shell =
        Process::at("shell", "/bin/sh").arg("-c").arg("while :; do sleep 1; done").spawn().unwrap();
    shell.pause().unwrap();
    let pids = [postgres.pid().unwrap(), redis.pid().unwrap(), second.pid().unwrap(), shell.pid()];
    let dir = testkit::temp_dir("mark").unwrap().parent().unwrap().to_owned();
    let told = format!("{}\n{}", dir.display(), pids.map(|pid| pid.to_string()).join("\n"));
    let draft = file.with_extension("draft");
    fs::write(&draft, told).unwrap();
    fs::rename(draft, file).unwrap();
    if std::env::var("TESTKIT_OWNER_ENDS").is_ok_and(|how| how == "return") {
        return std::mem::forget((redis, second, shell));
    }
    std::future::pending().await
}

fn start_owner(test: &str, file: &Path, ends: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(ROLE, file)
        .env("TESTKIT_OWNER_ENDS", ends)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The owner's directory and the processes in it.
async fn wait_until_told(file: &Path, owner: &mut Child) -> (PathBuf, Vec<PathBuf>) {
    let told = || {
        let (ended, told) = (owner.try_wait().unwrap().is_some(), file.exists());
        assert!(told || !ended, "the owner has failed");
        ready(told)
    };
    eventually("the owner tells", LIMIT, told).await.unwrap();
    let told = fs::read_to_string(file).unwrap();
    let mut lines = told.lines();
    let dir = PathBuf::from(lines.next().unwrap());
    let processes: Vec<PathBuf> = lines.map(|pid| Path::new("/proc").join(pid)).collect();
    assert_eq!(processes.len(), 4);
    (dir, processes)
}

async fn wait_until_gone(dir: &Path, processes: &[PathBuf]) {
    let gone = || ready(!dir.exists() && !processes.iter().any(|process| process.exists()));
    eventually("all is gone", LIMIT, gone).await.unwrap();
}

async fn leaves_nothing(test: &str, ends: &str) {
    if let Some(file) = std::env::var_os(ROLE) {
        return own(Path::new(&file)).await;
    }
    let file = testkit::temp_dir("told").unwrap().join("file");
    let mut owner = start_owner(test, &file, ends);
    let (dir, processes) = wait_until_told(&file, &mut owner).await;
    if ends == "kill" {
        assert!(dir.exists() && processes.iter().all(|process| process.exists()));
        owner.kill().unwrap();
    }
    owner.wait().unwrap();
    wait_until_gone(&dir, &processes).await;
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() {
    leaves_nothing("leftovers::a_killed_owner_leaves_nothing", "kill").await;
}

#[tokio::test]
async fn an_owner_that_ends_without_dropping_leaves_nothing() {
    leaves_nothing("leftovers::an_owner_that_ends_without_dropping_leaves_nothing", "return").await;
}

#[tokio::test]
async fn an_owner_killed_with_its_reaper_is_cleaned_up_by_the_next() {
    const TEST: &str = "leftovers::an_owner_killed_with_its_reaper_is_cleaned_up_by_the_next";
    if let Some(file) = std::env::var_os(ROLE) {
        return own(Path::new(&file)).await;
    }
    let tells = testkit::temp_dir("told").unwrap();
    let mut owner = start_owner(TEST, &tells.join("first"), "kill");
    let (dir, processes) = wait_until_told(&tells.join("first"), &mut owner).await;
    // While it is held nobody can be the next: other tests start owners as well.
    let others = lock_of(&dir);
    let reaper = children(owner.id()).into_iter().find(|pid| command_line(*pid).contains("testkit-reaper"));
    // The reaper first, or it may begin before it is killed as well.
    Command::new("sh")
        .args(["-c", "kill -9 $0 $1"])
        .arg(reaper.unwrap().to_string())
        .arg(owner.id().to_string())
        .status()
        .unwrap();
    owner.wait().unwrap();
    assert!(dir.exists() && processes.iter().all(|process| process.exists()));
    drop(others);

    let mut next = start_owner(TEST, &tells.join("second"), "return");
    next.wait().unwrap();
    wait_until_gone(&dir, &processes).await;
}

/// What is held while an owner's directory is made or judged, see `sandbox.rs`.
fn lock_of(dir: &Path) -> fs::File {
    let lock = fs::File::create(dir.parent().unwrap().with_file_name("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).unwrap().flatten();
    let lists: Vec<String> =
        tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect();
    lists.iter().flat_map(|list| list.split_whitespace()).map(|pid| pid.parse().unwrap()).collect()
}

fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned()
}
