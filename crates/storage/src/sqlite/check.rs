//! The check of a whole database: the file, the log, and whether the state is what the evidence says.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;

use cavra_domain::evidence::{EvidenceKind, whole_digest};
use cavra_evidence::canonical::canonical_value;
use cavra_evidence::digest::{Digest, DigestWriter};
use cavra_evidence::merkle;
use cavra_evidence::note::NoteSignature;
use cavra_evidence::strict;
use cavra_evidence::tiles::{self, TILE_WIDTH, TileId, TileNodes, Tiles};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::append::{Writing, signed};
use super::read::Reading;
use super::{SqliteStore, WriteState, log, open_reader, schema};
use crate::{Appended, NewRecord, ReadTx, StorageError, StoredRecord, WriteTx, unpack};

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
    /// Packages, and other documents beside their records, whose digest was computed again.
    pub package_count: u64,
    /// Leaves of the log, as the evidence gives it.
    pub log_size: u64,
    /// Root of the log, as the evidence gives it.
    pub log_root: Option<Digest>,
    /// What is wrong; empty when everything is as it should be.
    pub findings: Vec<Finding>,
}

/// Tables that follow from the evidence, with what decides their order.
const DERIVED: [(&str, &str); 13] = [
    ("plan", "id"),
    ("route", "id"),
    ("acknowledgement", "position"),
    ("route_answer", "route, effective_at, acknowledgement"),
    ("term", "id"),
    ("posting", "term, created_at, position"),
    ("counter", "name"),
    ("auditor_export", "export_id"),
    ("delivery", "export_id, provider_key, happened_at, position"),
    ("undelivered", "export_id, provider_key"),
    ("archive_reference", "export_id, effective_at, position"),
    ("custody", "export_id"),
    ("packet", "release_record_ref, kind, created_at, position"),
];

impl SqliteStore {
    /// Checks the file's integrity, that the tables and the triggers that keep evidence append-only are there, that
    /// the log has no gap and every leaf and tile that the evidence gives, that every record is canonical, has its digest and stands under what it says itself, that
    /// every package has the digest of its record, and that the tables hold exactly what replaying the evidence
    /// gives. The service may go on meanwhile: the check reads one state.
    ///
    /// `progress` is told the position after each record.
    ///
    /// # Errors
    /// [`StorageError`] when the file cannot be read at all; what is wrong in it is a finding.
    pub fn check(&self, progress: &mut dyn FnMut(u64)) -> Result<CheckReport, StorageError> {
        let super::Readers::Pool { path, .. } = &self.readers else {
            return Err(StorageError::Closed);
        };
        let connection = open_reader(path)?;
        let transaction = connection.unchecked_transaction()?;
        check(&transaction, progress)
    }
}

pub(super) fn check(
    connection: &Connection,
    progress: &mut dyn FnMut(u64),
) -> Result<CheckReport, StorageError> {
    let mut report = CheckReport::default();
    let integral = integrity(connection, &mut report);
    report.damage("file", integral)?;
    // The state is rebuilt in a temporary database, which SQLite keeps in memory or spills to a file of its own.
    let rebuilt = Connection::open("")?;
    schema::prepare_scratch(&rebuilt)?;
    let same = schema_of(connection).and_then(|stored| Ok((stored, schema_of(&rebuilt)?)));
    if let Some((stored, fresh)) = report.damage("schema", same)? {
        for name in fresh.keys().filter(|name| stored.get(*name) != fresh.get(*name)) {
            report.find(
                "schema",
                format!("`{name}` is missing or not as this version makes it"),
            );
        }
        for name in stored.keys().filter(|name| !fresh.contains_key(*name)) {
            report.find("schema", format!("`{name}` is not part of it"));
        }
    }
    let mut packages = BTreeMap::new();
    let before = report.findings.len();
    let mut log = Log::begin(connection);
    let replayed = replay(
        connection,
        &rebuilt,
        &mut report,
        &mut packages,
        &mut log,
        progress,
    );
    let whole = report.damage("log", replayed)?.is_some();
    let logged = log.finish(connection, &mut report);
    report.damage("log", logged)?;
    let marked = marks(connection, &mut report);
    report.damage("log", marked)?;
    let cosigned = cosignatures(connection, &mut report);
    report.damage("log_cosignature", cosigned)?;
    // A log that is not whole gives another state anyway.
    if report.findings.len() == before {
        let compared = compare(connection, &rebuilt, &mut report);
        report.damage("state", compared)?;
    }
    let checked = check_packages(connection, packages, whole, &mut report);
    report.damage("packages", checked)?;
    Ok(report)
}

