//! One answer.

use cavra_app::AppError;
use cavra_domain::acknowledgement::AckState;
use cavra_domain::bulk::{Outcome, OutcomeReason};
use cavra_domain::id::PlanId;
use cavra_domain::route::Cycles;

use super::support::{Service, acknowledge, everything, position, record, rows, rows_of, states, text};

const LEDGER: &str = "payments-ledger-monthly";

#[test]
fn an_answer_changes_the_routes_that_it_names_and_is_recorded() {
    let service = Service::quickstart();
    let command = acknowledge(LEDGER, "Slack", Some("identity-team"), AckState::Escalated);
    let done = service.app.acknowledge(command).unwrap();
    assert_eq!(
        states(&rows_of(&service.app, LEDGER, "slack")),
        [
            ("identity-team", "escalated"),
            ("payments-oncall", "outstanding"),
            ("platform-operations", "outstanding")
        ]
    );
    assert_eq!(done.routes.len(), 1);
    assert_eq!(
        (done.routes[0].previous_state, done.routes[0].state),
        ("outstanding", "escalated")
    );
    assert_eq!(done.routes[0].outcome, Outcome::Changed);
    let document = &done.acknowledgement;
    assert_eq!(
        document.plan_id.as_str(),
        "gordn-abf463743572640a",
        "the record names the cycle"
    );
    assert_eq!(document.provider.as_str(), "Slack", "as it was sent");
    let stored = record(&service.app, document.acknowledgement_id.as_str()).unwrap();
    assert_eq!(stored.position, 185);
    assert!(!stored.imported);
    let stored: serde_json::Value = serde_json::from_str(&stored.json).unwrap();
    assert_eq!(stored, done.metadata);
    assert_eq!(stored["acknowledgement"]["actor"]["verified"], false);
    let changed = rows_of(&service.app, LEDGER, "slack");
    let row = changed
        .iter()
        .find(|row| row.owner.as_str() == "identity-team")
        .unwrap();
    assert_eq!(
        (row.notes.as_str(), row.external_ref.as_str(), row.revision),
        ("seen", "CHG-1", 1)
    );
}

#[test]
fn without_an_owner_every_owner_of_the_provider_is_answered() {
    let service = Service::quickstart();
    let done = service
        .app
        .acknowledge(acknowledge(LEDGER, "slack", None, AckState::Resolved))
        .unwrap();
    assert_eq!(done.routes.len(), 3);
    assert!(
        rows_of(&service.app, LEDGER, "slack")
            .iter()
            .all(|row| row.acknowledgement_state == "resolved")
    );
    assert_eq!(position(&service.app), 185, "one record for all of them");
}

#[test]
fn what_does_not_exist_is_unknown_and_nothing_is_written() {
    let service = Service::quickstart();
    let before = rows(&service.app, &everything(), Cycles::All);
    let mut of_other_plan = acknowledge(LEDGER, "slack", None, AckState::Acknowledged);
    of_other_plan.plan_id = Some(PlanId::parse("gordn-98361524ee2bb9f2").unwrap());
    let mut of_no_plan = of_other_plan.clone();
    of_no_plan.plan_id = Some(PlanId::parse("gordn-0000000000000000").unwrap());
    for (command, what, id) in [
        (
            acknowledge("no-such-schedule", "slack", None, AckState::Resolved),
            "schedule",
            "no-such-schedule",
        ),
        (of_other_plan, "plan of this schedule", "gordn-98361524ee2bb9f2"),
        (of_no_plan, "plan of this schedule", "gordn-0000000000000000"),
        (
            acknowledge(LEDGER, "pager", None, AckState::Resolved),
            "route",
            "payments-ledger-monthly/pager",
        ),
        (
            acknowledge(LEDGER, "slack", Some("release-governance"), AckState::Resolved),
            "route",
            "payments-ledger-monthly/slack/release-governance",
        ),
        (
            acknowledge(LEDGER, "slack", Some("identity"), AckState::Resolved),
            "route",
            "payments-ledger-monthly/slack/identity",
        ),
    ] {
        let refused = service.app.acknowledge(command);
        let Err(AppError::Unknown {
            what: said,
            id: named,
        }) = &refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!((*said, named.as_str()), (what, id));
    }
    assert_eq!(position(&service.app), 184);
    assert_eq!(rows(&service.app, &everything(), Cycles::All), before);
}

