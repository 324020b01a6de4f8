//! The native clients of ops/clients against a running gateway, and a server in front of it that misbehaves.

mod driver;
mod front;

use crate::support::two_arms;
use driver::{Language, Plan, Report};
use e2e::{API_TOKEN, Deployment, Setup, System, run};
use front::{Fate, Front, Seen};

const EVENTS_KEY: &str = "clients-events-key";

/// Exposures of `users`, then a conversion of each.
fn calls(experiment: &str, users: usize) -> Vec<[String; 4]> {
    let exposures = (0..users).map(|i| {
        let variation = if i % 2 == 0 { "control" } else { "treatment" };
        ["exposure", experiment, &format!("{experiment}-{i}"), variation].map(str::to_owned)
    });
    let conversions = (0..users).map(|i| {
        ["conversion", &format!("{experiment}-{i}"), "purchase", &format!("{i}.5")].map(str::to_owned)
    });
    exposures.chain(conversions).collect()
}

/// (recorded, deduplicated) by what was sent since `before`; nothing may be lost or dead.
async fn fates(system: &System, before: (i64, i64)) -> (i64, i64) {
    let books = run::settled(system).await.unwrap();
    assert!(books.are_good(), "{}", books.total);
    assert_eq!((books.total.lost, books.total.dead_lettered, books.total.in_flight), (0, 0, 0));
    (books.total.recorded - before.0, books.total.deduplicated - before.1)
}

fn nothing_given_up(report: &Report, accepted: usize) {
    assert_eq!((report.accepted, report.refused, report.closed), (accepted, 0, true), "{report:?}");
    assert_eq!(report.given_up, [], "{report:?}");
}

/// No answer, 503, 429, 500 and an answer that gets lost: the same events again, after the pauses the server asks for.
async fn comes_again(language: Language, system: &System) {
    let before = fates(system, (0, 0)).await;
    let rule = |number: usize, _: &Seen| match number {
        0 => Fate::Dropped,
        1 => Fate::Answered(503, Some(7)),
        2 => Fate::Answered(429, Some(3)),
        3 => Fate::Answered(500, None),
        4 => Fate::Swallowed,
        _ => Fate::Forwarded,
    };
    let front = Front::start(system.gateway_addr, rule).await;
    let report = language.run(&Plan::new(front.addr, API_TOKEN, 50, calls("again", 60))).await;
    nothing_given_up(&report, 120);
    let seen = front.seen();
    assert_eq!(
        seen.iter().map(|seen| seen.events.len()).collect::<Vec<_>>(),
        [50, 50, 50, 50, 50, 50, 50, 20]
    );
    assert!(seen[..6].iter().all(|again| again.keys() == seen[0].keys()));
    let pauses = &report.pauses;
    assert_eq!((pauses.len(), pauses[1], pauses[2]), (5, 7.0, 3.0), "{pauses:?}");
    // Backing off without being told: twice as long each time, half of it left to chance.
    for (attempt, longest) in [(0, 0.5), (3, 4.0), (4, 8.0)] {
        assert!((longest / 2.0..=longest).contains(&pauses[attempt]), "{pauses:?}");
    }
    assert_eq!(fates(system, before).await, (120, 50));
}

/// Batches that are too large are halved, in order; one event that is too large alone is given up.
async fn splits(language: Language, system: &System) {
    let before = fates(system, (0, 0)).await;
    let poison = |seen: &Seen| seen.events.iter().any(|event| event["user_id"] == "split-5");
    let rule = move |_: usize, seen: &Seen| match seen.events.len() > 20
        || (poison(seen) && seen.events[0]["type"] == "exposure")
    {
        true => Fate::Answered(413, None),
        false => Fate::Forwarded,
    };
    let front = Front::start(system.gateway_addr, rule).await;
    let report = language.run(&Plan::new(front.addr, API_TOKEN, 64, calls("split", 32))).await;
    assert_eq!((report.accepted, report.closed), (64, true), "{report:?}");
    assert_eq!((&report.given_up[..], report.pauses.len()), (&[("413".to_owned(), 1)][..], 0), "{report:?}");
    let users: Vec<_> =
        front.seen().iter().filter(|seen| seen.events.len() == 1).map(|s| s.events[0].clone()).collect();
    assert_eq!(users.len(), 2, "{users:?}");
    assert_eq!(fates(system, before).await, (63, 0));
}

