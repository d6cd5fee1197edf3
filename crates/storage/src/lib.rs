//! Storage: evidence, and the state that follows from it, in one transaction.
//!
//! The use cases see [`Store`]: a whole read over one consistent state, or a whole write that is durable when
//! it returns and never happened when it fails. The only way to change anything is [`WriteTx::append`]: state
//! (routes, counters, what history finds) is computed from the appended record inside the same transaction, so
//! that no state exists without its evidence. Another engine implements the same three traits.
//!
//! [`sqlite::SqliteStore`] is the engine of this version.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use cavra_domain::acknowledgement::{HistoryEntry, PreparedAcknowledgement};
use cavra_domain::audit_package::{EvidencePosition, Population};
use cavra_domain::bulk::Target;
use cavra_domain::evidence::{EvidenceKind, HistoryTerm};
use cavra_domain::id::{PlanId, RouteId, ScheduleId};
use cavra_domain::public_safe::Text;
use cavra_domain::record::{Interpreted, RecordError};
use cavra_domain::route::{Cycles, RouteCounts, RouteFilter, TrackedRoute};
use cavra_domain::suppression::SuppressionCounts;
use cavra_domain::time::Timestamp;
use cavra_domain::trend::Course;
use cavra_domain::undo::Undoable;
use cavra_evidence::digest::Digest;
use cavra_evidence::leaf::Leaf;
use cavra_evidence::tiles::TileId;
use serde_json::Value;
use thiserror::Error;

pub mod published;
mod release;
pub mod sqlite;

pub use release::ReadReleases;

/// Kinds whose document may be too large for its record: the record then says which, and the whole is stored beside it,
/// in pieces.
pub const WHOLE_BESIDE_RECORD: [EvidenceKind; 5] = [
    EvidenceKind::AuditPackage,
    EvidenceKind::ExportRetryPlan,
    EvidenceKind::ArchiveHealth,
    EvidenceKind::BulkAcknowledgement,
    EvidenceKind::BulkUndo,
];

/// Why storage could not do what was asked. Nothing was changed.
#[derive(Debug, Error)]
pub enum StorageError {
    /// The file cannot be opened or created.
    #[error("cannot open the database `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is a database of something else.
    #[error("`{}` is not a cavra database; to take the records of a published store, use `cavra import`", .0.display())]
    NotOurs(PathBuf),
    /// The file was written by a newer version.
    #[error("the database `{}` has format {found}, and this version knows formats up to {known}: use the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// The file can be read but not written.
    #[error("the database `{}` is read-only", .0.display())]
    ReadOnly(PathBuf),
    /// The file is damaged. Nothing is repaired or deleted.
    #[error("the database is damaged, and nothing in it was changed; restore a backup: {0}")]
    Corrupt(String),
    /// A record with this id and another content is there already; evidence is never replaced.
    #[error("a record `{0}` with other content is already recorded")]
    Conflict(String),
    /// The record says nothing that can be understood.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record cannot be written as canonical JSON.
    #[error("the record cannot be written as canonical JSON")]
    Canonical(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process held the database for too long.
    #[error("the database is busy")]
    Busy,
    /// There is no room to write.
    #[error("the disk is full")]
    Full,
    /// The engine failed.
    #[error("the database failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A job panicked; its transaction was rolled back.
    #[error("the operation failed inside and was rolled back")]
    Panicked,
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
    /// A stream that the operation reads failed.
    #[error("cannot read the input")]
    Input(#[source] std::io::Error),
}

/// Where the evidence log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Position of the newest record; 0 when there is none.
    pub position: u64,
    /// When the newest record was recorded.
    pub recorded_at: Option<Timestamp>,
}

/// A plan that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPlan {
    /// The plan.
    pub plan_id: PlanId,
    /// Its schedule.
    pub schedule_id: ScheduleId,
    /// When its clock began.
    pub created_at: Timestamp,
    /// What it says: see [`cavra_domain::schedule::content_key`].
    pub content_key: [u8; 32],
    /// Whether it is its schedule's newest.
    pub current: bool,
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the log, from 1, without gaps.
    pub position: u64,
    /// Its key.
    pub session_id: String,
    /// Its kind.
    pub kind: EvidenceKind,
    /// Its own time.
    pub created_at: Timestamp,
    /// When this service took it.
    pub recorded_at: Timestamp,
    /// Whether it came from elsewhere.
    pub imported: bool,
    /// SHA-256 of `json`.
    pub sha256: Digest,
    /// Canonical JSON (RFC 8785).
    pub json: String,
}

