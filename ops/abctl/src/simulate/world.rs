//! The experiments the synthetic users take part in, with the effects they truly have.

use crate::results::TrueLift;
use serde_json::{Value, json};

/// Event names that conversions carry; metrics refer to them by index.
pub const EVENTS: [&str; 5] = ["purchase", "signup", "add_to_cart", "refund", "page_seen"];
pub const PURCHASE: u8 = 0;
pub const SIGNUP: u8 = 1;
pub const ADD_TO_CART: u8 = 2;
pub const REFUND: u8 = 3;
/// Used by no metric: recorded, not analysed.
pub const PAGE_SEEN: u8 = 4;

pub struct World {
    /// At most 255.
    pub experiments: Vec<Experiment>,
}

pub struct Experiment {
    pub key: String,
    /// Share of the users that take part.
    pub coverage: f64,
    pub arms: Vec<Arm>,
    /// Attribution window in hours.
    pub window_hours: Option<u32>,
    /// Users who saw two variations contribute to no metric.
    pub exclude_crossovers: bool,
    pub metrics: Vec<Metric>,
}

pub struct Arm {
    pub key: &'static str,
    pub weight: f64,
    /// True relative change of the chance to purchase.
    pub lift: f64,
}

pub struct Metric {
    pub key: &'static str,
    pub kind: Kind,
    /// Index into [`EVENTS`].
    pub event: u8,
    /// Upper bound of a user's sum, in millionths.
    pub cap: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Proportion,
    Mean,
    Count,
    /// Sum of values over number of events.
    Ratio,
}

impl World {
    /// Four experiments that differ in everything that changes the counting. Purchases belong to the tenant and
    /// count in the first three; the fourth has no metric of them.
    pub fn varied(prefix: &str) -> World {
        let arm = |key, weight, lift| Arm { key, weight, lift };
        let metric = |key, kind, event| Metric { key, kind, event, cap: None };
        World {
            experiments: vec![
                Experiment {
                    key: format!("{prefix}checkout"),
                    coverage: 0.9,
                    arms: vec![arm("control", 2.0, 0.0), arm("short", 1.0, 0.15), arm("one_page", 1.0, 0.0)],
                    window_hours: None,
                    exclude_crossovers: false,
                    metrics: vec![
                        metric("purchase", Kind::Proportion, PURCHASE),
                        metric("revenue", Kind::Mean, PURCHASE),
                        metric("carts", Kind::Count, ADD_TO_CART),
                        metric("order_value", Kind::Ratio, PURCHASE),
                    ],
                },
                Experiment {
                    key: format!("{prefix}banner"),
                    coverage: 0.5,
                    arms: vec![arm("off", 1.0, 0.0), arm("on", 1.0, 0.08)],
                    window_hours: Some(72),
                    exclude_crossovers: false,
                    metrics: vec![
                        metric("purchase", Kind::Proportion, PURCHASE),
                        metric("refunds", Kind::Mean, REFUND),
                    ],
                },
                Experiment {
                    key: format!("{prefix}pricing"),
                    coverage: 0.4,
                    arms: vec![arm("old", 1.0, 0.0), arm("new", 1.0, -0.1)],
                    window_hours: None,
                    exclude_crossovers: true,
                    metrics: vec![
                        Metric { key: "revenue", kind: Kind::Mean, event: PURCHASE, cap: Some(150_000_000) },
                        metric("purchase", Kind::Proportion, PURCHASE),
                    ],
                },
                Experiment {
                    key: format!("{prefix}onboarding"),
                    coverage: 0.3,
                    arms: vec![arm("tour", 1.0, 0.0), arm("video", 1.0, 0.0)],
                    window_hours: None,
                    exclude_crossovers: false,
                    metrics: vec![metric("signup", Kind::Proportion, SIGNUP)],
                },
            ],
        }
    }

    /// One experiment everybody is in, for load: see [`super::habits::Habits::plain`].
    pub fn plain(prefix: &str) -> World {
        let arm = |key, lift| Arm { key, weight: 1.0, lift };
        World {
            experiments: vec![Experiment {
                key: format!("{prefix}load"),
                coverage: 1.0,
                arms: vec![arm("control", 0.0), arm("treatment", 0.05)],
                window_hours: None,
                exclude_crossovers: false,
                metrics: vec![
                    Metric { key: "purchase", kind: Kind::Proportion, event: PURCHASE, cap: None },
                    Metric { key: "revenue", kind: Kind::Mean, event: PURCHASE, cap: None },
                ],
            }],
        }
    }
}

impl Experiment {
    /// As the API wants it.
    pub fn definition(&self) -> Value {
        let variations: Vec<Value> =
            self.arms.iter().map(|a| json!({"key": a.key, "weight": a.weight})).collect();
        let metrics: Vec<Value> = self.metrics.iter().map(Metric::definition).collect();
        let crossovers = if self.exclude_crossovers { "exclude" } else { "keep" };
        json!({
            "key": self.key,
            "variations": variations,
            "metrics": metrics,
            "attribution": {"window_hours": self.window_hours},
            "crossovers": crossovers,
        })
    }

    /// The effects that are known beforehand: the simulated one is on the chance to purchase, and a proportion of
    /// purchases shows it as it is.
    pub fn true_lifts(&self) -> Vec<TrueLift> {
        let shows = |m: &&Metric| m.kind == Kind::Proportion && m.event == PURCHASE;
        let mut lifts = Vec::new();
        for metric in self.metrics.iter().filter(shows) {
            for (variation, arm) in self.arms.iter().enumerate().skip(1) {
                lifts.push(TrueLift { metric: metric.key.to_owned(), variation, lift: arm.lift });
            }
        }
        lifts
    }

    /// Whether any metric counts this event.
    pub fn uses(&self, event: u8) -> bool {
        self.metrics.iter().any(|m| m.event == event)
    }
}

impl Metric {
    fn definition(&self) -> Value {
        let event = EVENTS.get(usize::from(self.event));
        let kind = match self.kind {
            Kind::Proportion => "proportion",
            Kind::Mean => "mean",
            Kind::Count => "count",
            Kind::Ratio => "ratio",
        };
        let mut definition = json!({"key": self.key, "event": event, "type": kind});
        if let Some(cap) = self.cap {
            definition["cap"] = json!(domain::Decimal(cap).to_string());
        }
        definition
    }
}
