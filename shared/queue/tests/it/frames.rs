use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, Decimal, ExperimentId, Timestamp};
use proptest::prelude::*;
use queue::frame::{
    self, BODY_MAX, Control, EVENTS_MAX, Events, Frame, FrameError, Group, Receipt, decode, encode, split,
};
use uuid::Uuid;

const HEADER: usize = 24;

fn sample(groups: Vec<Group<'_>>) -> Frame<'_> {
    Frame {
        batch: BatchId(Uuid::from_u128(7)),
        tenant: "acme",
        request_id: "r-1",
        traceparent: None,
        sent_at: None,
        received_at: Timestamp(1_700_000_000_000_000),
        clock_shift: 0,
        receipt: None,
        groups,
    }
}

fn exposures(n: usize) -> Group<'static> {
    let exposure = Exposure { user_id: "u", variation: 1, occurred_given: None, key: None };
    Group { experiment: ExperimentId(3), after_stop: false, events: Events::Exposures(vec![exposure; n]) }
}

/// A frame around any body, checksums right.
fn wrap(format: u16, flags: u16, events: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"ABFR".to_vec();
    bytes.extend(format.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes.extend(events.to_le_bytes());
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn the_header_is_as_documented() {
    let bytes = encode(&sample(vec![exposures(2)])).unwrap();
    assert_eq!(bytes, wrap(1, 0, 2, &bytes[HEADER..]));
}

#[test]
fn every_damaged_byte_is_noticed() {
    let good = encode(&sample(vec![exposures(2)])).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(decode(&bad).is_err(), "byte {at} bit {bit}");
        }
    }
    for end in 0..good.len() {
        assert!(matches!(decode(&good[..end]), Err(FrameError::Truncated)), "cut at {end}");
    }
    let more = [&good[..], b"x"].concat();
    assert!(matches!(decode(&more), Err(FrameError::TrailingBytes(1))));
}

#[test]
fn a_sound_header_around_a_wrong_body_is_an_error_of_its_own() {
    let good = encode(&sample(vec![exposures(2)])).unwrap();
    let body = &good[HEADER..];
    assert!(matches!(decode(&wrap(2, 0, 2, body)), Err(FrameError::Format(2))));
    assert!(matches!(decode(&wrap(1, 1, 2, body)), Err(FrameError::Flags(1))));
    assert!(matches!(decode(&wrap(1, 0, 3, body)), Err(FrameError::EventCount { header: 3, body: 2 })));
    let longer = [body, b"\0"].concat();
    assert!(matches!(decode(&wrap(1, 0, 2, &longer)), Err(FrameError::TrailingBytes(1))));
    assert!(matches!(decode(&wrap(1, 0, 2, &body[..body.len() - 1])), Err(FrameError::Body(_))));
    assert!(matches!(decode(&wrap(1, 0, 2, b"")), Err(FrameError::Body(_))));
}

#[test]
fn a_hostile_length_is_refused_before_anything_is_allocated() {
    let good = encode(&sample(vec![])).unwrap();
    // The last byte of the body is the number of groups: 0. 253 announces eight bytes of number.
    let mut body = good[HEADER..good.len() - 1].to_vec();
    body.push(253);
    body.extend((1_u64 << 40).to_le_bytes());
    assert!(matches!(decode(&wrap(1, 0, 0, &body)), Err(FrameError::Body(_))));
    assert!(matches!(
        decode(&wrap(1, 0, EVENTS_MAX + 1, &good[HEADER..])),
        Err(FrameError::TooManyEvents(_))
    ));
    assert!(matches!(decode(&wrap(1, 0, 0, &vec![0; BODY_MAX + 1])), Err(FrameError::BodyTooLarge(_))));
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let most = EVENTS_MAX as usize;
    assert!(matches!(
        encode(&sample(vec![exposures(most), exposures(1)])),
        Err(FrameError::TooManyEvents(_))
    ));
    let bytes = encode(&sample(vec![exposures(most)])).unwrap();
    assert_eq!(decode(&bytes).unwrap().events(), EVENTS_MAX);

    let long = "x".repeat(BODY_MAX / 4);
    let conversion = Conversion {
        user_id: &long,
        metric: "m",
        value: Decimal(1),
        occurred_given: None,
        key: Key::Index(0),
    };
    let group = |n| Group {
        experiment: ExperimentId::NONE,
        after_stop: false,
        events: Events::Conversions(vec![conversion; n]),
    };
    assert!(matches!(encode(&sample(vec![group(4)])), Err(FrameError::BodyTooLarge(_))));
    assert!(decode(&encode(&sample(vec![group(3)])).unwrap()).is_ok());
}

#[test]
fn a_payload_is_split_around_what_is_bad() {
    let frames = [1, 2, 3].map(|n| encode(&sample(vec![exposures(n)])).unwrap());
    let events = |payload: &[u8]| -> Vec<Result<u32, (usize, Option<u32>)>> {
        let one = |frame: Result<Frame<'_>, frame::BadFrame<'_>>| {
            frame.map(|f| f.events()).map_err(|bad| (bad.bytes.len(), bad.events))
        };
        split(payload).map(one).collect()
    };
    assert_eq!(events(b""), []);
    assert_eq!(events(&frames.concat()), [Ok(1), Ok(2), Ok(3)]);

    let mut bad_body = frames.clone();
    bad_body[1][HEADER + 3] ^= 1;
    assert_eq!(events(&bad_body.concat()), [Ok(1), Err((frames[1].len(), Some(2))), Ok(3)]);

    let unknown = wrap(9, 0, 2, b"whatever it is");
    let payload = [&frames[0][..], &unknown, &frames[2]].concat();
    assert_eq!(events(&payload), [Ok(1), Err((unknown.len(), Some(2))), Ok(3)]);

    let mut bad_header = frames.clone();
    bad_header[1][9] ^= 1;
    let rest = frames[1].len() + frames[2].len();
    assert_eq!(events(&bad_header.concat()), [Ok(1), Err((rest, None))]);

    let cut = &frames.concat()[..frames[0].len() + frames[1].len() - 1];
    assert_eq!(events(cut), [Ok(1), Err((frames[1].len() - 1, Some(2)))]);
    assert_eq!(events(b"?"), [Err((1, None))]);
}

