//! One answer for many routes, and its undo: in one transaction, at any size (contract decisions 5).
//!
//! A bulk goes over its selection once. Each route's outcome goes into a spool, each acknowledgement into the log; the
//! bulk's own record comes last, with the digest of the outcomes, which are stored beside it in pieces. What was
//! expected and what blocks is known at the end: then everything is rolled back. The answer is made from what is
//! stored, so that the same bulk asked for again gives the same bytes, and memory feels neither.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use cavra_domain::acknowledgement::{AckState, AcknowledgementDocument, Preparation};
use cavra_domain::actor::Actor;
use cavra_domain::audit_package::FilterNote;
use cavra_domain::bulk::{
    BULK_SCHEMA, BulkAnswer, BulkDocument, BulkMode, Found, ListedRoute, MAX_LISTED_ROUTES, Outcome,
    OutcomeCounts, OutcomeReason, RouteOutcome, Selected, Selection, Target, answer_target, not_found,
};
use cavra_domain::evidence::{EvidenceKind, HistoryTerm, PRODUCT, payload};
use cavra_domain::id::{AcknowledgementId, BulkId, BulkUndoId, UndoId};
use cavra_domain::preview::SelectionHasher;
use cavra_domain::public_safe::Text;
use cavra_domain::route::{Cycles, RouteFilter};
use cavra_domain::time::Timestamp;
use cavra_domain::undo::{BULK_UNDO_SCHEMA, BulkUndoDocument, UndoAnswer, UndoDocument, Undoable};
use cavra_evidence::canonical::canonical_json;
use cavra_evidence::digest::Digest;
use cavra_storage::{
    HistoryQuery, ReadTx, RouteCursor, RouteQuery, StorageError, StoredRecord, WriteTx, pack,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::once::{Keep, record_at};
use crate::preview::SelectionDifference;
use crate::spool::{Pieces, Spool};
use crate::text::{LongText, Shown};
use crate::{App, AppError, append_own, transaction_time};

/// How many routes are read at a time.
const PAGE: usize = 1_000;

/// How many acknowledgements of a bulk are looked at at a time.
const UNDONE_AT_ONCE: u64 = 1_000;

/// How many blocked routes an error names; its counts are over all.
const NAMED_BLOCKED: usize = MAX_LISTED_ROUTES;

/// Which routes a bulk is about.
#[derive(Debug, Clone)]
pub enum BulkSelection {
    /// These.
    Listed(Vec<ListedRoute>),
    /// Every current route that the filter means.
    Filter(RouteFilter),
}

/// One answer for many routes.
#[derive(Debug, Clone)]
pub struct Bulk {
    /// Which.
    pub selection: BulkSelection,
    /// What is said.
    pub said: AckState,
    /// Shared reference.
    pub external_ref: Text,
    /// Shared notes.
    pub notes: Text,
    /// What to do about routes that cannot be changed.
    pub mode: BulkMode,
    /// Say what would happen, and write nothing.
    pub dry_run: bool,
    /// The digest of the preview that this is bound to.
    pub expected_digest: Option<String>,
    /// Leave out the lists of acknowledgements and of their records.
    pub minimal: bool,
    /// Who says it.
    pub actor: Actor,
}

/// The undo of a bulk.
#[derive(Debug, Clone)]
pub struct UndoBulk {
    /// Which.
    pub bulk_id: BulkId,
    /// Why.
    pub reason: Text,
    /// Leave out the list of records.
    pub minimal: bool,
    /// Who undoes it.
    pub actor: Actor,
}

/// What a bulk did, or would do. The answer is written in pieces; this type describes it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BulkDone {
    /// Schema of this answer.
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This bulk; in a dry run nothing is stored under it.
    pub bulk_id: BulkId,
    /// What was said.
    pub acknowledgement_state: AckState,
    /// How many acknowledgements were written, or would be.
    pub acknowledgement_count: u64,
    /// Strict or best effort.
    pub mode: BulkMode,
    /// Whether nothing was written on purpose.
    pub dry_run: bool,
    /// The counts; they partition the selection.
    #[serde(flatten)]
    pub counts: OutcomeCounts,
    /// How many listed routes named only routes that an earlier one had named.
    pub repeated_count: u64,
    /// What was selected, and at which revisions: `expected_digest` of the bulk that is to be bound to this preview.
    pub selection_digest: String,
    /// One outcome per element of the selection.
    pub outcomes: Vec<RouteOutcome>,
    /// The acknowledgements, one per changed route; empty in a dry run, which gives out no ids; left out with
    /// `Prefer: return=minimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgements: Option<Vec<AcknowledgementDocument>>,
    /// Their evidence records; left out with `Prefer: return=minimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<Map<String, Value>>>,
    /// The bulk's own evidence record; null in a dry run and when nothing was changed.
    pub bulk_metadata: Option<Map<String, Value>>,
    /// Who answered.
    pub actor: Actor,
}

