//! Dead letters as the service answers them: what the commands read of them.

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub struct Letter {
    pub id: i64,
    pub created_at: String,
    pub reason: String,
    pub detail: String,
    pub experiment: Option<i64>,
    pub events: u64,
    pub batch_id: Option<String>,
    pub request_id: Option<String>,
    pub entry: String,
    pub payload_kept: bool,
    pub digest: Option<String>,
    /// Of a single letter only.
    pub payload: Option<Payload>,
}

#[derive(Deserialize)]
pub struct Payload {
    pub bytes: u64,
    pub redrivable: bool,
    pub cut: bool,
    /// None: they cannot be read.
    pub frames: Option<Vec<Frame>>,
}

#[derive(Deserialize)]
pub struct Frame {
    pub events: Vec<Event>,
}

#[derive(Deserialize)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: String,
    pub user_id: Option<String>,
    pub experiment: Option<i64>,
    pub variation_index: Option<i16>,
    pub metric: Option<String>,
    pub value: Option<String>,
    pub occurred_at: Option<String>,
    pub idempotency_key: Option<String>,
}

/// Asked of `redrive` and `drop`, and what they answer.
#[derive(Serialize)]
pub struct Ids<'a> {
    pub ids: &'a [i64],
}

#[derive(Default, Serialize, Deserialize)]
pub struct Outcomes {
    pub items: Vec<Outcome>,
}

#[derive(Serialize, Deserialize)]
pub struct Outcome {
    pub id: i64,
    pub outcome: String,
}
