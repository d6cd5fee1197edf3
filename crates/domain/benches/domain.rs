//! What the domain's functions cost alone, per item and at growing sizes: `cargo xtask bench domain`.

use std::hint::black_box;

use cavra_domain::acknowledgement::{AckState, Answer, HistoryEntry};
use cavra_domain::actor::Actor;
use cavra_domain::archive::{Custody, ExportFacts, HealthPolicy, ReferenceFacts, assess};
use cavra_domain::audit_package::PackageRoute;
use cavra_domain::bulk::{BulkAnswer, Selection, decide_bulk};
use cavra_domain::id::{
    AcknowledgementId, ArchiveReferenceId, BulkId, DeliveryId, ExportId, IdSource, PlanId, ScheduleId,
    SequentialIds,
};
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::record::interpret;
use cavra_domain::retry::{DeliveryAttempt, RetryPlanner, RetryPolicy, RetryPolicyTerms};
use cavra_domain::route::{
    Provider, Route, RouteAction, RouteCategory, RouteStatus, TrackedRoute, Transition,
};
use cavra_domain::time::Timestamp;
use criterion::{BenchmarkId, Criterion, Throughput};
use serde_json::{Value, json};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn now() -> Timestamp {
    Timestamp::parse("2026-06-01T12:00:00Z").expect("a time")
}

fn text(raw: &str) -> Text {
    Text::parse(Field::line("text", 300), raw).expect("a plain text")
}

fn actor() -> Actor {
    Actor::local("acknowledged_by", "ana@example.org").expect("a plain name")
}

fn routes(count: usize) -> Vec<TrackedRoute> {
    let schedule_id = ScheduleId::parse("schedule-1").expect("an id");
    (0..count)
        .map(|number| {
            let plan_id = PlanId::parse(&format!("gordn-{}", number / 100)).expect("an id");
            let provider = Provider::parse(&format!("provider-{}", number % 10)).expect("a name");
            let owner = text(&format!("owner-{number}"));
            let route = Route {
                route_id: Route::id_for(&plan_id, now(), &provider, &owner),
                plan_id,
                schedule_id: schedule_id.clone(),
                created_at: now(),
                alert_level: text("warning"),
                provider,
                escalation_owner: owner.clone(),
                owner,
                action: RouteAction::Deliver,
                category: RouteCategory::Deliver,
                reason: text("drill is due"),
                acknowledgement_minutes: 60,
                maintenance_window: None,
                owner_available: true,
                owner_availability_reason: Text::default(),
                next_due_at: text("2026-06-10T12:00:00Z"),
            };
            TrackedRoute {
                route,
                status: RouteStatus::default(),
                current: true,
            }
        })
        .collect()
}

fn answer() -> Answer {
    Answer {
        acknowledgement_id: AcknowledgementId::parse("gordack-1").expect("an id"),
        said: AckState::Acknowledged,
        acknowledged_by: text("ana@example.org"),
        acknowledged_at: now(),
        external_ref: text("CHG-4711"),
        notes: Text::default(),
        issuer: text("local"),
        subject: text("ana@example.org"),
        verified: false,
    }
}

/// A plan's record, read back into its routes.
fn plan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for size in SIZES {
        let decisions: Vec<Value> = (0..size)
            .map(|number| {
                json!({ "provider": format!("provider-{}", number % 10), "owner": format!("owner-{number}"),
                        "escalation_owner": "head-of-sre", "acknowledgement_minutes": 60, "action": "deliver",
                        "reason": "drill is due" })
            })
            .collect();
        let record = json!({ "metadata_kind": "go-backend-rollback-drill-notification-plan", "session_id": "gordn-1",
            "created_at": "2026-06-01T08:00:00Z", "schedule_id": "s1", "plan": { "route_decisions": decisions } });
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &record, |bencher, record| {
            bencher.iter(|| interpret(black_box(record), now()).expect("a plan"));
        });
    }
    group.finish();
}

