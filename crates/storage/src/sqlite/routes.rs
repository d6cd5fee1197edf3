//! Route filters as SQL. The rules are those of [`cavra_domain::route::RouteFilter::left_out_by`]; a property
//! test holds the two against each other.

use cavra_domain::acknowledgement::{AckState, Answer};
use cavra_domain::bulk::{Place, Target};
use cavra_domain::id::{AcknowledgementId, MAX_ID_CHARS, PlanId, RouteId, ScheduleId};
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::record::MAX_RECORD_TEXT_CHARS;
use cavra_domain::route::{
    Cycles, FilterTerm, Fold, Provider, Route, RouteAction, RouteCategory, RouteFilter, RouteStatus,
    StateName, TrackedRoute, Transition, WindowNote,
};
use cavra_domain::time::Timestamp;
use cavra_domain::trend::{Course, Step};
use cavra_domain::undo::Undoable;
use rusqlite::Row;
use rusqlite::types::Value as SqlValue;

use crate::{RouteFacet, RouteKey, StorageError};

/// A condition with its parameters, all of them positional.
#[derive(Debug, Default, Clone)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) parameters: Vec<SqlValue>,
}

impl Condition {
    pub(super) fn and(&mut self, sql: &str, parameters: impl IntoIterator<Item = SqlValue>) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(sql);
        self.parameters.extend(parameters);
    }

    /// The condition, or one that always holds.
    pub(super) fn where_clause(&self) -> &str {
        if self.sql.is_empty() { "1" } else { &self.sql }
    }
}

/// The breach rule of [`cavra_domain::route::is_breached`] over the columns of a route.
pub(super) const BREACHED: &str =
    "(r.action = 'deliver' AND r.state IN ('outstanding', 'escalated') AND r.deadline_at <= ?)";

/// Which cycles.
pub(super) const fn cycle(cycles: Cycles) -> &'static str {
    match cycles {
        Cycles::Current => "r.current = 1",
        Cycles::All => "1",
    }
}

/// The conditions of the terms that a filter has, in the order in which a route is held against them.
pub(super) fn terms(filter: &RouteFilter, now: Timestamp) -> Vec<(FilterTerm, Condition)> {
    let text = |text: &str| SqlValue::Text(text.to_owned());
    FilterTerm::ALL
        .iter()
        .filter_map(|term| {
            let mut condition = Condition::default();
            match term {
                FilterTerm::ScheduleId => {
                    condition.and("r.schedule_id = ?", [text(filter.schedule_id.as_ref()?.as_str())]);
                }
                FilterTerm::Owner => {
                    condition.and(
                        "instr(r.owner_haystack, ?) > 0",
                        [text(filter.owner.as_ref()?.as_str())],
                    );
                }
                FilterTerm::Provider => {
                    condition.and("r.provider_key = ?", [text(filter.provider.as_ref()?.key())]);
                }
                FilterTerm::State => {
                    condition.and(
                        "(r.action = 'deliver' AND r.state = ?)",
                        [text(filter.state?.as_str())],
                    );
                }
                FilterTerm::Action => condition.and("r.action = ?", [text(filter.action?.as_str())]),
                FilterTerm::Category => condition.and("r.category = ?", [text(filter.category?.as_str())]),
                FilterTerm::Breached => {
                    let sql = if filter.breached? {
                        BREACHED.to_owned()
                    } else {
                        format!("NOT {BREACHED}")
                    };
                    condition.and(&sql, [SqlValue::Integer(now.micros())]);
                }
            }
            Some((*term, condition))
        })
        .collect()
}

/// The whole condition of a filter.
pub(super) fn condition(filter: &RouteFilter, cycles: Cycles, now: Timestamp) -> Condition {
    let mut whole = Condition::default();
    if cycles == Cycles::Current {
        whole.and(cycle(cycles), []);
    }
    for (_, condition) in terms(filter, now) {
        whole.and(&condition.sql, condition.parameters);
    }
    whole
}

/// Whether a route waits for nothing: the first key of the order by urgency.
pub(super) const SETTLED: &str = "(r.action <> 'deliver' OR r.state NOT IN ('outstanding', 'escalated'))";

