//! Which moment a package shows, and whether the times in the log bear it out: whoever holds the key could else leave
//! out what came last, or judge deadlines at another time.

use cavra_domain::time::Timestamp;
use serde_json::{Map, Value};

use super::packed::{Packed, unquoted};
use super::{CheckName, Failure, Records, fail, read_leaf};
use crate::package::Scope;

/// How much later than it was made a package may be recorded, in seconds. What was being recorded meanwhile is not in
/// it; anything that was recorded longer before has to be.
pub const MAKING_TOLERANCE_SECONDS: u32 = 300;

/// The moment that a package shows.
pub(super) struct Moment {
    /// When it was made.
    made: Timestamp,
    /// How far the log went at the earlier time that it shows; none when that is the time at which it was made.
    earlier: Option<u64>,
    /// When breach and age are judged.
    pub(super) at: Timestamp,
    /// The newest plan, acknowledgement or undo that it was made from.
    pub(super) until: u64,
}

impl Moment {
    pub(super) fn read(package: &Map<String, Value>) -> Option<Self> {
        let time = |value: &Value| Timestamp::parse(value.as_str()?).ok();
        let made = time(package.get("generated_at")?)?;
        let (at, earlier) = match package.get("as_of") {
            None => (made, None),
            Some(as_of) => (
                time(as_of.get("at")?)?,
                Some(as_of.get("log_position")?.as_u64()?),
            ),
        };
        Some(Self {
            made,
            earlier,
            at,
            until: package.get("evidence")?.get("log_position")?.as_u64()?,
        })
    }

    /// Whether the evidence in the package is all that there was at that moment, as far as its scope can show it. Gives
    /// how many plans, acknowledgements and undos were being recorded while it was made.
    pub(super) fn complete(&self, payload: &Packed<'_>, records: &Records) -> Result<u64, Failure> {
        let wrong = |element: &str, problem: &str| Err(fail(CheckName::Routes, element.to_owned(), problem));
        let last = records.opened.last().map(|own| own.leaf.recorded_at);
        let latest = self
            .made
            .plus_micros(i64::from(MAKING_TOLERANCE_SECONDS) * 1_000_000);
        if !last.is_some_and(|last| self.made <= last && last <= latest) {
            return wrong("generated_at", "the log says that it was made at another time");
        }
        if self.at > self.made || self.earlier.is_some_and(|earlier| earlier < self.until) {
            return wrong("as_of", "it is no earlier moment of this log");
        }
        let mut newest = 0;
        for record in records
            .opened
            .iter()
            .filter(|record| record.leaf.is_route_evidence())
        {
            let element = format!("record {}", record.leaf.position);
            if record.leaf.position > self.until {
                return wrong(&element, "it is newer than the package says");
            }
            if record.leaf.recorded_at > self.at {
                return wrong(
                    &element,
                    "it was recorded after the moment that the package shows",
                );
            }
            newest = record.leaf.position;
        }
        if payload.manifest.scope == Scope::Filtered {
            return Ok(0);
        }
        let mut meanwhile = 0;
        for raw in &payload.leaves {
            let Some(leaf) = read_leaf(&unquoted(raw)).filter(super::Leaf::is_route_evidence) else {
                continue;
            };
            let element = format!("record {}", leaf.position);
            if leaf.position <= self.until {
                return wrong(&element, "it is in the log and left out of the package");
            }
            if self
                .earlier
                .is_some_and(|earlier| leaf.position > earlier && leaf.recorded_at >= self.at)
            {
                continue;
            }
            let settled = leaf
                .recorded_at
                .plus_micros(i64::from(MAKING_TOLERANCE_SECONDS) * 1_000_000);
            if settled < self.made {
                return wrong(
                    &element,
                    "it was recorded before the moment that the package shows, and is left out",
                );
            }
            meanwhile += 1;
        }
        if newest != self.until {
            return wrong(
                "evidence",
                "the package says that it was made from another state of the log",
            );
        }
        Ok(meanwhile)
    }
}
