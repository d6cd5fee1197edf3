//! Deliveries of final auditor exports: what an operator-owned connector did and reported back (contract wire 1.10,
//! decisions 4). Nothing is sent from here.
//!
//! Of a delivery, evidence keeps what a retry can be decided from, and nothing that leads to an address: requests,
//! headers and whatever else a connector may add are not in [`KEPT`] and do not come in, not by import either.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::actor::Actor;
use crate::evidence::{EvidenceKind, MetadataRecord, PRODUCT, SOURCE_EXPORT, delivered, payload, text};
use crate::id::{DeliveryId, ExportId};
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::record::MAX_RECORD_TEXT_CHARS;
use crate::route::Provider;
use crate::time::Timestamp;

/// Schema of a delivery (contract wire 1.10).
pub const DELIVERY_SCHEMA: &str = "cavra.connector.delivery.v1";

/// The event that delivers an auditor export.
pub const EXPORT_EVENT: &str = "cavra.go_backend.rollback_drill.final_reporting.auditor_export";

/// What the class of an error may hold: a word or two, such as `timeout`.
pub const ERROR_CLASS: Field = Field::line("error_class", 200);

/// Longest time that a receiver may ask to wait: ten years of 365 days, in seconds.
pub const MAX_RETRY_AFTER_SECONDS: u64 = 315_360_000;

/// Most attempts of one reported delivery.
pub const MAX_ATTEMPTS: u32 = 1_000_000;

/// What a connector reports about one delivery to one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The export that was delivered.
    pub export_id: ExportId,
    /// To whom.
    pub provider: Provider,
    /// Whether it arrived.
    pub success: bool,
    /// The answer's HTTP status; 0 when nobody answered, none when there is none to tell.
    pub status_code: Option<u16>,
    /// How often the connector tried.
    pub attempt_count: u32,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Timestamp,
    /// What sort of error it was; empty when none is known.
    pub error_class: Text,
    /// How long the receiver asked to wait.
    pub retry_after_seconds: Option<u64>,
}

/// Why a report contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contradiction {
    /// The member at fault.
    pub member: &'static str,
    /// What is wrong.
    pub problem: &'static str,
}

impl DeliveryReport {
    /// What in the report contradicts itself; nothing when it is sound.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let wrong = |member, problem| Contradiction { member, problem };
        let mut found = Vec::new();
        match self.status_code {
            Some(200..=299) if !self.success => {
                found.push(wrong("status_code", "says that a failed delivery succeeded"));
            }
            Some(0..=199 | 300..) if self.success => {
                found.push(wrong("status_code", "says that a successful delivery failed"));
            }
            _ => {}
        }
        if self.success && !self.error_class.as_str().is_empty() {
            found.push(wrong("error_class", "is there although the delivery succeeded"));
        }
        if self.success && self.retry_after_seconds.is_some() {
            found.push(wrong(
                "retry_after_seconds",
                "is there although the delivery succeeded",
            ));
        }
        if self.started_at.is_some_and(|started| started > self.completed_at) {
            found.push(wrong("completed_at", "is before started_at"));
        }
        found
    }
}

/// One provider's part of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeliveryPart {
    /// To whom.
    pub provider: Provider,
    /// Whether it arrived.
    pub success: bool,
    /// HTTP status; 0 when nobody answered, null when there is none to tell.
    pub status_code: Option<u16>,
    /// How often the connector tried.
    pub attempt_count: u32,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Timestamp,
    /// What sort of error it was; empty when none is known.
    pub error_class: Text,
    /// How long the receiver asked to wait, in seconds.
    pub retry_after_seconds: Option<u64>,
}

/// A recorded delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeliveryDocument {
    /// [`DELIVERY_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// [`EXPORT_EVENT`].
    pub event_type: &'static str,
    /// The export.
    pub event_id: ExportId,
    /// The export, as published deliveries repeat it.
    pub session_id: ExportId,
    /// When it happened: its end, or when it was recorded if that is earlier.
    pub generated_at: Timestamp,
    /// Whether it arrived.
    pub success: bool,
    /// Its one part.
    pub deliveries: [DeliveryPart; 1],
    /// Who reported it.
    pub actor: Actor,
}

