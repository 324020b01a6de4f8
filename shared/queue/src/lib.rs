//! The queue between gateways and workers: frames, and the Redis streams that carry them.

pub mod frame;