fn integrity(connection: &Connection, report: &mut CheckReport) -> Result<(), StorageError> {
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
    Ok(())
}

/// Everything that the schema declares, with its text.
fn schema_of(connection: &Connection) -> Result<BTreeMap<String, String>, StorageError> {
    // What SQLite makes by itself has no text or begins with its name.
    let mut statement = connection.prepare(
        "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let declared = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(declared)
}

/// A document beside its record, as the record names it.
struct Named {
    digest: String,
    imported: bool,
}

/// Reads the whole log and makes the state anew from it.
fn replay(
    connection: &Connection,
    rebuilt: &Connection,
    report: &mut CheckReport,
    packages: &mut BTreeMap<u64, Named>,
    log: &mut Log,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StorageError> {
    let mut state = WriteState::default();
    rebuilt.execute_batch("BEGIN")?;
    let mut writing = Writing::begin(rebuilt, &mut state)?;
    let mut expected = 0;
    Reading::new(connection).visit_records(0, None, None, &mut |record| {
        expected += 1;
        let place = format!("record {}", record.position);
        if record.position != expected {
            report.find(
                &place,
                format!("the log has a gap: position {expected} is missing"),
            );
            expected = record.position;
        }
        log.take(&record);
        if Digest::of(record.json.as_bytes()) != record.sha256 {
            report.find(&place, "its digest is not that of its content".to_owned());
        }
        match strict::parse_str(&record.json) {
            Err(error) => report.find(&place, format!("it is not strict JSON: {error}")),
            Ok(value) => {
                if canonical_value(&value).is_ok_and(|canonical| canonical != record.json) {
                    report.find(&place, "it is not canonical JSON".to_owned());
                }
                let replayed = NewRecord {
                    value: &value,
                    recorded_at: record.recorded_at,
                    imported: record.imported,
                };
                match writing.append(&replayed) {
                    Err(error) => report.find(&place, format!("it cannot be replayed: {error}")),
                    Ok(Appended::Unchanged { .. }) => {
                        report.find(&place, "it stands in the log twice".to_owned());
                    }
                    Ok(Appended::Recorded { interpreted, .. }) => {
                        let own = (&interpreted.session_id, &interpreted.kind, interpreted.created_at);
                        if own != (&record.session_id, &record.kind, record.created_at) {
                            report.find(
                                &place,
                                "it stands under another key, kind or time than its own".to_owned(),
                            );
                        }
                    }
                }
                let digest = whole_digest(&record.kind, &value);
                if digest.is_some() || record.kind == EvidenceKind::AuditPackage {
                    let named = Named {
                        digest: digest.unwrap_or_default().to_owned(),
                        imported: record.imported,
                    };
                    packages.insert(record.position, named);
                }
            }
        }
        report.record_count += 1;
        progress(record.position);
        Ok(ControlFlow::Continue(()))
    })?;
    writing.finish()?;
    drop(writing);
    rebuilt.execute_batch("COMMIT")?;
    Ok(())
}

/// The Merkle log, made anew from the records that are read.
struct Log {
    upgraded_through: Result<u64, StorageError>,
    tiles: Rebuilt,
    waiting: Vec<Digest>,
    size: u64,
}

/// Tiles in memory: a 200th of the evidence.
#[derive(Default)]
struct Rebuilt(BTreeMap<TileId, Vec<u8>>);

impl Tiles for Rebuilt {
    type Error = StorageError;

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, StorageError> {
        Ok(self.0.get(&tile).cloned().unwrap_or_default())
    }
}

impl Log {
    fn begin(connection: &Connection) -> Self {
        Self {
            upgraded_through: log::upgraded_through(connection),
            tiles: Rebuilt::default(),
            waiting: Vec::new(),
            size: 0,
        }
    }

    fn take(&mut self, record: &StoredRecord) {
        let through = self.upgraded_through.as_ref().copied().unwrap_or_default();
        self.waiting.push(record.leaf(through).hash());
    }

    /// Names the first leaf, or else the first tile, that is not what the evidence gives; and the checkpoints' own
    /// table, as far as it can be wrong by itself.
    fn finish(mut self, connection: &Connection, report: &mut CheckReport) -> Result<(), StorageError> {
        let mut written = Vec::new();
        let leaves = std::mem::take(&mut self.waiting);
        tiles::append(&self.tiles, 0, &leaves, &mut |tile, hashes| {
            written.push((tile, hashes.to_vec()));
            Ok(())
        })?;
        self.tiles.0.extend(written);
        self.size = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        report.log_size = self.size;
        report.log_root = tiles_root(&self.tiles, self.size);
        let size = self.size;
        match self.upgraded_through {
            Ok(through) if through > size => report.find(
                "log",
                "it says that more records were upgraded than there are".to_owned(),
            ),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let mut statement =
            connection.prepare("SELECT level, tile, hashes FROM log_tile ORDER BY level, tile")?;
        let mut rows = statement.query([])?;
        let mut expected = self.tiles.0.into_iter();
        loop {
            let stored = match rows.next()? {
                None => None,
                Some(row) => {
                    let (level, index): (i64, i64) = (row.get(0)?, row.get(1)?);
                    let place = u8::try_from(level).ok().zip(u64::try_from(index).ok());
                    let (level, index) = place.ok_or_else(|| {
                        StorageError::Corrupt("a stored tile is at an impossible place".to_owned())
                    })?;
                    let tile = TileId { level, index };
                    Some((tile, row.get::<_, Vec<u8>>(2)?))
                }
            };
            match (stored, expected.next()) {
                (None, None) => break,
                (Some(stored), Some(fresh)) if stored == fresh => {}
                (stored, fresh) => {
                    let (place, problem) = difference(stored, fresh);
                    report.find(&place, problem);
                    break;
                }
            }
        }
        Ok(())
    }
}

fn tiles_root(tiles: &Rebuilt, size: u64) -> Option<Digest> {
    merkle::root(&TileNodes(tiles), size).ok()
}

/// What is to be said about the first stored tile that is not the one that the evidence gives.
fn difference(stored: Option<(TileId, Vec<u8>)>, fresh: Option<(TileId, Vec<u8>)>) -> (String, String) {
    const HASH_BYTES: usize = 32;
    let name = |tile: TileId| format!("log tile {}/{}", tile.level, tile.index);
    match (stored, fresh) {
        (Some((tile, _)), None) => (name(tile), "it has no evidence".to_owned()),
        (Some((tile, _)), Some((expected, _))) if tile < expected => {
            (name(tile), "it has no evidence".to_owned())
        }
        (Some((tile, hashes)), Some((expected, fresh))) if tile == expected && tile.level == 0 => {
            let same = hashes
                .chunks(HASH_BYTES)
                .zip(fresh.chunks(HASH_BYTES))
                .take_while(|(stored, fresh)| stored == fresh)
                .count();
            let position = tile.index * TILE_WIDTH + u64::try_from(same).unwrap_or_default() + 1;
            let what = "the log holds another leaf for it: its content, kind, time, origin or place is not what it was";
            (format!("record {position}"), what.to_owned())
        }
        (_, Some((expected, _))) => (
            name(expected),
            "it is missing or not what the evidence gives".to_owned(),
        ),
        (None, None) => ("log".to_owned(), String::new()),
    }
}

impl CheckReport {
    fn find(&mut self, place: &str, problem: String) {
        self.findings.push(Finding {
            place: place.to_owned(),
            problem,
        });
    }

    /// What cannot be read because the file is damaged is a finding; any other failure ends the check.
    fn damage<T>(&mut self, place: &str, result: Result<T, StorageError>) -> Result<Option<T>, StorageError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(StorageError::Corrupt(problem)) => {
                self.find(place, problem);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Names the first record whose mark of where it came from is written in a way in which nothing here writes it: any
/// number but 0 reads as true, so no leaf would tell.
fn marks(connection: &Connection, report: &mut CheckReport) -> Result<(), StorageError> {
    let mut strange = connection
        .prepare("SELECT position FROM evidence WHERE imported NOT IN (0, 1) ORDER BY position LIMIT 1")?;
    let mut rows = strange.query([])?;
    if let Some(row) = rows.next()? {
        let position: i64 = row.get(0)?;
        report.find(
            &format!("record {position}"),
            "its mark of origin is neither yes nor no".to_owned(),
        );
    }
    Ok(())
}

/// Names the first line of a witness that is none, or stands under a size that the log does not have. Whether it is
/// right, only who has the witness's key can say.
fn cosignatures(connection: &Connection, report: &mut CheckReport) -> Result<(), StorageError> {
    let log_size = i64::try_from(report.log_size).unwrap_or(i64::MAX);
    let mut kept = connection.prepare("SELECT size, line FROM log_cosignature ORDER BY size, line")?;
    let mut rows = kept.query([])?;
    while let Some(row) = rows.next()? {
        let (size, line): (i64, String) = (row.get(0)?, row.get(1)?);
        let line = line.strip_suffix('\n').unwrap_or(&line);
        let problem = match NoteSignature::parse(line) {
            Err(_) => "a line under it is no signature",
            Ok(_) if size < 1 || size > log_size => {
                "something is signed under it, and the log has no such size"
            }
            Ok(_) => continue,
        };
        report.find(&format!("checkpoint {size}"), problem.to_owned());
        break;
    }
    Ok(())
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

/// Computes the digest of every document that is stored beside its record again.
fn check_packages(
    connection: &Connection,
    packages: BTreeMap<u64, Named>,
    whole: bool,
    report: &mut CheckReport,
) -> Result<(), StorageError> {
    let mut pieces =
        connection.prepare("SELECT piece, bytes FROM package_chunk WHERE position = ?1 ORDER BY piece")?;
    let mut holders = connection.prepare("SELECT DISTINCT position FROM package_chunk ORDER BY position")?;
    let mut rows = holders.query([])?;
    while let Some(row) = rows.next()? {
        let position: i64 = row.get(0)?;
        // Where reading the records stopped, nobody knows which of the rest are packages.
        if whole && !u64::try_from(position).is_ok_and(|position| packages.contains_key(&position)) {
            report.find(
                &format!("record {position}"),
                "pieces of a document lie under it, and it names none".to_owned(),
            );
        }
    }
    for (position, named) in packages {
        let mut writer = DigestWriter::new();
        let mut rows = pieces.query(params![signed(position)?])?;
        let (mut count, mut readable) = (0_i64, true);
        while let Some(row) = rows.next()? {
            let (piece, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            readable &= piece == count && unpack(&bytes).is_ok_and(|text| writer.write_all(&text).is_ok());
            count += 1;
        }
        // A document that was made elsewhere may have come without its text.
        if named.imported && count == 0 {
            continue;
        }
        if !readable || writer.finish().to_hex() != named.digest {
            report.find(
                &format!("record {position}"),
                "its document is not the one it names".to_owned(),
            );
        }
        report.package_count += 1;
    }
    Ok(())
}
