//! Signed packages: what they prove, and that no change of one goes unnoticed.

use std::sync::Arc;

use cavra_app::acknowledge::Undo;
use cavra_app::as_of::AsOf;
use cavra_app::package::StoredDocument;
use cavra_app::{AppError, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::id::AuditId;
use cavra_domain::route::{Cycles, FilterTerms, RouteFilter};
use cavra_evidence::digest::Digest;
use cavra_evidence::dsse::{Base64Pieces, Envelope, seal};
use cavra_evidence::merkle::{MemoryNodes, inclusion_proof, leaf_hash, root};
use cavra_evidence::note::{Checkpoint, Note, SigningKey, VerifierKey};
use cavra_evidence::package::{
    KeyEntry, KeyHistory, PAYLOAD_TYPE, PackedConsistency, Payload, Scope, Signer,
};
use cavra_evidence::verify::{CheckName, Trust, Verdict, verify, verify_with};
use cavra_storage::sqlite::SqliteStore;
use serde_json::{Value, json};

use super::judging::Judge;
use super::support::{
    Service, acknowledge, ana, everything, filter, package_text, position, quickstart_records, take, text,
};

pub(super) fn key(byte: u8) -> SigningKey {
    SigningKey::new("cavra.log/test", &[byte; 32]).unwrap()
}

pub(super) fn service(signer: Option<Signer>) -> Service {
    let settings = Settings {
        signer: signer.map(Arc::new),
        ..Settings::default()
    };
    Service::over(Arc::new(SqliteStore::in_memory().unwrap()), settings)
}

pub(super) fn signed_by(byte: u8) -> Service {
    service(Some(Signer::new(key(byte), None).unwrap()))
}

/// A small store: the plans and answers of two schedules, and an answer of our own.
pub(super) fn fill(service: &Service) {
    let of = ["fraud-scoring-monthly", "search-index-weekly"];
    let records: Vec<Value> = quickstart_records()
        .into_iter()
        .filter(|record| of.iter().any(|schedule| record.to_string().contains(schedule)))
        .collect();
    assert!(records.len() > 8);
    take(&service.app, &json!({ "items": records }).to_string()).unwrap();
    service.clock.forward(5);
    let answer = acknowledge("fraud-scoring-monthly", "email", None, AckState::Acknowledged);
    service.app.acknowledge(answer).unwrap();
    service.clock.forward(5);
    // One that is taken back, so that verification has to follow it.
    let mistake = acknowledge("fraud-scoring-monthly", "email", None, AckState::Resolved);
    let mistake = service.app.acknowledge(mistake).unwrap();
    service.clock.forward(5);
    let taken_back = Undo {
        acknowledgement_id: mistake.acknowledgement.acknowledgement_id,
        reason: text("the wrong change number"),
        actor: ana(),
    };
    service.app.undo(taken_back).unwrap();
    service.clock.forward(5);
}

pub(super) fn fraud() -> RouteFilter {
    filter(FilterTerms {
        schedule_id: "fraud-scoring-monthly",
        ..FilterTerms::default()
    })
}

pub(super) fn made(service: &Service, filter: RouteFilter, cycles: Cycles) -> StoredDocument {
    service.clock.forward(1);
    service.app.export_package(filter, cycles, &ana()).unwrap()
}

pub(super) fn envelope(service: &Service, package: &StoredDocument) -> Vec<u8> {
    let signed = service.app.signed_package(package, None).unwrap();
    signed.into_text().unwrap().into_bytes()
}

pub(super) fn trusting(key: &VerifierKey) -> Trust<'_> {
    Trust { key: Some(key) }
}

pub(super) fn payload(envelope: &[u8]) -> Payload {
    serde_json::from_slice(&Envelope::parse(envelope).unwrap().payload).unwrap()
}

pub(super) fn sealed(payload: &Payload, key: Option<&SigningKey>) -> Vec<u8> {
    let mut out = Vec::new();
    seal(PAYLOAD_TYPE, &payload.to_text().unwrap(), key, &mut out).unwrap();
    out
}

