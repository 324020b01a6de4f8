use crate::kit::ENV;
use service::boot::{Boot, BootError, run_with};
use service::settings::{Refusal, Settings, Tier};
use service::shutdown::Shutdown;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, ExitCode};
use std::thread;

async fn nothing_to_do(_: Boot) -> Result<(), BootError> {
    Ok(())
}

async fn checked(_: &Settings) -> Result<(), Refusal> {
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
    same(run_with(Tier::Gateway, env(&[("AB_TYPO", "1")]), args(&[]), checked, never), 2);
    same(run_with(Tier::Gateway, env(&[("AB_ENV", "production")]), args(&[]), checked, never), 2);
    same(run_with(Tier::Gateway, env(&[]), args(&["--typo"]), checked, never), 2);
    same(run_with(Tier::Gateway, env(&[]), args(&["--check-config", "--port", "high"]), checked, never), 2);
    same(run_with(Tier::Gateway, env(&[]), args(&["--check-config"]), checked, never), 0);
    same(run_with(Tier::Gateway, env(&[]), args(&["--help"]), checked, never), 0);
    same(run_with(Tier::Gateway, env(&[]), args(&["--version"]), checked, never), 0);
}

#[test]
fn a_tier_runs_on_the_settings_it_was_given() {
    let flags = args(&["--log-level", "error", "--partitions", "3"]);
    let code = run_with(Tier::Gateway, env(&[]), flags, checked, |boot| async move {
        assert_eq!((boot.settings.queue.partitions, boot.keys.len()), (Some(3), 5));
        nothing_to_do(boot).await
    });
    same(code, 0);
    // The log of a process is set up once, so a second start in this one fails, with code 1.
    same(run_with(Tier::Gateway, env(&[]), args(&[]), checked, nothing_to_do), 1);
    // Panics of other tests are to be read as ever.
    let _ = std::panic::take_hook();
}

#[test]
fn a_health_check_asks_whoever_listens_on_the_public_port() {
    let never = |_: Boot| async { panic!("must not start") };
    let ask = |port: u16| {
        let (env, port) = (env(&[("AB_HOST", "0.0.0.0")]), port.to_string());
        run_with(Tier::Gateway, env, args(&["--check-health", "--port", &port]), checked, never)
    };
    for (answer, code) in [("HTTP/1.1 200 OK", 0), ("HTTP/1.1 503 Service Unavailable", 1), ("SSH", 1)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 23];
            client.read_exact(&mut request).unwrap();
            client.write_all(format!("{answer}\r\n\r\n").as_bytes()).unwrap();
            request
        });
        same(ask(port), code);
        assert_eq!(&server.join().unwrap(), b"GET /health HTTP/1.1\r\nH");
    }
    // Servers of other tests take any that is free.
    same(ask(testkit::free_port().unwrap()), 1);
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
    let signal = |name: &str| {
        let kill = format!("kill -s {name} {process}");
        Command::new("sh").args(["-c", &kill]).status().unwrap()
    };
    assert!(signal("TERM").success());
    shutdown.begun().await;
    assert!(!shutdown.abort_token().is_cancelled());
    assert!(signal("INT").success());
    shutdown.aborted().await;
}
