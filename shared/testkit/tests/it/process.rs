use std::future::ready;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use testkit::{Process, eventually};

const LIMIT: Duration = Duration::from_secs(30);

fn shell(script: &str) -> testkit::ProcessBuilder {
    Process::at("shell", "/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn output_and_exit_status_are_kept() {
    let script = "echo \"$GREETING\"; echo oops >&2; exit 7";
    let mut process = shell(script).env("GREETING", "hello").spawn().unwrap();
    assert_eq!(process.wait(LIMIT).await.unwrap().code(), Some(7));
    assert_eq!((process.stdout().as_str(), process.stderr().as_str()), ("hello\n", "oops\n"));

    process.respawn().unwrap();
    process.wait(LIMIT).await.unwrap();
    assert_eq!(process.stdout(), "hello\nhello\n");
}

#[tokio::test]
async fn terminate_lets_it_finish_and_kill_does_not() {
    let script = "trap 'echo drained; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let mut process = shell(script).spawn().unwrap();
    eventually("it is up", LIMIT, || ready(!process.stdout().is_empty())).await.unwrap();
    assert_eq!(process.terminate(LIMIT).await.unwrap().code(), Some(3));
    assert_eq!(process.stdout(), "up\ndrained\n");

    process.respawn().unwrap();
    process.kill().unwrap();
    assert_eq!(process.try_wait().unwrap().unwrap().signal(), Some(9));
    assert_eq!(process.stderr(), "");
}

#[tokio::test]
async fn a_paused_process_does_nothing_until_it_is_resumed() {
    let mut process = shell("exec cat /proc/self/stat /dev/zero >/dev/null").spawn().unwrap();
    let state = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    };
    process.pause().unwrap();
    eventually("it stands still", LIMIT, || ready(state(process.pid()) == 'T')).await.unwrap();
    process.resume().unwrap();
    eventually("it goes on", LIMIT, || ready(state(process.pid()) != 'T')).await.unwrap();
}

#[tokio::test]
async fn readiness_fails_at_once_when_the_process_ends() {
    let mut process = shell("echo no database >&2; exit 1").spawn().unwrap();
    let addr = ([127, 0, 0, 1], testkit::free_port().unwrap()).into();
    let error = process.wait_ready(addr, "/readyz", LIMIT).await.unwrap_err().to_string();
    assert!(error.contains("ended before it was ready") && error.contains("no database"), "{error}");
}

#[test]
fn a_binary_that_is_not_built_is_an_error_that_says_what_to_do() {
    let error = testkit::bin("no-such-binary").unwrap_err().to_string();
    assert!(error.contains("cargo build --workspace --bins"), "{error}");
}

#[test]
fn ports_are_handed_out_once() {
    let mut ports: Vec<u16> = (0..50).map(|_| testkit::free_port().unwrap()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 50);
}