#[test]
fn packages_of_every_scope_are_verified() {
    let service = signed_by(1);
    fill(&service);
    let public = key(1).verifier();
    let owner = filter(FilterTerms {
        owner: "release",
        state: "outstanding",
        ..FilterTerms::default()
    });
    let suppressed = filter(FilterTerms {
        action: "suppress",
        ..FilterTerms::default()
    });
    let nothing = filter(FilterTerms {
        schedule_id: "unknown",
        ..FilterTerms::default()
    });
    for (scope, cycles, expected) in [
        (everything(), Cycles::Current, Scope::Whole),
        (everything(), Cycles::All, Scope::Whole),
        (suppressed, Cycles::All, Scope::Whole),
        (fraud(), Cycles::Current, Scope::Filtered),
        (owner, Cycles::All, Scope::Filtered),
        (nothing, Cycles::Current, Scope::Filtered),
    ] {
        let package = made(&service, scope, cycles);
        let text = envelope(&service, &package);
        let found = verify(&text, trusting(&public));
        assert_eq!(found.failure, None);
        assert_eq!((found.verdict, found.scope), (Verdict::Verified, Some(expected)));
        assert_eq!(found.tree_size, Some(package.position));
        assert_eq!(envelope(&service, &package), text, "the same bytes each time");
        assert_eq!(
            payload(&text).audit_package.as_bytes(),
            package_text(&service.app, &package)
        );
    }
}

/// What is no public key, as points by their first and their other bytes: the neutral point, under which the signature
/// `B, 1` fits any message, another spelling of the point with `y = 3`, and what is no point.
const NO_KEYS: [(&str, [u8; 3]); 3] = [
    ("neutral", [1, 0, 0]),
    ("spelling", [0xf0, 0xff, 0x7f]),
    ("no-point", [2, 0, 0]),
];

fn base64(bytes: &[u8]) -> String {
    let mut pieces = Base64Pieces::default();
    pieces.push(bytes) + &pieces.finish()
}

/// A package under a key that has no private half: its first, its middle and its last byte are given.
fn signed_by_anybody(payload: &Payload, [first, middle, last]: [u8; 3]) -> Vec<u8> {
    let name = "cavra.log/test";
    let mut public = [middle; 32];
    (public[0], public[31]) = (first, last);
    let bytes = [&[1], public.as_slice()].concat();
    let hash = Digest::of([name.as_bytes(), b"\n", &bytes].concat()).to_hex();
    let id = format!("{name}+{}", &hash[..8]);
    // The base point and the number 1.
    let mut signature = [0x66; 64];
    signature[0] = 0x58;
    signature[32..].fill(0);
    signature[32] = 1;
    let mut signed = payload.clone();
    signed.keys = vec![KeyEntry {
        key: format!("{id}+{}", base64(&bytes)),
        endorsement: None,
    }];
    let text = Note::parse(&payload.checkpoint).unwrap().text;
    let key_hash: Vec<u8> = (0..4)
        .map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let line = base64(&[key_hash.as_slice(), &signature].concat());
    signed.checkpoint = format!("{text}\n— {name} {line}\n");
    let envelope = json!({
        "payload": base64(&signed.to_text().unwrap()), "payloadType": PAYLOAD_TYPE,
        "signatures": [{ "keyid": id, "sig": base64(&signature) }],
    });
    envelope.to_string().into_bytes()
}

#[test]
fn without_a_key_packages_say_that_they_are_unsigned() {
    let service = service(None);
    fill(&service);
    let text = envelope(&service, &made(&service, everything(), Cycles::Current));
    let found = verify(&text, Trust::default());
    assert_eq!(
        (found.verdict, &found.signed_by),
        (Verdict::ConsistentOnly, &None)
    );
    let mut judge = Judge::new("unsigned", &[], |package| verify(package, Trust::default()));
    judge.judge("unsigned", &text, true);
    // Signed after all, with a key that it does not name.
    judge.judge("signed", &sealed(&payload(&text), Some(&key(1))), false);
    let other = signed_by(1);
    let of_a_key = envelope(&other, &made(&other, everything(), Cycles::Current));
    judge.judge("of-a-key", &of_a_key, true);
    for (name, public) in NO_KEYS {
        let everybodys = signed_by_anybody(&payload(&of_a_key), public);
        let failure = judge.judge(name, &everybodys, false).failure.unwrap();
        assert_eq!(failure.check, CheckName::Keys, "{name}");
    }
    judge.finish();
    let asked = verify(&text, trusting(&key(1).verifier()));
    assert_eq!(asked.failure.unwrap().check, CheckName::Signature);
}

#[test]
fn a_rotated_key_is_trusted_through_the_old_one_and_not_through_another() {
    let history = KeyHistory::first(&key(1).verifier());
    let history = history.rotated(&key(1), &key(2).verifier(), super::support::noon());
    let service = service(Some(Signer::new(key(2), Some(history)).unwrap()));
    fill(&service);
    let text = envelope(&service, &made(&service, everything(), Cycles::Current));
    for (byte, verdict) in [
        (1, Verdict::Verified),
        (2, Verdict::Verified),
        (3, Verdict::Failed),
    ] {
        assert_eq!(
            verify(&text, trusting(&key(byte).verifier())).verdict,
            verdict,
            "{byte}"
        );
    }
}

