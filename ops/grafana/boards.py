"""The boards, as short as they can be said; `sh ops/checks/run.sh bless` writes them to boards/ as Grafana reads them."""

INGEST = 'job="ingest-gateway",route!~"health|preflight|unmatched"'
READS = 'job="analyzer",route!~"health|preflight|unmatched"'


def quantiles(of, where, by=""):
    labels = f"le, {by}" if by else "le"
    bucket = f"sum by ({labels}) (rate({of}_bucket{{{where}}}[$__rate_interval]))"
    return [(f"histogram_quantile({q}, {bucket})", f"p{round(q * 100)}" + (f" {{{{{by}}}}}" if by else "")) for q in (0.5, 0.99)]


# Board -> title, panels; panel: title, unit, what to make of it, [(expression, legend)].
BOARDS = {
    "flow": ("abstream: flow of events", [
        ("Accepted", "eps", "Events that were answered 2xx.", [("abstream:accepted_events:rate5m", "{{kind}}")]),
        ("Applied", "eps", "What became of them. Lost must stay at 0.", [("abstream:applied_events:rate5m", "{{fate}}")]),
        ("Backlog", "short", "Accepted and not yet applied; past AB_QUEUE_MAX_EVENTS gateways answer 503.", [("abstream:backlog_events", "events")]),
        ("Oldest event not yet applied", "s", "How far behind the results are.", [("abstream:oldest_unapplied_seconds", "age")]),
        ("Books", "short", "Accepted = recorded + deduplicated + dead-lettered + discarded + in flight + lost, since the beginning.", [("max by (line) (abstream_books_events)", "{{line}}")]),
        ("Gap in the books", "short", "Accepted events in no line: must be 0.", [("abstream:books_gap_events", "gap")]),
        ("Requests that failed", "percentunit", "Of those with events: the budget is 0.1%.", [("abstream:accept_errors:ratio5m", "5 min"), ("abstream:accept_errors:ratio1h", "1 h")]),
        ("Time to accept", "s", "From request head to answer; with `Prefer: wait` the commit is waited for.", [("abstream:accept_seconds:p99", "p99")]),
        ("Partitions without an owner", "short", "Nobody applies their events.", [("abstream:partitions_unowned", "partitions")]),
    ]),
    "gateway": ("abstream: ingest-gateway", [
        ("Requests", "reqps", "By answer.", [(f"sum by (status) (rate(abstream_http_requests_total{{{INGEST}}}[$__rate_interval]))", "{{status}}")]),
        ("Requests by route", "reqps", "", [(f"sum by (route) (rate(abstream_http_request_seconds_count{{{INGEST}}}[$__rate_interval]))", "{{route}}")]),
        ("Time to answer", "s", "", quantiles("abstream_http_request_seconds", INGEST)),
        ("Refused items", "cps", "By error_code: a new release of a client, or somebody probing.", [("sum by (error_code) (rate(abstream_ingest_rejected_total[$__rate_interval])) > 0 or sum(rate(abstream_ingest_rejected_total[$__rate_interval]))", "{{error_code}}")]),
        ("Accepted by tenant", "eps", "Those that send most; `other` are those beyond the first 100 of a gateway.", [("topk(10, sum by (tenant) (rate(abstream_ingest_tenant_events_total[$__rate_interval])))", "{{tenant}}")]),
        ("Limited by tenant", "reqps", "Requests answered 429, as their tenant sends more than it may.", [("topk(10, sum by (tenant) (rate(abstream_ingest_tenant_limited_total[$__rate_interval])) > 0) or vector(0)", "{{tenant}}")]),
        ("Experiments in memory", "short", "Of each gateway, AB_MAX_LOADED at most, names of none included.", [("max by (instance) (abstream_catalogue_copies)", "{{instance}}")]),
        ("Experiments asked of Redis", "cps", "A question that no copy answered: somebody sends names of none, or AB_MAX_LOADED is too small.", [("sum by (instance) (rate(abstream_catalogue_misses_total[$__rate_interval]))", "{{instance}}")]),
        ("Events of clients to look at", "eps", "Without a key a client's retry counts twice; clocks that are off; values with more than six decimals.", [("sum(rate(abstream_ingest_keyless_total[$__rate_interval]))", "without a key"), ("sum(rate(abstream_ingest_clock_corrected_total[$__rate_interval]))", "clock corrected"), ("sum(rate(abstream_ingest_values_rounded_total[$__rate_interval]))", "value rounded")]),
        ("Entries written", "cps", "One entry is one fsync of Redis; many events in one are cheap.", [("sum by (instance) (rate(abstream_queue_entries_total[$__rate_interval]))", "{{instance}}")]),
        ("Events in an entry", "short", "Group commit: grows with the load.", [("sum(rate(abstream_queue_events_total[$__rate_interval])) / sum(rate(abstream_queue_entries_total[$__rate_interval]))", "events")]),
        ("Bytes written", "Bps", "", [("sum(rate(abstream_queue_bytes_total[$__rate_interval]))", "frames")]),
        ("Trouble with the queue", "cps", "", [("sum(rate(abstream_queue_resends_total[$__rate_interval]))", "sent again"), ("sum(rate(abstream_queue_refusals_total[$__rate_interval]))", "refused"), ("sum(rate(abstream_queue_unreachable_total[$__rate_interval]))", "unreachable")]),
        ("Memory of the queue", "percent", "Gateways answer 503 from 80% on.", [("max(abstream_queue_memory_percent)", "used")]),
        ("Queue in order", "short", "Reached by every gateway, and no setting under which acknowledged events can be lost.", [("sum(abstream_queue_reachable)", "gateways that reach it"), ("max(abstream_queue_weak_settings)", "weak settings")]),
        ("Connections", "short", "10,000 at most for each gateway.", [('sum by (instance) (abstream_http_connections{job="ingest-gateway"})', "{{instance}}"), ('sum(rate(abstream_http_connections_refused_total{job="ingest-gateway"}[$__rate_interval]))', "refused a second")]),
        ("Certificate", "s", "Time to its end; 0 where the public port is not encrypted.", [('clamp_min(min by (instance) (abstream_tls_certificate_not_after_seconds{job="ingest-gateway"}) - time(), 0)', "{{instance}}")]),
        ("Unknown keys", "reqps", "", [('sum(rate(abstream_http_unknown_keys_total{job="ingest-gateway"}[$__rate_interval]))', "requests")]),
        ("Issued keys", "short", "In force, as each tier knows them: the same everywhere within a second.", [("max(abstream_issued_keys)", "most"), ("min(abstream_issued_keys)", "fewest"), ("sum(rate(abstream_issued_keys_failures_total[$__rate_interval]))", "not read a second"), ("sum(rate(abstream_issued_keys_not_written_total[$__rate_interval]))", "not written a second")]),
    ]),
    "worker": ("abstream: ingest-worker", [
        ("Applied", "eps", "By what became of the event.", [("sum by (fate) (rate(abstream_applied_events_total[$__rate_interval]))", "{{fate}}")]),
        ("Applied by worker", "eps", "", [("sum by (instance) (rate(abstream_applied_events_total[$__rate_interval]))", "{{instance}}")]),
        ("Partitions held", "short", "Sums up to AB_PARTITIONS.", [("sum by (instance) (abstream_partitions_held)", "{{instance}}")]),
        ("Busy", "percentunit", "Share of their time that the lanes spend in transactions; from 90% on there is nothing left for a burst.", [("abstream:apply_busy:ratio5m", "{{instance}}")]),
        ("Transactions", "cps", "", [("sum by (instance) (rate(abstream_apply_seconds_count[$__rate_interval]))", "{{instance}}")]),
        ("Time of a transaction", "s", "", quantiles("abstream_apply_seconds", 'job="ingest-worker"')),
        ("Events in a transaction", "short", "Grows with the load, up to AB_APPLY_MAX_EVENTS.", quantiles("abstream_apply_events", 'job="ingest-worker"')),
        ("Given up and tried again", "cps", "By cause; `moved` is another worker, all else is the database.", [("sum by (cause) (rate(abstream_apply_failures_total[$__rate_interval])) or vector(0)", "{{cause}}")]),
        ("Dead letters", "eps", "By reason; past AB_DEAD_LETTER_MAX of a tenant without their payload.", [("sum by (reason) (rate(abstream_dead_lettered_events_total[$__rate_interval])) or vector(0)", "{{reason}}"), ("sum(rate(abstream_dead_letters_without_payload_total[$__rate_interval]))", "without payload")]),
        ("Discarded", "eps", "By reason.", [("sum by (reason) (rate(abstream_discarded_events_total[$__rate_interval])) or vector(0)", "{{reason}}")]),
        ("Backlog", "short", "Of the partitions held; counted beside the lanes, so a stuck one shows.", [("sum by (instance) (abstream_backlog_events)", "{{instance}}")]),
        ("Bytes of the backlog", "bytes", "Taking events for as large as those applied so far.", [("sum by (instance) (abstream_backlog_bytes)", "{{instance}}")]),
        ("Bytes applied", "Bps", "", [("sum(rate(abstream_applied_bytes_total[$__rate_interval]))", "frames")]),
        ("Oldest entry not applied", "s", "", [("max by (instance) (abstream_oldest_unapplied_seconds)", "{{instance}}")]),
        ("Streams reach back", "s", "Of all partitions held the one that reaches least: at least AB_QUEUE_KEEP once events are that old, less past 50% of the queue's memory.", [("min by (instance) (abstream_kept_seconds)", "{{instance}}")]),
        ("Users in the caches", "short", "", [("sum by (instance) (abstream_cached_units)", "{{instance}}")]),
        ("Out of the ordinary", "cps", "Entries written twice are skipped; a replaced stream is read from its beginning.", [("sum(rate(abstream_resent_entries_total[$__rate_interval]))", "written twice"), ("sum(rate(abstream_streams_replaced_total[$__rate_interval]))", "streams replaced")]),
        ("Rows purged", "cps", "Older than AB_RETENTION_* keeps them, or an operator's purge.", [("sum by (kind) (rate(abstream_purged_rows_total[$__rate_interval]))", "{{kind}}")]),
    ]),
    "analyzer": ("abstream: analyzer", [
        ("Requests", "reqps", "By answer.", [(f"sum by (status) (rate(abstream_http_requests_total{{{READS}}}[$__rate_interval]))", "{{status}}")]),
        ("Requests by route", "reqps", "", [(f"sum by (route) (rate(abstream_http_request_seconds_count{{{READS}}}[$__rate_interval]))", "{{route}}")]),
        ("Time to answer", "s", "", quantiles("abstream_http_request_seconds", READS)),
        ("Time to answer by route, p99", "s", "", quantiles("abstream_http_request_seconds", READS, "route")[1:]),
        ("Catalogue", "cps", "What gateways know of experiments: repaired, or not written.", [("sum(rate(abstream_catalogue_repairs_total[$__rate_interval]))", "repairs"), ("sum(rate(abstream_catalogue_failures_total[$__rate_interval]))", "failures")]),
        ("Connections", "short", "", [('sum by (instance) (abstream_http_connections{job="analyzer"})', "{{instance}}")]),
        ("Deliveries to webhooks", "cps", "Attempts by how they ended; a failed one is tried again.", [("sum by (outcome) (rate(abstream_webhook_deliveries_total[$__rate_interval]))", "{{outcome}}")]),
        ("Webhooks' outbox", "short", "Deliveries that wait, and the age of the oldest in seconds.", [("max(abstream_webhook_waiting)", "waiting"), ("max(abstream_webhook_oldest_waiting_seconds)", "oldest, s")]),
        ("Looks for what webhooks are told that failed", "cps", "The next look tells it.", [("sum(rate(abstream_webhook_look_failures_total[$__rate_interval]))", "failures")]),
        ("Looks at books and experiments that failed", "cps", "Their metrics keep the last values.", [("sum(rate(abstream_watch_failures_total[$__rate_interval]))", "failures")]),
    ]),
    "experiments": ("abstream: experiments", [
        ("Experiments", "short", "By status.", [("max by (status) (abstream_experiments)", "{{status}}")]),
        ("With a sample ratio mismatch", "short", "Running experiments whose arms have other shares of users than their weights say: do not read their effects.", [("max(abstream_experiments_sample_ratio_mismatch)", "experiments")]),
        ("Being rebuilt", "short", "After a change of metrics, caps or windows: the old sums are served until the new ones are complete.", [("max(abstream_experiments_rebuilding)", "experiments")]),
        ("Exposures and conversions accepted", "eps", "", [("sum by (kind) (rate(abstream_ingest_events_total[$__rate_interval]))", "{{kind}}")]),
        ("Seen before", "percentunit", "Share of the applied events that were there already: repeated exposures, retries.", [('sum(rate(abstream_applied_events_total{fate="deduplicated"}[$__rate_interval])) / sum(rate(abstream_applied_events_total[$__rate_interval]))', "deduplicated")]),
        ("Not counted", "eps", "Dead letters wait for somebody; discarded are events of deleted experiments.", [('sum by (fate) (rate(abstream_applied_events_total{fate=~"dead_lettered|discarded|lost"}[$__rate_interval]))', "{{fate}}")]),
        ("Since the beginning", "short", "", [("max by (line) (abstream_books_events)", "{{line}}")]),
    ]),
}


def board(name):
    title, panels = BOARDS[name]
    return {
        "uid": f"abstream-{name}",
        "title": title,
        "tags": ["abstream"],
        "timezone": "utc",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["abstream"], "title": "abstream", "asDropdown": False}],
        "panels": [panel(number, *it) for number, it in enumerate(panels)],
    }


def panel(number, title, unit, description, queries):
    source = {"type": "prometheus", "uid": "abstream-prometheus"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": source,
        "gridPos": {"x": 8 * (number % 3), "y": 8 * (number // 3), "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expr, "legendFormat": legend, "datasource": source}
            for at, (expr, legend) in enumerate(queries)
        ],
    }
