//! What a client sends: the same as `ops/clients/real/clients.py` has it, so that it is known what must come out.

use serde_json::{Value, json};

pub struct Plan {
    /// As many exposures, and as many conversions.
    pub users: u64,
    pub experiment: String,
    /// Name of the conversions' event.
    pub event: String,
    /// Of user ids.
    pub prefix: String,
}

/// What live-stats must say of one arm.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Truth {
    pub users: i64,
    pub converters: i64,
    pub conversions: i64,
    pub cents: i64,
}

impl Plan {
    pub fn of(client: &str, users: u64) -> Plan {
        Plan {
            users,
            experiment: format!("sdk-{client}"),
            event: format!("Order Completed {client}"),
            prefix: client.to_owned(),
        }
    }

    /// The same data under other names.
    pub fn twin(&self) -> Plan {
        Plan {
            users: self.users,
            experiment: format!("{}-twin", self.experiment),
            event: format!("{} twin", self.event),
            prefix: format!("twin-{}", self.prefix),
        }
    }

    pub fn definition(&self) -> Value {
        json!({
            "key": self.experiment,
            "variations": [{"key": "control"}, {"key": "treatment"}],
            "metrics": [
                {"key": "orders", "event": self.event, "type": "proportion"},
                {"key": "revenue", "event": self.event, "type": "mean"},
            ],
        })
    }

    /// Number of the user, and cents, of each conversion.
    fn conversions(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.users).map(|i| {
            let user = i * i % self.users;
            (user, i * 37 % 1000 + 50 * (user % 2))
        })
    }

    /// Control and treatment.
    pub fn truth(&self) -> [Truth; 2] {
        let mut arms = [Truth::default(), Truth::default()];
        let arm = |user: u64| usize::from(user % 2 == 1);
        for user in 0..self.users {
            arms[arm(user)].users += 1;
        }
        let mut converted = std::collections::BTreeSet::new();
        for (user, cents) in self.conversions() {
            let truth = &mut arms[arm(user)];
            truth.conversions += 1;
            truth.converters += i64::from(converted.insert(user));
            truth.cents += i64::try_from(cents).expect("a few euros");
        }
        arms
    }

    /// The same as items of `/events`: all exposures, then all conversions.
    pub fn items(&self) -> [Vec<Value>; 2] {
        let user = |number: u64| format!("{}-{number}", self.prefix);
        let exposures = (0..self.users).map(|i| {
            json!({"type": "exposure", "experiment": self.experiment, "user_id": user(i), "variation_index": i % 2})
        });
        let conversions = (0..).zip(self.conversions()).map(|(i, (number, cents)): (u64, _)| {
            let value = format!("{}.{:02}", cents / 100, cents % 100);
            let key = format!("{}-{i}", self.prefix);
            json!({"type": "conversion", "user_id": user(number), "metric": self.event, "value": value, "idempotency_key": key})
        });
        [exposures.collect(), conversions.collect()]
    }
}
