//! Rules and boundaries of contract wire 3.1, one by one.

use super::*;
use crate::record::{Projection, interpret};
use crate::schedule::{SCHEDULE_FILE_SCHEMA, ScheduleSettings};

const DUE: &str = "2026-06-05T08:00:00Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn now() -> Timestamp {
    at("2026-06-01T08:00:00Z")
}

fn text(raw: &str) -> Text {
    Text::parse(Field::line("text", 200), raw).unwrap()
}

/// A schedule that is due soon, with two owners and two providers.
fn schedule() -> Value {
    json!({
        "schema_version": SCHEDULE_FILE_SCHEMA, "schedule_id": "sched-1", "environment": "production",
        "status": "active", "interval_days": 30, "next_due_at": DUE, "owners": ["ben", "ana"],
        "notification_providers": ["teams", "slack"], "runbook_ref": "runbooks/drill.md",
    })
}

/// Everything that a test may vary.
#[derive(Debug, Clone)]
struct Case {
    schedule: Value,
    policy: Value,
    provider: &'static str,
    force: bool,
    now: Timestamp,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            schedule: schedule(),
            policy: Value::Null,
            provider: "all",
            force: false,
            now: now(),
        }
    }
}

impl Case {
    fn policy(policy: Value) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// A schedule that needs no notification: its drill is far away.
    fn healthy() -> Self {
        Self::default().set("next_due_at", json!("2026-12-01"))
    }

    fn set(mut self, key: &str, value: Value) -> Self {
        self.schedule[key] = value;
        self
    }

    fn try_plan(&self) -> Result<NotificationPlan, ScheduleError> {
        let report =
            ScheduleReport::build(Some(&self.schedule), None, &ScheduleSettings::default(), self.now)?;
        build_plan(&PlanRequest {
            report: &report,
            policy: &RoutingPolicy::parse(Some(&self.policy), &report.schedule)?,
            requested: &RequestedProviders::parse(self.provider)?,
            force: self.force,
            plan_id: PlanId::parse("gordn-1").unwrap(),
            generated_at: self.now,
            actor: Actor::local("generated_by", "carla").unwrap(),
        })
    }

    fn plan(&self) -> NotificationPlan {
        self.try_plan().unwrap()
    }

    fn refused(&self) -> String {
        self.try_plan().unwrap_err().to_string()
    }
}

/// Owner and provider of every route.
fn pairs(plan: &NotificationPlan) -> Vec<(&str, &str)> {
    plan.owner_routes
        .iter()
        .map(|route| (route.owner.as_str(), route.provider.as_str()))
        .collect()
}

fn names(providers: &[Provider]) -> Vec<&str> {
    providers.iter().map(Provider::as_str).collect()
}

/// Owner, provider and category of every route.
fn categories(plan: &NotificationPlan) -> Vec<(&str, &str, &str)> {
    plan.route_decisions
        .iter()
        .map(|one| {
            (
                one.route.owner.as_str(),
                one.route.provider.as_str(),
                one.category.as_str(),
            )
        })
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a whole plan")]
fn the_plan_has_every_published_key_in_order() {
    let case = Case::policy(json!({
        "owner_routes": { "ana": { "providers": "slack", "ack_minutes": 15, "manager": "lead" } },
        "maintenance_windows": [{
            "id": "move", "starts_at": "2026-06-01", "ends_at": "2026-06-02", "owners": ["ANA"], "description": "moving"
        }],
        "owner_calendars": { "ben": { "unavailable_windows": [
            { "start_at": "2026-05-30", "end_at": "2026-06-03", "reason": "leave" }
        ] } },
    }));
    let case = case
        .set("owners", json!(["ben", "ana", "eve"]))
        .set("notification_providers", json!(["slack"]));
    let plan = serde_json::to_string_pretty(&case.plan()).unwrap();
    let ben = r#""route_key": "gordroute-BEN",
      "schedule_id": "sched-1",
      "provider": "slack",
      "owner": "ben",
      "acknowledgement_minutes": 60,
      "escalation_owner": "ben",
      "maintenance_window": null,
      "owner_availability": {
        "available": false,
        "reason": "leave",
        "start_at": "2026-05-30T00:00:00.000000Z",
        "end_at": "2026-06-03T00:00:00.000000Z"
      }"#;
    let ana = r#""route_key": "gordroute-ANA",
      "schedule_id": "sched-1",
      "provider": "slack",
      "owner": "ana",
      "acknowledgement_minutes": 15,
      "escalation_owner": "lead",
      "maintenance_window": {
        "window_id": "move",
        "start_at": "2026-06-01T00:00:00.000000Z",
        "end_at": "2026-06-02T00:00:00.000000Z",
        "reason": "moving"
      },
      "owner_availability": {
        "available": true,
        "reason": "no calendar is kept for the owner"
      }"#;
    let eve = r#""route_key": "gordroute-EVE",
      "schedule_id": "sched-1",
      "provider": "slack",
      "owner": "eve",
      "acknowledgement_minutes": 60,
      "escalation_owner": "eve",
      "maintenance_window": null,
      "owner_availability": {
        "available": true,
        "reason": "no calendar is kept for the owner"
      }"#;
    let expected = format!(
        r#"{{
  "schema_version": "cavra.go-backend-pilot.rollback-drill-notification-plan.v1",
  "product": "CAVRA",
  "plan_id": "gordn-1",
  "schedule_id": "sched-1",
  "generated_at": "2026-06-01T08:00:00.000000Z",
  "generated_by": "carla",
  "status": "due_soon",
  "alert_level": "warning",
  "eligible_providers": [
    "slack"
  ],
  "selected_providers": [
    "slack"
  ],
  "acknowledgement_required_providers": [
    "slack"
  ],
  "suppressed_providers": [
    "slack"
  ],
  "owners": [
    "ben",
    "ana",
    "eve"
  ],
  "owner_routes": [
    {{
      {ben}
    }},
    {{
      {ana}
    }},
    {{
      {eve}
    }}
  ],
  "route_decisions": [
    {{
      {ben},
      "action": "suppress",
      "reason": "the owner is not available",
      "category": "owner_calendar"
    }},
    {{
      {ana},
      "action": "suppress",
      "reason": "a maintenance window applies to the route",
      "category": "maintenance_window"
    }},
    {{
      {eve},
      "action": "deliver",
      "reason": "the rollback drill is due soon",
      "category": "deliver"
    }}
  ],
  "deliverable_route_count": 1,
  "suppressed_route_count": 2,
  "maintenance_suppressed_count": 1,
  "calendar_suppressed_count": 1,
  "next_due_at": "2026-06-05T08:00:00.000000Z",
  "reason": "owners are to be notified and to acknowledge",
  "actor": {{
    "actor": "carla",
    "subject": "carla",
    "issuer": "local",
    "groups": [],
    "repository": null,
    "verified": false
  }},
  "controls": [
    "operator-owned-delivery",
    "no-stored-credentials",
    "public-safe-metadata",
    "append-only-evidence"
  ]
}}"#
    );
    let key = |owner: &str| {
        let id = ScheduleId::parse("sched-1").unwrap();
        RouteKey::of(&id, &Provider::parse("slack").unwrap(), &text(owner))
            .as_str()
            .to_owned()
    };
    let expected = expected
        .replace("gordroute-BEN", &key("ben"))
        .replace("gordroute-ANA", &key("ana"))
        .replace("gordroute-EVE", &key("eve"));
    assert_eq!(plan, expected);
}

