//! Writers, a stream that loses, doubles and is read again, and an owner that forgets, played against a reference.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use queue::numbering::{Judgement, Numbering, Outcome, RENEW_AFTER, Stamp, Verdict, is_forgotten, judge};

#[derive(Debug, Clone, Copy)]
enum Fate {
    Written,
    /// In the stream, and nobody told.
    WrittenUnknown,
    /// Not in the stream, and nobody told.
    LostUnknown,
    Refused,
}

#[derive(Debug, Clone)]
enum Action {
    /// A writer sends so many events; the fates of its attempts, the last followed by `Written`.
    Send { writer: usize, events: u64, fates: Vec<Fate> },
    /// The gateway dies and another takes its place.
    Crash { writer: usize },
    /// The last entries are gone: a replica that was behind took over. It was not behind by hours.
    LoseTail(usize),
    /// So many events of the last entry cannot be found in it any more.
    Damage(u64),
    /// So many hours pass.
    Wait(u64),
    /// The owner reads the stream from its beginning again.
    ReadAgain,
    /// The owner applies so many entries.
    Apply(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let fate = prop_oneof![
        Just(Fate::Written),
        Just(Fate::WrittenUnknown),
        Just(Fate::LostUnknown),
        Just(Fate::Refused)
    ];
    prop_oneof![
        8 => (0_usize..3, 0_u64..5, prop::collection::vec(fate, 0..4))
            .prop_map(|(writer, events, fates)| Action::Send { writer, events, fates }),
        1 => (0_usize..3).prop_map(|writer| Action::Crash { writer }),
        2 => (1_usize..4).prop_map(Action::LoseTail),
        1 => (1_u64..4).prop_map(Action::Damage),
        2 => (1_u64..40).prop_map(Action::Wait),
        1 => Just(Action::ReadAgain),
        4 => (1_usize..6).prop_map(Action::Apply),
    ]
}

/// An entry: id of its content, writer, stamp, events, those that can be found in it, and the time of its id.
#[derive(Debug, Clone, Copy)]
struct Entry {
    content: usize,
    writer: usize,
    stamp: Stamp,
    events: u64,
    found: u64,
    ms: u64,
}

/// A live writer: its id, what it counts, and when it last wrote.
#[derive(Default)]
struct Writer {
    id: usize,
    numbering: Numbering,
    last_ms: u64,
}

/// What the owner knows of a writer.
#[derive(Clone, Copy)]
struct Seen {
    stamp: Stamp,
    ms: u64,
}

#[derive(Default)]
struct World {
    now_ms: u64,
    writers: [Writer; 3],
    next_writer: usize,
    next_content: usize,
    stream: Vec<Entry>,
    applied_to: usize,
    /// The owner's knowledge.
    seen: HashMap<usize, Seen>,
    applied: Vec<Entry>,
    lost: u64,
    accepted: u64,
    /// What happened, seen from nowhere: contents acknowledged, and the highest number applied of every writer.
    acknowledged: HashMap<usize, Entry>,
    highest: HashMap<usize, u64>,
}

impl World {
    fn new() -> World {
        let mut world = World { next_writer: 3, now_ms: 1_000_000_000, ..World::default() };
        for (i, writer) in world.writers.iter_mut().enumerate() {
            writer.id = i;
        }
        world
    }

    fn play(&mut self, action: &Action) {
        match action {
            Action::Send { writer, events, fates } => self.send(*writer, *events, fates),
            Action::Crash { writer } => self.renew(*writer),
            Action::LoseTail(n) => {
                let old = self.stream.partition_point(|entry| entry.ms < self.now_ms);
                let keep = self.stream.len().saturating_sub(*n).max(self.applied_to).max(old);
                self.stream.truncate(keep);
            }
            Action::Damage(events) => {
                if let Some(last) = self.stream[self.applied_to..].last_mut() {
                    last.found = last.found.saturating_sub(*events);
                }
            }
            Action::Wait(hours) => {
                // Idle writers have given a sign of life long before.
                (0..3).for_each(|writer| self.send(writer, 0, &[]));
                self.now_ms += hours * 3_600_000;
            }
            Action::ReadAgain => self.applied_to = 0,
            Action::Apply(n) => (0..*n).for_each(|_| self.apply()),
        }
    }

