//! An experiment of several days, by both day bases: built anew it answers as it did for each of them; and what is told
//! and what happens while it is built is in the answers once, as in those of a twin that is never built anew.

use crate::calendar::{Calendar, answers_of, assert_alike, first_day};
use crate::rebuilding::{rebuild, served};
use crate::support::{applied, assert_verified};
use domain::Day;
use e2e::run;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

on_both!(no_day_is_changed_by_building_anew_and_nothing_is_lost_or_doubled_meanwhile);

const BUILT: &str = "built";
const TWIN: &str = "twin";
/// Who come on each day.
const USERS: u32 = 40;

struct Days<'s> {
    system: &'s dyn Calendar,
    /// The first, on which things are applied.
    first: Day,
}

fn user(i: u32) -> String {
    format!("user-{i}")
}

impl Days<'_> {
    fn day(&self, n: u32) -> Day {
        Day(self.first.0 + i32::try_from(n).unwrap())
    }

    /// Events and facts of the n-th day, in requests of their own.
    async fn live(&self, n: u32) {
        // What happened did so weeks before it was applied: users of a day are exposed on different days.
        let at = |i: u32, days: i32| {
            let exposed = Day(self.first.0 - 60 + i32::try_from(i % 7).unwrap());
            let seconds = i64::from(i) * 61;
            Day(exposed.0 + days).start().plus(seconds * 1_000_000).to_string()
        };
        let new = n * USERS..(n + 1) * USERS;
        let before = n.saturating_sub(1) * USERS..n * USERS;
        let all = 0..(n + 1) * USERS;
        let worth = |i: u32| (i * 37 + n * 13) % 50 + 1;
        let value = |i: u32| json!({"user_id": user(i), "value": worth(i), "covariate_name": "loyalty"});
        let own = |i: u32| json!({"user_id": user(i), "value": worth(i)});
        let stratum =
            |i: u32| json!({"user_id": user(i), "stratum": if i.is_multiple_of(3) { "FR" } else { "DE" }});
        let seen = |i: u32, variation: u32| json!({"user_id": user(i), "variation_index": variation % 2, "occurred_at": at(i, 0)});
        let excluded = |i: u32, excluded: bool| json!({"user_id": user(i), "excluded": excluded});
        let held = |i: u32| json!({"user_id": format!("held-{i}")});
        let bought = |i: u32, days: i32, key: &str| {
            json!({"user_id": user(i), "metric": "purchase", "value": worth(i), "occurred_at": at(i, days),
                "idempotency_key": format!("{key}-{n}")})
        };
        let later = i32::try_from(n).unwrap() + 1;
        for (route, list, items) in [
            ("strata", "strata", new.clone().filter(|i| i % 2 == 0).map(stratum).collect::<Vec<_>>()),
            ("pre-period", "pre_period_values", new.clone().filter(|i| i % 4 != 0).map(value).collect()),
            ("pre-period", "pre_period_values", new.clone().filter(|i| i % 5 == 0).map(own).collect()),
            ("conversions", "conversions", new.clone().map(|i| bought(i, -3, "earlier")).collect()),
            ("exposures", "exposures", new.clone().map(|i| seen(i, i)).collect()),
            ("holdout", "holdout", (n * 3..n * 3 + 3).map(held).collect()),
            (
                "exposures",
                "exposures",
                before.clone().filter(|i| i % 9 == 0).map(|i| seen(i, i + 1)).collect(),
            ),
            ("strata", "strata", before.clone().filter(|i| i % 2 == 1).map(stratum).collect()),
            (
                "exclusions",
                "exclusions",
                before.clone().filter(|i| i % 10 < 2).map(|i| excluded(i, true)).collect(),
            ),
            (
                "exclusions",
                "exclusions",
                before.filter(|i| i % 10 == 1).map(|i| excluded(i, false)).collect(),
            ),
            ("conversions", "conversions", all.clone().map(|i| bought(i, later, "named")).collect()),
        ] {
            for items in items.chunks(10) {
                for key in [BUILT, TWIN] {
                    let path = format!("/api/v1/experiments/{key}/{route}");
                    applied(&self.system.ingest(), &path, &[], json!({list: items}).to_string()).await;
                }
            }
        }
        let tenants: Vec<Value> = all.map(|i| bought(i, later - 2, "tenants")).collect();
        for items in tenants.chunks(10) {
            let body = json!({"conversions": items}).to_string();
            applied(&self.system.ingest(), "/api/v1/conversions", &[], body).await;
        }
    }

    /// What is said for the first so many days, and for now.
    async fn answers(&self, key: &str, days: u32) -> Vec<(String, Value)> {
        let days: Vec<Day> = (0..days).map(|n| self.day(n)).collect();
        answers_of(self.system, key, &days).await
    }

    async fn rebuild(&self, version: u64) {
        rebuild(self.system, BUILT).await;
        served(self.system, BUILT, version).await;
    }
}

async fn no_day_is_changed_by_building_anew_and_nothing_is_lost_or_doubled_meanwhile(system: &dyn Calendar) {
    for key in [BUILT, TWIN] {
        let definition = json!({"key": key, "variations": [{"key": "control"}, {"key": "treatment"}],
            "metrics": [
                {"key": "revenue", "event": "purchase", "type": "mean", "cap": "45"},
                {"key": "bought", "event": "purchase", "type": "proportion"},
                {"key": "basket", "type": "ratio", "numerator": "purchase"},
            ],
            "crossovers": "exclude",
            "analysis": {"cuped": {"covariates": ["loyalty"]}}});
        system.experiment(definition).await.unwrap();
    }
    let days = Days { system, first: first_day(system, BUILT).await };
    for n in 0..3 {
        system.set_day(days.day(n)).await;
        days.live(n).await;
    }
    let before = days.answers(BUILT, 3).await;
    let users: Vec<&Value> = before.iter().step_by(3).map(|(_, answer)| &answer["users"]).collect();
    assert_eq!(users, [40, 80, 120, 120]);
    assert_alike(&before, &days.answers(TWIN, 3).await);
    days.rebuild(2).await;
    assert_alike(&days.answers(BUILT, 3).await, &before);
    assert_verified(system, &[BUILT, TWIN]).await;

    // Again and again while two more days go by.
    let living = AtomicBool::new(true);
    let live = async {
        for n in 3..5 {
            system.set_day(days.day(n)).await;
            days.live(n).await;
        }
        living.store(false, Ordering::Relaxed);
    };
    let build = async {
        let mut version = 2;
        while living.load(Ordering::Relaxed) || version < 5 {
            version += 1;
            days.rebuild(version).await;
        }
        version
    };
    let ((), version) = tokio::join!(live, build);
    assert_verified(system, &[BUILT, TWIN]).await;
    let after = days.answers(BUILT, 5).await;
    assert_alike(&after, &days.answers(TWIN, 5).await);
    // The days that had passed are as they were, by what was known then.
    assert_alike(&after[..9], &before[..9]);
    days.rebuild(version + 1).await;
    assert_alike(&days.answers(BUILT, 5).await, &after);
    let books = run::settled(system).await.unwrap();
    assert!(books.are_good(), "{}", books.total);
}