/// The states of [`SETTLED`]'s opposite, in SQL; a test holds them against the domain.
pub(super) const OPEN: [&str; 2] = [
    "(r.action = 'deliver' AND r.state = 'outstanding')",
    "(r.action = 'deliver' AND r.state = 'escalated')",
];

/// How many of the counted routes have a deadline that has come. Whether that matters is a question of their state.
pub(super) const DUE: &str = "count(*) FILTER (WHERE r.deadline_at <= ?)";

/// What a list is ordered by.
pub(super) const fn order_key(key: RouteKey) -> &'static str {
    match key {
        RouteKey::Created => "r.created_at",
        RouteKey::Deadline | RouteKey::Urgency => "r.deadline_at",
        RouteKey::Owner => "r.owner COLLATE NOCASE",
        RouteKey::Provider => "r.provider_key",
        RouteKey::Schedule => "r.schedule_id",
    }
}

/// The column of a facet.
pub(super) const fn facet(facet: RouteFacet) -> &'static str {
    match facet {
        RouteFacet::Owner => "owner",
        RouteFacet::Provider => "provider_key",
        RouteFacet::Schedule => "schedule_id",
        RouteFacet::Category => "category",
    }
}

/// Delivered routes of the plans that had no newer one at the first parameter's time, with their steps in order.
pub(super) const COURSES: &str = "WITH span (id, ends_at) AS (SELECT p.id, \
     (SELECT min(q.created_at) FROM plan q WHERE q.schedule_id = p.schedule_id \
      AND (q.created_at, q.plan_id) > (p.created_at, p.plan_id)) FROM plan p) \
     SELECT r.id, r.created_at, s.ends_at, r.deadline_at, h.effective_at, h.effect, a.said \
     FROM route r JOIN span s ON s.id = r.plan AND (s.ends_at IS NULL OR s.ends_at > ?) AND r.action = 'deliver' \
     LEFT JOIN route_answer h ON h.route = r.id LEFT JOIN acknowledgement a ON a.position = h.acknowledgement";

/// The order that keeps the steps of a route together.
pub(super) const COURSES_ORDER: &str = "ORDER BY r.id, h.effective_at, h.acknowledgement";

/// A course without its steps, out of a row of [`COURSES`].
pub(super) fn course(row: &Row<'_>) -> Result<Course, StorageError> {
    let ends_at: Option<i64> = row.get(2)?;
    Ok(Course {
        created_at: time(row, 1, "created_at")?,
        ends_at: ends_at.and_then(Timestamp::from_micros),
        deadline_at: time(row, 3, "deadline_at")?,
        steps: Vec::new(),
    })
}

/// The step of a row of [`COURSES`]; none on a route that nobody has answered.
pub(super) fn step(
    row: &Row<'_>,
    effect: &dyn Fn(&str) -> Result<Transition, StorageError>,
) -> Result<Option<Step>, StorageError> {
    if matches!(row.get_ref(4)?, rusqlite::types::ValueRef::Null) {
        return Ok(None);
    }
    let said = row.get_ref(6)?.as_str().ok().and_then(AckState::parse);
    Ok(Some(Step {
        at: time(row, 4, "effective_at")?,
        said: said.ok_or_else(|| damaged("said"))?,
        effect: effect(row.get_ref(5)?.as_str().unwrap_or_default())?,
    }))
}

/// Everything that makes a [`TrackedRoute`]; `a` is the answer that stands.
pub(super) const COLUMNS: &str = "r.route_id, r.plan_id, r.schedule_id, r.created_at, r.alert_level, r.provider, \
     r.owner, r.escalation_owner, r.action, r.category, r.reason, r.acknowledgement_minutes, r.window_id, \
     r.window_reason, r.owner_available, r.availability_reason, r.next_due_at, r.current, r.revision, \
     a.acknowledgement_id, a.said, a.acknowledged_by, a.acknowledged_at, a.external_ref, a.notes, a.issuer, \
     a.subject, a.verified, r.id";

/// Where [`COLUMNS`] come from.
pub(super) const FROM: &str = "route r LEFT JOIN acknowledgement a ON a.position = r.answer";

/// Index of `r.id` in [`COLUMNS`].
pub(super) const ID_COLUMN: usize = 28;

/// What is wrong with a stored value that this service wrote itself.
fn damaged(column: &str) -> StorageError {
    StorageError::Corrupt(format!("a stored route has an unreadable `{column}`"))
}

