//! The rules of rollback-drill governance inside another program: no HTTP, no database, no clock but the one that is
//! handed in. It plans a drill, acknowledges routes in bulk, lets an hour pass, and writes an audit package.
//!
//! `cargo run -p cavra-domain --example embed`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::error::Error;

use cavra_domain::acknowledgement::{AckState, HistoryEntry};
use cavra_domain::actor::Actor;
use cavra_domain::audit_package::{
    AuditPackage, EvidencePosition, LeftOut, PackageHeader, PackageInput, PackageRoute, Population,
};
use cavra_domain::bulk::{BulkAnswer, BulkDecision, Selection, decide_bulk};
use cavra_domain::escalation::{EscalationPlan, EscalationPolicy};
use cavra_domain::id::{
    AcknowledgementId, BulkId, EscalationPlanId, IdSource, PlanId, RouteId, SequentialIds,
};
use cavra_domain::public_safe::Text;
use cavra_domain::record::{Projection, RecordError, interpret};
use cavra_domain::route::{Cycles, FilterTerms, RouteCounts, RouteFilter, RouteStatus, TrackedRoute};
use cavra_domain::schedule::{
    NotificationPlan, PlanRequest, RequestedProviders, RoutingPolicy, ScheduleReport, ScheduleSettings,
    build_plan,
};
use cavra_domain::time::{Clock, FixedClock, Timestamp};
use serde_json::{Value, json};

/// Every answer of every route, oldest first, with what it did.
type Histories = BTreeMap<RouteId, Vec<HistoryEntry>>;

fn main() -> Result<(), Box<dyn Error>> {
    // Time and ids are arguments, so the program says the same at every run.
    let clock = FixedClock(Timestamp::parse("2026-06-01T08:00:00Z")?);
    let ids = SequentialIds::default();
    let ana = Actor::local("acknowledged_by", "ana")?;

    // 1. A schedule that is due soon becomes a plan, one route per owner and provider.
    let plan = plan(&clock, &ids, &ana)?;

    // 2. The routes are the state. A service keeps them in a database, this program in a list.
    let mut routes: Vec<TrackedRoute> = plan
        .routes()
        .into_iter()
        .map(|route| TrackedRoute {
            route,
            status: RouteStatus::default(),
            current: true,
        })
        .collect();
    let mut histories = Histories::new();
    println!(
        "{} waits for {} of {} routes",
        plan.plan_id,
        plan.deliverable_route_count,
        routes.len()
    );
    assert_eq!(
        (plan.deliverable_route_count, plan.suppressed_route_count),
        (3, 1)
    );

    // 3. A bulk means what its filter matches. Deciding writes nothing, so the preview is the decision itself.
    let clock = FixedClock(clock.now().plus_minutes(10));
    let terms = FilterTerms {
        provider: "Slack",
        state: "outstanding",
        ..FilterTerms::default()
    };
    let filter = RouteFilter::parse(&terms)?.or_deliver();
    let answer = BulkAnswer {
        bulk_id: BulkId::from_uuid(ids.next(clock.now())),
        said: AckState::Acknowledged,
        actor: ana.clone(),
        at: clock.now(),
        external_ref: Text::empty(),
        notes: Text::empty(),
    };
    let decide = |routes: &[TrackedRoute]| {
        let selection = Selection::filtered(matching(routes, &filter, clock.now()));
        decide_bulk(&selection, &[], &answer, || {
            AcknowledgementId::from_uuid(ids.next(clock.now()))
        })
    };
    let preview = decide(&routes);
    println!("the bulk would change {} routes", preview.counts.changed_count);
    assert!(!preview.is_blocked() && preview.counts.changed_count == 2);

    // 4. Writing it: each acknowledgement is one more answer of the route that it names.
    apply(&mut routes, &mut histories, &preview)?;
    assert_eq!(
        decide(&routes).counts.matched_count,
        0,
        "nothing on slack is outstanding any more"
    );

    // 5. An hour later the route that nobody answered is breached.
    let clock = FixedClock(clock.now().plus_minutes(60));
    let escalation = EscalationPlan::build(
        EscalationPlanId::from_uuid(ids.next(clock.now())),
        clock.now(),
        ana.clone(),
        EscalationPolicy::default(),
        routes.clone(),
    );
    for late in escalation.routes.iter().filter(|route| route.breached) {
        println!(
            "{} over {}: {}",
            late.owner, late.provider, late.recommended_action
        );
    }
    assert_eq!((escalation.route_count, escalation.breached_count), (3, 1));

    // 6. The audit package holds every route of its scope, with the history of each.
    let package = package(&routes, &histories, &ana, clock.now())?;
    let text = package.text();
    let header = &package.header;
    println!(
        "{} is {} with {} routes in {} bytes",
        header.audit_id,
        header.alert_level,
        header.route_count,
        text.len()
    );
    assert_eq!(
        serde_json::from_str::<Value>(&text)?,
        serde_json::to_value(&package)?
    );
    // One function decides about state and breach, so the two views cannot differ.
    assert_eq!(header.alert_level, escalation.alert_level);
    assert_eq!(
        (header.acknowledged_count, header.breached_count),
        (2, escalation.breached_count)
    );
    Ok(())
}

