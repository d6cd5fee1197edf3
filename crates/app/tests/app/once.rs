//! The same request again, below HTTP.

use std::sync::Arc;

use cavra_app::once::{KeyedRequest, RequestDigest};
use cavra_app::{App, AppError};
use cavra_domain::acknowledgement::AckState;

use super::support::{Service, acknowledge, position};

fn keyed(app: &App, caller: &str, key: &str, asked: &[u8]) -> App {
    let mut digest = RequestDigest::default();
    digest.part(asked);
    app.for_request(Arc::new(KeyedRequest::new(
        caller.to_owned(),
        "acknowledge",
        key.to_owned(),
        digest,
    )))
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
