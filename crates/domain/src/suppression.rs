//! Suppression trends: how much was not sent, and why (contract wire 2.9).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::audit_package::FilterNote;
use crate::evidence::PRODUCT;
use crate::id::TrendId;
use crate::public_safe::Text;
use crate::route::{Level, RouteCategory};
use crate::time::Timestamp;

/// Schema of the trend.
pub const TREND_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-routing-suppression-trend.v1";

/// How many of the newest events a trend shows; `suppression_event_count` counts them all.
pub const LATEST_EVENTS: usize = 20;

/// Suppressed routes, counted by what they have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SuppressionCounts {
    /// By category.
    pub category: BTreeMap<String, u64>,
    /// By owner.
    pub owner: BTreeMap<String, u64>,
    /// By provider, as named.
    pub provider: BTreeMap<String, u64>,
    /// By schedule.
    pub schedule: BTreeMap<String, u64>,
}

/// The trend over every cycle. `E` is a routing-history row.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SuppressionTrend<E> {
    /// [`TREND_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// Names this answer; nothing is stored under it.
    pub trend_id: TrendId,
    /// When it was made.
    pub generated_at: Timestamp,
    /// Who asked, as the request says.
    pub generated_by: Text,
    /// `warning` when anything is suppressed, else `healthy`.
    pub alert_level: Level,
    /// Suppressed routes in all cycles.
    pub suppression_event_count: u64,
    /// By category.
    pub category_counts: BTreeMap<String, u64>,
    /// By owner.
    pub owner_counts: BTreeMap<String, u64>,
    /// By provider.
    pub provider_counts: BTreeMap<String, u64>,
    /// By schedule.
    pub schedule_counts: BTreeMap<String, u64>,
    /// Of these, in a maintenance window.
    pub maintenance_suppressed_count: u64,
    /// Of these, by an owner's calendar.
    pub calendar_suppressed_count: u64,
    /// Of these, because the schedule is healthy.
    pub healthy_schedule_suppressed_count: u64,
    /// The scope.
    pub filters: FilterNote,
    /// The newest 20 events.
    pub latest_events: Vec<E>,
}

impl<E> SuppressionTrend<E> {
    /// The trend of counted routes.
    pub fn new(
        trend_id: TrendId,
        generated_at: Timestamp,
        generated_by: Text,
        filters: FilterNote,
        counts: SuppressionCounts,
        latest_events: Vec<E>,
    ) -> Self {
        let of = |category: RouteCategory| {
            counts
                .category
                .get(category.as_str())
                .copied()
                .unwrap_or_default()
        };
        let total = counts.category.values().sum();
        Self {
            schema_version: TREND_SCHEMA,
            product: PRODUCT,
            trend_id,
            generated_at,
            generated_by,
            alert_level: if total > 0 { Level::Warning } else { Level::Healthy },
            suppression_event_count: total,
            maintenance_suppressed_count: of(RouteCategory::MaintenanceWindow),
            calendar_suppressed_count: of(RouteCategory::OwnerCalendar),
            healthy_schedule_suppressed_count: of(RouteCategory::HealthySchedule),
            category_counts: counts.category,
            owner_counts: counts.owner,
            provider_counts: counts.provider,
            schedule_counts: counts.schedule,
            filters,
            latest_events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Cycles, RouteFilter};
    use crate::testing::{now, text};

    fn trend(counts: SuppressionCounts) -> SuppressionTrend<String> {
        let filters = FilterNote::of(&RouteFilter::default(), Cycles::All);
        let id = TrendId::parse("gordrtrend-1").unwrap();
        SuppressionTrend::new(id, now(), text("ana"), filters, counts, vec!["newest".to_owned()])
    }

    #[test]
    fn a_trend_counts_every_category_and_names_three_of_them() {
        let count = |category: RouteCategory, count| (category.as_str().to_owned(), count);
        let trend = trend(SuppressionCounts {
            category: BTreeMap::from([
                count(RouteCategory::MaintenanceWindow, 4),
                count(RouteCategory::OwnerCalendar, 3),
                count(RouteCategory::HealthySchedule, 2),
                count(RouteCategory::Other, 1),
            ]),
            owner: BTreeMap::from([("ana".to_owned(), 10)]),
            provider: BTreeMap::from([("slack".to_owned(), 10)]),
            schedule: BTreeMap::from([("sched-a".to_owned(), 10)]),
        });
        assert_eq!(trend.suppression_event_count, 10);
        assert_eq!(
            (
                trend.maintenance_suppressed_count,
                trend.calendar_suppressed_count,
                trend.healthy_schedule_suppressed_count
            ),
            (4, 3, 2)
        );
        for counts in [
            &trend.category_counts,
            &trend.owner_counts,
            &trend.provider_counts,
            &trend.schedule_counts,
        ] {
            assert_eq!(counts.values().sum::<u64>(), trend.suppression_event_count);
        }
        assert_eq!(trend.alert_level, Level::Warning);
        assert_eq!(trend.latest_events, ["newest"]);
    }

    #[test]
    fn a_trend_of_nothing_is_healthy() {
        let trend = trend(SuppressionCounts::default());
        assert_eq!(
            (trend.suppression_event_count, trend.alert_level),
            (0, Level::Healthy)
        );
        assert_eq!(trend.maintenance_suppressed_count, 0);
    }
}
