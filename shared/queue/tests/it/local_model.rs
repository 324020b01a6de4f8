//! Requests, owners that fail, processes that die and a clock that jumps, played against a reference: what is
//! acknowledged is committed, and an owner sees every entry once, in order, whatever became of the owner before it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::{Partition, Timestamp};
use proptest::prelude::*;
use queue::Queue;
use queue::local::{LocalConfig, LocalQueue};
use queue::numbering::{Judgement, Since, Stamp, judge};
use queue::producer::{Outgoing, Producer, SendError};
use queue::reader::{EntryId, Read, Reader};
use queue::reporter::Reporter;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{frame_named, names, soon};

const PARTITIONS: u16 = 2;
/// Some five frames.
const QUEUE_BYTES: usize = 700;

#[derive(Debug, Clone)]
enum Action {
    /// Frames of one request: partition and events. `late`: its time is up before it is queued.
    Send {
        frames: Vec<(u16, u32)>,
        late: bool,
    },
    HangUp(prop::sample::Index),
    Read {
        partition: u16,
        max: usize,
    },
    /// So many of the entries read are committed.
    Commit {
        partition: u16,
        entries: usize,
        told: Told,
    },
    /// What was to be told late is.
    Tell,
    /// The owner fails and begins again from the database; it reads before the queue hears of it, or after.
    Restart {
        partition: u16,
        told: bool,
    },
    /// The process dies, and another begins.
    Crash,
    /// In seconds.
    Jump(i64),
}

/// What the queue hears of a commit.
#[derive(Debug, Clone, Copy)]
enum Told {
    Now,
    /// The owner fails; its report comes after that of its successor.
    Late,
    /// The owner does not know the outcome: it begins again.
    Unknown,
}

fn action() -> impl Strategy<Value = Action> {
    let partition = || 0..PARTITIONS;
    let told = prop_oneof![6 => Just(Told::Now), 1 => Just(Told::Late), 1 => Just(Told::Unknown)];
    prop_oneof![
        8 => (prop::collection::vec((partition(), 0_u32..4), 1..4), prop::bool::weighted(0.2))
            .prop_map(|(frames, late)| Action::Send { frames, late }),
        1 => any::<prop::sample::Index>().prop_map(Action::HangUp),
        6 => (partition(), 1_usize..4).prop_map(|(partition, max)| Action::Read { partition, max }),
        6 => (partition(), 1_usize..5, told)
            .prop_map(|(partition, entries, told)| Action::Commit { partition, entries, told }),
        1 => Just(Action::Tell),
        2 => (partition(), any::<bool>())
            .prop_map(|(partition, told)| Action::Restart { partition, told }),
        1 => Just(Action::Crash),
        1 => (-200_000_i64..200_000).prop_map(Action::Jump),
    ]
}

struct SentFrame {
    name: String,
    events: u64,
    bytes: usize,
    /// Once read: what every later read must show again.
    seen: Option<(EntryId, Uuid, Stamp)>,
}

/// A partition: its entries, how far its owner has read, and what the database holds.
#[derive(Default)]
struct Part {
    sent: Vec<SentFrame>,
    reader: Option<Box<dyn Reader>>,
    read: usize,
    committed: usize,
    /// How far the queue knows.
    told: usize,
    position: EntryId,
    totals: BTreeMap<Uuid, u64>,
    /// The last of every writer that was read.
    stamps: HashMap<Uuid, Stamp>,
}

struct Request {
    answer: JoinHandle<Result<(), SendError>>,
    /// Partition, and the place in it.
    frames: Vec<(u16, usize)>,
}

struct Report {
    partition: u16,
    totals: Vec<(Uuid, u64)>,
    /// How far the queue knows when it has heard this.
    told: usize,
}

struct World {
    clock: Arc<AtomicI64>,
    queue: LocalQueue,
    producer: Arc<dyn Producer>,
    reporter: Box<dyn Reporter>,
    parts: Vec<Part>,
    requests: Vec<Request>,
    late: Vec<Report>,
    named: usize,
}

fn start(clock: &Arc<AtomicI64>) -> LocalQueue {
    let clock = Arc::clone(clock);
    let now = move || Timestamp(clock.load(Ordering::Relaxed));
    let config = LocalConfig::new(PARTITIONS);
    LocalQueue::with(LocalConfig { queue_bytes: QUEUE_BYTES, clock: Arc::new(now), ..config })
}

