//! The document that says where in an archive an export is, and what the archive says about it (contract wire
//! 1.12, 2.14).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::custody::{ExportFacts, ReferenceFacts};
use super::hash::{ArchiveHash, ObservedHash};
use crate::actor::Actor;
use crate::digest::{hex, sha256_of};
use crate::evidence::{EvidenceKind, MetadataRecord, PRODUCT};
use crate::id::{ArchiveReferenceId, ExportId};
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::route::{MAX_NAME_CHARS, normalised};
use crate::time::{TimeError, Timestamp};

/// Schema of [`ArchiveReferenceDocument`].
pub const ARCHIVE_REFERENCE_SCHEMA: &str =
    "cavra.go-backend-pilot.rollback-drill-final-reporting-immutable-archive-reference.v1";

/// The archive of a reference that names none (contract wire 1.12).
pub const DEFAULT_ARCHIVE_PROVIDER: &str = "external_immutable_store";

/// Where in the archive.
pub const ARCHIVE_REF: Field = Field::line("archive_ref", 1_000);
/// Which archive.
pub const ARCHIVE_PROVIDER: Field = Field::line("archive_provider", MAX_NAME_CHARS);
/// What the archive says the hash is: no readable one has more than 72 characters.
pub const ARCHIVE_HASH: Field = Field::line("archive_hash", 200);
/// Until when the archive keeps it.
pub const RETENTION_UNTIL: Field = Field::line("retention_until", 100);
/// What the notes of a reference may hold.
pub const NOTES: Field = Field::lines("notes", 4_000);
/// One entry of `public_evidence_refs`.
const EVIDENCE_REF: Field = Field::line("public_evidence_refs", 1_000);

/// The only state of an export that a reference can be bound to.
const VERIFIED: &str = "verified";

/// The security properties that the document states of itself.
const CONTROLS: [&str; 4] = [
    "public-safe-fields-only",
    "bound-to-existing-verified-export",
    "archive-observed-hash-only",
    "append-only-evidence",
];

/// Why a reference is not recorded. No variant carries the text that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveReferenceError {
    /// A text is not public-safe.
    #[error(transparent)]
    NotPublicSafe(#[from] NotPublicSafe),
    /// No object is named.
    #[error("`archive_ref` must say where in the archive the export is")]
    ArchiveRefMissing,
    /// The hash cannot be read.
    #[error(
        "`archive_hash` must be what the archive observed: `sha256:` and 64 hexadecimal digits, or the digits alone \
         (`md5:` and `sha1:` are recorded and reported as weak); leave it out if the archive reports none"
    )]
    ArchiveHashMalformed,
    /// The retention date cannot be read.
    #[error("`retention_until` must be an RFC 3339 time with an offset, such as 2033-01-01T00:00:00Z")]
    RetentionUntilInvalid(#[source] TimeError),
    /// The export is not verified, so keeping it proves nothing.
    #[error("the export `{0}` is not verified; only a verified export can be archived")]
    ExportNotVerified(ExportId),
}

impl ArchiveReferenceError {
    /// The member that is wrong.
    pub fn field(&self) -> &str {
        match self {
            Self::NotPublicSafe(refused) => &refused.field,
            Self::ArchiveRefMissing => ARCHIVE_REF.name,
            Self::ArchiveHashMalformed => ARCHIVE_HASH.name,
            Self::RetentionUntilInvalid(_) => RETENTION_UNTIL.name,
            Self::ExportNotVerified(_) => "export_id",
        }
    }
}

/// A reference as a request gives it; an empty text is one that was not given.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArchiveReferenceTerms<'a> {
    /// Where in the archive.
    pub archive_ref: &'a str,
    /// Which archive.
    pub archive_provider: &'a str,
    /// What the archive says the hash is.
    pub archive_hash: &'a str,
    /// Until when the archive keeps it.
    pub retention_until: &'a str,
    /// Whether it is under legal hold.
    pub legal_hold: bool,
    /// Free text.
    pub notes: &'a str,
}

