//! Connections to Redis that come back by themselves.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError,
    RedisResult, ServerErrorKind, Value,
};
use tokio::sync::Mutex;

use crate::QueueError;
use crate::redis::error::{failed, unexpected_reply};

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes collected before they are handed to the socket: an entry in one or two writes instead of thirty.
const WRITE_BUFFER: usize = 256 << 10;

/// Where Redis is: checked once, and everything that connects is made from it.
#[derive(Clone)]
pub(crate) struct Server {
    commands: Client,
    /// Messages come as pushes, which the older protocol does not have.
    pub(crate) subscriptions: Client,
}

impl Server {
    pub(crate) fn at(url: &str) -> Result<Server, QueueError> {
        let client = |protocol| client(url, protocol).map_err(|e| failed("read the URL", e));
        Ok(Server {
            commands: client(ProtocolVersion::RESP2)?,
            subscriptions: client(ProtocolVersion::RESP3)?,
        })
    }
}

/// With TCP_NODELAY set, which the `redis` crate leaves off.
fn client(url: &str, protocol: ProtocolVersion) -> RedisResult<Client> {
    let info = url.into_connection_info()?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.set_redis_settings(settings))
}

/// One connection, made when first needed and again after it broke. Clones share it; whoever blocks on it (BLOCK,
/// WAIT) must have one of its own.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    response_timeout: Duration,
    current: Arc<Mutex<Current>>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that only the one that broke is dropped.
    generation: u64,
}

/// Why a pipeline brought no replies.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was sent.
    NotConnected(RedisError),
    /// Sent, perhaps carried out.
    Unknown(RedisError),
}

impl From<Failure> for RedisError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotConnected(error) | Failure::Unknown(error) => error,
        }
    }
}

impl Link {
    pub(crate) fn new(server: &Server, response_timeout: Duration) -> Link {
        Link { client: server.commands.clone(), response_timeout, current: Arc::default() }
    }

    /// The reply to each command of the pipeline, in order.
    pub(crate) async fn run(&self, pipeline: &Pipeline) -> Result<Vec<RedisResult<Value>>, Failure> {
        let (mut connection, generation) = self.connection().await.map_err(Failure::NotConnected)?;
        let replies = match connection.req_packed_commands(pipeline, 0, pipeline.len()).await {
            Ok(replies) => replies,
            Err(error) => {
                // Also after a mere timeout: a connection whose peer is gone without a word times out for ever.
                self.drop_connection(generation).await;
                return Err(Failure::Unknown(error));
            }
        };
        let replies: Vec<_> = replies.into_iter().map(Value::extract_error).collect();
        if replies.iter().any(is_demoted) {
            self.drop_connection(generation).await;
        }
        if replies.len() != pipeline.len() {
            return Err(Failure::Unknown(unexpected_reply()));
        }
        Ok(replies)
    }

    /// The reply to the only command.
    pub(crate) async fn run_one(&self, pipeline: &Pipeline) -> RedisResult<Value> {
        self.run(pipeline).await?.pop().unwrap_or_else(|| Err(unexpected_reply()))
    }

    async fn connection(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.generation));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout))
            .set_write_backpressure_boundary(WRITE_BUFFER);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.generation))
    }

    async fn drop_connection(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }
}

/// After a failover behind one name, the old connection still leads to the demoted server.
fn is_demoted(reply: &RedisResult<Value>) -> bool {
    let demoted = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown].map(ErrorKind::Server);
    reply.as_ref().is_err_and(|error| demoted.contains(&error.kind()))
}
