//! What a tenant may send.

use std::time::Duration;

use queue::limiter::{Allowance, Taken};
use tokio::time::Instant;

use super::of_each;
use super::rig::Kind;

of_each! {
    a_seconds_worth_passes_at_once_and_then_the_rate,
    more_than_a_seconds_worth_passes_alone_and_is_waited_for,
    tenants_and_things_are_counted_apart_and_gateways_together,
}

fn events(tenant: &str, per_second: u64) -> Allowance<'_> {
    Allowance { tenant, what: "events", per_second }
}

fn wait(taken: Taken) -> Duration {
    match taken {
        Taken::No(wait) => wait,
        Taken::Yes => panic!("it was taken"),
    }
}

async fn a_seconds_worth_passes_at_once_and_then_the_rate(kind: Kind) {
    let rig = kind.rig().await;
    let (limiter, allowance) = (rig.queue.limiter(), events("acme", 2_000));
    let begun = Instant::now();
    for _ in 0..285 {
        assert_eq!(limiter.take(allowance, 7).await, Taken::Yes, "of the first second's worth");
    }
    // So much that no machine is too slow to ask for more than comes meanwhile.
    let mut taken = 285.0 * 7.0;
    let refused = loop {
        match limiter.take(allowance, 1_400).await {
            Taken::Yes => taken += 1_400.0,
            Taken::No(wait) => break wait,
        }
    };
    let refilled = begun.elapsed().as_secs_f64() * 2_000.0;
    assert!(taken <= 2_000.0 + refilled, "{taken}, {refilled} of it refilled");
    assert!(refused <= Duration::from_millis(701), "so many come in 0.7 s: {refused:?}");
}

async fn more_than_a_seconds_worth_passes_alone_and_is_waited_for(kind: Kind) {
    let rig = kind.rig().await;
    let (limiter, allowance) = (rig.queue.limiter(), events("acme", 1));
    assert_eq!(limiter.take(allowance, 3_600).await, Taken::Yes);
    let refused = wait(limiter.take(allowance, 1).await);
    assert!(refused > Duration::from_secs(3_000) && refused <= Duration::from_secs(3_600), "{refused:?}");
    let refused = wait(limiter.take(allowance, 10).await);
    assert!(refused <= Duration::from_secs(3_601));
}

async fn tenants_and_things_are_counted_apart_and_gateways_together(kind: Kind) {
    let rig = kind.rig().await;
    let (one, other) = (rig.queue.limiter(), rig.queue.limiter());
    assert_eq!(one.take(events("acme", 1), 3_600).await, Taken::Yes);
    wait(other.take(events("acme", 1), 1).await);
    assert_eq!(other.take(events("globex", 1), 3_600).await, Taken::Yes);
    let requests = Allowance { what: "requests", ..events("acme", 1) };
    assert_eq!(other.take(requests, 3_600).await, Taken::Yes);
    wait(one.take(requests, 1).await);
}
