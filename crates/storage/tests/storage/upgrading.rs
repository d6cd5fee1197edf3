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

/// A small store with something in every table.
fn evidence() -> Vec<Value> {
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

fn small_store(place: &Place) {
    let store = open(&place.file());
    append(store.as_ref(), evidence(), noon());
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
    small_store(&place);
    let connection = Connection::open(place.file()).unwrap();
    assert_golden(&format!("format-{FORMAT}.sql"), &dump(&connection));
}

#[test]
fn a_database_of_every_format_becomes_this_one() {
    let place = Place::new();
    small_store(&place);
    let expected = open(&place.file());
    for format in 1..=FORMAT {
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
