//! A lane: users whose events go one batch after another, so that each user's arrive in the order written.

use super::oracle::{Booking, Counts, Oracle, outcome};
use super::rng::Rng;
use super::script::{Author, COVARIATES, Event, Habits, Route, STRATA, User, What};
use super::world::{EVENTS, World};
use bytes::Bytes;
use domain::{BatchId, Decimal, ExperimentId, Timestamp};
use serde_json::json;
use std::sync::Arc;

/// What all lanes share.
#[derive(Clone)]
pub struct Plot {
    pub world: Arc<World>,
    pub habits: Habits,
    pub seed: u64,
    /// Unix milliseconds: all times lie in the seven days from here on.
    pub start: i64,
    /// Unix milliseconds.
    pub now: i64,
    /// Begins every user id and `Idempotency-Key`.
    pub prefix: String,
    /// Of the token: part of the keys that keyless conversions get.
    pub tenant: String,
    pub keep_rows: bool,
}

/// One request.
pub struct Batch {
    pub path: String,
    /// `Idempotency-Key`.
    pub key: String,
    pub body: Bytes,
    pub events: u32,
    pub keyless: u32,
    /// Whether to send it a second time after it was acknowledged.
    pub resend: bool,
    counts: Vec<Counts>,
}

pub struct Lane {
    plot: Plot,
    number: u32,
    rng: Rng,
    /// Users with events left, interleaved at random.
    active: Vec<Option<User>>,
    users: u64,
    batches: u64,
    /// Events not yet put into a batch.
    left: u64,
    pub oracle: Oracle,
}

/// Users of a lane that are in the middle of their events.
const ACTIVE: u64 = 4096;
/// Users looked at for one whose next event is one of the request; of others what is next waits for its own request.
const LOOKS: u32 = 8;

impl Lane {
    /// Writes `events` events, not counting batches sent twice.
    pub fn new(plot: &Plot, number: u32, events: u64) -> Lane {
        // With few events there are few users at a time, so that most come to their end.
        let active = usize::try_from((events / 20).clamp(1, ACTIVE)).unwrap_or(1);
        Lane {
            plot: plot.clone(),
            number,
            rng: Rng::new(plot.seed, number.into()),
            active: (0..active).map(|_| None).collect(),
            users: 0,
            batches: 0,
            left: events,
            oracle: Oracle::new(&plot.world.experiments, plot.keep_rows),
        }
    }

    /// The next batch of at most `size` events; `None` when all are written.
    pub fn next(&mut self, size: u32) -> Option<Batch> {
        let most = u32::try_from(self.left.min(u64::from(size))).unwrap_or(size);
        if most == 0 {
            return None;
        }
        self.batches += 1;
        let first = self.slot();
        let route = self.route_of(first);
        let key = format!("{}{:x}-{}-{}", self.plot.prefix, self.plot.seed, self.number, self.batches);
        let (path, list) = self.request(route);
        let mut batch = Batch {
            path,
            key,
            body: Bytes::new(),
            events: 0,
            keyless: 0,
            resend: self.rng.chance(self.plot.habits.resend),
            counts: vec![Counts::default(); self.oracle.counts.len()],
        };
        let mut body = Vec::with_capacity(most as usize * 160 + 32);
        body.extend_from_slice(format!("{{\"{list}\":[").as_bytes());
        self.emit(&mut batch, &mut body, first);
        if route == Route::Events {
            while batch.events < most
                && let Some(slot) = self.slot_for(route)
            {
                self.emit(&mut batch, &mut body, slot);
            }
        } else {
            // What is told of a user is told once in a request, of everybody of whom that is next.
            for slot in (0..self.active.len()).filter(|slot| *slot != first) {
                let waits = self.active.get(slot).is_some_and(Option::is_some);
                if waits && batch.events < most && self.route_of(slot) == route {
                    self.emit(&mut batch, &mut body, slot);
                }
            }
        }
        self.left -= u64::from(batch.events);
        body.pop();
        body.extend_from_slice(b"]}");
        batch.body = body.into();
        for (all, new) in self.oracle.counts.iter_mut().zip(&batch.counts) {
            all.add(*new);
        }
        Some(batch)
    }

    /// A batch was sent once more.
    pub fn resent(&mut self, batch: &Batch) {
        for (all, new) in self.oracle.counts.iter_mut().zip(&batch.counts) {
            all.add(new.again());
        }
    }

    /// What is expected of all that was sent.
    pub fn finish(mut self) -> Oracle {
        for user in std::mem::take(&mut self.active).into_iter().flatten() {
            self.settle(&user);
        }
        self.oracle
    }

    fn slot(&mut self) -> usize {
        usize::try_from(self.rng.below(self.active.len() as u64)).unwrap_or(0)
    }

    fn slot_for(&mut self, route: Route) -> Option<usize> {
        for _ in 0..LOOKS {
            let slot = self.slot();
            if self.route_of(slot) == route {
                return Some(slot);
            }
        }
        None
    }

    /// Of the next event of the user at `slot`, who comes if nobody is there.
    fn route_of(&mut self, slot: usize) -> Route {
        if self.active.get(slot).is_some_and(Option::is_none) {
            let user = self.new_user();
            if let Some(place) = self.active.get_mut(slot) {
                *place = Some(user);
            }
        }
        let user = self.active.get(slot).and_then(Option::as_ref);
        user.and_then(|user| user.events.get(user.sent)).map_or(Route::Events, Event::route)
    }