/// A reference that was read and can be bound to an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArchiveReference {
    /// Where in the archive.
    pub archive_ref: Text,
    /// Which archive, in comparison form.
    pub archive_provider: Text,
    /// What the archive says the hash is; never copied from the export.
    pub archive_hash: Option<ObservedHash>,
    /// Until when the archive keeps it.
    pub retention_until: Option<Timestamp>,
    /// Whether it is under legal hold.
    pub legal_hold: bool,
    /// Free text.
    pub notes: Text,
    /// Who says so.
    pub actor: Actor,
}

impl NewArchiveReference {
    /// Reads a reference. Texts but the notes are trimmed; the archive's name is brought to its comparison form.
    ///
    /// # Errors
    /// [`ArchiveReferenceError`] names the first member that cannot be taken.
    pub fn parse(terms: &ArchiveReferenceTerms<'_>, actor: Actor) -> Result<Self, ArchiveReferenceError> {
        let archive_ref = Text::parse(ARCHIVE_REF, terms.archive_ref.trim())?;
        if archive_ref.as_str().is_empty() {
            return Err(ArchiveReferenceError::ArchiveRefMissing);
        }
        Ok(Self {
            archive_ref,
            archive_provider: Self::parse_archive_provider(terms.archive_provider)?,
            archive_hash: Self::parse_archive_hash(terms.archive_hash)?,
            retention_until: Self::parse_retention_until(terms.retention_until)?,
            legal_hold: terms.legal_hold,
            notes: Text::parse(NOTES, terms.notes)?,
            actor,
        })
    }

    /// The archive's name in comparison form; [`DEFAULT_ARCHIVE_PROVIDER`] when none is given.
    ///
    /// # Errors
    /// [`NotPublicSafe`] when the name is not.
    pub fn parse_archive_provider(text: &str) -> Result<Text, NotPublicSafe> {
        // As given first: some tokens are known by their capital letters.
        let given = Text::parse(ARCHIVE_PROVIDER, text.trim())?;
        let name = normalised(given.as_str());
        let name = if name.is_empty() {
            DEFAULT_ARCHIVE_PROVIDER
        } else {
            &name
        };
        Text::parse(ARCHIVE_PROVIDER, name)
    }

    /// The hash; none when it is not given.
    ///
    /// # Errors
    /// [`ArchiveReferenceError`] when it is malformed or not public-safe. A weak one is taken: it is what the archive
    /// said, and health reports it.
    pub fn parse_archive_hash(text: &str) -> Result<Option<ObservedHash>, ArchiveReferenceError> {
        let given = Text::parse(ARCHIVE_HASH, text.trim())?;
        match ArchiveHash::parse(given.as_str()) {
            ArchiveHash::Missing => Ok(None),
            ArchiveHash::Malformed => Err(ArchiveReferenceError::ArchiveHashMalformed),
            hash @ (ArchiveHash::Sha256(_) | ArchiveHash::Weak { .. }) => Ok(ObservedHash::of(&hash)),
        }
    }

    /// The retention date; none when it is not given. A date that has passed is taken: it is what the archive said,
    /// and health reports it.
    ///
    /// # Errors
    /// [`ArchiveReferenceError`] when it is not RFC 3339 or not public-safe.
    pub fn parse_retention_until(text: &str) -> Result<Option<Timestamp>, ArchiveReferenceError> {
        let given = Text::parse(RETENTION_UNTIL, text.trim())?;
        if given.as_str().is_empty() {
            return Ok(None);
        }
        Timestamp::parse(given.as_str())
            .map(Some)
            .map_err(ArchiveReferenceError::RetentionUntilInvalid)
    }
}