impl DeliveryDocument {
    /// The document of a report that was taken at `at`.
    pub fn new(report: DeliveryReport, at: Timestamp, actor: Actor) -> Self {
        Self {
            schema_version: DELIVERY_SCHEMA,
            product: PRODUCT,
            event_type: EXPORT_EVENT,
            session_id: report.export_id.clone(),
            event_id: report.export_id,
            generated_at: report.completed_at.min(at),
            success: report.success,
            deliveries: [DeliveryPart {
                provider: report.provider,
                success: report.success,
                status_code: report.status_code,
                attempt_count: report.attempt_count,
                started_at: report.started_at,
                completed_at: report.completed_at,
                error_class: report.error_class,
                retry_after_seconds: report.retry_after_seconds,
            }],
            actor,
        }
    }

    /// The evidence record of the delivery (contract wire 1.1 and 1.10), with what is known of its export.
    pub fn record(
        &self,
        delivery_id: &DeliveryId,
        verification_id: &Text,
        release_record_ref: &Text,
    ) -> MetadataRecord {
        let [part] = &self.deliveries;
        let failed: Vec<&Provider> = if self.success {
            Vec::new()
        } else {
            vec![&part.provider]
        };
        MetadataRecord {
            kind: EvidenceKind::ConnectorDelivery,
            session_id: delivery_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: SOURCE_EXPORT.to_owned(),
            decision_count: 0,
            blocked_count: u64::from(!self.success),
            approval_required_count: 0,
            fields: vec![
                ("connector_delivery_source", json!(SOURCE_EXPORT)),
                ("event_id", json!(self.event_id)),
                ("event_type", json!(self.event_type)),
                ("delivery_success", json!(self.success)),
                ("providers", json!([part.provider])),
                ("failed_providers", json!(failed)),
                ("attempt_count", json!(part.attempt_count)),
                ("max_attempt_count", json!(part.attempt_count)),
                ("status_codes", json!([part.status_code])),
                ("export_id", json!(self.event_id)),
                ("verification_id", json!(verification_id)),
                ("release_record_ref", json!(release_record_ref)),
            ],
            payload: ("delivery", serde_json::to_value(self).unwrap_or(Value::Null)),
        }
    }
}

/// The members of a delivery record that evidence keeps.
pub const KEPT: [&str; 31] = [
    "schema_version",
    "product",
    "session_id",
    "created_at",
    "signer",
    "decision_count",
    "blocked_count",
    "approval_required_count",
    "metadata_kind",
    "connector_delivery_source",
    "event_id",
    "event_type",
    "delivery_success",
    "providers",
    "failed_providers",
    "attempt_count",
    "max_attempt_count",
    "status_codes",
    "delivery",
    "export_id",
    "verification_id",
    "release_record_ref",
    "retry_plan_id",
    "worker_run_id",
    "health_id",
    "plan_id",
    "audit_id",
    "delivery_id",
    "schedule_id",
    "alert_level",
    "retry_after_seconds",
];

/// The members of the delivery inside a record that evidence keeps.
pub const KEPT_DELIVERY: [&str; 9] = [
    "schema_version",
    "product",
    "event_type",
    "event_id",
    "session_id",
    "generated_at",
    "success",
    "deliveries",
    "actor",
];

/// The members of each part of a delivery that evidence keeps.
pub const KEPT_PART: [&str; 9] = [
    "provider",
    "success",
    "status_code",
    "attempt_count",
    "started_at",
    "completed_at",
    "error",
    "error_class",
    "retry_after_seconds",
];

/// Whether a record is one of a connector's deliveries.
pub fn is_delivery(record: &Value) -> bool {
    record.get("metadata_kind").and_then(Value::as_str) == Some(EvidenceKind::ConnectorDelivery.as_str())
}

