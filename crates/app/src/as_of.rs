//! The state as it was: at a time, or when the log had so many records (contract decisions 7).
//!
//! It is made anew from the evidence, and is what was answered then.

use cavra_domain::time::Timestamp;
use cavra_storage::ReadTx;

use crate::{App, AppError, transaction_time};

/// Which earlier state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// When the log had so many records, at the time at which the last of them was taken.
    Position(u64),
    /// At that time.
    Time(Timestamp),
}

impl AsOf {
    /// Reads a position of the log or an RFC 3339 time.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().ok().map(Self::Position)
        } else {
            Timestamp::parse(text).ok().map(Self::Time)
        }
    }
}

/// An earlier state: how many records it rests on, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) position: u64,
    pub(crate) at: Timestamp,
    /// The time now.
    pub(crate) now: Timestamp,
}

impl App {
    /// The moment that is meant.
    pub(crate) fn moment(&self, as_of: AsOf) -> Result<Moment, AppError> {
        self.store.as_ref().reading(|tx| {
            let now = transaction_time(self.clock.as_ref(), tx)?;
            let head = tx.head()?.position;
            match as_of {
                AsOf::Time(at) if at > now => Err(AppError::Ahead(at)),
                AsOf::Time(at) => Ok(Moment {
                    position: tx.position_at(at)?,
                    at,
                    now,
                }),
                AsOf::Position(position) => {
                    let mut at = None;
                    if position > 0 && position <= head {
                        tx.visit_records(position - 1, None, None, &mut |record| {
                            at = Some(record.recorded_at);
                            Ok(std::ops::ControlFlow::Break(()))
                        })?;
                    }
                    let at = at.ok_or(AppError::NoSuchSize { size: position, head })?;
                    Ok(Moment { position, at, now })
                }
            }
        })
    }

    /// Reads the state as it is, or as it was.
    pub(crate) fn seen<T>(
        &self,
        as_of: Option<AsOf>,
        job: impl FnOnce(&dyn ReadTx, Timestamp) -> Result<T, AppError>,
    ) -> Result<T, AppError> {
        match as_of {
            None => self.store.as_ref().reading(|tx| {
                let now = transaction_time(self.clock.as_ref(), tx)?;
                job(tx, now)
            }),
            Some(as_of) => {
                let moment = self.moment(as_of)?;
                self.store
                    .as_ref()
                    .reading_as_of(moment.position, |tx| job(tx, moment.at))
            }
        }
    }
}