/// Any other refusal is final, of a request and of single events.
async fn gives_up(language: Language, system: &System) {
    let before = fates(system, (0, 0)).await;
    let rule = |number: usize, _: &Seen| match number {
        0 => Fate::Answered(401, None),
        1 => Fate::Answered(422, Some(1)),
        _ => Fate::Forwarded,
    };
    let front = Front::start(system.gateway_addr, rule).await;
    let mut calls = calls("refused", 15);
    calls[25] = ["exposure", "nowhere", "u", "control"].map(str::to_owned);
    let report = language.run(&Plan::new(front.addr, API_TOKEN, 10, calls)).await;
    let given_up =
        [("401", 10), ("422", 10), ("unknown_experiment", 1)].map(|(reason, n)| (reason.to_owned(), n));
    assert_eq!(report.given_up, given_up, "{report:?}");
    assert_eq!((report.accepted, report.pauses.len(), front.seen().len()), (30, 0, 3), "{report:?}");
    assert_eq!(fates(system, before).await, (9, 0));
}

/// Past its bound the queue takes nothing more, and says so; what it took is delivered.
async fn is_bounded(language: Language, system: &System) {
    let before = fates(system, (0, 0)).await;
    let rule = |number: usize, _: &Seen| if number == 0 { Fate::Dropped } else { Fate::Forwarded };
    let front = Front::start(system.gateway_addr, rule).await;
    let plan =
        Plan { queue_size: 20, hold: true, ..Plan::new(front.addr, API_TOKEN, 5, calls("bounded", 50)) };
    let report = language.run(&plan).await;
    // A batch under way comes on top in Rust.
    let most = if language == Language::Rust { 25 } else { 20 };
    assert!((20..=most).contains(&report.accepted), "{report:?}");
    assert_eq!((report.accepted + report.refused, report.closed), (100, true), "{report:?}");
    assert_eq!(fates(system, before).await, (i64::try_from(report.accepted).unwrap(), 0));
}

/// Who closes it in vain is told what was not delivered.
async fn ends(language: Language, system: &System) {
    let front = Front::start(system.gateway_addr, |_, _| Fate::Dropped).await;
    let plan = Plan { close_ms: 200, ..Plan::new(front.addr, API_TOKEN, 10, calls("ends", 10)) };
    let report = language.run(&plan).await;
    let given_up: usize = report.given_up.iter().map(|(_, events)| events).sum();
    assert_eq!((report.accepted, given_up, report.closed), (20, 20, false), "{report:?}");
    assert!(report.given_up.iter().all(|(reason, _)| reason == "closed"), "{report:?}");
}

async fn system() -> System {
    let keys = format!("{EVENTS_KEY}:default:events");
    let system =
        System::start(Setup { environment: vec![("AB_API_KEYS", keys)], ..Setup::default() }).await.unwrap();
    for experiment in ["again", "split", "refused", "bounded", "ends", "page"] {
        system.experiment(two_arms(experiment, &["purchase"])).await.unwrap();
    }
    system
}

async fn keeps_the_rules(language: Language) {
    let system = system().await;
    comes_again(language, &system).await;
    splits(language, &system).await;
    gives_up(language, &system).await;
    is_bounded(language, &system).await;
    ends(language, &system).await;
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_keeps_the_rules() {
    keeps_the_rules(Language::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_client_keeps_the_rules() {
    keeps_the_rules(Language::JavaScript).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_keeps_the_rules() {
    keeps_the_rules(Language::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_hidden_sends_what_it_has_by_beacons() {
    let system = system().await;
    let front = Front::start(system.gateway_addr, |_, _| Fate::Forwarded).await;
    let mut calls = calls("page", 200);
    for call in &mut calls {
        // So long that it takes several beacons.
        let user = call.iter().position(|text| text.starts_with("page-")).unwrap();
        call[user] = format!("{}-{}", call[user], "x".repeat(150));
    }
    let plan = Plan { page: true, ..Plan::new(front.addr, EVENTS_KEY, 500, calls) };
    let report = Language::JavaScript.run(&plan).await;
    nothing_given_up(&report, 400);
    assert!(report.beacons.len() > 1 && report.beacons.iter().all(|status| *status == 202), "{report:?}");
    let seen = front.seen();
    let (beacons, rest) = seen.split_at(report.beacons.len());
    for beacon in beacons {
        assert_eq!(beacon.line, format!("POST /api/v1/events?key={EVENTS_KEY}"));
        assert!(beacon.content_type.starts_with("text/plain"), "{}", beacon.content_type);
    }
    // The page lived on: the same events once more, with the same keys.
    assert_eq!(rest.len(), 1);
    let mut by_beacons: Vec<&str> = beacons.iter().flat_map(Seen::keys).collect();
    let mut again = rest[0].keys();
    by_beacons.sort_unstable();
    again.sort_unstable();
    assert_eq!(by_beacons, again);
    assert_eq!(fates(&system, (0, 0)).await, (400, 400));
    system.stop().await.unwrap();
}
