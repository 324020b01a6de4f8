//! Connections to Redis that come back by themselves, and find the server that has the keys.

use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion,
    RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::sync::Mutex;

use crate::redis::commands;
use crate::redis::error::unexpected_reply;
use crate::redis::server::Server;
use crate::redis::slots::{Slot, redirection};

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes collected before they are handed to the socket: an entry in one or two writes instead of thirty.
const WRITE_BUFFER: usize = 256 << 10;
/// How often one pipeline follows keys that move; servers that disagree longer than that are tried again later.
const REDIRECTIONS: usize = 4;

pub(crate) fn client(
    info: &ConnectionInfo,
    node: &ConnectionAddr,
    protocol: ProtocolVersion,
) -> RedisResult<Client> {
    let settings = info.redis_settings().clone().set_protocol(protocol);
    Client::open(info.clone().set_addr(node.clone()).set_redis_settings(settings))
}

pub(crate) async fn connect(
    client: &Client,
    connect: Duration,
    response: Duration,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(connect))
        .set_response_timeout(Some(response))
        .set_write_backpressure_boundary(WRITE_BUFFER);
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// One connection to each server that is needed, made when first needed and again after it broke. Clones share them;
/// whoever blocks on one (BLOCK, WAIT) must have a link of its own.
#[derive(Clone)]
pub(crate) struct Link {
    server: Server,
    response_timeout: Duration,
    nodes: Arc<Lock<Vec<Arc<Node>>>>,
}

struct Node {
    addr: ConnectionAddr,
    current: Mutex<Current>,
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
    /// The first command was not carried out.
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

type Replies = Vec<RedisResult<Value>>;

impl Link {
    pub(crate) fn new(server: &Server, response_timeout: Duration) -> Link {
        Link::timed(server, server.within(response_timeout))
    }

    /// Waits exactly so long for an answer.
    pub(crate) fn timed(server: &Server, response_timeout: Duration) -> Link {
        Link { server: server.clone(), response_timeout, nodes: Arc::default() }
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// The reply to each command of the pipeline, in order, by the server that has the slot.
    pub(crate) async fn run(&self, slot: Slot, pipeline: &Pipeline) -> Result<Replies, Failure> {
        let node = self.server.node(slot).await.map_err(Failure::NotConnected)?;
        let replies = self.run_at(&node, pipeline).await?;
        if self.server.cluster().is_none() {
            return Ok(replies);
        }
        self.follow(pipeline, node, replies).await
    }

    /// The reply to the only command.
    pub(crate) async fn run_one(&self, slot: Slot, pipeline: &Pipeline) -> RedisResult<Value> {
        self.run(slot, pipeline).await?.pop().unwrap_or_else(|| Err(unexpected_reply()))
    }

    /// The same of one server, whatever it has.
    pub(crate) async fn run_at(
        &self,
        node: &ConnectionAddr,
        pipeline: &Pipeline,
    ) -> Result<Replies, Failure> {
        let replies = self.send(node, pipeline).await;
        if let (Err(_), Some(slots)) = (&replies, self.server.cluster()) {
            slots.suspect().await;
        }
        replies
    }

    async fn send(&self, addr: &ConnectionAddr, pipeline: &Pipeline) -> Result<Replies, Failure> {
        let node = self.node(addr);
        let (mut connection, generation) = self.connection(&node).await.map_err(Failure::NotConnected)?;
        let replies = match connection.req_packed_commands(pipeline, 0, pipeline.len()).await {
            Ok(replies) => replies,
            Err(error) => {
                // Also after a mere timeout: a connection whose peer is gone without a word times out for ever.
                node.drop_connection(generation).await;
                return Err(Failure::Unknown(error));
            }
        };
        let replies: Vec<_> = replies.into_iter().map(Value::extract_error).collect();
        if replies.iter().any(is_demoted) {
            node.drop_connection(generation).await;
        }
        if replies.len() != pipeline.len() {
            return Err(Failure::Unknown(unexpected_reply()));
        }
        Ok(replies)
    }

    /// Sends the commands whose keys were elsewhere to where they are, each one alone: of a slot under way, some keys
    /// have arrived and some have not. A WAIT goes with the first command.
    async fn follow(
        &self,
        pipeline: &Pipeline,
        mut node: ConnectionAddr,
        mut replies: Replies,
    ) -> Result<Replies, Failure> {
        let commands: Vec<_> = pipeline.cmd_iter().collect();
        for _ in 0..REDIRECTIONS {
            let redirected = |reply: &RedisResult<Value>| redirection(reply.as_ref().err()?, &node);
            let Some((error, (slot, to))) =
                replies.iter().find_map(|reply| Some((reply.as_ref().err()?, redirected(reply)?)))
            else {
                break;
            };
            let asking = is(error, ServerErrorKind::Ask);
            let first = replies.first().is_some_and(|reply| redirected(reply).is_some());
            let again: Vec<usize> = (0..replies.len())
                .filter(|&i| redirected(&replies[i]).is_some() || (first && commands::is_wait(commands[i])))
                .collect();
            if !asking && let Some(slots) = self.server.cluster() {
                slots.moved(slot, to.clone()).await;
                self.forget(&node);
            }
            let mut part = redis::pipe();
            for &i in &again {
                if asking {
                    part.cmd("ASKING");
                }
                part.add_command(commands[i].clone());
            }
            let answers = match self.run_at(&to, &part).await {
                Ok(answers) => answers,
                Err(failure) if first => return Err(failure),
                // The first command, which decides, was carried out; the others tell by their errors.
                Err(_) => break,
            };
            let step = if asking { 2 } else { 1 };
            let answers = answers.into_iter().skip(step - 1).step_by(step);
            for (i, answer) in again.into_iter().zip(answers) {
                replies[i] = answer;
            }
            node = to;
        }
        match replies.first() {
            Some(Err(error)) if is_elsewhere(error) => {
                if let Some(slots) = self.server.cluster() {
                    slots.suspect().await;
                }
                Err(Failure::NotConnected(error.clone()))
            }
            _ => Ok(replies),
        }
    }

    fn node(&self, addr: &ConnectionAddr) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.iter().find(|node| node.addr == *addr) {
            return Arc::clone(node);
        }
        let node = Arc::new(Node { addr: addr.clone(), current: Mutex::default() });
        nodes.push(Arc::clone(&node));
        node
    }

    /// It may have left the cluster; while it is needed, another connection is made.
    fn forget(&self, addr: &ConnectionAddr) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).retain(|node| node.addr != *addr);
    }

    async fn connection(&self, node: &Node) -> RedisResult<(MultiplexedConnection, u64)> {
        let mut current = node.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.generation));
        }
        let client = self.server.commands(&node.addr)?;
        let connection = connect(&client, self.server.within(CONNECT_TIMEOUT), self.response_timeout).await?;
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.generation))
    }
}

impl Node {
    async fn drop_connection(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }
}

/// After a failover behind one name, the old connection still leads to the demoted server.
fn is_demoted(reply: &RedisResult<Value>) -> bool {
    let demoted = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown];
    reply.as_ref().is_err_and(|error| demoted.into_iter().any(|kind| is(error, kind)))
}

/// Nobody, or somebody else, has the slot at this moment; nothing was carried out.
fn is_elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{Ask, ClusterDown, Moved, TryAgain};
    [Moved, Ask, ClusterDown, TryAgain].into_iter().any(|kind| is(error, kind))
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}
