//! A lane: users whose events go one batch after another, so that each user's arrive in the order written.

use super::oracle::{Booking, Counts, Oracle, outcome};
use super::rng::Rng;
use super::script::{Author, Event, Habits, User, What};
use super::world::{EVENTS, World};
use bytes::Bytes;
use domain::{BatchId, Decimal, ExperimentId, Timestamp};
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

/// One request to `/api/v1/events`.
pub struct Batch {
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
        let events = u32::try_from(self.left.min(u64::from(size))).unwrap_or(size);
        if events == 0 {
            return None;
        }
        self.left -= u64::from(events);
        self.batches += 1;
        let key = format!("{}{:x}-{}-{}", self.plot.prefix, self.plot.seed, self.number, self.batches);
        let mut batch = Batch {
            key,
            body: Bytes::new(),
            events,
            keyless: 0,
            resend: self.rng.chance(self.plot.habits.resend),
            counts: vec![Counts::default(); self.oracle.counts.len()],
        };
        let mut body = Vec::with_capacity(events as usize * 160 + 16);
        body.extend_from_slice(b"{\"events\":[");
        for index in 0..events {
            self.emit(&mut batch, &mut body, index);
        }
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

    fn emit(&mut self, batch: &mut Batch, body: &mut Vec<u8>, index: u32) {
        let slot = usize::try_from(self.rng.below(self.active.len() as u64)).unwrap_or(0);
        let mut user = match self.active.get_mut(slot).and_then(Option::take) {
            Some(user) => user,
            None => self.new_user(),
        };
        let outcome = outcome(&user);
        if let Some(event) = user.events.get(user.sent).copied() {
            let counted = Oracle::slot(event.experiment, batch.counts.len());
            if let Some(counts) = batch.counts.get_mut(counted) {
                counts.count(&event, outcome);
            }
            self.write(body, &user, &event);
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
}
