//! Previews of a bulk: what somebody saw, as a digest, and what has changed since (contract decisions 5).
//!
//! A selection's digest says which routes were selected and at which revisions. Committing with the digest of a
//! preview therefore changes nothing that its operator did not see. A digest alone cannot tell what has changed; for
//! that a [`Snapshot`] keeps 24 bytes per route.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::bulk::{ListedRoute, Target};
use crate::id::RouteId;

/// How many routes a difference names; it counts them all.
pub const NAMED_AT_MOST: usize = 1_000;

/// Puts a selection's digest together. Routes come in the order of lists: newest cycle first, then by id, downwards.
#[derive(Debug, Clone)]
pub struct SelectionHasher {
    hasher: Sha256,
    snapshot: Option<Snapshot>,
}

impl SelectionHasher {
    /// Nothing yet. With `remember`, the routes are kept as well.
    pub fn new(remember: bool) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"cavra-selection-1");
        Self {
            hasher,
            snapshot: remember.then(Snapshot::default),
        }
    }

    fn part(&mut self, text: &str) {
        // The length in front keeps ("ab", "c") apart from ("a", "bc").
        self.hasher
            .update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.hasher.update(text.as_bytes());
    }

    /// One more route.
    pub fn route(&mut self, target: &Target) {
        self.part(target.route_id.as_str());
        self.hasher.update(target.revision.to_be_bytes());
        self.hasher.update([u8::from(target.current)]);
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.routes.push((key(&target.route_id), stamp(target)));
        }
    }

    /// Listed routes that name nothing, in any order.
    pub fn missing<'a>(&mut self, items: impl IntoIterator<Item = &'a ListedRoute>) {
        let items: BTreeSet<[String; 4]> = items
            .into_iter()
            .map(|item| {
                [
                    item.schedule_id.to_string(),
                    item.provider.key().to_owned(),
                    item.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
                    item.plan_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                ]
            })
            .collect();
        for part in items.iter().flatten() {
            self.part(part);
        }
    }

    /// The digest as it is written, and the snapshot if one was to be kept.
    pub fn finish(mut self) -> (String, Option<Snapshot>) {
        let mut text = String::from("sha256:");
        for byte in self.hasher.finalize() {
            // Writing to a string does not fail.
            let _ = std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}"));
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.routes.sort_unstable();
            snapshot.routes.shrink_to_fit();
        }
        (text, self.snapshot)
    }
}

/// Whether a text has the form of a digest that [`SelectionHasher::finish`] writes.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A route's id as bytes: it is a prefix and a UUID.
fn key(route_id: &RouteId) -> [u8; 16] {
    route_id
        .as_str()
        .strip_prefix(RouteId::PREFIX)
        .and_then(|uuid| Uuid::parse_str(uuid).ok())
        .map(Uuid::into_bytes)
        .unwrap_or_default()
}

/// Revision and cycle in one number.
const fn stamp(target: &Target) -> u64 {
    target.revision << 1 | target.current as u64
}

/// The routes that a preview showed, with their revisions: 24 bytes each, sorted by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    routes: Vec<([u8; 16], u64)>,
}

impl Snapshot {
    /// How many routes.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What has changed from this selection to another.
    pub fn difference(&self, now: &Self) -> Difference {
        let mut difference = Difference::default();
        let (mut before, mut after) = (self.routes.iter().peekable(), now.routes.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return difference,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old, _)), Some((new, _))) => old.cmp(new),
            };
            let (old, new) = match order {
                Ordering::Less => (before.next(), None),
                Ordering::Greater => (None, after.next()),
                Ordering::Equal => (before.next(), after.next()),
            };
            match (old, new) {
                (Some((id, _)), None) => difference.add(*id, Change::Left),
                (None, Some((id, _))) => difference.add(*id, Change::Joined),
                (Some((id, old)), Some((_, new))) if old != new => difference.add(*id, Change::Changed),
                _ => {}
            }
        }
    }
}

/// What became of a route since a preview.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is selected now and was not.
    Joined,
    /// It was selected and is not any more.
    Left,
    /// It is selected still, and its state or its cycle has changed.
    Changed,
}

/// What has changed since a preview.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// The first routes, by id; at most [`NAMED_AT_MOST`].
    pub routes: Vec<(RouteId, Change)>,
    /// How many have joined.
    pub joined: u64,
    /// How many have left.
    pub left: u64,
    /// How many have changed.
    pub changed: u64,
}

impl Difference {
    fn add(&mut self, id: [u8; 16], change: Change) {
        match change {
            Change::Joined => self.joined += 1,
            Change::Left => self.left += 1,
            Change::Changed => self.changed += 1,
        }
        if self.routes.len() < NAMED_AT_MOST {
            self.routes
                .push((RouteId::from_uuid(Uuid::from_bytes(id)), change));
        }
    }
}
