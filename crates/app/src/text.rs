//! Long answers: texts that are put together while they are sent, a piece at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use cavra_storage::{StorageError, StoredRecord, unpack};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::spool::Pieces;
use crate::{App, AppError};

/// How many records go into one piece.
const RECORDS_PER_PIECE: u64 = 500;

/// What to write of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All of it.
    Record,
    /// The acknowledgement inside.
    Acknowledgement,
}

/// A part of a long text.
#[derive(Debug)]
enum Part {
    Text(String),
    /// What is stored beside a record, from this piece on.
    Beside(u64, u64),
    /// A kept answer, from this piece on.
    Kept(u64, u64),
    Spool(Arc<Mutex<Pieces>>),
    /// Records of the log from the first position to the last, with commas in between.
    Records {
        next: u64,
        last: u64,
        shown: Shown,
        comma: bool,
    },
}

/// A text that is read from the beginning to its end, in pieces.
#[derive(Debug, Default)]
pub struct LongText {
    parts: VecDeque<Part>,
}

impl LongText {
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        // Texts side by side are one piece: reading one costs its reader a turn.
        match self.parts.back_mut() {
            Some(Part::Text(before)) => before.push_str(&text.into()),
            _ => self.parts.push_back(Part::Text(text.into())),
        }
        self
    }

    pub(crate) fn beside(mut self, position: u64) -> Self {
        self.parts.push_back(Part::Beside(position, 0));
        self
    }

    pub(crate) fn kept(mut self, answer: u64) -> Self {
        self.parts.push_back(Part::Kept(answer, 0));
        self
    }

    pub(crate) fn spool(mut self, pieces: Arc<Mutex<Pieces>>) -> Self {
        self.parts.push_back(Part::Spool(pieces));
        self
    }

    /// The text between two others.
    #[must_use]
    pub fn between(mut self, before: &str, after: &str) -> Self {
        match self.parts.front_mut() {
            Some(Part::Text(first)) => first.insert_str(0, before),
            _ => self.parts.push_front(Part::Text(before.to_owned())),
        }
        self.text(after)
    }

    /// The records from `first` to before `end`.
    pub(crate) fn records(mut self, first: u64, end: u64, shown: Shown) -> Self {
        if first < end {
            self.parts.push_back(Part::Records {
                next: first,
                last: end - 1,
                shown,
                comma: false,
            });
        }
        self
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`AppError::Storage`] when something stored is damaged.
    pub fn next(&mut self, app: &App) -> Result<Option<Vec<u8>>, AppError> {
        while let Some(part) = self.parts.front_mut() {
            let piece = match part {
                Part::Text(text) => {
                    let text = std::mem::take(text).into_bytes();
                    (!text.is_empty()).then_some(text)
                }
                Part::Beside(position, piece) => {
                    let (position, number) = (*position, *piece);
                    *piece += 1;
                    let packed = app.store.reading(|tx| tx.piece(position, number))?;
                    packed.map(|packed| unpack(&packed)).transpose()?
                }
                Part::Kept(answer, piece) => {
                    let (answer, number) = (*answer, *piece);
                    *piece += 1;
                    let packed = app.store.reading(|tx| tx.kept_piece(answer, number))?;
                    packed.map(|packed| unpack(&packed)).transpose()?
                }
                Part::Spool(pieces) => match pieces.lock().unwrap_or_else(PoisonError::into_inner).next() {
                    None => None,
                    Some(packed) => Some(unpack(&packed.map_err(AppError::Spool)?)?),
                },
                Part::Records {
                    next,
                    last,
                    shown,
                    comma,
                } => {
                    if *next > *last {
                        None
                    } else {
                        let end = (*next + RECORDS_PER_PIECE).min(*last + 1);
                        let text = records(app, *next, end, *shown, comma)?;
                        *next = end;
                        Some(text)
                    }
                }
            };
            match piece {
                Some(piece) => return Ok(Some(piece)),
                None => {
                    self.parts.pop_front();
                }
            }
        }
        Ok(None)
    }

    /// The whole text at once: for embedding and for tests.
    ///
    /// # Errors
    /// As [`LongText::next`].
    pub fn whole(mut self, app: &App) -> Result<Vec<u8>, AppError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next(app)? {
            whole.extend(piece);
        }
        Ok(whole)
    }
}

fn records(app: &App, first: u64, end: u64, shown: Shown, comma: &mut bool) -> Result<Vec<u8>, AppError> {
    #[derive(Deserialize)]
    struct Holder<'a> {
        #[serde(borrow)]
        acknowledgement: &'a RawValue,
    }
    let mut text = Vec::new();
    app.store.reading(|tx| {
        tx.visit_records(first - 1, None, None, &mut |record: StoredRecord| {
            if record.position >= end {
                return Ok(ControlFlow::Break(()));
            }
            if std::mem::replace(comma, true) {
                text.push(b',');
            }
            match shown {
                Shown::Record => text.extend_from_slice(record.json.as_bytes()),
                Shown::Acknowledgement => {
                    let holder: Holder<'_> = serde_json::from_str(&record.json).map_err(|_| {
                        StorageError::Corrupt(format!("record {} holds no acknowledgement", record.position))
                    })?;
                    text.extend_from_slice(holder.acknowledgement.get().as_bytes());
                }
            }
            Ok(if record.position + 1 == end {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
    })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &LongText) -> Vec<&str> {
        text.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                _ => "-",
            })
            .collect()
    }

    #[test]
    fn texts_side_by_side_are_one_piece() {
        let text = LongText::default().text("b").text("c").between("a", "d");
        assert_eq!(texts(&text), ["abcd"]);
        let text = LongText::default().beside(1).between("a", "b").text("c");
        assert_eq!(texts(&text), ["a", "-", "bc"]);
    }
}