    /// Path, and what its list is called.
    fn request(&self, route: Route) -> (String, &'static str) {
        let (experiment, path, list) = match route {
            Route::Events => return ("/api/v1/events".to_owned(), "events"),
            Route::Holdout(experiment) => (experiment, "holdout", "holdout"),
            Route::Strata(experiment) => (experiment, "strata", "strata"),
            Route::PrePeriod(experiment) => (experiment, "pre-period", "pre_period_values"),
            Route::Exclusions(experiment) => (experiment, "exclusions", "exclusions"),
        };
        let experiment = self.plot.world.experiments.get(usize::from(experiment));
        (format!("/api/v1/experiments/{}/{path}", experiment.map_or("", |e| &e.key)), list)
    }

    fn emit(&mut self, batch: &mut Batch, body: &mut Vec<u8>, slot: usize) {
        let Some(mut user) = self.active.get_mut(slot).and_then(Option::take) else { return };
        let index = batch.events;
        batch.events += 1;
        let outcome = outcome(&user);
        if let Some(event) = user.events.get(user.sent).copied() {
            let counted = Oracle::slot(event.experiment, batch.counts.len());
            if let Some(counts) = batch.counts.get_mut(counted) {
                counts.count(&event, outcome);
            }
            match event.route() {
                Route::Events => self.write(body, &user, &event),
                _ => self.write_told(body, &user, &event),
            }
            if let What::Conversion { key, .. } = event.what {
                batch.keyless += u32::from(key.is_none());
            }
            self.keep_row(batch, index, &user, &event);
        }
        user.sent += 1;
        if user.sent < user.events.len() {
            if let Some(place) = self.active.get_mut(slot) {
                *place = Some(user);
            }
        } else {
            self.settle(&user);
        }
    }

    fn author(plot: &Plot) -> Author<'_> {
        Author { world: &plot.world, habits: &plot.habits, start: plot.start, now: plot.now }
    }

    fn new_user(&mut self) -> User {
        self.users += 1;
        let id = format!("{}u{:x}-{}-{}", self.plot.prefix, self.plot.seed, self.number, self.users);
        Self::author(&self.plot).user(&mut self.rng, id)
    }

    fn settle(&mut self, user: &User) {
        self.oracle.settle(&Self::author(&self.plot), user);
    }

    fn keep_row(&mut self, batch: &Batch, index: u32, user: &User, event: &Event) {
        let Some(rows) = &mut self.oracle.rows else { return };
        let What::Conversion { event: name, millionths, key } = event.what else { return };
        let key = match key {
            Some(key) => key.text(&user.id),
            None => {
                let id = BatchId::derived(&self.plot.tenant, ExperimentId::NONE, "events", &batch.key);
                id.key_of(index)
            }
        };
        let booking = Booking { event: name, millionths, at: event.at };
        rows.conversions.entry((user.id.clone(), event.experiment, key)).or_insert(booking);
    }

    /// One event as JSON, with a comma behind. Spellings the API allows alternate.
    fn write(&mut self, body: &mut Vec<u8>, user: &User, event: &Event) {
        let mut put = |text: &str| body.extend_from_slice(text.as_bytes());
        let spelling = self.rng.below(8);
        let experiment = event.experiment.and_then(|e| self.plot.world.experiments.get(usize::from(e)));
        put("{\"type\":");
        match event.what {
            What::Exposure { arm } => {
                put("\"exposure\"");
                match experiment.and_then(|e| e.arms.get(usize::from(arm))).filter(|_| spelling == 1) {
                    Some(arm) => put(&format!(",\"variation\":\"{}\"", arm.key)),
                    None => put(&format!(",\"variation_index\":{arm}")),
                }
            }
            What::Conversion { event, millionths, key } => {
                let name = EVENTS.get(usize::from(event)).copied().unwrap_or_default();
                put("\"conversion\",\"metric\":\"");
                put(name);
                let value = Decimal(millionths);
                match spelling {
                    0 => put(&format!("\",\"value\":\"{value}\"")),
                    // The default.
                    1 | 2 if value == Decimal::ONE => put("\""),
                    _ => put(&format!("\",\"value\":{value}")),
                }
                if let Some(key) = key {
                    put(",\"idempotency_key\":\"");
                    put(&key.text(&user.id));
                    put("\"");
                }
            }
            What::Holdout | What::Stratum { .. } | What::Covariate { .. } | What::Exclusion { .. } => {}
        }
        if let Some(experiment) = experiment {
            put(",\"experiment\":\"");
            put(&experiment.key);
            put("\"");
        }
        match event.at {
            Some(at) if spelling == 3 => put(&format!(",\"occurred_at\":\"{}\"", Timestamp::from_millis(at))),
            Some(at) => put(&format!(",\"occurred_at\":{at}")),
            None => {}
        }
        put(",\"user_id\":\"");
        put(&user.id);
        put("\"},");
    }

    /// One item of a request that names its experiment, with a comma behind.
    fn write_told(&mut self, body: &mut Vec<u8>, user: &User, event: &Event) {
        let spelling = self.rng.below(2);
        let mut item = json!({"user_id": user.id});
        match event.what {
            What::Holdout | What::Exposure { .. } | What::Conversion { .. } => {}
            What::Stratum { stratum } => item["stratum"] = json!(STRATA.get(usize::from(stratum))),
            What::Covariate { name, millionths } => {
                item["value"] = json!(Decimal(millionths).to_string());
                if let Some(name) = COVARIATES.get(usize::from(name)).copied().flatten() {
                    item["covariate_name"] = json!(name);
                }
            }
            // The default.
            What::Exclusion { excluded: true } if spelling == 0 => item["exclusion_reason"] = json!("bot"),
            What::Exclusion { excluded } => item["excluded"] = json!(excluded),
        }
        if let Some(at) = event.at {
            item["occurred_at"] = json!(at);
        }
        body.extend_from_slice(item.to_string().as_bytes());
        body.push(b',');
    }
}
