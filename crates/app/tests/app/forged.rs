//! Logs and packages that whoever holds the key has put together so that everything fits but the truth. Both verifiers
//! have to see it.

use std::fmt;
use std::sync::{Arc, Mutex};

use cavra_app::as_of::AsOf;
use cavra_app::package::StoredDocument;
use cavra_app::{AppError, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::route::Cycles;
use cavra_domain::time::Timestamp;
use cavra_evidence::canonical::canonical_value;
use cavra_evidence::digest::Digest;
use cavra_evidence::leaf::Leaf;
use cavra_evidence::merkle::{MemoryNodes, inclusion_proof, leaf_hash, root};
use cavra_evidence::note::{Checkpoint, SigningKey};
use cavra_evidence::package::{PackedRecord, Payload, Scope, Signer};
use cavra_evidence::verify::{CheckName, verify};
use cavra_storage::sqlite::SqliteStore;
use cavra_storage::{ReadTx, StorageError, Store, WriteEnd, WriteJob};
use serde_json::{Value, json};

use super::judging::Judge;
use super::signed::{envelope, fill, key, made, payload, sealed, signed_by, trusting};
use super::support::{Service, acknowledge, ana, everything, package_text, position};

fn leaf(text: &str) -> Leaf {
    serde_json::from_str(text).unwrap()
}

/// A log and a package that somebody who holds the key has put together anew after an edit: everything fits, but
/// what the evidence says.
fn forged(payload: &Payload, edit: impl FnOnce(&mut Payload, &mut Value), key: &SigningKey) -> Vec<u8> {
    let mut forged = payload.clone();
    let mut package: Value = serde_json::from_str(&payload.audit_package).unwrap();
    edit(&mut forged, &mut package);
    forged.audit_package = package.to_string();
    let own = forged.records.last_mut().unwrap();
    let mut record: Value = serde_json::from_str(&own.record).unwrap();
    let summary = &mut record["acknowledgement_audit_package"];
    summary["package_sha256"] = json!(Digest::of(&forged.audit_package));
    summary["package_bytes"] = json!(forged.audit_package.len());
    own.record = canonical_value(&record).unwrap();
    let mut own_leaf = leaf(&own.leaf);
    own_leaf.sha256 = Digest::of(&own.record);
    own.leaf = own_leaf.text();
    let mut leaves: Vec<(u64, Digest)> = forged
        .records
        .iter()
        .map(|record| &record.leaf)
        .chain(&forged.leaves)
        .map(|text| (leaf(text).position, leaf_hash(text)))
        .collect();
    leaves.sort();
    let hashes: Vec<Digest> = leaves.iter().map(|(_, hash)| *hash).collect();
    let nodes = MemoryNodes::new(&hashes);
    let count = |count: usize| u64::try_from(count).unwrap();
    forged.manifest.tree_size = own_leaf.position;
    forged.manifest.root = root(&nodes, own_leaf.position).unwrap();
    forged.manifest.package_sha256 = Digest::of(&forged.audit_package);
    forged.manifest.package_bytes = count(forged.audit_package.len());
    forged.manifest.record_count = count(forged.records.len());
    forged.manifest.leaf_count = count(forged.leaves.len());
    if forged.manifest.scope == Scope::Filtered {
        // Whoever holds the log has all of its leaves, not only those of the package.
        assert_eq!(hashes.len(), forged.records.len());
        for packed in &mut forged.records {
            packed.proof =
                inclusion_proof(&nodes, leaf(&packed.leaf).position - 1, own_leaf.position).unwrap();
        }
    }
    let checkpoint = Checkpoint {
        origin: key.verifier().name().to_owned(),
        size: forged.manifest.tree_size,
        root: forged.manifest.root,
    };
    forged.checkpoint = key.note(&checkpoint.text());
    sealed(&forged, Some(key))
}

type Edit = fn(&mut Value);

/// What whoever holds the key might want to hide in a package of the whole population, and where it shows.
const HIDDEN: [(&str, Edit, CheckName); 10] = [
    (
        "a route is left out",
        |package| drop(package["routes"].as_array_mut().unwrap().remove(0)),
        CheckName::Routes,
    ),
    (
        "a route comes twice",
        |package| {
            let routes = package["routes"].as_array_mut().unwrap();
            routes.push(routes[0].clone());
        },
        CheckName::Routes,
    ),
    (
        "a state is another",
        |package| package["routes"][0]["acknowledgement_state"] = json!("resolved"),
        CheckName::Routes,
    ),
    (
        "a breach is hidden",
        |package| {
            let routes = package["routes"].as_array_mut().unwrap();
            let breached = routes
                .iter_mut()
                .find(|route| route["breached"] == json!(true))
                .unwrap();
            breached["breached"] = json!(false);
        },
        CheckName::Routes,
    ),
    (
        "a count is smaller",
        |package| package["breached_count"] = json!(0),
        CheckName::Counts,
    ),
    (
        "more is known",
        |package| package["population"]["known"] = json!(1000),
        CheckName::Counts,
    ),
    (
        "the time is another",
        |package| package["generated_at"] = json!("2026-01-01T00:00:00.000000Z"),
        CheckName::Routes,
    ),
    (
        "the time is later",
        |package| package["generated_at"] = json!("2026-06-02T00:00:00.000000Z"),
        CheckName::Routes,
    ),
    (
        "breached is a number",
        |package| package["filters"]["breached"] = json!(1),
        CheckName::Package,
    ),
    (
        "the filter is another",
        |package| package["filters"]["action"] = json!("suppress"),
        CheckName::Routes,
    ),
];

/// The story that is told twice: in `told` the last answer is there, in the other service it never came.
struct Twins {
    told: Service,
    untold: Service,
}

impl Twins {
    fn new() -> Self {
        let twins = Self {
            told: signed_by(1),
            untold: signed_by(1),
        };
        fill(&twins.told);
        fill(&twins.untold);
        twins.later(60);
        twins
    }

    fn later(&self, minutes: u32) {
        self.told.clock.forward(minutes);
        self.untold.clock.forward(minutes);
    }

    /// The last answer, for one of them.
    fn answer(&self) {
        let answer = acknowledge("search-index-weekly", "slack", None, AckState::Escalated);
        self.told.app.acknowledge(answer).unwrap();
    }

    /// What the service that knows nothing of the last answer says, in the log of the other one.
    fn hidden(&self, payload: &Payload, package: &StoredDocument) -> Vec<u8> {
        let text = package_text(&self.untold.app, package);
        forged(
            payload,
            |forged, said| {
                let audit_id = said["audit_id"].clone();
                *said = serde_json::from_slice(&text).unwrap();
                said["audit_id"] = audit_id;
                let until = said["evidence"]["log_position"].as_u64().unwrap();
                let (hidden, shown): (Vec<_>, Vec<_>) = std::mem::take(&mut forged.records)
                    .into_iter()
                    .partition(|record| {
                        let leaf = leaf(&record.leaf);
                        leaf.is_route_evidence() && leaf.position > until
                    });
                assert_eq!(hidden.len(), 1);
                forged.records = shown;
                forged.leaves.extend(hidden.into_iter().map(|record| record.leaf));
            },
            &key(1),
        )
    }
}

fn as_of(service: &Service, moment: AsOf) -> StoredDocument {
    service
        .app
        .export_package_as_of(everything(), Cycles::All, &ana(), Some(moment))
        .unwrap()
}

#[test]
fn whoever_holds_the_key_cannot_hide_anything_of_the_whole_population() {
    let public = key(1).verifier();
    let mut judge = Judge::new("forged", &[("key.pub", &public)], |package| {
        verify(package, trusting(&public))
    });
    let service = signed_by(1);
    fill(&service);
    let honest = payload(&envelope(
        &service,
        &made(&service, everything(), Cycles::Current),
    ));
    judge.judge("nothing", &forged(&honest, |_, _| (), &key(1)), true);
    for (number, (what, edit, check)) in HIDDEN.into_iter().enumerate() {
        let package = forged(&honest, |_, package| edit(package), &key(1));
        let found = judge.judge(&format!("hidden-{number}"), &package, false);
        assert_eq!(found.failure.unwrap().check, check, "{what}");
    }
    let mut found = |name: &str, package: &[u8]| {
        let failure = judge.judge(name, package, false).failure.unwrap();
        (failure.check, failure.element)
    };

    // The last answer came an hour ago and is left out, of now and of an earlier moment; or the package is of then.
    let twins = Twins::new();
    let before = as_of(&twins.untold, AsOf::Time(twins.untold.app.now()));
    twins.later(60);
    twins.answer();
    twins.later(30);
    let between = twins.untold.app.now();
    twins.later(30);
    let told = made(&twins.told, everything(), Cycles::All);
    let untold = made(&twins.untold, everything(), Cycles::All);
    let whole = payload(&envelope(&twins.told, &told));
    let answer = format!("record {}", told.position - 1);
    assert_eq!(
        found("left-out", &twins.hidden(&whole, &untold)),
        (CheckName::Routes, answer.clone())
    );
    let untold = as_of(&twins.untold, AsOf::Time(between));
    assert_eq!(
        found("left-out-of-then", &twins.hidden(&whole, &untold)),
        (CheckName::Routes, answer.clone())
    );
    assert_eq!(
        found("made-then", &twins.hidden(&whole, &before)),
        (CheckName::Routes, "generated_at".to_owned())
    );

    // An earlier moment that is none.
    let then = payload(&envelope(&service, &as_of(&service, AsOf::Position(6))));
    for (name, key_of, value, element) in [
        (
            "before-its-evidence",
            "at",
            json!("2026-01-01T00:00:00.000000Z"),
            "record 1",
        ),
        ("ahead", "at", json!("2027-01-01T00:00:00.000000Z"), "as_of"),
        ("before-its-position", "log_position", json!(0), "as_of"),
    ] {
        let package = forged(&then, |_, package| package["as_of"][key_of] = value, &key(1));
        assert_eq!(
            found(name, &package),
            (CheckName::Routes, element.to_owned()),
            "{name}"
        );
    }
    let package = forged(&then, |_, package| package["as_of"] = Value::Null, &key(1));
    assert_eq!(
        found("no-moment", &package),
        (CheckName::Routes, "routes".to_owned())
    );

    // Times that fall in the log, and a record that is in it twice.
    let later = Timestamp::parse("2026-06-01T12:01:00Z").unwrap();
    let falls = |forged: &mut Payload, _: &mut Value| {
        let mut changed = leaf(&forged.records[2].leaf);
        changed.recorded_at = later;
        forged.records[2].leaf = changed.text();
    };
    let position = leaf(&honest.records[2].leaf).position;
    assert_eq!(
        found("time-falls", &forged(&honest, falls, &key(1))),
        (CheckName::Records, format!("leaf {}", position + 1))
    );
    let twice = |forged: &mut Payload, _: &mut Value| {
        let mut own = forged.records.pop().unwrap();
        let mut moved = leaf(&own.leaf);
        let mut again: PackedRecord = forged.records[0].clone();
        let mut copy = leaf(&again.leaf);
        (copy.position, copy.recorded_at) = (moved.position, moved.recorded_at);
        again.leaf = copy.text();
        moved.position += 1;
        own.leaf = moved.text();
        forged.records.extend([again, own]);
    };
    assert_eq!(
        found("twice", &forged(&honest, twice, &key(1))),
        (
            CheckName::Records,
            format!("record {}", honest.manifest.tree_size)
        )
    );
    judge.finish();
}

/// A store in which somebody else is quicker: what is to be written waits until that is done.
struct Quicker {
    store: Arc<SqliteStore>,
    first: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for Quicker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Quicker")
    }
}