/// A bulk as it was recorded, and what was undone of it since. Written in pieces; this type describes it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BulkReport {
    /// What it did; without the lists of acknowledgements and of their records.
    #[serde(flatten)]
    pub done: BulkDone,
    /// The evidence records of its undos, oldest first.
    pub undos: Vec<Map<String, Value>>,
}

/// What the undo of a bulk did. Written in pieces; this type describes it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BulkUndone {
    /// Schema of this answer.
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This undo; nothing is stored under it when nothing was changed.
    pub bulk_undo_id: BulkUndoId,
    /// The bulk.
    pub bulk_id: BulkId,
    /// Display name of the actor.
    pub undone_by: Text,
    /// When.
    pub undone_at: Timestamp,
    /// Why.
    pub reason: Text,
    /// The counts, over the routes that the bulk changed: undone now, undone before, changed since by somebody else.
    #[serde(flatten)]
    pub counts: OutcomeCounts,
    /// One outcome per route that the bulk changed.
    pub outcomes: Vec<RouteOutcome>,
    /// The evidence records, one per undone acknowledgement; left out with `Prefer: return=minimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<Map<String, Value>>>,
    /// The undo's own evidence record; null when nothing was changed.
    pub undo_metadata: Option<Map<String, Value>>,
    /// Who undid it.
    pub actor: Actor,
}

/// A bulk, or its undo, that is done, or in a dry run decided: from it comes the answer.
#[derive(Debug)]
pub struct LongAnswer {
    /// The record that is stored, or would be.
    record: Value,
    kind: EvidenceKind,
    dry_run: bool,
    minimal: bool,
    outcomes: Outcomes,
}

#[derive(Debug)]
enum Outcomes {
    /// Beside the record at this position; the records of what was changed stand before it.
    Stored(u64),
    /// Not stored.
    Spooled(Arc<Mutex<Pieces>>),
}

impl LongAnswer {
    /// What the record says of itself.
    fn document(&self) -> &Value {
        payload(&self.kind, &self.record)
    }

