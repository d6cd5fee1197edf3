//! What previews have shown: kept in memory for a while, so that a bulk that comes too late is told what has changed.
//!
//! See ADR 0015. The digest decides whether a bulk is bound to what its operator saw; this memory only explains.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use cavra_domain::bulk::MAX_FILTERED_ROUTES;
use cavra_domain::preview::{Change, Difference, Snapshot};
use cavra_domain::route::StateName;
use cavra_domain::time::Timestamp;
use cavra_storage::{ReadTx, StorageError};
use schemars::JsonSchema;
use serde::Serialize;

/// How many routes all remembered previews have at most, of 24 bytes each: the largest preview fits once.
const REMEMBERED_ROUTES: u64 = MAX_FILTERED_ROUTES;

/// How many previews are remembered at most.
const REMEMBERED: usize = 1_000;

#[derive(Debug)]
struct Remembered {
    digest: String,
    at: Timestamp,
    snapshot: Arc<Snapshot>,
}

/// Remembered previews, the oldest in front.
#[derive(Debug, Default)]
pub(crate) struct Previews(Mutex<VecDeque<Remembered>>);

impl Previews {
    /// Remembers what a preview showed, and forgets the oldest ones that have no room beside it.
    pub(crate) fn remember(&self, digest: &str, at: Timestamp, snapshot: Snapshot) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|preview| preview.digest != digest);
        known.push_back(Remembered {
            digest: digest.to_owned(),
            at,
            snapshot: Arc::new(snapshot),
        });
        let routes = |known: &VecDeque<Remembered>| {
            let routes: usize = known.iter().map(|preview| preview.snapshot.len()).sum();
            u64::try_from(routes).unwrap_or(u64::MAX)
        };
        while known.len() > 1 && (known.len() > REMEMBERED || routes(&known) > REMEMBERED_ROUTES) {
            known.pop_front();
        }
    }

    /// What the preview with this digest showed, and when.
    pub(crate) fn recall(&self, digest: &str) -> Option<(Timestamp, Arc<Snapshot>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let preview = known.iter().find(|preview| preview.digest == digest)?;
        Some((preview.at, Arc::clone(&preview.snapshot)))
    }
}

/// A route that is not what the preview showed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ChangedRoute {
    /// The route.
    pub route_id: String,
    /// The schedule.
    pub schedule_id: String,
    /// The cycle.
    pub plan_id: String,
    /// The provider.
    pub provider: String,
    /// The owner.
    pub owner: String,
    /// `joined` the selection, `left` it, or `changed` in it.
    pub change: Change,
    /// The state now; empty for a suppressed route.
    pub state: &'static str,
    /// How often the state has changed, now.
    pub revision: u64,
    /// The acknowledgement that stands now; empty when none does.
    pub acknowledgement_id: String,
    /// Who gave it.
    pub acknowledged_by: String,
    /// When; empty when none stands.
    pub acknowledged_at: String,
}

/// What has changed between a preview and the bulk that was bound to it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SelectionDifference {
    /// The digest that the request expected.
    pub expected_digest: String,
    /// The digest of the selection as it is now.
    pub selection_digest: String,
    /// How many elements the selection has now.
    pub matched_count: u64,
    /// Whether this process still remembers the preview. If not, only the digests tell that something has changed: the
    /// counts are null and no route is named.
    pub preview_known: bool,
    /// When the preview was made; null when it is not remembered.
    pub previewed_at: Option<Timestamp>,
    /// How many routes are selected now and were not.
    pub joined_count: Option<u64>,
    /// How many routes were selected and are not any more.
    pub left_count: Option<u64>,
    /// How many routes are selected still, in another state or cycle.
    pub changed_count: Option<u64>,
    /// These routes, by id; at most 1000 of them.
    pub routes: Vec<ChangedRoute>,
}

impl SelectionDifference {
    /// The difference when nothing is known but the digests.
    pub(crate) const fn unknown(expected: String, now: String, matched_count: u64) -> Self {
        Self {
            expected_digest: expected,
            selection_digest: now,
            matched_count,
            preview_known: false,
            previewed_at: None,
            joined_count: None,
            left_count: None,
            changed_count: None,
            routes: Vec::new(),
        }
    }

    /// The difference, with the routes as they are now.
    pub(crate) fn known(
        mut self,
        previewed_at: Timestamp,
        difference: &Difference,
        tx: &dyn ReadTx,
    ) -> Result<Self, StorageError> {
        self.preview_known = true;
        self.previewed_at = Some(previewed_at);
        self.joined_count = Some(difference.joined);
        self.left_count = Some(difference.left);
        self.changed_count = Some(difference.changed);
        for (route_id, change) in &difference.routes {
            let Some(tracked) = tx.route(route_id)? else {
                continue;
            };
            let (route, answer) = (&tracked.route, tracked.status.answer.as_ref());
            self.routes.push(ChangedRoute {
                route_id: route.route_id.to_string(),
                schedule_id: route.schedule_id.to_string(),
                plan_id: route.plan_id.to_string(),
                provider: route.provider.to_string(),
                owner: route.owner.to_string(),
                change: *change,
                state: tracked.state().map_or("", StateName::as_str),
                revision: tracked.status.revision,
                acknowledgement_id: answer
                    .map(|answer| answer.acknowledgement_id.to_string())
                    .unwrap_or_default(),
                acknowledged_by: answer
                    .map(|answer| answer.acknowledged_by.to_string())
                    .unwrap_or_default(),
                acknowledged_at: answer
                    .map(|answer| answer.acknowledged_at.to_string())
                    .unwrap_or_default(),
            });
        }
        Ok(self)
    }
}
