"""Which tier answers which path (api.md, "Which tier"); every proxy and ingress of the tree is held against it."""

GATEWAY = [
    "/api/v1/events",
    "/api/v1/conversions",
    "/api/v1/cloudevents",
    *(
        f"/api/v1/experiments/{e}/{kind}"
        for e in ("checkout", "17")
        for kind in ("exposures", "conversions", "pre-period", "strata", "exclusions", "holdout")
    ),
    *(f"/v1/{call}" for call in ("batch", "track", "identify", "page", "screen", "group", "alias", "batch/")),
    "/batch/",
    "/batch",
    "/track",
    "/i/v1/analytics/events",
]
ANALYZER = [
    "/",
    "/docs",
    "/openapi.json",
    "/api/v1/experiments",
    "/api/v1/experiments/checkout",
    "/api/v1/experiments/checkout/start",
    "/api/v1/experiments/checkout/live-stats",
    "/api/v1/experiments/checkout/live-stats/stream",
    "/api/v1/experiments/exposures",
    "/api/v1/experiments/checkout/conversions/more",
    "/api/v1/batches/0190a5de-0000-7000-8000-000000000000",
    "/api/v1/accounting",
    "/api/v1/eventss",
]