fn text(row: &Row<'_>, index: usize, name: &'static str) -> Result<Text, StorageError> {
    stored_text(row.get_ref(index)?.as_str().map_err(|_| damaged(name))?, name)
}

/// A text that passed the check when it was recorded.
fn stored_text(raw: &str, name: &'static str) -> Result<Text, StorageError> {
    Text::parse(Field::lines(name, MAX_RECORD_TEXT_CHARS), raw).map_err(|_| damaged(name))
}

fn time(row: &Row<'_>, index: usize, name: &str) -> Result<Timestamp, StorageError> {
    Timestamp::from_micros(row.get(index)?).ok_or_else(|| damaged(name))
}

/// A route out of a row of [`COLUMNS`].
pub(super) fn tracked(row: &Row<'_>) -> Result<TrackedRoute, StorageError> {
    let id = |index: usize, name: &'static str| -> Result<String, StorageError> {
        let text: String = row.get(index)?;
        if text.chars().count() > MAX_ID_CHARS {
            Err(damaged(name))
        } else {
            Ok(text)
        }
    };
    let action: String = row.get(8)?;
    let category: String = row.get(9)?;
    let maintenance_window = match row.get_ref(12)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(WindowNote {
            window_id: text(row, 12, "window_id")?,
            reason: text(row, 13, "window_reason")?,
        }),
    };
    let route = Route {
        route_id: RouteId::parse(&id(0, "route_id")?).map_err(|_| damaged("route_id"))?,
        plan_id: PlanId::parse(&id(1, "plan_id")?).map_err(|_| damaged("plan_id"))?,
        schedule_id: ScheduleId::parse(&id(2, "schedule_id")?).map_err(|_| damaged("schedule_id"))?,
        created_at: time(row, 3, "created_at")?,
        alert_level: text(row, 4, "alert_level")?,
        provider: Provider::parse(text(row, 5, "provider")?.as_str()).map_err(|_| damaged("provider"))?,
        owner: text(row, 6, "owner")?,
        escalation_owner: text(row, 7, "escalation_owner")?,
        action: RouteAction::parse(&action).ok_or_else(|| damaged("action"))?,
        category: RouteCategory::parse(&category).ok_or_else(|| damaged("category"))?,
        reason: text(row, 10, "reason")?,
        acknowledgement_minutes: row.get(11)?,
        maintenance_window,
        owner_available: row.get(14)?,
        owner_availability_reason: text(row, 15, "availability_reason")?,
        next_due_at: text(row, 16, "next_due_at")?,
    };
    let answer = match row.get_ref(19)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(answer(row, 19)?),
    };
    Ok(TrackedRoute {
        route,
        status: RouteStatus {
            answer,
            revision: row.get(18)?,
        },
        current: row.get(17)?,
    })
}

/// What makes a [`Target`].
pub(super) const TARGET: &str = "r.route_id, r.created_at, r.schedule_id, r.plan_id, r.provider, r.owner, r.action, \
     r.state, r.revision, r.current, r.id, (SELECT max(effective_at) FROM route_answer WHERE route = r.id) FROM route r";

/// A target out of a row of [`TARGET`].
pub(super) fn target(row: &Row<'_>) -> Result<Target, StorageError> {
    let id = |index: usize, name: &'static str| row.get_ref(index)?.as_str().map_err(|_| damaged(name));
    let awaits = row.get_ref(6)?.as_str().ok() == Some(RouteAction::Deliver.as_str());
    let state = row.get_ref(7)?.as_str().ok().and_then(state_named);
    Ok(Target {
        route_id: RouteId::parse(id(0, "route_id")?).map_err(|_| damaged("route_id"))?,
        created_at: time(row, 1, "created_at")?,
        schedule_id: ScheduleId::parse(id(2, "schedule_id")?).map_err(|_| damaged("schedule_id"))?,
        plan_id: PlanId::parse(id(3, "plan_id")?).map_err(|_| damaged("plan_id"))?,
        provider: Provider::parse(id(4, "provider")?).map_err(|_| damaged("provider"))?,
        owner: text(row, 5, "owner")?,
        state: awaits
            .then(|| state.ok_or_else(|| damaged("state")))
            .transpose()?,
        revision: row.get(8)?,
        current: row.get(9)?,
        place: Some(Place {
            key: row.get(10)?,
            newest: match row.get::<_, Option<i64>>(11)? {
                None => None,
                Some(at) => Some(Timestamp::from_micros(at).ok_or_else(|| damaged("effective_at"))?),
            },
        }),
    })
}

