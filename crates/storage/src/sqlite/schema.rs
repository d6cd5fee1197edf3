//! The file's format: `application_id` says that it is ours, `user_version` which step of the ladder it is on.

use std::path::Path;

use rusqlite::Connection;

use super::BUSY_TIMEOUT;
use crate::StorageError;

/// `CAVR`: marks our files.
const APPLICATION_ID: i64 = 0x4341_5652;

/// The ladder: step `n` brings format `n` to `n + 1`. A step is never edited after a release.
const LADDER: &[&str] = &[include_str!("../../migrations/0001_evidence.sql")];

/// The format that this version writes.
pub const FORMAT: i64 = LADDER.len() as i64;

/// Checks the file, brings it up to date, and sets the connection up for writing.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The first statement that reads: a file that is no database fails here.
    let found: i64 = match connection.pragma_query_value(None, "user_version", |row| row.get(0)) {
        Ok(version) => version,
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return Err(StorageError::NotOurs(path.to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (tables > 0 || found != 0 || application != 0) {
        return Err(StorageError::NotOurs(path.to_owned()));
    }
    if found > FORMAT {
        return Err(StorageError::Newer { path: path.to_owned(), found, known: FORMAT });
    }
    let named = |error: rusqlite::Error| match StorageError::from(error) {
        StorageError::ReadOnly(_) => StorageError::ReadOnly(path.to_owned()),
        error => error,
    };
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Err(StorageError::ReadOnly(path.to_owned()));
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(named)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(128);
    climb(connection, found).map_err(|error| match error {
        StorageError::ReadOnly(_) => StorageError::ReadOnly(path.to_owned()),
        error => error,
    })
}

/// Climbs the ladder in one transaction. Another process may be climbing at the same time, so the format is
/// read again under the lock.
fn climb(connection: &Connection, found: i64) -> Result<(), StorageError> {
    if found == FORMAT {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let climbed = (|| -> Result<(), StorageError> {
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        for step in LADDER.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
            connection.execute_batch(step)?;
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "user_version", FORMAT)?;
        connection.execute_batch("COMMIT")?;
        Ok(())
    })();
    if climbed.is_err() {
        // The error that matters is the one that stopped the climb.
        let _ = connection.execute_batch("ROLLBACK");
    }
    climbed
}

/// Sets up a scratch database with the tables of this version.
pub(super) fn prepare_scratch(connection: &Connection) -> Result<(), StorageError> {
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.set_prepared_statement_cache_capacity(128);
    for step in LADDER {
        connection.execute_batch(step)?;
    }
    Ok(())
}
