//! Entries sent with the `redis` crate.

use async_trait::async_trait;
use redis::{RedisError, RedisResult, Value};

use super::wire::{Attempt, Entry, Reply, Trouble, Wire, judge};
use crate::numbering::Outcome;
use crate::redis::commands;
use crate::redis::connection::{Failure, Link};

#[async_trait]
impl Wire for Link {
    async fn send(&mut self, entry: &Entry) -> Attempt {
        let Entry { partition, writer, stamp, payload, replicas } = entry;
        let pipeline = commands::write_entry(*partition, *writer, *stamp, payload, *replicas);
        match self.run(commands::slot(*partition), &pipeline).await {
            Ok(replies) => {
                let mut replies = replies.into_iter().map(Reply::from);
                let added = replies.next().unwrap_or(Reply::Unexpected);
                // The total in between is advisory, whatever the reply.
                judge(added, replies.nth(1), *replicas)
            }
            Err(Failure::NotConnected(error)) => Attempt::NotConnected(error.into()),
            Err(Failure::Unknown(error)) => Attempt::Made(Outcome::Unknown, Some(error.into())),
        }
    }
}

impl From<RedisResult<Value>> for Reply {
    fn from(reply: RedisResult<Value>) -> Reply {
        match reply {
            Ok(Value::BulkString(_)) => Reply::Id,
            Ok(Value::Int(number)) => Reply::Number(number),
            Ok(_) => Reply::Unexpected,
            Err(error) => Reply::Error(error.into()),
        }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Trouble {
        Trouble { code: error.code().map(str::to_owned), source: error.into() }
    }
}
