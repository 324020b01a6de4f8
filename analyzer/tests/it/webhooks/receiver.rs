//! A receiver on a socket of its own, which does as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// For a loaded machine; nothing waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: String,
}

#[derive(Debug, Clone)]
pub enum Say {
    Status(u16),
    /// With more header lines.
    With(u16, String),
    /// Nothing, as long as the sender holds on.
    Hang,
    Close,
}

type Script = Arc<dyn Fn(usize, &Seen) -> Say + Send + Sync>;

pub struct Receiver {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    news: Arc<Notify>,
    _serving: AbortOnDropHandle<()>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn id(&self) -> String {
        self.header("webhook-id").unwrap().to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Receiver {
    /// The script is given how many requests came before.
    pub async fn start(script: impl Fn(usize, &Seen) -> Say + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (seen, news, script) =
            (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(Notify::new()), Arc::new(script));
        let (all, told, script): (_, _, Script) = (seen.clone(), news.clone(), script);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, all.clone(), told.clone(), script.clone()));
            }
        });
        Receiver { addr, seen, news, _serving: AbortOnDropHandle::new(serving) }
    }

    pub async fn willing() -> Receiver {
        Receiver::start(|_, _| Say::Status(200)).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?from=abstream", self.addr)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn ids(&self) -> Vec<String> {
        self.seen().iter().map(Seen::id).collect()
    }

    /// Once there are so many.
    pub async fn wait_for(&self, count: usize) -> Vec<Seen> {
        self.wait_until(&format!("{count} deliveries"), |seen| seen.len() >= count).await
    }

    pub async fn wait_until(&self, what: &str, holds: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let news = self.news.notified();
                let seen = self.seen();
                if holds(&seen) {
                    return seen;
                }
                news.await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("no {what}: {:#?}", self.seen()))
    }
}

async fn answer(
    mut stream: TcpStream,
    all: Arc<Mutex<Vec<Seen>>>,
    news: Arc<Notify>,
    script: Script,
) -> Option<()> {
    let mut bytes = Vec::new();
    let seen = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8(bytes.clone()).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let seen = Seen { head: head.to_owned(), body: body.to_owned() };
        if seen.header("content-length").is_some_and(|length| length == body.len().to_string()) {
            break seen;
        }
    };
    let said = {
        let mut all = all.lock().unwrap();
        let said = script(all.len(), &seen);
        all.push(seen);
        said
    };
    news.notify_waiters();
    let (status, more) = match said {
        Say::Status(status) => (status, String::new()),
        Say::With(status, more) => (status, more),
        Say::Close => return None,
        Say::Hang => {
            // Until the sender lets go.
            while stream.read_buf(&mut bytes).await.ok()? > 0 {}
            return None;
        }
    };
    let head = format!("HTTP/1.1 {status} As told\r\ncontent-length: 0\r\n{more}\r\n");
    stream.write_all(head.as_bytes()).await.ok()
}
