//! What happens to the questions of an answer that nobody waits for any more.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static ABANDONING: Cell<bool> = const { Cell::new(false) };
}

/// A future that, dropped before its end, has the database stop working on what it asked. Without this a query goes
/// on, and its connection is of no use to anybody else meanwhile.
pub struct Abandonable<F>(Option<Pin<Box<F>>>);

/// Makes the questions asked inside `work` end with it.
pub fn abandonable<F: Future>(work: F) -> Abandonable<F> {
    Abandonable(Some(Box::pin(work)))
}

/// Whether what is dropped at this moment belongs to an abandoned future: dropping is done by one thread.
pub(crate) fn is_abandoned() -> bool {
    ABANDONING.get()
}

impl<F: Future> Future for Abandonable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = self.0.as_mut() else { return Poll::Pending };
        let poll = work.as_mut().poll(context);
        if poll.is_ready() {
            self.0 = None;
        }
        poll
    }
}

impl<F> Drop for Abandonable<F> {
    fn drop(&mut self) {
        let Some(work) = self.0.take() else { return };
        let before = ABANDONING.replace(true);
        drop(work);
        ABANDONING.set(before);
    }
}
