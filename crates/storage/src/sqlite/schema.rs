//! The file's format: `application_id` says that it is ours, `user_version` which step of the ladder it is on.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::BUSY_TIMEOUT;
use crate::StorageError;

/// `CAVR`: marks our files.
const APPLICATION_ID: i64 = 0x4341_5652;

/// One step of the ladder.
struct Step {
    /// What the new format adds.
    sql: &'static str,
    /// Fills it from the evidence that is there already.
    fill: fn(&Connection) -> Result<(), StorageError>,
}

/// The ladder: step `n` brings format `n` to `n + 1`. A step is never edited after a release.
const LADDER: &[Step] = &[
    Step {
        sql: include_str!("../../migrations/0001_evidence.sql"),
        fill: |_| Ok(()),
    },
    Step {
        sql: include_str!("../../migrations/0002_releases.sql"),
        fill: super::release::fill,
    },
    Step {
        sql: include_str!("../../migrations/0003_bulk.sql"),
        fill: |_| Ok(()),
    },
    Step {
        sql: include_str!("../../migrations/0004_log.sql"),
        fill: super::log::upgrade,
    },
    Step {
        sql: include_str!("../../migrations/0005_route_listing.sql"),
        fill: |_| Ok(()),
    },
];

/// The format that this version writes.
#[expect(clippy::cast_possible_wrap, reason = "a ladder has a handful of steps")]
pub const FORMAT: i64 = LADDER.len() as i64;

/// How long to wait where SQLite does not.
const PAUSE: Duration = Duration::from_millis(5);

/// Checks the file, brings it up to date, and sets the connection up for writing.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let named = |error| about(error, path);
    let found = inspect(connection, path).map_err(named)?;
    if connection.is_readonly(rusqlite::MAIN_DB)? {
        return Err(StorageError::ReadOnly(path.to_owned()));
    }
    write_ahead(connection).map_err(|error| named(error.into()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    keep_statements(connection)?;
    climb(connection, found).map_err(named)
}

/// Sets the journal mode. While somebody else does the same, SQLite says at once that it is busy: it has read the mode
/// first, and it never waits for the lock of one who has read.
fn write_ahead(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut waited = Duration::ZERO;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && waited < BUSY_TIMEOUT =>
            {
                std::thread::park_timeout(PAUSE);
                waited += PAUSE;
            }
            done => return done,
        }
    }
}

/// Names the file in an error about it.
fn about(error: StorageError, path: &Path) -> StorageError {
    match error {
        StorageError::ReadOnly(_) => StorageError::ReadOnly(path.to_owned()),
        StorageError::Corrupt(what) => StorageError::Corrupt(format!("`{}`: {what}", path.display())),
        // A folder in which SQLite may not make the files that it keeps beside the database, for one.
        StorageError::Engine(source)
            if source
                .downcast_ref::<rusqlite::Error>()
                .and_then(rusqlite::Error::sqlite_error_code)
                == Some(rusqlite::ErrorCode::CannotOpen) =>
        {
            StorageError::Open {
                path: path.to_owned(),
                source,
            }
        }
        error => error,
    }
}

/// The file's format, 0 for an empty file; an error when the file is not one that this version may write.
fn inspect(connection: &Connection, path: &Path) -> Result<i64, StorageError> {
    // One state: another process may be making the tables at this moment.
    connection.execute_batch("BEGIN")?;
    let inspected = (|| -> Result<_, rusqlite::Error> {
        // The first statement that reads: a file that is no database fails here.
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((found, application, tables))
    })();
    let ended = connection.execute_batch("ROLLBACK");
    let (found, application, tables) = inspected.map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => StorageError::NotOurs(path.to_owned()),
        _ => error.into(),
    })?;
    ended?;
    if application != APPLICATION_ID && (tables > 0 || found != 0 || application != 0) {
        return Err(StorageError::NotOurs(path.to_owned()));
    }
    if found > FORMAT {
        return Err(StorageError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    if found < 0 || (found == 0 && tables > 0) {
        return Err(StorageError::Corrupt(format!(
            "it says that it has format {found}"
        )));
    }
    Ok(found)
}

/// Prepares each statement once: without the stability guarantee SQLite plans a statement anew whenever a bound value
/// might suit another index, which no statement here gains from.
pub(super) fn keep_statements(connection: &Connection) -> Result<(), StorageError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
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
            connection.execute_batch(step.sql)?;
            (step.fill)(connection)?;
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
    keep_statements(connection)?;
    for step in LADDER {
        connection.execute_batch(step.sql)?;
    }
    Ok(())
}
