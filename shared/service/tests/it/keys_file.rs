//! Keys files that change while the service runs: what is said and what is served meanwhile.

use crate::kit::{ENV, Server, limits, start_with};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use service::auth::{Keys, KeysFile, Look};
use service::http::Limits;
use service::settings::{Settings, Tier};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const REWRITES: usize = 50;

fn path() -> PathBuf {
    std::env::temp_dir().join(format!("abstream-keys-{}", uuid::Uuid::new_v4()))
}

#[tokio::test]
async fn keys_file_is_taken_over_when_it_changes() {
    let path = path();
    fs::write(&path, "# keys of the shop\nfirst:shop:events\n").unwrap();
    let env = [("AB_REDIS_URL", "redis://h"), ("AB_API_KEYS_FILE", path.to_str().unwrap())];
    let settings = Settings::for_testing(Tier::Gateway, &env).unwrap();
    assert_eq!(settings.auth.api_keys_file.as_ref(), Some(&path));
    let keys = Arc::new(Keys::new(&settings.auth, false).unwrap());
    let refused = IntGauge::new("refused", "of the test").unwrap();
    let mut file = KeysFile::new(Arc::clone(&keys), path.clone(), refused.clone());
    let first = [file.look().await, file.look().await, file.look().await];
    assert_eq!(first, [Look::Fresh, Look::Same, Look::Same], "the same keys as at the start");
    let steps = [
        ("second:shop:read", true, "second", "first"),
        ("broken", false, "second", "first"),
        ("third:shop:read", true, "third", "second"),
    ];
    for (content, changed, known, unknown) in steps {
        let before = refused.get();
        fs::write(&path, content).unwrap();
        assert_eq!(file.look().await, Look::Fresh, "it may be half of what is coming: {content}");
        assert_eq!(refused.get(), before, "{content}");
        assert_eq!(file.look().await, if changed { Look::Taken } else { Look::Refused }, "{content}");
        assert!(keys.find(known).is_some() && keys.find(unknown).is_none(), "{content}");
        assert_eq!(refused.get(), i64::from(!changed), "{content}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!([file.look().await, file.look().await], [Look::Refused, Look::Same]);
    assert!(keys.find("third").is_some(), "a missing file leaves the keys as they are");
    assert_eq!(refused.get(), 1);
    // As it was: nothing to take over, and nothing wrong any more.
    fs::write(&path, "third:shop:read").unwrap();
    assert_eq!([file.look().await, file.look().await], [Look::Fresh, Look::Same]);
    assert_eq!(refused.get(), 0);
    fs::remove_file(&path).unwrap();
}

/// One connection, which has to last.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(server: &Server) -> Connection {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Connection(sender)
    }

    /// Status and, of a request that is served, the tenant.
    async fn echo(&mut self, key: &str) -> (u16, String) {
        let request = hyper::Request::post("/echo").header("host", "localhost").header("x-api-key", key);
        let request = request.header("content-type", "application/json").body(Full::from("{}")).unwrap();
        self.0.ready().await.expect("the connection stays");
        let answer = self.0.send_request(request).await.expect("an answer on the same connection");
        let status = answer.status().as_u16();
        #[allow(clippy::disallowed_methods)] // small
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        (status, body["tenant"].as_str().unwrap_or_default().to_owned())
    }
}

/// `number` is the tenant of the key that changes each time; one key is in all of them.
fn content(number: usize) -> String {
    format!(
        "# edition {number}\nof-all-editions:all:events,ingest\nedition-{number}-key:edition-{number}:ingest\n"
    )
}

