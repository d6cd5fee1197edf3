//! What can be seen: routes, dashboard, history, escalation plan, suppression trend.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use cavra_domain::actor::Actor;
use cavra_domain::audit_package::{FilterNote, NOT_REQUIRED};
use cavra_domain::dashboard::{
    Dashboard, LATEST_RECORDS, LISTED_OUTSTANDING, OutstandingRoute, ReleaseCounts,
};
use cavra_domain::escalation::{self, EscalationPlan, EscalationPolicy};
use cavra_domain::evidence::{EvidenceKind, HistoryTerm, PRODUCT};
use cavra_domain::id::{EscalationPlanId, PlanId, RouteId, ScheduleId, TrendId};
use cavra_domain::public_safe::Text;
use cavra_domain::route::{
    Cycles, Level, Provider, RouteAction, RouteCategory, RouteCounts, RouteFilter, StateName, TrackedRoute,
};
use cavra_domain::suppression::{LATEST_EVENTS, SuppressionTrend};
use cavra_domain::time::Timestamp;
use cavra_domain::trend::{ROUTE_SUMMARY_SCHEMA, RouteTrend, StateCounts, Trend as StateTrend};
use cavra_storage::{
    HistoryCursor, HistoryQuery, ReadTx, RouteCursor, RouteFacet, RouteKey, RouteOrder, RouteQuery,
    StorageError, StoredRecord, Total,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::as_of::AsOf;
use crate::{App, AppError, append_own, transaction_time};

/// Schema of the route list.
pub const ROUTING_HISTORY_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-routing-history.v1";

/// Schema of the history.
pub const HISTORY_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-notification-history.v1";

/// Most elements of one page.
pub const MAX_PAGE: u64 = 500;

/// Elements of a page whose request names no limit.
pub const DEFAULT_PAGE: u64 = 50;

/// One route in a list (contract wire 1.4 and decisions 3).
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the published row has them")]
pub struct RouteRow {
    /// The route.
    pub route_id: RouteId,
    /// When its clock began.
    pub created_at: Timestamp,
    /// The cycle.
    pub plan_id: PlanId,
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// The plan's level.
    pub alert_level: Text,
    /// The provider.
    pub provider: Provider,
    /// The owner.
    pub owner: Text,
    /// Who hears of it when the owner does not answer.
    pub escalation_owner: Text,
    /// Delivered or suppressed.
    pub action: RouteAction,
    /// Why.
    pub category: RouteCategory,
    /// Why, for people.
    pub reason: Text,
    /// How long the owner has.
    pub acknowledgement_minutes: u32,
    /// The maintenance window; empty when none applies.
    pub maintenance_window_id: Text,
    /// Its reason.
    pub maintenance_window_reason: Text,
    /// Whether the owner's calendar shows the owner as available.
    pub owner_available: bool,
    /// What the calendar says.
    pub owner_availability_reason: Text,
    /// When the drill is due, as the plan wrote it.
    pub next_due_at: Text,
    /// State, or `not_required` on a suppressed route.
    pub acknowledgement_state: &'static str,
    /// Acknowledged or resolved.
    pub acknowledged: bool,
    /// Outstanding or escalated, and past the deadline.
    pub breached: bool,
    /// Minutes since the clock began, rounded to hundredths.
    pub age_minutes: f64,
    /// When the time to acknowledge is over.
    pub deadline_at: Timestamp,
    /// Who gave the answer that stands; empty when none does.
    pub acknowledged_by: Text,
    /// When; empty when none stands.
    pub acknowledged_at: String,
    /// Its reference.
    pub external_ref: Text,
    /// Its notes.
    pub notes: Text,
    /// How often the state has changed.
    pub revision: u64,
    /// Whether the route belongs to its schedule's newest plan.
    pub current: bool,
}

impl RouteRow {
    /// Whether it waits for nothing.
    fn is_settled(&self) -> bool {
        StateName::parse(self.acknowledgement_state).is_none_or(|state| !state.is_open())
    }

    fn new(tracked: TrackedRoute, now: Timestamp) -> Self {
        let state = tracked.state();
        let breached = tracked.breached(now);
        let TrackedRoute {
            route,
            status,
            current,
        } = tracked;
        let (window_id, window_reason) = route
            .maintenance_window
            .clone()
            .map(|window| (window.window_id, window.reason))
            .unwrap_or_default();
        let (by, at, external_ref, notes) = status
            .answer
            .map(|answer| {
                (
                    answer.acknowledged_by,
                    answer.acknowledged_at.to_string(),
                    answer.external_ref,
                    answer.notes,
                )
            })
            .unwrap_or_default();
        Self {
            deadline_at: route.deadline_at(),
            age_minutes: now.minutes_since(route.created_at),
            route_id: route.route_id,
            created_at: route.created_at,
            plan_id: route.plan_id,
            schedule_id: route.schedule_id,
            alert_level: route.alert_level,
            provider: route.provider,
            owner: route.owner,
            escalation_owner: route.escalation_owner,
            action: route.action,
            category: route.category,
            reason: route.reason,
            acknowledgement_minutes: route.acknowledgement_minutes,
            maintenance_window_id: window_id,
            maintenance_window_reason: window_reason,
            owner_available: route.owner_available,
            owner_availability_reason: route.owner_availability_reason,
            next_due_at: route.next_due_at,
            acknowledgement_state: state.map_or(NOT_REQUIRED, StateName::as_str),
            acknowledged: state.is_some_and(StateName::is_acknowledged),
            breached,
            acknowledged_by: by,
            acknowledged_at: at,
            external_ref,
            notes,
            revision: status.revision,
            current,
        }
    }
}

/// The order of a list of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RouteSort {
    /// Newest cycle first.
    #[default]
    Newest,
    /// Oldest cycle first.
    Oldest,
    /// First those whose time to acknowledge is over first.
    Deadline,
    /// First those whose time to acknowledge is over last.
    DeadlineLast,
    /// By owner.
    Owner,
    /// By owner, backwards.
    OwnerLast,
    /// By provider.
    Provider,
    /// By provider, backwards.
    ProviderLast,
    /// By schedule.
    Schedule,
    /// By schedule, backwards.
    ScheduleLast,
    /// What waits for an answer first, by deadline; then all others.
    Urgency,
    /// The same, backwards.
    UrgencyLast,
}

