//! The ladder: every earlier format becomes this one, and this one is what the golden file says.
//!
//! A new format adds `golden/format-N.sql`, a dump with rows of a database that the last version of format N wrote;
//! `CAVRA_BLESS=1 cargo test -p cavra-storage upgrading` writes it and `golden/schema.sql` anew. The files of earlier
//! formats are never written again.

use std::path::PathBuf;

use cavra_storage::pack;
use cavra_storage::sqlite::{FORMAT, SqliteStore};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::support::{
    Ack, Place, append, at, decision, dump, log, noon, note, open, plan, schema_dump, view, write,
};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// Holds a text against a golden file; writes the file when asked to.
fn assert_golden(name: &str, actual: &str) {
    if std::env::var_os("CAVRA_BLESS").is_some() {
        std::fs::write(golden(name), actual).unwrap();
    }
    let expected = std::fs::read_to_string(golden(name)).unwrap_or_default();
    assert!(
        expected == actual,
        "`tests/golden/{name}` differs from what this version makes, which is:\n{actual}"
    );
}

/// The steps, as they lie in the folder.
fn steps() -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

fn fresh(place: &Place) -> Connection {
    drop(SqliteStore::open(&place.file()).unwrap());
    Connection::open(place.file()).unwrap()
}

/// Something for every table of a format; what a later one adds stands behind what the earlier ones had.
fn evidence(format: i64) -> Vec<Value> {
    let mut records = evidence_of_routes();
    if format >= 2 {
        records.extend(evidence_of_releases());
    }
    records
}

fn evidence_of_releases() -> Vec<Value> {
    let reporting = "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-";
    let delivery = |id: &str, success: bool, code: u16, at: &str| {
        json!({
            "session_id": id, "created_at": at, "metadata_kind": "release-connector-delivery",
            "connector_delivery_source":
                "go_backend_rollback_drill_acknowledgement_audit_final_reporting_auditor_export",
            "event_id": "gordackfinalauditor-1", "delivery_success": success, "providers": ["webhook"],
            "failed_providers": if success { json!([]) } else { json!(["webhook"]) }, "status_codes": [code],
        })
    };
    vec![
        json!({
            "session_id": "gordackfinalauditor-1", "created_at": "2026-06-01T10:10:00Z",
            "metadata_kind": format!("{reporting}auditor-export"), "verification_state": "verified",
            "export_hash": "ab".repeat(32), "release_record_ref": "REL-1",
        }),
        delivery("rcd-1", true, 200, "2026-06-01T10:15:00Z"),
        delivery("rcd-2", false, 503, "2026-06-01T10:20:00Z"),
        json!({
            "session_id": "gordackfinalarchive-1", "created_at": "2026-06-01T10:30:00Z",
            "metadata_kind": format!("{reporting}immutable-archive-reference"),
            "export_id": "gordackfinalauditor-1", "archive_ref": "worm://a/1", "archive_hash": "",
            "retention_until": "2033-01-01T00:00:00Z", "legal_hold": false, "release_record_ref": "REL-1",
        }),
        json!({
            "session_id": "gordackfinalrecord-1", "created_at": "2026-06-01T10:05:00Z",
            "metadata_kind": format!("{reporting}release-record-attachment"), "release_record_ref": "REL-1",
        }),
    ]
}

fn evidence_of_routes() -> Vec<Value> {
    let ack = |id, plan, provider, owner, said, text| {
        Ack {
            id,
            schedule: "payments",
            plan,
            provider,
            owner,
            said,
            at: at(text),
        }
        .record()
    };
    vec![
        plan(
            "payments",
            "gordn-1",
            at("2026-05-01T08:00:00Z"),
            &[
                decision("slack", "ana", "deliver"),
                decision("jira", "bo", "suppress"),
            ],
        ),
        ack(
            "gordack-1",
            None,
            "Slack",
            None,
            "acknowledged",
            "2026-05-01T08:10:00Z",
        ),
        plan(
            "payments",
            "gordn-2",
            at("2026-06-01T08:00:00Z"),
            &[
                decision("slack", "ana", "deliver"),
                decision("slack", "d'Arc", "deliver"),
                decision("jira", "bo", "deliver"),
            ],
        ),
        ack(
            "gordack-2",
            Some("gordn-2"),
            "slack",
            Some("ana"),
            "escalated",
            "2026-06-01T08:05:00Z",
        ),
        ack(
            "gordack-3",
            None,
            "slack",
            None,
            "resolved",
            "2026-06-01T08:20:00Z",
        ),
        ack(
            "gordack-4",
            Some("gordn-9"),
            "slack",
            None,
            "dismissed",
            "2026-06-01T08:30:00Z",
        ),
        note("gordesc-1", at("2026-06-01T09:00:00Z")),
        json!({
            "session_id": "gordackaudit-1",
            "created_at": at("2026-06-01T10:00:00Z"),
            "metadata_kind": "go-backend-rollback-drill-acknowledgement-audit-package",
            "acknowledgement_audit_package": {
                "audit_id": "gordackaudit-1",
                "package_sha256": cavra_evidence::digest::Digest::of(b"{\"routes\":[]}").to_hex(),
            },
        }),
    ]
}

