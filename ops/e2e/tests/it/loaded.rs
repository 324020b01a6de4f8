//! `AB_MAX_LOADED` holds, whatever is asked for: `make loaded` in small.

use e2e::loaded::{self, Asked};

#[tokio::test(flavor = "multi_thread")]
async fn more_experiments_than_may_be_kept_are_asked_for_and_more_that_are_not_there() {
    let asked = Asked { known: 2_000, unknown: 10_000, max_loaded: 500, misses: 100 };
    let outcome = loaded::run(asked).await.unwrap();
    println!("{outcome}");
    outcome.check().unwrap();
}