impl Store for Quicker {
    fn read(&self, job: &mut dyn FnMut(&dyn ReadTx)) -> Result<(), StorageError> {
        self.store.read(job)
    }

    fn read_as_of(&self, position: u64, job: &mut dyn FnMut(&dyn ReadTx)) -> Result<(), StorageError> {
        self.store.read_as_of(position, job)
    }

    fn submit(&self, job: WriteJob, end: WriteEnd) {
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            first();
        }
        self.store.submit(job, end);
    }
}

#[test]
fn a_package_during_which_others_wrote_for_long_is_not_stored() {
    for (minutes, stored) in [(5, true), (6, false)] {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let quicker = Arc::new(Quicker {
            store: store.clone(),
            first: Mutex::new(None),
        });
        let settings = || Settings {
            signer: Some(Arc::new(Signer::new(key(1), None).unwrap())),
            ..Settings::default()
        };
        let service = Service::over(quicker.clone(), settings());
        fill(&service);
        let other = Service::over(store, settings());
        other.clock.set(service.app.now().plus_minutes(minutes));
        *quicker.first.lock().unwrap() = Some(Box::new(move || {
            let answer = acknowledge("search-index-weekly", "slack", None, AckState::Escalated);
            other.app.acknowledge(answer).unwrap();
        }));
        let before = position(&service.app);
        let made = service.app.export_package(everything(), Cycles::All, &ana());
        if stored {
            let public = key(1).verifier();
            let found = verify(&envelope(&service, &made.unwrap()), trusting(&public));
            assert_eq!((found.failure, found.meanwhile_count), (None, 1));
        } else {
            let busy = AppError::Storage(StorageError::Busy);
            assert_eq!(made.unwrap_err().to_string(), busy.to_string());
            assert_eq!(position(&service.app), before + 1, "only the answer");
            made_again(&service);
        }
    }
}

/// Asked for again, it is made.
fn made_again(service: &Service) {
    service.clock.forward(10);
    let package = made(service, everything(), Cycles::All);
    let public = key(1).verifier();
    let found = verify(&envelope(service, &package), trusting(&public));
    assert_eq!((found.failure, found.meanwhile_count), (None, 0));
}

#[test]
fn what_was_being_recorded_while_a_package_was_made_is_counted() {
    let twins = Twins::new();
    twins.answer();
    let told = made(&twins.told, everything(), Cycles::All);
    let untold = made(&twins.untold, everything(), Cycles::All);
    let whole = payload(&envelope(&twins.told, &told));
    let public = key(1).verifier();
    let found = verify(&twins.hidden(&whole, &untold), trusting(&public));
    assert_eq!((found.failure, found.meanwhile_count), (None, 1));
    let found = verify(&envelope(&twins.told, &told), trusting(&public));
    assert_eq!((found.failure, found.meanwhile_count), (None, 0));
    // What came after an earlier moment is not meant.
    let earlier = as_of(&twins.told, AsOf::Position(3));
    let found = verify(&envelope(&twins.told, &earlier), trusting(&public));
    assert_eq!((found.failure, found.meanwhile_count), (None, 0));
}
