//! Import and export of evidence in the published store's shapes (contract decisions 1, 4).
//!
//! An import is one transaction. Each record is read strictly, checked for what no document may hold, and
//! appended like our own; what cannot be taken is reported with its reason. Without
//! [`ImportOptions::skip_invalid`] one such record stops the whole import.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use cavra_domain::delivery;
use cavra_domain::public_safe::PublicSafe;
use cavra_domain::record::MAX_RECORD_TEXT_CHARS;
use cavra_domain::time::{Clock, Timestamp};
use cavra_evidence::canonical::canonical_value;
use cavra_evidence::strict;
use cavra_storage::published;
use cavra_storage::{Appended, NewRecord, StorageError, StoredRecord, Visit, WriteTx};
use schemars::JsonSchema;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{App, AppError, transaction_time};

/// How many refused records and orphans a report lists; it counts them all.
pub const LISTED: usize = 1_000;

/// After how many records progress is told.
const PROGRESS_EVERY: u64 = 1_000;

/// What an import does about records that cannot be taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// Leave them out and take the others; otherwise nothing is taken.
    pub skip_invalid: bool,
}

/// A record that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refusal {
    /// Its number in the input, from 1.
    pub record: u64,
    /// Its key, where it can be read.
    pub session_id: String,
    /// Why.
    pub reason: String,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct ImportReport {
    /// Records read.
    pub record_count: u64,
    /// Of those, taken now.
    pub imported_count: u64,
    /// Of those, there already with the same content.
    pub unchanged_count: u64,
    /// Of those, not taken.
    pub refused_count: u64,
    /// Records taken now, per kind; records without a kind stand under the empty name.
    pub kinds: BTreeMap<String, u64>,
    /// Routes that came from the plans taken now.
    pub route_count: u64,
    /// Route decisions that named a provider and owner a second time; the first one counts.
    pub repeated_route_count: u64,
    /// The refused records, at most 1000 of them.
    pub refused: Vec<Refusal>,
    /// How many refused records are not listed.
    pub refused_omitted: u64,
    /// Members that evidence does not keep, and in how many of the records read they were left out: of a connector's
    /// delivery only what a retry can be decided from is kept, no request, no header, no address. At most 1000 names.
    pub left_out: BTreeMap<String, u64>,
    /// How often a member was left out that is not named there.
    pub left_out_omitted: u64,
    /// Acknowledgements in the whole store that answer no known route.
    pub orphaned_acknowledgement_count: u64,
    /// Their keys, at most 1000 of them.
    pub orphaned_acknowledgements: Vec<String>,
}

/// Told while an import runs.
pub trait ImportProgress: Send {
    /// So many records were read.
    fn read(&mut self, records: u64);
    /// A record was not taken.
    fn refused(&mut self, refusal: &Refusal);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl ImportProgress for Unwatched {
    fn read(&mut self, _: u64) {}
    fn refused(&mut self, _: &Refusal) {}
}

/// Where records come from.
pub enum ImportSource {
    /// JSON `{"items": [...]}`, a JSON list, or NDJSON: found out from the first bytes.
    Text(Box<dyn BufRead + Send>),
    /// JSON `{"items": [...]}` or a JSON list, and nothing else.
    Json(Box<dyn BufRead + Send>),
    /// One record.
    Record(String),
    /// A published store's SQLite file.
    PublishedFile(PathBuf),
    /// A published store's SQLite file, in memory.
    PublishedBytes(Vec<u8>),
}

impl fmt::Debug for ImportSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Json(_) => "Json",
            Self::Record(_) => "Record",
            Self::PublishedFile(_) => "PublishedFile",
            Self::PublishedBytes(_) => "PublishedBytes",
        })
    }
}

/// What an import takes each raw record through; an error stops the reading.
type Take<'a> = &'a mut dyn FnMut(&str) -> Result<(), StorageError>;

impl App {
    /// Imports records, all of them or none; with `skip_invalid`, all that can be taken.
    ///
    /// # Errors
    /// [`AppError::ImportRefused`] with the report when a record cannot be taken, [`AppError::ImportUnreadable`]
    /// when the input is cut or is none of the shapes; nothing is taken then.
    pub fn import(
        &self,
        sources: Vec<ImportSource>,
        options: ImportOptions,
        mut progress: Box<dyn ImportProgress>,
    ) -> Result<ImportReport, AppError> {
        let clock = Arc::clone(&self.clock);
        self.writing(move |tx| import(clock.as_ref(), tx, sources, options, progress.as_mut()))
    }

