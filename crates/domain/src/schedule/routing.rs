//! Who is notified over what, and what stands against it (contract wire 3.1, steps 4, 6, 7 and 8).
//!
//! The rules and windows of a policy are indexed first, so that the time to make a plan grows with the policy plus
//! the routes and not with their product. Only windows that name an owner are tried one by one, for the providers
//! of that owner.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{MAX_ROUTES, OwnerAvailability, RequestedProviders};
use super::policy::{MaintenanceWindow, OwnerCalendar, OwnerRoutes, OwnerRule};
use super::{ScheduleError, fixed};
use crate::id::ScheduleId;
use crate::public_safe::Text;
use crate::route::Provider;
use crate::time::Timestamp;

/// An owner with the rule and the providers that the plan has for it.
pub(super) struct Target<'a> {
    pub(super) owner: &'a Text,
    pub(super) rule: MergedRule<'a>,
    pub(super) providers: Vec<&'a Provider>,
}

/// Who is notified over what; never empty.
pub(super) fn targets<'a>(
    owners: &'a [Text],
    base: &'a [Provider],
    rules: &Rules<'a>,
    requested: &RequestedProviders,
) -> Result<Vec<Target<'a>>, ScheduleError> {
    // Each list of providers that some owner has, restricted once, however many owners have it.
    let mut lists: BTreeMap<Option<usize>, Vec<&Provider>> = BTreeMap::new();
    let mut reached: BTreeMap<&str, &Provider> = BTreeMap::new();
    let mut merged = Vec::with_capacity(owners.len());
    for owner in owners {
        let rule = rules.for_owner(owner);
        lists.entry(rule.providers_from).or_insert_with(|| {
            let all = rule.providers.unwrap_or(base);
            reached.extend(all.iter().map(|provider| (provider.key(), provider)));
            all.iter()
                .filter(|provider| requested.includes(provider))
                .collect()
        });
        merged.push((owner, rule));
    }
    let unknown = requested
        .named()
        .find(|provider| !reached.contains_key(provider.key()));
    if let Some(name) = unknown {
        let eligible = reached.into_values().cloned().collect();
        return Err(ScheduleError::UnknownProvider {
            name: name.clone(),
            eligible,
        });
    }
    let count = merged
        .iter()
        .filter_map(|(_, rule)| lists.get(&rule.providers_from))
        .map(Vec::len)
        .sum::<usize>();
    if count > MAX_ROUTES {
        return Err(ScheduleError::TooManyRoutes { count });
    }
    let target = |(owner, rule): (&'a Text, MergedRule<'a>)| Target {
        owner,
        providers: lists.get(&rule.providers_from).cloned().unwrap_or_default(),
        rule,
    };
    Ok(merged.into_iter().map(target).collect())
}

/// What holds for one owner after its rules are merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct MergedRule<'a> {
    /// The providers that replace the base; never an empty list.
    providers: Option<&'a [Provider]>,
    /// The rule that they come from.
    providers_from: Option<usize>,
    pub(super) acknowledgement_minutes: Option<u32>,
    pub(super) escalation_owner: Option<&'a Text>,
}

/// The last rule that names each part of the merged rule.
#[derive(Debug, Clone, Copy, Default)]
struct LastNamed {
    providers: Option<usize>,
    minutes: Option<usize>,
    escalation_owner: Option<usize>,
}

impl LastNamed {
    fn add(&mut self, index: usize, rule: &OwnerRule) {
        self.providers = rule.providers.is_some().then_some(index).or(self.providers);
        self.minutes = rule
            .acknowledgement_minutes
            .is_some()
            .then_some(index)
            .or(self.minutes);
        self.escalation_owner = rule
            .escalation_owner
            .is_some()
            .then_some(index)
            .or(self.escalation_owner);
    }

    fn later_of(self, other: Self) -> Self {
        Self {
            providers: self.providers.max(other.providers),
            minutes: self.minutes.max(other.minutes),
            escalation_owner: self.escalation_owner.max(other.escalation_owner),
        }
    }
}

/// The rules of a policy, indexed so that merging takes the same time however many there are.
pub(super) struct Rules<'a> {
    in_order: Vec<&'a OwnerRule>,
    for_all: LastNamed,
    by_owner: BTreeMap<&'a str, LastNamed>,
}

impl<'a> Rules<'a> {
    pub(super) fn of(routes: &'a OwnerRoutes) -> Self {
        let mut index = Self {
            in_order: Vec::new(),
            for_all: LastNamed::default(),
            by_owner: BTreeMap::new(),
        };
        match routes {
            OwnerRoutes::ByOwner(rules) => {
                for (owner, rule) in rules {
                    index.add(std::slice::from_ref(owner), rule);
                }
            }
            OwnerRoutes::InOrder(rules) => {
                for rule in rules {
                    index.add(&rule.owners, rule);
                }
            }
        }
        index
    }

