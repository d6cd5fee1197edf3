//! The check of a whole database: the file, the log, and whether the state is what the evidence says.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use cavra_evidence::canonical::canonical_value;
use cavra_evidence::digest::Digest;
use cavra_evidence::strict;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::append::Writing;
use super::read::Reading;
use super::{SqliteStore, WriteState, open_reader, schema};
use crate::{NewRecord, ReadTx, StorageError, WriteTx};

/// What a check found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: a position of the log, a table, or the file.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Records of the log that were read.
    pub record_count: u64,
    /// Packages whose digest was computed again.
    pub package_count: u64,
    /// What is wrong; empty when everything is as it should be.
    pub findings: Vec<Finding>,
}

/// Tables that follow from the evidence, with what decides their order.
const DERIVED: [(&str, &str); 6] = [
    ("plan", "id"),
    ("route", "id"),
    ("acknowledgement", "position"),
    ("route_answer", "route, effective_at, acknowledgement"),
    ("posting", "term, created_at, position"),
    ("counter", "name"),
];

impl SqliteStore {
    /// Checks the file's integrity, that the log has no gap, that every record is canonical and has its digest,
    /// that every package has the digest of its record, and that the tables hold exactly what replaying the
    /// evidence gives. The service may go on meanwhile: the check reads one state.
    ///
    /// `progress` is told the position after each record.
    ///
    /// # Errors
    /// [`StorageError`] when the file cannot be read at all; what is wrong in it is a finding.
    pub fn check(&self, progress: &mut dyn FnMut(u64)) -> Result<CheckReport, StorageError> {
        let super::Readers::Pool { path, .. } = &self.readers else { return Err(StorageError::Closed) };
        let connection = open_reader(path)?;
        let transaction = connection.unchecked_transaction()?;
        check(&transaction, progress)
    }
}

fn check(connection: &Connection, progress: &mut dyn FnMut(u64)) -> Result<CheckReport, StorageError> {
    let mut report = CheckReport::default();
    for pragma in ["integrity_check", "foreign_key_check"] {
        let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let said = match row.get_ref(0)? {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{:?}", other.data_type()),
            };
            if said != "ok" {
                report.find("file", format!("{pragma}: {said}"));
            }
        }
    }
    // The state is rebuilt in a temporary database, which SQLite keeps in memory or spills to a file of its own.
    let rebuilt = Connection::open("")?;
    schema::prepare_scratch(&rebuilt)?;
    let mut state = WriteState::default();
    rebuilt.execute_batch("BEGIN")?;
    {
        let mut writing = Writing::begin(&rebuilt, &mut state)?;
        let mut expected = 0;
        Reading::new(connection).visit_records(0, None, None, &mut |record| {
            expected += 1;
            let place = format!("record {}", record.position);
            if record.position != expected {
                report.find(&place, format!("the log has a gap: position {expected} is missing"));
                expected = record.position;
            }
            if Digest::of(record.json.as_bytes()) != record.sha256 {
                report.find(&place, "its digest is not that of its content".to_owned());
            }
            match strict::parse_str(&record.json) {
                Err(error) => report.find(&place, format!("it is not strict JSON: {error}")),
                Ok(value) => {
                    if canonical_value(&value).is_ok_and(|canonical| canonical != record.json) {
                        report.find(&place, "it is not canonical JSON".to_owned());
                    }
                    let replayed = NewRecord { value: &value, recorded_at: record.recorded_at, imported: record.imported };
                    if let Err(error) = writing.append(&replayed) {
                        report.find(&place, format!("it cannot be replayed: {error}"));
                    }
                }
            }
            report.record_count += 1;
            progress(record.position);
            Ok(ControlFlow::Continue(()))
        })?;
        writing.finish()?;
    }
    rebuilt.execute_batch("COMMIT")?;
    if report.findings.is_empty() {
        compare(connection, &rebuilt, &mut report)?;
    }
    packages(connection, &mut report)?;
    Ok(report)
}

impl CheckReport {
    fn find(&mut self, place: &str, problem: String) {
        self.findings.push(Finding { place: place.to_owned(), problem });
    }
}

/// Names the first row of each table that differs from the replay.
fn compare(stored: &Connection, rebuilt: &Connection, report: &mut CheckReport) -> Result<(), StorageError> {
    for (table, order) in DERIVED {
        let sql = format!("SELECT * FROM {table} ORDER BY {order}");
        let (mut left, mut right) = (stored.prepare(&sql)?, rebuilt.prepare(&sql)?);
        let columns = left.column_count();
        let (mut left, mut right) = (left.query([])?, right.query([])?);
        for number in 1_u64.. {
            match (left.next()?, right.next()?) {
                (None, None) => break,
                (Some(left), Some(right)) => {
                    let mut same = true;
                    for column in 0..columns {
                        same &= left.get_ref(column)? == right.get_ref(column)?;
                    }
                    if same {
                        continue;
                    }
                    report.find(table, format!("row {number} is not what the evidence says"));
                }
                (Some(_), None) => report.find(table, format!("row {number} has no evidence")),
                (None, Some(_)) => report.find(table, format!("row {number} is missing")),
            }
            break;
        }
    }
    Ok(())
}

/// Computes the digest of every stored package again.
fn packages(connection: &Connection, report: &mut CheckReport) -> Result<(), StorageError> {
    let mut digests: BTreeMap<i64, String> = BTreeMap::new();
    let mut statement = connection.prepare(
        "SELECT position, json_extract(record, '$.acknowledgement_audit_package.package_sha256') FROM evidence \
         WHERE kind = 'go-backend-rollback-drill-acknowledgement-audit-package' AND imported = 0",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        digests.insert(row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default());
    }
    let mut pieces = connection.prepare("SELECT bytes FROM package_chunk WHERE position = ?1 ORDER BY piece")?;
    for (position, expected) in digests {
        let mut writer = cavra_evidence::digest::DigestWriter::new();
        let mut rows = pieces.query(params![position])?;
        let mut readable = true;
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(0)?;
            readable &= crate::unpack(&bytes)
                .is_ok_and(|text| std::io::Write::write_all(&mut writer, &text).is_ok());
        }
        if !readable || writer.finish().to_hex() != expected {
            report.find(&format!("record {position}"), "its package is not the one it names".to_owned());
        }
        report.package_count += 1;
    }
    Ok(())
}