impl RouteSort {
    /// Every order.
    pub const ALL: [Self; 12] = [
        Self::Newest,
        Self::Oldest,
        Self::Deadline,
        Self::DeadlineLast,
        Self::Owner,
        Self::OwnerLast,
        Self::Provider,
        Self::ProviderLast,
        Self::Schedule,
        Self::ScheduleLast,
        Self::Urgency,
        Self::UrgencyLast,
    ];

    /// The order as a request names it: a `-` in front turns it around.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "-newest",
            Self::Deadline => "deadline",
            Self::DeadlineLast => "-deadline",
            Self::Owner => "owner",
            Self::OwnerLast => "-owner",
            Self::Provider => "provider",
            Self::ProviderLast => "-provider",
            Self::Schedule => "schedule_id",
            Self::ScheduleLast => "-schedule_id",
            Self::Urgency => "urgency",
            Self::UrgencyLast => "-urgency",
        }
    }

    /// The order that a request names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == text)
    }

    const fn order(self) -> RouteOrder {
        let (key, descending) = match self {
            Self::Newest => (RouteKey::Created, true),
            Self::Oldest => (RouteKey::Created, false),
            Self::Deadline => (RouteKey::Deadline, false),
            Self::DeadlineLast => (RouteKey::Deadline, true),
            Self::Owner => (RouteKey::Owner, false),
            Self::OwnerLast => (RouteKey::Owner, true),
            Self::Provider => (RouteKey::Provider, false),
            Self::ProviderLast => (RouteKey::Provider, true),
            Self::Schedule => (RouteKey::Schedule, false),
            Self::ScheduleLast => (RouteKey::Schedule, true),
            Self::Urgency => (RouteKey::Urgency, false),
            Self::UrgencyLast => (RouteKey::Urgency, true),
        };
        RouteOrder { key, descending }
    }

    /// Where the next page begins. A cursor is for one order: it says which.
    fn cursor(self, last: &RouteRow) -> String {
        let (at, id) = (last.created_at.micros(), &last.route_id);
        match self {
            Self::Newest => format!("r1.{at}.{id}"),
            _ => format!("r2.{}.{}.{at}.{id}", self.as_str(), u8::from(last.is_settled())),
        }
    }
}

