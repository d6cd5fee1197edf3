//! Reads over one connection's state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::ControlFlow;

use cavra_domain::acknowledgement::HistoryEntry;
use cavra_domain::audit_package::{EvidencePosition, LeftOut, Population};
use cavra_domain::bulk::Target;
use cavra_domain::evidence::{EvidenceKind, HistoryTerm};
use cavra_domain::id::{PlanId, RouteId, ScheduleId};
use cavra_domain::public_safe::Text;
use cavra_domain::route::{
    Cycles, Fold, RouteAction, RouteCounts, RouteFilter, StateName, TrackedRoute, Transition,
};
use cavra_domain::suppression::SuppressionCounts;
use cavra_domain::time::Timestamp;
use cavra_domain::trend::Course;
use cavra_domain::undo::Undoable;
use cavra_evidence::digest::Digest;
use cavra_evidence::tiles::{TileId, Tiles as _};
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::append::signed;
use super::log::StoredTiles;
use super::routes::{self, COLUMNS, Condition, DUE, FROM, ID_COLUMN};
use crate::{
    HistoryQuery, KeptAnswer, KnownPlan, LogHead, ReadTx, RequestName, RouteFacet, RouteKey, RouteQuery,
    StorageError, StoredRecord, Total, Visit,
};

/// Counter of the records that say something about routes.
pub(super) const ROUTE_RECORDS: &str = "route_records";

/// Counter that holds the position of the newest of them.
pub(super) const ROUTE_POSITION: &str = "route_position";

/// Counter of the acknowledgements that answer no route.
pub(super) const ORPHANS: &str = "orphaned_acknowledgements";

/// What an entry of a history may have done to its route.
const EFFECTS: [Transition; 5] = [
    Transition::Change,
    Transition::Repeat,
    Transition::Final,
    Transition::Undo,
    Transition::Stale,
];

/// The effect that a text stands for.
fn effect(text: &str) -> Result<Transition, StorageError> {
    EFFECTS
        .into_iter()
        .find(|known| super::append::effect_text(*known) == text)
        .ok_or_else(|| StorageError::Corrupt("a stored answer has an unknown effect".to_owned()))
}

/// The state in which a route is counted; none when it waits for nothing.
fn counted_state<E>(
    action: Result<&str, E>,
    state: Result<&str, E>,
) -> Result<Option<StateName>, StorageError> {
    let unknown = || StorageError::Corrupt("a stored route has an unknown state".to_owned());
    if action.ok().and_then(RouteAction::parse) != Some(RouteAction::Deliver) {
        return Ok(None);
    }
    state
        .ok()
        .and_then(StateName::parse)
        .map(Some)
        .ok_or_else(unknown)
}

/// How many of the routes in a state are breached, when the deadline of so many of them has come.
fn breached(state: Option<StateName>, due: u64) -> u64 {
    if state.is_some_and(StateName::is_open) {
        due
    } else {
        0
    }
}

/// Reads of one transaction.
pub(super) struct Reading<'a> {
    pub(super) connection: &'a Connection,
}