/// Takes out of a delivery record from elsewhere what evidence does not keep, and names each member that went, once.
/// Records of other kinds are left alone.
pub fn strip(record: &mut Value) -> Vec<String> {
    let is_delivery = is_delivery(record);
    let mut gone = Vec::new();
    let Some(members) = record.as_object_mut().filter(|_| is_delivery) else {
        return gone;
    };
    keep(members, &KEPT, "", &mut gone);
    let Some(delivery) = members.get_mut("delivery").and_then(Value::as_object_mut) else {
        // What is no object holds no delivery, but may hold anything else.
        if members
            .get("delivery")
            .is_some_and(|delivery| !delivery.is_null())
        {
            members.shift_remove("delivery");
            gone.push("delivery".to_owned());
        }
        return gone;
    };
    keep(delivery, &KEPT_DELIVERY, "delivery.", &mut gone);
    match delivery.get_mut("deliveries") {
        None | Some(Value::Null) => {}
        Some(Value::Array(parts)) => {
            for part in parts {
                if let Some(part) = part.as_object_mut() {
                    keep(part, &KEPT_PART, "delivery.deliveries[].", &mut gone);
                    keep_plain_error(part, &mut gone);
                } else {
                    *part = Value::Null;
                    gone.push("delivery.deliveries[]".to_owned());
                }
            }
        }
        Some(other) => {
            *other = Value::Null;
            gone.push("delivery.deliveries".to_owned());
        }
    }
    gone.sort();
    gone.dedup();
    gone
}

fn keep(members: &mut Map<String, Value>, kept: &[&str], place: &str, gone: &mut Vec<String>) {
    members.retain(|name, _| {
        let stays = kept.contains(&name.as_str());
        if !stays {
            // The name of a member comes from outside as well; one that is not fit to be shown is only counted.
            let shown = Text::parse(Field::line("member", 60), name);
            gone.push(match shown {
                Ok(name) => format!("{place}{name}"),
                Err(_) => format!("{place}(a member that is not shown)"),
            });
        }
        stays
    });
}

/// Published errors are short fixed texts; one that holds an address, or anything else that no document may hold,
/// does not stay.
fn keep_plain_error(part: &mut Map<String, Value>, gone: &mut Vec<String>) {
    let stays = match part.get("error") {
        None | Some(Value::Null) => true,
        Some(Value::String(error)) => !error.contains("://") && Text::parse(ERROR_TEXT, error).is_ok(),
        Some(_) => false,
    };
    if !stays {
        part.shift_remove("error");
        gone.push("delivery.deliveries[].error".to_owned());
    }
}

/// What a published error text may hold.
const ERROR_TEXT: Field = Field::line("error", 300);

/// One provider's part of a delivery record, as far as retries depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFacts {
    /// The record.
    pub delivery_id: DeliveryId,
    /// The export.
    pub export_id: ExportId,
    /// The provider.
    pub provider: Provider,
    /// When it happened: the record's own time, or when it was recorded if that is earlier.
    pub at: Timestamp,
    /// Whether it arrived.
    pub success: bool,
    /// HTTP status; 0 when nobody answered, none when it is not known.
    pub status_code: Option<u16>,
    /// How long the receiver asked to wait.
    pub retry_after_seconds: Option<u64>,
    /// As the record names it; empty when it names none.
    pub verification_id: Text,
    /// As the record names it; empty when it names none.
    pub release_record_ref: Text,
}