    /// How many elements had this outcome: `changed_count` and the like.
    pub fn count(&self, name: &str) -> u64 {
        self.document()
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    /// The answer's members before the outcomes.
    fn head(&self) -> String {
        let document = self.document();
        let of = |key: &str| document.get(key).cloned().unwrap_or(Value::Null);
        let mut head = Map::new();
        let names: &[&str] = if self.kind == EvidenceKind::BulkUndo {
            &[
                "schema_version",
                "product",
                "bulk_undo_id",
                "bulk_id",
                "undone_by",
                "undone_at",
                "reason",
            ]
        } else {
            &[
                "schema_version",
                "product",
                "bulk_id",
                "acknowledgement_state",
                "mode",
            ]
        };
        for name in names {
            head.insert((*name).to_owned(), of(name));
        }
        if self.kind == EvidenceKind::BulkAcknowledgement {
            head.insert("acknowledgement_count".to_owned(), of("changed_count"));
            head.insert("dry_run".to_owned(), json!(self.dry_run));
            for name in ["repeated_count", "selection_digest"] {
                head.insert(name.to_owned(), of(name));
            }
        }
        for name in [
            "matched_count",
            "changed_count",
            "already_count",
            "refused_count",
            "not_found_count",
        ] {
            head.insert(name.to_owned(), of(name));
        }
        let mut text = Value::Object(head).to_string();
        text.pop();
        text.push_str(",\"outcomes\":");
        text
    }

    /// The answer's members behind the outcomes and the long lists.
    fn tail(&self) -> String {
        let name = if self.kind == EvidenceKind::BulkUndo {
            "undo_metadata"
        } else {
            "bulk_metadata"
        };
        let record = match self.outcomes {
            Outcomes::Stored(_) => self.record.to_string(),
            Outcomes::Spooled(_) => "null".to_owned(),
        };
        let actor = self.document().get("actor").unwrap_or(&Value::Null);
        format!(",\"{name}\":{record},\"actor\":{actor}")
    }

    /// The text behind the outcomes when nothing was written.
    fn rest_without_records(&self) -> String {
        let lists = match (self.minimal, &self.kind) {
            (true, _) => "",
            (false, EvidenceKind::BulkUndo) => ",\"metadata\":[]",
            (false, _) => ",\"acknowledgements\":[],\"metadata\":[]",
        };
        format!("{lists}{}}}", self.tail())
    }

    /// The whole answer, in pieces.
    ///
    /// # Errors
    /// [`AppError::Spool`] when what was put aside cannot be read.
    pub fn text(self) -> Result<LongText, AppError> {
        let text = LongText::default().text(self.head());
        match &self.outcomes {
            Outcomes::Spooled(pieces) => {
                pieces
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .rewind()
                    .map_err(AppError::Spool)?;
                Ok(text.spool(Arc::clone(pieces)).text(self.rest_without_records()))
            }
            Outcomes::Stored(position) => {
                let mut text = text.beside(*position);
                if !self.minimal {
                    let first = position - self.count("changed_count");
                    if self.kind == EvidenceKind::BulkAcknowledgement {
                        text = text
                            .text(",\"acknowledgements\":[")
                            .records(first, *position, Shown::Acknowledgement)
                            .text("]");
                    }
                    text = text
                        .text(",\"metadata\":[")
                        .records(first, *position, Shown::Record)
                        .text("]");
                }
                Ok(text.text(format!("{}}}", self.tail())))
            }
        }
    }

    /// How the answer is kept: by its record, or as its text when nothing was written.
    fn keep(&self) -> Result<Keep, AppError> {
        let pieces = match &self.outcomes {
            Outcomes::Stored(position) => return Ok(Keep::Record(*position)),
            Outcomes::Spooled(pieces) => Arc::clone(pieces),
        };
        pieces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rewind()
            .map_err(AppError::Spool)?;
        let outcomes =
            std::iter::from_fn(move || pieces.lock().unwrap_or_else(PoisonError::into_inner).next());
        let ends = [self.head(), self.rest_without_records()].map(|text| Ok(pack(text.as_bytes())));
        let [head, rest] = ends;
        Ok(Keep::Pieces(Box::new(
            std::iter::once(head).chain(outcomes).chain(std::iter::once(rest)),
        )))
    }
}

/// A bulk's report, and what tells it from what it will be after another undo.
#[derive(Debug)]
pub struct Report {
    /// The text.
    pub text: LongText,
    /// Position of its newest record: the bulk's own, or its last undo's.
    pub version: u64,
}

/// The transaction of a bulk: a dry run only reads.
enum Tx<'a> {
    Read(&'a dyn ReadTx),
    Write(&'a mut dyn WriteTx),
}

impl Tx<'_> {
    fn state(&self) -> &dyn ReadTx {
        match self {
            Self::Read(tx) => *tx,
            Self::Write(tx) => tx.state(),
        }
    }
}

impl App {
    /// Records one answer for many routes, all in one transaction (contract decisions 5).
    ///
    /// # Errors
    /// [`AppError::SelectionChanged`] when the selection is not what the expected digest says,
    /// [`AppError::BulkBlocked`] in strict mode when a route is refused or unknown (in a dry run too: it gives the
    /// answer that the real one would give), [`AppError::Contradiction`] when two listed routes contradict each
    /// other; nothing is written then.
    pub fn bulk(&self, command: Bulk) -> Result<LongAnswer, AppError> {
        if command.dry_run {
            return self.store.reading(|tx| run(self, &mut Tx::Read(tx), &command));
        }
        let app = self.clone();
        self.writing_and_keeping(
            move |tx| run(&app, &mut Tx::Write(tx), &command),
            LongAnswer::keep,
        )
    }

