//! Bodies and queries about releases: exports, deliveries, retry plans, archive references, archive health.

use cavra_app::as_of::AsOf;
use cavra_app::release::{ArchivedExport, MakeExport};
use cavra_domain::actor::Actor;
use cavra_domain::archive::{ARCHIVE_REF, HealthPolicy, NOTES, NewArchiveReference};
use cavra_domain::delivery::{DeliveryReport, ERROR_CLASS, MAX_ATTEMPTS, MAX_RETRY_AFTER_SECONDS};
use cavra_domain::export::RELEASE_RECORD_REF;
use cavra_domain::id::{AuditId, ExportId};
use cavra_domain::retry::{RetryPolicy, RetryPolicyTerms};
use cavra_domain::time::Timestamp;
use cavra_rbac::Caller;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Object, as_of, author, author_named, given, incomplete, provider, some_text, text};
use crate::error::Problem;
use crate::extract::Checks;

/// An auditor export.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportBody {
    /// The release record that the export is for. Without one the export is not verified.
    release_record_ref: Option<String>,
    /// The audit package that it rests on; the newest one when it is left out.
    audit_id: Option<String>,
    /// Who makes it; `console` when it is left out. In open local mode it is kept as unverified.
    generated_by: Option<String>,
}

impl ExportBody {
    pub(crate) fn command(self, caller: Caller) -> Result<MakeExport, Problem> {
        let mut checks = Checks::default();
        let actor = author(&mut checks, caller, self.generated_by.as_ref());
        let release = some_text(
            &mut checks,
            "/release_record_ref".into(),
            RELEASE_RECORD_REF,
            self.release_record_ref.as_ref(),
        );
        let audit_id =
            given(self.audit_id.as_ref()).and_then(|id| checks.safe("/audit_id", AuditId::parse(id.trim())));
        checks.finish()?;
        Ok(MakeExport {
            release_record_ref: release.unwrap_or_default(),
            audit_id,
            actor: actor.ok_or_else(incomplete)?,
        })
    }
}

/// What a connector did with an auditor export.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryBody {
    /// The export that was delivered.
    #[schemars(required)]
    export_id: Option<String>,
    /// To whom. Compared after trim and lower case, `-` equal to `_`.
    #[schemars(required)]
    provider: Option<String>,
    /// Whether it arrived.
    #[schemars(required)]
    success: Option<bool>,
    /// HTTP status of the answer; 0 when nobody answered, null or left out when there is none to tell.
    #[schemars(range(max = 999))]
    status_code: Option<u16>,
    /// How often the connector tried; 1 when it is left out.
    #[schemars(range(min = 1, max = 1_000_000))]
    attempt_count: Option<u32>,
    /// When it began, RFC 3339.
    started_at: Option<String>,
    /// When it ended, RFC 3339.
    #[schemars(required)]
    completed_at: Option<String>,
    /// What sort of error it was, such as `timeout`; at most 200 characters.
    error_class: Option<String>,
    /// How long the receiver asked to wait, in seconds.
    #[schemars(range(max = 315_360_000))]
    retry_after_seconds: Option<u64>,
    /// Who reports it; `console` when it is left out. In open local mode it is kept as unverified.
    reported_by: Option<String>,
}