/// By what a summary groups routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SummaryBy {
    /// The owner.
    #[default]
    Owner,
    /// The provider, as it is compared.
    Provider,
    /// The schedule.
    ScheduleId,
    /// Why a route is suppressed, or `deliver`.
    Category,
}

impl SummaryBy {
    /// The group that a request names.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "owner" => Some(Self::Owner),
            "provider" => Some(Self::Provider),
            "schedule_id" => Some(Self::ScheduleId),
            "category" => Some(Self::Category),
            _ => None,
        }
    }

    const fn facet(self) -> RouteFacet {
        match self {
            Self::Owner => RouteFacet::Owner,
            Self::Provider => RouteFacet::Provider,
            Self::ScheduleId => RouteFacet::Schedule,
            Self::Category => RouteFacet::Category,
        }
    }
}

/// Routes that have something in common.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SummaryGroup {
    /// What they have in common.
    pub value: String,
    /// How many, and in which states.
    #[serde(flatten)]
    pub counts: StateCounts,
}

/// Routes that a filter means, counted.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RouteSummary {
    /// [`ROUTE_SUMMARY_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// When they were counted.
    pub generated_at: Timestamp,
    /// How much attention they need.
    pub alert_level: Level,
    /// All of them.
    pub counts: StateCounts,
    /// By what they are grouped.
    pub by: SummaryBy,
    /// The groups: those with most breached routes first, then those with most outstanding ones.
    pub groups: Vec<SummaryGroup>,
    /// How many groups there are beside those listed.
    pub omitted_group_count: u64,
    /// The scope.
    pub filters: FilterNote,
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RoutePage {
    /// [`ROUTING_HISTORY_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// The routes, newest cycle first.
    pub items: Vec<RouteRow>,
    /// When it was read: breaches are as of then.
    pub generated_at: Timestamp,
    /// How many routes match.
    pub total: u64,
    /// In which states they are.
    pub counts: StateCounts,
    /// Most routes on this page.
    pub limit: u64,
    /// Routes left out in front.
    pub offset: u64,
    /// Where the next page begins; null when there is none.
    pub next_cursor: Option<String>,
    /// The scope.
    pub filters: FilterNote,
}

/// Where a page begins, and how long it is.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    /// At most so many, 1 to [`MAX_PAGE`].
    pub limit: u64,
    /// Leave out so many first.
    pub offset: u64,
    /// Begin where an earlier page ended.
    pub cursor: Option<String>,
}

/// Which records of history to show.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// The terms, all of them.
    pub terms: Vec<HistoryTerm>,
}

/// A page of history. The items are metadata records.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HistoryPage {
    /// [`HISTORY_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// The records: the newest escalation plan with the routes as they are now, then newest first.
    pub items: Vec<Value>,
    /// How many records match; see `total_is_lower_bound`.
    pub total: u64,
    /// Whether counting stopped at `total` and more may match.
    pub total_is_lower_bound: bool,
    /// Most records on this page.
    pub limit: u64,
    /// Records left out in front.
    pub offset: u64,
    /// Where the next page begins; null when there is none.
    pub next_cursor: Option<String>,
}

