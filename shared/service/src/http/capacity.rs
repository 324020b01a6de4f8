use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much of something, for all requests of a listener together.
#[derive(Debug)]
pub struct Capacity {
    used: AtomicUsize,
    limit: usize,
}

/// A part of a [`Capacity`], given back when dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Capacity>,
    amount: usize,
}

impl Capacity {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    /// `None`: there is not that much left. Nobody waits for it: a client that is told can come again later.
    pub fn take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        let more = |used: usize| used.checked_add(amount).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Share { of: Arc::clone(self), amount })
    }

    /// What is taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    pub fn join(&mut self, mut more: Share) {
        self.amount += std::mem::take(&mut more.amount);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}
