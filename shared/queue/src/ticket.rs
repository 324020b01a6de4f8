use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::producer::SendError;

/// A request that waits for its frames.
pub(crate) struct Ticket {
    left: AtomicUsize,
    answer: Mutex<Option<oneshot::Sender<Result<(), SendError>>>>,
}

impl Ticket {
    pub(crate) fn new(frames: usize) -> (Arc<Ticket>, oneshot::Receiver<Result<(), SendError>>) {
        let (sender, receiver) = oneshot::channel();
        let ticket = Ticket { left: AtomicUsize::new(frames), answer: Mutex::new(Some(sender)) };
        (Arc::new(ticket), receiver)
    }

    pub(crate) fn acknowledge(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.answer(Ok(()));
        }
    }

    /// The first failure is the answer; it leaves `left` above zero for good.
    pub(crate) fn fail(&self, error: SendError) {
        self.answer(Err(error));
    }

    fn answer(&self, answer: Result<(), SendError>) {
        let sender = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // Nobody may be waiting any more.
            let _ = sender.send(answer);
        }
    }
}