impl DeliveryBody {
    pub(crate) fn command(self, caller: Caller) -> Result<(DeliveryReport, Actor), Problem> {
        let mut checks = Checks::default();
        let actor = author_named(&mut checks, caller, "reported_by", self.reported_by.as_ref());
        let export_id = export_id(&mut checks, self.export_id.as_ref());
        if export_id.is_none() && given(self.export_id.as_ref()).is_none() {
            checks.missing("/export_id");
        }
        let provider = provider(&mut checks, "/provider".into(), self.provider.as_ref());
        if self.success.is_none() {
            checks.missing("/success");
        }
        if self.status_code.is_some_and(|code| code > 999) {
            checks.invalid("/status_code", "must be from 0 to 999");
        }
        let attempt_count = self.attempt_count.unwrap_or(1);
        if !(1..=MAX_ATTEMPTS).contains(&attempt_count) {
            checks.invalid("/attempt_count", format!("must be from 1 to {MAX_ATTEMPTS}"));
        }
        if self
            .retry_after_seconds
            .is_some_and(|seconds| seconds > MAX_RETRY_AFTER_SECONDS)
        {
            checks.invalid(
                "/retry_after_seconds",
                format!("must be at most {MAX_RETRY_AFTER_SECONDS}"),
            );
        }
        let started_at = time(&mut checks, "/started_at", self.started_at.as_ref());
        let completed_at = time(&mut checks, "/completed_at", self.completed_at.as_ref());
        if given(self.completed_at.as_ref()).is_none() {
            checks.missing("/completed_at");
        }
        let error_class = text(
            &mut checks,
            "/error_class".into(),
            ERROR_CLASS,
            self.error_class.as_ref(),
        );
        let report = match (export_id, provider, self.success, completed_at, error_class) {
            (Some(export_id), Some(provider), Some(success), Some(completed_at), Some(error_class)) => {
                Some(DeliveryReport {
                    export_id,
                    provider,
                    success,
                    status_code: self.status_code,
                    attempt_count,
                    started_at,
                    completed_at,
                    error_class,
                    retry_after_seconds: self.retry_after_seconds,
                })
            }
            _ => None,
        };
        for contradiction in report.iter().flat_map(DeliveryReport::contradictions) {
            checks.invalid(format!("/{}", contradiction.member), contradiction.problem);
        }
        checks.finish()?;
        let (Some(report), Some(actor)) = (report, actor) else {
            return Err(incomplete());
        };
        Ok((report, actor))
    }
}

/// A retry plan.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryPlanBody {
    /// When a failed delivery may be tried again.
    retry_policy: Option<Object<RetryPolicyBody>>,
    /// Who makes it; `console` when it is left out. In open local mode it is kept as unverified.
    generated_by: Option<String>,
}

/// The policy of a retry plan. Values of a wrong type are refused by name.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryPolicyBody {
    /// Failures, the first one included, after which a delivery is given up; 3 when it is left out or 0.
    #[schemars(with = "Option<u32>", range(max = 1_000_000))]
    max_retry_attempts: Option<Value>,
    /// Another name of `max_retry_attempts`; give one of the two.
    #[schemars(with = "Option<u32>", range(max = 1_000_000))]
    max_retries: Option<Value>,
    /// Minutes to wait after the first failure; 15 when it is left out, 0 with `allow_immediate_retry`.
    #[schemars(with = "Option<u32>", range(max = 5_256_000))]
    retry_delay_minutes: Option<Value>,
    /// Another name of `retry_delay_minutes`; give one of the two.
    #[schemars(with = "Option<u32>", range(max = 5_256_000))]
    delay_minutes: Option<Value>,
    /// By what the wait grows with each further failure, with at most three decimals; 2 when it is left out or 0.
    #[schemars(with = "Option<f64>", range(max = 1_000))]
    backoff_multiplier: Option<Value>,
    /// Another name of `backoff_multiplier`; give one of the two.
    #[schemars(with = "Option<f64>", range(max = 1_000))]
    multiplier: Option<Value>,
    /// Whether the wait may be zero; false when it is left out.
    #[schemars(with = "Option<bool>")]
    allow_immediate_retry: Option<Value>,
    /// The longest wait that the multiplier can lead to; 1440 when it is left out.
    #[schemars(with = "Option<u32>", range(min = 1, max = 5_256_000))]
    max_delay_minutes: Option<Value>,
    /// How many hours ago the first failure may be; no limit when it is left out.
    #[schemars(with = "Option<u32>", range(min = 1, max = 876_000))]
    max_age_hours: Option<Value>,
    /// `none` (default), or `equal`: half of the wait is derived from the ids.
    #[schemars(with = "Option<String>")]
    jitter: Option<Value>,
}

