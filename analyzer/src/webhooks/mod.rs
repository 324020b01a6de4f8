//! Webhooks: a tenant's own programs are told of what an analyst or operator would want to be woken for.
//!
//! **The journey of a fact.** [`look`] compares what is known of each running experiment, and of the tenant's dead
//! letters, with what was told last ([`facts`]). A difference moves the mark and writes the deliveries in one
//! transaction, so of any number of analyzers one tells it. [`sender`] claims the first waiting delivery of each
//! webhook, signs it ([`signature`]), sends it to an address that [`target`] permits ([`request`]), and writes down how
//! that went. [`routes`] is how webhooks are made and looked at.

pub mod facts;
mod look;
pub mod request;
pub mod routes;
pub mod sender;
pub mod signature;
pub mod target;
mod view;

pub use look::Look;
pub use sender::{Policy, Sender};