fn write_begun(path: &Path, text: &str) {
    OpenOptions::new().write(true).truncate(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn write_ended(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_meet_old_or_new_keys_and_nothing_else_however_the_file_is_written() {
    let path = path();
    fs::write(&path, content(0)).unwrap();
    let env: Vec<_> = ENV.iter().copied().filter(|(name, _)| *name != "AB_API_KEYS").collect();
    let env = [&env[..], &[("AB_API_KEYS_FILE", path.to_str().unwrap())]].concat();
    // Connections have to last, however long a rewrite takes.
    let patient = |limits: &mut Limits| {
        (limits.header_time, limits.body_time) = (Duration::from_secs(3_600), Duration::from_secs(3_600));
    };
    let server = start_with(&env, limits(patient)).await;
    let refused = IntGauge::new("refused", "of the test").unwrap();
    let mut file = KeysFile::new(Arc::clone(&server.keys), path.clone(), refused.clone());
    assert_eq!([file.look().await, file.look().await], [Look::Fresh, Look::Same], "the keys of the start");

    // Requests all the while, each on a connection that lasts.
    let (ended, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut senders = Vec::new();
    for _ in 0..4 {
        let (ended, served) = (Arc::clone(&ended), Arc::clone(&served));
        let mut connection = Connection::open(&server).await;
        senders.push(tokio::spawn(async move {
            while !ended.load(Ordering::SeqCst) {
                assert_eq!(connection.echo("of-all-editions").await, (200, "all".to_owned()));
                served.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    let mut connection = Connection::open(&server).await;
    for number in 1..=REWRITES {
        let (old, new) = (format!("edition-{}", number - 1), format!("edition-{number}"));
        // A request whose body comes before and after the change.
        let mut slow = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST /echo HTTP/1.1\r\nhost: localhost\r\nx-api-key: {old}-key\r\ncontent-type: application/json\r\n\
             connection: close\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        );
        slow.write_all(head.as_bytes()).await.unwrap();
        // What says that its key was found: the body is asked for.
        let mut go_on = [0; 25];
        tokio::io::AsyncReadExt::read_exact(&mut slow, &mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

        let text = content(number);
        if number % 2 == 0 {
            let beside = path.with_extension("new");
            fs::write(&beside, &text).unwrap();
            fs::rename(&beside, &path).unwrap();
        } else {
            // Emptied, whole lines only, and in the middle of an entry; the last of them for so long that two looks see it.
            let (line, middle) = (text.find("edition-").unwrap(), text.rfind(':').unwrap() + 3);
            let long = &[Look::Fresh, Look::Refused, Look::Same][..];
            for (begun, looks) in [("", &long[..1]), (&text[..line], &long[..1]), (&text[..middle], long)] {
                write_begun(&path, begun);
                for look in looks {
                    assert_eq!(file.look().await, *look, "{begun:?}");
                    assert_eq!(connection.echo(&format!("{old}-key")).await, (200, old.clone()), "{begun:?}");
                }
            }
            assert_eq!(refused.get(), 1);
            write_ended(&path, &text[middle..]);
        }
        assert_eq!([file.look().await, file.look().await], [Look::Fresh, Look::Taken], "edition {number}");
        assert_eq!(refused.get(), 0);
        assert_eq!(connection.echo(&format!("{new}-key")).await, (200, new));
        assert!(server.keys.find(&format!("{old}-key")).is_none());
        slow.write_all(b"{}").await.unwrap();
        assert_eq!(crate::kit::read_answer(&mut slow).await.json()["tenant"], old.as_str());
    }
    ended.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.await.unwrap();
    }
    assert!(served.load(Ordering::SeqCst) > 0);
    fs::remove_file(&path).unwrap();
    drop(connection);
    server.stop().await;
}

#[tokio::test]
async fn a_file_that_is_refused_is_told_of_once_and_takes_no_key_away() {
    let path = path();
    fs::write(&path, "first:shop:events\n").unwrap();
    let env = [("AB_REDIS_URL", "redis://h"), ("AB_API_KEYS_FILE", path.to_str().unwrap())];
    let settings = Settings::for_testing(Tier::Gateway, &env).unwrap();
    let keys = Arc::new(Keys::new(&settings.auth, false).unwrap());
    let refused = IntGauge::new("refused", "of the test").unwrap();
    let mut file = KeysFile::new(Arc::clone(&keys), path.clone(), refused.clone());
    let mut looks = async || [file.look().await, file.look().await, file.look().await, file.look().await];
    // Emptied too: whoever writes a file anew empties it first.
    for text in
        ["", "\n", "# first:shop:events\n", " ; ;\n", "new:shop:ev", "new", "new:shop:events;new:a:read"]
    {
        fs::write(&path, text).unwrap();
        assert_eq!(looks().await, [Look::Fresh, Look::Refused, Look::Same, Look::Same], "{text:?}");
        assert!(keys.find("first").is_some() && keys.find("new").is_none(), "{text:?}");
        assert_eq!(refused.get(), 1, "{text:?}");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(looks().await, [Look::Same; 4], "that it is not in force is known");
    fs::write(&path, "new:shop:events\n").unwrap();
    assert_eq!(looks().await, [Look::Fresh, Look::Taken, Look::Same, Look::Same]);
    assert!(keys.find("first").is_none() && keys.find("new").is_some());
    assert_eq!(refused.get(), 0);
    fs::remove_file(&path).unwrap();
}
