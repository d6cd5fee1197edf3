//! Who somebody is, once a token proved it; and the caller of a request.

use std::sync::Arc;

use cavra_domain::actor::Actor;
use cavra_domain::public_safe::{NotPublicSafe, Text};
use cavra_domain::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::permission::Permission;
use crate::policy::{Denied, Grant, Policy, RepositoryRule, Scope};

/// Somebody whom a token proved. The pair of issuer and subject is who it is; everything else may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(crate) issuer: Text,
    pub(crate) subject: Text,
    /// For people: an address or a user name as the provider says it, else the subject.
    pub(crate) display: Text,
    pub(crate) groups: Vec<String>,
    /// When the proof ends.
    pub(crate) expires_at: Timestamp,
}

impl Identity {
    /// Who vouches for the subject.
    pub fn issuer(&self) -> &Text {
        &self.issuer
    }

    /// The subject, which only means something together with the issuer.
    pub fn subject(&self) -> &Text {
        &self.subject
    }

    /// The groups as the provider names them.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// When the token that proved it expires.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// What logs have instead of a subject: the first 16 hex digits of SHA-256 over issuer, a zero byte and subject.
pub fn subject_hash(issuer: &str, subject: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(issuer.as_bytes());
    hash.update([0]);
    hash.update(subject.as_bytes());
    let hash = hash.finalize();
    hash.iter().take(8).fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Who calls.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Somebody on this machine, unverified: nothing is configured that could verify anybody.
    Local,
    /// Somebody without a token, where readers need none.
    Anonymous,
    /// Somebody whom a token proved.
    Verified(Verified),
}

/// A proven caller, with what decides over their rights.
#[derive(Debug, Clone)]
pub struct Verified {
    pub(crate) identity: Arc<Identity>,
    pub(crate) policy: Arc<Policy>,
    /// The groups that gave the right to the operation at hand.
    pub(crate) used: Vec<Text>,
}

impl Verified {
    pub(crate) fn new(identity: Arc<Identity>, policy: Arc<Policy>) -> Self {
        Self {
            identity,
            policy,
            used: Vec::new(),
        }
    }

    /// Who.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The groups that are mapped to anything.
    pub fn mapped_groups(&self) -> Vec<Text> {
        self.policy.mapped_groups(&self.identity)
    }

    /// The roles that those groups stand for.
    pub fn roles(&self) -> Vec<&str> {
        self.policy.roles(&self.identity).into_iter().collect()
    }

    /// The published rules about approvals that match.
    pub fn matching_rules(&self) -> Vec<&RepositoryRule> {
        self.policy.matching_rules(&self.identity)
    }

    /// The actor that evidence keeps.
    pub fn actor(&self) -> Actor {
        Actor {
            actor: self.identity.display.clone(),
            subject: self.identity.subject.clone(),
            issuer: self.identity.issuer.clone(),
            groups: self.used.clone(),
            repository: None,
            verified: true,
        }
    }
}

impl Caller {
    /// Whether the caller may do it there, and by which groups.
    ///
    /// # Errors
    /// [`Denied`] when not.
    pub fn decide(&self, permission: Permission, scope: Scope) -> Result<Grant, Denied> {
        let nothing = Grant { groups: Vec::new() };
        match self {
            Self::Local => Ok(nothing),
            Self::Anonymous if permission.only_reads() => Ok(nothing),
            Self::Anonymous => Err(Denied(permission)),
            Self::Verified(caller) => caller.policy.decide(&caller.identity, permission, scope),
        }
    }

    /// Whether the caller may do it: for operations that do more for those who may.
    pub fn may(&self, permission: Permission) -> bool {
        self.decide(permission, Scope::Service).is_ok()
    }

    /// The caller, with the groups that gave the right to the operation at hand.
    #[must_use]
    pub fn using(self, grant: Grant) -> Self {
        match self {
            Self::Verified(caller) => Self::Verified(Verified {
                used: grant.groups,
                ..caller
            }),
            Self::Local | Self::Anonymous => self,
        }
    }

    /// Who a token proved; nothing for everybody else.
    pub fn verified(&self) -> Option<&Verified> {
        match self {
            Self::Verified(caller) => Some(caller),
            Self::Local | Self::Anonymous => None,
        }
    }

    /// Issuer and subject: what tells callers apart, before anything of the request is read. The subject of callers
    /// whom nobody proved is empty.
    pub fn key(&self) -> (&str, &str) {
        match self {
            Self::Local => (cavra_domain::actor::LOCAL_ISSUER, ""),
            Self::Anonymous => (cavra_domain::actor::ANONYMOUS_ISSUER, ""),
            Self::Verified(caller) => (caller.identity.issuer.as_str(), caller.identity.subject.as_str()),
        }
    }

    /// The actor that evidence keeps. `name` is what the request says of itself, in its member `field`: a caller
    /// whom nobody proved is nothing but that name, and next to a token it means nothing.
    ///
    /// # Errors
    /// [`NotPublicSafe`] when the name is.
    pub fn actor(self, field: &'static str, name: &str) -> Result<Actor, NotPublicSafe> {
        match self {
            Self::Local => Actor::local(field, name),
            Self::Anonymous => Actor::anonymous(field, name),
            Self::Verified(caller) => Ok(caller.actor()),
        }
    }
}