/// An escalation plan, and its evidence record.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Escalated {
    /// The plan.
    pub plan: EscalationPlan,
    /// The evidence record.
    pub metadata: Value,
    /// Who made it.
    pub actor: Actor,
}

/// A suppression trend. Nothing is stored, so there is no record.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Trend {
    /// The trend.
    pub trend: SuppressionTrend<RouteRow>,
    /// Always null: looking writes nothing.
    pub metadata: Option<Value>,
}

impl App {
    /// A page of routes.
    ///
    /// # Errors
    /// [`AppError::BadCursor`].
    pub fn routes(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        sort: RouteSort,
        paging: &Paging,
    ) -> Result<RoutePage, AppError> {
        self.routes_as_of(filter, cycles, sort, paging, None)
    }

    /// The same, as it was.
    ///
    /// # Errors
    /// As [`App::routes`], and [`AppError::Ahead`] or [`AppError::NoSuchSize`] for what has not been yet.
    pub fn routes_as_of(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        sort: RouteSort,
        paging: &Paging,
        as_of: Option<AsOf>,
    ) -> Result<RoutePage, AppError> {
        let after = paging
            .cursor
            .as_deref()
            .map(|text| route_cursor(text, sort))
            .transpose()?;
        self.seen(as_of, |tx, now| {
            if let Some(after) = &after
                && sort != RouteSort::Newest
                && tx.route(&after.route_id)?.is_none()
            {
                return Err(AppError::BadCursor);
            }
            let query = RouteQuery {
                filter,
                cycles,
                now,
                after: after.as_ref(),
                order: sort.order(),
                offset: paging.offset,
                limit: Some(paging.limit + 1),
            };
            let mut items = Vec::new();
            tx.visit_routes(&query, &mut |tracked| {
                items.push(RouteRow::new(tracked, now));
                Ok(ControlFlow::Continue(()))
            })?;
            let more = cut(&mut items, paging.limit);
            let next_cursor = items.last().filter(|_| more).map(|last| sort.cursor(last));
            let counts = tx.count_routes(filter, cycles, now)?;
            Ok(RoutePage {
                schema_version: ROUTING_HISTORY_SCHEMA,
                product: PRODUCT,
                items,
                generated_at: now,
                total: counts.total(),
                counts: counts.into(),
                limit: paging.limit,
                offset: paging.offset,
                next_cursor,
                filters: FilterNote::of(filter, cycles),
            })
        })
    }

    /// Counts routes by what they have in common, as they are or as they were; `limit` groups are listed.
    ///
    /// # Errors
    /// As [`App::routes_as_of`].
    pub fn route_summary(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        by: SummaryBy,
        limit: u64,
        as_of: Option<AsOf>,
    ) -> Result<RouteSummary, AppError> {
        self.seen(as_of, |tx, now| {
            let counts = tx.count_routes(filter, cycles, now)?;
            let mut groups: Vec<SummaryGroup> = tx
                .count_routes_by(by.facet(), filter, cycles, now)?
                .into_iter()
                .map(|(value, counts)| SummaryGroup {
                    value,
                    counts: counts.into(),
                })
                .collect();
            // Stable: groups that are alike in both stay in the order of their names.
            groups
                .sort_by_key(|group| Reverse((group.counts.breached_count, group.counts.outstanding_count)));
            let listed = usize::try_from(limit).unwrap_or(usize::MAX).min(groups.len());
            let omitted = groups.split_off(listed).len();
            Ok(RouteSummary {
                schema_version: ROUTE_SUMMARY_SCHEMA,
                product: PRODUCT,
                generated_at: now,
                alert_level: counts.level(),
                counts: counts.into(),
                by,
                groups,
                omitted_group_count: u64::try_from(omitted).unwrap_or(u64::MAX),
                filters: FilterNote::of(filter, cycles),
            })
        })
    }

