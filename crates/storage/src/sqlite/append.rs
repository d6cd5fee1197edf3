//! Appending: a record, and the state that follows from it.
//!
//! This is the only code that writes. What a record means is read by [`cavra_domain::record::interpret`], for
//! own and imported records alike; what it does to a route is decided by [`StateName::on`].

use std::collections::{BTreeMap, HashMap};

use cavra_domain::acknowledgement::{AckState, PreparedAcknowledgement};
use cavra_domain::bulk::Target;
use cavra_domain::dashboard::counters;
use cavra_domain::evidence::{EvidenceKind, HistoryTerm};
use cavra_domain::id::ExportId;
use cavra_domain::record::{AckFacts, Interpreted, PlanFacts, Projection, interpret};
use cavra_domain::route::{Fold, Route, RouteFilter, StateName, Transition};
use cavra_domain::time::Timestamp;
use cavra_evidence::canonical::canonical_value;
use cavra_evidence::digest::Digest;
use cavra_evidence::leaf::Leaf;
use rusqlite::{Connection, OptionalExtension, params};

use super::log;
use super::read::{ORPHANS, ROUTE_POSITION, ROUTE_RECORDS, Reading};
use super::release::Touched;
use crate::{Appended, NewAnswer, NewRecord, Pieces, ReadTx, StorageError, WHOLE_BESIDE_RECORD, WriteTx};

/// What the writer remembers between transactions: ids of terms, which never change once they are there; and within
/// one, the leaves of what its jobs have appended.
#[derive(Debug, Default)]
pub(super) struct WriteState {
    terms: HashMap<String, i64>,
    /// None where tables are made from records that are logged elsewhere: only the writer logs.
    leaves: Option<Vec<Digest>>,
}

impl WriteState {
    /// For a database whose records go into its log.
    pub(super) fn logging() -> Self {
        Self {
            leaves: Some(Vec::new()),
            ..Self::default()
        }
    }

    /// Forgets what a rolled-back transaction may have put there.
    pub(super) fn forget(&mut self) {
        self.terms.clear();
        self.leaves.iter_mut().for_each(Vec::clear);
    }

    /// Keeps the leaf of a record that was just appended for [`WriteState::log`].
    fn wait(
        &mut self,
        connection: &Connection,
        position: i64,
        kind: &EvidenceKind,
        imported: bool,
        recorded_at: Timestamp,
        sha256: Digest,
    ) -> Result<(), StorageError> {
        let Some(leaves) = &mut self.leaves else {
            return Ok(());
        };
        let leaf = Leaf {
            imported,
            kind: kind.as_str().to_owned(),
            position: position.unsigned_abs(),
            recorded_at,
            sha256,
            upgraded: false,
        };
        leaves.push(leaf.hash());
        if leaves.len() < log::LEAVES_AT_ONCE {
            return Ok(());
        }
        self.log(connection)
    }

    /// Puts the waiting leaves into the log: one update of the tree for all jobs of a transaction, right before its
    /// commit, but for those of a very large job.
    pub(super) fn log(&mut self, connection: &Connection) -> Result<(), StorageError> {
        let leaves = self.leaves.as_mut().map(std::mem::take).unwrap_or_default();
        if leaves.is_empty() {
            return Ok(());
        }
        let records = Reading::new(connection).head()?.position;
        let before = records.checked_sub(u64::try_from(leaves.len()).unwrap_or(u64::MAX));
        let before =
            before.ok_or_else(|| StorageError::Corrupt("the log is longer than the evidence".to_owned()))?;
        log::grow(connection, before, &leaves)
    }
}

/// Fails when SQLite itself has rolled back the whole transaction, as it does on a full disk or a failing one. Whatever
/// came next would be durable statement by statement.
pub(super) fn in_transaction(connection: &Connection) -> Result<(), StorageError> {
    if connection.is_autocommit() {
        let lost = std::io::Error::other("the database rolled the transaction back");
        return Err(StorageError::Engine(Box::new(lost)));
    }
    Ok(())
}

/// One job's transaction.
pub(super) struct Writing<'a> {
    pub(super) connection: &'a Connection,
    pub(super) reading: Reading<'a>,
    state: &'a mut WriteState,
    position: i64,
    recorded_at: Option<Timestamp>,
    route_position: Option<i64>,
    counters: BTreeMap<String, i64>,
    /// The counters of an acknowledgement of ours; asked once.
    acknowledgement_counters: Option<Vec<String>>,
    /// The plan that was named last, with its schedule and its row: the routes of a bulk come plan by plan.
    plan: Option<(String, String, i64)>,
    term_counts: BTreeMap<i64, i64>,
    /// Exports whose custody is to be judged anew, and why.
    pub(super) touched: BTreeMap<ExportId, Touched>,
}

