//! Crashes at every step of a transaction, and two owners: the books stay closed.

use crate::rig::{Rig, conversions, exposures, frame};
use domain::{BatchId, ExperimentId};
use ingest_worker::apply::ApplyError;
use queue::reader::Entry;
use store::apply::ApplyStore;

/// Small deterministic generator (xorshift), so that a failure can be repeated.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

pub async fn stream(rig: &mut Rig, dice: &mut Dice, entries: usize) -> (Vec<Entry>, Vec<store::Experiment>) {
    let mut experiments = Vec::new();
    for key in ["one", "two", "three"] {
        experiments.push(
            rig.experiment(key, r#"[{"key":"purchase","type":"mean"},{"key":"signup","type":"proportion"}]"#)
                .await,
        );
    }
    let users: Vec<String> = (0..40).map(|i| format!("user-{i}")).collect();
    let keys: Vec<String> = (0..60).map(|i| format!("key-{i}")).collect();
    let mut stream = Vec::new();
    for _ in 0..entries {
        let mut groups = Vec::new();
        for _ in 0..=dice.roll(6) {
            let user = &users[usize::try_from(dice.roll(40)).unwrap()];
            let e = &experiments[usize::try_from(dice.roll(3)).unwrap()];
            let seconds = i64::try_from(dice.roll(1000)).unwrap();
            if dice.roll(2) == 0 {
                groups.push(exposures(e, &[(user, i16::try_from(dice.roll(2)).unwrap(), seconds)]));
            } else {
                let id = if dice.roll(2) == 0 { ExperimentId::NONE } else { e.id };
                let metric = if dice.roll(2) == 0 { "purchase" } else { "signup" };
                let key = &keys[usize::try_from(dice.roll(60)).unwrap()];
                groups.push(conversions(
                    id,
                    &[(user, metric, i64::try_from(dice.roll(50)).unwrap(), seconds, key)],
                ));
            }
        }
        if dice.roll(40) == 0 {
            rig.next_day();
        }
        stream.push(rig.entry(&[frame(BatchId(uuid::Uuid::now_v7()), groups)]));
    }
    (stream, experiments)
}

/// Entries behind the position that the database holds.
pub fn unapplied<'e>(stream: &'e [Entry], position: &str) -> &'e [Entry] {
    let at = stream.iter().position(|e| e.id.to_string() == position).map_or(0, |i| i + 1);
    &stream[at..]
}

on_both!(
    lost_connections_lose_and_double_nothing,
    of_two_owners_one_is_told_and_reads_again,
    a_position_that_comes_again_lets_no_stale_owner_in,
);

async fn lost_connections_lose_and_double_nothing(mut rig: Rig) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (stream, experiments) = stream(&mut rig, &mut dice, 400).await;
    let mut crashes = 0;
    loop {
        let rest = unapplied(&stream, &rig.cache.position);
        if rest.is_empty() {
            break;
        }
        let most = u64::min(12, rest.len() as u64);
        let (taken, _) = ingest_worker::chunk::one_transaction(rest, rig.cache.day, 1 + dice.roll(60));
        let chunk = &rest[..taken.min(usize::try_from(most).unwrap())];
        if dice.roll(4) == 0 {
            // Dropped at a random await point, as by a crash: the server may or may not commit yet.
            crashes += 1;
            let polls = dice.roll(12);
            let _ = drop_after(Box::pin(rig.apply(chunk)), polls).await;
            rig.reconnect().await;
        } else {
            match rig.apply(chunk).await {
                Ok(_) => {}
                // The lost connection's commit came through after we had looked.
                Err(ApplyError::Moved(_)) => rig.forget().await,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(crashes > 10, "only {crashes} crashes");
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
    let account = &rig.store.accounting().await.unwrap().partitions[0];
    let sent: u64 = stream.last().unwrap().total;
    assert_eq!((account.accepted.cast_unsigned(), account.lost), (sent, 0));
}

/// Polls a future so often at most, then drops it.
pub async fn drop_after<F: Future>(future: F, polls: u64) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        match future.as_mut().poll(cx) {
            Poll::Ready(out) => Poll::Ready(Some(out)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                Poll::Pending
            }
        }
    })
    .await
}

async fn of_two_owners_one_is_told_and_reads_again(mut rig: Rig) {
    let mut dice = Dice(7);
    let (stream, experiments) = stream(&mut rig, &mut dice, 120).await;
    let mut other = OtherOwner::new(&rig).await;
    let mut told = 0;
    loop {
        let mine = unapplied(&stream, &rig.cache.position);
        let theirs = unapplied(&stream, &other.cache.position);
        if mine.is_empty() && theirs.is_empty() {
            break;
        }
        if dice.roll(2) == 0 && !mine.is_empty() {
            let taken = ingest_worker::chunk::one_transaction(mine, rig.cache.day, 30).0;
            if let Err(ApplyError::Moved(_)) = rig.apply(&mine[..taken]).await {
                told += 1;
                rig.forget().await;
            }
        } else if !theirs.is_empty() {
            told += u32::from(!other.apply(theirs).await);
        }
    }
    assert!(told > 5, "the two never met: {told}");
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
}

async fn a_position_that_comes_again_lets_no_stale_owner_in(mut rig: Rig) {
    let mut dice = Dice(11);
    let (stream, experiments) = stream(&mut rig, &mut dice, 30).await;
    let day = stream[0].id.time().day();
    let same_day = stream.iter().take_while(|e| e.id.time().day() == day).count();
    let stream = &stream[..same_day];
    let (first, rest) = stream.split_at(1);
    rig.apply(first).await.unwrap();
    // The other goes on, then finds the stream replaced and reads it from its beginning: the position is once more
    // where this owner left it.
    let mut other = OtherOwner::new(&rig).await;
    assert!(other.apply(rest).await);
    assert!(other.apply(first).await);
    assert_eq!(other.cache.position, rig.cache.position);
    let stale = rig.apply(rest).await;
    assert!(matches!(stale, Err(ApplyError::Moved(_))), "{stale:?}");
    rig.forget().await;
    rig.apply(rest).await.unwrap();
    rig.assert_books(&experiments.iter().collect::<Vec<_>>()).await;
}

struct OtherOwner {
    store: Box<dyn ApplyStore>,
    cache: ingest_worker::cache::PartitionCache,
}

impl OtherOwner {
    async fn new(rig: &Rig) -> OtherOwner {
        let mut store = rig.store.connect().await.unwrap();
        let state = store.load(domain::Partition(0)).await.unwrap();
        OtherOwner { store, cache: ingest_worker::cache::PartitionCache::new(domain::Partition(0), state) }
    }

    /// `false`: it was told that the position moved, and reads again.
    async fn apply(&mut self, rest: &[Entry]) -> bool {
        let (taken, day) = ingest_worker::chunk::one_transaction(rest, self.cache.day, 30);
        let now = &rest[..taken];
        let result = ingest_worker::apply::apply(&mut *self.store, &mut self.cache, now, day, 100).await;
        if result.is_err() {
            let state = self.store.load(domain::Partition(0)).await.unwrap();
            self.cache = ingest_worker::cache::PartitionCache::new(domain::Partition(0), state);
        }
        result.is_ok()
    }
}
