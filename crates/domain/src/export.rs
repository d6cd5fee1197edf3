//! The final auditor export: what an auditor is given at the end of a release, and the checks that make it a verified
//! one (contract wire 1.9, decisions 8).
//!
//! An export rests on evidence: an audit package, the state of its routes, and the packet of the release as far as it
//! was imported. [`ExportBasis::digest`] names that evidence, so that building an export again over the same evidence
//! gives the same export.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::actor::Actor;
use crate::archive::ExportFacts;
use crate::digest::{hex, sha256_of};
use crate::evidence::{EvidenceKind, MetadataRecord, PRODUCT, payload, text};
use crate::id::{AuditId, ExportId, VerificationId};
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::record::MAX_RECORD_TEXT_CHARS;
use crate::route::{Level, text_enum};
use crate::time::Timestamp;

/// Schema of the export.
pub const EXPORT_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-final-reporting-auditor-export.v1";

/// Schema of its verification.
pub const VERIFICATION_SCHEMA: &str =
    "cavra.go-backend-pilot.rollback-drill-final-reporting-release-closure-packet-verification.v1";

/// What the name of a release record may hold.
pub const RELEASE_RECORD_REF: Field = Field::line("release_record_ref", 500);

/// The security properties that an export states of itself.
const CONTROLS: [&str; 4] = [
    "public-safe-fields-only",
    "checks-recomputed-from-evidence",
    "export-hash-over-canonical-json",
    "no-delivery-by-this-service",
];

text_enum! {
    /// What a check of an export found.
    CheckStatus {
        /// As it should be.
        Pass = "pass",
        /// Not as it should be: the export is not verified.
        Fail = "fail",
        /// Worth a look; it does not stop an export.
        Warning = "warning",
    }
}

text_enum! {
    /// Whether an export may be relied on.
    VerificationState {
        /// No check failed.
        Verified = "verified",
        /// A check failed.
        Incomplete = "incomplete",
    }
}

text_enum! {
    /// The checks of an export, in their order (contract decisions 8).
    CheckId {
        /// The release that it is for is named.
        ReleaseRecordRefPresent = "release_record_ref_present",
        /// There is an audit package to rest on.
        AuditPackagePresent = "audit_package_present",
        /// No route of the package's scope has changed since.
        AuditPackageCurrent = "audit_package_current",
        /// The package is the one whose digest was recorded.
        PackageIntegrity = "package_integrity",
        /// No route of the scope is past its deadline with nobody having answered.
        NoUnhandledBreach = "no_unhandled_breach",
        /// No route of the scope waits for an answer; a warning only.
        NoOutstandingRoutes = "no_outstanding_routes",
    }
}

impl CheckId {
    const fn title(self) -> &'static str {
        match self {
            Self::ReleaseRecordRefPresent => "The release record is named",
            Self::AuditPackagePresent => "There is an audit package",
            Self::AuditPackageCurrent => "The audit package shows its routes as they are",
            Self::PackageIntegrity => "The audit package is unaltered",
            Self::NoUnhandledBreach => "Every breached route has an answer",
            Self::NoOutstandingRoutes => "Every route has an answer",
        }
    }

    const fn operator_action(self) -> &'static str {
        match self {
            Self::ReleaseRecordRefPresent => "Name the release record that the export is for.",
            Self::AuditPackagePresent | Self::AuditPackageCurrent => {
                "Make a new audit package of the scope, then the export."
            }
            Self::PackageIntegrity => {
                "Make a new audit package; run `cavra check` and find out who altered the old one."
            }
            Self::NoUnhandledBreach => {
                "Acknowledge or escalate the breached routes, make a new audit package, then the export."
            }
            Self::NoOutstandingRoutes => {
                "Wait for the outstanding routes, or say why the release goes on without."
            }
        }
    }
}

/// Whether a package's text is what its record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageIntegrity {
    /// Its digest is the recorded one.
    Intact,
    /// Its digest is another one.
    Altered,
    /// Only its record was imported; its text is elsewhere and cannot be checked.
    TextElsewhere,
}

/// The audit package that an export rests on, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFinding {
    /// The package.
    pub audit_id: AuditId,
    /// When it was made.
    pub generated_at: Timestamp,
    /// SHA-256 of its text, lower-case hexadecimal.
    pub sha256: String,
    /// Whether that is still so.
    pub integrity: PackageIntegrity,
    /// Whether every route of its scope is as the package shows it, and no other has joined the scope.
    pub current: bool,
    /// Routes of its scope that wait, or waited, for an answer.
    pub route_count: u64,
    /// Of those, outstanding.
    pub outstanding_count: u64,
    /// Of those, past their deadline.
    pub unhandled_breach_count: u64,
}

