//! The same request again, below HTTP.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use cavra_app::acknowledge::Acknowledged;
use cavra_app::once::{KeyedRequest, RequestDigest};
use cavra_app::{App, AppError};
use cavra_domain::acknowledgement::AckState;

use cavra_domain::time::Clock as _;
use cavra_storage::{NewRecord, StorageError, Verdict, WriteJob};
use serde_json::json;

use super::support::{Service, acknowledge, position, record};

fn request(caller: &str, key: &str, asked: &[u8]) -> Arc<KeyedRequest> {
    let mut digest = RequestDigest::default();
    digest.part(asked);
    Arc::new(KeyedRequest::new(
        caller.to_owned(),
        "acknowledge",
        key.to_owned(),
        digest,
    ))
}

fn keyed(app: &App, caller: &str, key: &str, asked: &[u8]) -> App {
    app.for_request(request(caller, key, asked))
}

fn said(app: &App) -> Result<(), AppError> {
    let owner = Some("identity-team");
    app.acknowledge(acknowledge(
        "payments-ledger-monthly",
        "slack",
        owner,
        AckState::Acknowledged,
    ))
    .map(|_| ())
}

#[test]
fn a_key_is_free_again_after_a_day_and_not_a_moment_before() {
    let service = Service::quickstart();
    let minutes = cavra_app::once::KEPT_HOURS * 60;
    assert!(said(&keyed(&service.app, "ana", "k", b"a")).is_ok());
    let once = position(&service.app);
    service.clock.forward(minutes - 1);
    assert!(matches!(
        said(&keyed(&service.app, "ana", "k", b"a")),
        Err(AppError::GivenBefore(_))
    ));
    assert!(matches!(
        said(&keyed(&service.app, "ana", "k", b"b")),
        Err(AppError::KeyReused)
    ));
    assert_eq!(position(&service.app), once);
    service.clock.forward(1);
    assert!(said(&keyed(&service.app, "ana", "k", b"b")).is_ok());
    assert_eq!(position(&service.app), once + 1);
}

#[test]
fn nobody_gets_the_answer_of_another_caller() {
    let service = Service::quickstart();
    assert!(said(&keyed(&service.app, "ana", "k", b"a")).is_ok());
    assert!(said(&keyed(&service.app, "ben", "k", b"a")).is_ok());
    assert_eq!(position(&service.app), 184 + 2);
}

#[test]
fn what_failed_is_decided_again() {
    let service = Service::quickstart();
    let unknown =
        |app: &App| app.acknowledge(acknowledge("no-such-schedule", "slack", None, AckState::Resolved));
    for _ in 0..2 {
        assert!(matches!(
            unknown(&keyed(&service.app, "ana", "k", b"a")),
            Err(AppError::Unknown { .. })
        ));
    }
    assert!(said(&keyed(&service.app, "ana", "k", b"b")).is_ok());
}

#[test]
fn an_answer_is_that_of_the_run_that_was_committed() {
    let service = Service::quickstart();
    let (app, before) = (&service.app, position(&service.app));
    // While the writer waits, what is handed in will share a transaction.
    let (go_on, waits) = sync_channel::<()>(0);
    let waiting = WriteJob::once(move |_| {
        waits.recv().unwrap();
        Verdict::Rollback
    });
    app.store().submit(waiting, Box::new(|_| ()));
    let (tell, told) = sync_channel::<Result<Acknowledged, AppError>>(2);
    let said = |request: &Arc<KeyedRequest>| {
        let tell = tell.clone();
        let owner = Some("identity-team");
        let command = acknowledge("payments-ledger-monthly", "slack", owner, AckState::Acknowledged);
        app.for_request(Arc::clone(request))
            .acknowledge_later(command, move |end| tell.send(end).unwrap());
    };
    let first = request("ana", "k", b"a");
    said(&first);
    // Fails behind its first write, and time goes on until everything is done again.
    let clock = Arc::clone(&service.clock);
    let (tell_failed, failed) = sync_channel(1);
    app.store().sharing_later(
        move |tx| -> Result<(), StorageError> {
            clock.forward(5);
            let value = json!({"session_id": "spoiler"});
            tx.append(&NewRecord {
                value: &value,
                recorded_at: clock.now(),
                imported: true,
            })?;
            Err(StorageError::Busy)
        },
        move |end| tell_failed.send(end).unwrap(),
    );
    let begun = service.clock.now();
    said(&request("ana", "k", b"a"));
    go_on.send(()).unwrap();

    let answer = told.recv().unwrap().unwrap();
    let at = answer.acknowledgement.acknowledged_at;
    assert_eq!(at, begun.plus_minutes(5), "the second run's time");
    assert!(matches!(failed.recv().unwrap(), Err(StorageError::Busy)));
    let Err(AppError::GivenBefore(given)) = told.recv().unwrap() else {
        panic!("the same request in the same group is answered anew")
    };
    assert_eq!(position(app), before + 1);
    let stored = record(app, answer.acknowledgement.acknowledgement_id.as_str()).unwrap();
    assert_eq!(stored.position, before + 1);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&stored.json).unwrap(),
        answer.metadata
    );
    assert!(record(app, "spoiler").is_none());
    let until = at.plus_minutes(cavra_app::once::KEPT_HOURS * 60);
    assert_eq!(first.kept_until(), Some(until));
    assert_eq!(given.expires_at, until);
    let kept = app.given_text(&given, false).unwrap().0.whole(app).unwrap();
    assert_eq!(kept, serde_json::to_vec(&answer).unwrap());
}