#[test]
fn the_schema_describes_every_key_of_the_plan() {
    let schema = serde_json::to_value(schemars::schema_for!(NotificationPlan)).unwrap();
    let described: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    let plan = serde_json::to_value(Case::default().plan()).unwrap();
    assert_eq!(described, plan.as_object().unwrap().keys().collect::<Vec<_>>());
}

#[test]
fn the_route_key_is_the_published_one_and_uses_the_name_as_given() {
    let id = ScheduleId::parse("sched-1").unwrap();
    let key = |provider| {
        RouteKey::of(
            &id,
            &Provider::parse(provider).unwrap(),
            &text("release-managers"),
        )
    };
    assert_eq!(key("slack").as_str(), "gordroute-cd11cc057e276949");
    assert_ne!(key("Slack"), key("slack"));
}

#[test]
fn routes_go_by_owner_in_the_schedules_order_and_then_by_provider() {
    let plan = Case::default().plan();
    assert_eq!(
        pairs(&plan),
        [
            ("ben", "slack"),
            ("ben", "teams"),
            ("ana", "slack"),
            ("ana", "teams")
        ]
    );
    assert_eq!(names(&plan.eligible_providers), ["teams", "slack"]);
    assert_eq!(names(&plan.selected_providers), ["slack", "teams"]);
    assert_eq!(plan.acknowledgement_required_providers, plan.selected_providers);
    assert!(plan.suppressed_providers.is_empty());
}

#[test]
fn owners_named_twice_and_providers_spelt_twice_are_one_route() {
    let plan = Case::default()
        .set("owners", json!(["ana", " ana", "Ana"]))
        .set(
            "notification_providers",
            json!(["Pager-Duty", "pager_duty", "slack"]),
        )
        .plan();
    assert_eq!(
        pairs(&plan),
        [
            ("ana", "Pager-Duty"),
            ("ana", "slack"),
            ("Ana", "Pager-Duty"),
            ("Ana", "slack")
        ]
    );
    assert_eq!(names(&plan.eligible_providers), ["Pager-Duty", "slack"]);
    assert_eq!(plan.record().decision_count, 2);
}

#[test]
fn without_owners_and_providers_the_defaults_are_notified() {
    let plan = Case::default()
        .set("owners", json!([]))
        .set("notification_providers", json!("x"))
        .plan();
    assert_eq!(pairs(&plan), [("release-governance", "webhook")]);
    assert_eq!(
        (plan.status, plan.alert_level),
        (ScheduleStatus::NeedsAttention, Level::Critical)
    );
    assert_eq!(plan.owners, [text("release-governance")]);
    let case = Case {
        provider: "slack",
        ..Case::default().set("notification_providers", json!([]))
    };
    assert_eq!(
        case.refused(),
        "`/provider` names `slack`, which no owner of the schedule has; there are webhook"
    );
}

