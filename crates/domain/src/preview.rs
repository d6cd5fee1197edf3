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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::acknowledgement::AckState;
    use crate::bulk::{Outcome, decide};
    use crate::route::{FilterTerms, RouteFilter, TrackedRoute};
    use crate::testing::{answer, now, provider, route, schedule_id, text, tracked};
    use crate::time::Timestamp;

    fn selected<'a>(world: &'a [TrackedRoute], filter: &RouteFilter, at: Timestamp) -> Vec<&'a TrackedRoute> {
        let mut selected: Vec<_> = world
            .iter()
            .filter(|tracked| filter.matches(tracked, at))
            .collect();
        selected.sort_by(|a, b| {
            (b.route.created_at, &b.route.route_id).cmp(&(a.route.created_at, &a.route.route_id))
        });
        selected
    }

    fn hashed(routes: &[&TrackedRoute]) -> (String, Snapshot) {
        let mut hasher = SelectionHasher::new(true);
        for tracked in routes {
            hasher.route(&Target::from(*tracked));
        }
        let (digest, snapshot) = hasher.finish();
        (digest, snapshot.unwrap())
    }

    /// What an operator has looked at.
    type Seen = (RouteFilter, String, Snapshot, BTreeMap<RouteId, u64>);

    /// One thing that one of two operators does.
    #[derive(Debug, Clone)]
    enum Step {
        Look(RouteFilter, Timestamp),
        /// The bulk that the operator has looked at, bound to what was seen.
        Commit(AckState, Timestamp),
        /// Something else to one route, unseen by anybody.
        Single(usize, AckState),
    }

    /// Filters of every sort that a selection may depend on: who, which state, and the time.
    fn filters() -> Vec<RouteFilter> {
        let of = |owner: &str, state: &str, breached| {
            let terms = FilterTerms {
                owner,
                state,
                breached,
                ..FilterTerms::default()
            };
            RouteFilter::parse(&terms).unwrap()
        };
        vec![
            of("", "", None),
            of("ana", "", None),
            of("", "outstanding", None),
            of("", "escalated", None),
            of("", "", Some(true)),
        ]
    }

    /// Four routes, answered at random.
    fn any_world() -> impl Strategy<Value = Vec<TrackedRoute>> {
        vec(vec(select(AckState::ALL), 0..2), 4).prop_map(|said| {
            ["ana", "ben", "carla", "dora"]
                .iter()
                .zip(said)
                .map(|(owner, said)| tracked(route("sched-a", "slack", owner), &said))
                .collect()
        })
    }

    fn any_step() -> impl Strategy<Value = (usize, Step)> {
        let said = || select(AckState::ALL);
        // Half of the times the routes are late.
        let at = || select(vec![now(), now().plus_minutes(90)]);
        let step = prop_oneof![
            2 => (select(filters()), at()).prop_map(|(filter, at)| Step::Look(filter, at)),
            3 => (said(), at()).prop_map(|(said, at)| Step::Commit(said, at)),
            2 => (0..4_usize, said()).prop_map(|(route, said)| Step::Single(route, said)),
        ];
        (0..2_usize, step)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn in_no_interleaving_of_two_operators_a_route_changes_that_its_operator_did_not_see(
            world in any_world(), steps in vec(any_step(), 2..10),
        ) {
            let mut world = world;
            // What each operator has seen: the filter, the digest, and the revision of each route.
            let mut seen: [Option<Seen>; 2] = [None, None];
            for (number, (operator, step)) in (0_u64..).zip(steps) {
                match step {
                    Step::Look(filter, at) => {
                        let routes = selected(&world, &filter, at);
                        let (digest, snapshot) = hashed(&routes);
                        let shown = routes
                            .iter()
                            .map(|tracked| (tracked.route.route_id.clone(), tracked.status.revision))
                            .collect();
                        seen[operator] = Some((filter, digest, snapshot, shown));
                    }
                    Step::Single(route, said) => {
                        let count = world.len();
                        if let Some(tracked) = world.get_mut(route % count.max(1)) {
                            tracked.status = std::mem::take(&mut tracked.status).apply(answer(said, number)).0;
                        }
                    }
                    Step::Commit(said, at) => {
                        let Some((filter, digest, snapshot, shown)) = &seen[operator] else { continue };
                        let routes = selected(&world, filter, at);
                        let now = hashed(&routes);
                        let difference = snapshot.difference(&now.1);
                        let total = difference.joined + difference.left + difference.changed;
                        prop_assert_eq!(*digest == now.0, total == 0, "the digest and the difference agree");
                        prop_assert_eq!(difference.routes.len() as u64, total);
                        if *digest != now.0 {
                            continue;
                        }
                        let changed: Vec<RouteId> = routes
                            .iter()
                            .filter(|tracked| decide(tracked, said).0 == Outcome::Changed)
                            .map(|tracked| tracked.route.route_id.clone())
                            .collect();
                        for tracked in world.iter_mut().filter(|tracked| changed.contains(&tracked.route.route_id)) {
                            prop_assert_eq!(shown.get(&tracked.route.route_id), Some(&tracked.status.revision));
                            tracked.status = std::mem::take(&mut tracked.status).apply(answer(said, number)).0;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_difference_says_of_each_route_what_became_of_it() {
        let routes = ["ana", "ben", "carla"].map(|owner| tracked(route("sched-a", "slack", owner), &[]));
        let answered = tracked(route("sched-a", "slack", "ben"), &[AckState::Escalated]);
        let (before, after) = (
            hashed(&[&routes[0], &routes[1]]),
            hashed(&[&answered, &routes[2]]),
        );
        assert_ne!(before.0, after.0);
        let difference = before.1.difference(&after.1);
        assert_eq!(
            (difference.joined, difference.left, difference.changed),
            (1, 1, 1)
        );
        let of = |tracked: &TrackedRoute| {
            let found = difference
                .routes
                .iter()
                .find(|(id, _)| *id == tracked.route.route_id);
            found.map(|(_, change)| *change)
        };
        assert_eq!(of(&routes[0]), Some(Change::Left));
        assert_eq!(of(&routes[1]), Some(Change::Changed));
        assert_eq!(of(&routes[2]), Some(Change::Joined));
        // A new cycle changes what may be done to a route, though not its revision.
        let old = TrackedRoute {
            current: false,
            ..routes[0].clone()
        };
        assert_eq!(hashed(&[&routes[0]]).1.difference(&hashed(&[&old]).1).changed, 1);
    }

    #[test]
    fn names_without_a_route_are_part_of_a_digest_in_any_order() {
        let item = |owner: &str| ListedRoute {
            schedule_id: schedule_id("sched-a"),
            provider: provider("slack"),
            owner: Some(text(owner)),
            plan_id: None,
            external_ref: None,
            notes: None,
        };
        let digest = |owners: &[&str]| {
            let items: Vec<ListedRoute> = owners.iter().map(|owner| item(owner)).collect();
            let mut hasher = SelectionHasher::new(false);
            hasher.missing(&items);
            hasher.finish().0
        };
        assert_eq!(digest(&["ana", "ben"]), digest(&["ben", "ana"]));
        assert_ne!(digest(&["ana", "ben"]), digest(&["ana"]));
        assert!(is_digest(&digest(&[])) && !is_digest("sha256:12"));
    }

    #[test]
    fn a_difference_names_a_thousand_routes_and_counts_them_all() {
        let mut hasher = SelectionHasher::new(true);
        for number in 0..1_500 {
            let owner = format!("owner-{number}");
            hasher.route(&Target::from(&tracked(route("sched-a", "slack", &owner), &[])));
        }
        let all = hasher.finish().1.unwrap();
        let difference = all.difference(&Snapshot::default());
        assert_eq!((difference.left, difference.routes.len()), (1_500, NAMED_AT_MOST));
        assert_eq!((all.len(), all.is_empty()), (1_500, false));
    }
}
