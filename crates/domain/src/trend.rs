//! How the states of routes developed: the same counts as everywhere, at earlier times.

use schemars::JsonSchema;
use serde::Serialize;

use crate::acknowledgement::AckState;
use crate::audit_package::FilterNote;
use crate::evidence::PRODUCT;
use crate::route::{RouteCounts, StateName, Transition, is_breached};
use crate::time::Timestamp;

/// Schema of the trend of route states.
pub const ROUTE_TREND_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-route-trend.v1";

/// Schema of the summary of routes.
pub const ROUTE_SUMMARY_SCHEMA: &str = "cavra.go-backend-pilot.rollback-drill-route-summary.v1";

/// One step in the course of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When it took effect.
    pub at: Timestamp,
    /// What was said; of an undo, what the undone acknowledgement said.
    pub said: AckState,
    /// What it did to the route.
    pub effect: Transition,
}

/// A delivered route from its plan to the plan that took its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// When its clock began.
    pub created_at: Timestamp,
    /// When the schedule's next plan began a new cycle; none while the route is current.
    pub ends_at: Option<Timestamp>,
    /// When the time to acknowledge is over.
    pub deadline_at: Timestamp,
    /// What became of it, in order.
    pub steps: Vec<Step>,
}

/// Counts of routes in each state. The five states add up to `route_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StateCounts {
    /// Routes that wait, or waited, for an acknowledgement.
    pub route_count: u64,
    /// Of those, nobody has answered.
    pub outstanding_count: u64,
    /// Of those, acknowledged.
    pub acknowledged_count: u64,
    /// Of those, escalated.
    pub escalated_count: u64,
    /// Of those, dismissed.
    pub dismissed_count: u64,
    /// Of those, resolved.
    pub resolved_count: u64,
    /// Of those, outstanding or escalated and past the deadline.
    pub breached_count: u64,
    /// Suppressed routes; not part of `route_count`.
    pub suppressed_count: u64,
}

impl From<RouteCounts> for StateCounts {
    fn from(counts: RouteCounts) -> Self {
        Self {
            route_count: counts.route_count,
            outstanding_count: counts.outstanding,
            acknowledged_count: counts.acknowledged,
            escalated_count: counts.escalated,
            dismissed_count: counts.dismissed,
            resolved_count: counts.resolved,
            breached_count: counts.breached,
            suppressed_count: counts.suppressed,
        }
    }
}

/// The counts at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TrendPoint {
    /// The time.
    pub at: Timestamp,
    /// Who waited, and who had answered, at that time.
    #[serde(flatten)]
    pub counts: StateCounts,
}

/// How the states of routes developed. Nothing is stored.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RouteTrend {
    /// [`ROUTE_TREND_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// When it was made.
    pub generated_at: Timestamp,
    /// The counts, oldest first; the last ones are those of now.
    pub points: Vec<TrendPoint>,
    /// The scope.
    pub filters: FilterNote,
}

/// Counts courses at given times.
#[derive(Debug, Clone)]
pub struct Trend {
    points: Vec<(Timestamp, RouteCounts)>,
}

impl Trend {
    /// `count` times, evenly spaced over the `hours` up to `now`, both ends included.
    ///
    /// ```
    /// use cavra_domain::time::Timestamp;
    /// use cavra_domain::trend::Trend;
    ///
    /// let now = Timestamp::parse("2026-06-01T12:00:00Z")?;
    /// let trend = Trend::over(now, 24, 3).points();
    /// assert_eq!(trend[0].at.to_string(), "2026-05-31T12:00:00.000000Z");
    /// assert_eq!(trend[2].at, now);
    /// # Ok::<(), cavra_domain::time::TimeError>(())
    /// ```
    pub fn over(now: Timestamp, hours: u32, count: u32) -> Self {
        let span = i64::from(hours) * 3_600_000_000;
        let gaps = i64::from(count.max(2)) - 1;
        let points = (0..=gaps)
            .rev()
            .map(|gap| (now.plus_micros(-(span / gaps * gap)), RouteCounts::default()))
            .collect();
        Self { points }
    }

