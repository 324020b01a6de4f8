//! The bound on dead letters: past it a tenant's letters keep no payload, so that no tenant can fill the database.
//!
//! Two owners that write letters of one tenant at once do not see each other's, so a tenant can come to hold a few
//! more than its bound.

use crate::tally::Tally;
use foldhash::{HashMap, HashMapExt};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use store::StoreError;
use store::apply::{ApplyStore, DeadLetter};

/// The letters of a transaction, for the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterCounts {
    /// Events dead-lettered, by reason.
    pub events: BTreeMap<&'static str, u64>,
    /// Letters whose payload was not kept.
    pub without_payload: u64,
}

/// Inside the transaction: takes the payloads of letters for which their tenant, with `max` letters that have one,
/// has no room.
pub async fn bounded<'a>(
    store: &mut dyn ApplyStore,
    tally: &mut Tally<'a>,
    max: u64,
) -> Result<(Vec<DeadLetter<'a>>, LetterCounts), StoreError> {
    let mut letters = std::mem::take(&mut tally.dead_letters);
    let mut counts = LetterCounts::default();
    let mut room: HashMap<&str, u64> = HashMap::new();
    for letter in &mut letters {
        *counts.events.entry(letter.reason).or_default() += letter.events;
        if !room.contains_key(letter.tenant) {
            let kept = store.dead_letters_kept(letter.tenant, max).await?;
            room.insert(letter.tenant, max.saturating_sub(kept));
        }
        match room.get_mut(letter.tenant) {
            Some(left) if *left > 0 => *left -= 1,
            _ => {
                letter.digest = Some(Sha256::digest(&letter.payload).into());
                letter.payload = Vec::new().into();
                counts.without_payload += 1;
            }
        }
    }
    Ok((letters, counts))
}