#[test]
fn a_suppressed_route_takes_no_answer() {
    let service = Service::quickstart();
    let refused = service.app.acknowledge(acknowledge(
        "config-store-quarterly",
        "teams",
        None,
        AckState::Resolved,
    ));
    assert!(
        matches!(refused, Err(AppError::Refused(OutcomeReason::Suppressed))),
        "{refused:?}"
    );
    assert_eq!(position(&service.app), 184);
}

#[test]
fn a_second_signature_is_recorded_and_changes_nothing_else() {
    let service = Service::quickstart();
    let command = acknowledge(LEDGER, "slack", None, AckState::Acknowledged);
    let first = service.app.acknowledge(command.clone()).unwrap();
    let before = rows_of(&service.app, LEDGER, "slack");
    let mut again = command;
    again.notes = text("me too");
    let second = service.app.acknowledge(again).unwrap();
    assert!(
        second
            .routes
            .iter()
            .all(|route| route.outcome == Outcome::Already)
    );
    assert_eq!(
        rows_of(&service.app, LEDGER, "slack"),
        before,
        "state, answer and revision stay"
    );
    assert_eq!(position(&service.app), 186);
    assert_ne!(
        first.acknowledgement.acknowledgement_id,
        second.acknowledgement.acknowledgement_id
    );
}

#[test]
fn resolved_is_final() {
    let service = Service::quickstart();
    let slack = |owner, said| acknowledge(LEDGER, "slack", owner, said);
    service
        .app
        .acknowledge(slack(Some("identity-team"), AckState::Resolved))
        .unwrap();
    for said in [AckState::Acknowledged, AckState::Escalated, AckState::Dismissed] {
        let refused = service.app.acknowledge(slack(Some("identity-team"), said));
        assert!(
            matches!(refused, Err(AppError::Refused(OutcomeReason::ResolvedIsFinal))),
            "{refused:?}"
        );
    }
    assert_eq!(position(&service.app), 185);
    // A second signature under a resolution is one more record.
    service
        .app
        .acknowledge(slack(Some("identity-team"), AckState::Resolved))
        .unwrap();
    // Where some are resolved, the others are answered and the outcome says so.
    let done = service.app.acknowledge(slack(None, AckState::Escalated)).unwrap();
    let mut outcomes: Vec<_> = done
        .routes
        .iter()
        .map(|route| (route.owner.as_str(), route.outcome))
        .collect();
    outcomes.sort_unstable();
    assert_eq!(
        outcomes,
        [
            ("identity-team", Outcome::Refused),
            ("payments-oncall", Outcome::Changed),
            ("platform-operations", Outcome::Changed)
        ]
    );
    assert_eq!(
        states(&rows_of(&service.app, LEDGER, "slack")),
        [
            ("identity-team", "resolved"),
            ("payments-oncall", "escalated"),
            ("platform-operations", "escalated")
        ]
    );
}

#[test]
fn an_answer_for_an_earlier_cycle_leaves_the_current_one_alone() {
    let service = Service::quickstart();
    let current = rows(&service.app, &everything(), Cycles::Current);
    let mut command = acknowledge(LEDGER, "jira", None, AckState::Resolved);
    command.plan_id = Some(PlanId::parse("gordn-71001ce508d6aad0").unwrap());
    service.app.acknowledge(command).unwrap();
    assert_eq!(rows(&service.app, &everything(), Cycles::Current), current);
}
