//! Limits shared through Redis.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use queue::Queue;
use queue::limiter::{Allowance, Taken};
use testkit::Redis;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::queue;

const GATEWAYS: u32 = 4;

/// Times in which nobody was given anything for longer than a lease lasts: the machine stood still, not the limiter.
struct Standstills {
    last: Instant,
    sum: Duration,
}

impl Standstills {
    fn end(&mut self) {
        let since = self.last.elapsed();
        if since > Duration::from_millis(100) {
            self.sum += since;
        }
        self.last += since;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_gateways_together_give_what_one_may() {
    const PER_SECOND: u64 = 1_000;
    let redis = Redis::start().await.unwrap();
    let begun = Instant::now();
    let end = begun + Duration::from_secs(3);
    let standstills = Arc::new(Mutex::new(Standstills { last: begun, sum: Duration::ZERO }));
    let mut gateways = JoinSet::new();
    for gateway in 0..GATEWAYS {
        let (queue, standstills) = (queue(&redis.url()), Arc::clone(&standstills));
        gateways.spawn(async move {
            let limiter = queue.limiter();
            let allowance = Allowance { tenant: "acme", what: "events", per_second: PER_SECOND };
            // The first sends most.
            let (mut taken, amount) = (0_u64, if gateway == 0 { 10 } else { 1 });
            while Instant::now() < end {
                match limiter.take(allowance, amount).await {
                    Taken::Yes => {
                        taken += amount;
                        standstills.lock().unwrap().end();
                    }
                    Taken::No(wait) => sleep(wait.min(Duration::from_millis(5))).await,
                }
            }
            taken
        });
    }
    let taken: u64 = gateways.join_all().await.iter().sum();
    let seconds = begun.elapsed().as_secs_f64();
    standstills.lock().unwrap().end();
    let stood_still = standstills.lock().unwrap().sum.as_secs_f64();
    #[allow(clippy::cast_precision_loss)]
    let (taken, rate) = (taken as f64, PER_SECOND as f64);
    let allowed = rate * (seconds + 1.0);
    println!(
        "{taken} taken in {seconds:.2} s, {allowed:.0} allowed: {:+.1}%",
        (taken / allowed - 1.0) * 100.0
    );
    assert!(taken <= allowed + 1.0, "never more");
    let expected = allowed - rate * stood_still;
    assert!(
        taken >= expected * 0.7,
        "what gateways hold unused is a small part; {stood_still:.2} s stood still"
    );
}

#[tokio::test]
async fn without_redis_nothing_is_limited_and_with_it_again_everything_is() {
    let redis = Redis::start().await.unwrap();
    let limiter = queue(&redis.url()).limiter();
    let allowance = Allowance { tenant: "acme", what: "events", per_second: 1 };
    assert_eq!(limiter.take(allowance, 3_600).await, Taken::Yes);
    assert!(matches!(limiter.take(allowance, 1).await, Taken::No(_)));
    redis.stop().await.unwrap();
    crate::support::eventually("it passes", || async { limiter.take(allowance, 1).await == Taken::Yes })
        .await;
    redis.restart().await.unwrap();
    // Redis has kept what is used.
    crate::support::eventually("it is refused", || async { limiter.take(allowance, 1).await != Taken::Yes })
        .await;
}