/// Where in an archive an export is, and what the archive says about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ArchiveReferenceDocument {
    /// [`ARCHIVE_REFERENCE_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This reference.
    pub reference_id: ArchiveReferenceId,
    /// SHA-256 over what the reference says: see [`ArchiveReferenceDocument::bind`].
    pub reference_hash: String,
    /// Where in the archive.
    pub archive_ref: Text,
    /// Which archive, in comparison form.
    pub archive_provider: Text,
    /// What the archive says the hash is: `sha256:`, `sha1:` or `md5:` and lower-case hexadecimal; empty when it said
    /// nothing.
    pub archive_hash: Text,
    /// When it was recorded.
    pub archived_at: Timestamp,
    /// Display name of the actor.
    pub archived_by: Text,
    /// Until when the archive keeps it; empty when it said nothing.
    pub retention_until: Text,
    /// Whether it is under legal hold.
    pub legal_hold: bool,
    /// The export's release record.
    pub release_record_ref: Text,
    /// The export.
    pub export_id: ExportId,
    /// The export's own hash.
    pub export_hash: Text,
    /// The export's verification.
    pub verification_id: Text,
    /// Always `verified`.
    pub verification_state: &'static str,
    /// Free text.
    pub notes: Text,
    /// The export, this reference, and what the export refers to.
    pub public_evidence_refs: Vec<Text>,
    /// Security properties, as labels.
    pub controls: Vec<&'static str>,
    /// Who recorded it.
    pub actor: Actor,
}

impl ArchiveReferenceDocument {
    /// Binds a reference to a verified export; `export_refs` are the export's own `public_evidence_refs`.
    ///
    /// `reference_hash` is a SHA-256 in hexadecimal over these parts, each with its length in bytes in front as a
    /// big-endian 64-bit number: `archive-reference`, `archive_ref`, `archive_provider`, `archive_hash`,
    /// `archived_at`, `retention_until`, `legal_hold` (`true` or `false`), `export_id`, `export_hash`,
    /// `verification_id`, and the actor's `issuer` and `subject`; all as the document writes them.
    ///
    /// # Errors
    /// [`ArchiveReferenceError::ExportNotVerified`] when the export is not;
    /// [`ArchiveReferenceError::NotPublicSafe`] when an id makes an evidence reference that is not.
    pub fn bind(
        new: NewArchiveReference,
        reference_id: ArchiveReferenceId,
        archived_at: Timestamp,
        export: &ExportFacts,
        export_refs: &[Text],
    ) -> Result<Self, ArchiveReferenceError> {
        if !export.verified {
            return Err(ArchiveReferenceError::ExportNotVerified(export.export_id.clone()));
        }
        let mut public_evidence_refs = Vec::with_capacity(export_refs.len() + 2);
        for (scheme, id) in [
            (
                "go-rollback-drill-final-auditor-export",
                export.export_id.as_str(),
            ),
            ("go-rollback-drill-final-archive", reference_id.as_str()),
        ] {
            public_evidence_refs.push(Text::parse(EVIDENCE_REF, &format!("{scheme}://{id}"))?);
        }
        public_evidence_refs.extend_from_slice(export_refs);
        let archive_hash = new.archive_hash.as_ref().map(ToString::to_string);
        let retention_until = new.retention_until.as_ref().map(ToString::to_string);
        let mut document = Self {
            schema_version: ARCHIVE_REFERENCE_SCHEMA,
            product: PRODUCT,
            reference_id,
            reference_hash: String::new(),
            archive_ref: new.archive_ref,
            archive_provider: new.archive_provider,
            archive_hash: Text::parse(ARCHIVE_HASH, &archive_hash.unwrap_or_default())?,
            archived_at,
            archived_by: new.actor.actor.clone(),
            retention_until: Text::parse(RETENTION_UNTIL, &retention_until.unwrap_or_default())?,
            legal_hold: new.legal_hold,
            release_record_ref: export.release_record_ref.clone(),
            export_id: export.export_id.clone(),
            export_hash: export.export_hash.clone(),
            verification_id: export.verification_id.clone(),
            verification_state: VERIFIED,
            notes: new.notes,
            public_evidence_refs,
            controls: CONTROLS.to_vec(),
            actor: new.actor,
        };
        document.reference_hash = document.computed_hash();
        Ok(document)
    }

