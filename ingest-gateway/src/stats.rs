//! This tier's metrics: names in one place, children resolved once.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Error, IntCounter, IntGauge};
use queue::catalogue::Copies;
use queue::producer::{Backlog, Counters};
use service::metrics::{ByName, Metrics};

use crate::body::Fault;
use crate::codes::Code;

pub struct Stats {
    pub exposures: IntCounter,
    pub conversions: IntCounter,
    pub pre_period: IntCounter,
    pub strata: IntCounter,
    pub exclusions: IntCounter,
    pub keyless: IntCounter,
    pub rounded: IntCounter,
    pub clock_corrected: IntCounter,
    /// Events accepted, by tenant.
    pub tenants: ByName,
    /// Requests that their tenant's limits refused, by tenant.
    pub limited: ByName,
    rejected: Vec<IntCounter>,
    copies: IntGauge,
    misses: IntCounter,
    backlog: IntGauge,
    memory_percent: IntGauge,
    reachable: IntGauge,
    pub weaknesses: IntGauge,
    /// One for each of [`Counters`], in the order of [`read`].
    writer: [IntCounter; 6],
}

impl Stats {
    pub fn new(metrics: &Metrics) -> Result<Stats, Error> {
        let accepted = metrics.counter_vec("abstream_ingest_events_total", "Events accepted", &["kind"])?;
        let rejected = metrics.counter_vec(
            "abstream_ingest_rejected_total",
            "Items refused, and requests refused as a whole, by error_code",
            &["error_code"],
        )?;
        let counter = |name: &str, help: &str| metrics.counter(name, help);
        let gauge = |name: &str, help: &str| metrics.gauge(name, help);
        Ok(Stats {
            exposures: accepted.with_label_values(&["exposure"]),
            conversions: accepted.with_label_values(&["conversion"]),
            pre_period: accepted.with_label_values(&["pre_period"]),
            strata: accepted.with_label_values(&["stratum"]),
            exclusions: accepted.with_label_values(&["exclusion"]),
            keyless: counter("abstream_ingest_keyless_total", "Conversions accepted without a key")?,
            rounded: counter(
                "abstream_ingest_values_rounded_total",
                "Values accepted that had more than six decimals",
            )?,
            clock_corrected: counter(
                "abstream_ingest_clock_corrected_total",
                "Events accepted whose occurred_at was shifted because the client's clock was off",
            )?,
            tenants: metrics.counter_by_name(
                "abstream_ingest_tenant_events_total",
                "Events accepted, by tenant: the first 100 to send any by name, the others as other",
                "tenant",
            )?,
            limited: metrics.counter_by_name(
                "abstream_ingest_tenant_limited_total",
                "Requests refused because their tenant sends more than it may, by tenant in the same way",
                "tenant",
            )?,
            copies: gauge(
                "abstream_catalogue_copies",
                "Answers of the catalogue kept in memory, AB_MAX_LOADED at most",
            )?,
            misses: counter(
                "abstream_catalogue_misses_total",
                "Questions about experiments that Redis was asked, as no copy answered them",
            )?,
            rejected: Code::ALL.iter().map(|code| rejected.with_label_values(&[code.as_str()])).collect(),
            backlog: gauge(
                "abstream_queue_backlog_events",
                "Events written to the queue and not yet applied",
            )?,
            memory_percent: gauge(
                "abstream_queue_memory_percent",
                "Share of the queue's memory limit in use",
            )?,
            reachable: gauge("abstream_queue_reachable", "1 while the queue answers this gateway")?,
            weaknesses: gauge(
                "abstream_queue_weak_settings",
                "Settings of the queue under which acknowledged events can be lost",
            )?,
            writer: [
                counter("abstream_queue_entries_total", "Stream entries acknowledged")?,
                counter("abstream_queue_events_total", "Events in acknowledged entries")?,
                counter("abstream_queue_bytes_total", "Bytes of frames in acknowledged entries")?,
                counter("abstream_queue_resends_total", "Entries sent again after an unknown outcome")?,
                counter("abstream_queue_refusals_total", "Entries the queue refused")?,
                counter("abstream_queue_unreachable_total", "Attempts that found no connection")?,
            ],
        })
    }

    pub fn rejected(&self, code: Code) {
        if let Some(counter) = self.rejected.get(code as usize) {
            counter.inc();
        }
    }

    pub fn rejected_items(&self, faults: &[(u32, Fault)]) {
        faults.iter().for_each(|(_, fault)| self.rejected(fault.code));
    }

    /// Copies what the queue counts on its own.
    pub fn observe(&self, backlog: Backlog, counters: &Counters, copies: Copies) {
        self.copies.set(i64::try_from(copies.kept).unwrap_or(i64::MAX));
        self.misses.inc_by(copies.misses.saturating_sub(self.misses.get()));
        self.backlog.set(i64::try_from(backlog.events).unwrap_or(i64::MAX));
        #[allow(clippy::cast_possible_truncation)] // a share of some hundred percent at most
        self.memory_percent.set((backlog.memory_fraction * 100.0).round() as i64);
        self.reachable.set(i64::from(backlog.reachable));
        for (counter, total) in self.writer.iter().zip(read(counters)) {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}

fn read(counters: &Counters) -> [u64; 6] {
    let Counters { entries, events, bytes, resends, refusals, unreachable } = counters;
    [entries, events, bytes, resends, refusals, unreachable]
        .map(|total: &AtomicU64| total.load(Ordering::Relaxed))
}