    /// How the states of delivered routes developed over the last `hours`, at `points` times. At each time, the routes
    /// of the cycles that were current then count, in the states that they were in then. The last of them is now, or the
    /// earlier moment that is named.
    ///
    /// # Errors
    /// As [`App::routes_as_of`].
    pub fn route_trend(
        &self,
        filter: &RouteFilter,
        hours: u32,
        points: u32,
        as_of: Option<AsOf>,
    ) -> Result<RouteTrend, AppError> {
        self.seen(as_of, |tx, now| {
            let mut trend = StateTrend::over(now, hours, points);
            let since = trend.begins_at().unwrap_or(now);
            tx.visit_courses(filter, since, now, &mut |course| {
                trend.add(&course);
                Ok(ControlFlow::Continue(()))
            })?;
            Ok(trend.document(now, FilterNote::of(filter, Cycles::All)))
        })
    }

    /// Counts of routes, for metrics.
    ///
    /// # Errors
    /// [`AppError::Storage`].
    pub fn route_counts(&self) -> Result<RouteCounts, AppError> {
        self.store.as_ref().reading(|tx| {
            let now = transaction_time(self.clock.as_ref(), tx)?;
            Ok(tx.count_routes(&RouteFilter::default(), Cycles::Current, now)?)
        })
    }

    /// The dashboard.
    ///
    /// # Errors
    /// [`AppError::Storage`].
    pub fn dashboard(&self) -> Result<Dashboard<Value>, AppError> {
        self.dashboard_as_of(None)
    }

    /// The same, as it was.
    ///
    /// # Errors
    /// As [`App::routes_as_of`].
    pub fn dashboard_as_of(&self, as_of: Option<AsOf>) -> Result<Dashboard<Value>, AppError> {
        self.seen(as_of, |tx, now| {
            let counters: BTreeMap<String, u64> = tx.counters()?;
            let releases = ReleaseCounts {
                retryable_delivery_count: tx.retryable_now(now)?,
                archive_alert_count: tx.archive_alerts_now(now)?,
            };
            let counts = tx.count_routes(&RouteFilter::default(), Cycles::Current, now)?;
            let outstanding = tx
                .outstanding(LISTED_OUTSTANDING)?
                .iter()
                .map(OutstandingRoute::new)
                .collect();
            let latest = tx.history(&HistoryQuery {
                terms: &[HistoryTerm::listed()],
                after: None,
                offset: 0,
                limit: u64::try_from(LATEST_RECORDS).unwrap_or(u64::MAX),
                except: None,
            })?;
            let newest = newest_escalation(tx)?.map(|record| record.session_id);
            let latest = latest
                .iter()
                .map(|record| shown(tx, record, newest.as_deref(), now))
                .collect::<Result<_, AppError>>()?;
            Ok(Dashboard::new(
                now,
                &counters,
                releases,
                &counts,
                tx.orphan_count()?,
                outstanding,
                latest,
            ))
        })
    }

    /// Makes and stores an escalation plan over every current route.
    ///
    /// # Errors
    /// [`AppError::Storage`].
    pub fn escalation_plan(&self, policy: EscalationPolicy, actor: Actor) -> Result<Escalated, AppError> {
        let (clock, ids) = (Arc::clone(&self.clock), Arc::clone(&self.ids));
        self.writing(move |tx| {
            let at = transaction_time(clock.as_ref(), tx.state())?;
            let plan_id = EscalationPlanId::from_uuid(ids.next(at));
            let routes = waiting_routes(tx.state(), at)?;
            let plan = EscalationPlan::build(plan_id, at, actor.clone(), policy, routes);
            let metadata = plan.record().into_value();
            append_own(tx, &metadata, at)?;
            Ok(Escalated {
                plan,
                metadata,
                actor,
            })
        })
    }

    /// A page of history: the newest escalation plan first, with the routes as they are now, then records
    /// newest first.
    ///
    /// # Errors
    /// [`AppError::BadCursor`].
    pub fn history(&self, filter: &HistoryFilter, paging: &Paging) -> Result<HistoryPage, AppError> {
        self.history_as_of(filter, paging, None)
    }