    /// What `reference_hash` has to be.
    fn computed_hash(&self) -> String {
        hex(&sha256_of([
            "archive-reference",
            self.archive_ref.as_str(),
            self.archive_provider.as_str(),
            self.archive_hash.as_str(),
            &self.archived_at.to_string(),
            self.retention_until.as_str(),
            if self.legal_hold { "true" } else { "false" },
            self.export_id.as_str(),
            self.export_hash.as_str(),
            self.verification_id.as_str(),
            self.actor.issuer.as_str(),
            self.actor.subject.as_str(),
        ]))
    }

    /// What health needs to know of it, once it is stored at `position`.
    pub fn facts(&self, recorded_at: Timestamp, position: u64) -> ReferenceFacts {
        ReferenceFacts {
            reference_id: self.reference_id.clone(),
            export_id: self.export_id.clone(),
            archived_at: self.archived_at,
            recorded_at,
            position,
            archive_ref: self.archive_ref.clone(),
            archive_provider: self.archive_provider.clone(),
            archive_hash: self.archive_hash.clone(),
            retention_until: self.retention_until.clone(),
            legal_hold: self.legal_hold,
            release_record_ref: self.release_record_ref.clone(),
        }
    }

    /// The evidence record that holds the document.
    pub fn record(&self) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::ArchiveReference,
            session_id: self.reference_id.as_str().to_owned(),
            created_at: self.archived_at,
            signer: self.archived_by.as_str().to_owned(),
            decision_count: 1,
            blocked_count: 0,
            approval_required_count: 0,
            fields: vec![
                ("reference_id", json!(self.reference_id)),
                ("reference_hash", json!(self.reference_hash)),
                ("archive_ref", json!(self.archive_ref)),
                ("archive_provider", json!(self.archive_provider)),
                ("archive_hash", json!(self.archive_hash)),
                ("release_record_ref", json!(self.release_record_ref)),
                ("export_id", json!(self.export_id)),
                ("verification_id", json!(self.verification_id)),
                ("retention_until", json!(self.retention_until)),
                ("legal_hold", json!(self.legal_hold)),
            ],
            payload: (
                EvidenceKind::ArchiveReference.payload_key(),
                serde_json::to_value(self).unwrap_or(Value::Null),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing::{day, export, right_hash};
    use super::*;
    use crate::public_safe::UnsafeKind;
    use crate::testing::{actor, text};

    fn parsed(terms: &ArchiveReferenceTerms<'_>) -> Result<NewArchiveReference, ArchiveReferenceError> {
        NewArchiveReference::parse(terms, actor("ana"))
    }

    const TERMS: ArchiveReferenceTerms<'static> = ArchiveReferenceTerms {
        archive_ref: " worm://bucket/obj-1 ",
        archive_provider: " S3-Object-Lock ",
        archive_hash: "",
        retention_until: " 2033-01-01T01:00:00+01:00 ",
        legal_hold: true,
        notes: "moved\nby hand",
    };

    fn bound(new: NewArchiveReference) -> ArchiveReferenceDocument {
        let id = ArchiveReferenceId::parse("gordackfinalarchive-1").unwrap();
        let refs = [text("go-rollback-drill-audit-package://gordackaudit-1")];
        ArchiveReferenceDocument::bind(new, id, day(1), &export("gordackfinalauditor-1"), &refs).unwrap()
    }

    #[test]
    fn a_reference_is_trimmed_and_its_archive_brought_to_comparison_form() {
        let new = parsed(&TERMS).unwrap();
        assert_eq!(new.archive_ref.as_str(), "worm://bucket/obj-1");
        assert_eq!(new.archive_provider.as_str(), "s3_object_lock");
        assert_eq!(
            new.retention_until.unwrap().to_string(),
            "2033-01-01T00:00:00.000000Z"
        );
        assert_eq!(new.notes.as_str(), "moved\nby hand");
        let none = parsed(&ArchiveReferenceTerms {
            archive_ref: "obj",
            ..ArchiveReferenceTerms::default()
        });
        let none = none.unwrap();
        assert_eq!(none.archive_provider.as_str(), DEFAULT_ARCHIVE_PROVIDER);
        assert_eq!(
            (none.archive_hash, none.retention_until, none.legal_hold),
            (None, None, false)
        );
    }