    fn add(&mut self, owners: &'a [Text], rule: &'a OwnerRule) {
        let index = self.in_order.len();
        self.in_order.push(rule);
        if owners.is_empty() {
            self.for_all.add(index, rule);
        }
        for owner in owners {
            self.by_owner.entry(owner.as_str()).or_default().add(index, rule);
        }
    }

    fn for_owner(&self, owner: &Text) -> MergedRule<'a> {
        let own = self.by_owner.get(owner.as_str()).copied().unwrap_or_default();
        let last = self.for_all.later_of(own);
        let rule = |index: Option<usize>| index.and_then(|index| self.in_order.get(index).copied());
        let providers = rule(last.providers)
            .and_then(|rule| rule.providers.as_deref())
            .filter(|all| !all.is_empty());
        MergedRule {
            providers,
            providers_from: last.providers.filter(|_| providers.is_some()),
            acknowledgement_minutes: rule(last.minutes)
                .and_then(|rule| rule.acknowledgement_minutes)
                .filter(|minutes| *minutes > 0),
            escalation_owner: rule(last.escalation_owner)
                .and_then(|rule| rule.escalation_owner.as_ref())
                .filter(|owner| !owner.as_str().is_empty()),
        }
    }
}

/// The windows that are on and mean the schedule, indexed by whom they mean.
pub(super) struct ActiveWindows<'a> {
    windows: Vec<(&'a MaintenanceWindow, BTreeSet<&'a str>)>,
    /// Of the windows that mean every owner, the first for every provider, and the first for each.
    for_all: Option<usize>,
    by_provider: BTreeMap<&'a str, usize>,
    /// The windows that name an owner, by the owner in lower case.
    by_owner: BTreeMap<String, Vec<usize>>,
}

impl<'a> ActiveWindows<'a> {
    pub(super) fn of(windows: &'a [MaintenanceWindow], schedule_id: &ScheduleId, now: Timestamp) -> Self {
        let schedule_id = schedule_id.as_str().to_lowercase();
        let means_schedule = |window: &MaintenanceWindow| {
            window.schedule_ids.is_empty()
                || window
                    .schedule_ids
                    .iter()
                    .any(|id| id.as_str().to_lowercase() == schedule_id)
        };
        let mut active = Self {
            windows: Vec::new(),
            for_all: None,
            by_provider: BTreeMap::new(),
            by_owner: BTreeMap::new(),
        };
        for window in windows
            .iter()
            .filter(|window| window.covers(now) && means_schedule(window))
        {
            let index = active.windows.len();
            let providers: BTreeSet<_> = window.providers.iter().map(Provider::key).collect();
            if !window.owners.is_empty() {
                let owners: BTreeSet<_> = window
                    .owners
                    .iter()
                    .map(|owner| owner.as_str().to_lowercase())
                    .collect();
                for owner in owners {
                    active.by_owner.entry(owner).or_default().push(index);
                }
            } else if providers.is_empty() {
                active.for_all.get_or_insert(index);
            } else {
                for provider in &providers {
                    active.by_provider.entry(provider).or_insert(index);
                }
            }
            active.windows.push((window, providers));
        }
        active
    }

    /// The first window in the policy's order that means the owner (in lower case) and the provider.
    pub(super) fn first(&self, owner: &str, provider: &Provider) -> Option<&'a MaintenanceWindow> {
        let means_provider = |index: &&usize| {
            self.windows
                .get(**index)
                .is_some_and(|(_, providers)| providers.is_empty() || providers.contains(provider.key()))
        };
        let own = self
            .by_owner
            .get(owner)
            .and_then(|windows| windows.iter().find(means_provider));
        let first = [own, self.for_all.as_ref(), self.by_provider.get(provider.key())]
            .into_iter()
            .flatten()
            .min()?;
        self.windows.get(*first).map(|(window, _)| *window)
    }
}

/// Whether an owner can be reached (contract wire 3.1, step 8).
pub(super) fn availability(calendar: Option<&OwnerCalendar>, now: Timestamp) -> OwnerAvailability {
    let absence =
        calendar.and_then(|calendar| calendar.unavailable_windows.iter().find(|one| one.covers(now)));
    let unavailable = absence.is_some() || calendar.is_some_and(|calendar| !calendar.available);
    let given = [
        absence.map(|absence| &absence.reason),
        calendar.map(|calendar| &calendar.reason),
    ];
    let reason = match calendar {
        None => fixed("no calendar is kept for the owner"),
        Some(_) if !unavailable => fixed("the owner's calendar has no absence now"),
        Some(_) => given
            .into_iter()
            .flatten()
            .find(|reason| !reason.as_str().is_empty())
            .cloned()
            .unwrap_or_else(|| fixed("the owner's calendar says that the owner is not available")),
    };
    OwnerAvailability {
        available: !unavailable,
        reason,
        start_at: absence.map(|absence| absence.start_at),
        end_at: absence.map(|absence| absence.end_at),
    }
}
