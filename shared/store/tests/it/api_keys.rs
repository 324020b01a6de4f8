//! Keys that admins issue, and the audit log that every change of theirs, and of anything else, is written to.

use std::slice::from_ref;

use crate::db::{ACTOR, Db, TENANT};
use store::{Actor, ApiKey, Deed, KEYS_MAX, NewKey, REVOKED_KEPT};

on_both!(
    a_key_is_created_listed_and_revoked_once,
    another_tenants_key_is_as_unknown_as_none,
    two_keys_never_have_the_same_digest,
    keys_are_bounded_and_so_is_what_is_kept_of_revoked_ones,
    the_audit_log_is_read_by_tenant_page_and_action,
);

fn new(n: u8, name: &str) -> NewKey<'_> {
    NewKey { digest: [n; 32], name, scopes: "events,read", last_digits: "wxyz" }
}

async fn create(db: &Db, tenant: &str, key: NewKey<'_>) -> ApiKey {
    db.create_key(tenant, key, ACTOR).await.unwrap().unwrap()
}

async fn told(db: &Db, tenant: &str) -> Vec<(String, String)> {
    let entries = db.audit_log(tenant, "", None, 100).await.unwrap();
    entries.into_iter().map(|entry| (entry.action, entry.subject)).collect()
}

async fn a_key_is_created_listed_and_revoked_once(db: Db) {
    let page = create(&db, TENANT, new(1, "web page")).await;
    let job = create(&db, TENANT, new(2, "nightly job")).await;
    assert_eq!((page.digest, page.name.as_str(), page.scopes.as_str()), ([1; 32], "web page", "events,read"));
    assert_eq!((page.tenant.as_str(), page.last_digits.as_str(), page.revoked_at), (TENANT, "wxyz", None));
    assert!(page.created_at.0 > 1_577_836_800_000_000, "after 2020");
    assert_eq!(db.keys(TENANT, None, 10).await.unwrap(), [job.clone(), page.clone()]);
    assert_eq!(db.keys(TENANT, None, 1).await.unwrap(), from_ref(&job));
    assert_eq!(db.keys(TENANT, Some(job.id), 10).await.unwrap(), from_ref(&page));

    let revoker = Actor { name: "someone", request_id: "r-9" };
    let revoked = db.revoke_key(TENANT, page.id, revoker).await.unwrap().unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(db.revoke_key(TENANT, page.id, ACTOR).await.unwrap(), Some(revoked.clone()), "stays as it is");
    assert_eq!(db.keys_in_force().await.unwrap(), from_ref(&job));
    assert_eq!(db.keys(TENANT, None, 10).await.unwrap(), [job.clone(), revoked]);

    let log = db.audit_log(TENANT, "key.", None, 10).await.unwrap();
    let [last, _, first] = log.as_slice() else { panic!("{log:?}") };
    assert_eq!(
        (last.action.as_str(), last.actor.as_str(), last.request_id.as_str()),
        ("key.revoke", "someone", "r-9")
    );
    assert_eq!((first.action.as_str(), &first.subject), ("key.create", &page.id.to_string()));
    let detail: serde_json::Value = serde_json::from_str(&first.detail).unwrap();
    let wanted = serde_json::json!({ "name": "web page", "scopes": "events,read", "last_digits": "wxyz" });
    assert_eq!(detail, wanted);
}

async fn another_tenants_key_is_as_unknown_as_none(db: Db) {
    let key = create(&db, TENANT, new(1, "ours")).await;
    for (tenant, id) in [("other", key.id), (TENANT, key.id + 1), (TENANT, -1), ("", key.id)] {
        assert_eq!(db.revoke_key(tenant, id, ACTOR).await.unwrap(), None, "{tenant:?} {id}");
    }
    assert_eq!(db.keys("other", None, 10).await.unwrap(), []);
    assert_eq!(told(&db, "other").await, []);
    assert_eq!(db.keys_in_force().await.unwrap(), [key]);
}

