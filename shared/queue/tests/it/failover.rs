//! Two owners, a queue that fails over to an older replica or is emptied, and a database that fails over to an older
//! standby, played against a reference: whatever happens, an entry takes effect once or is counted as lost, and nothing
//! is lost unless somebody took it away.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use queue::numbering::{Judgement, Numbering, Outcome, Stamp, Verdict, judge};

const WRITERS: usize = 2;
const OWNERS: usize = 2;
/// Before the first entry.
const ZERO: u64 = 0;
/// Of ids: room for the entries of one.
const MILLISECOND: u64 = 1_000;

#[derive(Debug, Clone, Copy)]
enum Fate {
    Written,
    WrittenUnknown,
    LostUnknown,
    Refused,
}

#[derive(Debug, Clone)]
enum Action {
    /// So many events under keys of their own, or, sent once more, those of an earlier entry.
    Send {
        writer: usize,
        events: u64,
        again: bool,
        fates: Vec<Fate>,
    },
    /// So that entries have another time.
    Tick,
    /// The queue's replica catches up; later the replica takes over.
    Replicate,
    FailQueue,
    Empty,
    /// The standby catches up; later it takes over.
    Follow,
    FailDatabase,
    /// What the owner believes to be applied is cut off, but for the last entry of it.
    Trim {
        owner: usize,
    },
    Take {
        owner: usize,
    },
    Read {
        owner: usize,
        entries: usize,
    },
    /// Of what was read. `told`: the owner learns that it committed.
    Apply {
        owner: usize,
        entries: usize,
        told: bool,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let fate = prop_oneof![
        4 => Just(Fate::Written),
        1 => Just(Fate::WrittenUnknown),
        1 => Just(Fate::LostUnknown),
        1 => Just(Fate::Refused)
    ];
    let owner = || 0..OWNERS;
    prop_oneof![
        8 => (0..WRITERS, 0_u64..5, prop::bool::weighted(0.2), prop::collection::vec(fate, 0..3))
            .prop_map(|(writer, events, again, fates)| Action::Send { writer, events, again, fates }),
        2 => Just(Action::Tick),
        2 => Just(Action::Replicate),
        1 => Just(Action::FailQueue),
        1 => Just(Action::Empty),
        2 => Just(Action::Follow),
        1 => Just(Action::FailDatabase),
        1 => owner().prop_map(|owner| Action::Trim { owner }),
        2 => owner().prop_map(|owner| Action::Take { owner }),
        6 => (owner(), 1_usize..5).prop_map(|(owner, entries)| Action::Read { owner, entries }),
        6 => (owner(), 1_usize..4, prop::bool::weighted(0.8))
            .prop_map(|(owner, entries, told)| Action::Apply { owner, entries, told }),
    ]
}

#[derive(Debug, Clone)]
struct Entry {
    id: u64,
    writer: usize,
    stamp: Stamp,
    keys: Vec<u64>,
}

impl Entry {
    fn name(&self) -> (usize, u64) {
        (self.writer, self.stamp.number)
    }
}

/// What a failover takes back.
#[derive(Debug, Clone, Default)]
struct Database {
    position: u64,
    epoch: u64,
    writers: BTreeMap<usize, Stamp>,
    /// What has taken effect, by key.
    keys: HashSet<u64>,
    deduplicated: u64,
    accepted: u64,
    lost: u64,
    /// Entries in the order applied.
    applied: Vec<(usize, u64)>,
}

/// What an owner remembers, and what it has read and not applied.
#[derive(Debug, Clone, Default)]
struct Owner {
    server: u64,
    position: u64,
    epoch: u64,
    writers: BTreeMap<usize, Stamp>,
    pending: Vec<Entry>,
    /// Where it reads on, and what it saw there.
    at: u64,
    anchor: Option<(usize, u64)>,
}

#[derive(Default)]
struct World {
    clock: u64,
    /// Counts the servers that took over: connections to the one before are gone.
    server: u64,
    next_key: u64,
    writers: [Numbering; WRITERS],
    stream: Vec<Entry>,
    replica: Vec<Entry>,
    database: Database,
    standby: Database,
    owners: [Owner; OWNERS],
    /// Events of every entry that may have been written.
    events: BTreeMap<(usize, u64), u64>,
    sent: Vec<Vec<u64>>,
}

impl World {
    fn play(&mut self, action: &Action) {
        match action {
            Action::Send { writer, events, again, fates } => self.send(*writer, *events, *again, fates),
            Action::Tick => self.clock += MILLISECOND,
            Action::Replicate => self.replica.clone_from(&self.stream),
            // Not within a millisecond, in which an entry could get the id of another that is gone.
            Action::FailQueue => {
                self.stream.clone_from(&self.replica);
                self.clock += MILLISECOND;
            }
            Action::Empty => {
                self.stream.clear();
                self.clock += MILLISECOND;
            }
            Action::Follow => self.standby.clone_from(&self.database),
            Action::FailDatabase => {
                self.database.clone_from(&self.standby);
                self.server += 1;
            }
            Action::Trim { owner } => {
                let kept = self.owners[*owner].position;
                self.stream.retain(|entry| entry.id >= kept);
            }
            Action::Take { owner } => self.take(*owner),
            Action::Read { owner, entries } => self.read(*owner, *entries),
            Action::Apply { owner, entries, told } => self.apply(*owner, *entries, *told),
        }
    }