/// A state as the table writes it.
pub(super) fn state_named(text: &str) -> Option<StateName> {
    StateName::ALL
        .iter()
        .copied()
        .find(|state| state.as_str() == text)
}

/// The routes under the acknowledgements of a part of the log, one row per route.
pub(super) const UNDOABLE: &str = "SELECT a.position, a.acknowledgement_id, a.schedule_id, r.plan_id, r.provider, \
     a.owner, a.said, r.owner, r.id, \
     EXISTS (SELECT 1 FROM acknowledgement u WHERE u.undoes = a.acknowledgement_id) \
     FROM acknowledgement a CROSS JOIN route r ON r.plan = a.plan AND r.provider_key = a.provider_key \
     AND (a.owner IS NULL OR r.owner = a.owner) AND r.action = 'deliver' \
     WHERE a.position BETWEEN ?1 AND ?2 AND a.undoes IS NULL ORDER BY a.position, r.id";

/// Index of the route's row in [`UNDOABLE`].
pub(super) const UNDOABLE_ROUTE: usize = 8;

/// An undoable acknowledgement over a route, out of a row of [`UNDOABLE`] and the route's history.
pub(super) fn undoable(row: &Row<'_>, folded: &Fold<AcknowledgementId>) -> Result<Undoable, StorageError> {
    let id = |index: usize, name: &'static str| row.get_ref(index)?.as_str().map_err(|_| damaged(name));
    let position: i64 = row.get(0)?;
    let acknowledgement_id =
        AcknowledgementId::parse(id(1, "acknowledgement_id")?).map_err(|_| damaged("acknowledgement_id"))?;
    Ok(Undoable {
        position: position.unsigned_abs(),
        schedule_id: ScheduleId::parse(id(2, "schedule_id")?).map_err(|_| damaged("schedule_id"))?,
        plan_id: PlanId::parse(id(3, "plan_id")?).map_err(|_| damaged("plan_id"))?,
        provider: Provider::parse(id(4, "provider")?).map_err(|_| damaged("provider"))?,
        named_owner: match row.get_ref(5)? {
            rusqlite::types::ValueRef::Null => None,
            _ => Some(text(row, 5, "owner")?),
        },
        said: AckState::parse(id(6, "said")?).ok_or_else(|| damaged("said"))?,
        owner: text(row, 7, "owner")?,
        state: folded.state(),
        beneath: folded.beneath(),
        stands: folded.standing() == Some(&acknowledgement_id),
        undone: row.get(9)?,
        acknowledgement_id,
    })
}

/// The acknowledgement that an undo takes back.
pub(super) fn undone(row: &Row<'_>, index: usize) -> Result<Option<AcknowledgementId>, StorageError> {
    match row.get_ref(index)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        value => {
            let id = value.as_str().map_err(|_| damaged("undoes"))?;
            AcknowledgementId::parse(id)
                .map(Some)
                .map_err(|_| damaged("undoes"))
        }
    }
}

/// An answer out of nine columns from `first`: id, said, by, at, reference, notes, issuer, subject, verified.
pub(super) fn answer(row: &Row<'_>, first: usize) -> Result<Answer, StorageError> {
    let said: String = row.get(first + 1)?;
    Ok(Answer {
        acknowledgement_id: AcknowledgementId::parse(text(row, first, "acknowledgement_id")?.as_str())
            .map_err(|_| damaged("acknowledgement_id"))?,
        said: AckState::parse(&said).ok_or_else(|| damaged("said"))?,
        acknowledged_by: text(row, first + 2, "acknowledged_by")?,
        acknowledged_at: time(row, first + 3, "acknowledged_at")?,
        external_ref: text(row, first + 4, "external_ref")?,
        notes: text(row, first + 5, "notes")?,
        issuer: text(row, first + 6, "issuer")?,
        subject: text(row, first + 7, "subject")?,
        verified: row.get(first + 8)?,
    })
}
