use std::time::Duration;

use uuid::Uuid;

/// Doubling pauses with jitter: each is between half of and the full step, so that many clients of one server do
/// not come back in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` on, doubling up to `last`.
    pub fn new(first: Duration, last: Duration) -> Backoff {
        Backoff { first, last, next: first }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.last);
        let random = u32::from(Uuid::new_v4().as_bytes()[0]);
        step / 2 + step / 2 * random / 255
    }

    /// Whether there was a pause since the last success. Never so if all pauses are alike (`first` is `last`).
    pub fn is_under_way(&self) -> bool {
        self.next > self.first
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}
