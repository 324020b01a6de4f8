//! What a transaction is about to apply: the entries of one stream taken apart into events, in stream order.

use crate::told::Told;
use domain::event::{Conversion, Exposure};
use domain::{Day, ExperimentId, Timestamp, UnitId};
use foldhash::HashMap;
use queue::frame::{self, BadFrame, Events, Frame, Group};
use queue::numbering::{Judgement, Since, Stamp, judge};
use queue::reader::Entry;
use store::WriterRow;
use store::apply::NewLoss;
use uuid::Uuid;

/// The last entry applied of every writer of a partition.
pub type Writers = HashMap<Uuid, WriterRow>;

/// Entries taken apart. Borrows their bytes.
#[derive(Default)]
pub struct Chunk<'a> {
    pub frames: Vec<(&'a Entry, Frame<'a>)>,
    pub events: Vec<Event<'a>>,
    pub unreadable: Vec<Unreadable<'a>>,
    /// The writers seen, each as it stands after the chunk.
    pub writers: Writers,
    /// Events of the entries, by their writers' totals; those of entries that never arrived included.
    pub accepted: u64,
    pub lost: u64,
    /// What is gone, one by one; their events are `lost`.
    pub losses: Vec<NewLoss>,
    /// Entries that were written twice and are skipped.
    pub resent: u64,
    /// Frames are not taken apart.
    unread: bool,
}

#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// Index into [`Chunk::frames`].
    pub frame: usize,
    pub experiment: ExperimentId,
    pub after_stop: bool,
    pub unit: UnitId,
    pub kind: Kind<'a>,
}