/// Documents of the release that were imported: ids, empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleasePacket {
    /// The attachment to the release record.
    pub attachment_id: Text,
    /// The readiness summary.
    pub summary_id: Text,
    /// The approval decision.
    pub approval_decision_id: Text,
    /// The operator runbook.
    pub runbook_export_id: Text,
    /// The verification of the closure packet that the published system made.
    pub packet_verification_id: Text,
    /// `ready` or `blocked`, as the attachment says.
    pub readiness_state: Text,
    /// `closed` or `open`, as the verification says.
    pub closure_state: Text,
}

/// The kinds of record that belong to the packet of a release.
pub const PACKET_KINDS: [EvidenceKind; 2] =
    [EvidenceKind::ReleaseAttachment, EvidenceKind::PacketVerification];

impl ReleasePacket {
    /// The packet that the newest attachment and the newest verification of a release name. A verification fills in
    /// what the attachment leaves open.
    ///
    /// # Errors
    /// [`NotPublicSafe`] naming the member.
    pub fn read(attachment: Option<&Value>, verification: Option<&Value>) -> Result<Self, NotPublicSafe> {
        let said = |record: Option<&Value>, kind: &EvidenceKind, key: &'static str| {
            let said =
                record.and_then(|record| text(record, key).or_else(|| text(payload(kind, record), key)));
            Text::parse(Field::line(key, MAX_RECORD_TEXT_CHARS), said.unwrap_or_default())
        };
        let either = |key: &'static str| -> Result<Text, NotPublicSafe> {
            let attached = said(attachment, &EvidenceKind::ReleaseAttachment, key)?;
            if attached.as_str().is_empty() {
                said(verification, &EvidenceKind::PacketVerification, key)
            } else {
                Ok(attached)
            }
        };
        Ok(Self {
            attachment_id: either("attachment_id")?,
            summary_id: either("summary_id")?,
            approval_decision_id: either("approval_decision_id")?,
            runbook_export_id: either("runbook_export_id")?,
            packet_verification_id: said(verification, &EvidenceKind::PacketVerification, "verification_id")?,
            readiness_state: either("readiness_state")?,
            closure_state: either("closure_state")?,
        })
    }
}

/// Everything that an export rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportBasis {
    /// The release; empty when none was named.
    pub release_record_ref: Text,
    /// The package; none when there is none.
    pub package: Option<PackageFinding>,
    /// What was imported of the release's packet.
    pub packet: ReleasePacket,
}

/// One check of an export (contract wire 1.9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExportCheck {
    /// Which.
    pub id: CheckId,
    /// Which, for people.
    pub title: &'static str,
    /// What it found.
    pub status: CheckStatus,
    /// What it was decided from.
    pub evidence: String,
    /// What to do; empty when it passed.
    pub operator_action: &'static str,
}

impl ExportBasis {
    /// The checks, each decided from evidence.
    pub fn checks(&self) -> Vec<ExportCheck> {
        let package = self.package.as_ref();
        CheckId::ALL
            .iter()
            .map(|id| {
                let (holds, evidence) = self.found(*id, package);
                let status = match (holds, id) {
                    (true, _) => CheckStatus::Pass,
                    (false, CheckId::NoOutstandingRoutes) => CheckStatus::Warning,
                    (false, _) => CheckStatus::Fail,
                };
                ExportCheck {
                    id: *id,
                    title: id.title(),
                    status,
                    evidence,
                    operator_action: if holds { "" } else { id.operator_action() },
                }
            })
            .collect()
    }

