//! Permissions, who has them, and how somebody proves who it is (contract decisions 10).
//!
//! Every route of the HTTP surface names one [`Permission`], or says that it is open. [`Caller::decide`] is the one
//! decision: pure, and no unless a mapped group says yes. [`Guard`] is everything around it that has a clock or a
//! network: it verifies bearer tokens, keeps the provider's keys, and holds the sessions of browsers.
//!
//! Without a configuration there is [`Access::OpenLocal`], for a service that only this machine can reach, in which
//! every caller may do everything and nobody's name is verified.

use std::sync::Arc;

mod config;
mod fetch;
mod file;
mod guard;
mod identity;
mod keys;
mod limit;
mod permission;
mod policy;
mod provider;
mod session;
mod token;

pub use config::{CALLBACK_PATH, OidcConfig};
pub use file::ConfigError;
pub use guard::{Guard, Refused, SetUpError, Stats};
pub use identity::{Caller, Identity, Verified, subject_hash};
pub use keys::{Algorithm, KeySet, KeysError};
pub use permission::{Permission, Role};
pub use policy::{Denied, Grant, Policy, RepositoryRule, Scope};
pub use provider::{KeysUnavailable, ProviderStats};
pub use session::{Begun, Callback, Live, SignedIn, return_path};
pub use token::{MAX_GROUPS, MAX_TOKEN_BYTES, Reason, Refusal, Rules, verify};

/// How the service knows its callers.
#[derive(Debug, Clone)]
pub enum Access {
    /// Nothing is configured: open, on a loopback address only.
    OpenLocal,
    /// Callers prove who they are.
    Identity(Arc<Guard>),
}