#[test]
fn a_rule_replaces_the_base_providers_also_by_some_outside_them() {
    let plan =
        Case::policy(json!({ "owner_routes": { "ana": { "providers": "pager,Mail , pager" } } })).plan();
    assert_eq!(
        pairs(&plan),
        [
            ("ben", "slack"),
            ("ben", "teams"),
            ("ana", "Mail"),
            ("ana", "pager")
        ]
    );
    assert_eq!(
        names(&plan.eligible_providers),
        ["teams", "slack"],
        "the schedule's, not the rule's"
    );
    assert_eq!(
        names(&plan.selected_providers),
        ["Mail", "pager", "slack", "teams"]
    );
}

#[test]
fn a_rule_without_providers_keeps_the_base_and_still_gives_minutes_and_escalation() {
    for none in [
        json!({}),
        json!({ "providers": [] }),
        json!({ "providers": "" }),
        json!({ "providers": null }),
    ] {
        let mut rule = none;
        rule["ack_minutes"] = json!(5);
        rule["manager"] = json!("lead");
        let plan = Case::policy(json!({ "owner_routes": { "ana": rule } })).plan();
        assert_eq!(pairs(&plan)[2..], [("ana", "slack"), ("ana", "teams")]);
        let escalation = |index: usize| {
            let route: &OwnerRoute = &plan.owner_routes[index];
            (
                route.acknowledgement_minutes,
                route.escalation_owner.as_str().to_owned(),
            )
        };
        assert_eq!(
            (escalation(0), escalation(2)),
            ((60, "ben".into()), (5, "lead".into()))
        );
    }
}

#[test]
fn rules_in_a_list_merge_in_order_and_the_later_one_wins_part_by_part() {
    let rule = |rules: Value| {
        let plan = Case::policy(json!({ "owner_routes": rules })).plan();
        let ana: Vec<_> = plan
            .owner_routes
            .iter()
            .filter(|route| route.owner.as_str() == "ana")
            .collect();
        let providers: Vec<_> = ana.iter().map(|route| route.provider.as_str()).collect();
        (
            providers.join(" "),
            ana[0].acknowledgement_minutes,
            ana[0].escalation_owner.to_string(),
        )
    };
    let of =
        |providers: &str, minutes, escalation: &str| (providers.to_owned(), minutes, escalation.to_owned());
    let all = json!({ "providers": ["mail"], "acknowledgement_minutes": 10, "escalation_owner": "duty" });
    let own = json!({ "owners": ["ana"], "providers": ["pager"], "escalation_owner": "lead" });
    assert_eq!(rule(json!([all, own])), of("pager", 10, "lead"));
    assert_eq!(
        rule(json!([own, all])),
        of("mail", 10, "duty"),
        "a later rule for all wins as well"
    );
    assert_eq!(
        rule(json!([all, { "owners": ["ben"], "providers": ["sms"] }])),
        of("mail", 10, "duty")
    );
    assert_eq!(
        rule(json!([all, { "owners": [], "ack_minutes": 7 }])),
        of("mail", 7, "duty")
    );
    // Named and empty: back to what holds without a rule.
    assert_eq!(
        rule(json!([all, { "providers": [] }])),
        of("slack teams", 10, "duty")
    );
    assert_eq!(
        rule(json!([all, { "ack_minutes": 0, "manager": "" }])),
        of("mail", 60, "ana")
    );
    assert_eq!(
        rule(json!([{ "owners": ["Ana"], "providers": ["sms"] }])),
        of("slack teams", 60, "ana")
    );
}

#[test]
fn minutes_are_the_rules_then_the_policys_then_sixty() {
    let minutes = |policy: Value| Case::policy(policy).plan().owner_routes[2].acknowledgement_minutes;
    assert_eq!(minutes(json!(null)), 60);
    assert_eq!(
        minutes(json!({ "default_slo": { "acknowledgement_minutes": 30 } })),
        30
    );
    assert_eq!(
        minutes(json!({ "acknowledgement_minutes": 20, "default_slo": { "acknowledgement_minutes": 30 } })),
        20
    );
    let rule = |value: Value| {
        minutes(
            json!({ "acknowledgement_minutes": 20, "owner_routes": { "ana": { "acknowledgement_minutes": value } } }),
        )
    };
    assert_eq!(rule(json!(5)), 5);
    assert_eq!(rule(json!("5")), 5);
    assert_eq!(rule(json!(0)), 20);
    assert_eq!(rule(json!("")), 20);
    assert_eq!(rule(json!(-5)), 60, "not the policy's");
    assert_eq!(rule(json!("soon")), 60, "not the policy's");
    assert_eq!(rule(json!(u32::MAX)), u32::MAX);
}

#[test]
fn only_the_requested_providers_are_planned() {
    let requested = |provider| {
        Case {
            provider,
            ..Case::default()
        }
        .plan()
    };
    let plan = requested(" SLACK ,slack");
    assert_eq!(pairs(&plan), [("ben", "slack"), ("ana", "slack")]);
    assert_eq!(names(&plan.eligible_providers), ["slack"]);
    for all in ["all", " ALL ", "", " ", "all,all", "teams,slack"] {
        assert_eq!(requested(all).owner_routes.len(), 4, "{all}");
    }
}