    fn found(&self, id: CheckId, package: Option<&PackageFinding>) -> (bool, String) {
        let Some(package) = package.filter(|_| id != CheckId::ReleaseRecordRefPresent) else {
            return if id == CheckId::ReleaseRecordRefPresent {
                let named = self.release_record_ref.as_str();
                match named {
                    "" => (false, "no release record is named".to_owned()),
                    named => (true, format!("release record {named}")),
                }
            } else {
                (false, "there is no audit package".to_owned())
            };
        };
        match id {
            CheckId::ReleaseRecordRefPresent | CheckId::AuditPackagePresent => {
                (true, format!("{} of {}", package.audit_id, package.generated_at))
            }
            CheckId::AuditPackageCurrent => (
                package.current,
                if package.current {
                    format!(
                        "all {} routes of its scope are as it shows them",
                        package.route_count
                    )
                } else {
                    "routes of its scope have changed since, or joined it, or left it".to_owned()
                },
            ),
            CheckId::PackageIntegrity => match package.integrity {
                PackageIntegrity::Intact => (true, format!("SHA-256 {}", package.sha256)),
                PackageIntegrity::Altered => (
                    false,
                    format!("its text does not have the recorded SHA-256 {}", package.sha256),
                ),
                PackageIntegrity::TextElsewhere => (
                    false,
                    "only its record was imported; its text is not here".to_owned(),
                ),
            },
            CheckId::NoUnhandledBreach => (
                package.unhandled_breach_count == 0,
                format!(
                    "{} routes are breached and outstanding",
                    package.unhandled_breach_count
                ),
            ),
            CheckId::NoOutstandingRoutes => (
                package.outstanding_count == 0,
                format!(
                    "{} of {} routes are outstanding",
                    package.outstanding_count, package.route_count
                ),
            ),
        }
    }

    /// SHA-256 over everything that the export says about evidence, lower-case hexadecimal: equal when an export over
    /// this basis would say the same.
    pub fn digest(&self) -> String {
        let packet = &self.packet;
        let mut parts = vec![
            "auditor-export".to_owned(),
            self.release_record_ref.to_string(),
            packet.attachment_id.to_string(),
            packet.summary_id.to_string(),
            packet.approval_decision_id.to_string(),
            packet.runbook_export_id.to_string(),
            packet.packet_verification_id.to_string(),
            packet.readiness_state.to_string(),
            packet.closure_state.to_string(),
        ];
        if let Some(package) = &self.package {
            parts.push(package.audit_id.to_string());
            parts.push(package.sha256.clone());
        }
        for check in self.checks() {
            parts.push(check.id.to_string());
            parts.push(check.status.to_string());
            parts.push(check.evidence);
        }
        hex(&sha256_of(parts.iter().map(String::as_str)))
    }

    /// Verified when no check fails.
    pub fn state(&self) -> VerificationState {
        if self
            .checks()
            .iter()
            .any(|check| check.status == CheckStatus::Fail)
        {
            VerificationState::Incomplete
        } else {
            VerificationState::Verified
        }
    }

    /// The documents of an export over this basis.
    pub fn build(
        &self,
        export_id: ExportId,
        verification_id: VerificationId,
        at: Timestamp,
        actor: Actor,
    ) -> AuditorExport {
        let verification = self.verification(verification_id, at, &actor);
        let packet = &self.packet;
        let audit_id = self
            .package
            .as_ref()
            .map(|package| package.audit_id.to_string())
            .unwrap_or_default();
        let refs = [
            ("release_record_attachment", packet.attachment_id.as_str()),
            ("release_readiness_summary", packet.summary_id.as_str()),
            (
                "readiness_approval_decision",
                packet.approval_decision_id.as_str(),
            ),
            ("operator_runbook_export", packet.runbook_export_id.as_str()),
            (
                "closure_packet_verification",
                verification.verification_id.as_str(),
            ),
            ("acknowledgement_audit_package", audit_id.as_str()),
        ];
        let evidence_index: Vec<EvidenceRef> = refs
            .into_iter()
            .map(|(kind, reference)| EvidenceRef {
                kind,
                reference: reference.to_owned(),
            })
            .collect();
        AuditorExport {
            schema_version: EXPORT_SCHEMA,
            product: PRODUCT,
            export_id,
            export_hash: String::new(),
            generated_at: at,
            generated_by: actor.actor.clone(),
            release_record_ref: self.release_record_ref.clone(),
            verification_state: verification.verification_state,
            verification_id: verification.verification_id.clone(),
            markdown: markdown(self, &verification, &evidence_index, &actor),
            public_evidence_refs: verification.public_evidence_refs.clone(),
            verification,
            evidence_index,
            audit_package: self.package.as_ref().map(|package| ExportedPackage {
                audit_id: package.audit_id.clone(),
                generated_at: package.generated_at,
                package_sha256: package.sha256.clone(),
                route_count: package.route_count,
                outstanding_count: package.outstanding_count,
            }),
            evidence_digest: self.digest(),
            actor,
            controls: CONTROLS.to_vec(),
        }
    }