impl<'a> Writing<'a> {
    pub(super) fn begin(connection: &'a Connection, state: &'a mut WriteState) -> Result<Self, StorageError> {
        let reading = Reading::new(connection);
        let head = reading.head()?;
        Ok(Self {
            connection,
            reading,
            state,
            position: signed(head.position)?,
            recorded_at: head.recorded_at,
            route_position: None,
            counters: BTreeMap::new(),
            acknowledgement_counters: None,
            plan: None,
            term_counts: BTreeMap::new(),
            touched: BTreeMap::new(),
        })
    }

    /// Writes the sums that were gathered.
    pub(super) fn finish(&mut self) -> Result<(), StorageError> {
        self.judge_touched()?;
        let mut add = self.connection.prepare_cached(
            "INSERT INTO counter (name, value) VALUES (?1, ?2) \
             ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        )?;
        for (name, count) in std::mem::take(&mut self.counters) {
            add.execute(params![name, count])?;
        }
        if let Some(position) = self.route_position.take() {
            self.connection
                .prepare_cached(
                    "INSERT INTO counter (name, value) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![ROUTE_POSITION, position])?;
        }
        let mut add = self
            .connection
            .prepare_cached("UPDATE term SET record_count = record_count + ?2 WHERE id = ?1")?;
        for (term, count) in std::mem::take(&mut self.term_counts) {
            add.execute(params![term, count])?;
        }
        Ok(())
    }

    fn term(&mut self, name: &str) -> Result<i64, StorageError> {
        if let Some(id) = self.state.terms.get(name) {
            return Ok(*id);
        }
        self.connection
            .prepare_cached(
                "INSERT INTO term (name, record_count) VALUES (?1, 0) ON CONFLICT (name) DO NOTHING",
            )?
            .execute([name])?;
        let id = self
            .connection
            .prepare_cached("SELECT id FROM term WHERE name = ?1")?
            .query_row([name], |row| row.get(0))?;
        self.state.terms.insert(name.to_owned(), id);
        Ok(id)
    }

    fn index(
        &mut self,
        position: i64,
        created_at: Timestamp,
        terms: &[HistoryTerm],
    ) -> Result<(), StorageError> {
        // One row per statement: a statement of several rows would make SQLite keep a journal of its own for each.
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO posting (term, created_at, position) VALUES (?1, ?2, ?3)")?;
        for term in terms {
            let id = self.term(term.as_str())?;
            insert.execute(params![id, created_at.micros(), position])?;
            *self.term_counts.entry(id).or_default() += 1;
        }
        Ok(())
    }

    pub(super) fn project(
        &mut self,
        position: i64,
        recorded_at: Timestamp,
        imported: bool,
        interpreted: &Interpreted,
    ) -> Result<(), StorageError> {
        match &interpreted.projection {
            Projection::Export(export) => self.export_arrives(position, imported, export),
            Projection::Deliveries(deliveries) => self.deliveries_arrive(position, deliveries),
            Projection::Reference(reference) => self.reference_arrives(position, reference),
            // A verification of our own is no part of the packet that a later one looks at.
            Projection::Packet(release) if imported => {
                self.packet_arrives(position, interpreted.created_at, &interpreted.kind, release)
            }
            Projection::Packet(_) | Projection::None => Ok(()),
            Projection::Plan(plan) => {
                self.count_route_evidence(position);
                self.plan_arrives(position, plan)
            }
            Projection::Acknowledgement(facts) => {
                self.count_route_evidence(position);
                self.acknowledgement_arrives(position, recorded_at, facts, None)
            }
        }
    }

    /// Keeps the position that packages are made from.
    fn count_route_evidence(&mut self, position: i64) {
        *self.counters.entry(ROUTE_RECORDS.to_owned()).or_default() += 1;
        self.route_position = Some(position);
    }

    fn plan_arrives(&mut self, position: i64, plan: &PlanFacts) -> Result<(), StorageError> {
        self.plan = None;
        let (schedule, at) = (plan.schedule_id.as_str(), plan.created_at.micros());
        let newer: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT created_at FROM plan WHERE schedule_id = ?1 AND (created_at, plan_id) > (?2, ?3) \
                 ORDER BY created_at, plan_id LIMIT 1",
            )?
            .query_row(params![schedule, at, plan.plan_id.as_str()], |row| row.get(0))
            .optional()?;
        let current = newer.is_none();
        if current {
            self.connection
                .prepare_cached(
                    "UPDATE route SET current = 0 WHERE plan IN \
                     (SELECT id FROM plan WHERE schedule_id = ?1 AND current = 1)",
                )?
                .execute([schedule])?;
            self.connection
                .prepare_cached("UPDATE plan SET current = 0 WHERE schedule_id = ?1 AND current = 1")?
                .execute([schedule])?;
        }
        let id: i64 = self
            .connection
            .prepare_cached(
                "INSERT INTO plan (plan_id, schedule_id, created_at, position, content_key, current) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
            )?
            .query_row(
                params![
                    plan.plan_id.as_str(),
                    schedule,
                    at,
                    position,
                    plan.content_key,
                    current
                ],
                |row| row.get(0),
            )?;
        for route in &plan.routes {
            self.insert_route(id, route, current)?;
        }
        // Acknowledgements that came before their plan, by name or by time.
        let named: Vec<i64> = self
            .connection
            .prepare_cached(
                "SELECT position FROM acknowledgement WHERE plan IS NULL AND plan_id = ?1 AND schedule_id = ?2 \
                 AND undoes IS NULL ORDER BY effective_at, position",
            )?
            .query_map([plan.plan_id.as_str(), schedule], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let open: Vec<i64> = self
            .connection
            .prepare_cached(
                "SELECT position FROM acknowledgement WHERE plan_id IS NULL AND schedule_id = ?1 \
                 AND undoes IS NULL AND effective_at >= ?2 AND (?3 IS NULL OR effective_at < ?3) \
                 ORDER BY effective_at, position",
            )?
            .query_map(params![schedule, at, newer], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for acknowledgement in named.into_iter().chain(open) {
            let undos = self.undos_of(acknowledgement)?;
            for undo in &undos {
                self.unlink(*undo)?;
            }
            self.unlink(acknowledgement)?;
            self.link(acknowledgement, id)?;
            for undo in undos {
                self.link_undo(undo, acknowledgement)?;
            }
        }
        Ok(())
    }

    fn insert_route(&mut self, plan: i64, route: &Route, current: bool) -> Result<(), StorageError> {
        let window = route.maintenance_window.as_ref();
        self.connection
            .prepare_cached(
                "INSERT INTO route (route_id, plan, plan_id, schedule_id, created_at, alert_level, provider, \
                 provider_key, owner, escalation_owner, owner_haystack, action, category, reason, \
                 acknowledgement_minutes, deadline_at, window_id, window_reason, owner_available, \
                 availability_reason, next_due_at, current, state, revision, answer) VALUES \
                 (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, \
                 ?22, 'outstanding', 0, NULL)",
            )?
            .execute(params![
                route.route_id.as_str(),
                plan,
                route.plan_id.as_str(),
                route.schedule_id.as_str(),
                route.created_at.micros(),
                route.alert_level.as_str(),
                route.provider.as_str(),
                route.provider.key(),
                route.owner.as_str(),
                route.escalation_owner.as_str(),
                RouteFilter::owner_haystack(route.owner.as_str(), route.escalation_owner.as_str()),
                route.action.as_str(),
                route.category.as_str(),
                route.reason.as_str(),
                route.acknowledgement_minutes,
                route.deadline_at().micros(),
                window.map(|window| window.window_id.as_str()),
                window.map(|window| window.reason.as_str()),
                route.owner_available,
                route.owner_availability_reason.as_str(),
                route.next_due_at.as_str(),
                current,
            ])?;
        Ok(())
    }

    fn acknowledgement_arrives(
        &mut self,
        position: i64,
        recorded_at: Timestamp,
        facts: &AckFacts,
        target: Option<&Target>,
    ) -> Result<(), StorageError> {
        let answer = &facts.answer;
        // Evidence cannot take effect after it was recorded: a record dated ahead takes effect when it came.
        let effective_at = answer.acknowledged_at.min(recorded_at).micros();
        let schedule = facts.schedule_id.as_str();
        if let Some(undone) = &facts.undoes {
            return self.undo_arrives(position, effective_at, facts, undone);
        }
        let plan: Option<i64> = match &facts.plan_id {
            Some(plan_id) => self.named_plan(plan_id.as_str(), schedule)?,
            None => self
                .connection
                .prepare_cached(
                    "SELECT id FROM plan WHERE schedule_id = ?1 AND created_at <= ?2 \
                     ORDER BY created_at DESC, plan_id DESC LIMIT 1",
                )?
                .query_row(params![schedule, effective_at], |row| row.get(0))
                .optional()?,
        };
        let owner = facts.owner.as_ref().map(cavra_domain::public_safe::Text::as_str);
        let routes = match (plan, target.and_then(Answered::listed)) {
            (None, _) => Vec::new(),
            (Some(plan), None) => self.routes_for(plan, facts.provider.key(), owner)?,
            (Some(plan), Some(listed)) => {
                debug_assert_eq!(
                    self.routes_for(plan, facts.provider.key(), owner).ok(),
                    Some(vec![listed])
                );
                vec![listed]
            }
        };
        self.insert_acknowledgement(position, effective_at, facts, plan, count(&routes))?;
        if routes.is_empty() {
            self.count_orphans(1);
        }
        for route in routes {
            self.answer_route(&route, effective_at, position, answer.said)?;
        }
        Ok(())
    }

    /// The row of a plan of this schedule, if it is known.
    fn named_plan(&mut self, plan_id: &str, schedule: &str) -> Result<Option<i64>, StorageError> {
        if let Some((known, of, id)) = &self.plan
            && known == plan_id
            && of == schedule
        {
            return Ok(Some(*id));
        }
        let id: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM plan WHERE plan_id = ?1 AND schedule_id = ?2")?
            .query_row([plan_id, schedule], |row| row.get(0))
            .optional()?;
        self.plan = id.map(|id| (plan_id.to_owned(), schedule.to_owned(), id));
        Ok(id)
    }

    fn insert_acknowledgement(
        &self,
        position: i64,
        effective_at: i64,
        facts: &AckFacts,
        plan: Option<i64>,
        covers: i64,
    ) -> Result<(), StorageError> {
        let answer = &facts.answer;
        self.connection
            .prepare_cached(
                "INSERT INTO acknowledgement (position, acknowledgement_id, schedule_id, plan_id, provider_key, owner, \
                 said, acknowledged_by, acknowledged_at, effective_at, external_ref, notes, issuer, subject, verified, \
                 plan, covers, undoes) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
            )?
            .execute(params![
                position,
                answer.acknowledgement_id.as_str(),
                facts.schedule_id.as_str(),
                facts.plan_id.as_ref().map(cavra_domain::id::PlanId::as_str),
                facts.provider.key(),
                facts.owner.as_ref().map(cavra_domain::public_safe::Text::as_str),
                answer.said.as_str(),
                answer.acknowledged_by.as_str(),
                answer.acknowledged_at.micros(),
                effective_at,
                answer.external_ref.as_str(),
                answer.notes.as_str(),
                answer.issuer.as_str(),
                answer.subject.as_str(),
                answer.verified,
                plan,
                covers,
                facts.undoes.as_ref().map(cavra_domain::id::AcknowledgementId::as_str),
            ])?;
        Ok(())
    }

    /// An undo answers the routes that the acknowledgement answers which it takes back; none while that is not known.
    fn undo_arrives(
        &mut self,
        position: i64,
        effective_at: i64,
        facts: &AckFacts,
        undone: &cavra_domain::id::AcknowledgementId,
    ) -> Result<(), StorageError> {
        self.insert_acknowledgement(position, effective_at, facts, None, 0)?;
        self.count_orphans(1);
        let target: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT a.position FROM evidence e JOIN acknowledgement a ON a.position = e.position \
                 WHERE e.session_id = ?1 AND a.undoes IS NULL",
            )?
            .query_row([undone.as_str()], |row| row.get(0))
            .optional()?;
        match target {
            Some(target) => self.link_undo(position, target),
            None => Ok(()),
        }
    }

    /// The undos of an acknowledgement, in the order of the log.
    fn undos_of(&self, acknowledgement: i64) -> Result<Vec<i64>, StorageError> {
        let undos = self
            .connection
            .prepare_cached(
                "SELECT u.position FROM acknowledgement a JOIN acknowledgement u ON u.undoes = a.acknowledgement_id \
                 WHERE a.position = ?1 AND a.undoes IS NULL ORDER BY u.position",
            )?
            .query_map([acknowledgement], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(undos)
    }

    /// Puts an undo into the histories in which the acknowledgement stands that it takes back.
    fn link_undo(&mut self, undo: i64, target: i64) -> Result<(), StorageError> {
        let (plan, provider, owner): (Option<i64>, String, Option<String>) = self
            .connection
            .prepare_cached("SELECT plan, provider_key, owner FROM acknowledgement WHERE position = ?1")?
            .query_row([target], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let (effective_at, covered): (i64, i64) = self
            .connection
            .prepare_cached("SELECT effective_at, covers FROM acknowledgement WHERE position = ?1")?
            .query_row([undo], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let routes = match plan {
            Some(plan) => self.routes_for(plan, &provider, owner.as_deref())?,
            None => Vec::new(),
        };
        self.connection
            .prepare_cached("UPDATE acknowledgement SET plan = ?2, covers = ?3 WHERE position = ?1")?
            .execute(params![undo, plan, count(&routes)])?;
        self.count_orphans(i64::from(routes.is_empty()) - i64::from(covered == 0));
        for route in routes {
            self.insert_answer(route.id, effective_at, undo, Transition::Stale)?;
            self.fold(route.id)?;
        }
        Ok(())
    }

    /// Counts acknowledgements that answer no route, so that nobody has to look for them.
    fn count_orphans(&mut self, more: i64) {
        self.count(ORPHANS, more);
    }

    /// Adds to a counter of what follows from several records.
    pub(super) fn count(&mut self, counter: &str, more: i64) {
        if more != 0 {
            *self.counters.entry(counter.to_owned()).or_default() += more;
        }
    }

    /// The routes of a plan that an acknowledgement answers.
    fn routes_for(
        &self,
        plan: i64,
        provider: &str,
        owner: Option<&str>,
    ) -> Result<Vec<Answered>, StorageError> {
        // Two statements, so that a named owner is looked up and not filtered out.
        const COLUMNS: &str =
            "SELECT id, state, (SELECT max(effective_at) FROM route_answer WHERE route = r.id) FROM route r";
        let answered = |row: &rusqlite::Row<'_>| -> Result<Answered, StorageError> {
            Ok(Answered {
                id: row.get(0)?,
                state: state_of(row.get_ref(1)?.as_str().unwrap_or_default())?,
                newest: row.get(2)?,
            })
        };
        let routes = match owner {
            Some(owner) => self
                .connection
                .prepare_cached(&format!(
                    "{COLUMNS} WHERE plan = ?1 AND provider_key = ?2 AND owner = ?3 AND action = 'deliver'"
                ))?
                .query_and_then(params![plan, provider, owner], answered)?
                .collect::<Result<_, StorageError>>()?,
            None => self
                .connection
                .prepare_cached(&format!(
                    "{COLUMNS} WHERE plan = ?1 AND provider_key = ?2 AND action = 'deliver' ORDER BY id"
                ))?
                .query_and_then(params![plan, provider], answered)?
                .collect::<Result<_, StorageError>>()?,
        };
        Ok(routes)
    }

    /// Puts an acknowledgement into a route's history, and decides the route's state.
    fn answer_route(
        &mut self,
        route: &Answered,
        effective_at: i64,
        acknowledgement: i64,
        said: AckState,
    ) -> Result<(), StorageError> {
        let last = match route.newest {
            None => true,
            Some(newest) if newest == effective_at => {
                self.is_last(route.id, effective_at, acknowledgement)?
            }
            Some(newest) => newest < effective_at,
        };
        if !last {
            self.insert_answer(route.id, effective_at, acknowledgement, Transition::Repeat)?;
            return self.fold(route.id);
        }
        let effect = route.state.on(said);
        self.insert_answer(route.id, effective_at, acknowledgement, effect)?;
        if effect == Transition::Change {
            self.connection
                .prepare_cached(
                    "UPDATE route SET state = ?2, revision = revision + 1, answer = ?3 WHERE id = ?1",
                )?
                .execute(params![route.id, said.state().as_str(), acknowledgement])?;
        }
        Ok(())
    }

    /// Puts an acknowledgement into the histories of the routes that it answers in a plan.
    fn link(&mut self, acknowledgement: i64, plan: i64) -> Result<(), StorageError> {
        let (provider, owner, said, effective_at, covered): (String, Option<String>, String, i64, i64) = self
            .connection
            .prepare_cached(
                "SELECT provider_key, owner, said, effective_at, covers FROM acknowledgement WHERE position = ?1",
            )?
            .query_row([acknowledgement], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })?;
        let said = said_of(&said)?;
        let routes = self.routes_for(plan, &provider, owner.as_deref())?;
        self.connection
            .prepare_cached("UPDATE acknowledgement SET plan = ?2, covers = ?3 WHERE position = ?1")?
            .execute(params![acknowledgement, plan, count(&routes)])?;
        self.count_orphans(i64::from(routes.is_empty()) - i64::from(covered == 0));
        for route in routes {
            self.answer_route(&route, effective_at, acknowledgement, said)?;
        }
        Ok(())
    }

    fn is_last(&self, route: i64, effective_at: i64, acknowledgement: i64) -> Result<bool, StorageError> {
        let behind: bool = self
            .connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM route_answer WHERE route = ?1 \
                 AND (effective_at, acknowledgement) > (?2, ?3))",
            )?
            .query_row(params![route, effective_at, acknowledgement], |row| row.get(0))?;
        Ok(!behind)
    }

    fn insert_answer(
        &self,
        route: i64,
        effective_at: i64,
        acknowledgement: i64,
        effect: Transition,
    ) -> Result<(), StorageError> {
        self.connection
            .prepare_cached(
                "INSERT INTO route_answer (route, effective_at, acknowledgement, effect) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![route, effective_at, acknowledgement, effect_text(effect)])?;
        Ok(())
    }

    /// Takes an acknowledgement out of the histories that it stands in.
    fn unlink(&mut self, acknowledgement: i64) -> Result<(), StorageError> {
        let (plan, effective_at): (Option<i64>, i64) = self
            .connection
            .prepare_cached("SELECT plan, effective_at FROM acknowledgement WHERE position = ?1")?
            .query_row([acknowledgement], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some(plan) = plan else { return Ok(()) };
        let routes: Vec<i64> = self
            .connection
            .prepare_cached("SELECT id FROM route WHERE plan = ?1 ORDER BY id")?
            .query_map([plan], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for route in routes {
            let gone = self
                .connection
                .prepare_cached(
                    "DELETE FROM route_answer WHERE route = ?1 AND effective_at = ?2 AND acknowledgement = ?3",
                )?
                .execute(params![route, effective_at, acknowledgement])?;
            if gone > 0 {
                self.fold(route)?;
            }
        }
        Ok(())
    }

    /// Decides a route's state anew from its whole history: needed when an imported acknowledgement belongs
    /// before one that is there already.
    fn fold(&mut self, route: i64) -> Result<(), StorageError> {
        type Entry = (i64, i64, String, String, Option<String>, String);
        let history: Vec<Entry> = self
            .connection
            .prepare_cached(
                "SELECT h.effective_at, h.acknowledgement, h.effect, a.acknowledgement_id, a.undoes, a.said \
                 FROM route_answer h JOIN acknowledgement a ON a.position = h.acknowledgement WHERE h.route = ?1 \
                 ORDER BY h.effective_at, h.acknowledgement",
            )?
            .query_map([route], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            })?
            .collect::<Result<_, _>>()?;
        let mut folded: Fold<(String, i64)> = Fold::default();
        let mut standing: HashMap<String, i64> = HashMap::new();
        for (effective_at, position, stored, id, undoes, said) in history {
            let effect = match undoes {
                None => {
                    standing.insert(id.clone(), position);
                    folded.acknowledge((id, position), said_of(&said)?)
                }
                Some(undone) => {
                    let target = standing.get(&undone).copied().unwrap_or_default();
                    folded.undo(&(undone, target))
                }
            };
            if effect_text(effect) != stored {
                self.connection
                    .prepare_cached(
                        "UPDATE route_answer SET effect = ?4 WHERE route = ?1 AND effective_at = ?2 \
                         AND acknowledgement = ?3",
                    )?
                    .execute(params![route, effective_at, position, effect_text(effect)])?;
            }
        }
        let (state, answer) = (folded.state(), folded.standing().map(|(_, position)| *position));
        // The revision only ever grows: whoever saw the route before must notice.
        self.connection
            .prepare_cached(
                "UPDATE route SET revision = revision + (state IS NOT ?2 OR answer IS NOT ?3), state = ?2, answer = ?3 \
                 WHERE id = ?1",
            )?
            .execute(params![route, state.as_str(), answer])?;
        Ok(())
    }
}

/// One row of evidence.
const EVIDENCE: &str = "INSERT INTO evidence (position, session_id, kind, created_at, recorded_at, imported, sha256, record) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// How many expired answers one request forgets: some more than it adds, so that they go, and few, so that nobody
/// waits for them.
const FORGOTTEN_AT_ONCE: i64 = 20;

/// The counters that an acknowledgement of ours adds to.
fn counters_of(json: &str) -> Vec<String> {
    serde_json::from_str(json)
        .map(|record| counters(&EvidenceKind::NotificationAck, &record))
        .unwrap_or_default()
}

/// What was prepared is what the record says.
#[cfg(debug_assertions)]
fn held_against_its_record(prepared: &PreparedAcknowledgement, recorded_at: Timestamp) {
    let value = cavra_evidence::strict::parse_str(&prepared.json).unwrap_or_default();
    assert_eq!(
        canonical_value(&value).ok().as_deref(),
        Some(prepared.json.as_str())
    );
    let read = interpret(&value, recorded_at);
    let facts = match read.as_ref().map(|read| &read.projection) {
        Ok(Projection::Acknowledgement(facts)) => Some(facts.as_ref()),
        _ => None,
    };
    assert_eq!(facts, Some(&prepared.facts));
    let read = read.as_ref().ok();
    assert_eq!(
        read.map(|read| read.terms.as_slice()),
        Some(prepared.terms.as_slice())
    );
    assert_eq!(read.map(|read| read.created_at), Some(prepared.created_at));
}

/// A route that an acknowledgement answers, as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answered {
    id: i64,
    state: StateName,
    /// When the newest answer in its history takes effect.
    newest: Option<i64>,
}

impl Answered {
    /// The route of a target that a list of this transaction gave.
    fn listed(target: &Target) -> Option<Self> {
        let place = target.place?;
        Some(Self {
            id: place.key,
            state: target.state?,
            newest: place.newest.map(Timestamp::micros),
        })
    }
}

fn count(routes: &[Answered]) -> i64 {
    i64::try_from(routes.len()).unwrap_or(i64::MAX)
}

fn state_of(text: &str) -> Result<StateName, StorageError> {
    StateName::parse(text)
        .ok_or_else(|| StorageError::Corrupt("a stored route has an unknown state".to_owned()))
}

fn said_of(text: &str) -> Result<AckState, StorageError> {
    AckState::parse(text)
        .ok_or_else(|| StorageError::Corrupt("a stored acknowledgement has an unknown state".to_owned()))
}

/// An effect as the table keeps it.
pub(super) const fn effect_text(effect: Transition) -> &'static str {
    match effect {
        Transition::Change => "change",
        Transition::Repeat => "repeat",
        Transition::Final => "final",
        Transition::Undo => "undo",
        Transition::Stale => "stale",
    }
}

pub(super) fn signed(position: u64) -> Result<i64, StorageError> {
    i64::try_from(position).map_err(|_| StorageError::Corrupt("a position beyond every log".to_owned()))
}

impl WriteTx for Writing<'_> {
    fn append(&mut self, record: &NewRecord<'_>) -> Result<Appended, StorageError> {
        in_transaction(self.connection)?;
        // Positions and recording times rise together, whatever the clock does.
        let recorded_at = self
            .recorded_at
            .map_or(record.recorded_at, |last| last.max(record.recorded_at));
        let interpreted = interpret(record.value, recorded_at)?;
        let interpreted = if record.imported {
            interpreted.from_elsewhere()
        } else {
            interpreted
        };
        let json = canonical_value(record.value).map_err(|error| StorageError::Canonical(Box::new(error)))?;
        let sha256 = Digest::of(json.as_bytes());
        let there: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT sha256 FROM evidence WHERE session_id = ?1")?
            .query_row([&interpreted.session_id], |row| row.get(0))
            .optional()?;
        match there {
            Some(digest) if digest == sha256.as_bytes() => {
                return Ok(Appended::Unchanged {
                    kind: interpreted.kind,
                });
            }
            Some(_) => return Err(StorageError::Conflict(interpreted.session_id)),
            None => {}
        }
        let position = self.position + 1;
        self.connection.prepare_cached(EVIDENCE)?.execute(params![
            position,
            interpreted.session_id,
            interpreted.kind.as_str(),
            interpreted.created_at.micros(),
            recorded_at.micros(),
            record.imported,
            sha256.as_bytes(),
            json
        ])?;
        self.position = position;
        self.recorded_at = Some(recorded_at);
        self.state.wait(
            self.connection,
            position,
            &interpreted.kind,
            record.imported,
            recorded_at,
            sha256,
        )?;
        self.index(position, interpreted.created_at, &interpreted.terms)?;
        for name in counters(&interpreted.kind, record.value) {
            *self.counters.entry(name).or_default() += 1;
        }
        self.project(position, recorded_at, record.imported, &interpreted)?;
        if let Projection::Acknowledgement(facts) = &interpreted.projection
            && facts.undoes.is_none()
        {
            // Undos that came before what they take back.
            for undo in self.undos_of(position)? {
                self.link_undo(undo, position)?;
            }
        }
        Ok(Appended::Recorded {
            position: position.unsigned_abs(),
            interpreted: Box::new(interpreted),
        })
    }

