//! The use cases of the service: load, decide, save in one transaction.
//!
//! A use case takes parsed input (the HTTP layer and the programs parse), asks the domain what follows, and
//! writes state and evidence through [`cavra_storage::Store`] in one step. It knows no HTTP and no SQL.

use std::fmt;
use std::sync::Arc;

use cavra_domain::bulk::{
    BulkMode, ConflictingRoutes, MAX_FILTERED_ROUTES, OutcomeCounts, OutcomeReason, RouteOutcome,
};
use cavra_domain::id::IdSource;
use cavra_domain::schedule::ScheduleError;
use cavra_domain::time::{Clock, Timestamp};
use cavra_evidence::package::Signer;
pub use cavra_storage::StorageError;
use cavra_storage::{NewRecord, ReadTx, Store, WriteTx};
use serde_json::Value;
use thiserror::Error;

pub mod acknowledge;
pub mod as_of;
pub mod bulk;
pub mod import;
mod json;
pub mod log;
pub mod once;
pub mod package;
pub mod plan;
pub mod preview;
pub mod release;
pub mod sample;
pub mod signed;
mod spool;
pub mod system;
pub mod text;
pub mod views;

/// Why a use case did not do what was asked. Nothing was written.
#[derive(Debug, Error)]
pub enum AppError {
    /// The request names something that does not exist.
    #[error("there is no {what} `{id}`")]
    Unknown {
        /// What sort of thing.
        what: &'static str,
        /// Its name in the request.
        id: String,
    },
    /// Only the record of the document is here.
    #[error("the text of the {what} `{id}` is not in this store: only its record was imported")]
    TextElsewhere {
        /// What sort of document.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The export is not verified, and only a verified one can be archived.
    #[error("the export `{0}` is not verified, and only a verified export can be archived")]
    ExportNotVerified(String),
    /// The named export belongs to another release than the named one.
    #[error("the export `{export_id}` belongs to the release record `{found}`")]
    OtherRelease {
        /// The export.
        export_id: String,
        /// Its release.
        found: String,
    },
    /// The route may not take this answer.
    #[error("the answer cannot be taken: {}", explain(*.0))]
    Refused(OutcomeReason),
    /// A strict bulk found routes that it cannot change.
    #[error("{} of {} selected routes cannot be changed, so none was", .counts.refused_count + .counts.not_found_count, .counts.matched_count)]
    BulkBlocked {
        /// The counts of what would have happened.
        counts: OutcomeCounts,
        /// The refused and unknown ones.
        blocked: Vec<RouteOutcome>,
    },
    /// The selection is not what the preview showed that the bulk is bound to.
    #[error("the selection is not what the preview showed, so nothing was changed")]
    SelectionChanged(Box<preview::SelectionDifference>),
    /// An undo cannot be undone.
    #[error("this is an undo, and an undo is not undone: acknowledge the routes again")]
    UndoIsFinal,
    /// The same request was answered before.
    #[error("the request was answered before")]
    GivenBefore(once::GivenAnswer),
    /// The key belongs to another request.
    #[error("this idempotency key was used for another request")]
    KeyReused,
    /// A filter selects more routes than one bulk may change.
    #[error("the filter selects {found} routes; one bulk takes at most {at_most}")]
    TooManyRoutes {
        /// How many it selects.
        found: u64,
        /// How many it may.
        at_most: u64,
    },
    /// Two listed routes contradict each other.
    #[error(transparent)]
    Contradiction(#[from] ConflictingRoutes),
    /// The schedule or the routing policy cannot be used.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// No schedule was sent and none is configured.
    #[error("no schedule was sent and none is configured")]
    NoSchedule,
    /// Several schedules are configured and the request does not say which.
    #[error("several schedules are configured; name one as `schedule_id`: {0}")]
    WhichSchedule(String),
    /// A configured schedule file cannot be read.
    #[error("the configured file `{0}` cannot be read as a JSON object")]
    ScheduleFile(String),
    /// A cursor was not given out by this service.
    #[error("the cursor is not one that this service gave out")]
    BadCursor,
    /// An import holds records that cannot be taken.
    #[error("{} of the records cannot be taken, so none was", .0.refused_count)]
    ImportRefused(Box<import::ImportReport>),
    /// An import's input cannot be read.
    #[error("the input cannot be read: {0}")]
    ImportUnreadable(String),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log has no such size.
    #[error("`{size}` is no size of the log up to here, which has {head} leaves")]
    NoSuchSize {
        /// What was asked for.
        size: u64,
        /// What there is.
        head: u64,
    },
    /// The time lies ahead.
    #[error("`{0}` lies ahead: nobody knows the state of then")]
    Ahead(Timestamp),
    /// The package was made elsewhere, so nothing here can prove it.
    #[error("the package `{0}` was made elsewhere; only packages of this service can be proven")]
    NotOurs(String),
    /// A document could not be put together.
    #[error("the document could not be put together")]
    Spool(#[source] std::io::Error),
}

/// An outcome's reason as a sentence.
pub const fn explain(reason: OutcomeReason) -> &'static str {
    match reason {
        OutcomeReason::None => "",
        OutcomeReason::AlreadyInState => "the route is in this state already",
        OutcomeReason::ResolvedIsFinal => "the route is resolved, and resolved is final",
        OutcomeReason::Suppressed => "the route is suppressed and waits for no acknowledgement",
        OutcomeReason::Superseded => "a newer plan has begun a new cycle for this schedule",
        OutcomeReason::UnknownSchedule => "there is no such schedule",
        OutcomeReason::UnknownPlan => "the schedule has no such plan",
        OutcomeReason::UnknownRoute => "the cycle has no route for this provider and owner",
        OutcomeReason::ChangedSince => {
            "the acknowledgement does not stand on the route: somebody has changed it since, or it changed nothing"
        }
        OutcomeReason::AlreadyUndone => "the acknowledgement was undone before",
    }
}

/// What the use cases need to know of their surroundings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where schedules come from when a request brings none.
    pub schedules: plan::ScheduleSettings,
    /// How many bytes of a package are put together in memory before a temporary file takes over;
    /// `usize::MAX` never writes a file.
    pub spool_bytes: usize,
    /// The key that signs checkpoints and packages; without one they say that they are unsigned.
    pub signer: Option<Arc<Signer>>,
    /// How many routes the filter of one bulk may select, [`MAX_FILTERED_ROUTES`] unless lowered.
    pub filtered_routes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schedules: plan::ScheduleSettings::default(),
            spool_bytes: 16 << 20,
            signer: None,
            filtered_routes: MAX_FILTERED_ROUTES,
        }
    }
}