    /// The same, as it was.
    ///
    /// # Errors
    /// As [`App::routes_as_of`].
    pub fn history_as_of(
        &self,
        filter: &HistoryFilter,
        paging: &Paging,
        as_of: Option<AsOf>,
    ) -> Result<HistoryPage, AppError> {
        let mut terms = filter.terms.clone();
        terms.push(HistoryTerm::listed());
        terms.sort();
        terms.dedup();
        if terms.iter().filter(|term| !term.is_orphaned()).count() > 1 {
            // Every other term that a record carries stands on listed records only.
            terms.retain(|term| *term != HistoryTerm::listed());
        }
        let cursor = paging.cursor.as_deref().map(history_cursor).transpose()?;
        self.seen(as_of, |tx, now| {
            let newest = newest_escalation(tx)?;
            let pinned = match (&cursor, &newest) {
                (Some((_, pinned)), _) => *pinned,
                (None, Some(newest)) if has_terms(newest, &terms)? => Some(newest.position),
                (None, _) => None,
            };
            let first_page = cursor.is_none() && paging.offset == 0;
            let mut records = Vec::new();
            if first_page && pinned.is_some() {
                records.extend(newest.clone());
            }
            let here = u64::try_from(records.len()).unwrap_or_default();
            // The pinned record takes the first place of the list, so the others move back by one.
            let offset = if cursor.is_none() && pinned.is_some() {
                paging.offset.saturating_sub(1)
            } else {
                paging.offset
            };
            records.extend(tx.history(&HistoryQuery {
                terms: &terms,
                after: cursor.map(|(after, _)| after),
                offset,
                limit: paging.limit + 1 - here,
                except: pinned,
            })?);
            let more = cut(&mut records, paging.limit);
            let next_cursor = records.last().filter(|_| more).map(|last| {
                let (at, position) = if Some(last.position) == pinned {
                    // Only the pinned record was on this page: the next one begins at the newest of the rest.
                    (Timestamp::MAX, i64::MAX.unsigned_abs())
                } else {
                    (last.created_at, last.position)
                };
                format!("h1.{}.{position}.{}", at.micros(), pinned.unwrap_or_default())
            });
            let (total, total_is_lower_bound) = match tx.count_history(&terms)? {
                Total::Exact(total) => (total, false),
                Total::AtLeast(total) => (total, true),
            };
            let newest = newest.map(|record| record.session_id);
            let items = records
                .iter()
                .map(|record| shown(tx, record, newest.as_deref(), now))
                .collect::<Result<_, AppError>>()?;
            Ok(HistoryPage {
                schema_version: HISTORY_SCHEMA,
                product: PRODUCT,
                items,
                total,
                total_is_lower_bound,
                limit: paging.limit,
                offset: paging.offset,
                next_cursor,
            })
        })
    }

    /// The suppression trend over every cycle. Nothing is stored.
    ///
    /// # Errors
    /// [`AppError::Storage`].
    pub fn suppression_trend(&self, filter: &RouteFilter, generated_by: Text) -> Result<Trend, AppError> {
        self.store.as_ref().reading(|tx| {
            let now = transaction_time(self.clock.as_ref(), tx)?;
            let suppressed = RouteFilter {
                action: Some(RouteAction::Suppress),
                ..filter.clone()
            };
            let mut latest = Vec::new();
            let query = RouteQuery {
                limit: u64::try_from(LATEST_EVENTS).ok(),
                ..RouteQuery::all(&suppressed, Cycles::All, now)
            };
            tx.visit_routes(&query, &mut |tracked| {
                latest.push(RouteRow::new(tracked, now));
                Ok(ControlFlow::Continue(()))
            })?;
            let counts = tx.count_suppressed(filter, now)?;
            let trend_id = TrendId::from_uuid(self.ids.next(now));
            let filters = FilterNote::of(filter, Cycles::All);
            let trend = SuppressionTrend::new(trend_id, now, generated_by, filters, counts, latest);
            Ok(Trend {
                trend,
                metadata: None,
            })
        })
    }
}