fn bulk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bulk");
    let ids = SequentialIds::default();
    let said = BulkAnswer {
        bulk_id: BulkId::parse("gordbulkack-1").expect("an id"),
        said: AckState::Acknowledged,
        actor: actor(),
        at: now(),
        external_ref: text("CHG-4711"),
        notes: Text::default(),
    };
    for size in SIZES {
        let selection = Selection::filtered(routes(size));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(size),
            &selection,
            |bencher, selection| {
                bencher.iter(|| {
                    decide_bulk(black_box(selection), &[], &said, || {
                        AcknowledgementId::from_uuid(ids.next(now()))
                    })
                });
            },
        );
    }
    group.finish();
}

fn package(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("package");
    for size in SIZES {
        let routes = routes(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &routes, |bencher, routes| {
            let mut out = Vec::new();
            bencher.iter(|| {
                for tracked in routes {
                    out.clear();
                    let entry = HistoryEntry {
                        answer: answer(),
                        undoes: None,
                        effect: Transition::Change,
                    };
                    let entry = PackageRoute::new(tracked, vec![entry], now());
                    serde_json::to_writer(&mut out, &entry).expect("it can be written");
                }
                out.len()
            });
        });
    }
    group.finish();
}

fn retry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("retry");
    let policy = RetryPolicy::parse(&RetryPolicyTerms::default()).expect("the default policy");
    for size in SIZES {
        let attempts: Vec<DeliveryAttempt> = (0..size)
            .map(|number| DeliveryAttempt {
                delivery_id: DeliveryId::parse(&format!("rcd-{number}")).expect("an id"),
                export_id: ExportId::parse(&format!("gordackfinalauditor-{number:06}")).expect("an id"),
                provider: Provider::parse("jira").expect("a name"),
                success: false,
                status_code: Some(503),
                at: now(),
                export_known: true,
                retry_after_seconds: None,
                verification_id: Text::default(),
                release_record_ref: text("REL-1"),
            })
            .collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(size),
            &attempts,
            |bencher, attempts| {
                bencher.iter(|| {
                    let mut planner = RetryPlanner::new(&policy, now());
                    let decided = attempts
                        .iter()
                        .filter_map(|attempt| planner.attempt(attempt.clone()))
                        .count();
                    decided + usize::from(planner.finish().is_some())
                });
            },
        );
    }
    group.finish();
}

fn health(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("health");
    let policy = HealthPolicy::default();
    let hash = "ab".repeat(32);
    for size in SIZES {
        let exports: Vec<(ExportFacts, Vec<ReferenceFacts>)> = (0..size)
            .map(|number| {
                let export_id = ExportId::parse(&format!("gordackfinalauditor-{number:06}")).expect("an id");
                let export = ExportFacts {
                    export_id: export_id.clone(),
                    generated_at: now(),
                    export_hash: text(&hash),
                    verified: true,
                    release_record_ref: text("REL-1"),
                    verification_id: Text::default(),
                };
                let reference = ReferenceFacts {
                    reference_id: ArchiveReferenceId::parse(&format!("ref-{number}")).expect("an id"),
                    export_id,
                    archived_at: now(),
                    recorded_at: now(),
                    position: 1,
                    archive_ref: text("worm://1"),
                    archive_provider: text("worm"),
                    archive_hash: text(&hash),
                    retention_until: text("2099-01-01T00:00:00Z"),
                    legal_hold: true,
                    release_record_ref: text("REL-1"),
                };
                (export, vec![reference])
            })
            .collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &exports, |bencher, exports| {
            bencher.iter(|| {
                exports
                    .iter()
                    .map(|(export, references)| {
                        let custody = Custody {
                            export_id: &export.export_id,
                            export: Some(export),
                            references,
                        };
                        assess(&custody, &policy, now()).len()
                    })
                    .sum::<usize>()
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .configure_from_args();
    plan(&mut criterion);
    bulk(&mut criterion);
    package(&mut criterion);
    retry(&mut criterion);
    health(&mut criterion);
    criterion.final_summary();
}