    #[test]
    fn a_reference_needs_an_object_on_one_line_of_at_most_a_thousand_characters() {
        let of = |archive_ref: &str| parsed(&ArchiveReferenceTerms { archive_ref, ..TERMS });
        for empty in ["", " \t\n"] {
            assert_eq!(of(empty), Err(ArchiveReferenceError::ArchiveRefMissing));
        }
        assert!(of(&"ü".repeat(1_000)).is_ok());
        for refused in [
            &"ü".repeat(1_001),
            "a\nb",
            "https://u:hunter2@archive.example/obj",
        ] {
            let error = of(refused).unwrap_err();
            assert!(
                matches!(error, ArchiveReferenceError::NotPublicSafe(_)),
                "{refused}"
            );
            assert_eq!(error.field(), "archive_ref");
        }
    }

    #[test]
    fn a_hash_is_kept_with_its_algorithm_in_lower_case_and_a_malformed_one_is_refused() {
        let of = |archive_hash: &str| {
            parsed(&ArchiveReferenceTerms {
                archive_hash,
                ..TERMS
            })
            .map(|new| new.archive_hash.map(|hash| hash.to_string()))
        };
        let upper = right_hash().to_uppercase();
        let kept = [
            (upper.clone(), format!("sha256:{}", right_hash())),
            (format!(" SHA-256:{upper}"), format!("sha256:{}", right_hash())),
            ("A".repeat(32), format!("md5:{}", "a".repeat(32))),
            (
                format!("sha1:{}", "A".repeat(40)),
                format!("sha1:{}", "a".repeat(40)),
            ),
        ];
        for (given, kept) in kept {
            assert_eq!(of(&given), Ok(Some(kept)), "{given}");
        }
        assert_eq!(of(" "), Ok(None));
        let error = of("etag-2f61").unwrap_err();
        assert_eq!(error, ArchiveReferenceError::ArchiveHashMalformed);
        assert_eq!(error.field(), "archive_hash");
        assert!(!error.to_string().contains("2f61"));
    }

    #[test]
    fn many_real_hashes_are_public_safe() {
        use sha2::{Digest, Sha256};

        for number in 0..200_u32 {
            let value = crate::digest::hex(&Sha256::digest(number.to_be_bytes()));
            for digits in [64, 40, 32] {
                let given = &value[..digits];
                assert!(
                    NewArchiveReference::parse_archive_hash(given).unwrap().is_some(),
                    "{given}"
                );
            }
        }
    }

    #[test]
    fn a_retention_date_is_rfc_3339_or_not_given() {
        let of = NewArchiveReference::parse_retention_until;
        assert_eq!(of(" "), Ok(None));
        assert_eq!(
            of("2033-01-01T00:00:00Z").unwrap().unwrap().micros() % 1_000_000,
            0
        );
        // One that has passed is what the archive said.
        assert!(of("2001-01-01T00:00:00Z").unwrap().is_some());
        for refused in [
            "2033-01-01",
            "2033-01-01T00:00:00",
            "forever",
            "2033-02-30T00:00:00Z",
        ] {
            let error = of(refused).unwrap_err();
            assert_eq!(error.field(), "retention_until", "{refused}");
        }
        assert!(!of("forever").unwrap_err().to_string().contains("forever"));
    }

    #[test]
    fn a_secret_in_any_text_is_refused_by_the_name_of_its_field() {
        let secret = "password=hunter2-and-more";
        let token = "AKIAIOSFODNN7EXAMPLB";
        let cases = [
            (
                ArchiveReferenceTerms {
                    archive_ref: secret,
                    ..TERMS
                },
                "archive_ref",
            ),
            (
                ArchiveReferenceTerms {
                    archive_provider: token,
                    ..TERMS
                },
                "archive_provider",
            ),
            (
                ArchiveReferenceTerms {
                    archive_hash: secret,
                    ..TERMS
                },
                "archive_hash",
            ),
            (
                ArchiveReferenceTerms {
                    retention_until: secret,
                    ..TERMS
                },
                "retention_until",
            ),
            (
                ArchiveReferenceTerms {
                    notes: secret,
                    ..TERMS
                },
                "notes",
            ),
        ];
        for (terms, field) in cases {
            let error = parsed(&terms).unwrap_err();
            assert_eq!(error.field(), field);
            let ArchiveReferenceError::NotPublicSafe(refused) = error else {
                panic!("{field}: {error}");
            };
            assert!(matches!(
                refused.kind,
                UnsafeKind::SecretValue | UnsafeKind::CloudKey
            ));
        }
    }

