//! However many tenants, experiments, users and paths there are, `/metrics` stays as long as it is, and adds up.

use serde_json::json;
use service::metrics::NAMED;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use testkit::http::Client;

use crate::rig::Rig;

const TENANTS: usize = NAMED + 20;
const EVENTS: &str = "abstream_ingest_tenant_events_total{tenant=\"";
const LIMITED: &str = "abstream_ingest_tenant_limited_total{tenant=\"";

async fn page(rig: &Rig) -> String {
    Client::at(rig.internal).get("/metrics").await.unwrap().text()
}

/// The children of a counter by tenant, without those at zero.
fn by_tenant(page: &str, metric: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(metric)?.split_once("\"} "));
    let counts = lines.map(|(tenant, count)| (tenant.to_owned(), count.parse().unwrap()));
    counts.filter(|(_, count)| *count > 0.0).collect()
}

/// Every series, its value left out.
fn series(page: &str) -> BTreeSet<&str> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0)).collect()
}

/// What a tenant sends before its limit of one a second stops it for minutes.
const AT_ONCE: usize = 300;

struct Tenants {
    rig: Rig,
    /// Events accepted and requests limited, by tenant.
    taken: Vec<(f64, f64)>,
}

impl Tenants {
    async fn send(&self, tenant: usize, events: usize) -> u16 {
        let metric = format!("m-{tenant}");
        let one =
            |n| json!({"user_id": format!("u-{n}"), "metric": metric, "idempotency_key": format!("{n}")});
        let body = json!({"conversions": (0..events).map(one).collect::<Vec<_>>()});
        let client = Client::at(self.rig.addr).bearer(&format!("key-{tenant}"));
        client.post_json("/api/v1/conversions", &body).await.unwrap().status
    }

    /// Until it is limited once. A Redis that is slow to answer limits nobody.
    async fn exhaust(&mut self, tenant: usize) {
        let mut events = AT_ONCE + tenant;
        let mut accepted = 0;
        while self.send(tenant, events).await == 202 {
            (accepted, events) = (accepted + events, 1);
        }
        self.taken.push((accepted as f64, 1.0));
    }

    /// Names that nobody knows.
    async fn odd(&self, n: usize) -> [u16; 3] {
        let client = Client::at(self.rig.addr).bearer("key-0");
        let path = format!("/api/v1/experiments/nothing-{n}/exposures");
        let exposure = json!({"exposures": [{"user_id": format!("u-{n}"), "variation_index": 0}]});
        let unknown = client.post_json(&path, &exposure).await.unwrap();
        let nowhere = client.get(&format!("/nowhere/{n}")).await.unwrap();
        let nobody = Client::at(self.rig.addr).bearer(&format!("nobody-{n}"));
        [unknown.status, nowhere.status, nobody.post_json("/api/v1/events", &exposure).await.unwrap().status]
    }

    fn sum(&self, tenants: Range<usize>) -> (f64, f64) {
        self.taken[tenants].iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

#[tokio::test]
async fn beyond_a_hundred_tenants_are_other_and_nothing_else_has_a_name() {
    let keys: Vec<String> = (0..TENANTS).map(|n| format!("key-{n}:tenant-{n}:ingest")).collect();
    let keys = keys.join(";");
    let rig = Rig::start_with(&[("AB_API_KEYS", keys.as_str()), ("AB_RATE_LIMIT_EVENTS", "1")]).await;
    let mut tenants = Tenants { rig, taken: Vec::new() };
    tenants.exhaust(0).await;
    assert_eq!(tenants.odd(0).await, [404, 404, 401]);
    // The first look is itself counted, under a name of its own.
    page(&tenants.rig).await;
    let before = page(&tenants.rig).await;

    for tenant in 1..TENANTS {
        tenants.exhaust(tenant).await;
    }
    // Fewer keys than make an address suspicious.
    for n in 1..15 {
        assert_eq!(tenants.odd(n).await, [404, 404, 401]);
    }

    let after = page(&tenants.rig).await;
    let (events, limited) = (by_tenant(&after, EVENTS), by_tenant(&after, LIMITED));
    for counts in [&events, &limited] {
        let named = (0..NAMED).map(|n| format!("tenant-{n}")).chain(["other".to_owned()]);
        assert_eq!(counts.keys().cloned().collect::<BTreeSet<_>>(), named.collect());
    }
    assert_eq!((events["tenant-7"], limited["tenant-7"]), tenants.taken[7]);
    assert_eq!((events["other"], limited["other"]), tenants.sum(NAMED..TENANTS));
    assert_eq!((events.values().sum(), limited.values().sum()), tenants.sum(0..TENANTS));
    let counted = (
        tenants.rig.metric("abstream_ingest_events_total{kind=\"conversion\"}").await,
        tenants.rig.metric("abstream_ingest_rejected_total{error_code=\"rate_limited\"}").await,
    );
    assert_eq!(counted, tenants.sum(0..TENANTS));

    let known = series(&before);
    let (of_tenants, others): (Vec<&str>, Vec<&str>) = series(&after)
        .difference(&known)
        .partition(|line| line.starts_with(EVENTS) || line.starts_with(LIMITED));
    assert_eq!(of_tenants.len(), 2 * (NAMED - 1));
    assert_eq!(others, Vec::<&str>::new(), "series that were not there before");
    tenants.rig.end().await.unwrap();
}