    fn append_prepared(
        &mut self,
        prepared: &PreparedAcknowledgement,
        target: &Target,
        recorded_at: Timestamp,
    ) -> Result<u64, StorageError> {
        #[cfg(debug_assertions)]
        held_against_its_record(prepared, recorded_at);
        in_transaction(self.connection)?;
        let recorded_at = self.recorded_at.map_or(recorded_at, |last| last.max(recorded_at));
        let position = self.position + 1;
        let session_id = prepared.facts.answer.acknowledgement_id.as_str();
        let sha256 = Digest::of(prepared.json.as_bytes());
        self.connection
            .prepare_cached(EVIDENCE)?
            .execute(params![
                position,
                session_id,
                EvidenceKind::NotificationAck.as_str(),
                prepared.created_at.micros(),
                recorded_at.micros(),
                false,
                sha256.as_bytes(),
                prepared.json,
            ])
            .map_err(|error| match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::ConstraintViolation) => {
                    StorageError::Conflict(session_id.to_owned())
                }
                _ => error.into(),
            })?;
        self.position = position;
        self.recorded_at = Some(recorded_at);
        self.state.wait(
            self.connection,
            position,
            &EvidenceKind::NotificationAck,
            false,
            recorded_at,
            sha256,
        )?;
        self.index(position, prepared.created_at, &prepared.terms)?;
        let names = match self.acknowledgement_counters.take() {
            Some(names) => names,
            None => counters_of(&prepared.json),
        };
        for name in &names {
            match self.counters.get_mut(name) {
                Some(count) => *count += 1,
                None => {
                    self.counters.insert(name.clone(), 1);
                }
            }
        }
        self.acknowledgement_counters = Some(names);
        self.count_route_evidence(position);
        // No undo can name an id that was drawn in this transaction, so none waits for it.
        self.acknowledgement_arrives(position, recorded_at, &prepared.facts, Some(target))?;
        Ok(position.unsigned_abs())
    }

    fn store_pieces(&mut self, position: u64, pieces: &mut Pieces<'_>) -> Result<(), StorageError> {
        in_transaction(self.connection)?;
        let kind: Option<String> = self
            .connection
            .prepare_cached("SELECT kind FROM evidence WHERE position = ?1")?
            .query_row([signed(position)?], |row| row.get(0))
            .optional()?;
        if !kind.is_some_and(|kind| WHOLE_BESIDE_RECORD.iter().any(|known| known.as_str() == kind)) {
            return Err(StorageError::Corrupt("a document without its record".to_owned()));
        }
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO package_chunk (position, piece, bytes) VALUES (?1, ?2, ?3)")?;
        for (piece, bytes) in (0_i64..).zip(pieces) {
            insert.execute(params![
                signed(position)?,
                piece,
                bytes.map_err(StorageError::Input)?
            ])?;
        }
        Ok(())
    }

    fn keep_answer(&mut self, answer: &NewAnswer<'_>, pieces: &mut Pieces<'_>) -> Result<(), StorageError> {
        in_transaction(self.connection)?;
        let name = answer.name;
        self.connection
            .prepare_cached(
                "DELETE FROM kept_answer WHERE id IN \
                 (SELECT id FROM kept_answer WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
            )?
            .execute(params![answer.now.micros(), FORGOTTEN_AT_ONCE])?;
        // One under the same name has expired, or this would have been its answer.
        self.connection
            .prepare_cached("DELETE FROM kept_answer WHERE caller = ?1 AND operation = ?2 AND key = ?3")?
            .execute([&name.caller, &name.operation, &name.key])?;
        let id: i64 = self
            .connection
            .prepare_cached(
                "INSERT INTO kept_answer (caller, operation, key, fingerprint, expires_at, reference) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id",
            )?
            .query_row(
                params![
                    name.caller,
                    name.operation,
                    name.key,
                    answer.fingerprint.as_bytes(),
                    answer.expires_at.micros(),
                    answer.reference.map(signed).transpose()?,
                ],
                |row| row.get(0),
            )?;
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO kept_answer_piece (answer, piece, bytes) VALUES (?1, ?2, ?3)")?;
        for (piece, bytes) in (0_i64..).zip(pieces) {
            insert.execute(params![id, piece, bytes.map_err(StorageError::Input)?])?;
        }
        Ok(())
    }

    fn add_cosignature(&mut self, size: u64, line: &str) -> Result<(), StorageError> {
        in_transaction(self.connection)?;
        self.connection
            .prepare_cached(
                "INSERT INTO log_cosignature (size, line) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            )?
            .execute(params![signed(size)?, line])?;
        Ok(())
    }

    fn state(&self) -> &dyn ReadTx {
        &self.reading
    }
}