/// Cuts a list that was asked for one element more than the page holds; whether there was more.
fn cut<T>(items: &mut Vec<T>, limit: u64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    more
}

fn waiting_routes(tx: &dyn ReadTx, now: Timestamp) -> Result<Vec<TrackedRoute>, StorageError> {
    let filter = RouteFilter {
        action: Some(RouteAction::Deliver),
        ..RouteFilter::default()
    };
    let mut routes = Vec::new();
    tx.visit_routes(&RouteQuery::all(&filter, Cycles::Current, now), &mut |tracked| {
        routes.push(tracked);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(routes)
}

fn newest_escalation(tx: &dyn ReadTx) -> Result<Option<StoredRecord>, StorageError> {
    let terms = [HistoryTerm::kind(EvidenceKind::EscalationPlan.as_str())];
    let query = HistoryQuery {
        terms: &terms,
        after: None,
        offset: 0,
        limit: 1,
        except: None,
    };
    Ok(tx.history(&query)?.pop())
}

/// Whether a record has every term.
fn has_terms(record: &StoredRecord, terms: &[HistoryTerm]) -> Result<bool, AppError> {
    let value = parsed(record)?;
    let has = cavra_domain::evidence::history_terms(&record.kind, &value);
    Ok(terms.iter().all(|term| has.contains(term)))
}

fn parsed(record: &StoredRecord) -> Result<Value, AppError> {
    serde_json::from_str(&record.json)
        .map_err(|_| StorageError::Corrupt(format!("record {} is not JSON", record.position)).into())
}

/// A record as history shows it.
fn shown(
    tx: &dyn ReadTx,
    record: &StoredRecord,
    newest: Option<&str>,
    now: Timestamp,
) -> Result<Value, AppError> {
    let mut value = parsed(record)?;
    if record.kind == EvidenceKind::EscalationPlan {
        match newest {
            Some(newest) if newest != record.session_id => escalation::shown_superseded(&mut value, newest),
            _ => escalation::shown_now(&mut value, now, waiting_routes(tx, now)?),
        }
    }
    Ok(value)
}

fn route_cursor(text: &str, sort: RouteSort) -> Result<RouteCursor, AppError> {
    let parse = || {
        let rest = match sort {
            RouteSort::Newest => text.strip_prefix("r1.")?,
            _ => text
                .strip_prefix("r2.")?
                .strip_prefix(sort.as_str())?
                .strip_prefix('.')?,
        };
        let (settled, rest) = match (sort, rest.split_once('.')?) {
            (RouteSort::Newest, _) => (false, rest),
            (_, ("0", rest)) => (false, rest),
            (_, ("1", rest)) => (true, rest),
            _ => return None,
        };
        let (at, route_id) = rest.split_once('.')?;
        Some(RouteCursor {
            settled,
            created_at: Timestamp::from_micros(at.parse().ok()?)?,
            route_id: RouteId::parse(route_id).ok()?,
        })
    };
    parse().ok_or(AppError::BadCursor)
}

fn history_cursor(text: &str) -> Result<(HistoryCursor, Option<u64>), AppError> {
    let parse = || {
        let mut parts = text.strip_prefix("h1.")?.split('.');
        let created_at = Timestamp::from_micros(parts.next()?.parse().ok()?)?;
        let position = parts
            .next()?
            .parse()
            .ok()
            .filter(|position| i64::try_from(*position).is_ok())?;
        let pinned: u64 = parts
            .next()?
            .parse()
            .ok()
            .filter(|position| i64::try_from(*position).is_ok())?;
        if parts.next().is_some() {
            return None;
        }
        Some((
            HistoryCursor { created_at, position },
            (pinned > 0).then_some(pinned),
        ))
    };
    parse().ok_or(AppError::BadCursor)
}
