//! What is written, and what is not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use cavra_domain::evidence::EvidenceKind;
use cavra_domain::record::RecordError;
use cavra_evidence::canonical::canonical_value;
use cavra_evidence::digest::Digest;
use cavra_storage::sqlite::SqliteStore;
use cavra_storage::{Appended, StorageError, Store, Verdict};
use rusqlite::Connection;
use serde_json::json;

use super::support::{
    Ack, Place, append, append_one, decision, in_memory, log, noon, note, open, plan, position, quickstart,
    read, verdict, view, write,
};

#[test]
fn an_appended_record_is_canonical_json_with_its_digest_and_the_next_position() {
    let store = in_memory();
    let records = quickstart();
    append(&store, records.clone(), noon());
    let log = log(&store);
    assert_eq!(log.len(), 184);
    for (number, (stored, record)) in (1..).zip(log.iter().zip(&records)) {
        assert_eq!(stored.position, number);
        assert_eq!(stored.json, canonical_value(record).unwrap());
        assert_eq!(stored.sha256, Digest::of(stored.json.as_bytes()));
        assert_eq!(stored.session_id, record["session_id"].as_str().unwrap());
        assert_eq!(stored.recorded_at, noon());
        assert!(stored.imported);
    }
}

#[test]
fn the_key_order_of_a_record_makes_no_other_record() {
    let store = in_memory();
    let (first, second) = (
        json!({"session_id": "n1", "created_at": noon(), "signer": "ana"}),
        json!({"signer": "ana", "created_at": noon(), "session_id": "n1"}),
    );
    append(&store, vec![first], noon());
    let again = write(&store, move |tx| append_one(tx, &second, noon())).unwrap();
    assert!(
        matches!(
            again,
            Appended::Unchanged {
                kind: EvidenceKind::Other(_)
            }
        ),
        "{again:?}"
    );
    assert_eq!(position(&store), 1);
}

#[test]
fn a_record_with_a_used_key_and_other_content_is_refused_and_the_job_may_go_on() {
    let store = in_memory();
    append(&store, vec![note("n1", noon())], noon());
    write(&store, |tx| {
        let other = append_one(tx, &note("n1", noon().plus_minutes(1)), noon());
        assert!(
            matches!(other, Err(StorageError::Conflict(ref id)) if id == "n1"),
            "{other:?}"
        );
        let unreadable = append_one(tx, &json!({"created_at": noon()}), noon());
        assert!(
            matches!(
                unreadable,
                Err(StorageError::Record(RecordError::Missing("session_id")))
            ),
            "{unreadable:?}"
        );
        append_one(tx, &note("n2", noon()), noon())
    })
    .unwrap();
    let ids: Vec<String> = log(&store).into_iter().map(|record| record.session_id).collect();
    assert_eq!(ids, ["n1", "n2"]);
}

#[test]
fn recording_times_never_fall_even_when_the_clock_does() {
    let store = in_memory();
    append(&store, vec![note("n1", noon())], noon());
    append(&store, vec![note("n2", noon())], noon().plus_micros(-1));
    append(&store, vec![note("n3", noon())], noon().plus_micros(1));
    let times: Vec<i64> = log(&store)
        .iter()
        .map(|record| record.recorded_at.micros_since(noon()))
        .collect();
    assert_eq!(times, [0, 0, 1]);
}

#[test]
fn a_failed_job_leaves_nothing() {
    let place = Place::new();
    let store = open(&place.file());
    append(
        store.as_ref(),
        vec![plan("s1", "p1", noon(), &[decision("slack", "ana", "deliver")])],
        noon(),
    );
    let before = (
        position(store.as_ref()),
        view(store.as_ref()),
        counters(store.as_ref()),
    );
    let failed = write(store.as_ref(), |tx| {
        append_one(
            tx,
            &plan(
                "s1",
                "p2",
                noon().plus_minutes(1),
                &[decision("jira", "bo", "deliver")],
            ),
            noon(),
        )?;
        append_one(tx, &answer("a1").record(), noon())?;
        assert_eq!(tx.state().head()?.position, 3, "the job sees what it has written");
        Err::<(), _>(StorageError::Conflict("on purpose".to_owned()))
    });
    assert!(matches!(failed, Err(StorageError::Conflict(_))), "{failed:?}");
    let after = (
        position(store.as_ref()),
        view(store.as_ref()),
        counters(store.as_ref()),
    );
    assert_eq!(before, after);
    assert_eq!(store.check(&mut |_| {}).unwrap().findings, []);
}