    /// Takes one record.
    ///
    /// # Errors
    /// [`AppError::ImportRefused`] when it cannot be taken.
    pub fn import_record(&self, record: &Value) -> Result<ImportReport, AppError> {
        let (clock, raw) = (Arc::clone(&self.clock), record.to_string());
        self.sharing(move |tx| {
            let sources = vec![ImportSource::Record(raw.clone())];
            import(
                clock.as_ref(),
                tx,
                sources,
                ImportOptions::default(),
                &mut Unwatched,
            )
        })
    }

    /// Reads records in the order in which they were recorded: all, those of one kind, or those whose own time
    /// is not before `since`. Each is told whole, as canonical JSON.
    ///
    /// # Errors
    /// [`AppError::Storage`].
    pub fn export_evidence(
        &self,
        kind: Option<&str>,
        since: Option<Timestamp>,
        visit: &mut dyn FnMut(&StoredRecord) -> std::io::Result<()>,
    ) -> Result<u64, AppError> {
        self.store.as_ref().reading(|tx| {
            let mut count = 0;
            tx.visit_records(0, kind, since, &mut |record| {
                visit(&record).map_err(StorageError::Input)?;
                count += 1;
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(count)
        })
    }
}

fn import(
    clock: &dyn Clock,
    tx: &mut dyn WriteTx,
    sources: Vec<ImportSource>,
    options: ImportOptions,
    progress: &mut dyn ImportProgress,
) -> Result<ImportReport, AppError> {
    let at = transaction_time(clock, tx.state())?;
    let mut report = ImportReport::default();
    for source in sources {
        read_source(source, &mut |raw| take(tx, raw, at, &mut report, progress))?;
    }
    progress.read(report.record_count);
    let (count, orphans) = tx.state().orphans(LISTED)?;
    report.orphaned_acknowledgement_count = count;
    report.orphaned_acknowledgements = orphans.into_iter().map(|record| record.session_id).collect();
    if report.refused_count > 0 && !options.skip_invalid {
        return Err(AppError::ImportRefused(Box::new(report)));
    }
    Ok(report)
}

/// Takes one raw record into the transaction, or notes why not.
fn take(
    tx: &mut dyn WriteTx,
    raw: &str,
    at: Timestamp,
    report: &mut ImportReport,
    progress: &mut dyn ImportProgress,
) -> Result<(), StorageError> {
    report.record_count += 1;
    if report.record_count.is_multiple_of(PROGRESS_EVERY) {
        progress.read(report.record_count);
    }
    let mut session_id = String::new();
    let reason = match checked(raw, &mut session_id) {
        Err(reason) => reason,
        Ok(Checked { record, whole }) => {
            let new = NewRecord {
                value: record.as_value(),
                recorded_at: at,
                imported: true,
            };
            match tx.append(&new) {
                Ok(Appended::Recorded { interpreted, .. }) => {
                    report.imported_count += 1;
                    report.leave_out(whole.as_ref());
                    *report.kinds.entry(interpreted.kind.as_str().to_owned()).or_default() += 1;
                    if let cavra_domain::record::Projection::Plan(plan) = &interpreted.projection {
                        report.route_count += u64::try_from(plan.routes.len()).unwrap_or(u64::MAX);
                        report.repeated_route_count += u64::try_from(plan.repeated_routes).unwrap_or(u64::MAX);
                    }
                    return Ok(());
                }
                Ok(Appended::Unchanged { .. }) => {
                    report.unchanged_count += 1;
                    report.leave_out(whole.as_ref());
                    return Ok(());
                }
                // An earlier version took deliveries whole; such a record is there already all the same.
                Err(StorageError::Conflict(_)) if is_there(tx, &session_id, whole.as_ref())? => {
                    report.unchanged_count += 1;
                    return Ok(());
                }
                Err(StorageError::Conflict(_)) => {
                    "a record with this `session_id` and other content is recorded already; evidence is never replaced"
                        .to_owned()
                }
                Err(StorageError::Record(error)) => error.to_string(),
                Err(error @ StorageError::Canonical(_)) => error.to_string(),
                Err(error) => return Err(error),
            }
        }
    };
    let refusal = Refusal {
        record: report.record_count,
        session_id,
        reason,
    };
    progress.refused(&refusal);
    report.refused_count += 1;
    if report.refused.len() < LISTED {
        report.refused.push(refusal);
    } else {
        report.refused_omitted += 1;
    }
    Ok(())
}

impl ImportReport {
    /// Counts what was left out of a record.
    fn leave_out(&mut self, whole: Option<&Whole>) {
        for name in whole.iter().flat_map(|whole| &whole.left_out) {
            if let Some(count) = self.left_out.get_mut(name) {
                *count += 1;
            } else if self.left_out.len() < LISTED {
                self.left_out.insert(name.clone(), 1);
            } else {
                self.left_out_omitted += 1;
            }
        }
    }
}

/// A record as it is taken.
struct Checked {
    record: PublicSafe<Value>,
    /// What it was before members were left out, if any were.
    whole: Option<Whole>,
}

/// A record before members were left out.
struct Whole {
    value: Value,
    left_out: Vec<String>,
}

/// Whether the record, whole, is recorded already.
fn is_there(tx: &dyn WriteTx, session_id: &str, whole: Option<&Whole>) -> Result<bool, StorageError> {
    let Some(whole) = whole else { return Ok(false) };
    let canonical = canonical_value(&whole.value);
    let stored = tx.state().record(session_id)?;
    Ok(stored.is_some_and(|stored| canonical.is_ok_and(|canonical| canonical == stored.json)))
}

/// A raw record, read strictly, without what evidence does not keep, and checked for what no document may hold.
fn checked(raw: &str, session_id: &mut String) -> Result<Checked, String> {
    let mut value = strict::parse_str(raw).map_err(|error| format!("it is not strict JSON: {error}"))?;
    let before = delivery::is_delivery(&value).then(|| value.clone());
    let left_out = delivery::strip(&mut value);
    let whole = before
        .filter(|_| !left_out.is_empty())
        .map(|value| Whole { value, left_out });
    // A key that is not public-safe is not repeated in the report.
    let key = value
        .get("session_id")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let record = PublicSafe::parse_record(value, MAX_RECORD_TEXT_CHARS).map_err(|error| {
        if error.field != "/session_id" {
            session_id.clone_from(&key);
        }
        error.to_string()
    })?;
    *session_id = key;
    Ok(Checked { record, whole })
}

fn read_source(source: ImportSource, take: Take<'_>) -> Result<(), AppError> {
    match source {
        ImportSource::Text(reader) => read_text(reader, true, take),
        ImportSource::Json(reader) => read_text(reader, false, take),
        ImportSource::Record(record) => Ok(take(&record)?),
        ImportSource::PublishedFile(path) => read_published(take, |each| published::visit_file(&path, each)),
        ImportSource::PublishedBytes(bytes) => {
            read_published(take, |each| published::visit_bytes(&bytes, each))
        }
    }
}

/// Takes the payloads of a published store. What is wrong with its file is told apart from what is wrong with ours.
fn read_published(
    take: Take<'_>,
    read: impl FnOnce(&mut dyn FnMut(&str) -> Visit) -> Result<(), StorageError>,
) -> Result<(), AppError> {
    let mut failed = None;
    let read = read(&mut |payload| {
        Ok(match take(payload) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })
    });
    match (failed, read) {
        (Some(error), _) => Err(error.into()),
        (None, Err(error @ (StorageError::Open { .. } | StorageError::Corrupt(_)))) => {
            Err(AppError::ImportUnreadable(error.to_string()))
        }
        (None, read) => Ok(read?),
    }
}

/// The shape of a text input.
enum Shape {
    Items,
    List,
    Lines,
    Empty,
}

/// How an object with a list of records begins, without white space.
const ITEMS: &[u8] = b"{\"items\":";

/// Finds the shape from the first bytes: a list, an object whose first key is `items`, or one record per line. A
/// stream may hand out its first bytes one by one, so what was looked at stands in front of the rest again.
fn shape(mut reader: Box<dyn BufRead + Send>) -> std::io::Result<(Shape, Box<dyn BufRead + Send>)> {
    let (mut seen, mut dense) = (Vec::new(), Vec::new());
    let shape = loop {
        let Some(&byte) = reader.fill_buf()?.first() else {
            break if dense.is_empty() {
                Shape::Empty
            } else {
                Shape::Lines
            };
        };
        reader.consume(1);
        // White space in front is dropped, or a stream of nothing else would fill the memory.
        if !(dense.is_empty() && byte.is_ascii_whitespace()) {
            seen.push(byte);
        }
        if !byte.is_ascii_whitespace() {
            dense.push(byte);
        }
        if dense == b"[" {
            break Shape::List;
        } else if dense == ITEMS {
            break Shape::Items;
        } else if !ITEMS.starts_with(&dense) || seen.len() > LOOK {
            break Shape::Lines;
        }
    };
    Ok((shape, Box::new(std::io::Cursor::new(seen).chain(reader))))
}

/// How many bytes the beginning of an object may take, white space included.
const LOOK: usize = 64 << 10;

fn read_text(reader: Box<dyn BufRead + Send>, lines: bool, take: Take<'_>) -> Result<(), AppError> {
    let unreadable = |error: std::io::Error| AppError::ImportUnreadable(error.to_string());
    let (shape, reader) = shape(reader).map_err(unreadable)?;
    match shape {
        Shape::Empty => Err(AppError::ImportUnreadable("it is empty".to_owned())),
        Shape::Lines if !lines => {
            let expected = "it is neither an object with `items` as its first key nor a list";
            Err(AppError::ImportUnreadable(expected.to_owned()))
        }
        Shape::Lines => {
            for line in Lines(reader) {
                let line = line.map_err(unreadable)?;
                if !line.trim().is_empty() {
                    take(&line)?;
                }
            }
            Ok(())
        }
        shape => {
            let mut failed = None;
            let mut deserializer = serde_json::Deserializer::from_reader(reader);
            let read = Records {
                take,
                failed: &mut failed,
                keyed: matches!(shape, Shape::Items),
            }
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end());
            match (failed, read) {
                (Some(error), _) => Err(error.into()),
                (None, Err(error)) => Err(AppError::ImportUnreadable(format!(
                    "it is cut or is not JSON, at line {} column {}",
                    error.line(),
                    error.column()
                ))),
                (None, Ok(())) => Ok(()),
            }
        }
    }
}