#[derive(Clone, Copy)]
pub enum Kind<'a> {
    Exposure(Exposure<'a>),
    Conversion(Conversion<'a>),
    Told(Told<'a>),
}

/// Bytes that are no frame, or events that this release cannot apply.
pub struct Unreadable<'a> {
    pub entry: &'a Entry,
    /// Index into [`Chunk::frames`], where the frame itself could be read.
    pub frame: Option<usize>,
    pub reason: &'static str,
    pub detail: String,
    pub events: u64,
    pub bytes: std::borrow::Cow<'a, [u8]>,
}

/// The entries at the front of `entries` that one transaction may take: of one day (never lower than `day`), and
/// not more than `max_events` unless the first alone has more.
pub fn one_transaction(entries: &[Entry], day: Day, max_events: u64) -> (usize, Day) {
    let Some(first) = entries.first() else { return (0, day) };
    let day_of = |e: &Entry| e.id.time().day().max(day);
    let day = day_of(first);
    let mut events = 0;
    let taken = entries.iter().take_while(|e| {
        events += announced(e);
        day_of(e) == day && (events <= max_events || e.id == first.id)
    });
    (taken.count(), day)
}

/// Number of events by the frames' headers, without reading their bodies.
fn announced(entry: &Entry) -> u64 {
    frame::announced(&entry.payload)
}

impl<'a> Chunk<'a> {
    /// `known` is each writer's last entry applied before this chunk.
    pub fn read(entries: &'a [Entry], known: &Writers) -> Chunk<'a> {
        let mut chunk = Chunk::default();
        let newest = known.values().map(|w| w.seen_ms).max().unwrap_or(0);
        for entry in entries {
            chunk.read_entry(entry, known, newest);
        }
        chunk
    }

    /// An entry that nobody dares to take apart.
    pub fn unread(entry: &'a Entry, known: &Writers) -> Chunk<'a> {
        let mut chunk = Chunk { unread: true, ..Chunk::default() };
        let newest = known.values().map(|w| w.seen_ms).max().unwrap_or(0);
        chunk.read_entry(entry, known, newest);
        chunk
    }

    fn read_entry(&mut self, entry: &'a Entry, known: &Writers, newest: u64) {
        if entry.malformed {
            // Not written by a gateway, so in nobody's total: it is kept, and counts no event.
            let detail = "the entry lacks a writer, a number, a total or frames".to_owned();
            self.unreadable.push(Unreadable {
                entry,
                frame: None,
                reason: "malformed_entry",
                detail,
                events: 0,
                bytes: entry.payload.as_ref().into(),
            });
            return;
        }
        let last = self.writers.get(&entry.writer).or_else(|| known.get(&entry.writer));
        let last = last.map(|w| Stamp { number: w.number, total: w.total });
        let Judgement::Apply(since) = judge(last, entry.stamp(), entry.id.ms, newest) else {
            self.resent += 1;
            return;
        };
        let found = self.read_frames(entry, since);
        self.accepted += since.accepted(found);
        self.lost += since.lost(found);
        self.losses.extend(loss(entry, last, since, found));
        let row = WriterRow {
            writer: entry.writer,
            number: entry.number,
            total: entry.total,
            seen_ms: entry.id.ms,
        };
        self.writers.insert(entry.writer, row);
    }

    /// Returns the number of events found, readable or not.
    fn read_frames(&mut self, entry: &'a Entry, since: Since) -> u64 {
        if self.unread {
            let events = if since.contiguous { since.events } else { announced(entry) };
            self.unreadable.push(Unreadable {
                entry,
                frame: None,
                reason: "kills_worker",
                detail: "workers died whenever they applied this entry".to_owned(),
                events,
                bytes: entry.payload.as_ref().into(),
            });
            return events;
        }
        let mut found = 0;
        for part in frame::split(&entry.payload) {
            match part {
                Ok(frame) => {
                    let events = u64::from(frame.events());
                    found += events;
                    if is_name(frame.tenant) && is_name(frame.request_id) {
                        self.read_groups(entry, frame);
                    } else {
                        self.unreadable.push(Unreadable {
                            entry,
                            frame: None,
                            reason: "malformed_frame",
                            detail: "tenant or request id is empty or holds a control character".to_owned(),
                            events,
                            bytes: encoded(&frame).into(),
                        });
                    }
                }
                Err(BadFrame { bytes, events, error }) => {
                    // Without a sound header the writer's totals still say how many were in there.
                    let rest = if since.contiguous { since.lost(found) } else { 0 };
                    let events = events.map_or(rest, u64::from);
                    found += events;
                    self.unreadable.push(Unreadable {
                        entry,
                        frame: None,
                        reason: "undecodable_frame",
                        detail: error.to_string(),
                        events,
                        bytes: bytes.into(),
                    });
                }
            }
        }
        found
    }

    fn read_groups(&mut self, entry: &'a Entry, mut frame: Frame<'a>) {
        let at = self.frames.len();
        let tenant = frame.tenant;
        for group in std::mem::take(&mut frame.groups) {
            let Group { experiment, after_stop, .. } = group;
            let event = |user: &str, kind| Event {
                frame: at,
                experiment,
                after_stop,
                unit: UnitId::of(tenant, user),
                kind,
            };
            match group.events {
                Events::Exposures(items) => {
                    self.events.extend(items.into_iter().map(|e| event(e.user_id, Kind::Exposure(e))));
                }
                Events::Conversions(items) => {
                    self.events.extend(items.into_iter().map(|c| event(c.user_id, Kind::Conversion(c))));
                }
                Events::Controls(items) => {
                    for control in &items {
                        match Told::of(&frame, control) {
                            Some(told) => self.events.push(event(told.user_id, Kind::Told(told))),
                            None => {
                                let events = Events::Controls(vec![control.clone()]);
                                let group = Group { experiment, after_stop, events };
                                self.unreadable.push(unsupported(entry, at, &frame, group));
                            }
                        }
                    }
                }
            }
        }
        self.frames.push((entry, frame));
    }

    pub fn frame(&self, event: &Event<'_>) -> &Frame<'a> {
        &self.frames[event.frame].1
    }

    /// The frame it came in, of this event alone: written to the queue again it is the same event, with the same key
    /// and the same times. Its receipt was given.
    pub fn frame_of(&self, event: &Event<'a>) -> Vec<u8> {
        let events = match event.kind {
            Kind::Exposure(e) => Events::Exposures(vec![e]),
            Kind::Conversion(c) => Events::Conversions(vec![c]),
            Kind::Told(told) => Events::Controls(vec![told.control()]),
        };
        let group = Group { experiment: event.experiment, after_stop: event.after_stop, events };
        encoded(&Frame { receipt: None, groups: vec![group], ..self.frame(event).clone() })
    }

    /// When the event occurred: as given, moved by the request's clock correction; else when it was received.
    pub fn occurred_at(&self, event: &Event<'_>) -> Timestamp {
        let frame = self.frame(event);
        event.kind.occurred_given().map_or(frame.received_at, |t| t.plus(frame.clock_shift))
    }
}

/// What an entry with `found` events shows to be gone since `last`, its writer's entry before it.
fn loss(entry: &Entry, last: Option<Stamp>, since: Since, found: u64) -> Option<NewLoss> {
    let events = since.lost(found);
    let (first, last, why) = match since.contiguous {
        true if events == 0 => return None,
        true => (entry.number, entry.number, "short_entry"),
        false => (last.unwrap_or_default().number + 1, entry.number - 1, "missing_entries"),
    };
    let (writer, entry) = (Some(entry.writer), entry.id.to_string());
    Some(NewLoss { writer, first, last, events, entry, why })
}

/// Counters and receipts are kept under it.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Controls of later releases; met here, they are kept and not applied.
fn unsupported<'a>(entry: &'a Entry, at: usize, frame: &Frame<'a>, group: Group<'a>) -> Unreadable<'a> {
    let frame = Frame { receipt: None, groups: vec![group], ..frame.clone() };
    Unreadable {
        entry,
        frame: Some(at),
        reason: "unsupported_control",
        detail: "this release does not apply controls of this kind".to_owned(),
        events: frame.events().into(),
        bytes: encoded(&frame).into(),
    }
}

/// What was decoded, or a part of it, encodes.
fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    frame::encode(frame).unwrap_or_default()
}

impl<'a> Kind<'a> {
    pub fn user_id(&self) -> &'a str {
        match self {
            Kind::Exposure(e) => e.user_id,
            Kind::Conversion(c) => c.user_id,
            Kind::Told(t) => t.user_id,
        }
    }

    pub fn occurred_given(&self) -> Option<Timestamp> {
        match self {
            Kind::Exposure(e) => e.occurred_given,
            Kind::Conversion(c) => c.occurred_given,
            Kind::Told(t) => t.occurred_given,
        }
    }
}
