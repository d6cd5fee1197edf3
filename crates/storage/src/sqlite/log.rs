//! The Merkle log in SQLite: tiles, which grow in the transaction that appends the records.

use cavra_domain::time::Timestamp;
use cavra_evidence::digest::Digest;
use cavra_evidence::leaf::Leaf;
use cavra_evidence::tiles::{self, TileId, Tiles};
use rusqlite::{Connection, OptionalExtension, params};

use super::append::signed;
use crate::StorageError;

/// How many leaves are gathered at most before they are written as tiles: memory does not feel how many there are.
pub(super) const LEAVES_AT_ONCE: usize = 16_384;

/// The tiles of one connection's state.
#[derive(Debug)]
pub(super) struct StoredTiles<'a>(pub(super) &'a Connection);

impl Tiles for StoredTiles<'_> {
    type Error = StorageError;

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, StorageError> {
        Ok(self
            .0
            .prepare_cached("SELECT hashes FROM log_tile WHERE level = ?1 AND tile = ?2")?
            .query_row(params![tile.level, signed(tile.index)?], |row| row.get(0))
            .optional()?
            .unwrap_or_default())
    }
}

/// Puts leaves behind the first `size` ones.
pub(super) fn grow(connection: &Connection, size: u64, leaves: &[Digest]) -> Result<(), StorageError> {
    let mut write = connection.prepare_cached(
        "INSERT INTO log_tile (level, tile, hashes) VALUES (?1, ?2, ?3) \
         ON CONFLICT (level, tile) DO UPDATE SET hashes = excluded.hashes",
    )?;
    tiles::append(&StoredTiles(connection), size, leaves, &mut |tile, hashes| {
        write.execute(params![tile.level, signed(tile.index)?, hashes])?;
        Ok(())
    })
}

/// The newest record that was there before the log was.
pub(super) fn upgraded_through(connection: &Connection) -> Result<u64, StorageError> {
    let mut statement = connection.prepare_cached("SELECT through FROM log_upgrade")?;
    let rows: Vec<u64> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    match rows.as_slice() {
        [through] => Ok(*through),
        _ => Err(StorageError::Corrupt(
            "the log does not say where it began".to_owned(),
        )),
    }
}

/// Brings what an earlier version has stored into the log, once, marked as such.
pub(super) fn upgrade(connection: &Connection) -> Result<(), StorageError> {
    let mut leaves = Vec::new();
    let mut size = 0_u64;
    let mut statement = connection
        .prepare("SELECT position, kind, recorded_at, imported, sha256 FROM evidence ORDER BY position")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let leaf = Leaf {
            position: row.get(0)?,
            kind: row.get(1)?,
            recorded_at: Timestamp::from_micros(row.get(2)?)
                .ok_or_else(|| StorageError::Corrupt("a stored record has an impossible time".to_owned()))?,
            imported: row.get(3)?,
            sha256: Digest::from_bytes(row.get(4)?),
            upgraded: true,
        };
        leaves.push(leaf.hash());
        if leaves.len() == LEAVES_AT_ONCE {
            grow(connection, size, &leaves)?;
            size += u64::try_from(leaves.len()).unwrap_or_default();
            leaves.clear();
        }
    }
    grow(connection, size, &leaves)?;
    size += u64::try_from(leaves.len()).unwrap_or_default();
    connection.execute("INSERT INTO log_upgrade (through) VALUES (?1)", [signed(size)?])?;
    Ok(())
}