impl StoredRecord {
    /// Its leaf in the log; `upgraded_through` is [`ReadTx::upgraded_through`].
    pub fn leaf(&self, upgraded_through: u64) -> Leaf {
        Leaf {
            imported: self.imported,
            kind: self.kind.as_str().to_owned(),
            position: self.position,
            recorded_at: self.recorded_at,
            sha256: self.sha256,
            upgraded: self.position <= upgraded_through,
        }
    }
}

/// The log of one consistent state, as tiles.
#[derive(Clone, Copy)]
pub struct LogTiles<'a>(
    /// The state.
    pub &'a dyn ReadTx,
);

impl fmt::Debug for LogTiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogTiles")
    }
}

impl cavra_evidence::tiles::Tiles for LogTiles<'_> {
    type Error = StorageError;

    fn tile(&self, tile: TileId) -> Result<Vec<u8>, StorageError> {
        self.0.log_tile(tile)
    }
}

/// A record to append.
#[derive(Debug)]
pub struct NewRecord<'a> {
    /// The record; its texts are public-safe.
    pub value: &'a Value,
    /// When this service takes it.
    pub recorded_at: Timestamp,
    /// Whether it comes from elsewhere.
    pub imported: bool,
}

/// What became of an appended record.
#[derive(Debug)]
pub enum Appended {
    /// It is recorded.
    Recorded {
        /// Its place in the log.
        position: u64,
        /// What it says.
        interpreted: Box<Interpreted>,
    },
    /// The very same record is there already; nothing was written.
    Unchanged {
        /// Its kind.
        kind: EvidenceKind,
    },
}

/// Where a page of routes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteCursor {
    /// `created_at` of the last route.
    pub created_at: Timestamp,
    /// Its id.
    pub route_id: RouteId,
    /// Whether it waited for nothing then; only the order by urgency asks.
    pub settled: bool,
}

/// By what a list of routes is ordered. But for the urgency none of it ever changes on a route, so pages join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouteKey {
    /// When the cycle began.
    #[default]
    Created,
    /// When the time to acknowledge is over.
    Deadline,
    /// The owner, upper and lower case alike as far as they are ASCII.
    Owner,
    /// The provider's key.
    Provider,
    /// The schedule.
    Schedule,
    /// Routes that are outstanding or escalated before all others, and by their deadlines. The one key that changes.
    Urgency,
}

/// The order of a list of routes. By creation, routes with the same key stand in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteOrder {
    /// By what.
    pub key: RouteKey,
    /// Greatest first.
    pub descending: bool,
}

impl RouteOrder {
    /// Newest cycle first: the order of lists that name none.
    pub const NEWEST: Self = Self {
        key: RouteKey::Created,
        descending: true,
    };
}

/// What routes are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteFacet {
    /// The owner.
    Owner,
    /// The provider's key.
    Provider,
    /// The schedule.
    Schedule,
    /// Why it is suppressed, or that it is not.
    Category,
}

/// Which routes to list, and how many.
#[derive(Debug, Clone)]
pub struct RouteQuery<'a> {
    /// The filter.
    pub filter: &'a RouteFilter,
    /// Which cycles.
    pub cycles: Cycles,
    /// The time at which breach is judged.
    pub now: Timestamp,
    /// Begin behind this route.
    pub after: Option<&'a RouteCursor>,
    /// In which order.
    pub order: RouteOrder,
    /// Leave out so many first.
    pub offset: u64,
    /// At most so many; none for all.
    pub limit: Option<u64>,
}

impl<'a> RouteQuery<'a> {
    /// Every route that the filter means.
    pub const fn all(filter: &'a RouteFilter, cycles: Cycles, now: Timestamp) -> Self {
        Self {
            filter,
            cycles,
            now,
            after: None,
            order: RouteOrder::NEWEST,
            offset: 0,
            limit: None,
        }
    }
}

