//! `abctl demo` needs nothing that is installed, comes out exact, and leaves nothing behind.

use crate::deployment::abctl;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::{Process, eventually, temp_dir};

const LIMIT: Duration = Duration::from_secs(60);

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn it_comes_out_exact_with_no_program_on_the_path() {
    let dir = temp_dir("abctl-demo").unwrap();
    // No PATH at all: whatever it wanted to start would not be found.
    let env = [("TMPDIR", dir.to_str().unwrap())];
    let today = || abctl::simulate::now_ms().unwrap() / 86_400_000;
    let day = today();
    let ran = abctl(&["demo", "--events", "6000", "--seed", "3"], &env, None);
    assert_eq!((ran.code, entries(&dir)), (0, Vec::new()), "{}{}", ran.out, ran.error);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("abstream runs in this process: http://127.0.0.1:"), "{}", lines[0]);
    for experiment in ["sim-checkout", "sim-banner", "sim-pricing", "sim-onboarding"] {
        assert!(lines.contains(&experiment), "the page of {experiment}: {}", ran.out);
        let verified = format!("verify {experiment}: equal (rows=");
        assert_eq!(lines.iter().filter(|l| l.starts_with(&verified)).count(), 1, "{}", ran.out);
    }
    // The simulated effect, beside the one measured.
    let short = lines.iter().find(|line| line.starts_with("  short ")).unwrap();
    assert!(short.contains("  +15.0%"), "{short}");
    assert!(lines[lines.len() - 2].ends_with("all of it is exactly what the simulation must come to"));
    let last = lines[lines.len() - 1];
    let number = |name: &str| -> u64 {
        let word = last.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        word.unwrap_or_else(|| panic!("{name} in {last}")).parse().unwrap()
    };
    assert!(
        last.starts_with("accounting: received=6")
            && last.ends_with(" dead=0 discarded=0 in_flight=0 lost=0")
    );
    assert!(number("received") >= 6_000 && number("deduplicated") > 0, "{last}");
    assert_eq!(number("received"), number("recorded") + number("deduplicated"));

    // The same seed on the same day is the same run.
    let ran = abctl(&["--json", "demo", "--events", "6000", "--seed", "3"], &env, None);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &told["differences"]), (0, &serde_json::json!([])));
    if today() == day {
        assert_eq!(told["accounting"]["recorded"], number("recorded"));
    }
    assert_eq!(entries(&dir), Vec::<PathBuf>::new());
    std::fs::remove_dir_all(&dir).unwrap();
}

/// A demo that goes on for minutes; its address once it runs.
async fn running(dir: &Path) -> (Process, String) {
    let process = Process::of("abctl").unwrap().env("TMPDIR", dir);
    let process = process.arg("demo").arg("--events").arg("50000000").spawn().unwrap();
    eventually("the demo runs", LIMIT, async || process.stdout().contains('\n')).await.unwrap();
    let out = process.stdout();
    let address = out.split("http://").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert!(TcpStream::connect(&address).is_ok(), "{out}");
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_one_removes_its_directory_and_says_so() {
    let dir = temp_dir("abctl-demo").unwrap();
    let (mut process, address) = running(&dir).await;
    assert_eq!(entries(&dir).len(), 1);
    let status = process.terminate(LIMIT).await.unwrap();
    assert_eq!((status.code(), entries(&dir)), (Some(1), Vec::new()), "{}", process.stderr());
    assert_eq!(process.stderr().lines().last(), Some("abctl: demo: interrupted"));
    assert!(TcpStream::connect(address).is_err());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_one_leaves_no_process() {
    let dir = temp_dir("abctl-demo").unwrap();
    let (mut process, address) = running(&dir).await;
    process.kill().unwrap();
    // A child would still hold the port or the directory.
    assert!(TcpStream::connect(address).is_err());
    let lock = std::fs::File::open(entries(&dir)[0].join("lock")).unwrap();
    lock.try_lock().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_place_it_cannot_write_to_is_told() {
    let line = abctl(&["demo"], &[("TMPDIR", "/proc")], None).failed(1);
    assert!(line.starts_with("abctl: demo: AB_DATA: /proc/abstream-demo-"), "{line}");
    assert!(line.contains(" cannot be made: "), "{line}");
}