    /// Takes back what a bulk changed and nobody has changed since. What somebody has stays, and is named.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is no such bulk here, [`AppError::UndoIsFinal`] when it is an undo itself.
    pub fn undo_bulk(&self, command: UndoBulk) -> Result<LongAnswer, AppError> {
        let app = self.clone();
        self.writing_and_keeping(move |tx| undo(&app, tx, &command), LongAnswer::keep)
    }

    /// The answer of a bulk, or of its undo, that was recorded at this position.
    ///
    /// # Errors
    /// [`AppError::Storage`] when there is none.
    pub fn recorded_bulk(&self, position: u64, minimal: bool) -> Result<LongAnswer, AppError> {
        self.store.reading(|tx| {
            let record = record_at(tx, position)?;
            recorded(&record, minimal)
        })
    }

    /// What a bulk did, route by route, and what was undone of it since.
    ///
    /// # Errors
    /// [`AppError::Unknown`] when there is no such bulk, or when its outcomes are not in this store.
    pub fn bulk_report(&self, bulk_id: &BulkId) -> Result<Report, AppError> {
        self.store.reading(|tx| {
            let record = bulk_record(tx, bulk_id)?;
            if tx.piece(record.position, 0)?.is_none() {
                return Err(AppError::Unknown {
                    what: "list of outcomes in this store of the bulk acknowledgement",
                    id: bulk_id.to_string(),
                });
            }
            let undos = undos(tx, bulk_id)?;
            let version = undos.last().map_or(record.position, |undo| undo.position);
            let answer = recorded(&record, true)?;
            let list: Vec<&str> = undos.iter().map(|undo| undo.json.as_str()).collect();
            let text = LongText::default()
                .text(answer.head())
                .beside(record.position)
                .text(format!("{},\"undos\":[{}]}}", answer.tail(), list.join(",")));
            Ok(Report { text, version })
        })
    }
}

/// The record of a bulk of our own.
fn bulk_record(tx: &dyn ReadTx, bulk_id: &BulkId) -> Result<StoredRecord, AppError> {
    let unknown = |what| AppError::Unknown {
        what,
        id: bulk_id.to_string(),
    };
    let record = tx
        .record(bulk_id.as_str())?
        .ok_or_else(|| unknown("bulk acknowledgement"))?;
    match record.kind {
        EvidenceKind::BulkAcknowledgement if !record.imported => Ok(record),
        EvidenceKind::BulkAcknowledgement => Err(unknown("bulk acknowledgement made by this store under")),
        EvidenceKind::BulkUndo | EvidenceKind::AckUndo => Err(AppError::UndoIsFinal),
        _ => Err(unknown("bulk acknowledgement")),
    }
}

fn undos(tx: &dyn ReadTx, bulk_id: &BulkId) -> Result<Vec<StoredRecord>, AppError> {
    let terms = [HistoryTerm::undo_of_bulk(bulk_id.as_str())];
    let mut found = tx.history(&HistoryQuery {
        terms: &terms,
        after: None,
        offset: 0,
        limit: u64::from(u32::MAX),
        except: None,
    })?;
    found.sort_by_key(|record| record.position);
    Ok(found)
}

fn recorded(record: &StoredRecord, minimal: bool) -> Result<LongAnswer, AppError> {
    let value: Value = serde_json::from_str(&record.json)
        .map_err(|_| StorageError::Corrupt(format!("record {} is not JSON", record.position)))?;
    Ok(LongAnswer {
        record: value,
        kind: record.kind.clone(),
        dry_run: false,
        minimal,
        outcomes: Outcomes::Stored(record.position),
    })
}

/// A bulk on its way over its selection.
struct Running<'a> {
    command: &'a Bulk,
    answer: BulkAnswer,
    preparation: Preparation,
    spool: Spool,
    counts: OutcomeCounts,
    blocked: Vec<RouteOutcome>,
}