/// Where a page of history ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryCursor {
    /// `created_at` of the last record.
    pub created_at: Timestamp,
    /// Its position.
    pub position: u64,
}

/// Which records of history to list: those that have every term, newest first.
#[derive(Debug, Clone)]
pub struct HistoryQuery<'a> {
    /// The terms, all of them; at least one.
    pub terms: &'a [HistoryTerm],
    /// Begin behind this record.
    pub after: Option<HistoryCursor>,
    /// Leave out so many first.
    pub offset: u64,
    /// At most so many.
    pub limit: u64,
    /// A record that the page does not repeat, because it is shown elsewhere.
    pub except: Option<u64>,
}

/// Whose request it was, for what, and under which key: the same three are the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestName {
    /// The caller.
    pub caller: String,
    /// The operation.
    pub operation: String,
    /// The caller's key.
    pub key: String,
}

/// An answer that was given to a request with a key, and is kept for a while. It is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptAnswer {
    /// By which its pieces are found.
    pub id: u64,
    /// Digest of what was asked.
    pub fingerprint: Digest,
    /// From then on the key is free again.
    pub expires_at: Timestamp,
    /// The record from which the answer is made again; none when its text is kept.
    pub reference: Option<u64>,
}

/// An answer to keep.
#[derive(Debug)]
pub struct NewAnswer<'a> {
    /// To what.
    pub name: &'a RequestName,
    /// Digest of what was asked.
    pub fingerprint: Digest,
    /// When it is given.
    pub now: Timestamp,
    /// Until when it is kept.
    pub expires_at: Timestamp,
    /// The record from which the answer can be made again; its text is not kept then.
    pub reference: Option<u64>,
}

/// Packed pieces of a text, in order.
pub type Pieces<'a> = dyn Iterator<Item = std::io::Result<Vec<u8>>> + 'a;

/// How many records match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// Exactly so many.
    Exact(u64),
    /// At least so many; counting stopped there.
    AtLeast(u64),
}

/// Counting of combined terms stops here.
pub const COUNTED_AT_MOST: u64 = 10_000;

/// Compresses a piece of a document for storage.
pub fn pack(text: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(text)
}

/// The text of a stored piece.
///
/// # Errors
/// [`StorageError::Corrupt`] when the piece is damaged.
pub fn unpack(piece: &[u8]) -> Result<Vec<u8>, StorageError> {
    let text = lz4_flex::block::decompress_size_prepended(piece).ok();
    // A piece that says that it is longer than it is would be unpacked all the same.
    let said = piece
        .first_chunk()
        .map(|size| u64::from(u32::from_le_bytes(*size)));
    text.filter(|text| u64::try_from(text.len()).ok() == said)
        .ok_or_else(|| StorageError::Corrupt("a stored piece of a document cannot be unpacked".to_owned()))
}

/// What a visitor says after each element.
pub type Visit = Result<std::ops::ControlFlow<()>, StorageError>;

