//! Ten million events wait: the worker's memory is bounded by much less than they take.

use e2e::backlog::{self, LIMIT};

const EVENTS: u64 = 10_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_does_not_show_in_the_memory_of_a_worker() {
    let outcome = backlog::run(EVENTS).await.unwrap();
    println!("{outcome}");
    assert!(outcome.bytes > LIMIT, "all of it would not fit: {outcome}");
    outcome.check().unwrap();
}