impl Running<'_> {
    fn route(
        &mut self,
        app: &App,
        tx: &mut Tx<'_>,
        target: &Target,
        item: Option<&ListedRoute>,
    ) -> Result<(), AppError> {
        let at = self.answer.at;
        let (mut outcome, document) = answer_target(target, item, &self.answer, &mut || {
            AcknowledgementId::from_uuid(app.ids.next(at))
        });
        match (tx, document) {
            (Tx::Write(tx), Some(document)) if !self.is_blocked() => {
                tx.append_prepared(&self.preparation.prepare(&document), target, at)?;
            }
            // Ids of records that will never be written would only mislead.
            _ => outcome.acknowledgement_id.clear(),
        }
        self.told(outcome)
    }

    /// Whether nothing will be kept anyway.
    fn is_blocked(&self) -> bool {
        self.command.mode == BulkMode::Strict && !self.blocked.is_empty()
    }

    /// Goes over the selection once; gives how many listed routes named nothing new.
    fn go_over(&mut self, app: &App, tx: &mut Tx<'_>, hasher: &mut SelectionHasher) -> Result<u64, AppError> {
        self.spool.text(b"[").map_err(AppError::Spool)?;
        let mut repeated_count = 0;
        let at = self.answer.at;
        match &self.command.selection {
            BulkSelection::Listed(listed) => {
                let found = listed
                    .iter()
                    .map(|item| find(tx.state(), item))
                    .collect::<Result<_, _>>()?;
                let selection = Selection::listed(listed, found)?;
                repeated_count = selection.repeated;
                hash_listed(hasher, &selection, listed);
                for element in &selection.elements {
                    match element {
                        Selected::Nothing(index, reason) => {
                            if let Some(item) = listed.get(*index) {
                                self.told(not_found(item, *reason))?;
                            }
                        }
                        Selected::Route(tracked, index) => {
                            let item = index.and_then(|index| listed.get(index));
                            self.route(app, tx, &Target::from(tracked.as_ref()), item)?;
                        }
                    }
                }
            }
            BulkSelection::Filter(filter) => {
                let filter = filter.clone().or_deliver();
                let mut after = None;
                loop {
                    let page = targets(tx.state(), &filter, after.as_ref(), at)?;
                    let Some(last) = page.last() else { break };
                    if after.is_none() {
                        self.is_not_too_long(app, tx.state(), &filter, page.len())?;
                    }
                    after = Some(RouteCursor {
                        created_at: last.created_at,
                        route_id: last.route_id.clone(),
                        settled: false,
                    });
                    for target in &page {
                        hasher.route(target);
                        self.route(app, tx, target, None)?;
                    }
                    // A page that is not full is the last one.
                    if page.len() < PAGE {
                        break;
                    }
                }
            }
        }
        Ok(repeated_count)
    }

    /// Before anything is written: whoever selects too much is told at once, and holds up nobody.
    fn is_not_too_long(
        &self,
        app: &App,
        tx: &dyn ReadTx,
        filter: &RouteFilter,
        first_page: usize,
    ) -> Result<(), AppError> {
        let at_most = app.settings.filtered_routes;
        let found = if first_page < PAGE {
            u64::try_from(first_page).unwrap_or(u64::MAX)
        } else {
            tx.count_routes(filter, Cycles::Current, self.answer.at)?.total()
        };
        if found > at_most {
            return Err(AppError::TooManyRoutes { found, at_most });
        }
        Ok(())
    }

    fn told(&mut self, outcome: RouteOutcome) -> Result<(), AppError> {
        let first = self.counts.matched_count == 0;
        self.spool.entry(&outcome, first).map_err(AppError::Spool)?;
        self.counts.add(outcome.outcome);
        if matches!(outcome.outcome, Outcome::Refused | Outcome::NotFound)
            && self.blocked.len() < NAMED_BLOCKED
        {
            self.blocked.push(outcome);
        }
        Ok(())
    }
}