/// The use cases over one store.
#[derive(Clone)]
pub struct App {
    store: once::Evidence,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    settings: Arc<Settings>,
    previews: Arc<preview::Previews>,
    request: Option<Arc<once::KeyedRequest>>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("store", &self.store.whole())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl App {
    /// The use cases over a store, with the clock and the ids to use.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        settings: Settings,
    ) -> Self {
        Self {
            store: once::Evidence::new(store),
            clock,
            ids,
            settings: Arc::new(settings),
            previews: Arc::default(),
            request: None,
        }
    }

    /// Position of the newest evidence record; 0 when there is none.
    ///
    /// # Errors
    /// [`AppError::Storage`].
    pub fn log_position(&self) -> Result<u64, AppError> {
        self.store.as_ref().reading(|tx| Ok(tx.head()?.position))
    }

    /// The store, for programs that export or check beside the use cases.
    pub fn store(&self) -> &dyn Store {
        self.store.whole()
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether storage answers.
    ///
    /// # Errors
    /// [`StorageError`] when it does not.
    pub fn ready(&self) -> Result<(), StorageError> {
        self.store.as_ref().reading(|tx| tx.head().map(|_| ()))
    }
}

/// The time at which a transaction happens: the clock's, but never before the newest record, so that positions
/// and times rise together even when the clock is set back.
fn transaction_time(clock: &dyn Clock, tx: &dyn ReadTx) -> Result<Timestamp, StorageError> {
    let now = clock.now();
    Ok(tx.head()?.recorded_at.map_or(now, |last| last.max(now)))
}

/// Appends a record of our own and gives its JSON and its position.
fn append_own(tx: &mut dyn WriteTx, value: &Value, at: Timestamp) -> Result<u64, StorageError> {
    match tx.append(&NewRecord {
        value,
        recorded_at: at,
        imported: false,
    })? {
        cavra_storage::Appended::Recorded { position, .. } => Ok(position),
        // Ids are drawn anew for every record, so the same record cannot be there already.
        cavra_storage::Appended::Unchanged { kind } => {
            Err(StorageError::Conflict(format!("a second record of kind {kind}")))
        }
    }
}

/// Reads JSON strictly: no duplicate keys, no numbers that JSON cannot carry exactly, bounded depth.
///
/// # Errors
/// A sentence that repeats nothing of the input but key names.
pub fn strict_json(bytes: &[u8]) -> Result<Value, String> {
    cavra_evidence::strict::parse(bytes).map_err(|error| error.to_string())
}

/// The mode of a bulk whose request names none.
pub const DEFAULT_BULK_MODE: BulkMode = BulkMode::Strict;