impl RetryPlanBody {
    pub(crate) fn command(self, caller: Caller) -> Result<(RetryPolicy, Actor), Problem> {
        let mut checks = Checks::default();
        let actor = author(&mut checks, caller, self.generated_by.as_ref());
        let body = self.retry_policy.map(|Object(body)| body).unwrap_or_default();
        let policy = RetryPolicy::parse(&RetryPolicyTerms {
            max_retry_attempts: body.max_retry_attempts.as_ref(),
            max_retries: body.max_retries.as_ref(),
            retry_delay_minutes: body.retry_delay_minutes.as_ref(),
            delay_minutes: body.delay_minutes.as_ref(),
            backoff_multiplier: body.backoff_multiplier.as_ref(),
            multiplier: body.multiplier.as_ref(),
            allow_immediate_retry: body.allow_immediate_retry.as_ref(),
            max_delay_minutes: body.max_delay_minutes.as_ref(),
            max_age_hours: body.max_age_hours.as_ref(),
            jitter: body.jitter.as_ref(),
        });
        let policy = policy
            .map_err(|faults| {
                for fault in faults {
                    checks.invalid(format!("/retry_policy/{}", fault.key), fault.problem);
                }
            })
            .ok();
        checks.finish()?;
        let (Some(policy), Some(actor)) = (policy, actor) else {
            return Err(incomplete());
        };
        Ok((policy, actor))
    }
}

/// A reference into an immutable archive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveReferenceBody {
    /// Where in the archive the export is, at most 1000 characters.
    #[schemars(required)]
    archive_ref: Option<String>,
    /// Which archive; `external_immutable_store` when it is left out.
    archive_provider: Option<String>,
    /// What the archive observed: `sha256:` and 64 hexadecimal digits, or the digits alone. It is never copied from the
    /// export.
    archive_hash: Option<String>,
    /// Until when the archive keeps it, RFC 3339.
    retention_until: Option<String>,
    /// Whether the archive holds it beyond that; false when it is left out.
    #[serde(default)]
    legal_hold: bool,
    /// The export; else the newest verified one of `release_record_ref`, else the newest verified one.
    export_id: Option<String>,
    /// The release record.
    release_record_ref: Option<String>,
    /// Free text, at most 4000 characters.
    notes: Option<String>,
    /// Who reports it; `console` when it is left out. In open local mode it is kept as unverified.
    archived_by: Option<String>,
}

impl ArchiveReferenceBody {
    pub(crate) fn command(self, caller: Caller) -> Result<(ArchivedExport, NewArchiveReference), Problem> {
        let mut checks = Checks::default();
        let actor = author_named(&mut checks, caller, "archived_by", self.archived_by.as_ref());
        let export_id = export_id(&mut checks, self.export_id.as_ref());
        let release_record_ref = some_text(
            &mut checks,
            "/release_record_ref".into(),
            RELEASE_RECORD_REF,
            self.release_record_ref.as_ref(),
        );
        let archive_ref = some_text(
            &mut checks,
            "/archive_ref".into(),
            ARCHIVE_REF,
            self.archive_ref.as_ref(),
        );
        if given(self.archive_ref.as_ref()).is_none() {
            checks.missing("/archive_ref");
        }
        let part = |text: Option<&'_ String>| text.map_or("", String::as_str).to_owned();
        let archive_provider = checks.safe(
            "/archive_provider",
            NewArchiveReference::parse_archive_provider(&part(self.archive_provider.as_ref())),
        );
        let archive_hash = checks.ok(
            "",
            NewArchiveReference::parse_archive_hash(&part(self.archive_hash.as_ref())),
        );
        let retention_until = checks.ok(
            "",
            NewArchiveReference::parse_retention_until(&part(self.retention_until.as_ref())),
        );
        let notes = text(&mut checks, "/notes".into(), NOTES, self.notes.as_ref());
        checks.finish()?;
        let parts = (
            archive_ref,
            archive_provider,
            archive_hash,
            retention_until,
            notes,
            actor,
        );
        let (
            Some(archive_ref),
            Some(archive_provider),
            Some(archive_hash),
            Some(retention_until),
            Some(notes),
            Some(actor),
        ) = parts
        else {
            return Err(incomplete());
        };
        let new = NewArchiveReference {
            archive_ref,
            archive_provider,
            archive_hash,
            retention_until,
            legal_hold: self.legal_hold,
            notes,
            actor,
        };
        let archived = ArchivedExport {
            export_id,
            release_record_ref,
        };
        Ok((archived, new))
    }
}