impl<'a> Reading<'a> {
    pub(super) const fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    pub(super) fn counter(&self, name: &str) -> Result<i64, StorageError> {
        Ok(self
            .connection
            .prepare_cached("SELECT value FROM counter WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?
            .unwrap_or_default())
    }

    fn known_plan(&self, sql: &str, key: &str) -> Result<Option<KnownPlan>, StorageError> {
        let found = self
            .connection
            .prepare_cached(sql)?
            .query_row([key], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, i64>(2)?,
                    row.get::<_, [u8; 32]>(3)?,
                    row.get::<_, bool>(4)?,
                ))
            })
            .optional()?;
        let Some((plan_id, schedule_id, created_at, content_key, current)) = found else {
            return Ok(None);
        };
        let damaged = || StorageError::Corrupt("a stored plan is unreadable".to_owned());
        Ok(Some(KnownPlan {
            plan_id: PlanId::parse(&plan_id).map_err(|_| damaged())?,
            schedule_id: ScheduleId::parse(&schedule_id).map_err(|_| damaged())?,
            created_at: Timestamp::from_micros(created_at).ok_or_else(damaged)?,
            content_key,
            current,
        }))
    }

    fn history_of(&self, route: i64) -> Result<Vec<HistoryEntry>, StorageError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT h.effect, a.acknowledgement_id, a.said, a.acknowledged_by, a.acknowledged_at, a.external_ref, \
             a.notes, a.issuer, a.subject, a.verified, a.undoes FROM route_answer h \
             JOIN acknowledgement a ON a.position = h.acknowledgement WHERE h.route = ?1 \
             ORDER BY h.effective_at, h.acknowledgement",
        )?;
        let mut rows = statement.query([route])?;
        let mut history = Vec::new();
        while let Some(row) = rows.next()? {
            let effect = effect(row.get_ref(0)?.as_str().unwrap_or_default())?;
            history.push(HistoryEntry {
                answer: routes::answer(row, 1)?,
                undoes: routes::undone(row, 10)?,
                effect,
            });
        }
        Ok(history)
    }

    fn for_each_route(
        &self,
        query: &RouteQuery<'_>,
        visit: &mut dyn FnMut(&Row<'_>, TrackedRoute) -> Visit,
    ) -> Result<(), StorageError> {
        self.listed(query, &format!("{COLUMNS} FROM {FROM}"), &mut |row| {
            visit(row, routes::tracked(row)?)
        })
    }

    /// The rows of routes that a query means, in the order of lists.
    fn listed(
        &self,
        query: &RouteQuery<'_>,
        columns: &str,
        visit: &mut dyn FnMut(&Row<'_>) -> Visit,
    ) -> Result<(), StorageError> {
        let mut condition = routes::condition(query.filter, query.cycles, query.now);
        let key = routes::order_key(query.order.key);
        let (beyond, direction) = if query.order.descending {
            ("<", "DESC")
        } else {
            (">", "ASC")
        };
        if let Some(cursor) = query.after {
            let id = SqlValue::Text(cursor.route_id.as_str().to_owned());
            if query.order.key == RouteKey::Created {
                condition.and(
                    &format!("(r.created_at, r.route_id) {beyond} (?, ?)"),
                    [SqlValue::Integer(cursor.created_at.micros()), id],
                );
            } else {
                let of_last = routes::order_key(query.order.key).replace("r.", "c.");
                let urgent = query.order.key == RouteKey::Urgency;
                let (rank, of_last_rank) = if urgent {
                    (routes::SETTLED, "?")
                } else {
                    ("0", "0")
                };
                condition.and(
                    &format!(
                        "({rank}, {key}, r.id) {beyond} \
                         (SELECT {of_last_rank}, {of_last}, c.id FROM route c WHERE c.route_id = ?)"
                    ),
                    urgent
                        .then_some(SqlValue::Integer(i64::from(cursor.settled)))
                        .into_iter()
                        .chain([id]),
                );
            }
        }
        if let (RouteKey::Urgency, false, None, Some(limit)) =
            (query.order.key, query.order.descending, query.after, query.limit)
        {
            return self.most_urgent(&condition, query.offset, limit, columns, visit);
        }
        let limit = query.limit.map_or(Ok(-1), signed)?;
        let rank = if query.order.key == RouteKey::Urgency {
            format!("{} {direction}, ", routes::SETTLED)
        } else {
            String::new()
        };
        // The row's number, where no order is promised among equals: an index has it without the row.
        let last = if query.order.key == RouteKey::Created {
            "r.route_id"
        } else {
            "r.id"
        };
        let order = format!("ORDER BY {rank}{key} {direction}, {last} {direction}");
        let page = format!("LIMIT {limit} OFFSET {}", query.offset);
        let sql = if query.order.key == RouteKey::Created {
            format!(
                "SELECT {columns} WHERE {} {order} {page}",
                condition.where_clause()
            )
        } else {
            // No index has this order, so every route that matches is sorted: by its key alone, not with its whole row.
            format!(
                "SELECT {columns} WHERE r.id IN (SELECT r.id FROM route r WHERE {} {order} {page}) {order}",
                condition.where_clause()
            )
        };
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(condition.parameters))?;
        while let Some(row) = rows.next()? {
            if visit(row)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// A page of the order by urgency. What waits for an answer stands in the index in this order, one state behind the
    /// other; only where a page reaches behind it, all others are sorted.
    fn most_urgent(
        &self,
        condition: &Condition,
        offset: u64,
        limit: u64,
        columns: &str,
        visit: &mut dyn FnMut(&Row<'_>) -> Visit,
    ) -> Result<(), StorageError> {
        let filter = condition.where_clause();
        let end = signed(offset.saturating_add(limit))?;
        let open = routes::OPEN.map(|state| {
            format!(
                "SELECT * FROM (SELECT r.deadline_at AS at, r.id AS id FROM route r WHERE {filter} AND {state} \
                 ORDER BY r.deadline_at, r.id LIMIT {end})"
            )
        });
        let twice: Vec<SqlValue> = [&condition.parameters[..], &condition.parameters[..]].concat();
        let mut ids = self.ids(
            &format!(
                "SELECT id FROM ({}) ORDER BY at, id LIMIT {} OFFSET {}",
                open.join(" UNION ALL "),
                signed(limit)?,
                signed(offset)?
            ),
            twice,
        )?;
        let found = u64::try_from(ids.len()).unwrap_or(u64::MAX);
        if found < limit {
            let skipped = if found > 0 || offset == 0 {
                0
            } else {
                let waiting: u64 = self
                    .connection
                    .prepare_cached(&format!(
                        "SELECT count(*) FROM route r WHERE {filter} AND NOT {}",
                        routes::SETTLED
                    ))?
                    .query_row(params_from_iter(&condition.parameters), |row| row.get(0))?;
                offset.saturating_sub(waiting)
            };
            ids.extend(self.ids(
                &format!(
                    "SELECT r.id FROM route r WHERE {filter} AND {} ORDER BY r.deadline_at, r.id LIMIT {} OFFSET {}",
                    routes::SETTLED,
                    signed(limit - found)?,
                    signed(skipped)?
                ),
                condition.parameters.clone(),
            )?);
        }
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT {columns} WHERE r.id = ?"))?;
        for id in ids {
            let mut rows = statement.query([id])?;
            if let Some(row) = rows.next()?
                && visit(row)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }

    fn ids(&self, sql: &str, parameters: Vec<SqlValue>) -> Result<Vec<i64>, StorageError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let ids = statement
            .query_map(params_from_iter(parameters), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(ids)
    }

    fn grouped(
        &self,
        column: &str,
        filter: &RouteFilter,
        now: Timestamp,
    ) -> Result<BTreeMap<String, u64>, StorageError> {
        let condition = routes::condition(filter, Cycles::All, now);
        let sql = format!(
            "SELECT r.{column}, count(*) FROM route r WHERE r.action = 'suppress' AND {} GROUP BY 1",
            condition.where_clause()
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let counts = statement
            .query_map(params_from_iter(condition.parameters), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        Ok(counts)
    }

    /// A record out of its eight columns.
    pub(super) fn stored(row: &Row<'_>) -> Result<StoredRecord, StorageError> {
        let damaged =
            |what: &str| StorageError::Corrupt(format!("a stored record has an unreadable `{what}`"));
        let time = |index: usize| -> Result<Timestamp, StorageError> {
            Timestamp::from_micros(row.get(index)?).ok_or_else(|| damaged("time"))
        };
        let position: i64 = row.get(0)?;
        Ok(StoredRecord {
            position: position.unsigned_abs(),
            session_id: row.get(1)?,
            kind: EvidenceKind::of(row.get_ref(2)?.as_str().map_err(|_| damaged("kind"))?),
            created_at: time(3)?,
            recorded_at: time(4)?,
            imported: row.get(5)?,
            sha256: Digest::from_bytes(row.get::<_, [u8; 32]>(6).map_err(|_| damaged("sha256"))?),
            json: row.get(7).map_err(|_| damaged("record"))?,
        })
    }
}

/// The columns of [`Reading::stored`].
pub(super) const RECORD: &str =
    "e.position, e.session_id, e.kind, e.created_at, e.recorded_at, e.imported, e.sha256, e.record";

impl ReadTx for Reading<'_> {
    fn head(&self) -> Result<LogHead, StorageError> {
        let newest: Option<(i64, i64)> = self
            .connection
            .prepare_cached("SELECT position, recorded_at FROM evidence ORDER BY position DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(newest.map_or(
            LogHead {
                position: 0,
                recorded_at: None,
            },
            |(position, at)| LogHead {
                position: position.unsigned_abs(),
                recorded_at: Timestamp::from_micros(at),
            },
        ))
    }

    fn route_evidence(&self) -> Result<EvidencePosition, StorageError> {
        Ok(EvidencePosition {
            record_count: self.counter(ROUTE_RECORDS)?.unsigned_abs(),
            log_position: self.counter(ROUTE_POSITION)?.unsigned_abs(),
            orphaned_acknowledgement_count: self.orphan_count()?,
        })
    }

    fn plan(&self, plan_id: &PlanId) -> Result<Option<KnownPlan>, StorageError> {
        self.known_plan(
            "SELECT plan_id, schedule_id, created_at, content_key, current FROM plan WHERE plan_id = ?1",
            plan_id.as_str(),
        )
    }

    fn current_plan(&self, schedule_id: &ScheduleId) -> Result<Option<KnownPlan>, StorageError> {
        self.known_plan(
            "SELECT plan_id, schedule_id, created_at, content_key, current FROM plan WHERE schedule_id = ?1 \
             ORDER BY created_at DESC, plan_id DESC LIMIT 1",
            schedule_id.as_str(),
        )
    }

    fn routes_of(
        &self,
        plan_id: &PlanId,
        provider_key: &str,
        owner: Option<&Text>,
    ) -> Result<Vec<TrackedRoute>, StorageError> {
        // Two statements, so that a named owner is looked up and not filtered out.
        let routes = format!(
            "SELECT {COLUMNS} FROM {FROM} WHERE r.plan = (SELECT id FROM plan WHERE plan_id = ?1) AND r.provider_key = ?2"
        );
        let mut statement = match owner {
            Some(_) => self
                .connection
                .prepare_cached(&format!("{routes} AND r.owner = ?3"))?,
            None => self
                .connection
                .prepare_cached(&format!("{routes} ORDER BY r.owner"))?,
        };
        let mut rows = match owner {
            Some(owner) => statement.query([plan_id.as_str(), provider_key, owner.as_str()])?,
            None => statement.query([plan_id.as_str(), provider_key])?,
        };
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(routes::tracked(row)?);
        }
        Ok(found)
    }

    fn visit_routes(
        &self,
        query: &RouteQuery<'_>,
        visit: &mut dyn FnMut(TrackedRoute) -> Visit,
    ) -> Result<(), StorageError> {
        self.for_each_route(query, &mut |_, tracked| visit(tracked))
    }

    fn route(&self, route_id: &RouteId) -> Result<Option<TrackedRoute>, StorageError> {
        let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE r.route_id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([route_id.as_str()])?;
        rows.next()?.map(routes::tracked).transpose()
    }

    fn visit_targets(
        &self,
        query: &RouteQuery<'_>,
        visit: &mut dyn FnMut(Target) -> Visit,
    ) -> Result<(), StorageError> {
        // Whoever asks for what comes behind a route goes over a large selection page by page. Any other index would
        // be sorted anew for each page.
        let index = match (query.after, query.cycles) {
            (None, _) => "",
            (Some(_), Cycles::Current) => " INDEXED BY route_listed_current",
            (Some(_), Cycles::All) => " INDEXED BY route_listed",
        };
        self.listed(query, &format!("{}{index}", routes::TARGET), &mut |row| {
            visit(routes::target(row)?)
        })
    }

    fn visit_undoable(
        &self,
        first: u64,
        last: u64,
        visit: &mut dyn FnMut(Undoable) -> Visit,
    ) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare_cached(routes::UNDOABLE)?;
        let mut rows = statement.query([signed(first)?, signed(last)?])?;
        while let Some(row) = rows.next()? {
            let mut folded = Fold::default();
            for entry in self.history_of(row.get(routes::UNDOABLE_ROUTE)?)? {
                match entry.undoes {
                    None => folded.acknowledge(entry.answer.acknowledgement_id, entry.answer.said),
                    Some(undone) => folded.undo(&undone),
                };
            }
            if visit(routes::undoable(row, &folded)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn visit_histories(
        &self,
        query: &RouteQuery<'_>,
        visit: &mut dyn FnMut(TrackedRoute, Vec<HistoryEntry>) -> Visit,
    ) -> Result<(), StorageError> {
        self.for_each_route(query, &mut |row, tracked| {
            let history = self.history_of(row.get(ID_COLUMN)?)?;
            visit(tracked, history)
        })
    }

    fn outstanding(&self, limit: usize) -> Result<Vec<TrackedRoute>, StorageError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {FROM} WHERE r.current = 1 AND r.action = 'deliver' AND r.state = 'outstanding' \
             ORDER BY r.deadline_at, r.route_id LIMIT {limit}"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(routes::tracked(row)?);
        }
        Ok(found)
    }

    fn count_routes(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<RouteCounts, StorageError> {
        let condition = routes::condition(filter, cycles, now);
        let sql = format!(
            "SELECT r.action, r.state, count(*), {DUE} FROM route r WHERE {} GROUP BY 1, 2",
            condition.where_clause()
        );
        let mut parameters = vec![SqlValue::Integer(now.micros())];
        parameters.extend(condition.parameters);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut counts = RouteCounts::default();
        while let Some(row) = rows.next()? {
            let state = counted_state(row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str())?;
            counts.add(state, row.get(2)?, breached(state, row.get(3)?));
        }
        Ok(counts)
    }

    fn count_routes_by(
        &self,
        facet: RouteFacet,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<BTreeMap<String, RouteCounts>, StorageError> {
        let condition = routes::condition(filter, cycles, now);
        let sql = format!(
            "SELECT r.{}, r.action, r.state, count(*), {DUE} FROM route r WHERE {} GROUP BY 1, 2, 3",
            routes::facet(facet),
            condition.where_clause()
        );
        let mut parameters = vec![SqlValue::Integer(now.micros())];
        parameters.extend(condition.parameters);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut groups: BTreeMap<String, RouteCounts> = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let state = counted_state(row.get_ref(1)?.as_str(), row.get_ref(2)?.as_str())?;
            groups
                .entry(row.get(0)?)
                .or_default()
                .add(state, row.get(3)?, breached(state, row.get(4)?));
        }
        Ok(groups)
    }

    fn visit_courses(
        &self,
        filter: &RouteFilter,
        since: Timestamp,
        now: Timestamp,
        visit: &mut dyn FnMut(Course) -> Visit,
    ) -> Result<(), StorageError> {
        let condition = routes::condition(filter, Cycles::All, now);
        let sql = format!(
            "{} WHERE {} {}",
            routes::COURSES,
            condition.where_clause(),
            routes::COURSES_ORDER
        );
        let mut parameters = vec![SqlValue::Integer(since.micros())];
        parameters.extend(condition.parameters);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut open: Option<(i64, Course)> = None;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if open.as_ref().is_none_or(|(known, _)| *known != id) {
                if let Some((_, done)) = open.take()
                    && visit(done)?.is_break()
                {
                    return Ok(());
                }
                open = Some((id, routes::course(row)?));
            }
            if let (Some(step), Some((_, course))) = (routes::step(row, &effect)?, open.as_mut()) {
                course.steps.push(step);
            }
        }
        if let Some((_, last)) = open {
            let _ = visit(last)?;
        }
        Ok(())
    }

    fn population(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<Population, StorageError> {
        let terms = routes::terms(filter, now);
        let mut cases = String::new();
        let mut parameters = Vec::new();
        for (index, (_, condition)) in terms.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(cases, " WHEN NOT ({}) THEN {index}", condition.sql);
            parameters.extend(condition.parameters.iter().cloned());
        }
        let bucket = if cases.is_empty() {
            "-1".to_owned()
        } else {
            format!("CASE{cases} ELSE -1 END")
        };
        let sql = format!(
            "SELECT {bucket}, count(*) FROM route r WHERE {} GROUP BY 1",
            routes::cycle(cycles)
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut population = Population {
            known: 0,
            matched: 0,
            left_out: LeftOut::default(),
        };
        while let Some(row) = rows.next()? {
            let (index, count): (i64, u64) = (row.get(0)?, row.get(1)?);
            population.known += count;
            match usize::try_from(index).ok().and_then(|index| terms.get(index)) {
                Some((term, _)) => population.left_out.add(*term, count),
                None => population.matched += count,
            }
        }
        Ok(population)
    }

    fn count_acknowledgements(
        &self,
        filter: &RouteFilter,
        cycles: Cycles,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        let condition = routes::condition(filter, cycles, now);
        let sql = format!(
            "SELECT count(DISTINCT h.acknowledgement) FROM route r JOIN route_answer h ON h.route = r.id \
             WHERE h.effect NOT IN ('undo', 'stale') AND {}",
            condition.where_clause()
        );
        Ok(self
            .connection
            .prepare_cached(&sql)?
            .query_row(params_from_iter(condition.parameters), |row| row.get(0))?)
    }

    fn count_suppressed(
        &self,
        filter: &RouteFilter,
        now: Timestamp,
    ) -> Result<SuppressionCounts, StorageError> {
        Ok(SuppressionCounts {
            category: self.grouped("category", filter, now)?,
            owner: self.grouped("owner", filter, now)?,
            provider: self.grouped("provider", filter, now)?,
            schedule: self.grouped("schedule_id", filter, now)?,
        })
    }

    fn counters(&self) -> Result<BTreeMap<String, u64>, StorageError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT name, value FROM counter")?;
        let counters = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(counters)
    }

    fn orphan_count(&self) -> Result<u64, StorageError> {
        Ok(self.counter(ORPHANS)?.unsigned_abs())
    }

    fn orphans(&self, limit: usize) -> Result<(u64, Vec<StoredRecord>), StorageError> {
        let count = self
            .connection
            .prepare_cached("SELECT count(*) FROM acknowledgement WHERE covers = 0")?
            .query_row([], |row| row.get(0))?;
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {RECORD} FROM acknowledgement a JOIN evidence e ON e.position = a.position WHERE a.covers = 0 \
             ORDER BY a.position LIMIT ?1"
        ))?;
        let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(Self::stored(row)?);
        }
        Ok((count, found))
    }

    fn history(&self, query: &HistoryQuery<'_>) -> Result<Vec<StoredRecord>, StorageError> {
        self.history_page(query)
    }

    fn count_history(&self, terms: &[HistoryTerm]) -> Result<Total, StorageError> {
        self.history_total(terms)
    }

    fn position_at(&self, at: Timestamp) -> Result<u64, StorageError> {
        // Recording times rise with positions, so a few steps find the place.
        let mut recorded = self
            .connection
            .prepare_cached("SELECT recorded_at FROM evidence WHERE position = ?1")?;
        let (mut low, mut high) = (0, signed(self.head()?.position)?);
        while low < high {
            let middle = low + (high - low + 1) / 2;
            let then: i64 = recorded.query_row([middle], |row| row.get(0))?;
            if then <= at.micros() {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low.unsigned_abs())
    }

    fn record(&self, session_id: &str) -> Result<Option<StoredRecord>, StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {RECORD} FROM evidence e WHERE e.session_id = ?1"
        ))?;
        let mut rows = statement.query([session_id])?;
        rows.next()?.map(Self::stored).transpose()
    }

    fn visit_records(
        &self,
        after: u64,
        kind: Option<&str>,
        since: Option<Timestamp>,
        visit: &mut dyn FnMut(StoredRecord) -> Visit,
    ) -> Result<(), StorageError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {RECORD} FROM evidence e WHERE e.position > ?1 AND (?2 IS NULL OR e.kind = ?2) \
             AND (?3 IS NULL OR e.created_at >= ?3) ORDER BY e.position"
        ))?;
        let mut rows = statement.query(params![signed(after)?, kind, since.map(Timestamp::micros)])?;
        while let Some(row) = rows.next()? {
            if visit(Self::stored(row)?)? == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn evidence_of(&self, schedules: &BTreeSet<ScheduleId>, until: u64) -> Result<Vec<u64>, StorageError> {
        let mut positions = BTreeSet::new();
        // One pass over each: there may be as many schedules as one likes, and neither table is indexed by them. An
        // undo belongs to its own schedule and to that of what it takes back.
        for query in [
            "SELECT position, schedule_id FROM plan WHERE position <= ?1",
            "SELECT position, schedule_id FROM acknowledgement WHERE position <= ?1",
            "SELECT u.position, a.schedule_id FROM acknowledgement u \
             JOIN evidence e ON e.session_id = u.undoes JOIN acknowledgement a ON a.position = e.position \
             WHERE u.undoes IS NOT NULL AND a.undoes IS NULL AND u.position <= ?1",
        ] {
            let mut statement = self.connection.prepare_cached(query)?;
            let mut rows = statement.query([signed(until)?])?;
            while let Some(row) = rows.next()? {
                let schedule: String = row.get(1)?;
                let schedule = ScheduleId::parse(&schedule)
                    .map_err(|_| StorageError::Corrupt("a stored schedule id is unreadable".to_owned()))?;
                if schedules.contains(&schedule) {
                    positions.insert(row.get(0)?);
                }
            }
        }
        Ok(positions.into_iter().collect())
    }

    fn log_tile(&self, tile: TileId) -> Result<Vec<u8>, StorageError> {
        StoredTiles(self.connection).tile(tile)
    }

    fn upgraded_through(&self) -> Result<u64, StorageError> {
        super::log::upgraded_through(self.connection)
    }

    fn cosignatures(&self, size: u64) -> Result<Vec<String>, StorageError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT line FROM log_cosignature WHERE size = ?1 ORDER BY line")?;
        let lines = statement
            .query_map([signed(size)?], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(lines)
    }

    fn visit_cosignatures(&self, visit: &mut dyn FnMut(u64, &str)) -> Result<(), StorageError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT size, line FROM log_cosignature ORDER BY size, line")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(1)?;
            visit(row.get(0)?, &line);
        }
        Ok(())
    }

    fn kept_answer(&self, name: &RequestName, now: Timestamp) -> Result<Option<KeptAnswer>, StorageError> {
        let found: Option<(i64, [u8; 32], i64, Option<i64>)> = self
            .connection
            .prepare_cached(
                "SELECT id, fingerprint, expires_at, reference FROM kept_answer \
                 WHERE caller = ?1 AND operation = ?2 AND key = ?3 AND expires_at > ?4",
            )?
            .query_row(
                params![name.caller, name.operation, name.key, now.micros()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .optional()?;
        let Some((id, fingerprint, expires_at, reference)) = found else {
            return Ok(None);
        };
        Ok(Some(KeptAnswer {
            id: id.unsigned_abs(),
            fingerprint: Digest::from_bytes(fingerprint),
            expires_at: Timestamp::from_micros(expires_at)
                .ok_or_else(|| StorageError::Corrupt("a kept answer has an unreadable time".to_owned()))?,
            reference: reference.map(i64::unsigned_abs),
        }))
    }

    fn kept_piece(&self, answer: u64, piece: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self
            .connection
            .prepare_cached("SELECT bytes FROM kept_answer_piece WHERE answer = ?1 AND piece = ?2")?
            .query_row(params![signed(answer)?, signed(piece)?], |row| row.get(0))
            .optional()?)
    }

    fn piece(&self, position: u64, piece: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self
            .connection
            .prepare_cached("SELECT bytes FROM package_chunk WHERE position = ?1 AND piece = ?2")?
            .query_row(params![signed(position)?, signed(piece)?], |row| row.get(0))
            .optional()?)
    }
}
