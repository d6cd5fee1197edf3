//! Exports, deliveries and archive references: what is kept of them follows from the evidence in any order, and what
//! the dashboard says at once is what a whole plan and a whole report say.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use cavra_domain::archive::{HealthPolicy, assess};
use cavra_domain::evidence::{EvidenceKind, SOURCE_EXPORT};
use cavra_domain::id::ExportId;
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::retry::{RetryCounts, RetryPlanner, RetryPolicy};
use cavra_domain::time::Timestamp;
use cavra_storage::Store;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::support::{Place, append, at, in_memory, noon, open, quickstart, read};

const REPORTING: &str = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-";

fn start() -> Timestamp {
    at("2026-06-01T00:00:00Z")
}

/// One record of a random release history.
#[derive(Debug, Clone)]
enum Drawn {
    Export {
        export: usize,
        verified: bool,
        minute: u32,
    },
    Delivery {
        export: usize,
        provider: &'static str,
        success: bool,
        code: Option<u16>,
        retry_after: Option<u64>,
        minute: u32,
    },
    Reference {
        export: usize,
        minute: u32,
        hash: &'static str,
        retention: &'static str,
    },
}

fn export_id(export: usize) -> String {
    format!("gordackfinalauditor-{export}")
}

fn record(index: usize, drawn: &Drawn) -> Value {
    match drawn {
        Drawn::Export {
            export,
            verified,
            minute,
        } => json!({
            "session_id": export_id(*export),
            "created_at": start().plus_minutes(*minute),
            "metadata_kind": format!("{REPORTING}auditor-export"),
            "verification_state": if *verified { "verified" } else { "incomplete" },
            "export_hash": "ab".repeat(32),
            "release_record_ref": format!("REL-{}", export % 2),
        }),
        Drawn::Delivery {
            export,
            provider,
            success,
            code,
            retry_after,
            minute,
        } => json!({
            "session_id": format!("rcd-{index}"),
            "created_at": start().plus_minutes(*minute),
            "metadata_kind": "release-connector-delivery",
            "connector_delivery_source": SOURCE_EXPORT,
            "event_id": export_id(*export),
            "delivery_success": success,
            "providers": [provider],
            "failed_providers": if *success { json!([]) } else { json!([provider]) },
            "delivery": { "deliveries": [
                { "provider": provider, "status_code": code, "retry_after_seconds": retry_after },
            ] },
        }),
        Drawn::Reference {
            export,
            minute,
            hash,
            retention,
        } => json!({
            "session_id": format!("gordackfinalarchive-{index}"),
            "created_at": start().plus_minutes(*minute),
            "metadata_kind": format!("{REPORTING}immutable-archive-reference"),
            "export_id": export_id(*export),
            "archive_ref": format!("worm://{}", index % 3),
            "archive_hash": hash,
            "retention_until": retention,
            "release_record_ref": format!("REL-{}", export % 2),
        }),
    }
}

/// A day and a half around noon, so that some records lie ahead of their recording.
fn minutes() -> std::ops::Range<u32> {
    0..36 * 60
}

fn drawn() -> impl Strategy<Value = Vec<Value>> {
    let delivery = (
        0..5_usize,
        select(vec!["webhook", "Splunk"]),
        prop::bool::weighted(0.25),
        option::of(select(vec![0_u16, 404, 500, 503])),
        option::weighted(0.2, 0..200_000_u64),
        minutes(),
    )
        .prop_map(
            |(export, provider, success, code, retry_after, minute)| Drawn::Delivery {
                export,
                provider,
                success,
                code,
                retry_after,
                minute,
            },
        );
    let hashes = vec![
        "",
        "abababababababababababababababababababababababababababababababab",
        "sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        "d41d8cd98f00b204e9800998ecf8427e",
        "?",
    ];
    let retentions = vec![
        "",
        "never",
        "2026-05-01T00:00:00Z",
        "2026-06-01T12:00:00Z",
        "2026-06-20T00:00:00Z",
        "2033-01-01T00:00:00Z",
    ];
    let reference = (0..5_usize, minutes(), select(hashes), select(retentions)).prop_map(
        |(export, minute, hash, retention)| Drawn::Reference {
            export,
            minute,
            hash,
            retention,
        },
    );
    // Exports 0 to 3 may be there; 4 never is.
    let exports = vec(option::weighted(0.8, (any::<bool>(), minutes())), 4).prop_map(|exports| {
        exports
            .into_iter()
            .enumerate()
            .filter_map(|(export, drawn)| {
                let (verified, minute) = drawn?;
                Some(Drawn::Export {
                    export,
                    verified,
                    minute,
                })
            })
            .collect::<Vec<_>>()
    });
    (exports, vec(prop_oneof![delivery, reference], 0..24))
        .prop_map(|(mut records, others)| {
            records.extend(others);
            records
                .iter()
                .enumerate()
                .map(|(index, drawn)| record(index, drawn))
                .collect::<Vec<_>>()
        })
        .prop_shuffle()
}