/// What archive health is judged by.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveHealthBody {
    /// Whether a reference without a hash is an alert; true when it is left out.
    require_archive_hash: Option<bool>,
    /// Whether a reference without an end of retention is an alert; true when it is left out.
    require_retention_until: Option<bool>,
    /// How many days the archive has to keep an export, from when it was archived.
    minimum_retention_days: Option<u32>,
    /// From how many days before its end a retention is an alert; 30 when it is left out.
    expiring_within_days: Option<u32>,
    /// Whether a reference without a legal hold is an alert; false when it is left out.
    require_legal_hold: Option<bool>,
    /// Only exports of this release record, and references to it.
    release_record_ref: Option<String>,
    /// Who asks; `console` when it is left out. In open local mode it is kept as unverified.
    generated_by: Option<String>,
}

/// What archive health is judged by, and whether the report is stored.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchiveHealthQuery {
    /// Whether a reference without a hash is an alert; true when it is left out.
    require_archive_hash: Option<bool>,
    /// Whether a reference without an end of retention is an alert; true when it is left out.
    require_retention_until: Option<bool>,
    /// How many days the archive has to keep an export, from when it was archived.
    minimum_retention_days: Option<u32>,
    /// From how many days before its end a retention is an alert; 30 when it is left out.
    expiring_within_days: Option<u32>,
    /// Whether a reference without a legal hold is an alert; false when it is left out.
    require_legal_hold: Option<bool>,
    /// Only exports of this release record, and references to it.
    release_record_ref: Option<String>,
    /// Who asks; `console` when it is left out. In open local mode it is kept as unverified.
    generated_by: Option<String>,
    /// Whether the report is stored, which needs `archive.health.record`. Left out: stored if the caller may, and if
    /// no `as_of` is given. A request from another site never stores.
    persist: Option<bool>,
    /// Health as it was: an RFC 3339 time, or a position of the log. Such a report is not stored.
    as_of: Option<String>,
}

/// What archive health is asked: by what, by whom.
pub(crate) type HealthCommand = (HealthPolicy, Actor);

impl ArchiveHealthBody {
    pub(crate) fn command(self, caller: Caller) -> Result<HealthCommand, Problem> {
        let mut checks = Checks::default();
        let actor = author(&mut checks, caller, self.generated_by.as_ref());
        let release_record_ref = some_text(
            &mut checks,
            "/release_record_ref".into(),
            RELEASE_RECORD_REF,
            self.release_record_ref.as_ref(),
        );
        checks.finish()?;
        let default = HealthPolicy::default();
        let policy = HealthPolicy {
            require_archive_hash: self.require_archive_hash.unwrap_or(default.require_archive_hash),
            require_retention_until: self
                .require_retention_until
                .unwrap_or(default.require_retention_until),
            minimum_retention_days: self.minimum_retention_days.or(default.minimum_retention_days),
            expiring_within_days: self.expiring_within_days.unwrap_or(default.expiring_within_days),
            require_legal_hold: self.require_legal_hold.unwrap_or(default.require_legal_hold),
            release_record_ref,
        };
        Ok((policy, actor.ok_or_else(incomplete)?))
    }
}

impl ArchiveHealthQuery {
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        as_of("as_of", self.as_of.as_ref())
    }

    /// The command, and what the request says about storing the report.
    pub(crate) fn command(self, caller: Caller) -> Result<(HealthCommand, Option<bool>), Problem> {
        let persist = self.persist;
        let body = ArchiveHealthBody {
            require_archive_hash: self.require_archive_hash,
            require_retention_until: self.require_retention_until,
            minimum_retention_days: self.minimum_retention_days,
            expiring_within_days: self.expiring_within_days,
            require_legal_hold: self.require_legal_hold,
            release_record_ref: self.release_record_ref,
            generated_by: self.generated_by,
        };
        Ok((body.command(caller)?, persist))
    }
}

fn export_id(checks: &mut Checks, value: Option<&String>) -> Option<ExportId> {
    given(value).and_then(|id| checks.safe("/export_id", ExportId::parse(id.trim())))
}

fn time(checks: &mut Checks, pointer: &str, value: Option<&String>) -> Option<Timestamp> {
    given(value).and_then(|value| {
        Timestamp::parse(value)
            .map_err(|error| checks.invalid(pointer, format!("is {error}")))
            .ok()
    })
}