/// One consistent state, for as long as the transaction lives.
pub trait ReadTx: ReadReleases {
    /// Where the log stands.
    fn head(&self) -> Result<LogHead, StorageError>;
    /// The evidence that says something about routes.
    fn route_evidence(&self) -> Result<EvidencePosition, StorageError>;
    /// A plan by id.
    fn plan(&self, plan_id: &PlanId) -> Result<Option<KnownPlan>, StorageError>;
    /// A schedule's newest plan.
    fn current_plan(&self, schedule_id: &ScheduleId) -> Result<Option<KnownPlan>, StorageError>;
    /// The routes of one plan for a provider key, and for one owner if one is named.
    fn routes_of(
        &self,
        plan_id: &PlanId,
        provider_key: &str,
        owner: Option<&Text>,
    ) -> Result<Vec<TrackedRoute>, StorageError>;
    /// Lists routes, newest cycle first.
    fn visit_routes(
        &self,
        query: &RouteQuery<'_>,
        visit: &mut dyn FnMut(TrackedRoute) -> Visit,
    ) -> Result<(), StorageError>;
    /// A route by its id.
    fn route(&self, route_id: &RouteId) -> Result<Option<TrackedRoute>, StorageError>;
    /// Lists routes as a bulk needs them, in the order of [`ReadTx::visit_routes`].
    fn visit_targets(
        &self,
        query: &RouteQuery<'_>,
        visit: &mut dyn FnMut(Target) -> Visit,
    ) -> Result<(), StorageError>;
    /// Lists the routes that the acknowledgements recorded from `first` to `last` answer, in the order of the log.
    fn visit_undoable(
        &self,
        first: u64,
        last: u64,
        visit: &mut dyn FnMut(Undoable) -> Visit,
    ) -> Result<(), StorageError>;
    /// Lists routes with their histories, oldest entry first.
    fn visit_histories(
        &self,
        query: &RouteQuery<'_>,
        visit: &mut dyn FnMut(TrackedRoute, Vec<HistoryEntry>) -> Visit,
    ) -> Result<(), StorageError>;
    /// The outstanding current routes whose time is over first.
    fn outstanding(&self, limit: usize) -> Result<Vec<TrackedRoute>, StorageError>;
    /// Counts routes.
    fn count_routes(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<RouteCounts, StorageError>;
    /// Counts routes by what they have in common.
    fn count_routes_by(
        &self,
        facet: RouteFacet,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<BTreeMap<String, RouteCounts>, StorageError>;
    /// The courses of the delivered routes that a filter means and that were current at `since` or later.
    fn visit_courses(
        &self,
        filter: &RouteFilter,
        since: Timestamp,
        now: Timestamp,
        visit: &mut dyn FnMut(Course) -> Visit,
    ) -> Result<(), StorageError>;
    /// Counts routes known, matched, and left out per term.
    fn population(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<Population, StorageError>;
    /// Counts the distinct acknowledgements in the histories of routes.
    fn count_acknowledgements(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<u64, StorageError>;
    /// Counts suppressed routes of every cycle.
    fn count_suppressed(
        &self,
        filter: &RouteFilter,
        now: Timestamp,
    ) -> Result<SuppressionCounts, StorageError>;
    /// The dashboard's counters.
    fn counters(&self) -> Result<BTreeMap<String, u64>, StorageError>;
    /// How many acknowledgements answer no route, as of the last finished write.
    fn orphan_count(&self) -> Result<u64, StorageError>;
    /// Acknowledgements that answer no route: how many, and the first `limit` of them. Counts them one by one, and
    /// sees what a write has appended so far.
    fn orphans(&self, limit: usize) -> Result<(u64, Vec<StoredRecord>), StorageError>;
    /// A page of history.
    fn history(&self, query: &HistoryQuery<'_>) -> Result<Vec<StoredRecord>, StorageError>;
    /// How many records have every term.
    fn count_history(&self, terms: &[HistoryTerm]) -> Result<Total, StorageError>;
    /// The newest record that was taken up to this time; 0 when there was none.
    fn position_at(&self, at: Timestamp) -> Result<u64, StorageError>;
    /// A record by its key.
    fn record(&self, session_id: &str) -> Result<Option<StoredRecord>, StorageError>;
    /// Reads records in log order: those behind `after`, of a kind, with their own time not before `since`.
    fn visit_records(
        &self,
        after: u64,
        kind: Option<&str>,
        since: Option<Timestamp>,
        visit: &mut dyn FnMut(StoredRecord) -> Visit,
    ) -> Result<(), StorageError>;
    /// The positions of the plans and acknowledgements of these schedules, and of what undoes one of these, up to
    /// `until`, rising.
    fn evidence_of(&self, schedules: &BTreeSet<ScheduleId>, until: u64) -> Result<Vec<u64>, StorageError>;
    /// A tile of the log, as far as it is filled; empty when it is not there. The log has one leaf per record.
    fn log_tile(&self, tile: TileId) -> Result<Vec<u8>, StorageError>;
    /// The newest record that was stored before there was a log; 0 when there is none.
    fn upgraded_through(&self) -> Result<u64, StorageError>;
    /// What witnesses have signed about the log of that size: lines of a signed note.
    fn cosignatures(&self, size: u64) -> Result<Vec<String>, StorageError>;
    /// Everything that witnesses have signed, by size: the size and the line.
    fn visit_cosignatures(&self, visit: &mut dyn FnMut(u64, &str)) -> Result<(), StorageError>;
    /// The answer that was given to this request, if it is kept and has not expired.
    fn kept_answer(&self, name: &RequestName, now: Timestamp) -> Result<Option<KeptAnswer>, StorageError>;
    /// One packed piece of a kept answer; `None` behind the last one.
    fn kept_piece(&self, answer: u64, piece: u64) -> Result<Option<Vec<u8>>, StorageError>;
    /// One piece of a document that is stored beside its record; `None` behind the last one.
    fn piece(&self, position: u64, piece: u64) -> Result<Option<Vec<u8>>, StorageError>;
}

/// A write: everything that it appends is durable together, or not there at all.
pub trait WriteTx {
    /// Appends a record, and changes the state that follows from it.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when its key has another content, [`StorageError::Record`] when it cannot be
    /// understood; the transaction may go on and append others.
    fn append(&mut self, record: &NewRecord<'_>) -> Result<Appended, StorageError>;
    /// Appends an acknowledgement of our own that names its cycle and its owner, and whose id was drawn for it: what
    /// [`WriteTx::append`] does with its record, without reading the record first. `target` is the route that it
    /// answers, as this transaction has listed it and not changed it since. Gives its position.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] when its key is there already.
    fn append_prepared(
        &mut self,
        prepared: &PreparedAcknowledgement,
        target: &Target,
        recorded_at: Timestamp,
    ) -> Result<u64, StorageError>;
    /// Stores the pieces of what belongs to the record that was appended at `position`: a package's text, or the
    /// outcomes of a bulk.
    fn store_pieces(&mut self, position: u64, pieces: &mut Pieces<'_>) -> Result<(), StorageError>;
    /// Keeps an answer for a repeated request, and forgets some that have expired. This is no evidence and changes
    /// none.
    fn keep_answer(&mut self, answer: &NewAnswer<'_>, pieces: &mut Pieces<'_>) -> Result<(), StorageError>;
    /// Keeps what a witness has signed about the log of that size.
    fn add_cosignature(&mut self, size: u64, line: &str) -> Result<(), StorageError>;
    /// The state as this transaction sees it: what it has appended is there, but not all of it in the log's tiles yet.
    fn state(&self) -> &dyn ReadTx;
}

/// What a write job says at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Keep what was appended.
    Commit,
    /// Forget it.
    Rollback,
}

/// What a write job does inside its transaction.
type Work = dyn FnMut(&mut dyn WriteTx) -> Verdict + Send;

/// A write job. What it has done counts when its end is told, and not before: a run may be rolled back with its
/// transaction and followed by another.
pub struct WriteJob {
    work: Box<Work>,
    repeatable: bool,
}

impl fmt::Debug for WriteJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteJob")
            .field("repeatable", &self.repeatable)
            .finish_non_exhaustive()
    }
}

impl WriteJob {
    /// A job that runs once, in a transaction of its own.
    pub fn once(work: impl FnOnce(&mut dyn WriteTx) -> Verdict + Send + 'static) -> Self {
        let mut work = Some(work);
        Self {
            work: Box::new(move |tx| work.take().map_or(Verdict::Rollback, |work| work(tx))),
            repeatable: false,
        }
    }

    /// A job that may share a transaction with others. When another one takes that down, it runs again, over the state
    /// of then, and only its last run counts. For jobs that read and decide first and write last: one that fails with
    /// something written costs everybody beside it a second run.
    pub fn repeatable(work: impl FnMut(&mut dyn WriteTx) -> Verdict + Send + 'static) -> Self {
        Self {
            work: Box::new(work),
            repeatable: true,
        }
    }

    /// Whether it may share a transaction, and run again.
    pub const fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// Runs it.
    pub fn run(&mut self, tx: &mut dyn WriteTx) -> Verdict {
        (self.work)(tx)
    }
}

/// Hears how a write ended.
pub type WriteEnd = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// A storage engine.
pub trait Store: Send + Sync + fmt::Debug {
    /// Runs a read over one consistent state.
    fn read(&self, job: &mut dyn FnMut(&dyn ReadTx)) -> Result<(), StorageError>;
    /// Runs a read over the state as it was when the log had `position` records, made anew from them. Takes time and
    /// room in proportion to them.
    fn read_as_of(&self, position: u64, job: &mut dyn FnMut(&dyn ReadTx)) -> Result<(), StorageError>;
    /// Hands in a write, which runs when its turn comes. `end` is told `Ok` when what the job's last run appended is
    /// durable, or when that said [`Verdict::Rollback`]. It is called where nobody else can write meanwhile, so it only passes
    /// the news on.
    fn submit(&self, job: WriteJob, end: WriteEnd);

    /// Runs a write and waits for its end.
    fn write(&self, job: WriteJob) -> Result<(), StorageError> {
        let (tell, told) = sync_channel(1);
        // Whoever has gone away needs no news.
        self.submit(job, Box::new(move |end| drop(tell.send(end))));
        told.recv().unwrap_or(Err(StorageError::Closed))
    }
}

impl dyn Store + '_ {
    /// Runs a read and gives its result.
    ///
    /// # Errors
    /// The job's own, or [`StorageError`] when there is no state to read.
    pub fn reading<T, E: From<StorageError>>(
        &self,
        job: impl FnOnce(&dyn ReadTx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut job = Some(job);
        let mut result = None;
        self.read(&mut |tx| result = job.take().map(|job| job(tx)))?;
        result.unwrap_or_else(|| Err(StorageError::Closed.into()))
    }

    /// Runs a read over an earlier state and gives its result.
    ///
    /// # Errors
    /// The job's own, or [`StorageError`] when the state cannot be made.
    pub fn reading_as_of<T, E: From<StorageError>>(
        &self,
        position: u64,
        job: impl FnOnce(&dyn ReadTx) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut job = Some(job);
        let mut result = None;
        self.read_as_of(position, &mut |tx| result = job.take().map(|job| job(tx)))?;
        result.unwrap_or_else(|| Err(StorageError::Closed.into()))
    }

    /// Runs a write in a transaction of its own and gives its result; an error of the job rolls everything back.
    ///
    /// # Errors
    /// The job's own, or [`StorageError`] when the write could not be made durable.
    pub fn writing<T, E>(
        &self,
        job: impl FnOnce(&mut dyn WriteTx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let result = Outcome::default();
        let filled = result.clone();
        let committed = self.write(WriteJob::once(move |tx| filled.fill(job(tx))));
        result.told(committed)
    }

    /// Runs a write that may share a transaction, see [`WriteJob::repeatable`], and gives the result of its last run.
    ///
    /// # Errors
    /// As [`Store::writing`](#method.writing).
    pub fn sharing<T, E>(
        &self,
        job: impl FnMut(&mut dyn WriteTx) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let (tell, told) = sync_channel(1);
        self.sharing_later(job, move |result| drop(tell.send(result)));
        told.recv().unwrap_or_else(|_| Err(StorageError::Closed.into()))
    }

    /// The same; `end` is given the result when the job's turn has come, and no thread waits for it.
    ///
    /// # Errors
    /// `end` is given those of a write that somebody waits for. It is called as [`Store::submit`] says.
    pub fn sharing_later<T, E>(
        &self,
        mut job: impl FnMut(&mut dyn WriteTx) -> Result<T, E> + Send + 'static,
        end: impl FnOnce(Result<T, E>) + Send + 'static,
    ) where
        T: Send + 'static,
        E: From<StorageError> + Send + 'static,
    {
        let result = Outcome::default();
        let filled = result.clone();
        self.submit(
            WriteJob::repeatable(move |tx| filled.fill(job(tx))),
            Box::new(move |committed| end(result.told(committed))),
        );
    }
}

/// Where a job leaves its result until its transaction has ended.
struct Outcome<T, E>(Arc<Mutex<Option<Result<T, E>>>>);

impl<T, E> Clone for Outcome<T, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, E> Default for Outcome<T, E> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T, E: From<StorageError>> Outcome<T, E> {
    /// The result of this run, in the place of an earlier one's.
    fn fill(&self, result: Result<T, E>) -> Verdict {
        let verdict = if result.is_ok() {
            Verdict::Commit
        } else {
            Verdict::Rollback
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        verdict
    }

    /// The result, now that it is known whether it holds.
    fn told(&self, committed: Result<(), StorageError>) -> Result<T, E> {
        committed?;
        let result = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.unwrap_or_else(|| Err(StorageError::Closed.into()))
    }
}
