//! Days that pass at a test's wish, whatever the clock says.

use crate::support::eventually;
use async_trait::async_trait;
use domain::Day;
use e2e::{Deployment, OneProcess, System};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[async_trait]
pub trait Calendar: Deployment {
    /// What is applied from now on is of this day, which is not before today.
    async fn set_day(&self, day: Day);
}

#[async_trait]
impl Calendar for System {
    async fn set_day(&self, day: Day) {
        // Locked in order, as by whoever else moves them all.
        let lock = "SELECT FROM partitions ORDER BY partition FOR UPDATE";
        let set = format!("UPDATE partitions SET day = date '{day}', epoch = epoch + 1");
        self.postgres.execute(&self.database, &format!("{lock}; {set}")).await.unwrap();
    }
}

#[async_trait]
impl Calendar for OneProcess {
    async fn set_day(&self, day: Day) {
        let file = rusqlite::Connection::open(self.data().join(backends::DATABASE_FILE)).unwrap();
        file.busy_timeout(LIMIT).unwrap();
        file.execute("UPDATE partitions SET day = ?1, epoch = epoch + 1", [day.0]).unwrap();
    }
}

/// A day so far ahead that no midnight comes before it, when every partition has an owner.
pub async fn first_day(system: &dyn Deployment, key: &str) -> Day {
    eventually("every partition has an owner", LIMIT, async || {
        system.store().accounting().await.unwrap().partitions.len() == usize::from(system.partitions())
    })
    .await;
    let created = system.store().experiment("default", key).await.unwrap().unwrap().created_at;
    Day(created.day().0 + 30)
}

/// What is said of an experiment as of each of these days and of now, by both day bases; but for which it is. Each with
/// its path.
pub async fn answers_of(system: &dyn Deployment, key: &str, days: &[Day]) -> Vec<(String, Value)> {
    let queries = days.iter().map(|day| format!("&as_of={day}")).chain([String::new()]);
    let mut answers = Vec::new();
    for query in queries {
        for what in
            ["live-stats?by=stratum", "timeseries?day_basis=received", "timeseries?day_basis=occurred"]
        {
            let path = format!("{what}{query}");
            let answer = system.admin().get(&format!("/api/v1/experiments/{key}/{path}")).await.unwrap();
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let mut answer = answer.json().unwrap();
            assert!(answer.as_object_mut().unwrap().remove("experiment").is_some());
            answers.push((path, answer));
        }
    }
    answers
}

pub fn assert_alike(ours: &[(String, Value)], theirs: &[(String, Value)]) {
    assert_eq!(ours.len(), theirs.len());
    for ((path, ours), (_, theirs)) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs, "{path}");
    }
}