    /// The first time.
    pub fn begins_at(&self) -> Option<Timestamp> {
        self.points.first().map(|(at, _)| *at)
    }

    /// Counts one route at every time at which it was current.
    pub fn add(&mut self, course: &Course) {
        let mut answers: Vec<AckState> = Vec::new();
        let mut steps = course.steps.iter().peekable();
        for (at, counts) in &mut self.points {
            while let Some(step) = steps.next_if(|step| step.at <= *at) {
                match step.effect {
                    Transition::Change => answers.push(step.said),
                    Transition::Undo => {
                        answers.pop();
                    }
                    Transition::Repeat | Transition::Final | Transition::Stale => {}
                }
            }
            if course.created_at <= *at && course.ends_at.is_none_or(|end| *at < end) {
                let state = answers.last().map_or(StateName::Outstanding, |said| said.state());
                let breached = is_breached(state, course.deadline_at, *at);
                counts.add(Some(state), 1, u64::from(breached));
            }
        }
    }

    /// The counts.
    pub fn points(&self) -> Vec<TrendPoint> {
        self.points
            .iter()
            .map(|(at, counts)| TrendPoint {
                at: *at,
                counts: StateCounts::from(*counts),
            })
            .collect()
    }

    /// The answer.
    pub fn document(&self, now: Timestamp, filters: FilterNote) -> RouteTrend {
        RouteTrend {
            schema_version: ROUTE_TREND_SCHEMA,
            product: PRODUCT,
            generated_at: now,
            points: self.points(),
            filters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Course, Step, Trend};
    use crate::acknowledgement::AckState;
    use crate::route::Transition;
    use crate::time::Timestamp;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::parse("2026-06-01T00:00:00Z")
            .unwrap()
            .plus_micros(hour * 3_600_000_000)
    }

    fn step(at: i64, said: AckState, effect: Transition) -> Step {
        Step {
            at: hour(at),
            said,
            effect,
        }
    }

    #[test]
    fn a_route_is_counted_as_it_was_at_each_time() {
        let mut trend = Trend::over(hour(6), 6, 7);
        trend.add(&Course {
            created_at: hour(1),
            ends_at: Some(hour(6)),
            deadline_at: hour(2),
            steps: vec![
                step(3, AckState::Acknowledged, Transition::Change),
                step(4, AckState::Resolved, Transition::Change),
                step(5, AckState::Resolved, Transition::Undo),
            ],
        });
        let told: Vec<(u64, u64, u64, u64, u64)> = trend
            .points()
            .iter()
            .map(|point| {
                let c = point.counts;
                (
                    c.route_count,
                    c.outstanding_count,
                    c.acknowledged_count,
                    c.resolved_count,
                    c.breached_count,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (0, 0, 0, 0, 0),
                (1, 1, 0, 0, 0),
                (1, 1, 0, 0, 1),
                (1, 0, 1, 0, 0),
                (1, 0, 0, 1, 0),
                (1, 0, 1, 0, 0),
                // The next plan's cycle has begun.
                (0, 0, 0, 0, 0),
            ]
        );
    }

    #[test]
    fn an_answer_that_changes_nothing_is_no_step() {
        let mut trend = Trend::over(hour(2), 2, 3);
        trend.add(&Course {
            created_at: hour(0),
            ends_at: None,
            deadline_at: hour(9),
            steps: vec![
                step(1, AckState::Escalated, Transition::Change),
                step(1, AckState::Escalated, Transition::Repeat),
                step(2, AckState::Resolved, Transition::Stale),
            ],
        });
        let escalated: Vec<u64> = trend
            .points()
            .iter()
            .map(|point| point.counts.escalated_count)
            .collect();
        assert_eq!(escalated, [0, 1, 1]);
    }
}
