//! Finding the event that the database refuses (SQLSTATE classes 22 and 23), so that it alone is dead-lettered.
//!
//! The shortest run of events from the entry's first that is refused ends with it; bisection finds that run, in as
//! many tries as the number of events has binary digits, none of them committed.

use crate::apply::{ApplyError, Trial, restart};
use crate::cache::PartitionCache;
use crate::chunk::Chunk;
use crate::sort::{Culprit, Culprits};
use domain::Day;
use queue::reader::EntryId;
use store::apply::ApplyStore;
use store::{ErrorKind, StoreError};

/// A frame with more refused events than this is given up whole: finding each takes a dozen tries.
const PER_FRAME: usize = 8;

/// The first event whose presence makes the database refuse, of those not yet in `culprits`; `None` when it refuses
/// without any. Events found not to fold are added to `culprits` on the way.
pub async fn first_refused(
    store: &mut dyn ApplyStore,
    cache: &mut PartitionCache,
    chunk: &Chunk<'_>,
    last: EntryId,
    day: Day,
    max_letters: u64,
    culprits: &mut Culprits,
) -> Result<Option<usize>, ApplyError> {
    // Refused with all events; so far not known to pass with any.
    let (mut passes, mut refused) = (None, chunk.events.len());
    while passes.is_none_or(|passes| passes + 1 < refused) {
        let before = passes.map_or(0, |passes| passes + (refused - passes) / 2);
        let trial = Trial { chunk, last, day, max_letters, culprits, before };
        let outcome = trial.run(store, cache).await.map(|tried| tried.err());
        restart(store, cache).await?;
        match outcome {
            Ok(None) => passes = Some(before),
            Ok(Some((event, overflow))) => {
                culprits.insert(event, Culprit::Overflow(overflow));
            }
            Err(ApplyError::Store(error)) if error.kind() == ErrorKind::Data => match before {
                0 => return Ok(None),
                _ => refused = before,
            },
            Err(error) => return Err(error),
        }
    }
    Ok(refused.checked_sub(1))
}

/// Adds a refused event to the culprits, and with it all others of its frame if too many of it are refused.
pub fn condemn(chunk: &Chunk<'_>, event: usize, error: &StoreError, culprits: &mut Culprits) {
    let culprit = Culprit::Refused(error.to_string());
    culprits.insert(event, culprit.clone());
    let frame = chunk.events.get(event).map(|e| e.frame);
    let of_frame = |i: &usize| chunk.events.get(*i).map(|e| e.frame) == frame;
    if culprits.keys().filter(|i| of_frame(i)).count() > PER_FRAME {
        for i in (0..chunk.events.len()).filter(of_frame) {
            culprits.entry(i).or_insert_with(|| culprit.clone());
        }
    }
}
