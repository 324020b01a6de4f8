//! `abctl dead-letters` against a real analyzer: what it prints, what it does, how it exits.

use crate::deployment::{ADMIN_TOKEN, API_TOKEN, Deployment, abctl};
use domain::event::{Conversion, Key};
use domain::{BatchId, Decimal, ExperimentId, Timestamp};
use queue::frame::{Events, Frame, Group, encode};
use serde_json::{Value, json};
use uuid::Uuid;

const BATCH: BatchId = BatchId(Uuid::from_u128(7));

/// So many purchases as one frame.
fn purchases(n: u32) -> Vec<u8> {
    let users: Vec<String> = (0..n).map(|i| format!("u{i}")).collect();
    let purchase = |user: &'_ String| -> Conversion<'static> {
        Conversion {
            user_id: user.clone().leak(),
            metric: "purchase",
            value: Decimal(19_900_000),
            occurred_given: Some(Timestamp(1_600_000_000_000_000)),
            key: Key::Client("order-17"),
        }
    };
    let events = Events::Conversions(users.iter().map(purchase).collect());
    let groups = vec![Group { experiment: ExperimentId(5), after_stop: false, events }];
    let frame = Frame {
        batch: BATCH,
        tenant: "default",
        request_id: "r-7",
        traceparent: None,
        sent_at: None,
        received_at: Timestamp(0),
        clock_shift: 0,
        receipt: None,
        groups,
    };
    encode(&frame).unwrap()
}

/// Letters 1, 2, .. as a worker writes them.
async fn letters(deployment: &Deployment, letters: &[(&str, i64, &str, &[u8])]) {
    for (tenant, experiment, reason, payload) in letters {
        let hex: String = payload.iter().map(|b| format!("{b:02x}")).collect();
        let statement = format!(
            "INSERT INTO dead_letters
                 (tenant, experiment, partition, entry, batch, request_id, reason, detail, events, payload, created_at)
             VALUES ('{tenant}', {experiment}, 0, '17-3', '{}', 'r-7', '{reason}', E'why\\n', 1, '\\x{hex}',
                 '2026-11-20T10:00:00Z')",
            BATCH.0
        );
        testkit::postgres().await.execute(&deployment.database, &statement).await.unwrap();
    }
}