    #[test]
    fn the_record_of_a_reference_has_the_published_fields_in_the_published_order() {
        let document = bound(parsed(&TERMS).unwrap());
        let hash = document.reference_hash.clone();
        let text = serde_json::to_string(&document).unwrap();
        let expected = format!(
            concat!(
                r#"{{"schema_version":"cavra.go-backend-pilot.rollback-drill-final-reporting-immutable-archive-reference.v1","#,
                r#""product":"CAVRA","reference_id":"gordackfinalarchive-1","reference_hash":"{hash}","#,
                r#""archive_ref":"worm://bucket/obj-1","archive_provider":"s3_object_lock","archive_hash":"","#,
                r#""archived_at":"2026-01-03T03:04:05.678901Z","archived_by":"ana","#,
                r#""retention_until":"2033-01-01T00:00:00.000000Z","legal_hold":true,"#,
                r#""release_record_ref":"REL-2026-01","export_id":"gordackfinalauditor-1","export_hash":"{export_hash}","#,
                r#""verification_id":"gordackfinalpacket-1","verification_state":"verified","notes":"moved\nby hand","#,
                r#""public_evidence_refs":["go-rollback-drill-final-auditor-export://gordackfinalauditor-1","#,
                r#""go-rollback-drill-final-archive://gordackfinalarchive-1","#,
                r#""go-rollback-drill-audit-package://gordackaudit-1"],"controls":["public-safe-fields-only","#,
                r#""bound-to-existing-verified-export","archive-observed-hash-only","append-only-evidence"],"#,
                r#""actor":{{"actor":"ana","subject":"ana","issuer":"local","groups":[],"repository":null,"#,
                r#""verified":false}}}}"#,
            ),
            hash = hash,
            export_hash = right_hash(),
        );
        assert_eq!(text, expected);
        let record = serde_json::to_string(&document.record().into_value()).unwrap();
        let envelope = format!(
            concat!(
                r#"{{"schema_version":"cavra.evidence.metadata.v1","product":"CAVRA","#,
                r#""session_id":"gordackfinalarchive-1","created_at":"2026-01-03T03:04:05.678901Z","signer":"ana","#,
                r#""decision_count":1,"blocked_count":0,"approval_required_count":0,"metadata_kind":""#,
                r#"go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-immutable-archive-reference","#,
                r#""reference_id":"gordackfinalarchive-1","reference_hash":"{hash}","#,
                r#""archive_ref":"worm://bucket/obj-1","archive_provider":"s3_object_lock","archive_hash":"","#,
                r#""release_record_ref":"REL-2026-01","export_id":"gordackfinalauditor-1","#,
                r#""verification_id":"gordackfinalpacket-1","retention_until":"2033-01-01T00:00:00.000000Z","#,
                r#""legal_hold":true,"final_reporting_immutable_archive_reference":{document}}}"#,
            ),
            hash = hash,
            document = expected,
        );
        assert_eq!(record, envelope);
    }

    #[test]
    fn the_hash_of_a_reference_is_what_another_program_computes_from_its_members() {
        // Python: hashlib.sha256 over len(part).to_bytes(8, "big") + part of each part that `bind` names.
        assert_eq!(
            bound(parsed(&TERMS).unwrap()).reference_hash,
            "f8f5913855c0f19e5d9f3318edd57679f3c2066f14e4b6ed3341adbc1fc3ddac"
        );
    }

