//! Exclusions have no keys; a request has. Those of a file get the keys of their blocks of lines, and of several that one
//! user has in a block each the next turn: sent again, in whatever batches, they say nothing new.

use super::target::Target;
use std::collections::HashMap;
use std::sync::Arc;

/// Lines. What a crash has to send again, and the users that are remembered at a time.
const BLOCK: u64 = 10_000;

/// How often each user has come in the block being read.
#[derive(Default)]
pub struct Turns {
    /// Of which input, and which block of it.
    block: (usize, u64),
    users: HashMap<String, usize>,
}

impl Turns {
    /// The line `number` of an input comes next; whether it begins another block than the line before it.
    pub fn begin(&mut self, input: usize, number: u64) -> bool {
        let block = (input, number.saturating_sub(1) / BLOCK);
        let is_another = block != self.block;
        if is_another {
            self.block = block;
            self.users.clear();
        }
        is_another
    }

    /// Where the next item of a user goes.
    pub fn target(&mut self, target: &Target, identity: &str, user_id: &str) -> Arc<Target> {
        let turn = match self.users.get_mut(user_id) {
            Some(turn) => {
                *turn += 1;
                *turn
            }
            None => {
                self.users.insert(user_id.to_owned(), 0);
                0
            }
        };
        let key = Some(format!("replay:{identity}:{}-{turn}", self.block.1));
        Arc::new(Target { turn, key, path: target.path.clone(), kind: target.kind })
    }
}