async fn unkeep(deployment: &Deployment, id: i64) {
    let statement = format!("UPDATE dead_letters SET digest = sha256('x'), payload = '' WHERE id = {id}");
    testkit::postgres().await.execute(&deployment.database, &statement).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_and_shown() {
    let deployment = Deployment::start().await;
    let run = |arguments: &[&str]| deployment.abctl(&[&["dead-letters"], arguments].concat());
    assert_eq!(run(&["list"]).ok(), "no dead letters\n");
    assert_eq!(run(&["list", "--json"]).ok(), "{\"items\":[],\"next_cursor\":null}\n");
    let (one, many) = (purchases(1), purchases(30));
    letters(
        &deployment,
        &[
            ("default", 5, "refused", &one),
            ("default", 0, "unknown_variation", &many),
            ("", 0, "undecodable_frame", b"garbage"),
            ("other", 5, "refused", &one),
            ("default", 5, "refused", b""),
        ],
    )
    .await;
    unkeep(&deployment, 5).await;
    let heads = "      id  since                 reason               experiment  events  payload  detail\n";
    let first =
        "       1  2026-11-20 10:00 UTC  refused                       5       1  kept     why\u{fffd}\n";
    let second =
        "       2  2026-11-20 10:00 UTC  unknown_variation             -       1  kept     why\u{fffd}\n";
    let third =
        "       3  2026-11-20 10:00 UTC  undecodable_frame             -       1  kept     why\u{fffd}\n";
    let fifth =
        "       5  2026-11-20 10:00 UTC  refused                       5       1  no       why\u{fffd}\n";
    assert_eq!(run(&["list"]).ok(), [heads, first, second, fifth].concat());
    assert_eq!(run(&["list", "--reason", "unknown_variation"]).ok(), [heads, second].concat());
    assert_eq!(run(&["list", "--experiment", "5"]).ok(), [heads, first, fifth].concat());
    assert_eq!(run(&["list", "--unknown-tenant"]).ok(), [heads, third].concat());
    let listed: Value = serde_json::from_str(&run(&["list", "--json"]).ok()).unwrap();
    let ids: Vec<i64> =
        listed["items"].as_array().unwrap().iter().map(|l| l["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 5]);

    let batch = "00000000-0000-0000-0000-000000000007";
    let origin = |experiment: &str| {
        format!(
            "since        2026-11-20 10:00 UTC\nevents       1\n{experiment}batch        {batch}\nrequest      r-7\n\
             queue entry  17-3\n"
        )
    };
    assert_eq!(
        run(&["show", "1"]).ok(),
        format!(
            "dead letter 1  refused\nwhy\u{fffd}\n\n{}\npayload of {} bytes, can be redriven\n\
             type        user  experiment  metric    value  occurred              key\n\
             conversion  u0             5  purchase   19.9  2020-09-13T12:26:40Z  order-17\n",
            origin("experiment   5\n"),
            one.len(),
        )
    );
    let out = run(&["show", "2"]).ok();
    assert!(out.ends_with("order-17\n.. and 10 more\n") && out.lines().count() == 32, "{out}");
    assert_eq!(
        run(&["show", "3"]).ok(),
        format!(
            "dead letter 3  undecodable_frame\nwhy\u{fffd}\n\n{}\npayload of 7 bytes, cannot be redriven by this \
             release\n",
            origin("")
        )
    );
    let digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let out = run(&["show", "5"]).ok();
    assert!(out.ends_with(&format!("17-3\npayload not kept, its SHA-256 is {digest}\n")), "{out}");
    let shown: Value = serde_json::from_str(&run(&["--json", "show", "1"]).ok()).unwrap();
    assert_eq!(shown["payload"]["frames"][0]["events"][0]["user_id"], "u0");
    let unknown = run(&["show", "4"]).failed(1);
    let wanted = "abctl: there is no such dead letter; `abctl dead-letters list` shows what there is (404 ";
    assert!(unknown.starts_with(wanted), "{unknown}");
    let env = [("AB_URL", deployment.url.as_str()), ("AB_API_TOKEN", API_TOKEN)];
    let refused = abctl(&["dead-letters", "list", "--reason", "x"], &env, None).failed(1);
    assert!(refused.contains("AB_API_TOKEN is not enough for this, set AB_ADMIN_TOKEN"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_redriven_and_dropped_by_id() {
    let deployment = Deployment::start().await;
    let run = |arguments: &[&str]| deployment.abctl(&[&["dead-letters"], arguments].concat());
    let one = purchases(1);
    let refused: (&str, i64, &str, &[u8]) = ("default", 5, "refused", &one);
    letters(&deployment, &[refused, refused, refused, ("", 0, "undecodable_frame", b"garbage"), refused])
        .await;
    unkeep(&deployment, 3).await;
    assert_eq!(run(&["redrive", "1"]).ok(), "outcome   letters\nredriven        1\n");
    let mixed = run(&["redrive", "1", "2", "3", "4"]);
    assert_eq!((mixed.code, mixed.error.as_str()), (1, ""));
    assert_eq!(
        mixed.out,
        "outcome     letters  ids\nno_payload        1  3\nnot_found         1  1\nredriven          1\n\
         unreadable        1  4\n"
    );
    assert_eq!(run(&["drop", "3", "--json"]).ok(), "{\"items\":[{\"id\":3,\"outcome\":\"dropped\"}]}\n");
    let gone = run(&["drop", "3", "5"]);
    assert_eq!(gone.code, 1);
    assert_eq!(gone.out, "outcome    letters  ids\ndropped          1\nnot_found        1  3\n");
    assert_eq!(run(&["list"]).ok(), "no dead letters\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_filter_are_taken_in_slices_when_somebody_said_yes() {
    let deployment = Deployment::start().await;
    let run = |arguments: &[&str]| deployment.abctl(&[&["dead-letters"], arguments].concat());
    let one = purchases(1);
    // More than two requests' worth.
    let many: Vec<(&str, i64, &str, &[u8])> =
        (0..450).map(|n| ("default", n % 2, "refused", one.as_slice())).collect();
    letters(&deployment, &many).await;
    let line = run(&["redrive", "--all"]).failed(2);
    assert_eq!(line, "abctl: --all: there is nobody to ask whether to redrive all: say --yes");
    assert_eq!(run(&["drop", "--all", "--reason", "other", "--yes"]).ok(), "no dead letters\n");
    assert_eq!(
        run(&["redrive", "--all", "--experiment", "1", "--yes"]).ok(),
        "outcome   letters\nredriven      225\n"
    );
    let out = run(&["drop", "--all", "--reason", "refused", "--yes", "--json"]).ok();
    let outcomes: Value = serde_json::from_str(&out).unwrap();
    let items = outcomes["items"].as_array().unwrap();
    assert_eq!(items.len(), 225);
    assert!(items.iter().all(|item| item["outcome"] == "dropped"));
    assert_eq!(run(&["redrive", "--all", "--yes"]).ok(), "no dead letters\n");
    assert_eq!(run(&["drop", "--all", "--yes", "--json"]).ok(), format!("{}\n", json!({"items": []})));
}

#[test]
fn which_letters_must_be_said() {
    let env = [("AB_ADMIN_TOKEN", ADMIN_TOKEN)];
    for arguments in [
        ["redrive"].as_slice(),
        &["drop", "--yes"],
        &["drop", "1", "--all"],
        &["drop", "one"],
        &["redrive", "1", "--reason", "refused"],
        &["show"],
    ] {
        let ran = abctl(&[&["dead-letters"], arguments].concat(), &env, None);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}: {}", ran.error);
    }
}
