//! Every `error_code` that this tier adds to those of the HTTP kit, with its status and meaning: the one list
//! that answers, metrics and the OpenAPI document are made from.

/// Defines [`Code`] and its table in one place, so that neither can lack an entry of the other.
macro_rules! codes {
    ($($variant:ident = $name:literal, $status:literal, $meaning:literal;)+) => {
        /// A stable `error_code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $meaning] $variant),+ }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The text on the wire, in snake_case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name),+ }
            }

            /// The HTTP status when this code refuses a whole request. Inside an error list the request's own
            /// status counts.
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status),+ }
            }

            /// One sentence for the API document.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning),+ }
            }
        }
    };
}

codes! {
    InvalidUtf8 = "invalid_utf8", 400, "The body is not UTF-8.";
    MalformedJson = "malformed_json", 400, "The body, or a line of an NDJSON body, is not JSON.";
    JsonTooDeep = "json_too_deep", 400, "The JSON is nested deeper than 32 levels.";
    InvalidBody = "invalid_body", 422, "The body is not an object with the list of items the route takes.";
    EmptyBatch = "empty_batch", 422, "The list of items is empty.";
    BatchTooLarge = "batch_too_large", 422, "The list has more items than AB_MAX_BATCH_EVENTS.";
    TooManyEvents = "too_many_events", 413, "The batch of an SDK has more events than AB_MAX_BATCH_EVENTS.";
    InvalidSentAt = "invalid_sent_at", 422, "`sent_at` or X-Sent-At is not an instant.";
    InvalidIdempotencyHeader = "invalid_idempotency_header", 422,
        "Idempotency-Key is not 1 to 255 visible ASCII characters.";
    UnknownQueryParameter = "unknown_query_parameter", 422, "The route has no such query parameter.";
    InvalidQueryParameter = "invalid_query_parameter", 422, "A query parameter has a value it cannot have.";
    InvalidItems = "invalid_items", 422, "Items of the batch are not valid; `errors` says which and why.";

    InvalidItem = "invalid_item", 422, "An item is not a JSON object.";
    MissingField = "missing_field", 422, "A required field is absent.";
    InvalidType = "invalid_type", 422, "A field has the wrong JSON type.";
    UnknownField = "unknown_field", 422, "A field is not known, or does not belong to this kind of event.";
    DuplicateField = "duplicate_field", 422, "A field is given more than once.";
    UnknownEventType = "unknown_event_type", 422, "`type` is neither exposure nor conversion.";
    InvalidUserId = "invalid_user_id", 422, "`user_id` is not 1 to 200 characters without control characters.";
    InvalidMetric = "invalid_metric", 422, "`metric` is not 1 to 100 characters without control characters.";
    InvalidCovariateName = "invalid_covariate_name", 422,
        "`covariate_name` is not 1 to 100 characters without control characters.";
    InvalidStratum = "invalid_stratum", 422, "`stratum` is not 1 to 100 characters without control characters.";
    InvalidExclusionReason = "invalid_exclusion_reason", 422,
        "`exclusion_reason` is not 1 to 100 characters without control characters.";
    InvalidIdempotencyKey = "invalid_idempotency_key", 422,
        "`idempotency_key` is not 1 to 200 characters without control characters and not beginning with @.";
    AmbiguousVariation = "ambiguous_variation", 422, "Both `variation` and `variation_index` are given.";
    UnknownVariation = "unknown_variation", 422, "The experiment has no such variation.";
    InvalidValue = "invalid_value", 422, "`value` is not a decimal number.";
    ValueOutOfRange = "value_out_of_range", 422, "`value` is outside the range of +-9.2e12.";
    InvalidOccurredAt = "invalid_occurred_at", 422,
        "`occurred_at` is neither RFC 3339 nor unix seconds or milliseconds.";
    OccurredInFuture = "occurred_in_future", 422, "`occurred_at` is further ahead than AB_MAX_FUTURE_SKEW.";
    OccurredTooLongAgo = "occurred_too_long_ago", 422, "`occurred_at` is older than AB_MAX_EVENT_AGE.";
    InvalidProperties = "invalid_properties", 422, "`properties` is larger than 8 KiB.";
    EventIgnored = "event_ignored", 422, "An SDK's event that is neither an exposure nor a conversion.";
    UnusedMetric = "unused_metric", 422, "With strict=true: no plan uses this metric.";

    UnknownExperiment = "unknown_experiment", 404, "The tenant has no such experiment.";
    ExperimentArchived = "experiment_archived", 409, "The experiment is archived and takes no events.";
    ExperimentNotStarted = "experiment_not_started", 409,
        "The experiment was never started and takes no exposures yet.";

    RateLimited = "rate_limited", 429, "The tenant has sent as much as it may; try again later.";
    QueueFull = "queue_full", 503, "The queue holds as much as it may; try again later.";
    QueueUnavailable = "queue_unavailable", 503,
        "The queue did not confirm every event; sending the same batch again is safe with keys.";
    CatalogueUnavailable = "catalogue_unavailable", 503, "The experiments are not known at the moment.";
    DeadlineExceeded = "deadline_exceeded", 503,
        "The request's time budget ran out; sending the same batch again is safe with keys.";
}