#[test]
fn an_earlier_package_shows_that_nothing_was_rewritten_since() {
    let service = signed_by(1);
    fill(&service);
    let public = key(1).verifier();
    let first = envelope(&service, &made(&service, fraud(), Cycles::Current));
    let second = envelope(&service, &made(&service, fraud(), Cycles::Current));
    let whole = envelope(&service, &made(&service, everything(), Cycles::Current));
    for (now, before) in [
        (&second, &first),
        (&whole, &first),
        (&whole, &second),
        (&first, &first),
    ] {
        let found = verify_with(now, Some(before), trusting(&public));
        assert_eq!(found.failure, None);
        assert!(found.passed.contains(&CheckName::Consistency));
    }
    let backwards = verify_with(&first, Some(&second), trusting(&public))
        .failure
        .unwrap();
    assert_eq!(backwards.check, CheckName::Consistency);
    // The same key, and a log with another past.
    let other = signed_by(1);
    take(
        &other.app,
        &json!({ "items": &quickstart_records()[..3] }).to_string(),
    )
    .unwrap();
    fill(&other);
    let mut wrong = Vec::new();
    for scope in [fraud(), everything()] {
        let elsewhere = envelope(&other, &made(&other, scope, Cycles::Current));
        let rewritten = verify_with(&elsewhere, Some(&first), trusting(&public))
            .failure
            .unwrap();
        assert_eq!(rewritten.check, CheckName::Consistency, "{rewritten:?}");
        wrong.push(elsewhere);
    }
    // The proof is another, or it is not there.
    for change in [
        |proofs: &mut Vec<PackedConsistency>| proofs.clear(),
        |proofs: &mut Vec<PackedConsistency>| proofs.last_mut().unwrap().proof.truncate(1),
        |proofs: &mut Vec<PackedConsistency>| proofs.last_mut().unwrap().proof.push(Digest::of("x")),
        |proofs: &mut Vec<PackedConsistency>| proofs.last_mut().unwrap().proof[0] = Digest::of("x"),
        |proofs: &mut Vec<PackedConsistency>| proofs.last_mut().unwrap().size -= 1,
    ] {
        let mut changed = payload(&second);
        change(&mut changed.consistency);
        wrong.push(sealed(&changed, Some(&key(1))));
    }
    let mut judge = Judge::new("previous", &[("key.pub", &public)], |package| {
        verify_with(package, Some(&first), trusting(&public))
    });
    for (name, package) in [("earlier", &first), ("filtered", &second), ("whole", &whole)] {
        judge.judge(name, package, true);
    }
    for (number, package) in wrong.iter().enumerate() {
        judge.judge(&format!("wrong-{number}"), package, false);
    }
    judge.finish();
}

#[test]
fn a_proof_for_any_earlier_size_may_be_asked_for() {
    let service = signed_by(1);
    fill(&service);
    let package = made(&service, fraud(), Cycles::Current);
    let signed = service
        .app
        .signed_package(&package, Some(3))
        .unwrap()
        .into_text()
        .unwrap();
    let proofs = payload(signed.as_bytes()).consistency;
    assert!(
        proofs
            .iter()
            .any(|proof| proof.size == 3 && !proof.proof.is_empty())
    );
    for size in [0, package.position + 1] {
        let refused = service.app.signed_package(&package, Some(size)).unwrap_err();
        assert!(matches!(refused, AppError::NoSuchSize { .. }));
    }
}

#[test]
fn a_package_made_elsewhere_is_not_signed_here() {
    let service = signed_by(1);
    take(
        &service.app,
        &json!({ "items": quickstart_records() }).to_string(),
    )
    .unwrap();
    let package = service
        .app
        .package(&AuditId::parse("gordackaudit-2f759d2f334d6962").unwrap())
        .unwrap();
    let refused = service.app.signed_package(&package, None).unwrap_err();
    assert!(matches!(refused, AppError::NotOurs(_)), "{refused}");
}