/// A frame with texts of its own, to build borrowed ones from.
#[derive(Debug, Clone)]
struct Owned {
    texts: Vec<String>,
    numbers: Vec<i64>,
    shape: Vec<(u8, u8)>,
}

fn owned() -> impl Strategy<Value = Owned> {
    let texts = prop::collection::vec(".{0,12}", 1..12);
    let numbers = prop::collection::vec(any::<i64>(), 1..12);
    let shape = prop::collection::vec((any::<u8>(), 0_u8..12), 0..6);
    (texts, numbers, shape).prop_map(|(texts, numbers, shape)| Owned { texts, numbers, shape })
}

impl Owned {
    fn frame(&self) -> Frame<'_> {
        let text = |i: usize| self.texts[i % self.texts.len()].as_str();
        let number = |i: usize| self.numbers[i % self.numbers.len()];
        let time = |i: usize| (number(i) % 3 != 0).then(|| Timestamp(number(i)));
        let small = |i: usize| u16::try_from(number(i).rem_euclid(65_536)).unwrap();
        let some = |i: usize| (number(i) % 2 == 0).then(|| text(i));
        let group = |(g, &(kind, n)): (usize, &(u8, u8))| {
            let range = (0..usize::from(n)).map(|i| i + g);
            let events = match kind % 3 {
                0 => Events::Exposures(
                    range
                        .map(|i| Exposure {
                            user_id: text(i),
                            variation: i16::try_from(number(i) % 30_000).unwrap(),
                            occurred_given: time(i),
                            key: some(i),
                        })
                        .collect(),
                ),
                1 => Events::Conversions(
                    range
                        .map(|i| Conversion {
                            user_id: text(i),
                            metric: text(i + 1),
                            value: Decimal(number(i)),
                            occurred_given: time(i),
                            key: match number(i) % 2 {
                                0 => Key::Client(text(i + 2)),
                                _ => Key::Index(u32::from(small(i))),
                            },
                        })
                        .collect(),
                ),
                _ => Events::Controls(range.map(|i| control(i, text, number, some, time, small)).collect()),
            };
            Group { experiment: ExperimentId(number(g)), after_stop: kind > 127, events }
        };
        Frame {
            batch: BatchId(Uuid::from_u64_pair(number(0).cast_unsigned(), number(1).cast_unsigned())),
            tenant: text(0),
            request_id: text(1),
            traceparent: some(2),
            sent_at: time(3),
            received_at: Timestamp(number(4)),
            clock_shift: number(5),
            receipt: some(6).map(|address| Receipt { address, part: small(7), parts: small(8) }),
            groups: self.shape.iter().enumerate().map(group).collect(),
        }
    }
}

fn control<'a>(
    i: usize,
    text: impl Fn(usize) -> &'a str,
    number: impl Fn(usize) -> i64,
    some: impl Fn(usize) -> Option<&'a str>,
    time: impl Fn(usize) -> Option<Timestamp>,
    small: impl Fn(usize) -> u16,
) -> Control<'a> {
    let user_id = text(i);
    match i % 7 {
        0 => Control::Phase {
            number: small(i),
            coverage: 0.5,
            weights: vec![1.0; i],
            at: Timestamp(number(i)),
        },
        1 => Control::Stop { at: Timestamp(number(i)) },
        2 => Control::Restart { at: Timestamp(number(i)) },
        3 => Control::Erase { user_id },
        4 => Control::PrePeriod {
            user_id,
            covariate: some(i),
            value: Decimal(number(i)),
            occurred_given: time(i),
        },
        5 => Control::Stratum { user_id, stratum: text(i + 1), occurred_given: time(i) },
        _ => Control::Exclusion { user_id, reason: some(i), excluded: number(i) % 2 == 0 },
    }
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were(owned in owned()) {
        let frame = owned.frame();
        let bytes = encode(&frame).unwrap();
        prop_assert_eq!(decode(&bytes).unwrap(), frame);
    }

    #[test]
    fn any_body_is_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200), events in 0_u32..3) {
        let _ = decode(&wrap(1, 0, events, &body));
    }

    /// Checksums right, so that the body decoder itself meets the damage.
    #[test]
    fn any_damaged_body_is_decoded_or_refused(
        owned in owned(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let frame = owned.frame();
        let bytes = encode(&frame).unwrap();
        let mut body = bytes[HEADER..].to_vec();
        for (at, value) in damage {
            let at = at.index(body.len());
            body[at] = value;
        }
        let _ = decode(&wrap(1, 0, frame.events(), &body));
    }

    #[test]
    fn any_payload_is_split_to_its_end(
        payload in prop::collection::vec(any::<u8>(), 0..100),
        frames in prop::collection::vec(owned(), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes: Vec<u8> = frames.iter().flat_map(|owned| encode(&owned.frame()).unwrap()).collect();
        bytes.splice(cut.index(bytes.len() + 1).., payload);
        let mut seen = 0;
        for frame in split(&bytes) {
            seen += match frame {
                Ok(frame) => encode(&frame).unwrap().len(),
                Err(bad) => bad.bytes.len(),
            };
        }
        prop_assert_eq!(seen, bytes.len());
    }
}
