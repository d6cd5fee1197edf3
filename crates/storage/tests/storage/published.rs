//! The published store's SQLite file.

use std::ops::ControlFlow;
use std::path::Path;

use cavra_storage::{StorageError, published};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::support::{Place, quickstart};

/// Makes a file as the published system does (contract wire 1.1).
pub(crate) fn published_store(path: &Path, records: &[Value]) {
    let mut connection = Connection::open(path).unwrap();
    let transaction = connection.transaction().unwrap();
    transaction
        .execute_batch(
            "CREATE TABLE evidence_metadata (session_id TEXT PRIMARY KEY, created_at TEXT, signer TEXT, \
             decision_count INTEGER NOT NULL, blocked_count INTEGER NOT NULL, \
             approval_required_count INTEGER NOT NULL, payload TEXT NOT NULL)",
        )
        .unwrap();
    for record in records {
        let number = |key: &str| record[key].as_i64().unwrap_or_default();
        transaction
            .execute(
                "INSERT INTO evidence_metadata VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    record["session_id"].as_str(),
                    record["created_at"].as_str(),
                    record["signer"].as_str(),
                    number("decision_count"),
                    number("blocked_count"),
                    number("approval_required_count"),
                    record.to_string(),
                ],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
}

fn payloads(path: &Path) -> Result<Vec<Value>, StorageError> {
    let mut found = Vec::new();
    published::visit_file(path, &mut |payload| {
        found.push(serde_json::from_str(payload).unwrap());
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

#[test]
fn every_record_is_read_in_the_order_of_its_key_from_a_file_and_from_bytes() {
    let place = Place::new();
    let mut records = quickstart();
    published_store(&place.file(), &records);
    records.sort_by(|a, b| a["session_id"].as_str().cmp(&b["session_id"].as_str()));
    let before = place.content();
    assert_eq!(payloads(&place.file()).unwrap(), records);
    assert!(place.content() == before, "the file was changed");
    let mut from_bytes: Vec<Value> = Vec::new();
    published::visit_bytes(&before["cavra.db"], &mut |payload| {
        from_bytes.push(serde_json::from_str(payload).unwrap());
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(from_bytes, records);
}

#[test]
fn reading_ends_when_the_visitor_says_so_or_fails() {
    let place = Place::new();
    published_store(&place.file(), &quickstart());
    let mut seen = 0;
    published::visit_file(&place.file(), &mut |_| {
        seen += 1;
        Ok(if seen == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })
    .unwrap();
    assert_eq!(seen, 3);
    let failed = published::visit_file(&place.file(), &mut |_| Err(StorageError::Full));
    assert!(matches!(failed, Err(StorageError::Full)), "{failed:?}");
}

#[test]
fn what_is_no_published_store_is_refused() {
    let place = Place::new();
    assert!(matches!(
        payloads(&place.named("missing")),
        Err(StorageError::Open { .. })
    ));
    std::fs::write(place.named("text"), "no database").unwrap();
    assert!(matches!(
        payloads(&place.named("text")),
        Err(StorageError::Corrupt(_))
    ));
    let connection = Connection::open(place.named("other")).unwrap();
    connection
        .execute_batch("CREATE TABLE evidence_metadata (session_id TEXT)")
        .unwrap();
    let Err(StorageError::Corrupt(said)) = payloads(&place.named("other")) else {
        panic!("a table without payloads");
    };
    assert!(said.contains("evidence_metadata"), "{said}");
    connection
        .execute_batch(
            "ALTER TABLE evidence_metadata ADD payload; INSERT INTO evidence_metadata VALUES ('a', x'00')",
        )
        .unwrap();
    assert!(matches!(
        payloads(&place.named("other")),
        Err(StorageError::Corrupt(_))
    ));
}

#[test]
fn a_cut_published_store_is_refused() {
    let place = Place::new();
    published_store(&place.file(), &quickstart());
    let whole = std::fs::read(place.file()).unwrap();
    for length in [whole.len() / 2, 5000, 100, 20] {
        let cut = &whole[..length];
        std::fs::write(place.named("cut"), cut).unwrap();
        assert!(
            matches!(payloads(&place.named("cut")), Err(StorageError::Corrupt(_))),
            "{length}"
        );
        let from_bytes = published::visit_bytes(cut, &mut |_| Ok(ControlFlow::Continue(())));
        assert!(
            matches!(from_bytes, Err(StorageError::Corrupt(_))),
            "{length}: {from_bytes:?}"
        );
    }
}