fn answer(id: &str) -> Ack<'_> {
    Ack {
        id,
        schedule: "s1",
        plan: None,
        provider: "slack",
        owner: None,
        said: "acknowledged",
        at: noon(),
    }
}

fn counters(store: &dyn Store) -> std::collections::BTreeMap<String, u64> {
    read(store, |tx| tx.counters()).unwrap()
}

/// Sends jobs from many threads while the writer is held up, so that they wait together and share commits.
#[test]
fn failed_and_panicking_jobs_take_nothing_of_their_neighbours_with_them() {
    const THREADS: usize = 48;
    const ROUNDS: usize = 6;
    let place = Place::new();
    let store = open(&place.file());
    for round in 0..ROUNDS {
        let (release, released) = channel::<()>();
        let (started, holding) = channel::<()>();
        let blocker = {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                verdict(store.as_ref(), Verdict::Rollback, move |_| {
                    started.send(()).unwrap();
                    released.recv().unwrap();
                })
            })
        };
        holding.recv().unwrap();
        let ready = Arc::new(Barrier::new(THREADS + 1));
        let sent = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (store, ready, sent) = (Arc::clone(&store), Arc::clone(&ready), Arc::clone(&sent));
                std::thread::spawn(move || {
                    ready.wait();
                    sent.fetch_add(1, Ordering::SeqCst);
                    write(store.as_ref(), move |tx| {
                        let id = format!("round-{round}-{number:02}");
                        append_one(tx, &note(&id, noon()), noon())?;
                        match number % 3 {
                            1 => Err(StorageError::Conflict(id)),
                            2 => panic!("on purpose"),
                            _ => Ok(number),
                        }
                    })
                })
            })
            .collect();
        ready.wait();
        while sent.load(Ordering::SeqCst) < THREADS {
            std::thread::yield_now();
        }
        release.send(()).unwrap();
        blocker.join().unwrap().unwrap();
        for (number, worker) in workers.into_iter().enumerate() {
            let result = worker.join().unwrap();
            match number % 3 {
                0 => assert!(matches!(result, Ok(told) if told == number), "{result:?}"),
                1 => assert!(matches!(result, Err(StorageError::Conflict(_))), "{result:?}"),
                _ => assert!(matches!(result, Err(StorageError::Panicked)), "{result:?}"),
            }
        }
    }
    let mut log: Vec<(u64, String)> = log(store.as_ref())
        .into_iter()
        .map(|record| (record.position, record.session_id))
        .collect();
    assert!(
        (1..)
            .zip(&log)
            .all(|(expected, (position, _))| *position == expected)
    );
    log.sort_by(|a, b| a.1.cmp(&b.1));
    let expected: Vec<String> = (0..ROUNDS)
        .flat_map(|round| {
            (0..THREADS)
                .step_by(3)
                .map(move |number| format!("round-{round}-{number:02}"))
        })
        .collect();
    let ids: Vec<String> = log.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, expected);
    assert_eq!(store.check(&mut |_| {}).unwrap().findings, []);
}

#[test]
fn the_writer_lives_on_after_a_panic() {
    let place = Place::new();
    for store in [in_memory(), SqliteStore::open(&place.file()).unwrap()] {
        let panicked = write(&store, |tx| -> Result<(), StorageError> {
            append_one(tx, &note("n1", noon()), noon())?;
            panic!("on purpose");
        });
        assert!(matches!(panicked, Err(StorageError::Panicked)), "{panicked:?}");
        append(&store, vec![note("n2", noon())], noon());
        let ids: Vec<String> = log(&store).into_iter().map(|record| record.session_id).collect();
        assert_eq!(ids, ["n2"]);
    }
}

