//! The worker's metrics.

use crate::apply::Applied;
use crate::behind::Behind;
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use service::metrics::Metrics;
use std::time::Duration;
use store::PurgeCounts;
use store::apply::PurgeRow;

/// Why a transaction is given up; shown from the start, so that a first failure is an increase.
const CAUSES: [&str; 5] = ["moved", "silent", "transient", "data", "fatal"];

pub struct WorkerMetrics {
    recorded: IntCounter,
    deduplicated: IntCounter,
    dead_lettered: IntCounter,
    dead_by_reason: IntCounterVec,
    without_payload: IntCounter,
    discarded: IntCounter,
    discarded_by_reason: IntCounterVec,
    lost: IntCounter,
    resent: IntCounter,
    anchors_lost: IntCounter,
    purged: [IntCounter; 3],
    failures: IntCounterVec,
    seconds: Histogram,
    chunk: Histogram,
    cached_units: IntGaugeVec,
    partitions: IntGaugeVec,
    bytes: IntCounter,
    backlog_events: IntGauge,
    backlog_bytes: IntGauge,
    oldest_unapplied: IntGauge,
    kept: IntGauge,
}

impl WorkerMetrics {
    pub fn new(m: &Metrics) -> Result<WorkerMetrics, prometheus::Error> {
        let events =
            m.counter_vec("abstream_applied_events_total", "Events applied, by their fate.", &["fate"])?;
        let fate = |name: &str| events.with_label_values(&[name]);
        let dead_by_reason = m.counter_vec(
            "abstream_dead_lettered_events_total",
            "Events that could not be applied and were dead-lettered, by reason.",
            &["reason"],
        )?;
        let without_payload = m.counter(
            "abstream_dead_letters_without_payload_total",
            "Dead letters kept without their payload, past the bound of their tenant.",
        )?;
        let discarded_by_reason = m.counter_vec(
            "abstream_discarded_events_total",
            "Events counted and not kept, by reason.",
            &["reason"],
        )?;
        let failures = m.counter_vec(
            "abstream_apply_failures_total",
            "Transactions given up and tried again.",
            &["cause"],
        )?;
        for cause in CAUSES {
            failures.with_label_values(&[cause]);
        }
        let purged =
            m.counter_vec("abstream_purged_rows_total", "Rows deleted because they are too old.", &["kind"])?;
        let seconds = vec![0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
        let sizes = vec![1.0, 10.0, 100.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0];
        Ok(WorkerMetrics {
            recorded: fate("recorded"),
            deduplicated: fate("deduplicated"),
            dead_lettered: fate("dead_lettered"),
            dead_by_reason,
            without_payload,
            discarded: fate("discarded"),
            discarded_by_reason,
            lost: fate("lost"),
            resent: m.counter("abstream_resent_entries_total", "Entries written twice and skipped.")?,
            anchors_lost: m
                .counter("abstream_streams_replaced_total", "Times a stream was found replaced.")?,
            purged: ["conversions", "dead_letters", "audit"].map(|kind| purged.with_label_values(&[kind])),
            failures,
            seconds: m.histogram("abstream_apply_seconds", "Duration of an apply transaction.", seconds)?,
            chunk: m.histogram("abstream_apply_events", "Events per apply transaction.", sizes)?,
            cached_units: m.gauge_vec(
                "abstream_cached_units",
                "Units in the caches of a lane.",
                &["lane"],
            )?,
            partitions: m.gauge_vec("abstream_partitions_held", "Partitions held by a lane.", &["lane"])?,
            bytes: m.counter("abstream_applied_bytes_total", "Bytes of frames in the entries applied.")?,
            backlog_events: m.gauge(
                "abstream_backlog_events",
                "Events written to the partitions held and not yet applied.",
            )?,
            backlog_bytes: m.gauge(
                "abstream_backlog_bytes",
                "Bytes of these events, taking them for as large as those applied so far.",
            )?,
            oldest_unapplied: m.gauge(
                "abstream_oldest_unapplied_seconds",
                "Age of the oldest entry of the partitions held that is not applied.",
            )?,
            kept: m.gauge(
                "abstream_kept_seconds",
                "How far back the stream of a partition held reaches, of the one that reaches least.",
            )?,
        })
    }

    /// `bytes`: of the entries' frames.
    pub fn applied(&self, a: &Applied, bytes: u64, took: Duration) {
        self.bytes.inc_by(bytes);
        self.recorded.inc_by(a.totals.recorded);
        self.deduplicated.inc_by(a.totals.deduplicated);
        self.dead_lettered.inc_by(a.totals.dead_lettered);
        for (reason, events) in &a.letters.events {
            self.dead_by_reason.with_label_values(&[reason]).inc_by(*events);
        }
        self.without_payload.inc_by(a.letters.without_payload);
        self.discarded.inc_by(a.totals.discarded);
        for (reason, events) in &a.discards {
            self.discarded_by_reason.with_label_values(&[reason]).inc_by(*events);
        }
        self.lost.inc_by(a.lost);
        self.resent.inc_by(a.resent);
        self.seconds.observe(took.as_secs_f64());
        #[allow(clippy::cast_precision_loss)] // a chunk has far fewer than 2^52 events
        self.chunk.observe(a.events as f64);
    }

    pub fn failed(&self, cause: &str) {
        self.failures.with_label_values(&[cause]).inc();
    }

    pub fn purged(&self, of: &PurgeRow, counts: &PurgeCounts) {
        if !of.dry_run {
            let [conversions, dead_letters, audit] = &self.purged;
            conversions.inc_by(counts.conversions);
            dead_letters.inc_by(counts.dead_letters);
            audit.inc_by(counts.audit);
        }
    }

    pub fn anchor_lost(&self) {
        self.anchors_lost.inc();
    }

    pub fn behind(&self, behind: &Behind) {
        let seconds = |age: Duration| i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.backlog_events.set(i64::try_from(behind.events).unwrap_or(i64::MAX));
        self.backlog_bytes.set(i64::try_from(self.bytes_of(behind.events)).unwrap_or(i64::MAX));
        self.oldest_unapplied.set(seconds(behind.waiting));
        self.kept.set(seconds(behind.kept));
    }

    fn bytes_of(&self, events: u64) -> u64 {
        let fates = [&self.recorded, &self.deduplicated, &self.dead_lettered, &self.discarded];
        let applied: u64 = fates.iter().map(|fate| fate.get()).sum();
        let bytes = u128::from(events) * u128::from(self.bytes.get()) / u128::from(applied.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// What a lane holds.
    pub fn held(&self, lane: u16, units: impl Iterator<Item = usize>) {
        let (mut partitions, mut cached) = (0, 0);
        for n in units {
            partitions += 1;
            cached += i64::try_from(n).unwrap_or(i64::MAX);
        }
        let lane = lane.to_string();
        self.partitions.with_label_values(&[&lane]).set(partitions);
        self.cached_units.with_label_values(&[&lane]).set(cached);
    }
}