    fn send(&mut self, writer: usize, events: u64, again: bool, fates: &[Fate]) {
        let keys = match self.sent.last() {
            Some(last) if again => last.clone(),
            _ => (0..events).map(|n| self.next_key + n).collect(),
        };
        self.next_key += events;
        self.sent.push(keys.clone());
        let stamp = self.writers[writer].open(keys.len() as u64);
        for fate in fates.iter().chain([&Fate::Written]) {
            let (stored, outcome) = match fate {
                Fate::Written => (true, Outcome::Written),
                Fate::WrittenUnknown => (true, Outcome::Unknown),
                Fate::LostUnknown => (false, Outcome::Unknown),
                Fate::Refused => (false, Outcome::Refused),
            };
            if stored {
                let last = self.stream.last().map_or(ZERO, |entry| entry.id);
                let entry = Entry { id: self.clock.max(last + 1), writer, stamp, keys: keys.clone() };
                self.events.insert(entry.name(), keys.len() as u64);
                self.stream.push(entry);
            }
            match self.writers[writer].settle(outcome) {
                Verdict::Done | Verdict::Dropped => return,
                Verdict::Resend => {}
            }
        }
    }

    fn take(&mut self, owner: usize) {
        let Database { position, epoch, ref writers, .. } = self.database;
        let (writers, pending) = (writers.clone(), Vec::new());
        let server = self.server;
        self.owners[owner] = Owner { server, position, epoch, writers, pending, at: position, anchor: None };
    }

    fn read(&mut self, owner: usize, entries: usize) {
        let owner = &mut self.owners[owner];
        let from = owner.at;
        let mut rest = self.stream.iter().skip_while(|entry| entry.id < from);
        if owner.at != ZERO {
            let is_anchor =
                |entry: &&Entry| entry.id == owner.at && owner.anchor.is_none_or(|name| name == entry.name());
            if !rest.next().is_some_and(|entry| is_anchor(&entry)) {
                // Another stream: from its beginning, behind what was read of the old one.
                (owner.at, owner.anchor) = (ZERO, None);
                return;
            }
        }
        for entry in rest.take(entries) {
            (owner.at, owner.anchor) = (entry.id, Some(entry.name()));
            owner.pending.push(entry.clone());
        }
    }

    fn apply(&mut self, number: usize, entries: usize, told: bool) {
        let owner = &mut self.owners[number];
        let taken: Vec<Entry> = owner.pending.drain(..entries.min(owner.pending.len())).collect();
        let Some(last) = taken.last() else { return };
        let database = &mut self.database;
        let stands = (database.position, database.epoch) == (owner.position, owner.epoch);
        if !stands || self.server != owner.server {
            self.take(number);
            return;
        }
        database.epoch += u64::from(last.id <= database.position);
        database.position = last.id;
        for entry in &taken {
            let known = owner.writers.get(&entry.writer).copied();
            let Judgement::Apply(since) = judge(known, entry.stamp, entry.id, entry.id) else { continue };
            let found = entry.keys.len() as u64;
            database.accepted += since.accepted(found);
            database.lost += since.lost(found);
            for key in &entry.keys {
                database.deduplicated += u64::from(!database.keys.insert(*key));
            }
            database.applied.push(entry.name());
            owner.writers.insert(entry.writer, entry.stamp);
            database.writers.insert(entry.writer, entry.stamp);
        }
        (owner.position, owner.epoch) = (database.position, database.epoch);
        if !told {
            self.take(number);
        }
    }

