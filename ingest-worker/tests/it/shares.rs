//! Workers that see the same others share every partition out, once.

use ingest_worker::shares::{Share, Shares};
use proptest::prelude::*;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

proptest! {
    #[test]
    fn every_partition_is_one_lanes_of_one_worker(ids in proptest::collection::btree_set(any::<u128>(), 1..9), partitions in 1u16..64, lanes in 1u16..4) {
        let living: Vec<Uuid> = ids.into_iter().map(Uuid::from_u128).collect();
        let mut owners: HashMap<_, u32> = HashMap::new();
        for me in &living {
            let mut shares = Shares::new(*me);
            prop_assert_eq!(shares.see(living.clone()), Share::NOTHING);
            let share = shares.see(living.clone());
            for lane in 0..lanes {
                for partition in share.partitions(partitions, lane, lanes) {
                    *owners.entry(partition).or_default() += 1;
                }
            }
        }
        prop_assert_eq!(owners.len(), usize::from(partitions));
        prop_assert!(owners.values().all(|n| *n == 1));
    }

    #[test]
    fn a_change_counts_when_it_was_seen_twice(history in proptest::collection::vec(proptest::collection::btree_set(0u128..5, 0..5), 1..30)) {
        let me = Uuid::from_u128(2);
        let mut shares = Shares::new(me);
        let mut before: Option<(BTreeSet<u128>, Share)> = None;
        for living in history {
            let ids: Vec<Uuid> = living.iter().copied().map(Uuid::from_u128).collect();
            let share = shares.see(ids.clone());
            let expected = match &before {
                Some((last, _)) if *last == living => match ids.iter().position(|id| *id == me) {
                    Some(rank) => Share { rank: u16::try_from(rank).unwrap(), of: u16::try_from(ids.len()).unwrap() },
                    None => Share::NOTHING,
                },
                // Nobody lives: as at the beginning.
                None if living.is_empty() => Share::NOTHING,
                Some((_, share)) => *share,
                None => Share::NOTHING,
            };
            prop_assert_eq!(share, expected);
            before = Some((living, share));
        }
    }
}
