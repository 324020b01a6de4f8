//! Who may do what: keys, scopes, tenants, and the brake on guessing.
//!
//! A key belongs to one tenant and carries scopes; the tenant comes from the key alone. Keys are held as SHA-256 and
//! found by digest, so neither memory nor timing gives one away.

mod keys;
mod scope;
mod throttle;
mod watch;

pub(crate) use keys::is_tenant;
pub use keys::{Keys, Principal};
pub use scope::Scopes;
pub use throttle::Throttle;
pub use watch::KeysFile;