async fn two_keys_never_have_the_same_digest(db: Db) {
    create(&db, TENANT, new(1, "ours")).await;
    assert!(db.create_key("other", new(1, "theirs"), ACTOR).await.is_err());
    assert_eq!(told(&db, "other").await, []);
}

async fn keys_are_bounded_and_so_is_what_is_kept_of_revoked_ones(db: Db) {
    let first = create(&db, TENANT, new(1, "first")).await;
    let fill = |count: u32, revoked: &str| {
        // `substr` of a number's text, repeated, is a digest nobody else has.
        let postgres = format!(
            "INSERT INTO api_keys (tenant, digest, name, scopes, last_digits, revoked_at)
             SELECT '{TENANT}', decode(lpad(n::text || '{}', 64, '0'), 'hex'), 'n', 'events', '', {revoked}
             FROM generate_series(1, {count}) AS n",
            if revoked == "NULL" { "a" } else { "b" }
        );
        let sqlite = format!(
            "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})
             INSERT INTO api_keys (tenant, digest, name, scopes, last_digits, revoked_at)
             SELECT '{TENANT}', CAST(printf('%031d%s', n, '{}') AS BLOB), 'n', 'events', '', {} FROM s",
            if revoked == "NULL" { "a" } else { "b" },
            if revoked == "NULL" { "NULL" } else { "1" }
        );
        match db.backend {
            crate::db::Backend::Postgres => postgres,
            crate::db::Backend::Sqlite => sqlite,
        }
    };
    db.execute(&fill(KEYS_MAX - 1, "NULL")).await;
    assert_eq!(db.create_key(TENANT, new(2, "one too many"), ACTOR).await.unwrap(), None);
    assert!(db.create_key("other", new(3, "not theirs"), ACTOR).await.unwrap().is_some());

    db.revoke_key(TENANT, first.id, ACTOR).await.unwrap().unwrap();
    db.execute(&fill(REVOKED_KEPT, "now()")).await;
    let last = create(&db, TENANT, new(2, "room again")).await;
    let count = |what: &str| {
        format!("SELECT CAST(count(*) AS text) FROM api_keys WHERE tenant = '{TENANT}' AND {what}")
    };
    assert_eq!(db.texts(&count("revoked_at IS NOT NULL")).await, [REVOKED_KEPT.to_string()]);
    assert_eq!(db.texts(&count("revoked_at IS NULL")).await, [KEYS_MAX.to_string()]);
    assert_eq!(
        db.texts(&count(&format!("id IN ({}, {})", first.id, last.id))).await,
        ["1"],
        "the oldest went"
    );
}

async fn the_audit_log_is_read_by_tenant_page_and_action(db: Db) {
    for n in 0..5 {
        let deed = Deed { action: "webhook.create", subject: &n.to_string(), detail: "über" };
        db.audit(TENANT, deed, Actor { name: "robot", request_id: "r-2" }).await.unwrap();
        db.audit("other", Deed { action: "webhook.drop", subject: "x", detail: "" }, ACTOR).await.unwrap();
    }
    create(&db, TENANT, new(1, "a key")).await;
    let log = db.audit_log(TENANT, "", None, 3).await.unwrap();
    let subjects: Vec<&str> = log[1..].iter().map(|entry| entry.subject.as_str()).collect();
    assert_eq!((log[0].action.as_str(), subjects), ("key.create", vec!["4", "3"]));
    assert_eq!(
        (log[1].detail.as_str(), log[1].actor.as_str(), log[1].request_id.as_str()),
        ("über", "robot", "r-2")
    );
    let rest = db.audit_log(TENANT, "", Some(log[2].id), 100).await.unwrap();
    assert_eq!(rest.iter().map(|entry| entry.subject.as_str()).collect::<Vec<_>>(), ["2", "1", "0"]);
    assert_eq!(db.audit_log(TENANT, "webhook.", None, 100).await.unwrap().len(), 5);
    assert_eq!(db.audit_log(TENANT, "web%", None, 100).await.unwrap(), [], "not a pattern");
    assert_eq!(db.audit_log("nobody", "", None, 100).await.unwrap(), []);
}