fn small_store(place: &Place, format: i64) {
    let store = open(&place.file());
    append(store.as_ref(), evidence(format), noon());
    write(store.as_ref(), |tx| {
        tx.store_pieces(8, &mut [Ok(pack(b"{\"routes\"")), Ok(pack(b":[]}"))].into_iter())
    })
    .unwrap();
}

#[test]
fn the_ladder_climbed_step_by_step_is_the_fresh_schema() {
    let steps = steps();
    assert_eq!(
        i64::try_from(steps.len()).unwrap(),
        FORMAT,
        "a step is not in the ladder, or has no file"
    );
    let by_hand = Connection::open_in_memory().unwrap();
    for step in &steps {
        by_hand.execute_batch(step).unwrap();
    }
    let place = Place::new();
    let fresh = fresh(&place);
    assert_eq!(schema_dump(&by_hand), schema_dump(&fresh));
    assert_golden("schema.sql", &schema_dump(&fresh));
    let number = |pragma| -> i64 { fresh.pragma_query_value(None, pragma, |row| row.get(0)).unwrap() };
    assert_eq!(
        (number("user_version"), number("application_id")),
        (FORMAT, 0x4341_5652)
    );
    let journal: String = fresh
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(journal, "wal");
}

#[test]
fn the_golden_file_of_this_format_is_what_this_version_writes() {
    let place = Place::new();
    small_store(&place, FORMAT);
    let connection = Connection::open(place.file()).unwrap();
    assert_golden(&format!("format-{FORMAT}.sql"), &dump(&connection));
}

#[test]
fn a_database_of_every_format_becomes_this_one() {
    for format in 1..=FORMAT {
        let place = Place::new();
        small_store(&place, format);
        let expected = open(&place.file());
        let name = format!("format-{format}.sql");
        let script =
            std::fs::read_to_string(golden(&name)).unwrap_or_else(|_| panic!("there is no `{name}`"));
        let old = Place::new();
        let connection = Connection::open(old.file()).unwrap();
        connection.execute_batch(&script).unwrap();
        let version: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, format, "`{name}` is of another format");
        drop(connection);

        let upgraded = open(&old.file());
        assert_eq!(upgraded.check(&mut |_| {}).unwrap().findings, [], "{name}");
        assert_eq!(log(upgraded.as_ref()), log(expected.as_ref()), "{name}");
        assert_eq!(view(upgraded.as_ref()), view(expected.as_ref()), "{name}");
        append(upgraded.as_ref(), vec![note("later", noon())], noon());
        drop(upgraded);
        let connection = Connection::open(old.file()).unwrap();
        assert_golden("schema.sql", &schema_dump(&connection));
    }
}

#[test]
fn an_upgrade_fills_the_tables_of_releases_from_the_evidence_that_is_there() {
    let place = Place::new();
    small_store(&place, FORMAT);
    let connection = Connection::open(place.file()).unwrap();
    let expected = dump(&connection);
    // What format 1 had: the same evidence, and nothing that follows from exports, deliveries and references.
    connection
        .execute_batch(
            "DROP TABLE auditor_export; DROP TABLE delivery; DROP TABLE undelivered; DROP TABLE archive_reference; \
             DROP TABLE custody; DROP TABLE packet; DROP INDEX acknowledgement_undo; \
             ALTER TABLE acknowledgement DROP COLUMN undoes; DROP TABLE kept_answer_piece; DROP TABLE kept_answer; \
             DELETE FROM counter WHERE name = 'archive_lasting_alerts'; \
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(connection);
    drop(open(&place.file()));
    assert!(dump(&Connection::open(place.file()).unwrap()) == expected);
}
