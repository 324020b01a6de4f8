//! An analyzer as a process of its own on a database and a Redis of the test's own, and abctl as it is typed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::{Process, Redis};

pub const API_TOKEN: &str = "abctl-ingest-token-0123456789";
pub const READ_TOKEN: &str = "abctl-read-only-token-0123456789";
pub const ADMIN_TOKEN: &str = "abctl-admin-token-0123456789";

pub struct Deployment {
    pub url: String,
    pub database: String,
    _analyzer: Process,
    _redis: Redis,
}

impl Deployment {
    pub async fn start() -> Deployment {
        Deployment::start_with(&[]).await
    }

    pub async fn start_with(more: &[(&str, &str)]) -> Deployment {
        Deployment::on(testkit::postgres().await.create_database().await.unwrap(), more).await
    }

    /// On a database that may hold something.
    pub async fn on(database: String, more: &[(&str, &str)]) -> Deployment {
        let (postgres, redis) = (testkit::postgres().await, Redis::start().await.unwrap());
        let port = testkit::free_port().unwrap();
        let mut analyzer = Process::of("analyzer")
            .unwrap()
            .env("AB_PORT", port.to_string())
            .env("AB_INTERNAL_ADDR", format!("127.0.0.1:{}", testkit::free_port().unwrap()))
            .env("AB_DATABASE_URL", postgres.url_for(&database))
            .env("AB_REDIS_URL", redis.url())
            .env("AB_API_TOKEN", API_TOKEN)
            .env("AB_READONLY_API_TOKEN", READ_TOKEN)
            .env("AB_ADMIN_TOKEN", ADMIN_TOKEN);
        for (name, value) in more {
            analyzer = analyzer.env(name, value);
        }
        let mut analyzer = analyzer.spawn().unwrap();
        let addr = ([127, 0, 0, 1], port).into();
        analyzer.wait_ready(addr, "/readyz", Duration::from_secs(60)).await.unwrap();
        Deployment { url: format!("http://{addr}"), database, _analyzer: analyzer, _redis: redis }
    }

    /// With the admin's key.
    pub fn abctl(&self, arguments: &[&str]) -> Ran {
        abctl(arguments, &[("AB_URL", &self.url), ("AB_ADMIN_TOKEN", ADMIN_TOKEN)], None)
    }
}

/// The address of somebody who takes every delivery of a webhook.
pub fn takes_deliveries() -> String {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = receiver.accept() {
            let (mut request, mut more) = (Vec::new(), [0; 4_096]);
            while !request.ends_with(b"}") {
                match stream.read(&mut more) {
                    Ok(read) if read > 0 => request.extend_from_slice(&more[..read]),
                    _ => break,
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    url
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub error: String,
}

/// What was written to standard error, but for how far a slow run is: that is said every few seconds.
pub fn without_progress(error: &str) -> String {
    error.split_inclusive('\n').filter(|line| !line.starts_with(|c: char| c.is_ascii_digit())).collect()
}

/// Runs abctl to its end with no `AB_` variable but these.
pub fn abctl(arguments: &[&str], env: &[(&str, &str)], stdin: Option<&Path>) -> Ran {
    let mut command = Command::new(testkit::bin("abctl").unwrap());
    command.env_clear().envs(env.iter().copied()).args(arguments);
    command.stdin(stdin.map_or(Stdio::null(), |path| File::open(path).unwrap().into()));
    let output = command.output().unwrap();
    let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Ran { code: output.status.code().unwrap(), out, error: without_progress(&error) }
}

impl Ran {
    /// Standard output of a run that succeeded without a word on standard error.
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.error.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The one line a run that ended with `code` wrote to standard error.
    pub fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.error);
        assert_eq!(self.error.lines().count(), 1, "{}", self.error);
        self.error.trim_end().to_owned()
    }
}
