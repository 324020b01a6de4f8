//! Dead letters over HTTP: whose they are, what is told of them, and that sending them again loses and doubles nothing.

use domain::event::{Conversion, Exposure, Key};
use domain::{BatchId, Decimal, ExperimentId, Partition, Timestamp, UnitId};
use queue::frame::{Control, Events, Frame, Group, Receipt, encode};
use queue::reader::{EntryId, Read};
use serde_json::{Value, json};
use std::time::Duration;
use store::{LetterFilter, Store};
use testkit::http::Client;
use uuid::Uuid;

use crate::rig::{PARTITIONS, Rig, code, queue, two_arms};

const LIST: &str = "/api/v1/dead-letters";
const BATCH: BatchId = BatchId(Uuid::from_u128(7));
/// The hour an event was corrected by, in microseconds.
const SHIFT: i64 = 3_600_000_000;

/// As the worker keeps an event: a frame of its own.
pub fn frame<'a>(tenant: &'a str, experiment: i64, events: Events<'a>) -> Frame<'a> {
    Frame {
        batch: BATCH,
        tenant,
        request_id: "r-7",
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        sent_at: Some(Timestamp(5)),
        received_at: Timestamp(1_700_000_000_000_000),
        clock_shift: SHIFT,
        receipt: None,
        groups: vec![Group { experiment: ExperimentId(experiment), after_stop: true, events }],
    }
}

pub fn conversion<'a>(user_id: &'a str, metric: &'a str) -> Events<'a> {
    let occurred_given = Some(Timestamp(1_600_000_000_000_000));
    let value = Decimal(19_900_000);
    Events::Conversions(vec![Conversion { user_id, metric, value, occurred_given, key: Key::Index(3) }])
}

fn exposure(user_id: &str) -> Events<'_> {
    Events::Exposures(vec![Exposure { user_id, variation: 1, occurred_given: None, key: Some("k-1") }])
}

/// A letter as the worker writes it; its id.
async fn letter(rig: &Rig, tenant: &str, experiment: i64, reason: &str, payload: &[u8]) -> i64 {
    stored(&rig.database, &*rig.store().await, tenant, experiment, reason, payload).await
}

pub async fn stored(
    database: &str,
    store: &dyn Store,
    tenant: &str,
    experiment: i64,
    reason: &str,
    payload: &[u8],
) -> i64 {
    let hex: String = payload.iter().map(|b| format!("{b:02x}")).collect();
    let statement = format!(
        "INSERT INTO dead_letters
             (tenant, experiment, partition, entry, batch, request_id, reason, detail, events, payload)
         VALUES ('{tenant}', {experiment}, 0, '17-3', '{}', 'r-7', '{reason}', 'why', 1, '\\x{hex}')",
        BATCH.0
    );
    testkit::postgres().await.execute(database, &statement).await.unwrap();
    let letters = store.dead_letters(tenant, LetterFilter::default(), 0, 10_000).await.unwrap();
    letters.last().unwrap().id
}

async fn post(client: &Client, action: &str, ids: &[i64]) -> Vec<(i64, String)> {
    let answer = client.post_json(&format!("{LIST}/{action}"), &json!({"ids": ids})).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json().unwrap()["items"].as_array().unwrap().clone();
    items.iter().map(|i| (i["id"].as_i64().unwrap(), i["outcome"].as_str().unwrap().to_owned())).collect()
}

fn outcomes(items: &[(i64, &str)]) -> Vec<(i64, String)> {
    items.iter().map(|(id, outcome)| (*id, (*outcome).to_owned())).collect()
}

/// Everything written to a partition, entry by entry.
async fn written(rig: &Rig, partition: u16) -> Vec<Vec<u8>> {
    let mut reader = queue(&rig.redis.url()).reader(Partition(partition), EntryId::ZERO);
    match reader.next(1_000, Duration::ZERO).await.unwrap() {
        Read::Entries(entries) => {
            entries.into_iter().map(|e| e.payload.to_vec()).filter(|payload| !payload.is_empty()).collect()
        }
        Read::Idle => Vec::new(),
        Read::AnchorLost => panic!("nothing was read before"),
    }
}