    fn verification(
        &self,
        verification_id: VerificationId,
        at: Timestamp,
        actor: &Actor,
    ) -> ExportVerification {
        let checks = self.checks();
        let with = |status| {
            let count = checks.iter().filter(|check| check.status == status).count();
            u64::try_from(count).unwrap_or(u64::MAX)
        };
        let (failed, warnings) = (with(CheckStatus::Fail), with(CheckStatus::Warning));
        let packet = &self.packet;
        let attached = [
            ("release_readiness_summary", &packet.summary_id),
            ("release_readiness_approval", &packet.approval_decision_id),
            ("operator_runbook_export", &packet.runbook_export_id),
            ("closure_packet_verification", &packet.packet_verification_id),
        ];
        let mut material = vec![
            "auditor-export-verification".to_owned(),
            at.to_string(),
            self.release_record_ref.to_string(),
            packet.attachment_id.to_string(),
        ];
        for check in &checks {
            material.extend([
                check.id.to_string(),
                check.status.to_string(),
                check.evidence.clone(),
            ]);
        }
        let mut recommended_actions: Vec<&'static str> = checks
            .iter()
            .map(|check| check.operator_action)
            .filter(|action| !action.is_empty())
            .collect();
        recommended_actions.dedup();
        ExportVerification {
            schema_version: VERIFICATION_SCHEMA,
            product: PRODUCT,
            verification_id,
            verification_hash: hex(&sha256_of(material.iter().map(String::as_str))),
            generated_at: at,
            generated_by: actor.actor.clone(),
            verification_state: if failed == 0 {
                VerificationState::Verified
            } else {
                VerificationState::Incomplete
            },
            alert_level: match (failed, warnings) {
                (0, 0) => Level::Healthy,
                (0, _) => Level::Warning,
                _ => Level::Critical,
            },
            release_record_ref: self.release_record_ref.clone(),
            attachment_id: packet.attachment_id.clone(),
            summary_id: packet.summary_id.clone(),
            approval_decision_id: packet.approval_decision_id.clone(),
            runbook_export_id: packet.runbook_export_id.clone(),
            closure_state: packet.closure_state.clone(),
            readiness_state: packet.readiness_state.clone(),
            check_count: u64::try_from(checks.len()).unwrap_or(u64::MAX),
            passed_check_count: with(CheckStatus::Pass),
            failed_check_count: failed,
            warning_check_count: warnings,
            checks,
            attached_evidence: attached
                .into_iter()
                .filter(|(_, id)| !id.as_str().is_empty())
                .map(|(kind, id)| EvidenceRef {
                    kind,
                    reference: id.to_string(),
                })
                .collect(),
            public_evidence_refs: self.public_evidence_refs(),
            recommended_actions,
            controls: CONTROLS.to_vec(),
        }
    }

    /// The evidence as URIs, in the published schemes; what does not exist has none.
    fn public_evidence_refs(&self) -> Vec<String> {
        let packet = &self.packet;
        let audit_id = self
            .package
            .as_ref()
            .map(|package| package.audit_id.to_string())
            .unwrap_or_default();
        [
            ("final-release-record", packet.attachment_id.as_str()),
            ("final-readiness", packet.summary_id.as_str()),
            ("final-readiness-approval", packet.approval_decision_id.as_str()),
            ("final-runbook", packet.runbook_export_id.as_str()),
            ("acknowledgement-audit-package", audit_id.as_str()),
        ]
        .into_iter()
        .filter(|(_, id)| !id.is_empty())
        .map(|(scheme, id)| format!("go-rollback-drill-{scheme}://{id}"))
        .collect()
    }
}

/// A reference to evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EvidenceRef {
    /// What sort of evidence.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its id; empty when there is none.
    #[serde(rename = "ref")]
    pub reference: String,
}

/// The audit package that an export rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExportedPackage {
    /// The package.
    pub audit_id: AuditId,
    /// When it was made.
    pub generated_at: Timestamp,
    /// SHA-256 of its text, lower-case hexadecimal.
    pub package_sha256: String,
    /// Routes of its scope that wait, or waited, for an answer.
    pub route_count: u64,
    /// Of those, outstanding when the export was made.
    pub outstanding_count: u64,
}