    fn renew(&mut self, writer: usize) {
        self.writers[writer] = Writer { id: self.next_writer, ..Writer::default() };
        self.next_writer += 1;
    }

    fn send(&mut self, writer: usize, events: u64, fates: &[Fate]) {
        let silent = Duration::from_millis(self.now_ms - self.writers[writer].last_ms);
        if self.writers[writer].last_ms > 0 && silent >= RENEW_AFTER {
            self.renew(writer);
        }
        let (content, ms) = (self.next_content, self.now_ms);
        self.next_content += 1;
        let Writer { id, numbering, last_ms } = &mut self.writers[writer];
        *last_ms = ms;
        let stamp = numbering.open(events);
        let entry = Entry { content, writer: *id, stamp, events, found: events, ms };
        let (mut in_doubt, mut reached) = (false, false);
        for &fate in fates.iter().chain([&Fate::Written]) {
            let (stored, outcome) = match fate {
                Fate::Written => (true, Outcome::Written),
                Fate::WrittenUnknown => (true, Outcome::Unknown),
                Fate::LostUnknown => (false, Outcome::Unknown),
                Fate::Refused => (false, Outcome::Refused),
            };
            reached |= stored;
            if stored {
                self.stream.push(entry);
            }
            match numbering.settle(outcome) {
                Verdict::Done => {
                    assert!(stored);
                    self.acknowledged.insert(entry.content, entry);
                    return;
                }
                Verdict::Dropped => {
                    assert!(!reached && !in_doubt, "a number that may be in the stream was given up");
                    return;
                }
                Verdict::Resend => in_doubt = true,
            }
        }
    }

    fn apply(&mut self) {
        let Some(&entry) = self.stream.get(self.applied_to) else { return };
        self.applied_to += 1;
        let newest = self.seen.values().map(|seen| seen.ms).max().unwrap_or(0);
        let last = self.seen.get(&entry.writer).map(|seen| seen.stamp);
        let Judgement::Apply(since) = judge(last, entry.stamp, entry.ms, newest) else { return };
        let follows = last.unwrap_or_default().number + 1 == entry.stamp.number;
        assert_eq!(since.contiguous, follows);
        self.lost += since.lost(entry.found);
        self.accepted += since.accepted(entry.found);
        self.seen.insert(entry.writer, Seen { stamp: entry.stamp, ms: entry.ms });
        self.seen.retain(|_, seen| !is_forgotten(seen.ms, entry.ms));
        self.highest.insert(entry.writer, entry.stamp.number);
        self.applied.push(entry);
    }
}

proptest! {
    #[test]
    fn every_entry_is_applied_once_or_counted_as_lost(actions in prop::collection::vec(action(), 1..60)) {
        let mut world = World::new();
        for action in &actions {
            world.play(action);
        }
        // Every live writer gives a sign of life, and the owner reads to the end.
        for writer in 0..3 {
            world.send(writer, 0, &[]);
        }
        while world.applied_to < world.stream.len() {
            world.apply();
        }

        let contents: HashSet<usize> = world.applied.iter().map(|entry| entry.content).collect();
        prop_assert_eq!(contents.len(), world.applied.len(), "an entry was applied twice");
        let numbers: HashSet<(usize, u64)> =
            world.applied.iter().map(|entry| (entry.writer, entry.stamp.number)).collect();
        prop_assert_eq!(numbers.len(), world.applied.len(), "two contents went by one number");

        // A writer that crashed takes the knowledge of its lost tail with it; of all others every event is
        // applied or counted as lost.
        let alive: HashSet<usize> = world.writers.iter().map(|writer| writer.id).collect();
        let missing: u64 = world
            .acknowledged
            .values()
            .filter(|entry| !contents.contains(&entry.content))
            .filter(|entry| {
                alive.contains(&entry.writer)
                    || world.highest.get(&entry.writer).is_some_and(|highest| *highest > entry.stamp.number)
            })
            .map(|entry| entry.events)
            .sum();
        let damaged: u64 = world.applied.iter().map(|entry| entry.events - entry.found).sum();
        prop_assert_eq!(world.lost, missing + damaged);
        let found: u64 = world.applied.iter().map(|entry| entry.found).sum();
        prop_assert_eq!(world.accepted, found + world.lost, "the books close");
    }
}
