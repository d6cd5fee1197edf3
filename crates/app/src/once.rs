//! Requests with a key: the same one again has the effect of one, and the same answer, byte for byte.
//!
//! The answer is kept in the transaction that records the evidence, so there is never one without the other, also not
//! after a crash. Every use case that writes does so through `App::writing` or `App::sharing`; there is no other way from
//! here to a write, so none is left out. A use case that fails has written nothing and keeps nothing: the same request may be
//! tried again, and is decided again.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use cavra_domain::evidence::EvidenceKind;
use cavra_domain::time::{Clock, Timestamp};
use cavra_evidence::digest::{Digest, DigestWriter};
use cavra_storage::{
    KeptAnswer, NewAnswer, Pieces, ReadTx, RequestName, StorageError, Store, StoredRecord, WriteTx, pack,
};
use serde::Serialize;

use crate::text::LongText;
use crate::{App, AppError, transaction_time};

/// How long an answer is kept, in hours.
pub const KEPT_HOURS: u32 = 24;

/// Evidence as use cases see it: to be read. Writes go through [`App::writing`] and [`App::sharing`].
#[derive(Clone)]
pub(crate) struct Evidence(Arc<dyn Store>);

impl Evidence {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Runs a read and gives its result.
    pub(crate) fn reading<T, E: From<StorageError>>(
        &self,
        job: impl FnOnce(&dyn ReadTx) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.as_ref().reading(job)
    }

    /// Runs a read of the state as it was, and gives its result.
    pub(crate) fn reading_as_of<T, E: From<StorageError>>(
        &self,
        position: u64,
        job: impl FnOnce(&dyn ReadTx) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.as_ref().reading_as_of(position, job)
    }

    pub(crate) fn as_ref(&self) -> &Self {
        self
    }

    pub(crate) fn whole(&self) -> &dyn Store {
        self.0.as_ref()
    }
}

/// Digest of what a request asks for: equal for equal requests only.
#[derive(Debug, Default)]
pub struct RequestDigest(DigestWriter);

impl RequestDigest {
    /// One more part, as a whole.
    pub fn part(&mut self, part: &[u8]) {
        self.piece(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.piece(part);
    }

    /// A piece of the last part, whose length is not known beforehand.
    pub fn piece(&mut self, piece: &[u8]) {
        // Hashing does not fail.
        let _ = self.0.write_all(piece);
    }
}

impl RequestDigest {
    /// The first half of the digest, in hexadecimal: for entity tags.
    pub fn short(self) -> String {
        self.0.finish().to_hex().chars().take(32).collect()
    }
}

/// A request that brought a key.
#[derive(Debug)]
pub struct KeyedRequest {
    name: RequestName,
    fingerprint: Digest,
    kept_until: Mutex<Option<Timestamp>>,
}

impl KeyedRequest {
    /// `caller` tells callers apart, `operation` what is asked, `key` one request from another.
    pub fn new(caller: String, operation: &str, key: String, asked: RequestDigest) -> Self {
        Self {
            name: RequestName {
                caller,
                operation: operation.to_owned(),
                key,
            },
            fingerprint: asked.0.finish(),
            kept_until: Mutex::default(),
        }
    }

    /// Until when the answer is kept, if it is.
    pub fn kept_until(&self) -> Option<Timestamp> {
        *self.kept_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_until(&self, until: Option<Timestamp>) {
        *self.kept_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Nothing when the key is free.
    fn check(&self, tx: &dyn ReadTx, now: Timestamp) -> Result<(), AppError> {
        match tx.kept_answer(&self.name, now)? {
            None => Ok(()),
            Some(kept) if kept.fingerprint == self.fingerprint => Err(AppError::GivenBefore(kept)),
            Some(_) => Err(AppError::KeyReused),
        }
    }
}

/// How an answer is kept.
pub(crate) enum Keep {
    /// As these packed pieces of its text.
    Pieces(Box<dyn Iterator<Item = std::io::Result<Vec<u8>>>>),
    /// As the record that it is made from again.
    Record(u64),
}

impl App {
    /// The same use cases, for one request with a key.
    #[must_use]
    pub fn for_request(&self, request: Arc<KeyedRequest>) -> Self {
        Self {
            request: Some(request),
            ..self.clone()
        }
    }

    /// Looks for the answer of this request before anything is done for it. Whether it is there is decided in the
    /// transaction of the write; this only saves the work.
    ///
    /// # Errors
    /// [`AppError::GivenBefore`] with the answer, [`AppError::KeyReused`].
    pub fn check_request(&self) -> Result<(), AppError> {
        match &self.request {
            None => Ok(()),
            Some(request) => self.store.reading(|tx| request.check(tx, self.clock.now())),
        }
    }

    /// The text of an answer that was given before, and whether it is the short form. `minimal`: the request preferred
    /// that.
    ///
    /// # Errors
    /// [`AppError::Storage`] when what it is made from cannot be read.
    pub fn given_text(&self, given: &GivenAnswer, minimal: bool) -> Result<(LongText, bool), AppError> {
        let Some(position) = given.reference else {
            return Ok((LongText::default().kept(given.id), false));
        };
        match self.recorded_kind(position)? {
            EvidenceKind::BulkAcknowledgement | EvidenceKind::BulkUndo => {
                Ok((self.recorded_bulk(position, minimal)?.text()?, minimal))
            }
            _ => {
                let document = self.recorded_document(position)?;
                let short = minimal && document.has_short_answer();
                Ok((self.made_text(&document, minimal), short))
            }
        }
    }

    fn recorded_kind(&self, position: u64) -> Result<EvidenceKind, AppError> {
        self.store.reading(|tx| Ok(record_at(tx, position)?.kind))
    }

    /// Runs a write whose result is the answer, as JSON.
    pub(crate) fn writing<T: Serialize + Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn WriteTx) -> Result<T, AppError> + Send + 'static,
    ) -> Result<T, AppError> {
        self.writing_and_keeping(job, as_text)
    }