/// The verification of an export (contract wire 1.9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExportVerification {
    /// [`VERIFICATION_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This verification.
    pub verification_id: VerificationId,
    /// SHA-256 over its time, its release and its checks, each part with its length in front.
    pub verification_hash: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Display name of the actor.
    pub generated_by: Text,
    /// `verified` when no check fails.
    pub verification_state: VerificationState,
    /// `critical` when a check fails, `warning` when one warns, else `healthy`.
    pub alert_level: Level,
    /// The release; empty when none was named.
    pub release_record_ref: Text,
    /// Imported attachment to the release record; empty when there is none.
    pub attachment_id: Text,
    /// Imported readiness summary; empty when there is none.
    pub summary_id: Text,
    /// Imported approval; empty when there is none.
    pub approval_decision_id: Text,
    /// Imported runbook; empty when there is none.
    pub runbook_export_id: Text,
    /// As the imported packet says; empty when it says nothing.
    pub closure_state: Text,
    /// As the imported packet says; empty when it says nothing.
    pub readiness_state: Text,
    /// How many checks there are.
    pub check_count: u64,
    /// Of those, passed.
    pub passed_check_count: u64,
    /// Of those, failed.
    pub failed_check_count: u64,
    /// Of those, warnings.
    pub warning_check_count: u64,
    /// The checks.
    pub checks: Vec<ExportCheck>,
    /// Imported documents of the release's packet.
    pub attached_evidence: Vec<EvidenceRef>,
    /// The evidence as URIs.
    pub public_evidence_refs: Vec<String>,
    /// What to do about the checks that did not pass.
    pub recommended_actions: Vec<&'static str>,
    /// Security properties, as labels.
    pub controls: Vec<&'static str>,
}

impl ExportVerification {
    /// The evidence record that holds the verification (contract wire 1.1).
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::PacketVerification,
            session_id: self.verification_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: self.generated_by.as_str().to_owned(),
            decision_count: self.check_count,
            blocked_count: self.failed_check_count,
            approval_required_count: 0,
            fields: vec![
                ("verification_id", json!(self.verification_id)),
                ("verification_hash", json!(self.verification_hash)),
                ("verification_state", json!(self.verification_state)),
                ("alert_level", json!(self.alert_level)),
                ("release_record_ref", json!(self.release_record_ref)),
                ("attachment_id", json!(self.attachment_id)),
                ("summary_id", json!(self.summary_id)),
                ("approval_decision_id", json!(self.approval_decision_id)),
                ("runbook_export_id", json!(self.runbook_export_id)),
                ("failed_check_count", json!(self.failed_check_count)),
                ("warning_check_count", json!(self.warning_check_count)),
            ],
            payload: (
                "final_reporting_release_closure_packet_verification",
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

/// A final auditor export (contract wire 1.9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditorExport {
    /// [`EXPORT_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This export.
    pub export_id: ExportId,
    /// SHA-256 of the canonical JSON (RFC 8785) of this document without this member, lower-case hexadecimal: what an
    /// archive observes that stores what `GET .../final-reporting-auditor-exports/{export_id}` gives.
    pub export_hash: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Display name of the actor.
    pub generated_by: Text,
    /// The release; empty when none was named.
    pub release_record_ref: Text,
    /// `verified` when no check fails.
    pub verification_state: VerificationState,
    /// Its verification, which is a record of its own.
    pub verification_id: VerificationId,
    /// Its verification, whole.
    pub verification: ExportVerification,
    /// What it rests on; an empty `ref` where there is nothing.
    pub evidence_index: Vec<EvidenceRef>,
    /// The same for people, as Markdown; ends with one line break.
    pub markdown: String,
    /// The evidence as URIs.
    pub public_evidence_refs: Vec<String>,
    /// The audit package; null when there is none.
    pub audit_package: Option<ExportedPackage>,
    /// Equal for exports that rest on the same evidence: see [`ExportBasis::digest`].
    pub evidence_digest: String,
    /// Who made it.
    pub actor: Actor,
    /// Security properties, as labels.
    pub controls: Vec<&'static str>,
}

impl AuditorExport {
    /// The document without its hash: what the hash is taken over.
    pub fn unhashed(&self) -> Value {
        unhashed(serde_json::to_value(self).unwrap_or(Value::Null))
    }