fn ids(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|l| l["id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn letters_are_listed_in_pages_and_shown_with_their_events() {
    let rig = Rig::start().await;
    let experiment = rig.running(&two_arms("checkout")).await.id;
    assert_eq!(rig.ok(LIST).await, json!({"items": [], "next_cursor": null}));
    let sale = encode(&frame("a", 0, conversion("ann", "purchase"))).unwrap();
    let seen = encode(&frame("a", experiment.0, exposure("bob"))).unwrap();
    let first = letter(&rig, "a", 0, "refused", &sale).await;
    let second = letter(&rig, "a", experiment.0, "unknown_variation", &seen).await;
    let third = letter(&rig, "a", 99, "refused", b"").await;
    let digest = "ab".repeat(32);
    rig.sql(&format!("UPDATE dead_letters SET digest = '\\x{digest}' WHERE id = {third}")).await;

    let page = rig.ok(&format!("{LIST}?limit=2")).await;
    assert_eq!((ids(&page), &page["next_cursor"]), (vec![first, second], &json!(second.to_string())));
    let last = rig.ok(&format!("{LIST}?limit=2&cursor={second}")).await;
    assert_eq!((ids(&last), &last["next_cursor"]), (vec![third], &json!(null)));
    for (query, wanted) in [
        ("reason=refused", vec![first, third]),
        ("reason=nothing", vec![]),
        ("experiment=checkout", vec![second]),
        ("experiment=99", vec![third]),
        ("experiment=0", vec![first]),
        ("experiment=0&reason=overflow", vec![]),
        ("unknown_tenant=false", vec![first, second, third]),
    ] {
        assert_eq!(ids(&rig.ok(&format!("{LIST}?{query}")).await), wanted, "{query}");
    }

    let mut listed = page["items"][0].clone();
    assert!(listed["created_at"].as_str().unwrap().starts_with("20"), "{listed}");
    listed.as_object_mut().unwrap().remove("created_at");
    let wanted = json!({"id": first, "reason": "refused", "detail": "why", "experiment": null, "events": 1,
        "batch_id": BATCH.0, "request_id": "r-7", "entry": "17-3", "payload_kept": true, "digest": null});
    assert_eq!(listed, wanted);
    let shown = rig.ok(&format!("{LIST}/{first}")).await;
    let event = json!({"type": "conversion", "user_id": "ann", "experiment": null, "metric": "purchase",
        "value": "19.9", "occurred_at": "2020-09-13T13:26:40Z", "idempotency_key": BATCH.key_of(3)});
    let of = |event: Value| {
        json!([{"tenant": "a", "batch_id": BATCH.0, "request_id": "r-7", "received_at": "2023-11-14T22:13:20Z",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "events": [event]}])
    };
    assert_eq!(
        shown["payload"],
        json!({"bytes": sale.len(), "redrivable": true, "cut": false, "frames": of(event)})
    );
    let shown = rig.ok(&format!("{LIST}/{second}")).await;
    let event = json!({"type": "exposure", "user_id": "bob", "experiment": experiment, "variation_index": 1,
        "occurred_at": "2023-11-14T22:13:20Z", "idempotency_key": "k-1"});
    assert_eq!((&shown["reason"], &shown["payload"]["frames"]), (&json!("unknown_variation"), &of(event)));
    let shown = rig.ok(&format!("{LIST}/{third}")).await;
    assert_eq!((&shown["payload"], &shown["payload_kept"]), (&json!(null), &json!(false)));
    assert_eq!((&shown["digest"], &shown["experiment"]), (&json!(digest), &json!(99)));

    for (query, status, wanted) in [
        ("limit=0", 422, "invalid_parameter"),
        ("cursor=x", 422, "invalid_parameter"),
        ("unknown_tenant=yes", 422, "invalid_parameter"),
        ("after=1", 422, "unknown_parameter"),
        ("experiment=nothing", 404, "unknown_experiment"),
    ] {
        let refused = rig.get(&format!("{LIST}?{query}")).await;
        assert_eq!((refused.status, code(&refused).as_str()), (status, wanted), "{query}");
    }
}

#[tokio::test]
async fn nobody_sees_or_touches_letters_of_others() {
    let rig = Rig::start().await;
    let payload = encode(&frame("a", 0, conversion("ann", "purchase"))).unwrap();
    let ours = letter(&rig, "a", 0, "refused", &payload).await;
    let theirs = letter(&rig, "b", 0, "refused", &payload).await;
    let nobodys = letter(&rig, "", 0, "kills_worker", &payload).await;
    let (admin, operator) = (rig.client("admin-a"), rig.client("operator-a"));

    assert_eq!(ids(&rig.ok(LIST).await), [ours]);
    let unknown = operator.get(&format!("{LIST}?unknown_tenant=true")).await.unwrap().json().unwrap();
    assert_eq!(ids(&unknown), [nobodys]);
    assert_eq!(operator.get(&format!("{LIST}/{nobodys}")).await.unwrap().status, 200);
    for (client, id) in [(&admin, theirs), (&admin, nobodys), (&operator, ours), (&operator, theirs)] {
        let hidden = client.get(&format!("{LIST}/{id}")).await.unwrap();
        assert_eq!((hidden.status, code(&hidden).as_str()), (404, "unknown_dead_letter"));
        for action in ["redrive", "drop"] {
            assert_eq!(post(client, action, &[id]).await, outcomes(&[(id, "not_found")]));
        }
    }
    for (client, query) in [(&admin, "?unknown_tenant=true"), (&operator, "")] {
        let refused = client.get(&format!("{LIST}{query}")).await.unwrap();
        assert_eq!((refused.status, code(&refused).as_str()), (403, "missing_scope"));
    }
    for key in ["read-a", "send-a"] {
        let client = rig.client(key);
        let body = json!({"ids": [ours]});
        let list = client.get(LIST).await.unwrap();
        let get = client.get(&format!("{LIST}/{ours}")).await.unwrap();
        let redrive = client.post_json(&format!("{LIST}/redrive"), &body).await.unwrap();
        let drop = client.post_json(&format!("{LIST}/drop"), &body).await.unwrap();
        assert_eq!([list, get, redrive, drop].map(|answer| answer.status), [403; 4], "{key}");
    }
    for id in ["0", "-1", "x", "99999999999999999999"] {
        assert_eq!(rig.get(&format!("{LIST}/{id}")).await.status, 404, "{id}");
    }
    assert_eq!(rig.get(&format!("{LIST}/redrive")).await.status, 405);
    assert_eq!(written(&rig, 0).await.len() + written(&rig, 1).await.len(), 0);
    // Each drops its own.
    assert_eq!(post(&admin, "drop", &[nobodys, theirs, ours, ours]).await.len(), 3);
    assert_eq!(post(&operator, "drop", &[nobodys]).await, outcomes(&[(nobodys, "dropped")]));
    assert_eq!(post(&admin, "drop", &[ours]).await, outcomes(&[(ours, "not_found")]));
    assert_eq!(rig.client("admin-b").get(&format!("{LIST}/{theirs}")).await.unwrap().status, 200);
}

#[tokio::test]
async fn what_is_redriven_is_the_same_event_and_its_letter_goes() {
    let rig = Rig::start().await;
    let sale = encode(&frame("a", 0, conversion("ann", "purchase"))).unwrap();
    let seen = encode(&frame("a", 5, exposure("ann"))).unwrap();
    let letters =
        [letter(&rig, "a", 0, "refused", &sale).await, letter(&rig, "a", 5, "refused", &seen).await];
    rig.sql("CREATE TABLE saved AS SELECT * FROM dead_letters").await;
    let [first, second] = letters;
    let done = post(&rig.admin, "redrive", &[second, 999, first]).await;
    assert_eq!(done, outcomes(&[(first, "redriven"), (second, "redriven"), (999, "not_found")]));
    assert_eq!(ids(&rig.ok(LIST).await), Vec::<i64>::new());
    // In the partition of their user, the older first, as one entry or two.
    let partition = UnitId::of("a", "ann").partition(PARTITIONS).0;
    let both = [sale.clone(), seen.clone()].concat();
    assert_eq!(written(&rig, partition).await.concat(), both);
    assert_eq!(written(&rig, 1 - partition).await.concat(), b"");
    assert_eq!(
        post(&rig.admin, "redrive", &letters).await,
        outcomes(&[(first, "not_found"), (second, "not_found")])
    );

    // As after a crash between the queue's acknowledgement and the deletion: the same bytes come once more, and the
    // worker knows their keys.
    rig.sql("INSERT INTO dead_letters OVERRIDING SYSTEM VALUE SELECT * FROM saved").await;
    assert_eq!(
        post(&rig.admin, "redrive", &letters).await,
        outcomes(&[(first, "redriven"), (second, "redriven")])
    );
    assert_eq!(written(&rig, partition).await.concat(), [both.clone(), both].concat());
    assert_eq!(ids(&rig.ok(LIST).await), Vec::<i64>::new());
}

#[tokio::test]
async fn a_whole_entry_is_redriven_to_the_partitions_its_users_have_now() {
    let rig = Rig::start().await;
    let operator = rig.client("operator-a");
    let users: Vec<String> = (0..20).map(|i| format!("u{i}")).collect();
    let of = |tenant: &str, wanted: u16| {
        let of_it = |user: &&String| UnitId::of(tenant, user).partition(PARTITIONS).0 == wanted;
        users.iter().filter(of_it).cloned().collect::<Vec<String>>()
    };
    let exposed = |users: &'static [String]| {
        let exposure =
            |user: &'static String| Exposure { user_id: user, variation: 0, occurred_given: None, key: None };
        Events::Exposures(users.iter().map(exposure).collect())
    };
    let keep = |users: Vec<String>| -> &'static [String] { Vec::leak(users) };
    let receipt = Some(Receipt { address: "there", part: 0, parts: 2 });
    let (of_a, of_b) = (keep(of("a", 1)), keep(of("b", 1)));
    let stays = Frame { receipt, ..frame("a", 5, exposed(of_a)) };
    let splits = Frame { receipt, ..frame("b", 6, exposed(keep(users.clone()))) };
    let payload = [encode(&stays).unwrap(), encode(&splits).unwrap()].concat();
    let id = letter(&rig, "", 0, "kills_worker", &payload).await;

    let shown = operator.get(&format!("{LIST}/{id}")).await.unwrap().json().unwrap();
    let frames = shown["payload"]["frames"].as_array().unwrap();
    assert_eq!(frames.iter().map(|f| f["tenant"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(frames[1]["events"].as_array().unwrap().len(), 20);
    assert_eq!(post(&operator, "redrive", &[id]).await, outcomes(&[(id, "redriven")]));
    // Whole frames keep their receipt: nobody was told of them yet.
    let here = Frame { receipt: None, ..frame("b", 6, exposed(of_b)) };
    let there = Frame { receipt: None, ..frame("b", 6, exposed(keep(of("b", 0)))) };
    let expected = [encode(&stays).unwrap(), encode(&here).unwrap()].concat();
    assert_eq!(written(&rig, 1).await.concat(), expected);
    assert_eq!(written(&rig, 0).await.concat(), encode(&there).unwrap());
}

#[tokio::test]
async fn what_cannot_be_redriven_says_so_and_stays() {
    let rig = Rig::start().await;
    let operator = rig.client("operator-a");
    let sale = encode(&frame("a", 0, conversion("ann", "purchase"))).unwrap();
    let mut damaged = sale.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let stop = frame("a", 0, Events::Controls(vec![Control::Stop { at: Timestamp(0) }]));
    let mut cannot = Vec::new();
    let half = [sale.clone(), damaged.clone()].concat();
    for payload in [b"garbage".to_vec(), damaged, half, encode(&stop).unwrap(), Vec::new()] {
        cannot.push(letter(&rig, "", 0, "undecodable_frame", &payload).await);
    }
    let unkept = letter(&rig, "", 0, "refused", b"").await;
    rig.sql(&format!("UPDATE dead_letters SET digest = sha256('x') WHERE id = {unkept}")).await;
    let good = letter(&rig, "", 0, "kills_worker", &sale).await;

    let all: Vec<i64> = cannot.iter().copied().chain([unkept, good]).collect();
    let mut expected: Vec<(i64, &str)> = cannot.iter().map(|id| (*id, "unreadable")).collect();
    expected.extend([(unkept, "no_payload"), (good, "redriven")]);
    assert_eq!(post(&operator, "redrive", &all).await, outcomes(&expected));
    let left = operator.get(&format!("{LIST}?unknown_tenant=true")).await.unwrap().json().unwrap();
    assert_eq!(ids(&left), all[..6]);
    let shown = operator.get(&format!("{LIST}/{}", cannot[0])).await.unwrap().json().unwrap();
    assert_eq!(
        shown["payload"],
        json!({"bytes": 7, "redrivable": false, "cut": false, "hex": "67617262616765"})
    );
    let shown = operator.get(&format!("{LIST}/{}", cannot[3])).await.unwrap().json().unwrap();
    assert_eq!(shown["payload"]["redrivable"], false);
    assert_eq!(shown["payload"]["frames"][0]["events"], json!([{"type": "control", "experiment": null}]));
    assert_eq!(written(&rig, 0).await.len() + written(&rig, 1).await.len(), 1);
}

#[tokio::test]
async fn bodies_are_ids_and_nothing_else() {
    let rig = Rig::start().await;
    let many: Vec<i64> = (0..1_001).collect();
    for action in ["redrive", "drop"] {
        for (body, status, wanted) in [
            (json!({"ids": []}), 422, "invalid_ids"),
            (json!({"ids": many}), 422, "invalid_ids"),
            (json!({"ids": ["1"]}), 422, "invalid_ids"),
            (json!({"ids": 1}), 422, "invalid_ids"),
            (json!({}), 422, "invalid_ids"),
            (json!({"ids": [1], "all": true}), 422, "unknown_field"),
        ] {
            let refused = rig.admin.post_json(&format!("{LIST}/{action}"), &body).await.unwrap();
            assert_eq!((refused.status, code(&refused).as_str()), (status, wanted), "{body}");
        }
        let most: Vec<i64> = (0..1_000).collect();
        assert_eq!(post(&rig.admin, action, &most).await.len(), 1_000);
        let text = rig.admin.post(&format!("{LIST}/{action}"), &[("content-type", "text/plain")], "{}").await;
        assert_eq!(text.unwrap().status, 415);
    }
}

#[tokio::test]
async fn letters_of_a_user_who_is_erased_go_with_the_user() {
    let rig = Rig::start().await;
    let of = |tenant: &str, user: &str| encode(&frame(tenant, 0, conversion(user, "purchase"))).unwrap();
    let (ann, seen) = (of("a", "ann"), encode(&frame("a", 5, exposure("ann"))).unwrap());
    let mut kept = Vec::new();
    // More than a page, so that hers lie on two.
    for n in 0..210 {
        kept.push(letter(&rig, "a", 0, "refused", &of("a", &format!("ann{n}"))).await);
        if n % 100 == 0 {
            letter(&rig, "a", 0, "refused", &ann).await;
            letter(&rig, "a", 5, "unknown_variation", &seen).await;
        }
    }
    // Another's with hers, what cannot be read, and another tenant's ann.
    for payload in [[ann.clone(), of("a", "bob")].concat(), [ann.clone(), b"x".to_vec()].concat()] {
        kept.push(letter(&rig, "a", 0, "kills_worker", &payload).await);
    }
    let elsewhere = letter(&rig, "b", 0, "refused", &of("b", "ann")).await;

    // What the owner of her partition leaves.
    let unit = uuid::Uuid::from_bytes(UnitId::of("a", "ann").0);
    rig.sql(&format!("INSERT INTO units (unit, tenant, user_id, state) VALUES ('{unit}', 'a', '', '')"))
        .await;
    let erase =
        async || rig.admin.post_json("/api/v1/admin/users/erase", &json!({"user_id": "ann"})).await.unwrap();
    let asked = erase().await;
    assert_eq!((asked.status, asked.json().unwrap()), (200, json!({"status": "erased"})));
    let store = rig.store().await;
    let left = async |tenant| {
        let letters = store.dead_letters(tenant, LetterFilter::default(), 0, 1_000).await.unwrap();
        letters.into_iter().map(|l| l.id).collect::<Vec<i64>>()
    };
    assert_eq!(left("a").await, kept);
    assert_eq!(left("b").await, [elsewhere]);
    assert_eq!(erase().await.status, 200, "again");
    assert_eq!(left("a").await, kept);
}