/// What a record says about deliveries of auditor exports: one element per provider, none when it is about anything
/// else. `at` is when it happened.
///
/// A published record has one success for all its providers; those that failed are in `failed_providers`, or are all
/// of them when that list is empty (contract wire 3.5).
///
/// # Errors
/// [`NotPublicSafe`] naming the member.
pub fn delivery_facts(record: &Value, at: Timestamp) -> Result<Vec<DeliveryFacts>, NotPublicSafe> {
    let kind = EvidenceKind::ConnectorDelivery;
    if text(record, "connector_delivery_source") != Some(SOURCE_EXPORT) {
        return Ok(Vec::new());
    }
    let document = payload(&kind, record);
    let Some(export_id) = text(record, "export_id").or_else(|| text(record, "event_id")) else {
        return Ok(Vec::new());
    };
    let export_id = ExportId::parse(export_id)?;
    let delivery_id = DeliveryId::parse(text(record, "session_id").unwrap_or_default())?;
    let note = |name: &'static str| {
        let field = Field::line(name, MAX_RECORD_TEXT_CHARS);
        Text::parse(field, text(record, name).unwrap_or_default())
    };
    let (verification_id, release_record_ref) = (note("verification_id")?, note("release_record_ref")?);
    let parts: Vec<&Value> = document
        .get("deliveries")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let names = |key: &str| -> Vec<&str> {
        record
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let (mut providers, failed) = (names("providers"), names("failed_providers"));
    providers.extend(&failed);
    if providers.is_empty() {
        providers.extend(parts.iter().filter_map(|part| text(part, "provider")));
    }
    let arrived = delivered(&kind, record) == Some(true);
    let mut facts: Vec<DeliveryFacts> = Vec::new();
    for name in providers {
        let provider = Provider::parse(name)?;
        if provider.is_empty() || facts.iter().any(|known| known.provider.key() == provider.key()) {
            continue;
        }
        let of_provider = |name: &str| Provider::parse(name).is_ok_and(|other| other.key() == provider.key());
        let part = parts
            .iter()
            .find(|part| text(part, "provider").is_some_and(of_provider))
            .copied()
            .unwrap_or(&Value::Null);
        let success = arrived || !(failed.is_empty() || failed.iter().any(|name| of_provider(name)));
        facts.push(DeliveryFacts {
            delivery_id: delivery_id.clone(),
            export_id: export_id.clone(),
            at,
            success,
            status_code: status_code(part.get("status_code")),
            retry_after_seconds: [part, record]
                .into_iter()
                .find_map(|holder| holder.get("retry_after_seconds")?.as_u64())
                .map(|seconds| seconds.min(MAX_RETRY_AFTER_SECONDS)),
            verification_id: verification_id.clone(),
            release_record_ref: release_record_ref.clone(),
            provider,
        });
    }
    // A record of one provider has that provider's status in front, also where its parts are not told apart.
    if let [only] = facts.as_mut_slice()
        && only.status_code.is_none()
        && let Some([code]) = record
            .get("status_codes")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
    {
        only.status_code = status_code(Some(code));
    }
    Ok(facts)
}

