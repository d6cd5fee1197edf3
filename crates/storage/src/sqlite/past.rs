//! An earlier state, made anew from the evidence.

use std::ops::ControlFlow;

use cavra_evidence::strict;
use rusqlite::Connection;

use super::WriteState;
use super::append::Writing;
use crate::{NewRecord, ReadTx, StorageError, WriteTx as _};

/// Puts the first `position` records into an empty database, as they were put into the real one.
pub(super) fn replay(tx: &dyn ReadTx, position: u64, scratch: &Connection) -> Result<(), StorageError> {
    let mut state = WriteState::default();
    scratch.execute_batch("BEGIN")?;
    let mut writing = Writing::begin(scratch, &mut state)?;
    tx.visit_records(0, None, None, &mut |record| {
        if record.position > position {
            return Ok(ControlFlow::Break(()));
        }
        let value = strict::parse_str(&record.json)
            .map_err(|error| StorageError::Corrupt(format!("record {}: {error}", record.position)))?;
        writing.append(&NewRecord {
            value: &value,
            recorded_at: record.recorded_at,
            imported: record.imported,
        })?;
        Ok(ControlFlow::Continue(()))
    })?;
    writing.finish()?;
    drop(writing);
    scratch.execute_batch("COMMIT")?;
    Ok(())
}

/// The largest earlier state that is kept for the next question about it.
const KEPT_BYTES: i64 = 256 << 20;

/// Whether a state is small enough to be kept.
pub(super) fn is_small(scratch: &Connection) -> Result<bool, StorageError> {
    let pages: i64 = scratch.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let bytes: i64 = scratch.pragma_query_value(None, "page_size", |row| row.get(0))?;
    Ok(pages.saturating_mul(bytes) <= KEPT_BYTES)
}
