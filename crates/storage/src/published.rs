//! The published store's SQLite file: one table, one JSON payload per record (contract wire 1.1).

use std::ops::ControlFlow;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::{StorageError, Visit};

/// How every SQLite file begins.
pub const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Reads every payload of a published store's file, in the order of `session_id`. The file is not changed.
///
/// # Errors
/// [`StorageError`] when the file cannot be opened or has no `evidence_metadata` table with a `payload`.
pub fn visit_file(path: &Path, visit: &mut dyn FnMut(&str) -> Visit) -> Result<(), StorageError> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(|source| StorageError::Open {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    visit_payloads(&connection, visit)
}

/// Reads every payload of a published store's file that is in memory.
///
/// # Errors
/// [`StorageError`] as [`visit_file`].
pub fn visit_bytes(bytes: &[u8], visit: &mut dyn FnMut(&str) -> Visit) -> Result<(), StorageError> {
    let mut connection = Connection::open_in_memory()?;
    connection
        .deserialize_read_exact(rusqlite::MAIN_DB, bytes, bytes.len(), true)
        .map_err(|error| StorageError::Corrupt(error.to_string()))?;
    visit_payloads(&connection, visit)
}

fn visit_payloads(connection: &Connection, visit: &mut dyn FnMut(&str) -> Visit) -> Result<(), StorageError> {
    let unreadable = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
            StorageError::Corrupt(error.to_string())
        }
        _ => StorageError::Corrupt(
            "the file has no table `evidence_metadata` with a column `payload`".to_owned(),
        ),
    };
    let mut statement = connection
        .prepare("SELECT payload FROM evidence_metadata ORDER BY session_id")
        .map_err(unreadable)?;
    let mut rows = statement.query([]).map_err(unreadable)?;
    while let Some(row) = rows.next().map_err(unreadable)? {
        let payload = row
            .get_ref(0)?
            .as_str()
            .map_err(|_| StorageError::Corrupt("a payload of `evidence_metadata` is not text".to_owned()))?;
        if visit(payload)? == ControlFlow::Break(()) {
            break;
        }
    }
    Ok(())
}
