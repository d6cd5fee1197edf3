//! Permissions, and who has them (contract decisions 10).
//!
//! Every route of the HTTP surface names one [`Permission`], or says that it is open. This version knows one way
//! of working: [`Access::OpenLocal`], for a service that only this machine can reach, in which every caller may
//! do everything and nobody's name is verified.

use cavra_domain::actor::Actor;
use cavra_domain::public_safe::NotPublicSafe;

macro_rules! permissions {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// What somebody may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {
            $($(#[$doc])* $variant,)*
        }

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The permission as configuration writes it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

permissions! {
    /// See routes, history, dashboard, plans and packages.
    EvidenceRead = "evidence.read";
    /// Take records from elsewhere.
    EvidenceImport = "evidence.import";
    /// Make notification and escalation plans.
    PlanCreate = "plan.create";
    /// Acknowledge one route.
    DrillAck = "drill.ack";
    /// Acknowledge many routes at once.
    DrillAckBulk = "drill.ack.bulk";
    /// Take back acknowledgements, single and bulk.
    DrillAckUndo = "drill.ack.undo";
    /// Make an audit package.
    AuditPackageCreate = "audit.package.create";
    /// Make a final auditor export.
    ExportCreate = "export.create";
    /// Record what a connector did with an export.
    DeliveryRecord = "delivery.record";
    /// Plan which failed deliveries to retry.
    RetryPlanCreate = "retry.plan.create";
    /// Record where in an archive an export is.
    ArchiveReferenceWrite = "archive.reference.write";
    /// See how well exports are archived.
    ArchiveHealthRead = "archive.health.read";
    /// Store a report of it.
    ArchiveHealthRecord = "archive.health.record";
}

/// How the service knows its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is configured: open, on a loopback address only.
    OpenLocal,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody on this machine, unverified.
    Local,
}

/// The caller lacks the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied(
    /// What was needed.
    pub Permission,
);

impl Access {
    /// Whether the caller may do it.
    ///
    /// # Errors
    /// [`Denied`] when not.
    pub const fn decide(self, caller: Caller, permission: Permission) -> Result<(), Denied> {
        match (self, caller, permission) {
            (Self::OpenLocal, Caller::Local, _) => Ok(()),
        }
    }
}

impl Caller {
    /// The actor that evidence keeps. `name` is what the request says of itself, in its member `field`; a
    /// local caller is nothing but that name.
    ///
    /// # Errors
    /// [`NotPublicSafe`] when the name is.
    pub fn actor(self, field: &'static str, name: &str) -> Result<Actor, NotPublicSafe> {
        match self {
            Self::Local => Actor::local(field, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_local_mode_allows_everything_and_verifies_nobody() {
        for permission in Permission::ALL {
            assert_eq!(
                Access::OpenLocal.decide(Caller::Local, *permission),
                Ok(()),
                "{}",
                permission.as_str()
            );
        }
        let actor = Caller::Local.actor("acknowledged_by", "ana@example.org").unwrap();
        assert_eq!(
            (actor.issuer.as_str(), actor.subject.as_str(), actor.verified),
            ("local", "ana@example.org", false)
        );
    }
}
