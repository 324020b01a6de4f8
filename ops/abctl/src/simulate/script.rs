//! One synthetic user: everything they will ever send, in the order it will be sent.

use super::rng::Rng;
use super::world::{ADD_TO_CART, EVENTS, PAGE_SEEN, PURCHASE, REFUND, SIGNUP, World};

/// How users, browsers and services behave; probabilities unless said otherwise.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Another exposure follows an exposure.
    pub repeat: f64,
    /// A repeated exposure shows another variation.
    pub crossover: f64,
    /// A repeated exposure claims an earlier time.
    pub earlier: f64,
    /// A user takes part in nothing and only converts.
    pub never_exposed: f64,
    /// A user in a control arm purchases.
    pub purchase: f64,
    /// A purchase names no experiment.
    pub tenant: f64,
    /// A conversion carries no key.
    pub keyless: f64,
    /// A keyed conversion is sent again later.
    pub duplicate: f64,
    /// What is sent again differs from what was sent first.
    pub conflict: f64,
    /// A conversion is sent before the exposures it follows.
    pub overtake: f64,
    /// A conversion does not say when it occurred.
    pub untimed: f64,
    /// A user has other events too: carts, refunds, sign-ups, purchases before the exposure.
    pub others: f64,
    /// An acknowledged batch is sent again whole.
    pub resend: f64,
    /// Something is told of a user in an experiment: each of stratum, values from before, exclusion.
    pub told: f64,
    /// A user is kept out of every arm of an experiment.
    pub held: f64,
}

impl Habits {
    /// Everything that can happen does.
    pub fn varied() -> Habits {
        Habits {
            repeat: 0.25,
            crossover: 0.06,
            earlier: 0.1,
            never_exposed: 0.03,
            purchase: 0.4,
            tenant: 0.7,
            keyless: 0.15,
            duplicate: 0.1,
            conflict: 0.2,
            overtake: 0.15,
            untimed: 0.03,
            others: 0.3,
            resend: 0.02,
            told: 0.12,
            held: 0.03,
        }
    }

    /// The mixed load that speeds are measured with: 70% exposures, 20% of them repeats; 30% keyed conversions.
    pub fn plain() -> Habits {
        Habits {
            repeat: 0.2,
            crossover: 0.0,
            earlier: 0.0,
            never_exposed: 0.0,
            purchase: 0.392,
            tenant: 0.0,
            keyless: 0.0,
            duplicate: 0.0,
            conflict: 0.0,
            overtake: 0.0,
            untimed: 0.0,
            others: 0.0,
            resend: 0.0,
            told: 0.0,
            held: 0.0,
        }
    }
}

/// What one event says. Times are unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Index of the experiment; `None` = the tenant.
    pub experiment: Option<u8>,
    pub at: Option<i64>,
    pub what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Exposure {
        arm: u8,
    },
    Conversion {
        event: u8,
        millionths: i64,
        key: Option<Key>,
    },
    /// The user is kept out of every arm.
    Holdout,
    /// Index into [`STRATA`].
    Stratum {
        stratum: u8,
    },
    /// A value from before the exposure; index into [`COVARIATES`].
    Covariate {
        name: u8,
        millionths: i64,
    },
    Exclusion {
        excluded: bool,
    },
}

pub const STRATA: [&str; 3] = ["DE", "FR", "IT"];
/// The primary metric's own, a metric's, and one that nothing is adjusted by.
pub const COVARIATES: [Option<&str>; 3] = [None, Some(EVENTS[PURCHASE as usize]), Some("age")];

/// What one request can hold: the routes of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Exposures and conversions of all experiments.
    Events,
    Holdout(u8),
    Strata(u8),
    PrePeriod(u8),
    Exclusions(u8),
}

impl Event {
    pub fn route(&self) -> Route {
        let experiment = self.experiment.unwrap_or_default();
        match self.what {
            What::Exposure { .. } | What::Conversion { .. } => Route::Events,
            What::Holdout => Route::Holdout(experiment),
            What::Stratum { .. } => Route::Strata(experiment),
            What::Covariate { .. } => Route::PrePeriod(experiment),
            What::Exclusion { .. } => Route::Exclusions(experiment),
        }
    }
}

/// A client's idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// No other user's.
    Own(u16),
    /// The same text as other users'.
    Common(u16),
}

pub struct User {
    pub id: String,
    pub events: Vec<Event>,
    pub sent: usize,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
/// First exposures fall into the first three days from the start, everything with a time into the first seven.
const EXPOSURE_DAYS: i64 = 3;

/// What scripts are written from.
pub struct Author<'a> {
    pub world: &'a World,
    pub habits: &'a Habits,
    /// Unix milliseconds; seven days or more ago.
    pub start: i64,
    /// Unix milliseconds; when an event without a time will be received.
    pub now: i64,
}

