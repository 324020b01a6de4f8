//! Liveness: only work that nobody gets on with is held against a worker. The clock is the test's.

use domain::Partition;
use ingest_worker::Progress;
use queue::reader::EntryId;
use std::time::Duration;
use tokio::time::Instant;

const ONE: Partition = Partition(1);
const TWO: Partition = Partition(2);
const AT: EntryId = EntryId { ms: 7, seq: 0 };

/// A lane that holds two partitions, and a clock of seconds.
fn lane() -> (Progress, impl Fn(u64) -> Instant) {
    let progress = Progress::new(Duration::from_secs(60));
    progress.holds(ONE, EntryId::ZERO);
    progress.holds(TWO, AT);
    let start = Instant::now();
    (progress, move |seconds| start + Duration::from_secs(seconds))
}

#[test]
fn work_that_nobody_gets_on_with_is_told_after_a_minute() {
    let (lane, at) = lane();
    lane.found(ONE, at(0));
    // More of it changes nothing.
    lane.found(ONE, at(59));
    assert_eq!(lane.alive(at(59)), Ok(()));
    let stuck = "no transaction committed for 60 s with work at hand";
    assert_eq!(lane.alive(at(60)), Err(stuck.into()));
    lane.applied(ONE, AT, at(61));
    assert_eq!(lane.alive(at(120)), Ok(()));
    // There was more to do.
    assert_eq!(lane.alive(at(121)), Err(stuck.into()));
    lane.idle(ONE);
    assert_eq!(lane.alive(at(1_000)), Ok(()));
}

#[test]
fn who_has_nothing_to_do_is_alive() {
    let (lane, at) = lane();
    assert_eq!(lane.alive(at(1_000)), Ok(()));
    lane.applied(ONE, AT, at(1_000));
    assert_eq!(lane.alive(at(2_000)), Ok(()));
    // What is done in one partition says nothing of another.
    lane.found(ONE, at(2_000));
    lane.applied(TWO, AT, at(2_059));
    lane.idle(TWO);
    assert!(lane.alive(at(2_060)).is_err());
}

#[test]
fn a_partition_taken_again_is_no_progress_and_one_given_up_is_no_work() {
    let (lane, at) = lane();
    lane.found(ONE, at(0));
    // As after a lost connection; what is found again is the same work.
    lane.holds(ONE, AT);
    lane.found(ONE, at(59));
    assert!(lane.alive(at(60)).is_err());
    assert_eq!(lane.positions(), [(ONE, AT), (TWO, AT)]);
    lane.keeps(|partition| partition == TWO);
    assert_eq!((lane.alive(at(60)), lane.positions()), (Ok(()), vec![(TWO, AT)]));
    // What its reader tells too late is nobody's.
    lane.found(ONE, at(61));
    assert_eq!(lane.alive(at(1_000)), Ok(()));
}
