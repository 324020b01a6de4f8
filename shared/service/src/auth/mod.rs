//! Who may do what: keys, scopes, tenants, and the brake on guessing.
//!
//! Keys come from settings and files ([`Keys`], [`KeysFile`]), or admins issue them ([`follow`]).
//!
//! A key belongs to one tenant and carries scopes; the tenant comes from the key alone. Keys are held as SHA-256 ([`Digest`])
//! and found by digest, so neither memory nor timing gives one away.

mod digest;
mod issued;
mod keys;
mod scope;
mod throttle;
mod watch;

pub use digest::Digest;
pub use issued::{NewSecret, NotKnown, follow, random_key};
pub(crate) use keys::is_tenant;
pub use keys::{Keys, Principal};
pub use scope::Scopes;
pub use throttle::Throttle;
pub use watch::{KeysFile, Look};