    /// Everybody gives a sign of life, and one owner reads to the end.
    fn settle(&mut self) {
        (0..WRITERS).for_each(|writer| self.send(writer, 0, false, &[]));
        self.take(0);
        // From the beginning at most once.
        for _ in 0..2 {
            self.read(0, usize::MAX);
            self.apply(0, usize::MAX, true);
        }
    }

    /// Events of entries that were passed over.
    fn missing(&self) -> u64 {
        let applied: HashSet<_> = self.database.applied.iter().collect();
        let passed = |(writer, number): &(usize, u64)| {
            self.database.writers.get(writer).is_some_and(|last| *number <= last.number)
        };
        self.events.iter().filter(|(name, _)| passed(name) && !applied.contains(name)).map(|(_, n)| n).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn an_entry_takes_effect_once_or_is_counted(actions in prop::collection::vec(action(), 1..80)) {
        let mut world = World::default();
        for action in &actions {
            world.play(action);
            let Database { keys, deduplicated, accepted, lost, .. } = &world.database;
            prop_assert_eq!(*accepted, keys.len() as u64 + deduplicated + lost, "the books close");
        }
        world.settle();
        let database = &world.database;
        for (writer, numbering) in world.writers.iter().enumerate() {
            let seen = database.writers.get(&writer).copied();
            prop_assert_eq!(seen, Some(numbering.settled()), "all of writer {} is accounted for", writer);
            let numbers = database.applied.iter().filter(|(w, _)| *w == writer);
            prop_assert!(numbers.is_sorted_by(|a, b| a.1 < b.1), "once, and in order");
        }
        let totals: u64 = database.writers.values().map(|stamp| stamp.total).sum();
        prop_assert_eq!(database.accepted, totals);
        prop_assert_eq!(database.lost, world.missing());

        let did = |wanted: fn(&Action) -> bool| actions.iter().any(wanted);
        let queue_failed = did(|a| matches!(a, Action::FailQueue | Action::Empty));
        let trimmed = did(|a| matches!(a, Action::Trim { .. }));
        let database_failed = did(|a| matches!(a, Action::FailDatabase));
        if !(queue_failed || trimmed && database_failed) {
            prop_assert_eq!(database.lost, 0, "nobody took anything away");
        }
    }
}

#[test]
fn a_position_that_comes_again_lets_nobody_in_who_remembers_the_time_before() {
    let send = |events| Action::Send { writer: 0, events, again: false, fates: Vec::new() };
    let (read, apply) = (
        |owner, entries| Action::Read { owner, entries },
        |owner, entries| Action::Apply { owner, entries, told: true },
    );
    let (a, b) = (0, 1);
    let actions = [
        send(3),
        Action::Replicate,
        Action::Take { owner: a },
        read(a, 9),
        apply(a, 9),
        // The other owner applies an entry of another stream, and then, after a failover, the first one again.
        Action::Empty,
        send(2),
        Action::Take { owner: b },
        read(b, 9),
        read(b, 9),
        apply(b, 9),
        Action::FailQueue,
        send(1),
        read(b, 9),
        read(b, 1),
        apply(b, 1),
    ];
    let mut world = World::default();
    actions.iter().for_each(|action| world.play(action));
    assert_eq!(world.database.position, world.owners[a].position);
    world.play(&read(a, 9));
    assert_eq!(world.owners[a].pending.len(), 1);
    world.play(&apply(a, 9));
    world.settle();
    assert_eq!((world.database.keys.len(), world.database.lost, world.missing()), (6, 0, 0));
}