fn status_code(value: Option<&Value>) -> Option<u16> {
    value?.as_u64().and_then(|code| u16::try_from(code).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{actor, now, provider, text};

    fn report(success: bool, status_code: Option<u16>) -> DeliveryReport {
        DeliveryReport {
            export_id: ExportId::parse("gordackfinalauditor-1").unwrap(),
            provider: provider("Splunk"),
            success,
            status_code,
            attempt_count: 2,
            started_at: Some(now()),
            completed_at: now().plus_minutes(1),
            error_class: Text::empty(),
            retry_after_seconds: None,
        }
    }

    fn members(report: &DeliveryReport) -> Vec<&'static str> {
        report.contradictions().iter().map(|found| found.member).collect()
    }

    #[test]
    fn a_report_must_not_contradict_itself() {
        for (success, code) in [
            (true, 200),
            (true, 299),
            (false, 0),
            (false, 199),
            (false, 300),
            (false, 503),
        ] {
            assert!(
                members(&report(success, Some(code))).is_empty(),
                "{success} {code}"
            );
        }
        for (success, code) in [
            (true, 0),
            (true, 199),
            (true, 300),
            (true, 503),
            (false, 200),
            (false, 299),
        ] {
            assert_eq!(
                members(&report(success, Some(code))),
                ["status_code"],
                "{success} {code}"
            );
        }
        assert!(members(&report(true, None)).is_empty() && members(&report(false, None)).is_empty());
        let mut late = report(true, None);
        late.error_class = text("timeout");
        late.retry_after_seconds = Some(5);
        late.started_at = Some(now().plus_minutes(2));
        assert_eq!(
            members(&late),
            ["error_class", "retry_after_seconds", "completed_at"]
        );
    }

    #[test]
    fn the_record_of_a_delivery_has_the_published_fields_and_reads_back_as_it_was_reported() {
        let mut failed = report(false, Some(503));
        failed.retry_after_seconds = Some(120);
        let document = DeliveryDocument::new(failed, now().plus_minutes(5), actor("worker"));
        let id = DeliveryId::parse("rcd-1").unwrap();
        let record = document.record(&id, &text("v-1"), &text("REL-1")).into_value();
        let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys[8..],
            [
                "metadata_kind",
                "connector_delivery_source",
                "event_id",
                "event_type",
                "delivery_success",
                "providers",
                "failed_providers",
                "attempt_count",
                "max_attempt_count",
                "status_codes",
                "export_id",
                "verification_id",
                "release_record_ref",
                "delivery",
            ]
        );
        assert_eq!(record["created_at"], json!(now().plus_minutes(1)));
        assert_eq!(
            (&record["signer"], &record["blocked_count"]),
            (&json!(SOURCE_EXPORT), &json!(1))
        );
        let facts = delivery_facts(&record, now()).unwrap();
        assert_eq!(
            facts,
            [DeliveryFacts {
                delivery_id: id,
                export_id: ExportId::parse("gordackfinalauditor-1").unwrap(),
                provider: provider("Splunk"),
                at: now(),
                success: false,
                status_code: Some(503),
                retry_after_seconds: Some(120),
                verification_id: text("v-1"),
                release_record_ref: text("REL-1"),
            }]
        );
        assert!(strip(&mut record.clone()).is_empty(), "what we write, we keep");
    }

    #[test]
    fn a_delivery_that_ends_in_the_future_happened_when_it_was_recorded() {
        let document = DeliveryDocument::new(report(true, Some(200)), now(), actor("worker"));
        assert_eq!(document.generated_at, now());
        assert_eq!(document.deliveries[0].completed_at, now().plus_minutes(1));
    }

    /// A published record of several providers (contract wire 1.10).
    fn published() -> Value {
        json!({
            "session_id": "rcd-x-1", "metadata_kind": "release-connector-delivery", "created_at": "2026-01-02T03:04:05Z",
            "connector_delivery_source": SOURCE_EXPORT, "event_id": "gordackfinalauditor-1",
            "delivery_success": false, "providers": ["slack", "webhook"], "failed_providers": ["webhook"],
            "status_codes": [200, 503],
            "delivery": { "success": false, "deliveries": [
                { "provider": "slack", "success": true, "status_code": 200, "error": null,
                  "request": { "method": "POST", "url": "https://hooks.example.net/T/secret", "headers": { "x-token": "t" } } },
                { "provider": "webhook", "success": false, "status_code": 503, "error": "the provider refused it",
                  "request": { "url": "https://user:pass@example.net" } },
            ] },
        })
    }

    fn outcomes(record: &Value) -> Vec<(String, bool, Option<u16>)> {
        delivery_facts(record, now())
            .unwrap()
            .into_iter()
            .map(|fact| (fact.provider.key().to_owned(), fact.success, fact.status_code))
            .collect()
    }

    #[test]
    fn a_published_record_fails_for_its_failed_providers_and_arrives_at_the_others() {
        assert_eq!(
            outcomes(&published()),
            [
                ("slack".to_owned(), true, Some(200)),
                ("webhook".to_owned(), false, Some(503)),
            ]
        );
    }

    #[test]
    fn a_failed_record_that_names_no_failed_provider_failed_for_all() {
        let mut record = published();
        record["failed_providers"] = json!([]);
        assert!(outcomes(&record).iter().all(|(_, success, _)| !success));
        record["delivery_success"] = json!(true);
        assert!(outcomes(&record).iter().all(|(_, success, _)| *success));
    }

    #[test]
    fn a_record_of_one_provider_without_parts_has_the_status_in_front() {
        let mut record = published();
        record["providers"] = json!(["Web-Hook"]);
        record["failed_providers"] = json!(["web_hook"]);
        record["status_codes"] = json!([410]);
        record["delivery"] = json!(null);
        assert_eq!(outcomes(&record), [("web_hook".to_owned(), false, Some(410))]);
        record["status_codes"] = json!([null]);
        assert_eq!(outcomes(&record), [("web_hook".to_owned(), false, None)]);
    }

    #[test]
    fn a_time_to_wait_may_stand_at_the_provider_or_in_front_for_all() {
        let mut record = published();
        record["retry_after_seconds"] = json!(60);
        record["delivery"]["deliveries"][1]["retry_after_seconds"] = json!(5);
        let waits = |record: &Value| -> Vec<_> {
            let facts = delivery_facts(record, now()).unwrap();
            facts.iter().map(|fact| fact.retry_after_seconds).collect()
        };
        assert_eq!(waits(&record), [Some(60), Some(5)]);
        record["retry_after_seconds"] = json!(u64::MAX);
        assert_eq!(waits(&record)[0], Some(MAX_RETRY_AFTER_SECONDS));
        record["retry_after_seconds"] = json!("60");
        assert_eq!(waits(&record), [None, Some(5)]);
        assert!(
            strip(&mut record)
                .iter()
                .all(|name| !name.contains("retry_after"))
        );
    }

    #[test]
    fn a_delivery_of_another_source_or_of_nothing_says_nothing_about_exports() {
        let mut record = published();
        record["connector_delivery_source"] = json!("go_backend_rollback_drill_notification");
        assert!(outcomes(&record).is_empty());
        let mut record = published();
        record["event_id"] = json!("");
        assert!(outcomes(&record).is_empty());
    }

    #[test]
    fn requests_addresses_and_unknown_members_do_not_come_in_and_are_named() {
        let mut record = published();
        record["response_body"] = json!("token");
        record["delivery"]["connector"] = json!({});
        record["delivery"]["deliveries"][1]["error"] =
            json!("cannot reach https://hooks.example.net/T/secret");
        record["password=hunter2"] = json!(1);
        let gone = strip(&mut record);
        assert_eq!(
            gone,
            [
                "(a member that is not shown)",
                "delivery.connector",
                "delivery.deliveries[].error",
                "delivery.deliveries[].request",
                "response_body",
            ]
        );
        let left = record.to_string();
        for secret in ["hooks.example.net", "x-token", "user:pass", "hunter2"] {
            assert!(!left.contains(secret), "{secret}");
        }
        assert_eq!(record["delivery"]["deliveries"][0]["status_code"], 200);
        assert_eq!(outcomes(&record), outcomes(&published()));
        assert!(strip(&mut record).is_empty(), "once is enough");
    }

    #[test]
    fn what_is_no_delivery_where_one_should_be_does_not_come_in() {
        let mut record = published();
        record["delivery"] = json!("https://hooks.example.net/T/secret");
        assert_eq!(strip(&mut record), ["delivery"]);
        let mut record = published();
        record["delivery"]["deliveries"] = json!("https://hooks.example.net/T/secret");
        assert_eq!(strip(&mut record), ["delivery.deliveries"]);
        let mut record = published();
        record["delivery"]["deliveries"] = json!(["https://hooks.example.net/T/secret"]);
        assert_eq!(strip(&mut record), ["delivery.deliveries[]"]);
        assert!(!record.to_string().contains("secret"));
    }

    #[test]
    fn records_of_other_kinds_are_left_alone() {
        let mut plan =
            json!({ "metadata_kind": "go-backend-rollback-drill-notification-plan", "anything": 1 });
        assert!(strip(&mut plan).is_empty());
        assert_eq!(plan["anything"], 1);
    }
}