/// Lines of UTF-8 text, the last one with or without its end.
struct Lines(Box<dyn BufRead + Send>);

impl Iterator for Lines {
    type Item = std::io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(line)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Reads the records of a list, or of the list under `items`, one by one.
struct Records<'a, 'b> {
    take: Take<'a>,
    failed: &'b mut Option<StorageError>,
    keyed: bool,
}

impl<'de> DeserializeSeed<'de> for Records<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.keyed {
            deserializer.deserialize_map(self)
        } else {
            deserializer.deserialize_seq(self)
        }
    }
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = map.next_key::<String>()? {
            if key != "items" || seen {
                return Err(A::Error::custom("only `items` is expected, once"));
            }
            seen = true;
            map.next_value_seed(Records {
                take: &mut *self.take,
                failed: &mut *self.failed,
                keyed: false,
            })?;
        }
        self.keyed = false;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(raw) = seq.next_element::<Box<RawValue>>()? {
            if let Err(error) = (self.take)(raw.get()) {
                *self.failed = Some(error);
                return Err(A::Error::custom("the import stopped"));
            }
        }
        Ok(())
    }
}

/// Finds out whether an input is a published store's SQLite file, and gives it back as a source. Text is not
/// read further; a SQLite file is read into memory.
///
/// # Errors
/// The reader's own.
pub fn sniff(reader: Box<dyn BufRead + Send>) -> std::io::Result<ImportSource> {
    let mut reader = reader;
    let mut head = Vec::with_capacity(published::SQLITE_MAGIC.len());
    // As many bytes as the mark has, although a stream may hand them out one by one.
    reader
        .by_ref()
        .take(published::SQLITE_MAGIC.len() as u64)
        .read_to_end(&mut head)?;
    if head == published::SQLITE_MAGIC {
        reader.read_to_end(&mut head)?;
        return Ok(ImportSource::PublishedBytes(head));
    }
    Ok(ImportSource::Text(Box::new(
        std::io::Cursor::new(head).chain(reader),
    )))
}