    #[test]
    fn the_hash_of_a_reference_depends_on_everything_that_it_says() {
        let hash = right_hash();
        let terms = [
            TERMS,
            ArchiveReferenceTerms {
                archive_ref: "worm://bucket/obj-2",
                ..TERMS
            },
            ArchiveReferenceTerms {
                archive_provider: "tape",
                ..TERMS
            },
            ArchiveReferenceTerms {
                archive_hash: &hash,
                ..TERMS
            },
            ArchiveReferenceTerms {
                retention_until: "",
                ..TERMS
            },
            ArchiveReferenceTerms {
                legal_hold: false,
                ..TERMS
            },
        ];
        let mut hashes: BTreeSet<_> = terms
            .iter()
            .map(|terms| bound(parsed(terms).unwrap()).reference_hash)
            .collect();
        let new = || parsed(&TERMS).unwrap();
        let id = || ArchiveReferenceId::parse("gordackfinalarchive-1").unwrap();
        let mut with = |new, at, export: &ExportFacts| {
            let document = ArchiveReferenceDocument::bind(new, id(), at, export, &[]).unwrap();
            hashes.insert(document.reference_hash);
        };
        let own = export("gordackfinalauditor-1");
        with(new(), day(2), &own);
        with(new(), day(1), &export("gordackfinalauditor-2"));
        with(
            new(),
            day(1),
            &ExportFacts {
                export_hash: text("cd"),
                ..own.clone()
            },
        );
        with(
            new(),
            day(1),
            &ExportFacts {
                verification_id: text("v-2"),
                ..own.clone()
            },
        );
        let (mut issuer, mut subject) = (new(), new());
        issuer.actor.issuer = text("https://idp.example");
        subject.actor.subject = text("u-1");
        with(issuer, day(1), &own);
        with(subject, day(1), &own);
        assert_eq!(hashes.len(), 12);
        // The notes and the evidence it points to are not what it vouches for.
        let plain = bound(
            parsed(&ArchiveReferenceTerms {
                notes: "other",
                ..TERMS
            })
            .unwrap(),
        );
        assert_eq!(
            plain.reference_hash,
            bound(parsed(&TERMS).unwrap()).reference_hash
        );
    }

    #[test]
    fn a_reference_is_signed_with_the_display_name_and_keeps_the_subject_beside_it() {
        let mut new = parsed(&TERMS).unwrap();
        new.actor.subject = text("u-1");
        let document = bound(new);
        assert_eq!(
            (document.archived_by.as_str(), document.record().signer.as_str()),
            ("ana", "ana")
        );
        assert_eq!(document.actor.subject.as_str(), "u-1");
    }

    #[test]
    fn a_reference_to_an_export_that_is_not_verified_is_refused() {
        let unverified = ExportFacts {
            verified: false,
            ..export("gordackfinalauditor-1")
        };
        let id = ArchiveReferenceId::parse("gordackfinalarchive-1").unwrap();
        let refused = ArchiveReferenceDocument::bind(parsed(&TERMS).unwrap(), id, day(1), &unverified, &[])
            .unwrap_err();
        assert_eq!(
            refused,
            ArchiveReferenceError::ExportNotVerified(unverified.export_id)
        );
        assert_eq!(refused.field(), "export_id");
    }

    #[test]
    fn health_reads_of_a_reference_what_its_document_says() {
        let hash = format!("sha256:{}", right_hash());
        let document = bound(
            parsed(&ArchiveReferenceTerms {
                archive_hash: &hash,
                ..TERMS
            })
            .unwrap(),
        );
        let facts = document.facts(day(3), 7);
        assert_eq!(
            (facts.archived_at, facts.recorded_at, facts.position),
            (day(1), day(3), 7)
        );
        assert_eq!(facts.archive_hash.as_str(), hash);
        assert_eq!(facts.retention_until.as_str(), "2033-01-01T00:00:00.000000Z");
        assert_eq!(
            (facts.export_id, facts.reference_id),
            (document.export_id, document.reference_id)
        );
        assert!(facts.legal_hold);
    }
}