impl World {
    fn new() -> World {
        let clock = Arc::new(AtomicI64::new(1_790_000_000_000_000));
        let queue = start(&clock);
        World {
            producer: Arc::from(queue.producer()),
            reporter: queue.reporter(),
            queue,
            clock,
            parts: (0..PARTITIONS).map(|_| Part::default()).collect(),
            requests: Vec::new(),
            late: Vec::new(),
            named: 0,
        }
    }

    async fn play(&mut self, action: Action) {
        match action {
            Action::Send { frames, late } => self.send(&frames, late).await,
            Action::HangUp(which) if !self.requests.is_empty() => {
                let request = self.requests.swap_remove(which.index(self.requests.len()));
                request.answer.abort();
            }
            Action::HangUp(_) => {}
            Action::Read { partition, max } => self.read(partition, max).await,
            Action::Commit { partition, entries, told } => self.commit(partition, entries, told).await,
            Action::Tell => self.tell_late().await,
            Action::Restart { partition, told } => self.restart(partition, told).await,
            Action::Crash => self.crash(),
            Action::Jump(seconds) => {
                self.clock.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
            }
        }
        self.check().await;
    }

    async fn send(&mut self, wanted: &[(u16, u32)], late: bool) {
        let mut room: Vec<usize> = self.parts.iter().map(Part::waiting_bytes).collect();
        let mut frames = Vec::new();
        let mut expected = Ok(());
        for (partition, events) in wanted {
            let name = format!("f{}", self.named);
            self.named += 1;
            let frame = Outgoing { partition: Partition(*partition), ..frame_named(&name, *events) };
            let used = &mut room[usize::from(*partition)];
            if *events > 0 && expected.is_ok() {
                if *used > 0 && *used + frame.bytes.len() > QUEUE_BYTES {
                    expected = Err(SendError::Full(frame.partition));
                }
                *used += frame.bytes.len();
            }
            frames.push((name, frame));
        }
        let outgoing: Vec<Outgoing> = frames.iter().map(|(_, frame)| frame.clone()).collect();
        let empty = wanted.iter().all(|(_, events)| *events == 0);
        if expected.is_err() || empty {
            assert_eq!(self.producer.send(outgoing, Instant::now()).await, expected);
            return;
        }
        let written = frames.into_iter().filter(|(_, frame)| frame.events > 0);
        let places = written.map(|(name, frame)| self.note(name, &frame)).collect();
        if late {
            assert_eq!(self.producer.send(outgoing, Instant::now()).await, Err(SendError::Unknown));
        } else {
            let sender = Arc::clone(&self.producer);
            let answer = tokio::spawn(async move { sender.send(outgoing, soon()).await });
            self.requests.push(Request { answer, frames: places });
        }
    }

    fn note(&mut self, name: String, frame: &Outgoing) -> (u16, usize) {
        let part = &mut self.parts[usize::from(frame.partition.0)];
        part.sent.push(SentFrame { name, events: frame.events.into(), bytes: frame.bytes.len(), seen: None });
        (frame.partition.0, part.sent.len() - 1)
    }

    async fn read(&mut self, partition: u16, max: usize) {
        if self.parts[usize::from(partition)].reader.is_none() {
            self.restart(partition, true).await;
        }
        let part = &mut self.parts[usize::from(partition)];
        let Some(reader) = part.reader.as_mut() else { return };
        let entries = match reader.next(max, Duration::ZERO).await.unwrap() {
            Read::Entries(entries) => entries,
            Read::Idle => vec![],
            Read::AnchorLost => panic!("there is only one stream"),
        };
        assert_eq!(entries.len(), max.min(part.sent.len() - part.read), "all there are, up to the limit");
        for entry in entries {
            let before =
                part.read.checked_sub(1).and_then(|i| part.sent[i].seen).map_or(part.position, |s| s.0);
            assert!(entry.id > before && entry.id > part.position, "{} after {before}", entry.id);
            let frame = &mut part.sent[part.read];
            assert_eq!(names(&entry), [frame.name.as_str()]);
            let stamp = entry.stamp();
            let seen = (entry.id, entry.writer, stamp);
            if frame.seen.is_none() {
                let last = part.stamps.insert(entry.writer, stamp);
                let next = Since { events: frame.events, contiguous: true };
                assert_eq!(judge(last, stamp, entry.id.ms, entry.id.ms), Judgement::Apply(next));
            }
            assert_eq!(*frame.seen.get_or_insert(seen), seen, "read again it is the same");
            part.read += 1;
        }
    }