#[test]
fn what_a_witness_signs_is_served_under_the_checkpoint_that_it_saw() {
    let service = signed_by(1);
    fill(&service);
    let size = position(&service.app);
    let note = service.app.checkpoint(None).unwrap();
    let text = cavra_evidence::note::Note::parse(&note).unwrap().text;
    let witness = SigningKey::new("witness.example.org", &[5; 32]).unwrap();
    let line = witness.cosign(&text, 1_780_318_000);
    let cosigned = format!("{note}{line}\n");
    // It has to be signed by each witness that is named, and be a checkpoint of this log.
    let stranger = SigningKey::new("stranger", &[6; 32]).unwrap();
    assert!(
        service
            .app
            .add_cosignatures(&cosigned, &key(1).verifier(), &[stranger.witness()])
            .is_err()
    );
    assert!(
        service
            .app
            .add_cosignatures(&cosigned, &key(1).verifier(), &[witness.verifier()])
            .is_err()
    );
    let forged = text.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size - 1), 1);
    let forged = format!(
        "{}{}\n",
        key(1).note(&forged),
        witness.cosign(&forged, 1_780_318_000)
    );
    assert!(
        service
            .app
            .add_cosignatures(&forged, &key(1).verifier(), &[witness.witness()])
            .is_err()
    );
    // What a witness signs has the log's name in it: one of another name would never fit.
    let renamed = SigningKey::new("cavra.log/other", &[1; 32]).unwrap();
    let other = text.replacen("cavra.log/test", "cavra.log/other", 1);
    let elsewhere = format!(
        "{}{}\n",
        renamed.note(&other),
        witness.cosign(&other, 1_780_318_000)
    );
    for log in [renamed.verifier(), key(1).verifier(), witness.witness()] {
        assert!(
            service
                .app
                .add_cosignatures(&elsewhere, &log, &[witness.witness()])
                .is_err()
        );
    }
    assert_eq!(
        service.app.checkpoint(Some(size)).unwrap(),
        note,
        "nothing was kept"
    );

    assert_eq!(
        service
            .app
            .add_cosignatures(&cosigned, &key(1).verifier(), &[witness.witness()])
            .unwrap(),
        size
    );
    service.clock.forward(1);
    made(&service, fraud(), Cycles::Current);
    let served = service.app.checkpoint(Some(size)).unwrap();
    assert_eq!(served, cosigned);
    let served = cavra_evidence::note::Note::parse(&served).unwrap();
    assert_eq!(served.verify(&witness.witness()), Ok(Some(1_780_318_000)));
    assert!(
        !service.app.checkpoint(None).unwrap().contains("witness"),
        "it saw another size"
    );
}

/// A generator of numbers that is the same everywhere (`SplitMix64`).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// Changes one character of a text for another.
pub(super) fn flip(text: &mut String, numbers: &mut Numbers) {
    let at = numbers.below(text.chars().count());
    *text = text
        .chars()
        .enumerate()
        .map(|(place, char)| match char {
            _ if place != at => char,
            '7' => '8',
            _ => '7',
        })
        .collect();
}

/// A change of a package's content.
fn edit(payload: &mut Payload, others: &[Payload], numbers: &mut Numbers) {
    let other = &others[numbers.below(others.len())];
    let record = numbers.below(payload.records.len());
    match numbers.below(16) {
        0 => flip(&mut payload.audit_package, numbers),
        1 => flip(&mut payload.records[record].record, numbers),
        2 => flip(&mut payload.records[record].leaf, numbers),
        3 => flip(&mut payload.checkpoint, numbers),
        // A row dropped, reordered, duplicated; the tail cut.
        4 => drop(payload.records.remove(record)),
        5 => {
            let to = (record + 1) % payload.records.len();
            payload.records.swap(record, to);
        }
        6 => payload.records.push(payload.records[record].clone()),
        7 => payload.records.truncate(record),
        // A time or a filter edited.
        8 => payload.audit_package = payload.audit_package.replacen("2026-06", "2026-05", 1),
        9 => {
            payload.audit_package =
                payload
                    .audit_package
                    .replacen("\"action\":\"deliver\"", "\"action\":\"suppress\"", 1);
        }
        10 => {
            let leaf = &mut payload.records[record].leaf;
            *leaf = leaf.replacen("\"imported\":true", "\"imported\":false", 1);
            flip(leaf, numbers);
        }
        // Parts of another log.
        11 => payload.checkpoint.clone_from(&other.checkpoint),
        12 => payload.records[record].proof.push(Digest::of("x")),
        13 => payload.records.clone_from(&other.records),
        14 => payload.audit_package.clone_from(&other.audit_package),
        _ => {
            payload.checkpoint.clone_from(&other.checkpoint);
            payload.manifest = other.manifest.clone();
        }
    }
}

