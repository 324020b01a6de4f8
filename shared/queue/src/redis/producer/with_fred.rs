//! Entries sent with fred.
//!
//! Only its connection and its pipelining are used. What it would do by itself when something fails, connecting again,
//! sending again, following a MOVED, would leave in the dark what became of an entry: a connection that failed is
//! dropped, and the client with it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::Partition;
use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, ConnectionConfig, PerformanceConfig, ServerConfig, TcpConfig};
use fred::types::{ClusterHash, ConnectHandle, CustomCommand, Resp3Frame, Value};
use futures_util::future::{OptionFuture, join3};
use redis::ConnectionAddr;
use tokio::time::timeout;

use super::wire::{Attempt, Entry, Reply, Trouble, Wire, judge};
use crate::numbering::Outcome;
use crate::redis::commands::{self, FRAMES, NUMBER, TOTAL, WRITER};
use crate::redis::connection::CONNECT_TIMEOUT;
use crate::redis::server::Server;

pub(super) struct FredWire {
    server: Server,
    response_timeout: Duration,
    current: Option<Connected>,
}

struct Connected {
    client: Client,
    /// The task that holds the connection.
    task: ConnectHandle,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FredWire {
    pub(super) fn new(server: &Server, response_timeout: Duration) -> FredWire {
        FredWire { server: server.clone(), response_timeout, current: None }
    }

    async fn client(&mut self, partition: Partition) -> Result<Client, Trouble> {
        if let Some(connected) = &self.current {
            return Ok(connected.client.clone());
        }
        let node = self.server.node(commands::slot(partition)).await?;
        let ConnectionAddr::Tcp(host, port) = &node else {
            return Err(trouble("fred is built for plain TCP only"));
        };
        let (settings, connect_timeout) = (self.server.settings(), self.server.within(CONNECT_TIMEOUT));
        let config = Config {
            server: ServerConfig::new_centralized(host.as_str(), *port),
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            database: u8::try_from(settings.db()).ok().filter(|db| *db > 0),
            ..Config::default()
        };
        let performance = PerformanceConfig {
            default_command_timeout: self.response_timeout,
            ..PerformanceConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: connect_timeout,
            internal_command_timeout: connect_timeout,
            max_command_attempts: 1,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let client = Client::new(config, Some(performance), Some(connection), None);
        match timeout(connect_timeout, client.init()).await {
            Ok(Ok(task)) => {
                self.current = Some(Connected { client: client.clone(), task });
                Ok(client)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(trouble("no connection in time")),
        }
    }

    /// The connection leads nowhere, or to a server that has not, or has not any more, what we want.
    async fn disconnect(&mut self) {
        self.current = None;
        if let Some(slots) = self.server.cluster() {
            slots.suspect().await;
        }
    }
}

#[async_trait]
impl Wire for FredWire {
    async fn send(&mut self, entry: &Entry) -> Attempt {
        let client = match self.client(entry.partition).await {
            Ok(client) => client,
            Err(trouble) => {
                self.disconnect().await;
                return Attempt::NotConnected(trouble);
            }
        };
        let waiting = entry.replicas.map(|(replicas, timeout)| wait(&client, replicas, timeout));
        // Polled in this order, and so sent in it.
        let (added, _, waited) =
            join3(add(&client, entry), note(&client, entry), OptionFuture::from(waiting)).await;
        let replies = added.and_then(|added| Ok((added, waited.transpose()?)));
        let (added, waited) = match replies {
            Ok((added, waited)) => (Reply::from(added), waited.map(Reply::from)),
            Err(error) => {
                self.disconnect().await;
                return Attempt::Made(Outcome::Unknown, Some(error.into()));
            }
        };
        match added {
            Reply::Error(trouble) if trouble.is(&["MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN"]) => {
                self.disconnect().await;
                Attempt::NotConnected(trouble)
            }
            Reply::Error(trouble) if trouble.is(&["READONLY", "MASTERDOWN"]) => {
                self.disconnect().await;
                judge(Reply::Error(trouble), None, None)
            }
            added => judge(added, waited, entry.replicas),
        }
    }
}

type Answer = Result<Resp3Frame, fred::error::Error>;

async fn add(client: &Client, entry: &Entry) -> Answer {
    let arguments: Vec<Value> = vec![
        text(commands::stream(entry.partition)),
        text("*"),
        bytes(WRITER),
        bytes(entry.writer.as_bytes()),
        bytes(NUMBER),
        text(entry.stamp.number.to_string()),
        bytes(TOTAL),
        text(entry.stamp.total.to_string()),
        bytes(FRAMES),
        entry.payload.clone().into(),
    ];
    client.custom_raw(command("XADD"), arguments).await
}

async fn note(client: &Client, entry: &Entry) -> Answer {
    let total = entry.stamp.total.to_string();
    let arguments: Vec<Value> =
        vec![text(commands::sent(entry.partition)), bytes(entry.writer.as_bytes()), text(total)];
    client.custom_raw(command("HSET"), arguments).await
}

async fn wait(client: &Client, replicas: u32, timeout: Duration) -> Answer {
    let arguments: Vec<Value> = vec![text(replicas.to_string()), text(commands::millis(timeout).to_string())];
    client.custom_raw(command("WAIT"), arguments).await
}

fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}

fn text(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

fn bytes(bytes: &[u8]) -> Value {
    Value::from(Bytes::copy_from_slice(bytes))
}

impl From<Resp3Frame> for Reply {
    fn from(frame: Resp3Frame) -> Reply {
        match frame {
            Resp3Frame::BlobString { .. } => Reply::Id,
            Resp3Frame::Number { data, .. } => Reply::Number(data),
            Resp3Frame::SimpleError { data, .. } => Reply::Error(Trouble {
                code: data.split(' ').next().map(str::to_owned),
                source: data.to_string().into(),
            }),
            _ => Reply::Unexpected,
        }
    }
}

impl Trouble {
    fn is(&self, codes: &[&str]) -> bool {
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

impl From<fred::error::Error> for Trouble {
    fn from(error: fred::error::Error) -> Trouble {
        Trouble { code: None, source: error.into() }
    }
}

fn trouble(what: &'static str) -> Trouble {
    Trouble { code: None, source: what.into() }
}