    /// As [`App::writing`], for a write that may share a transaction: it decides first and writes last, and may run
    /// again.
    pub(crate) fn sharing<T: Serialize + Send + 'static>(
        &self,
        job: impl FnMut(&mut dyn WriteTx) -> Result<T, AppError> + Send + 'static,
    ) -> Result<T, AppError> {
        self.store.whole().sharing(self.keeping_each(job))
    }

    /// As [`App::sharing`]; `end` is given the result, and nobody waits for it.
    pub(crate) fn sharing_later<T: Serialize + Send + 'static>(
        &self,
        job: impl FnMut(&mut dyn WriteTx) -> Result<T, AppError> + Send + 'static,
        end: impl FnOnce(Result<T, AppError>) + Send + 'static,
    ) {
        self.store.whole().sharing_later(self.keeping_each(job), end);
    }

    /// Runs a write; `keep` says how the answer is kept when the request has a key.
    pub(crate) fn writing_and_keeping<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn WriteTx) -> Result<T, AppError> + Send + 'static,
        keep: impl FnOnce(&T) -> Result<Keep, AppError> + Send + 'static,
    ) -> Result<T, AppError> {
        let keeping = self.keeping();
        self.store.whole().writing(move |tx| keeping.run(tx, job, keep))
    }

    fn keeping_each<T: Serialize>(
        &self,
        mut job: impl FnMut(&mut dyn WriteTx) -> Result<T, AppError> + Send + 'static,
    ) -> impl FnMut(&mut dyn WriteTx) -> Result<T, AppError> + Send + 'static {
        let keeping = self.keeping();
        move |tx| keeping.run(tx, &mut job, as_text)
    }

    fn keeping(&self) -> Keeping {
        Keeping {
            request: self.request.clone(),
            clock: Arc::clone(&self.clock),
        }
    }
}

/// What a request with a key does around its job.
struct Keeping {
    request: Option<Arc<KeyedRequest>>,
    clock: Arc<dyn Clock>,
}

impl Keeping {
    /// Looks for the answer to the request first, and keeps the new one.
    fn run<T>(
        &self,
        tx: &mut dyn WriteTx,
        job: impl FnOnce(&mut dyn WriteTx) -> Result<T, AppError>,
        keep: impl FnOnce(&T) -> Result<Keep, AppError>,
    ) -> Result<T, AppError> {
        let Some(request) = &self.request else {
            return job(tx);
        };
        // Of this run, and not of one that was rolled back.
        request.keep_until(None);
        let now = transaction_time(self.clock.as_ref(), tx.state())?;
        request.check(tx.state(), now)?;
        let answer = job(tx)?;
        let expires_at = now.plus_minutes(KEPT_HOURS * 60);
        let (reference, mut pieces): (_, Box<Pieces<'_>>) = match keep(&answer)? {
            Keep::Pieces(pieces) => (None, pieces),
            Keep::Record(position) => (Some(position), Box::new(std::iter::empty())),
        };
        tx.keep_answer(
            &NewAnswer {
                name: &request.name,
                fingerprint: request.fingerprint,
                now,
                expires_at,
                reference,
            },
            pieces.as_mut(),
        )?;
        request.keep_until(Some(expires_at));
        Ok(answer)
    }
}

/// Keeps an answer as its text.
fn as_text<T: Serialize>(answer: &T) -> Result<Keep, AppError> {
    let text = serde_json::to_vec(answer).map_err(|error| AppError::Spool(error.into()))?;
    Ok(Keep::Pieces(Box::new(std::iter::once(Ok(pack(&text))))))
}

/// The record at a position of the log.
pub(crate) fn record_at(tx: &dyn ReadTx, position: u64) -> Result<StoredRecord, StorageError> {
    let mut found = None;
    tx.visit_records(position.saturating_sub(1), None, None, &mut |record| {
        found = (record.position == position).then_some(record);
        Ok(ControlFlow::Break(()))
    })?;
    found.ok_or_else(|| StorageError::Corrupt(format!("there is no record {position}")))
}

/// An answer that was given before.
pub type GivenAnswer = KeptAnswer;