#[test]
fn a_provider_that_only_a_rule_has_can_be_requested() {
    let policy = json!({ "owner_routes": { "ana": { "providers": ["pager"] } } });
    let plan = Case {
        provider: "pager",
        ..Case::policy(policy)
    }
    .plan();
    assert_eq!(pairs(&plan), [("ana", "pager")]);
    assert!(
        plan.eligible_providers.is_empty(),
        "the schedule itself has no such provider"
    );
    assert_eq!(names(&plan.selected_providers), ["pager"]);
}

#[test]
fn a_requested_provider_that_nobody_has_is_refused_with_those_there_are() {
    let refused = |provider, policy| {
        Case {
            provider,
            ..Case::policy(policy)
        }
        .refused()
    };
    assert_eq!(
        refused("slack,pager", json!(null)),
        "`/provider` names `pager`, which no owner of the schedule has; there are slack, teams"
    );
    // In the schedule, but every owner has a rule that replaces it.
    assert_eq!(
        refused("teams", json!({ "routing_rules": [{ "providers": ["mail"] }] })),
        "`/provider` names `teams`, which no owner of the schedule has; there are mail"
    );
}

#[test]
fn a_request_for_providers_that_makes_no_sense_is_refused() {
    let refused = |raw| RequestedProviders::parse(raw).unwrap_err();
    assert_eq!(
        refused("slack,").to_string(),
        "`/provider` must be `all`, or provider names with commas between them"
    );
    assert_eq!(
        refused("slack,all").to_string(),
        "`/provider` must be either `all` or provider names, not both"
    );
    let secret = refused("ghp_0123456789abcdefghij");
    assert!(matches!(secret, ScheduleError::NotPublicSafe(_)));
    assert_eq!(secret.pointer(), Some("/provider"));
}

#[test]
fn a_maintenance_window_includes_both_of_its_ends() {
    let (start, end) = (at("2026-06-01T08:00:00Z"), at("2026-06-01T10:00:00Z"));
    let policy = json!({ "maintenance_windows": [{ "start_at": start, "end_at": end }] });
    let suppressed = |now| {
        Case {
            now,
            ..Case::policy(policy.clone())
        }
        .plan()
        .suppressed_route_count
    };
    assert_eq!(suppressed(start.plus_micros(-1)), 0);
    assert_eq!(suppressed(start), 4);
    assert_eq!(suppressed(end), 4);
    assert_eq!(suppressed(end.plus_micros(1)), 0);
}