    /// The evidence record that holds the export (contract wire 1.1).
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::AuditorExport,
            session_id: self.export_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: self.generated_by.as_str().to_owned(),
            decision_count: u64::try_from(self.evidence_index.len()).unwrap_or(u64::MAX),
            blocked_count: self.verification.failed_check_count,
            approval_required_count: 0,
            fields: vec![
                ("export_id", json!(self.export_id)),
                ("export_hash", json!(self.export_hash)),
                ("verification_id", json!(self.verification_id)),
                ("verification_state", json!(self.verification_state)),
                ("release_record_ref", json!(self.release_record_ref)),
                ("evidence_count", json!(self.evidence_index.len())),
            ],
            payload: (
                "final_reporting_auditor_export",
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

/// An export's document without its hash: what the hash is taken over.
pub fn unhashed(mut document: Value) -> Value {
    if let Value::Object(members) = &mut document {
        members.shift_remove("export_hash");
    }
    document
}

/// A text from outside as one piece of Markdown that nothing in it can break out of.
fn inline(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_punctuation() && !matches!(character, '-' | '.' | ':' | '/' | ',' | '@' | '\'')
        {
            shown.push('\\');
        }
        shown.push(character);
    }
    shown
}

fn markdown(
    basis: &ExportBasis,
    verification: &ExportVerification,
    evidence_index: &[EvidenceRef],
    actor: &Actor,
) -> String {
    let or = |text: &str, other: &str| match text {
        "" => other.to_owned(),
        text => inline(text),
    };
    let mut lines = vec![
        "# Rollback drill: final auditor export".to_owned(),
        String::new(),
        format!("- Generated: {}", verification.generated_at),
        format!(
            "- By: {}{}",
            inline(actor.actor.as_str()),
            if actor.verified { "" } else { " (not verified)" }
        ),
        format!(
            "- Release record: {}",
            or(basis.release_record_ref.as_str(), "unassigned")
        ),
        format!("- Verification: **{}**", verification.verification_state),
        format!(
            "- Readiness: {}",
            or(verification.readiness_state.as_str(), "not recorded")
        ),
        format!(
            "- Closure: {}",
            or(verification.closure_state.as_str(), "not recorded")
        ),
        String::new(),
        "## Checks".to_owned(),
        String::new(),
    ];
    for check in &verification.checks {
        lines.push(format!(
            "- **{}** {}: {}",
            check.status,
            check.title,
            inline(&check.evidence)
        ));
    }
    lines.extend([String::new(), "## Evidence".to_owned(), String::new()]);
    for evidence in evidence_index {
        lines.push(format!(
            "- {}: {}",
            evidence.kind.replace('_', " "),
            or(&evidence.reference, "none")
        ));
    }
    lines.extend([
        String::new(),
        "## Boundary".to_owned(),
        String::new(),
        "This service recorded the evidence and made this export. It sent nothing: delivering the export and \
         storing it in an archive are the work of systems of the operator, and only what they reported back is \
         recorded. A verified export says that its checks passed when it was made, and nothing about later changes."
            .to_owned(),
    ]);
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// An export's record as far as later records depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRecordFacts {
    /// The export. It is verified when envelope and document say so; it was made at its own time, or when it was
    /// recorded if that is earlier.
    pub export: ExportFacts,
    /// What it rests on; empty on exports of the published system.
    pub evidence_digest: Text,
}

/// Reads an export's record.
///
/// # Errors
/// [`NotPublicSafe`] naming the member.
pub fn export_facts(record: &Value, generated_at: Timestamp) -> Result<ExportRecordFacts, NotPublicSafe> {
    let document = payload(&EvidenceKind::AuditorExport, record);
    let said = |key: &'static str| {
        let said = text(record, key).or_else(|| text(document, key));
        Text::parse(Field::line(key, MAX_RECORD_TEXT_CHARS), said.unwrap_or_default())
    };
    // A document that contradicts its envelope is not verified.
    let states = [record, document].map(|holder| text(holder, "verification_state"));
    let verified = states.iter().any(Option::is_some)
        && states
            .iter()
            .flatten()
            .all(|state| *state == VerificationState::Verified.as_str());
    Ok(ExportRecordFacts {
        export: ExportFacts {
            export_id: ExportId::parse(text(record, "session_id").unwrap_or_default())?,
            generated_at,
            export_hash: said("export_hash")?,
            verified,
            release_record_ref: said("release_record_ref")?,
            verification_id: said("verification_id")?,
        },
        evidence_digest: said("evidence_digest")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{actor, now, text as safe};

    fn package() -> PackageFinding {
        PackageFinding {
            audit_id: AuditId::parse("gordackaudit-1").unwrap(),
            generated_at: now(),
            sha256: "ab".repeat(32),
            integrity: PackageIntegrity::Intact,
            current: true,
            route_count: 5,
            outstanding_count: 0,
            unhandled_breach_count: 0,
        }
    }

    fn basis(package: Option<PackageFinding>) -> ExportBasis {
        ExportBasis {
            release_record_ref: safe("REL-2026-01"),
            package,
            packet: ReleasePacket::default(),
        }
    }

    fn build(basis: &ExportBasis) -> AuditorExport {
        basis.build(
            ExportId::parse("gordackfinalauditor-1").unwrap(),
            VerificationId::parse("gordackfinalpacket-1").unwrap(),
            now(),
            actor("ana"),
        )
    }

    fn with(change: impl FnOnce(&mut PackageFinding)) -> ExportBasis {
        let mut package = package();
        change(&mut package);
        basis(Some(package))
    }

    /// The checks that did not pass.
    fn found(basis: &ExportBasis) -> Vec<(CheckId, CheckStatus)> {
        basis
            .checks()
            .iter()
            .filter(|check| check.status != CheckStatus::Pass)
            .map(|check| (check.id, check.status))
            .collect()
    }

    #[test]
    fn an_export_with_nothing_to_say_against_it_is_verified() {
        let basis = basis(Some(package()));
        assert!(found(&basis).is_empty());
        let export = build(&basis);
        assert_eq!(export.verification_state, VerificationState::Verified);
        assert_eq!(export.verification.alert_level, Level::Healthy);
        assert_eq!(
            (
                export.verification.check_count,
                export.verification.passed_check_count
            ),
            (6, 6)
        );
        assert!(export.verification.recommended_actions.is_empty());
    }

    #[test]
    fn each_check_fails_for_its_own_reason_and_for_no_other() {
        use CheckId as Id;
        let mut unnamed = basis(Some(package()));
        unnamed.release_record_ref = Text::empty();
        let cases = [
            (unnamed, Id::ReleaseRecordRefPresent),
            (with(|package| package.current = false), Id::AuditPackageCurrent),
            (
                with(|package| package.integrity = PackageIntegrity::Altered),
                Id::PackageIntegrity,
            ),
            (
                with(|package| package.integrity = PackageIntegrity::TextElsewhere),
                Id::PackageIntegrity,
            ),
            (
                with(|package| package.unhandled_breach_count = 1),
                Id::NoUnhandledBreach,
            ),
        ];
        for (basis, id) in cases {
            assert_eq!(found(&basis), [(id, CheckStatus::Fail)]);
            assert_eq!(basis.state(), VerificationState::Incomplete);
            let verification = build(&basis).verification;
            assert_eq!(
                (verification.failed_check_count, verification.alert_level),
                (1, Level::Critical)
            );
            assert_eq!(verification.recommended_actions.len(), 1);
        }
    }

    #[test]
    fn outstanding_routes_are_a_warning_and_do_not_stop_an_export() {
        let basis = with(|package| package.outstanding_count = 2);
        assert_eq!(
            found(&basis),
            [(CheckId::NoOutstandingRoutes, CheckStatus::Warning)]
        );
        let export = build(&basis);
        assert_eq!(export.verification_state, VerificationState::Verified);
        assert_eq!(export.verification.alert_level, Level::Warning);
        assert_eq!(
            export.verification.checks[5].evidence,
            "2 of 5 routes are outstanding"
        );
    }

    #[test]
    fn without_a_package_everything_about_it_fails() {
        let basis = basis(None);
        assert_eq!(found(&basis).len(), 5);
        assert_eq!(basis.state(), VerificationState::Incomplete);
        let export = build(&basis);
        assert_eq!(export.audit_package, None);
        assert_eq!(export.evidence_index[5].reference, "");
    }

    #[test]
    fn the_digest_of_a_basis_changes_with_everything_that_the_export_says() {
        let digest = basis(Some(package())).digest();
        assert_eq!(digest, basis(Some(package())).digest());
        let mut others = vec![
            basis(None),
            with(|package| package.audit_id = AuditId::parse("gordackaudit-2").unwrap()),
            with(|package| package.sha256 = "cd".repeat(32)),
            with(|package| package.current = false),
            with(|package| package.integrity = PackageIntegrity::Altered),
            with(|package| package.outstanding_count = 1),
            with(|package| package.unhandled_breach_count = 1),
        ];
        let packets = [
            |packet: &mut ReleasePacket| packet.attachment_id = safe("a"),
            |packet: &mut ReleasePacket| packet.summary_id = safe("a"),
            |packet: &mut ReleasePacket| packet.approval_decision_id = safe("a"),
            |packet: &mut ReleasePacket| packet.runbook_export_id = safe("a"),
            |packet: &mut ReleasePacket| packet.packet_verification_id = safe("a"),
            |packet: &mut ReleasePacket| packet.readiness_state = safe("a"),
            |packet: &mut ReleasePacket| packet.closure_state = safe("a"),
        ];
        for change in packets {
            let mut basis = basis(Some(package()));
            change(&mut basis.packet);
            others.push(basis);
        }
        let mut other_release = basis(Some(package()));
        other_release.release_record_ref = safe("REL-2026-02");
        others.push(other_release);
        let digests: std::collections::BTreeSet<_> = others.iter().map(ExportBasis::digest).collect();
        assert_eq!(digests.len(), others.len());
        assert!(!digests.contains(&digest));
    }

    #[test]
    fn the_evidence_index_has_the_published_types_in_the_published_order_and_the_package() {
        let mut basis = basis(Some(package()));
        basis.packet.attachment_id = safe("gordackfinalrecord-1");
        let export = build(&basis);
        let index: Vec<_> = export
            .evidence_index
            .iter()
            .map(|evidence| (evidence.kind, evidence.reference.as_str()))
            .collect();
        assert_eq!(
            index,
            [
                ("release_record_attachment", "gordackfinalrecord-1"),
                ("release_readiness_summary", ""),
                ("readiness_approval_decision", ""),
                ("operator_runbook_export", ""),
                ("closure_packet_verification", "gordackfinalpacket-1"),
                ("acknowledgement_audit_package", "gordackaudit-1"),
            ]
        );
        assert_eq!(
            export.public_evidence_refs,
            [
                "go-rollback-drill-final-release-record://gordackfinalrecord-1",
                "go-rollback-drill-acknowledgement-audit-package://gordackaudit-1",
            ]
        );
    }

    #[test]
    fn the_record_of_an_export_has_the_published_fields_and_reads_back() {
        let mut export = build(&basis(Some(package())));
        export.export_hash = "cd".repeat(32);
        let record = export.record().into_value();
        let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys[8..],
            [
                "metadata_kind",
                "export_id",
                "export_hash",
                "verification_id",
                "verification_state",
                "release_record_ref",
                "evidence_count",
                "final_reporting_auditor_export",
            ]
        );
        let facts = export_facts(&record, now()).unwrap();
        assert!(facts.export.verified);
        assert_eq!(facts.export.export_hash.as_str(), export.export_hash);
        assert_eq!(facts.evidence_digest.as_str(), basis(Some(package())).digest());
        assert_eq!(record["decision_count"], 6);
        let unhashed = export.unhashed();
        assert_eq!(unhashed.get("export_hash"), None);
        assert_eq!(unhashed["export_id"], "gordackfinalauditor-1");
    }

    #[test]
    fn the_markdown_names_everything_and_nothing_in_it_breaks_out() {
        let mut basis = with(|package| package.outstanding_count = 2);
        basis.release_record_ref = safe("REL <b>*1*</b> [x](http://x) `y`");
        let text = build(&basis).markdown;
        assert!(text.ends_with(".\n") && !text.ends_with("\n\n"));
        assert!(text.contains("- Verification: **verified**"));
        assert!(text.contains("- By: ana (not verified)"));
        assert!(text.contains("- **warning** Every route has an answer: 2 of 5 routes are outstanding"));
        assert!(text.contains("REL \\<b\\>\\*1\\*\\</b\\> \\[x\\]\\(http://x\\) \\`y\\`"));
        assert!(text.contains("- release readiness summary: none"));
        let mut unnamed = basis;
        unnamed.release_record_ref = Text::empty();
        assert!(build(&unnamed).markdown.contains("- Release record: unassigned"));
    }

    #[test]
    fn a_packet_is_read_from_the_attachment_first_and_from_the_verification_where_that_is_silent() {
        let attachment = json!({
            "attachment_id": "at-1", "summary_id": "s-1", "approval_decision_id": "",
            "final_reporting_release_record_attachment": { "runbook_export_id": "rb-1", "readiness_state": "ready" },
        });
        let verification = json!({
            "attachment_id": "at-0", "verification_id": "v-1", "approval_decision_id": "ap-1",
            "final_reporting_release_closure_packet_verification": { "closure_state": "closed" },
        });
        let packet = ReleasePacket::read(Some(&attachment), Some(&verification)).unwrap();
        let texts = [
            &packet.attachment_id,
            &packet.summary_id,
            &packet.approval_decision_id,
            &packet.runbook_export_id,
            &packet.packet_verification_id,
            &packet.readiness_state,
            &packet.closure_state,
        ];
        assert_eq!(
            texts.map(Text::as_str),
            ["at-1", "s-1", "ap-1", "rb-1", "v-1", "ready", "closed"]
        );
        assert_eq!(ReleasePacket::read(None, None).unwrap(), ReleasePacket::default());
    }
}