    async fn commit(&mut self, partition: u16, entries: usize, told: Told) {
        let part = &mut self.parts[usize::from(partition)];
        let to = part.read.min(part.committed + entries);
        let mut totals = BTreeMap::new();
        for frame in &part.sent[part.committed..to] {
            let (id, writer, stamp) = frame.seen.unwrap();
            part.position = id;
            totals.insert(writer, stamp.total);
        }
        part.committed = to;
        part.totals.extend(totals.iter().map(|(writer, total)| (*writer, *total)));
        let totals: Vec<(Uuid, u64)> = totals.into_iter().collect();
        match told {
            Told::Now => {
                // What it said when it began is told first.
                self.tell_late().await;
                self.tell(partition, &totals, to).await;
            }
            Told::Late => {
                self.late.push(Report { partition, totals, told: to });
                self.restart(partition, true).await;
            }
            Told::Unknown => self.restart(partition, false).await,
        }
    }

    async fn tell_late(&mut self) {
        for Report { partition, totals, told } in std::mem::take(&mut self.late) {
            self.tell(partition, &totals, told).await;
        }
    }

    async fn tell(&mut self, partition: u16, totals: &[(Uuid, u64)], told: usize) {
        let part = &mut self.parts[usize::from(partition)];
        self.reporter.report(Partition(partition), totals, &[], part.position, Duration::ZERO).await;
        part.told = part.told.max(told);
    }

    async fn restart(&mut self, partition: u16, told: bool) {
        let part = &mut self.parts[usize::from(partition)];
        part.reader = Some(self.queue.reader(Partition(partition), part.position));
        part.read = part.committed;
        let totals: Vec<(Uuid, u64)> = part.totals.iter().map(|(writer, total)| (*writer, *total)).collect();
        let committed = part.committed;
        match told {
            true => self.tell(partition, &totals, committed).await,
            false => self.late.push(Report { partition, totals, told: committed }),
        }
    }

    /// Nothing survives but the database.
    fn crash(&mut self) {
        self.queue = start(&self.clock);
        self.producer = Arc::from(self.queue.producer());
        self.reporter = self.queue.reporter();
        self.late.clear();
        for request in self.requests.drain(..) {
            request.answer.abort();
        }
        for part in &mut self.parts {
            part.sent.truncate(part.committed);
            part.stamps.clear();
            (part.reader, part.read, part.told) = (None, part.committed, part.committed);
        }
    }

    async fn check(&mut self) {
        for _ in 0..3 {
            yield_now().await;
        }
        let waiting: usize = self.parts.iter().map(Part::waiting_bytes).sum();
        assert_eq!(self.producer.queued_bytes(), waiting);
        let events: u64 = self.parts.iter().flat_map(|part| &part.sent[part.told..]).map(|f| f.events).sum();
        assert_eq!(self.producer.backlog().events, events);
        let mut open = Vec::new();
        for request in std::mem::take(&mut self.requests) {
            let all_told = request.frames.iter().all(|(p, at)| *at < self.parts[usize::from(*p)].told);
            assert_eq!(
                request.answer.is_finished(),
                all_told,
                "answered when, and only when, all is committed"
            );
            match all_told {
                true => request.answer.await.unwrap().unwrap(),
                false => open.push(request),
            }
        }
        self.requests = open;
    }
}

impl Part {
    /// Taken and not told to be committed.
    fn waiting_bytes(&self) -> usize {
        self.sent[self.told..].iter().map(|frame| frame.bytes).sum()
    }
}

proptest! {
    #[test]
    fn acknowledged_is_committed_and_every_entry_is_seen_once_in_order(
        actions in prop::collection::vec(action(), 1..80)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for action in actions {
                world.play(action).await;
            }
            for partition in 0..PARTITIONS {
                world.play(Action::Restart { partition, told: true }).await;
                world.play(Action::Read { partition, max: 1_000 }).await;
                world.play(Action::Commit { partition, entries: 1_000, told: Told::Now }).await;
            }
            assert!(world.requests.is_empty());
            assert_eq!(world.producer.queued_bytes(), 0);
            assert!(world.producer.drain(Instant::now()).await);
        });
    }
}