#[test]
fn a_window_means_only_the_schedules_providers_and_owners_that_it_names() {
    let hit = |scope: Value| {
        let mut window = json!({ "start_at": "2026-06-01", "end_at": "2026-06-02" });
        window
            .as_object_mut()
            .unwrap()
            .extend(scope.as_object().unwrap().clone());
        let plan = Case::policy(json!({ "maintenance_windows": [window] })).plan();
        let hit = plan
            .route_decisions
            .iter()
            .filter(|one| one.category == RouteCategory::MaintenanceWindow);
        hit.map(|one| format!("{}/{}", one.route.owner, one.route.provider))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(hit(json!({})), "ben/slack ben/teams ana/slack ana/teams");
    assert_eq!(
        hit(json!({ "schedule_ids": ["other", "SCHED-1"] })),
        "ben/slack ben/teams ana/slack ana/teams"
    );
    assert_eq!(hit(json!({ "schedule_ids": ["other"] })), "");
    assert_eq!(hit(json!({ "owners": ["ANA"] })), "ana/slack ana/teams");
    assert_eq!(hit(json!({ "providers": ["Slack"] })), "ben/slack ana/slack");
    assert_eq!(
        hit(json!({ "providers": ["Slack"], "owners": "ana" })),
        "ana/slack"
    );
    assert_eq!(
        hit(json!({ "providers": ["Slack"], "owners": "ana", "schedule_ids": "x" })),
        ""
    );
}

#[test]
fn the_first_window_that_applies_counts() {
    let window = |id: &str, scope: Value| {
        let mut window = json!({ "id": id, "start_at": "2026-06-01", "end_at": "2026-06-02" });
        window
            .as_object_mut()
            .unwrap()
            .extend(scope.as_object().unwrap().clone());
        window
    };
    let (all, own) = (
        window("all", json!({})),
        window("own", json!({ "owners": ["ana"] })),
    );
    let (slack, past) = (
        window("slack", json!({ "providers": ["slack"] })),
        window("past", json!({ "end_at": "2026-06-01T07:00:00Z" })),
    );
    let found = |windows: Value| {
        let plan = Case::policy(json!({ "maintenance_windows": windows })).plan();
        let id = |route: &OwnerRoute| {
            route
                .maintenance_window
                .as_ref()
                .map_or("-", |one| one.window_id.as_str())
                .to_owned()
        };
        plan.owner_routes.iter().map(id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found(json!([past, all, own, slack])), "all all all all");
    assert_eq!(found(json!([own, slack, all])), "slack all own own");
    assert_eq!(found(json!([slack, own, all])), "slack all slack own");
    assert_eq!(found(json!([slack, own])), "slack - slack own");
}

#[test]
fn an_absence_includes_both_of_its_ends() {
    let (start, end) = (at("2026-06-01T08:00:00Z"), at("2026-06-01T10:00:00Z"));
    let calendar = json!({ "ana": { "reason": "part time", "unavailable_windows": [
        { "start_at": "2020-01-01", "end_at": "2020-01-02" }, { "start_at": start, "end_at": end, "reason": "leave" }
    ] } });
    let ana = |now| {
        let plan = Case {
            now,
            ..Case::policy(json!({ "owner_calendars": calendar }))
        }
        .plan();
        assert!(
            plan.owner_routes[0].owner_availability.available,
            "ben has no calendar"
        );
        plan.owner_routes[2].owner_availability.clone()
    };
    for away in [start, end] {
        let expected = OwnerAvailability {
            available: false,
            reason: text("leave"),
            start_at: Some(start),
            end_at: Some(end),
        };
        assert_eq!(ana(away), expected);
    }
    for there in [start.plus_micros(-1), end.plus_micros(1)] {
        let reason = text("the owner's calendar has no absence now");
        assert_eq!(
            ana(there),
            OwnerAvailability {
                available: true,
                reason,
                start_at: None,
                end_at: None
            }
        );
    }
}

#[test]
fn an_owner_who_is_not_available_has_the_most_precise_reason_there_is() {
    let reason = |calendar: Value| {
        let plan = Case::policy(json!({ "owner_calendars": { "ana": calendar } })).plan();
        assert!(!plan.owner_routes[2].owner_availability.available);
        plan.owner_routes[2].owner_availability.reason.to_string()
    };
    let absence = json!([{ "start_at": "2026-06-01", "end_at": "2026-06-02" }]);
    assert_eq!(reason(json!({ "available": false, "reason": "left" })), "left");
    assert_eq!(
        reason(json!({ "available": true, "reason": "part time", "blackout_windows": absence })),
        "part time"
    );
    assert_eq!(
        reason(json!({ "blackout_windows": absence })),
        "the owner's calendar says that the owner is not available"
    );
}

#[test]
fn a_healthy_schedule_notifies_nobody_unless_it_is_forced() {
    let plan = Case::healthy().plan();
    assert_eq!(
        (plan.status, plan.alert_level),
        (ScheduleStatus::Ready, Level::Healthy)
    );
    assert!(
        plan.route_decisions
            .iter()
            .all(|one| one.category == RouteCategory::HealthySchedule)
    );
    assert!(plan.selected_providers.is_empty());
    assert_eq!(names(&plan.suppressed_providers), ["slack", "teams"]);
    assert_eq!(
        plan.reason.as_str(),
        "every route is suppressed: nobody is to be notified"
    );
    let forced = Case {
        force: true,
        ..Case::healthy()
    }
    .plan();
    assert_eq!(
        (forced.deliverable_route_count, forced.alert_level),
        (4, Level::Healthy)
    );
    assert_eq!(
        forced.route_decisions[0].reason.as_str(),
        "the notification is forced although no drill is due"
    );
}

#[test]
fn force_lifts_neither_windows_nor_calendars() {
    let policy = json!({
        "maintenance_windows": [{ "start_at": "2026-06-01", "end_at": "2026-06-02", "providers": ["slack"] }],
        "calendars": { "ana": { "available": false } },
    });
    let plan = Case {
        force: true,
        policy,
        ..Case::healthy()
    }
    .plan();
    assert_eq!(
        categories(&plan),
        [
            ("ben", "slack", "maintenance_window"),
            ("ben", "teams", "deliver"),
            ("ana", "slack", "maintenance_window"),
            ("ana", "teams", "owner_calendar"),
        ]
    );
    assert_eq!(
        (plan.maintenance_suppressed_count, plan.calendar_suppressed_count),
        (2, 2)
    );
    assert_eq!(
        (names(&plan.selected_providers), names(&plan.suppressed_providers)),
        (vec!["teams"], vec!["slack", "teams"])
    );
}

#[test]
fn a_suppressed_route_has_the_category_of_its_window_or_calendar_also_when_nothing_is_due() {
    let policy = json!({
        "maintenance_windows": [{ "start_at": "2026-06-01", "end_at": "2026-06-02", "owners": ["ben"] }],
        "calendars": { "ana": { "available": false } },
    });
    let plan = Case {
        policy,
        ..Case::healthy()
    }
    .plan();
    let of = |index: usize| plan.route_decisions[index].category;
    assert_eq!(
        (of(0), of(2)),
        (RouteCategory::MaintenanceWindow, RouteCategory::OwnerCalendar)
    );
}

#[test]
fn the_category_of_a_published_decision_follows_the_published_order() {
    use RouteCategory::{Deliver, HealthySchedule, MaintenanceWindow, Other, OwnerCalendar};
    let suppress = RouteAction::Suppress;
    assert_eq!(
        category(RouteAction::Deliver, true, false, "healthy", Some(Other)),
        Deliver
    );
    assert_eq!(
        category(suppress, true, false, "healthy", Some(Other)),
        MaintenanceWindow
    );
    assert_eq!(
        category(suppress, false, false, "healthy", Some(Other)),
        OwnerCalendar
    );
    assert_eq!(
        category(suppress, false, true, "Schedule is HEALTHY.", Some(Other)),
        HealthySchedule
    );
    assert_eq!(
        category(suppress, false, true, "", Some(OwnerCalendar)),
        OwnerCalendar
    );
    assert_eq!(category(suppress, false, true, "", Some(Deliver)), Other);
    assert_eq!(category(suppress, false, true, "", None), Other);
}

#[test]
fn a_published_client_finds_the_same_category_from_reason_window_and_calendar() {
    for status in ScheduleStatus::ALL {
        let reasons = Reasons::of(*status);
        let healthy = |text: &Text| text.as_str().contains("healthy");
        assert!(healthy(&reasons.healthy));
        assert!(
            ![&reasons.deliver, &reasons.window, &reasons.calendar]
                .into_iter()
                .any(healthy)
        );
    }
}

#[test]
fn an_overdue_schedule_is_critical_and_the_record_counts_it() {
    let counts = |case: &Case| {
        let record = case.plan().record();
        (
            record.decision_count,
            record.blocked_count,
            record.approval_required_count,
        )
    };
    assert_eq!(counts(&Case::default()), (2, 0, 1));
    assert_eq!(
        counts(&Case {
            now: at("2026-06-06T00:00:00Z"),
            ..Case::default()
        }),
        (2, 1, 0)
    );
    assert_eq!(counts(&Case::healthy()), (2, 0, 0));
}

#[test]
fn the_record_has_the_published_fields_in_order() {
    let record = Case::default().plan().record().into_value();
    let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys.join(" "),
        "schema_version product session_id created_at signer decision_count blocked_count approval_required_count \
         metadata_kind plan_id schedule_id alert_level selected_providers acknowledgement_required_providers \
         deliverable_route_count suppressed_route_count maintenance_suppressed_count calendar_suppressed_count plan"
    );
    assert_eq!(
        (&record["session_id"], &record["signer"]),
        (&json!("gordn-1"), &json!("carla"))
    );
    assert_eq!(record["plan"]["route_decisions"].as_array().unwrap().len(), 4);
}

#[test]
fn replaying_the_record_gives_the_same_routes_and_content() {
    let policy = json!({
        "owner_routes": { "ana": { "providers": ["Pager-Duty"], "ack_minutes": 15, "manager": "lead" } },
        "maintenance_windows": [{ "start_at": "2026-06-01", "end_at": "2026-06-02", "providers": ["slack"], "reason": "move" }],
        "calendars": { "ben": { "available": false, "reason": "leave" } },
    });
    for case in [Case::default(), Case::healthy(), Case::policy(policy)] {
        let plan = case.plan();
        let replayed = interpret(&plan.record().into_value(), now()).unwrap();
        let Projection::Plan(facts) = replayed.projection else {
            panic!("a plan is read as a plan")
        };
        assert_eq!(facts.routes, plan.routes());
        assert_eq!(hex(&facts.content_key), plan.content_key());
    }
}

#[test]
fn id_time_and_author_do_not_make_another_plan() {
    let plan = Case::default().plan();
    let later = NotificationPlan {
        plan_id: PlanId::parse("gordn-2").unwrap(),
        generated_at: now().plus_minutes(5),
        generated_by: text("dora"),
        ..plan.clone()
    };
    assert_eq!(later.content_key(), plan.content_key());
    assert_ne!(later.routes()[0].route_id, plan.routes()[0].route_id);
}

#[test]
fn anything_that_matters_makes_another_plan() {
    let routes = Case::default().plan().routes();
    let key = |change: fn(&mut Route)| {
        let mut routes = routes.clone();
        change(&mut routes[1]);
        content_key("sched-1", "due_soon", DUE, &routes)
    };
    let same = key(|_| {});
    assert_eq!(
        key(|route| route.provider = Provider::parse("TEAMS").unwrap()),
        same
    );
    assert_eq!(key(|route| route.reason = text("other prose")), same);
    assert_eq!(
        content_key("sched-1", "due_soon", "2026-06-05T10:00:00+02:00", &routes),
        same
    );
    let others = [
        key(|route| route.provider = Provider::parse("mail").unwrap()),
        key(|route| route.owner = text("eve")),
        key(|route| route.escalation_owner = text("eve")),
        key(|route| route.action = RouteAction::Suppress),
        key(|route| route.category = RouteCategory::Other),
        key(|route| route.acknowledgement_minutes = 61),
        content_key("sched-2", "due_soon", DUE, &routes),
        content_key("sched-1", "ready", DUE, &routes),
        content_key("sched-1", "due_soon", "", &routes),
        content_key("sched-1", "due_soon", "soon", &routes),
        content_key("sched-1", "due_soon", DUE, &routes[1..]),
    ];
    let distinct: BTreeSet<_> = others.iter().chain([&same]).collect();
    assert_eq!(distinct.len(), others.len() + 1);
}

#[test]
fn the_content_key_stays_what_it_was() {
    // Computed outside, over the lengths and texts that the function is documented to take.
    let expected = "c94991fcb649416ce76235549eea70b15884fb8dc0082494e9f4ab0b741489e5";
    assert_eq!(Case::default().plan().content_key(), expected);
}

#[test]
fn without_a_schedule_or_its_id_there_is_no_plan() {
    let report = ScheduleReport::build(None, None, &ScheduleSettings::default(), now()).unwrap();
    let plan = build_plan(&PlanRequest {
        report: &report,
        policy: &RoutingPolicy::default(),
        requested: &RequestedProviders::default(),
        force: true,
        plan_id: PlanId::parse("gordn-1").unwrap(),
        generated_at: now(),
        actor: Actor::local("generated_by", "carla").unwrap(),
    });
    assert_eq!(plan, Err(ScheduleError::NotRequested));
    for id in [json!(null), json!(" "), json!(5)] {
        assert_eq!(
            Case::default().set("schedule_id", id).try_plan(),
            Err(ScheduleError::MissingScheduleId)
        );
    }
}

#[test]
fn a_plan_has_at_most_a_hundred_thousand_routes() {
    let names = |name: &str, count: usize| {
        (0..count)
            .map(|index| format!("{name}{index}"))
            .collect::<Vec<_>>()
    };
    let case = |owners: usize| {
        Case::default()
            .set("owners", json!(names("owner", owners)))
            .set("notification_providers", json!(names("provider", 1_000)))
    };
    assert_eq!(case(100).plan().owner_routes.len(), MAX_ROUTES);
    assert_eq!(
        case(101).refused(),
        "the plan would have 101000 routes; one plan has at most 100000"
    );
    // What is not asked for does not count.
    let asked = Case {
        provider: "provider7",
        ..case(101)
    }
    .plan();
    assert_eq!(asked.owner_routes.len(), 101);
}

mod laws {
    use proptest::prelude::*;

    use super::*;

    const OWNERS: [&str; 4] = ["ana", "Ana", "ben", "eve"];
    const PROVIDERS: [&str; 5] = ["slack", "Slack", "pager-duty", "Pager_Duty", "mail"];

    fn some(names: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        prop::collection::vec(prop::sample::select(names), 0..4)
    }

    fn rule() -> impl Strategy<Value = Value> {
        let parts = (
            some(&OWNERS),
            prop::option::of(some(&PROVIDERS)),
            prop::option::of(0_u32..90),
        );
        parts.prop_map(|(owners, providers, minutes)| {
            json!({ "owners": owners, "providers": providers, "acknowledgement_minutes": minutes })
        })
    }

    fn window() -> impl Strategy<Value = Value> {
        let scope = (some(&OWNERS), some(&PROVIDERS), 0_u32..60, 0_u32..60);
        scope.prop_map(|(owners, providers, before, after)| {
            // Some windows begin or end exactly now, some lie beside it.
            let (start, end) = (now().plus_micros(i64::from(before) - 50), now().plus_micros(i64::from(after) - 5));
            json!({ "owners": owners, "providers": providers, "start_at": start.min(end), "end_at": end.max(start) })
        })
    }

    fn policy() -> impl Strategy<Value = Value> {
        let calendar =
            (any::<bool>(), prop::collection::vec(any::<bool>(), 0..2)).prop_map(|(available, absences)| {
                let end = |past: bool| now().plus_micros(if past { -1 } else { 0 });
                let absences: Vec<_> = absences
                    .iter()
                    .map(|past| json!({ "start_at": "2026-05-01", "end_at": end(*past) }))
                    .collect();
                json!({ "available": available, "blackout_windows": absences })
            });
        let calendars = prop::collection::btree_map(prop::sample::select(&OWNERS[..]), calendar, 0..3);
        let rules = prop::collection::vec(rule(), 0..4);
        (rules, prop::collection::vec(window(), 0..4), calendars).prop_map(|(rules, windows, calendars)| {
            json!({ "owner_routes": rules, "maintenance_windows": windows, "owner_calendars": calendars })
        })
    }

    fn case() -> impl Strategy<Value = Case> {
        let parts = (
            policy(),
            some(&OWNERS),
            some(&PROVIDERS),
            any::<bool>(),
            any::<bool>(),
        );
        parts.prop_map(|(policy, owners, providers, healthy, force)| {
            let case = if healthy { Case::healthy() } else { Case::default() };
            Case {
                policy,
                force,
                ..case
                    .set("owners", json!(owners))
                    .set("notification_providers", json!(providers))
            }
        })
    }

    /// The routing rules of contract wire 3.1 once more, as plainly as they stand there.
    fn plain_providers(case: &Case, owner: &str, base: &[&str]) -> BTreeSet<String> {
        let keys = |list: &[&str]| list.iter().map(|name| crate::route::normalised(name)).collect();
        let texts = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect()
        };
        let mut merged = Value::Null;
        for rule in case.policy["owner_routes"].as_array().unwrap() {
            let owners = texts(&rule["owners"]);
            if owners.is_empty() || owners.iter().any(|one| one == owner) {
                merged = rule["providers"].clone();
            }
        }
        let own = texts(&merged);
        let own: Vec<_> = own.iter().map(String::as_str).collect();
        if own.is_empty() { keys(base) } else { keys(&own) }
    }

    fn plain_window(case: &Case, owner: &str, provider: &Provider) -> Option<usize> {
        let list = |window: &Value, key: &str, name: &str, form: fn(&str) -> String| {
            let names = window[key].as_array().unwrap();
            names.is_empty() || names.iter().any(|one| form(one.as_str().unwrap()) == form(name))
        };
        case.policy["maintenance_windows"]
            .as_array()
            .unwrap()
            .iter()
            .position(|window| {
                let time = |key: &str| at(window[key].as_str().unwrap());
                time("start_at") <= now()
                    && now() <= time("end_at")
                    && list(window, "owners", owner, str::to_lowercase)
                    && list(window, "providers", provider.as_str(), crate::route::normalised)
            })
    }

    proptest! {
        #[test]
        fn every_pair_of_owner_and_provider_has_exactly_one_route(case in case()) {
            let plan = case.plan();
            let text_of = |value: &Value| -> Vec<String> {
                value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
            };
            let (mut owners, mut base) =
                (text_of(&case.schedule["owners"]), text_of(&case.schedule["notification_providers"]));
            if owners.is_empty() {
                owners.push(DEFAULT_OWNER.into());
            }
            if base.is_empty() {
                base.push(DEFAULT_PROVIDER.into());
            }
            let base: Vec<_> = base.iter().map(String::as_str).collect();
            let owners: BTreeSet<_> = owners.into_iter().collect();
            let expected: BTreeSet<_> = owners
                .iter()
                .flat_map(|owner| plain_providers(&case, owner, &base).into_iter().map(move |key| (owner.clone(), key)))
                .collect();
            let found: Vec<_> = plan
                .owner_routes
                .iter()
                .map(|route| (route.owner.to_string(), route.provider.key().to_owned()))
                .collect();
            prop_assert_eq!(found.len(), expected.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
            let ids: BTreeSet<_> = plan.routes().into_iter().map(|route| route.route_id).collect();
            prop_assert_eq!(ids.len(), plan.owner_routes.len());
        }

        #[test]
        fn the_counts_partition_the_routes(case in case()) {
            let plan = case.plan();
            prop_assert!(!plan.route_decisions.is_empty());
            prop_assert_eq!(
                plan.deliverable_route_count + plan.suppressed_route_count, plan.route_decisions.len()
            );
            let per_category: usize = RouteCategory::ALL
                .iter()
                .map(|category| plan.route_decisions.iter().filter(|one| one.category == *category).count())
                .sum();
            prop_assert_eq!(per_category, plan.route_decisions.len());
            prop_assert!(plan.maintenance_suppressed_count <= plan.suppressed_route_count);
            prop_assert!(plan.calendar_suppressed_count <= plan.suppressed_route_count);
            let routes = plan.routes();
            prop_assert_eq!(routes.iter().filter(|route| route.awaits()).count(), plan.deliverable_route_count);
        }

        #[test]
        fn a_route_is_suppressed_exactly_when_something_says_so(case in case()) {
            let plan = case.plan();
            for one in &plan.route_decisions {
                let suppressed = one.action == RouteAction::Suppress;
                prop_assert_eq!(suppressed, one.category != RouteCategory::Deliver);
                let notifies = case.force || plan.status.notifies();
                let (window, available) =
                    (one.route.maintenance_window.is_some(), one.route.owner_availability.available);
                prop_assert_eq!(suppressed, !notifies || window || !available);
                prop_assert!(one.route.acknowledgement_minutes > 0);
            }
        }

        #[test]
        fn the_window_is_the_first_that_applies(case in case()) {
            let windows = case.policy["maintenance_windows"].as_array().unwrap();
            for route in case.plan().owner_routes {
                let expected = plain_window(&case, route.owner.as_str(), &route.provider);
                let found = route.maintenance_window.map(|window| (window.start_at, window.end_at));
                let time = |index: usize, key: &str| at(windows[index][key].as_str().unwrap());
                prop_assert_eq!(found, expected.map(|index| (time(index, "start_at"), time(index, "end_at"))));
            }
        }

        #[test]
        fn the_content_key_does_not_depend_on_the_order_of_the_routes(
            (routes, shuffled) in case().prop_flat_map(|case| {
                let routes = case.plan().routes();
                (Just(routes.clone()), Just(routes).prop_shuffle())
            }),
        ) {
            let key = |routes: &[Route]| content_key("sched-1", "due_soon", DUE, routes);
            prop_assert_eq!(key(&routes), key(&shuffled));
        }

        #[test]
        fn a_restricted_plan_is_a_part_of_the_whole_one(case in case(), index in any::<prop::sample::Index>()) {
            let whole = case.plan();
            let key = index.get(&whole.owner_routes).provider.key().to_owned();
            let mut spellings = PROVIDERS.into_iter().chain([DEFAULT_PROVIDER]);
            let provider = spellings.find(|name| crate::route::normalised(name) == key).unwrap();
            let part = Case { provider, ..case }.plan();
            let expected: Vec<_> =
                whole.route_decisions.into_iter().filter(|one| one.route.provider.key() == key).collect();
            prop_assert_eq!(part.route_decisions, expected);
        }
    }
}
