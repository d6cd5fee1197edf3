//! What somebody may do.

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
    /// Reverse acknowledgements.
    DrillAckUndo = "drill.ack.undo";
    /// Make an audit package.
    AuditPackageCreate = "audit.package.create";
    /// Make an auditor export.
    ExportCreate = "export.create";
    /// Record the result of a delivery.
    DeliveryRecord = "delivery.record";
    /// Make a retry plan.
    RetryPlanCreate = "retry.plan.create";
    /// Record where an export is archived.
    ArchiveReferenceWrite = "archive.reference.write";
    /// See the health of archive references.
    ArchiveHealthRead = "archive.health.read";
    /// Store a health report.
    ArchiveHealthRecord = "archive.health.record";
}

impl Permission {
    /// The permission of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|permission| permission.as_str() == name)
    }

    /// Whether it only lets somebody see. Whoever is let in without a token (`anonymous_read`) gets no other.
    pub const fn only_reads(self) -> bool {
        match self {
            Self::EvidenceRead | Self::ArchiveHealthRead => true,
            Self::EvidenceImport
            | Self::PlanCreate
            | Self::DrillAck
            | Self::DrillAckBulk
            | Self::DrillAckUndo
            | Self::AuditPackageCreate
            | Self::ExportCreate
            | Self::DeliveryRecord
            | Self::RetryPlanCreate
            | Self::ArchiveReferenceWrite
            | Self::ArchiveHealthRecord => false,
        }
    }
}

/// The roles that come with the service. A configuration may redefine them, and add others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs the service.
    PlatformOwner,
    /// Runs the drills of a release.
    ReleaseManager,
    /// Answers when a drill is missed.
    IncidentCommander,
    /// Checks the evidence.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: &'static [Self] = &[
        Self::PlatformOwner,
        Self::ReleaseManager,
        Self::IncidentCommander,
        Self::Auditor,
    ];

    /// The role as configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PlatformOwner => "platform-owner",
            Self::ReleaseManager => "release-manager",
            Self::IncidentCommander => "incident-commander",
            Self::Auditor => "auditor",
        }
    }

    /// Whether the role, as it comes, has the permission (contract decisions 10).
    pub const fn has(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::PlatformOwner => true,
            Self::ReleaseManager => !matches!(permission, P::EvidenceImport),
            Self::IncidentCommander => matches!(
                permission,
                P::EvidenceRead | P::DrillAck | P::DrillAckBulk | P::DrillAckUndo | P::ArchiveHealthRead
            ),
            Self::Auditor => matches!(
                permission,
                P::EvidenceRead | P::AuditPackageCreate | P::ArchiveHealthRead | P::ArchiveHealthRecord
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn every_permission_reads_back_from_its_name_and_no_two_share_one() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(*permission));
        }
        let names: BTreeSet<&str> = Permission::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(names.len(), Permission::ALL.len());
        assert_eq!(Permission::parse("drill.acknowledge"), None);
    }

    #[test]
    fn the_roles_that_come_with_the_service_are_the_golden_matrix() {
        let mut matrix = String::new();
        for permission in Permission::ALL {
            let mut line = format!("{:24}", permission.as_str());
            for role in Role::ALL {
                let mark = if role.has(*permission) { role.as_str() } else { "-" };
                write!(line, " {mark:18}").unwrap();
            }
            matrix.push_str(line.trim_end());
            matrix.push('\n');
        }
        assert_eq!(
            matrix,
            include_str!("../tests/golden/role-permissions.txt"),
            "\n{matrix}"
        );
    }
}