/// Plans the drill of a schedule. Everything in the schedule is checked; what a plan says comes out of its types.
fn plan(clock: &dyn Clock, ids: &dyn IdSource, actor: &Actor) -> Result<NotificationPlan, Box<dyn Error>> {
    let schedule = json!({
        "schema_version": "cavra.go-backend-rollback-drill-schedule.v1",
        "schedule_id": "sched-emea", "environment": "production", "status": "active",
        "interval_days": 30, "next_due_at": "2026-06-05T08:00:00Z",
        "owners": ["platform-oncall", "release-managers"],
        "notification_providers": ["slack", "pagerduty"],
        "maintenance_windows": [{
            "window_id": "mw-pager", "providers": ["pagerduty"], "owners": ["release-managers"],
            "start_at": "2026-06-01T00:00:00Z", "end_at": "2026-06-01T12:00:00Z", "reason": "pager upgrade",
        }],
        "runbook_ref": "runbooks/rollback-drill.md",
    });
    let report = ScheduleReport::build(Some(&schedule), None, &ScheduleSettings::default(), clock.now())?;
    let plan = build_plan(&PlanRequest {
        report: &report,
        policy: &RoutingPolicy::parse(None, &report.schedule)?,
        requested: &RequestedProviders::default(),
        force: false,
        plan_id: PlanId::from_uuid(ids.next(clock.now())),
        generated_at: clock.now(),
        actor: actor.clone(),
    })?;
    Ok(plan)
}

/// The routes that a filter means.
fn matching(routes: &[TrackedRoute], filter: &RouteFilter, now: Timestamp) -> Vec<TrackedRoute> {
    routes
        .iter()
        .filter(|tracked| filter.matches(tracked, now))
        .cloned()
        .collect()
}

/// Writes a decided bulk, by way of the evidence: replaying the stored records later gives the same state.
fn apply(
    routes: &mut [TrackedRoute],
    histories: &mut Histories,
    decision: &BulkDecision,
) -> Result<(), RecordError> {
    for document in &decision.acknowledgements {
        let record = document.record().into_value();
        let Projection::Acknowledgement(facts) = interpret(&record, document.acknowledged_at)?.projection
        else {
            continue;
        };
        // The answer names a plan, a provider and an owner, as every answer of a bulk does: that is one route.
        let answered = routes.iter_mut().find(|tracked| {
            facts.plan_id.as_ref() == Some(&tracked.route.plan_id)
                && facts.provider.key() == tracked.route.provider.key()
                && facts.owner.as_ref() == Some(&tracked.route.owner)
        });
        let Some(tracked) = answered else { continue };
        let (status, effect) = std::mem::take(&mut tracked.status).apply(facts.answer.clone());
        tracked.status = status;
        let history = histories.entry(tracked.route.route_id.clone()).or_default();
        history.push(HistoryEntry {
            undoes: None,
            answer: facts.answer,
            effect,
        });
    }
    Ok(())
}

/// The package of every delivered route.
fn package(
    routes: &[TrackedRoute],
    histories: &Histories,
    actor: &Actor,
    now: Timestamp,
) -> Result<AuditPackage, Box<dyn Error>> {
    let filter = RouteFilter::default().or_deliver();
    let mut left_out = LeftOut::default();
    for term in routes
        .iter()
        .filter_map(|tracked| filter.left_out_by(tracked, now))
    {
        left_out.add(term, 1);
    }
    let matched = matching(routes, &filter, now);
    let acknowledgement_count = u64::try_from(histories.values().map(Vec::len).sum::<usize>())?;
    let header = PackageHeader::new(&PackageInput {
        filter: &filter,
        cycles: Cycles::Current,
        at: now,
        actor,
        counts: RouteCounts::of(&matched, now),
        acknowledgement_count,
        population: Population {
            known: u64::try_from(routes.len())?,
            matched: u64::try_from(matched.len())?,
            left_out,
        },
        // One plan and its acknowledgements. A service gives the position in its evidence log.
        evidence: EvidencePosition {
            record_count: 1 + acknowledgement_count,
            log_position: 1 + acknowledgement_count,
            orphaned_acknowledgement_count: 0,
        },
    });
    assert_eq!(
        header.population.known,
        header.population.matched + header.population.left_out.total()
    );
    let history = |tracked: &TrackedRoute| {
        histories
            .get(&tracked.route.route_id)
            .cloned()
            .unwrap_or_default()
    };
    let routes = matched
        .iter()
        .map(|tracked| PackageRoute::new(tracked, history(tracked), now))
        .collect();
    Ok(AuditPackage { header, routes })
}
