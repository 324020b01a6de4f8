use crate::kit::ENV;
use service::boot::{Boot, BootError, run_with};
use service::settings::{Refusal, Tier};
use service::shutdown::Shutdown;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

async fn nothing_to_do(_: Boot) -> Result<(), BootError> {
    Ok(())
}

fn env(more: &[(&str, &str)]) -> Vec<(String, String)> {
    [ENV, more].concat().into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn args(flags: &[&str]) -> Vec<OsString> {
    std::iter::once(&"gateway").chain(flags).map(OsString::from).collect()
}

/// `ExitCode` can be told apart by its text only.
fn same(code: ExitCode, expected: u8) {
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(expected)));
}

#[test]
fn settings_are_refused_with_code_2_before_anything_starts() {
    let never = |_: Boot| async { panic!("must not start") };
    same(run_with(Tier::Gateway, env(&[("AB_TYPO", "1")]), args(&[]), never), 2);
    same(run_with(Tier::Gateway, env(&[("AB_ENV", "production")]), args(&[]), never), 2);
    same(run_with(Tier::Gateway, env(&[]), args(&["--typo"]), never), 2);
    same(run_with(Tier::Gateway, env(&[]), args(&["--check-config", "--port", "high"]), never), 2);
    same(run_with(Tier::Gateway, env(&[]), args(&["--check-config"]), never), 0);
    same(run_with(Tier::Gateway, env(&[]), args(&["--help"]), never), 0);
    same(run_with(Tier::Gateway, env(&[]), args(&["--version"]), never), 0);
}

#[test]
fn a_tier_runs_on_the_settings_it_was_given() {
    let flags = args(&["--log-level", "error", "--partitions", "3"]);
    let code = run_with(Tier::Gateway, env(&[]), flags, |boot| async move {
        assert_eq!((boot.settings.queue.partitions, boot.keys.len()), (Some(3), 5));
        nothing_to_do(boot).await
    });
    same(code, 0);
    // The log of a process is set up once, so a second start in this one fails, with code 1.
    same(run_with(Tier::Gateway, env(&[]), args(&[]), nothing_to_do), 1);
    // Panics of other tests are to be read as ever.
    let _ = std::panic::take_hook();
}

#[test]
fn failures_name_what_was_being_done() {
    let refused: BootError = Refusal::new("AB_REDIS_URL", "appendfsync is everysec").into();
    assert_eq!(refused.to_string(), "AB_REDIS_URL: appendfsync is everysec");
    let failed = BootError::failed("connect to Redis", std::io::Error::other("no route"));
    assert_eq!(failed.to_string(), "connect to Redis: no route");
}

#[tokio::test]
async fn first_signal_drains_and_second_aborts() {
    let shutdown = Shutdown::on_signals().unwrap();
    let process = std::process::id().to_string();
    let signal = |name: &str| Command::new("kill").args([name, process.as_str()]).status().unwrap();
    assert!(signal("-TERM").success());
    shutdown.begun().await;
    assert!(!shutdown.abort_token().is_cancelled());
    assert!(signal("-INT").success());
    shutdown.aborted().await;
}