fn run(app: &App, tx: &mut Tx<'_>, command: &Bulk) -> Result<LongAnswer, AppError> {
    let at = transaction_time(app.clock.as_ref(), tx.state())?;
    let expected = command.expected_digest.as_deref();
    let remembered = expected.and_then(|digest| app.previews.recall(digest));
    let mut hasher = SelectionHasher::new(command.dry_run || remembered.is_some());
    let mut running = Running {
        command,
        answer: BulkAnswer {
            bulk_id: BulkId::from_uuid(app.ids.next(at)),
            said: command.said,
            actor: command.actor.clone(),
            at,
            external_ref: command.external_ref.clone(),
            notes: command.notes.clone(),
        },
        preparation: Preparation::new(command.said, canonical_actor(&command.actor)?),
        spool: Spool::new(app.settings.spool_bytes),
        counts: OutcomeCounts::default(),
        blocked: Vec::new(),
    };
    let repeated_count = running.go_over(app, tx, &mut hasher)?;
    let (selection_digest, snapshot) = hasher.finish();
    if let Some(expected) = expected
        && expected != selection_digest
    {
        let matched = running.counts.matched_count;
        let mut difference = SelectionDifference::unknown(expected.to_owned(), selection_digest, matched);
        if let (Some((previewed_at, seen)), Some(now)) = (remembered, snapshot) {
            difference = difference.known(previewed_at, &seen.difference(&now), tx.state())?;
        }
        return Err(AppError::SelectionChanged(Box::new(difference)));
    }
    if running.is_blocked() {
        return Err(AppError::BulkBlocked {
            counts: running.counts,
            blocked: running.blocked,
        });
    }
    if command.dry_run
        && let Some(snapshot) = snapshot
    {
        app.previews.remember(&selection_digest, at, snapshot);
    }
    running.spool.text(b"]").map_err(AppError::Spool)?;
    let (digest, bytes, pieces) = running.spool.finish().map_err(AppError::Spool)?;
    let (filter, listed_count) = match &command.selection {
        BulkSelection::Listed(listed) => (None, u64::try_from(listed.len()).ok()),
        BulkSelection::Filter(filter) => (
            Some(FilterNote::of(&filter.clone().or_deliver(), Cycles::Current)),
            None,
        ),
    };
    let document = BulkDocument {
        schema_version: BULK_SCHEMA,
        product: PRODUCT,
        bulk_id: running.answer.bulk_id,
        acknowledgement_state: command.said,
        acknowledged_by: command.actor.actor.clone(),
        acknowledged_at: at,
        mode: command.mode,
        filter,
        listed_count,
        external_ref: command.external_ref.clone(),
        notes: command.notes.clone(),
        counts: running.counts,
        repeated_count,
        selection_digest,
        expected_digest: command.expected_digest.clone(),
        outcomes_sha256: digest.to_hex(),
        outcomes_bytes: bytes,
        actor: command.actor.clone(),
    };
    finish(
        tx,
        EvidenceKind::BulkAcknowledgement,
        &document.record().into_value(),
        at,
        pieces,
        (running.counts.changed_count, command.dry_run, command.minimal),
    )
}

/// Records a bulk or an undo that has changed something, and gives its answer.
fn finish(
    tx: &mut Tx<'_>,
    kind: EvidenceKind,
    record: &Value,
    at: Timestamp,
    mut pieces: Pieces,
    (changed, dry_run, minimal): (u64, bool, bool),
) -> Result<LongAnswer, AppError> {
    let outcomes = match tx {
        Tx::Write(tx) if changed > 0 => {
            let position = append_own(*tx, record, at)?;
            tx.store_pieces(position, &mut pieces)?;
            Outcomes::Stored(position)
        }
        _ => Outcomes::Spooled(Arc::new(Mutex::new(pieces))),
    };
    // What is answered now and what is answered again is the same text: the members in the order of the record.
    let text = cavra_evidence::canonical::canonical_value(record)
        .map_err(|error| StorageError::Canonical(Box::new(error)))?;
    let record = serde_json::from_str(&text)
        .map_err(|_| StorageError::Corrupt("a record of ours is not JSON".to_owned()))?;
    Ok(LongAnswer {
        record,
        kind,
        dry_run,
        minimal,
        outcomes,
    })
}

fn canonical_actor(actor: &Actor) -> Result<Box<RawValue>, AppError> {
    let text = canonical_json(actor).map_err(|error| StorageError::Canonical(Box::new(error)))?;
    Ok(RawValue::from_string(text).map_err(|error| StorageError::Canonical(Box::new(error)))?)
}

/// Puts listed routes into the digest in the order of lists, whatever the order of the request.
fn hash_listed(hasher: &mut SelectionHasher, selection: &Selection, listed: &[ListedRoute]) {
    let mut targets = Vec::new();
    let mut missing = Vec::new();
    for element in &selection.elements {
        match element {
            Selected::Route(tracked, _) => targets.push(Target::from(tracked.as_ref())),
            Selected::Nothing(index, _) => missing.extend(listed.get(*index)),
        }
    }
    targets.sort_by(|a, b| (b.created_at, &b.route_id).cmp(&(a.created_at, &a.route_id)));
    for target in &targets {
        hasher.route(target);
    }
    hasher.missing(missing);
}

