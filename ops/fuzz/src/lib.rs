//! What is fuzzed: everything that takes bytes apart before it knows whose they are. Each function panics if what it
//! promises does not hold. The gateway's tests run the same functions over the corpora.

use ingest_gateway::body::{Form, Parsed, Shape, parse};
use ingest_gateway::sdks::{Sdk, Terms, cloudevents};
use queue::frame;
use service::auth::Keys;
use service::http::header::{HeaderMap, HeaderName, HeaderValue};
use service::http::{Encoding, MAX_DEPTH, check_depth};
use service::settings::{SdkValues, Secret, Settings, SettingsError, Tier};
use std::collections::BTreeSet;
use std::sync::LazyLock;

const MAX_ITEMS: usize = 1_000;
const MAX_DECODED: usize = 1 << 16;
const SHAPES: [Shape; 7] = [
    Shape::Events,
    Shape::Exposures,
    Shape::Conversions,
    Shape::PrePeriod,
    Shape::Strata,
    Shape::Exclusions,
    Shape::Holdout,
];

/// A whole JSON body, for every route.
pub fn body(bytes: &[u8]) {
    for shape in SHAPES {
        let deep = check_depth(bytes).is_err();
        let Ok(parsed) = parse(bytes, shape, Form::Json, MAX_ITEMS) else { continue };
        assert!(!deep, "nested deeper than {MAX_DEPTH}, and taken");
        each_has_one_fate(&parsed);
    }
}

/// Every position in the body is that of an item or of a fault.
fn each_has_one_fate(parsed: &Parsed<'_>) {
    let items = parsed.items.iter().map(|item| item.index);
    let positions: BTreeSet<u32> = items.chain(parsed.faults.iter().map(|(index, _)| *index)).collect();
    assert_eq!(positions.len(), parsed.total(), "an item with two fates");
    assert!(
        parsed.total() <= MAX_ITEMS && positions.last().is_none_or(|last| (*last as usize) < positions.len())
    );
}

/// A line an item.
pub fn ndjson(bytes: &[u8]) {
    let Ok(parsed) = parse(bytes, Shape::Events, Form::NdJson, MAX_ITEMS) else { return };
    each_has_one_fate(&parsed);
    assert!(parsed.total() <= bytes.split(|b| *b == b'\n').count());
}

/// A body of an SDK that is not ours, on each of their routes, and as CloudEvents of all three forms.
pub fn sdks(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let values =
        SdkValues::parse("default:checkout done=cart.total;default:signup=").expect("values of ours");
    let terms = Terms { tenant: "default", values: &values, max_events: MAX_ITEMS };
    for path in ["/v1/batch", "/v1/track", "/v1/page", "/batch", "/i/v1/analytics/events", "/track"] {
        let Some(sdk) = Sdk::at(path) else { continue };
        let Ok(parsed) = sdk.decode(&HeaderMap::new(), text, terms) else { continue };
        each_has_one_fate(&parsed);
        sdk.answer(text, parsed.total(), &parsed.faults).expect("an answer of ours can be written");
    }
    let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let binary = [("ce-id", "1"), ("ce-source", "s"), ("ce-type", "conversion"), ("ce-specversion", "1.0")];
    for content_type in
        ["application/cloudevents+json", "application/cloudevents-batch+json", "application/json"]
    {
        let about = binary.iter().filter(|_| content_type == "application/json").map(|(n, v)| header(n, v));
        let headers: HeaderMap = about.chain([header("content-type", content_type)]).collect();
        if let Ok(parsed) = cloudevents::decode(text, &headers, terms) {
            each_has_one_fate(&parsed);
        }
    }
}

/// Whatever it says it is, it never gets larger than allowed.
pub fn decompression(bytes: &[u8]) {
    for encoding in Encoding::ALL {
        if let Ok(decoded) = encoding.decode(bytes.to_vec().into(), MAX_DECODED) {
            assert!(decoded.len() <= MAX_DECODED);
        }
    }
}

/// An entry of the queue; what can be read can be written again and is the same.
pub fn frame(bytes: &[u8]) {
    for payload in [bytes.to_vec(), sealed(bytes)] {
        for frame in frame::split(&payload).flatten() {
            let written = frame::encode(&frame).expect("what was read can be written");
            assert_eq!(frame::decode(&written).expect("what was written can be read"), frame);
        }
        let _ = frame::announced(&payload);
    }
}

/// The bytes as a body under a header whose checksums are right, which no fuzzer would guess; the first one says how
/// many events there are.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let (events, body) = bytes.split_first().map_or((0, bytes), |(events, body)| (u32::from(*events), body));
    let mut sealed = b"ABFR\x01\0\0\0".to_vec();
    let length = u32::try_from(body.len()).unwrap_or(0);
    for number in [length, events, crc32fast::hash(body)] {
        sealed.extend(number.to_le_bytes());
    }
    sealed.extend(crc32fast::hash(&sealed).to_le_bytes());
    sealed.extend_from_slice(body);
    sealed
}

/// A file of keys, as production and others read it.
pub fn keys(bytes: &[u8]) {
    static NONE: LazyLock<Settings> = LazyLock::new(|| {
        Settings::for_testing(Tier::Gateway, &[("AB_REDIS_URL", "redis://h")]).expect("settings of ours")
    });
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut auth = NONE.auth.clone();
    auth.api_keys = Some(Secret::new(text));
    for strict in [false, true] {
        if let Err(refusal) = Keys::new(&auth, strict) {
            assert_eq!(refusal.to_string().lines().count(), 1);
        }
    }
}

/// The settings file. `AB_CONFIG` names a file, so there is one, in memory where the machine has such a place.
pub fn settings(bytes: &[u8]) {
    let shm = std::path::Path::new("/dev/shm");
    let directory = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let file = directory.join(format!("abstream-fuzz-{}.yaml", std::process::id()));
    std::fs::write(&file, bytes).expect("write the file");
    let env =
        [("AB_REDIS_URL", "redis://h"), ("AB_CONFIG", file.to_str().expect("a path of ours")), ("V", "v;,=")];
    match Settings::for_testing(Tier::Gateway, &env) {
        Err(SettingsError::Usage(usage)) => panic!("no flag was given: {usage}"),
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(settings) => assert!(settings.effective().len() > 20),
    }
    std::fs::remove_file(&file).expect("remove the file");
}