/// A package that is not the one it was made from. Nobody but the service has the service's key.
fn mutation(envelopes: &[Vec<u8>], payloads: &[Payload], numbers: &mut Numbers) -> Vec<u8> {
    let which = numbers.below(envelopes.len());
    let envelope = &envelopes[which];
    let mut changed = envelope.clone();
    match numbers.below(5) {
        // A bit of the file.
        0 => {
            let at = numbers.below(changed.len());
            changed[at] ^= 1 << numbers.below(8);
        }
        // Its tail is gone.
        1 => changed.truncate(numbers.below(envelope.len())),
        more => {
            let others: Vec<Payload> = payloads
                .iter()
                .enumerate()
                .filter(|(place, _)| *place != which)
                .map(|(_, payload)| payload.clone())
                .collect();
            let mut payload = payloads[which].clone();
            edit(&mut payload, &others, numbers);
            let forger = key(9);
            changed = match more {
                // The old signature is left on it.
                2 => {
                    let mut text = String::from_utf8(sealed(&payload, None)).unwrap();
                    let old = String::from_utf8(envelope.clone()).unwrap();
                    let signatures = &old[old.find("\"signatures\"").unwrap()..];
                    text.truncate(text.find("\"signatures\"").unwrap());
                    (text + signatures).into_bytes()
                }
                // The forger signs, and names the forger's key.
                3 => {
                    payload.keys = KeyHistory::first(&forger.verifier()).entries().to_vec();
                    sealed(&payload, Some(&forger))
                }
                // The service's own key has signed it: then the log itself has to tell.
                _ => sealed(&payload, Some(&key(1))),
            };
        }
    }
    changed
}

#[test]
fn ten_thousand_changes_of_packages_are_all_found() {
    let service = signed_by(1);
    fill(&service);
    let other = signed_by(1);
    take(
        &other.app,
        &json!({ "items": &quickstart_records()[..3] }).to_string(),
    )
    .unwrap();
    fill(&other);
    let envelopes = [
        envelope(&service, &made(&service, everything(), Cycles::Current)),
        envelope(&service, &made(&service, fraud(), Cycles::All)),
        envelope(&other, &made(&other, fraud(), Cycles::Current)),
    ];
    let payloads: Vec<Payload> = envelopes.iter().map(|envelope| payload(envelope)).collect();
    let public = key(1).verifier();
    let mut judge = Judge::new("changed", &[("key.pub", &public)], |package| {
        verify(package, trusting(&public))
    });
    for (number, envelope) in envelopes.iter().enumerate() {
        judge.judge(&format!("honest-{number}"), envelope, true);
    }
    let earlier = Some(AsOf::Position(6));
    let earlier = service
        .app
        .export_package_as_of(everything(), Cycles::All, &ana(), earlier)
        .unwrap();
    judge.judge("honest-as-of", &envelope(&service, &earlier), true);
    let mut numbers = Numbers(3);
    judge.changes(10_000, || {
        let changed = mutation(&envelopes, &payloads, &mut numbers);
        (!envelopes.contains(&changed)).then_some(changed)
    });
    judge.finish();
}

#[test]
fn the_log_is_served_as_tiles_and_bundles_that_lead_to_the_checkpoint() {
    let service = signed_by(1);
    take(
        &service.app,
        &json!({ "items": quickstart_records() }).to_string(),
    )
    .unwrap();
    let size = position(&service.app);
    let note = service.app.checkpoint(None).unwrap();
    let note = cavra_evidence::note::Note::parse(&note).unwrap();
    assert_eq!(note.verify(&key(1).verifier()), Ok(None));
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    let bundle = service.app.log_tile(&format!("entries/000.p/{size}")).unwrap();
    let hashes = service.app.log_tile(&format!("0/000.p/{size}")).unwrap();
    let (mut rest, mut leaves) = (bundle.as_slice(), Vec::new());
    while let [high, low, more @ ..] = rest {
        let (leaf, behind) = more.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        leaves.push(leaf_hash(leaf));
        rest = behind;
    }
    let joined: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
    assert_eq!(joined, hashes);
    let nodes = MemoryNodes::new(&leaves);
    assert_eq!(
        (checkpoint.size, root(&nodes, size).unwrap()),
        (size, checkpoint.root)
    );
    assert!(!inclusion_proof(&nodes, 7, size).unwrap().is_empty());
    for missing in [
        "0/000",
        "0/001.p/1",
        "1/000.p/1",
        "entries/000",
        "x",
        "0/000.p/0",
        "entries/000.p/185",
    ] {
        assert!(
            matches!(service.app.log_tile(missing), Err(AppError::Unknown { .. })),
            "{missing}"
        );
    }
    assert!(matches!(
        service.app.checkpoint(Some(size + 1)),
        Err(AppError::NoSuchSize { .. })
    ));
    assert!(service.app.checkpoint(Some(5)).unwrap().contains("\n5\n"));
}