/// The next routes that a filter means. Each page is read to its end before anything is written.
fn targets(
    tx: &dyn ReadTx,
    filter: &RouteFilter,
    after: Option<&RouteCursor>,
    now: Timestamp,
) -> Result<Vec<Target>, StorageError> {
    let query = RouteQuery {
        after,
        limit: u64::try_from(PAGE).ok(),
        ..RouteQuery::all(filter, Cycles::Current, now)
    };
    let mut page = Vec::new();
    tx.visit_targets(&query, &mut |target| {
        page.push(target);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(page)
}

fn find(tx: &dyn ReadTx, item: &ListedRoute) -> Result<Found, StorageError> {
    let Some(current) = tx.current_plan(&item.schedule_id)? else {
        return Ok(Found::Nothing(OutcomeReason::UnknownSchedule));
    };
    let plan = match &item.plan_id {
        None => current,
        Some(plan_id) => match tx
            .plan(plan_id)?
            .filter(|known| known.schedule_id == item.schedule_id)
        {
            None => return Ok(Found::Nothing(OutcomeReason::UnknownPlan)),
            Some(plan) => plan,
        },
    };
    let routes = tx.routes_of(&plan.plan_id, item.provider.key(), item.owner.as_ref())?;
    Ok(if routes.is_empty() {
        Found::Nothing(OutcomeReason::UnknownRoute)
    } else {
        Found::Routes(routes)
    })
}

fn undo(app: &App, tx: &mut dyn WriteTx, command: &UndoBulk) -> Result<LongAnswer, AppError> {
    let at = transaction_time(app.clock.as_ref(), tx.state())?;
    let record = bulk_record(tx.state(), &command.bulk_id)?;
    let changed = recorded(&record, true)?.count("changed_count");
    let bulk_undo_id = BulkUndoId::from_uuid(app.ids.next(at));
    let answer = UndoAnswer {
        actor: command.actor.clone(),
        at,
        reason: command.reason.clone(),
        bulk_undo_id: Some(bulk_undo_id.clone()),
    };
    let mut spool = Spool::new(app.settings.spool_bytes);
    spool.text(b"[").map_err(AppError::Spool)?;
    let mut counts = OutcomeCounts::default();
    // The acknowledgements of a bulk stand right before its own record.
    let mut next = record.position - changed;
    while next < record.position {
        let last = (next + UNDONE_AT_ONCE).min(record.position) - 1;
        let mut page: Vec<Undoable> = Vec::new();
        tx.state().visit_undoable(next, last, &mut |undoable| {
            page.push(undoable);
            Ok(ControlFlow::Continue(()))
        })?;
        for undoable in page {
            let undo_id = UndoId::from_uuid(app.ids.next(at));
            let outcome = undoable.outcome(undo_id.as_str());
            if outcome.outcome == Outcome::Changed {
                let document = UndoDocument::of(&undoable, undo_id, &answer);
                append_own(tx, &document.record().into_value(), at)?;
            }
            spool
                .entry(&outcome, counts.matched_count == 0)
                .map_err(AppError::Spool)?;
            counts.add(outcome.outcome);
        }
        next = last + 1;
    }
    spool.text(b"]").map_err(AppError::Spool)?;
    let (digest, bytes, pieces): (Digest, u64, Pieces) = spool.finish().map_err(AppError::Spool)?;
    let document = BulkUndoDocument {
        schema_version: BULK_UNDO_SCHEMA,
        product: PRODUCT,
        bulk_undo_id,
        bulk_id: command.bulk_id.clone(),
        undone_by: command.actor.actor.clone(),
        undone_at: at,
        reason: command.reason.clone(),
        counts,
        outcomes_sha256: digest.to_hex(),
        outcomes_bytes: bytes,
        actor: command.actor.clone(),
    };
    finish(
        &mut Tx::Write(tx),
        EvidenceKind::BulkUndo,
        &document.record().into_value(),
        at,
        pieces,
        (counts.changed_count, false, command.minimal),
    )
}