struct Draft<'a> {
    rng: &'a mut Rng,
    /// With the time each is sent, of which only the order matters.
    events: Vec<(i64, Event)>,
    keys: u16,
    /// Kept out of an experiment: exposed when that is received, so nothing else may happen then.
    held: bool,
}

impl Author<'_> {
    /// A user with at least one event.
    pub fn user(&self, rng: &mut Rng, id: String) -> User {
        loop {
            let mut draft = Draft { rng, events: Vec::new(), keys: 0, held: false };
            self.write(&mut draft);
            if !draft.events.is_empty() {
                draft.events.sort_by_key(|e| e.0);
                return User { id, events: draft.events.into_iter().map(|e| e.1).collect(), sent: 0 };
            }
        }
    }

    fn write(&self, d: &mut Draft<'_>) {
        let visit = self.start + d.rng.between(0, EXPOSURE_DAYS * DAY);
        let mut chance = self.habits.purchase;
        let mut first_seen = None;
        let exposed = !d.rng.chance(self.habits.never_exposed);
        for (index, experiment) in (0u8..).zip(&self.world.experiments) {
            self.told(d, index, visit);
            if d.rng.chance(self.habits.held) {
                d.held = true;
                let sent = visit + d.rng.between(0, 3 * HOUR);
                self.tell(d, index, sent, None, What::Holdout);
            }
            if !exposed || !d.rng.chance(experiment.coverage) {
                continue;
            }
            let weights: Vec<f64> = experiment.arms.iter().map(|a| a.weight).collect();
            let arm = d.rng.weighted(&weights);
            chance *= 1.0 + experiment.arms.get(arm).map_or(0.0, |a| a.lift);
            let at = visit + d.rng.between(0, 2 * HOUR);
            first_seen = first_seen.max(Some(at));
            self.exposures(d, index, u8::try_from(arm).unwrap_or(0), weights.len(), at);
        }
        if d.rng.chance(chance) {
            for _ in 0..=d.rng.run_of(0.25) {
                let at = visit + d.rng.between(2 * HOUR, 4 * DAY);
                self.purchase(d, visit, at);
            }
        }
        if d.rng.chance(self.habits.others) {
            // At the same relative rate, so that they do not dilute the effect.
            // Windows of users who are held out are not those of their visit.
            if !d.held && d.rng.chance(chance) {
                self.before(d, visit, first_seen.unwrap_or(visit));
            }
            self.others(d, visit);
        }
    }

    fn exposures(&self, d: &mut Draft<'_>, experiment: u8, arm: u8, arms: usize, at: i64) {
        let event =
            |arm, at| Event { experiment: Some(experiment), at: Some(at), what: What::Exposure { arm } };
        d.events.push((at, event(arm, at)));
        for _ in 0..d.rng.run_of(self.habits.repeat) {
            let sent = at + d.rng.between(1, DAY);
            let other = d.rng.chance(self.habits.crossover);
            let shown = if other { (usize::from(arm) + 1) % arms.max(1) } else { usize::from(arm) };
            let earlier = d.rng.chance(self.habits.earlier);
            let claimed = if earlier { at - d.rng.between(1, 3 * HOUR) } else { sent };
            d.events.push((sent, event(u8::try_from(shown).unwrap_or(0), claimed)));
        }
    }

    /// Before the first exposure is sent or behind it, of a time before the exposure or not; contradictions too.
    fn told(&self, d: &mut Draft<'_>, experiment: u8, visit: i64) {
        let sent = |rng: &mut Rng| visit + rng.between(-HOUR, DAY);
        let at = |rng: &mut Rng| match rng.below(4) {
            0 => Some(visit - rng.between(1, DAY)),
            1 => Some(visit + rng.between(3 * HOUR, DAY)),
            _ => None,
        };
        if d.rng.chance(self.habits.told) {
            for _ in 0..=d.rng.run_of(0.2) {
                let stratum = u8::try_from(d.rng.below(STRATA.len() as u64)).unwrap_or(0);
                let (sent, at) = (sent(d.rng), at(d.rng));
                self.tell(d, experiment, sent, at, What::Stratum { stratum });
            }
        }
        if d.rng.chance(self.habits.told) {
            for _ in 0..=d.rng.run_of(0.5) {
                let name = u8::try_from(d.rng.below(COVARIATES.len() as u64)).unwrap_or(0);
                // With a fraction, negative or nothing, too.
                let millionths = d.rng.between(-2, 40) * 750_000;
                let (sent, at) = (sent(d.rng), at(d.rng));
                self.tell(d, experiment, sent, at, What::Covariate { name, millionths });
            }
        }
        if d.rng.chance(self.habits.told) {
            for _ in 0..=d.rng.run_of(0.5) {
                let excluded = d.rng.chance(0.7);
                let sent = sent(d.rng);
                self.tell(d, experiment, sent, None, What::Exclusion { excluded });
            }
        }
    }

    fn tell(&self, d: &mut Draft<'_>, experiment: u8, sent: i64, at: Option<i64>, what: What) {
        d.events.push((sent, Event { experiment: Some(experiment), at, what }));
    }

    /// The one that books a purchase mostly does not know which experiments run.
    fn purchase(&self, d: &mut Draft<'_>, visit: i64, at: i64) {
        let named = self.experiment_using(d.rng, PURCHASE);
        let experiment = if d.rng.chance(self.habits.tenant) { None } else { named };
        let millionths = d.rng.between(500, 20_000) * 10_000;
        self.conversion(d, visit, at, experiment, PURCHASE, millionths);
    }

    /// Purchases around the boundaries of the exposure and of the pre-exposure window.
    fn before(&self, d: &mut Draft<'_>, visit: i64, exposed: i64) {
        let at = match d.rng.below(6) {
            0 => exposed,
            1 => exposed - 1,
            2 => exposed - HOUR,
            3 => exposed - d.rng.between(1, HOUR),
            4 => exposed - 14 * DAY,
            _ => exposed - d.rng.between(HOUR, 20 * DAY),
        };
        self.purchase(d, visit, at);
    }

    fn others(&self, d: &mut Draft<'_>, visit: i64) {
        for (event, p) in [(ADD_TO_CART, 0.5), (SIGNUP, 0.3), (REFUND, 0.2), (PAGE_SEEN, 0.1)] {
            for _ in 0..d.rng.run_of(p) {
                let at = visit + d.rng.between(0, 4 * DAY);
                let named = if event == ADD_TO_CART || d.rng.chance(0.5) {
                    self.experiment_using(d.rng, event)
                } else {
                    None
                };
                let millionths = match event {
                    REFUND => -d.rng.between(1, 90_000_000),
                    ADD_TO_CART => 1_000_000,
                    // A zero converts too.
                    _ => d.rng.between(0, 2) * 1_000_000,
                };
                self.conversion(d, visit, at, named, event, millionths);
            }
        }
    }

    fn experiment_using(&self, rng: &mut Rng, event: u8) -> Option<u8> {
        let users: Vec<u8> =
            (0u8..).zip(&self.world.experiments).filter(|(_, e)| e.uses(event)).map(|(i, _)| i).collect();
        users.get(usize::try_from(rng.below(users.len() as u64)).ok()?).copied()
    }

    fn conversion(
        &self,
        d: &mut Draft<'_>,
        visit: i64,
        at: i64,
        experiment: Option<u8>,
        event: u8,
        millionths: i64,
    ) {
        let mut sent = at.max(visit - DAY);
        if d.rng.chance(self.habits.overtake) {
            sent = if at < visit { visit + d.rng.between(0, 2 * DAY) } else { visit - 1 };
        }
        let untimed = !d.held && d.rng.chance(self.habits.untimed) && self.is_unambiguous_now(visit);
        let key = (!d.rng.chance(self.habits.keyless)).then(|| {
            d.keys += 1;
            if d.keys.is_multiple_of(16) { Key::Common(d.keys) } else { Key::Own(d.keys) }
        });
        let first = Event {
            experiment,
            at: (!untimed).then_some(at),
            what: What::Conversion { event, millionths, key },
        };
        d.events.push((sent, first));
        if key.is_some() && d.rng.chance(self.habits.duplicate) {
            let again = sent + d.rng.between(0, 2 * DAY);
            let event = if d.rng.chance(self.habits.conflict) { self.alter(d.rng, first) } else { first };
            d.events.push((again, event));
        }
    }

    /// The same key with something else in it; without or with another experiment it is another event.
    fn alter(&self, rng: &mut Rng, mut event: Event) -> Event {
        if let What::Conversion { event: metric, millionths, .. } = &mut event.what {
            match rng.below(4) {
                0 => *millionths += 1,
                1 => *metric = PAGE_SEEN,
                2 => event.at = event.at.map(|at| at - 1),
                _ => {
                    let named = self.experiment_using(rng, PURCHASE);
                    event.experiment = if event.experiment.is_some() { None } else { named };
                }
            }
        }
        event
    }

    /// Whether "now" is clearly on one side of every attribution window of a user who came at `visit`.
    fn is_unambiguous_now(&self, visit: i64) -> bool {
        let windows = self.world.experiments.iter().filter_map(|e| e.window_hours);
        windows.map(|h| visit + i64::from(h) * HOUR).all(|end| (end - self.now).abs() > DAY)
    }
}
