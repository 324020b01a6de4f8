//! Writers, a stream that loses and doubles, and an owner, played against a reference.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use queue::numbering::{Judgement, Numbering, Outcome, Stamp, Verdict, judge};

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
    /// The last entries are gone: a replica that was behind took over.
    LoseTail(usize),
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
        4 => (1_usize..6).prop_map(Action::Apply),
    ]
}

/// An entry: id of its content, writer, stamp, events.
#[derive(Debug, Clone, Copy)]
struct Entry {
    content: usize,
    writer: usize,
    stamp: Stamp,
    events: u64,
}

#[derive(Default)]
struct World {
    writers: [(usize, Numbering); 3],
    next_writer: usize,
    next_content: usize,
    stream: Vec<Entry>,
    applied_to: usize,
    /// The owner's knowledge.
    last: HashMap<usize, Stamp>,
    applied: Vec<Entry>,
    lost: u64,
    /// What happened, seen from nowhere: contents acknowledged, with their events.
    acknowledged: HashMap<usize, Entry>,
}

impl World {
    fn new() -> World {
        let mut world = World { next_writer: 3, ..World::default() };
        for (i, writer) in world.writers.iter_mut().enumerate() {
            writer.0 = i;
        }
        world
    }

    fn play(&mut self, action: &Action) {
        match action {
            Action::Send { writer, events, fates } => self.send(*writer, *events, fates),
            Action::Crash { writer } => {
                self.writers[*writer] = (self.next_writer, Numbering::default());
                self.next_writer += 1;
            }
            Action::LoseTail(n) => {
                let keep = self.stream.len().saturating_sub(*n).max(self.applied_to);
                self.stream.truncate(keep);
            }
            Action::Apply(n) => {
                for _ in 0..*n {
                    self.apply();
                }
            }
        }
    }

    fn send(&mut self, writer: usize, events: u64, fates: &[Fate]) {
        let (id, numbering) = &mut self.writers[writer];
        let entry = Entry { content: self.next_content, writer: *id, stamp: numbering.open(events), events };
        self.next_content += 1;
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
        let last = self.last.get(&entry.writer).copied().unwrap_or_default();
        match judge(last, entry.stamp, entry.events) {
            Judgement::Duplicate => return,
            Judgement::Next => {}
            Judgement::Jump { lost_events } => self.lost += lost_events,
        }
        self.last.insert(entry.writer, entry.stamp);
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
        let alive: HashSet<usize> = world.writers.iter().map(|(id, _)| *id).collect();
        let missing: u64 = world
            .acknowledged
            .values()
            .filter(|entry| !contents.contains(&entry.content))
            .filter(|entry| {
                alive.contains(&entry.writer)
                    || world.last.get(&entry.writer).is_some_and(|l| l.number > entry.stamp.number)
            })
            .map(|entry| entry.events)
            .sum();
        prop_assert_eq!(world.lost, missing);
    }
}
