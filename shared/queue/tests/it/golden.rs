//! Frames of every kind as the first release wrote them. These files are never changed: workers must read what
//! is still in a stream. A new format gets files of its own.

use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, Decimal, ExperimentId, Timestamp};
use queue::frame::{Control, Events, Frame, Group, Receipt, decode, encode};
use uuid::Uuid;

const AT: Timestamp = Timestamp(1_763_600_000_123_456);

#[test]
fn exposures() {
    let events = Events::Exposures(vec![
        Exposure { user_id: "user-1", variation: 0, occurred_given: None, key: None },
        Exposure { user_id: "ユーザー", variation: 300, occurred_given: Some(AT), key: Some("k-1") },
        Exposure { user_id: "held out", variation: -1, occurred_given: Some(Timestamp(-1)), key: None },
    ]);
    check(include_str!("../data/frame_v1_exposures.hex"), &plain(events));
}

#[test]
fn conversions() {
    let conversion = |value, occurred_given, key| Conversion {
        user_id: "user-1",
        metric: "purchase",
        value: Decimal(value),
        occurred_given,
        key,
    };
    let events = Events::Conversions(vec![
        conversion(1_000_000, None, Key::Index(0)),
        conversion(i64::MAX, Some(AT), Key::Client("order-77")),
        conversion(-19_990_000, Some(Timestamp(0)), Key::Index(70_000)),
    ]);
    check(include_str!("../data/frame_v1_conversions.hex"), &plain(events));
}

#[test]
fn controls() {
    let user_id = "user-1";
    let events = Events::Controls(vec![
        Control::Phase { number: 2, coverage: 0.5, weights: vec![1.0, 3.0], at: AT },
        Control::Stop { at: AT },
        Control::Restart { at: AT },
        Control::Erase { user_id },
        Control::PrePeriod { user_id, covariate: None, value: Decimal(5), occurred_given: None },
        Control::PrePeriod { user_id, covariate: Some("age"), value: Decimal(-5), occurred_given: Some(AT) },
        Control::Stratum { user_id, stratum: "DE", occurred_given: None },
        Control::Exclusion { user_id, reason: Some("bot"), excluded: true },
        Control::Exclusion { user_id, reason: None, excluded: false },
    ]);
    check(include_str!("../data/frame_v1_controls.hex"), &plain(events));
}

#[test]
fn whole_request() {
    let exposure = Exposure { user_id: "u", variation: 1, occurred_given: Some(AT), key: None };
    let conversion = Conversion {
        user_id: "u",
        metric: "m",
        value: Decimal::ONE,
        occurred_given: None,
        key: Key::Index(1),
    };
    let frame = Frame {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        sent_at: Some(Timestamp(AT.0 - 90_000_000)),
        clock_shift: 90_000_000,
        receipt: Some(Receipt {
            address: "ab:receipts:0188a1f0-0000-4000-8000-000000000000",
            part: 3,
            parts: 16,
        }),
        groups: vec![
            Group {
                experiment: ExperimentId(42),
                after_stop: true,
                events: Events::Exposures(vec![exposure]),
            },
            Group {
                experiment: ExperimentId::NONE,
                after_stop: false,
                events: Events::Conversions(vec![conversion]),
            },
        ],
        ..plain(Events::Exposures(vec![]))
    };
    check(include_str!("../data/frame_v1_request.hex"), &frame);
}

fn plain(events: Events<'_>) -> Frame<'_> {
    Frame {
        batch: BatchId(Uuid::from_u128(0x0188_a1f0_1234_7abc_8def_0123_4567_89ab)),
        tenant: "acme",
        request_id: "req-1",
        traceparent: None,
        sent_at: None,
        received_at: AT,
        clock_shift: 0,
        receipt: None,
        groups: vec![Group { experiment: ExperimentId(42), after_stop: false, events }],
    }
}

fn check(golden: &str, frame: &Frame<'_>) {
    let bytes: Vec<u8> = golden
        .split_whitespace()
        .flat_map(|line| line.as_bytes().chunks(2))
        .map(|hex| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(hex(&encode(frame).unwrap()), hex(&bytes));
    assert_eq!(&decode(&bytes).unwrap(), frame);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