/// What a whole retry plan and a whole health report say, by the default policies.
fn whole(store: &dyn Store, now: Timestamp) -> (RetryCounts, u64) {
    read(store, |tx| {
        let policy = RetryPolicy::default();
        let mut planner = RetryPlanner::new(&policy, now);
        let mut counts = RetryCounts::default();
        tx.visit_deliveries(&mut |attempt| {
            if let Some(decision) = planner.attempt(attempt) {
                counts.add(&decision);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if let Some(decision) = planner.finish() {
            counts.add(&decision);
        }
        let mut alerts = 0;
        tx.visit_custody(None, &mut |custody| {
            alerts += assess(custody, &HealthPolicy::default(), now).len();
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((counts, u64::try_from(alerts).unwrap()))
    })
    .unwrap()
}

/// Everything that follows from exports, deliveries and references, without positions.
fn derived(path: &std::path::Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let queries = [
        "SELECT export_id, due_at FROM undelivered ORDER BY 1, 2",
        "SELECT export_id, lasting_alert_count, retention_until, archived_ahead_at FROM custody ORDER BY 1",
        "SELECT name, value FROM counter WHERE name = 'archive_lasting_alerts'",
    ];
    let mut found = Vec::new();
    for query in queries {
        let mut statement = connection.prepare(query).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let row: Vec<rusqlite::types::Value> =
                (0..columns).map(|column| row.get(column).unwrap()).collect();
            found.push(format!("{row:?}"));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_the_dashboard_says_at_once_is_what_a_plan_and_a_report_say(
        records in drawn(), alone in any::<bool>(), hours in 0..40_u32,
    ) {
        let store = in_memory();
        if alone {
            for record in records {
                append(&store, vec![record], noon());
            }
        } else {
            append(&store, records, noon());
        }
        let now = start().plus_minutes(hours * 60);
        let (counts, alerts) = whole(&store, now);
        let (retryable, alerts_now) =
            read(&store, |tx| Ok((tx.retryable_now(now)?, tx.archive_alerts_now(now)?))).unwrap();
        prop_assert_eq!(retryable, counts.retryable_count);
        prop_assert_eq!(alerts_now, alerts);
    }
}

proptest! {
    // Each case opens two database files.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_in_which_records_arrive_does_not_matter_and_the_check_finds_nothing(
        (records, shuffled) in drawn().prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle())),
    ) {
        let (one, other) = (Place::new(), Place::new());
        for (place, records) in [(&one, records), (&other, shuffled)] {
            let store = open(&place.file());
            append(store.as_ref(), records, noon());
            prop_assert_eq!(store.check(&mut |_| {}).unwrap().findings, vec![]);
        }
        // Two deliveries or references of one time are told apart by their positions alone, so what is decided from
        // them may differ with the order; without such twins it does not.
        if distinct(&one.file()) {
            prop_assert_eq!(derived(&one.file()), derived(&other.file()));
        }
    }
}

fn distinct(path: &std::path::Path) -> bool {
    let connection = Connection::open(path).unwrap();
    let twins: i64 = connection
        .query_row(
            "SELECT (SELECT count(*) - count(DISTINCT export_id || provider_key || happened_at) FROM delivery) \
             + (SELECT count(*) - count(DISTINCT export_id || effective_at) FROM archive_reference)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    twins == 0
}

#[test]
fn the_check_finds_a_changed_delivery_reference_or_export() {
    let edits = [
        (
            "auditor_export",
            "UPDATE auditor_export SET verified = 1 - verified",
        ),
        ("delivery", "UPDATE delivery SET success = 1 WHERE success = 0"),
        ("undelivered", "DELETE FROM undelivered"),
        (
            "archive_reference",
            "UPDATE archive_reference SET retention_until = ''",
        ),
        ("custody", "UPDATE custody SET lasting_alert_count = 0"),
        ("packet", "DELETE FROM packet"),
        (
            "counter",
            "UPDATE counter SET value = 0 WHERE name = 'archive_lasting_alerts'",
        ),
    ];
    for (table, edit) in edits {
        let place = Place::new();
        append(open(&place.file()).as_ref(), quickstart(), noon());
        let changed = Connection::open(place.file()).unwrap().execute(edit, []).unwrap();
        assert!(changed > 0, "{table} is empty");
        let findings = open(&place.file()).check(&mut |_| {}).unwrap().findings;
        assert!(
            findings.iter().any(|finding| finding.place == table),
            "{table}: {findings:?}"
        );
    }
}

fn release(name: &str) -> Text {
    Text::parse(Field::line("release_record_ref", 100), name).unwrap()
}

#[test]
fn the_newest_verified_export_is_found_by_release_and_over_all() {
    let store = in_memory();
    let drawn =
        [(0, true, 10), (1, true, 30), (2, true, 20), (3, false, 40)].map(|(export, verified, minute)| {
            Drawn::Export {
                export,
                verified,
                minute,
            }
        });
    let records = drawn
        .iter()
        .enumerate()
        .map(|(index, drawn)| record(index, drawn))
        .collect();
    append(&store, records, noon());
    let newest = |release: Option<Text>| {
        read(&store, |tx| tx.newest_verified_export(release.as_ref()))
            .unwrap()
            .map(|export| export.export_id.to_string())
    };
    assert_eq!(newest(None), Some(export_id(1)));
    assert_eq!(newest(Some(release("REL-0"))), Some(export_id(2)));
    assert_eq!(
        newest(Some(release("REL-1"))),
        Some(export_id(1)),
        "a newer one is not verified"
    );
    assert_eq!(newest(Some(release("REL-9"))), None);
    let unverified = ExportId::parse(&export_id(3)).unwrap();
    let found = read(&store, |tx| tx.export(&unverified)).unwrap().unwrap();
    assert!(!found.verified);
}

#[test]
fn an_export_from_elsewhere_is_never_given_out_as_made_here() {
    let store = in_memory();
    let mut export = record(
        0,
        &Drawn::Export {
            export: 0,
            verified: true,
            minute: 0,
        },
    );
    export["final_reporting_auditor_export"] = json!({ "evidence_digest": "d1" });
    append(&store, vec![export], noon());
    assert_eq!(read(&store, |tx| tx.export_over("d1")).unwrap(), None);
    assert_eq!(read(&store, |tx| tx.export_over("")).unwrap(), None);
}

#[test]
fn the_newest_document_of_a_packet_is_found_by_its_release() {
    let store = in_memory();
    let packet = |id: &str, release: &str, hour: u32| {
        json!({
            "session_id": id, "created_at": start().plus_minutes(hour * 60),
            "metadata_kind": format!("{REPORTING}release-record-attachment"), "release_record_ref": release,
        })
    };
    let records = vec![
        packet("a-1", "REL-1", 1),
        packet("a-3", "REL-1", 3),
        packet("a-2", "REL-1", 2),
        packet("b-1", "REL-2", 9),
    ];
    append(&store, records, noon());
    let newest = |name: &str, kind: EvidenceKind| {
        read(&store, |tx| tx.packet_record(&release(name), &kind))
            .unwrap()
            .map(|record| record.session_id)
    };
    let attachment = EvidenceKind::ReleaseAttachment;
    assert_eq!(newest("REL-1", attachment.clone()).as_deref(), Some("a-3"));
    assert_eq!(newest("REL-2", attachment.clone()).as_deref(), Some("b-1"));
    assert_eq!(newest("REL-3", attachment), None);
    assert_eq!(newest("REL-1", EvidenceKind::PacketVerification), None);
}

#[test]
fn only_what_names_the_release_is_judged_and_a_visit_may_end_early() {
    let store = in_memory();
    let mut drawn: Vec<Drawn> = (0..4)
        .map(|export| Drawn::Export {
            export,
            verified: export != 3,
            minute: 0,
        })
        .collect();
    drawn.extend((0..5).map(|export| Drawn::Reference {
        export,
        minute: 5,
        hash: "",
        retention: "",
    }));
    let records = drawn
        .iter()
        .enumerate()
        .map(|(index, drawn)| record(index, drawn))
        .collect();
    append(&store, records, noon());
    let visited = |release: Option<&Text>, most: usize| {
        read(&store, |tx| {
            let mut found = Vec::new();
            tx.visit_custody(release, &mut |custody| {
                found.push((custody.export_id.to_string(), custody.references.len()));
                Ok(if found.len() == most {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
            Ok(found)
        })
        .unwrap()
    };
    let all = visited(None, 99);
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|(_, references)| *references == 1));
    // The unknown export 4 and the exports 0 and 2 are of this release.
    let mut even: Vec<String> = visited(Some(&release("REL-0")), 99)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    even.sort();
    assert_eq!(even, [export_id(0), export_id(2), export_id(4)]);
    assert_eq!(visited(None, 2).len(), 2);
    assert_eq!(visited(None, 4).len(), 4);
}

#[test]
fn of_many_references_few_are_held_and_they_are_judged_as_all_of_them() {
    const MANY: usize = 300;
    let right = "abababababababababababababababababababababababababababababababab";
    let wrong = "sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
    let minute = |index: usize| u32::try_from(index).unwrap();
    // One reference contradicts those before it, or none does; it comes early, in the middle or last.
    for conflicting in [None, Some(2), Some(150), Some(MANY)] {
        let verified = |export, verified| Drawn::Export {
            export,
            verified,
            minute: 0,
        };
        let mut drawn = vec![verified(0, true), verified(1, false)];
        for index in 1..=MANY {
            drawn.extend((0..3).map(|export| Drawn::Reference {
                export,
                minute: minute(index),
                hash: if conflicting == Some(index) { wrong } else { right },
                retention: "2033-01-01T00:00:00Z",
            }));
        }
        let records: Vec<_> = drawn
            .iter()
            .enumerate()
            .map(|(index, drawn)| record(index, drawn))
            .collect();
        let (once, one_by_one) = (in_memory(), in_memory());
        append(&once, records.clone(), noon());
        for record in records {
            append(&one_by_one, vec![record], noon());
        }
        for store in [&once, &one_by_one] {
            let mut held = 0;
            let mut kinds = BTreeMap::new();
            read(store, |tx| {
                tx.visit_custody(None, &mut |custody| {
                    held = held.max(custody.references.len());
                    for alert in assess(custody, &HealthPolicy::default(), noon()) {
                        *kinds.entry(alert.alert_id.as_str()).or_insert(0) += 1;
                    }
                    Ok(ControlFlow::Continue(()))
                })
            })
            .unwrap();
            assert!(held < MANY / 2, "{held}");
            let mut expected = BTreeMap::from([
                ("reference_orphaned", MANY),
                ("reference_of_unverified_export", MANY),
            ]);
            if conflicting.is_some() {
                expected.insert("references_conflict", 1);
            }
            if conflicting == Some(MANY) {
                expected.insert("archive_hash_mismatch", 1);
            }
            assert_eq!(kinds, expected);
            let alerts: usize = expected.values().sum();
            let now = read(store, |tx| tx.archive_alerts_now(noon())).unwrap();
            assert_eq!(now, u64::try_from(alerts).unwrap());
        }
    }
}