#[test]
fn a_job_that_wants_a_rollback_is_no_error() {
    let store = in_memory();
    verdict(&store, Verdict::Rollback, |tx| {
        append_one(tx, &note("n1", noon()), noon()).unwrap();
    })
    .unwrap();
    verdict(&store, Verdict::Commit, |tx| {
        append_one(tx, &note("n2", noon()), noon()).unwrap();
    })
    .unwrap();
    assert_eq!(log(&store).len(), 1);
}

#[test]
fn recorded_evidence_cannot_be_updated_or_deleted() {
    let place = Place::new();
    let store = open(&place.file());
    append(store.as_ref(), vec![package_record()], noon());
    write(store.as_ref(), |tx| {
        tx.store_pieces(1, &mut std::iter::once(Ok(vec![1, 2, 3])))
    })
    .unwrap();
    drop(store);
    let connection = Connection::open(place.file()).unwrap();
    for statement in [
        "UPDATE evidence SET record = '{}'",
        "UPDATE evidence SET sha256 = x'00' WHERE position = 1",
        "DELETE FROM evidence",
        "UPDATE package_chunk SET bytes = x'00'",
        "DELETE FROM package_chunk WHERE piece = 0",
    ] {
        let refused = connection.execute(statement, []).unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
}

fn package_record() -> serde_json::Value {
    json!({
        "session_id": "gordackaudit-1",
        "created_at": noon(),
        "metadata_kind": "go-backend-rollback-drill-acknowledgement-audit-package",
        "acknowledgement_audit_package": {"audit_id": "gordackaudit-1"},
    })
}

#[test]
fn a_package_belongs_to_a_package_record_and_is_all_there_or_not_at_all() {
    let store = in_memory();
    append(&store, vec![note("n1", noon()), package_record()], noon());
    let stray = write(&store, |tx| tx.store_pieces(1, &mut std::iter::once(Ok(vec![1]))));
    assert!(matches!(stray, Err(StorageError::Corrupt(_))), "{stray:?}");
    let cut = write(&store, |tx| {
        let broken = std::io::Error::other("on purpose");
        tx.store_pieces(2, &mut [Ok(vec![1]), Err(broken)].into_iter())
    });
    assert!(matches!(cut, Err(StorageError::Input(_))), "{cut:?}");
    assert_eq!(read(&store, |tx| tx.piece(2, 0)).unwrap(), None);
    write(&store, |tx| {
        tx.store_pieces(2, &mut [Ok(vec![7]), Ok(vec![8, 9])].into_iter())
    })
    .unwrap();
    let pieces: Vec<_> = (0..3)
        .map(|piece| read(&store, |tx| tx.piece(2, piece)).unwrap())
        .collect();
    assert_eq!(pieces, [Some(vec![7]), Some(vec![8, 9]), None]);
}

#[test]
fn a_closed_writer_answers_what_was_sent_before_it_ends() {
    let place = Place::new();
    let store = open(&place.file());
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                append(store.as_ref(), vec![note(&format!("n{number}"), noon())], noon());
            })
        })
        .collect();
    drop(store);
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(log(open(&place.file()).as_ref()).len(), 8);
}

#[test]
fn a_panic_in_a_read_costs_nobody_the_store() {
    let place = Place::new();
    for store in [in_memory(), SqliteStore::open(&place.file()).unwrap()] {
        for _ in 0..20 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                read(&store, |_| -> Result<(), StorageError> { panic!("on purpose") })
            }));
            assert!(
                matches!(panicked, Ok(Err(StorageError::Panicked))),
                "{panicked:?}"
            );
        }
        assert_eq!(position(&store), 0);
    }
}
