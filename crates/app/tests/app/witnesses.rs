//! What witnesses have signed, inside packages: it is carried, checked, and no change of it goes unnoticed.

use std::fmt::{Display, Write as _};

use cavra_app::acknowledge::Acknowledge;
use cavra_app::as_of::AsOf;
use cavra_domain::acknowledgement::AckState;
use cavra_domain::route::Cycles;
use cavra_evidence::digest::Digest;
use cavra_evidence::note::{Note, NoteSignature, SigningKey, VerifierKey};
use cavra_evidence::package::{PackedWitnessed, Payload};
use cavra_evidence::verify::{
    Asked, CLOCK_TOLERANCE_SECONDS, CheckName, Cosignature, Failure, Verdict, Verification, verify_asked,
};
use serde_json::json;

use super::judging::Judge;
use super::signed::{Numbers, envelope, fill, flip, fraud, key, made, payload, sealed, signed_by, trusting};
use super::support::{Service, acknowledge, ana, everything, position, quickstart_records, take};

fn witness(number: u8) -> SigningKey {
    SigningKey::new(&format!("witness-{number}.example.org"), &[100 + number; 32]).unwrap()
}

fn now(service: &Service) -> u64 {
    service.app.now().unix_millis() / 1_000
}

/// A witness signs the log as it is, or as it was at a size; gives the size.
fn cosign(service: &Service, witness: &SigningKey, size: Option<u64>) -> u64 {
    let note = service.app.checkpoint(size).unwrap();
    let text = Note::parse(&note).unwrap().text;
    let note = format!("{}{}\n", key(1).note(&text), witness.cosign(&text, now(service)));
    service
        .app
        .add_cosignatures(&note, &key(1).verifier(), &[witness.witness()])
        .unwrap()
}

/// One more line under a note.
fn under(note: &mut String, line: &impl Display) {
    writeln!(note, "{line}").unwrap();
}

fn answer() -> Acknowledge {
    acknowledge("fraud-scoring-monthly", "email", None, AckState::Escalated)
}

fn asking(envelope: &[u8], witnesses: &[VerifierKey], needed: Option<usize>) -> Verification {
    let log = key(1).verifier();
    let asked = Asked {
        trust: trusting(&log),
        witnesses,
        witnesses_needed: needed,
        ..Asked::default()
    };
    verify_asked(envelope.to_vec(), &asked)
}

fn failure(found: Verification) -> Failure {
    assert_eq!(
        (found.verdict, &found.cosignatures),
        (Verdict::Failed, &Vec::new())
    );
    found.failure.unwrap()
}

/// Who has seen which size, and whether that was checked.
fn seen(found: &Verification) -> Vec<(String, u64, bool)> {
    let of = |seen: &Cosignature| {
        let name = seen.witness.split('.').next().unwrap().to_owned();
        assert_eq!(seen.checked, seen.cosigned_at.is_some());
        (name, seen.tree_size, seen.checked)
    };
    found.cosignatures.iter().map(of).collect()
}

#[test]
fn a_package_carries_what_each_witness_signed_when_it_had_seen_the_evidence() {
    let (first, second) = (witness(1), witness(2));
    let both = [first.witness(), second.witness()];
    for scope in [everything(), fraud()] {
        let service = signed_by(1);
        fill(&service);
        let before = cosign(&service, &first, None);
        service.clock.forward(1);
        service.app.acknowledge(answer()).unwrap();
        let package = made(&service, scope, Cycles::Current);
        let fresh = envelope(&service, &package);
        assert_eq!(fresh, envelope(&service, &package), "the same bytes each time");
        // The witness has seen what came before the last answer, and that is not all.
        let found = asking(&fresh, &[], None);
        assert_eq!(found.failure, None);
        assert_eq!(seen(&found), [("witness-1".to_owned(), before, false)]);
        let late = failure(asking(&fresh, &both[..1], None));
        assert_eq!(
            (late.check, late.element),
            (CheckName::Witnesses, both[0].key_id())
        );
        assert!(late.problem.contains("came later"), "{}", late.problem);
        let none = failure(asking(&fresh, &both[1..], None));
        assert_eq!(none.element, both[1].key_id());
        assert!(none.problem.contains("no checkpoint"), "{}", none.problem);

        // One signs the log at the package, the other later: fetched again, the package carries both.
        service.clock.forward(1);
        cosign(&service, &first, Some(package.position));
        service.app.acknowledge(answer()).unwrap();
        service.clock.forward(1);
        let after = cosign(&service, &second, None);
        service.clock.forward(1);
        cosign(&service, &second, None);
        let fetched = envelope(&service, &package);
        let found = asking(&fetched, &both, None);
        assert_eq!(found.failure, None);
        assert!(found.passed.contains(&CheckName::Witnesses));
        assert_eq!(
            seen(&found),
            [
                ("witness-1".to_owned(), package.position, true),
                ("witness-2".to_owned(), after, true)
            ]
        );
        let carried = payload(&fetched);
        assert_eq!(carried.audit_package, payload(&fresh).audit_package);
        // An answer that has to stay as it was carries none of it.
        let kept = service.app.signed_package_for_good(&package, None).unwrap();
        let kept = kept.into_text().unwrap();
        assert!(asking(kept.as_bytes(), &[], None).cosignatures.is_empty());
    }
}

#[test]
fn a_package_of_an_earlier_moment_rests_on_what_was_signed_then() {
    let service = signed_by(1);
    fill(&service);
    let moment = position(&service.app);
    let then = cosign(&service, &witness(1), None);
    service.clock.forward(60);
    service.app.acknowledge(answer()).unwrap();
    cosign(&service, &witness(1), None);
    let package = service
        .app
        .export_package_as_of(everything(), Cycles::All, &ana(), Some(AsOf::Position(moment)))
        .unwrap();
    let found = asking(&envelope(&service, &package), &[witness(1).witness()], None);
    assert_eq!(found.failure, None);
    assert_eq!(seen(&found), [("witness-1".to_owned(), then, true)]);
}

#[test]
fn as_many_witnesses_as_are_needed_are_enough_and_a_wrong_one_never_is() {
    let service = signed_by(1);
    fill(&service);
    cosign(&service, &witness(1), None);
    let package = made(&service, everything(), Cycles::Current);
    let text = envelope(&service, &package);
    let witnesses = [witness(1).witness(), witness(2).witness()];
    assert_eq!(asking(&text, &witnesses, Some(1)).failure, None);
    assert_eq!(
        failure(asking(&text, &witnesses, None)).element,
        witnesses[1].key_id()
    );
    assert_eq!(
        failure(asking(&text, &witnesses, Some(2))).element,
        witnesses[1].key_id()
    );
    // Somebody signs in the second's name.
    let mut forged = payload(&text);
    let note = &mut forged.witnessed[0].checkpoint;
    let line = witness(2).cosign("something else\n", now(&service));
    under(note, &line);
    let wrong = failure(asking(&sealed(&forged, Some(&key(1))), &witnesses, Some(1)));
    assert_eq!(
        (wrong.check, wrong.element),
        (CheckName::Witnesses, witnesses[1].key_id())
    );
}

#[test]
fn nobody_has_seen_a_record_before_it_was_recorded() {
    let service = signed_by(1);
    fill(&service);
    // The last record came five minutes ago.
    let recorded = now(&service) - 300;
    cosign(&service, &witness(3), None);
    let package = made(&service, everything(), Cycles::Current);
    let honest = payload(&envelope(&service, &package));
    let text = Note::parse(&honest.witnessed[0].checkpoint).unwrap().text;
    let earliest = recorded - u64::from(CLOCK_TOLERANCE_SECONDS);
    for (seconds, right) in [
        (recorded, true),
        (earliest, true),
        (earliest - 1, false),
        (0, false),
        (253_402_300_800, false),
        (u64::MAX, false),
    ] {
        let mut changed = honest.clone();
        under(
            &mut changed.witnessed[0].checkpoint,
            &witness(1).cosign(&text, seconds),
        );
        let found = asking(&sealed(&changed, Some(&key(1))), &[witness(1).witness()], None);
        assert_eq!(
            found.verdict == Verdict::Verified,
            right,
            "{seconds}: {:?}",
            found.failure
        );
    }
}

/// A line of a note with one base64 character changed, out of so many from a place on. Six characters hold the key's
/// hash, ten more the time, the rest the signature.
fn changed(line: &str, from: usize, count: usize, numbers: &mut Numbers) -> String {
    let at = line.rfind(' ').unwrap() + 1 + from + numbers.below(count);
    let old = line.as_bytes()[at];
    let new = if old == b'A' { "B" } else { "A" };
    format!("{}{new}{}", &line[..at], &line[at + 1..])
}

/// One of the notes of a package that witnesses have signed.
fn note<'a>(payload: &'a mut Payload, numbers: &mut Numbers) -> &'a mut String {
    let at = numbers.below(payload.witnessed.len());
    &mut payload.witnessed[at].checkpoint
}

/// A change of what witnesses have signed in a package, after which not both are shown to have seen the evidence.
fn edit(payload: &mut Payload, other: &Payload, numbers: &mut Numbers) {
    let entry = numbers.below(payload.witnessed.len());
    // The log's own line, then a witness's.
    let place = payload.witnessed[entry]
        .checkpoint
        .trim_end()
        .rfind('\n')
        .unwrap()
        + 1;
    let line = payload.witnessed[entry].checkpoint[place..].trim_end().to_owned();
    let replace = |payload: &mut Payload, line: &str| {
        let note = &mut payload.witnessed[entry].checkpoint;
        note.truncate(place);
        *note += line;
        note.push('\n');
    };
    match numbers.below(16) {
        // The line, its time, its signature, or whose it is.
        0 => payload.witnessed[entry].checkpoint.truncate(place),
        1 => replace(payload, &changed(&line, 6, 10, numbers)),
        2 => replace(payload, &changed(&line, 16, 80, numbers)),
        3 => replace(payload, &changed(&line, 0, 5, numbers)),
        4 => {
            let encoded = line.rfind(' ').unwrap() + 1;
            replace(payload, &line[..encoded + 4 * numbers.below(25)]);
        }
        5 => {
            let mut name = NoteSignature::parse(&line).unwrap().name;
            flip(&mut name, numbers);
            let encoded = line.rsplit(' ').next().unwrap();
            replace(payload, &format!("— {name} {encoded}"));
        }
        6 => under(&mut payload.witnessed[entry].checkpoint, &line),
        // Somebody else signs in the witness's name.
        7 => {
            let name = NoteSignature::parse(&line).unwrap().name;
            let forger = SigningKey::new(&name, &[9; 32]).unwrap();
            let text = Note::parse(&payload.witnessed[entry].checkpoint).unwrap().text;
            replace(payload, &forger.cosign(&text, 1_780_400_000).to_string());
        }
        // The line stands under another checkpoint.
        8 => {
            payload.witnessed[entry].checkpoint.truncate(place);
            under(&mut payload.checkpoint, &line);
        }
        // The checkpoint, its place, its proof.
        9 => flip(note(payload, numbers), numbers),
        10 => drop(payload.witnessed.remove(entry)),
        11 => payload.witnessed.swap(0, 1),
        12 => payload.witnessed.push(payload.witnessed[entry].clone()),
        13 => {
            let proof = &mut payload.witnessed[entry].proof;
            match numbers.below(3) {
                0 => drop(proof.pop()),
                1 => proof[0] = Digest::of("x"),
                _ => proof.push(Digest::of("x")),
            }
        }
        // What was signed about another log.
        14 => payload.witnessed[entry] = other.witnessed[entry % other.witnessed.len()].clone(),
        _ => payload.witnessed.clone_from(&other.witnessed),
    }
}

/// A log of one past, and packages of it that two witnesses have seen: one before them, one after.
fn witnessed(service: &Service, from: u8) -> [Vec<u8>; 2] {
    fill(service);
    cosign(service, &witness(from), None);
    service.clock.forward(1);
    let whole = made(service, everything(), Cycles::Current);
    let filtered = made(service, fraud(), Cycles::All);
    service.app.acknowledge(answer()).unwrap();
    service.clock.forward(1);
    cosign(service, &witness(3 - from), None);
    [whole, filtered].map(|package| envelope(service, &package))
}

#[test]
fn every_change_of_what_witnesses_signed_is_found() {
    let service = signed_by(1);
    let envelopes = witnessed(&service, 1);
    let other = signed_by(1);
    take(
        &other.app,
        &json!({ "items": &quickstart_records()[..3] }).to_string(),
    )
    .unwrap();
    let elsewhere = payload(&witnessed(&other, 2)[0]);
    let payloads: Vec<Payload> = envelopes.iter().map(|envelope| payload(envelope)).collect();
    assert!(payloads.iter().all(|payload| payload.witnessed.len() == 2));
    let witnesses = [witness(1).witness(), witness(2).witness()];
    let log = key(1).verifier();
    let keys = [
        ("key.pub", &log),
        ("first.pub", &witnesses[0]),
        ("second.pub", &witnesses[1]),
    ];
    let mut judge = Judge::new("witnessed", &keys, |package| asking(package, &witnesses, None));
    for (number, envelope) in envelopes.iter().enumerate() {
        judge.judge(&format!("honest-{number}"), envelope, true);
    }
    // Somebody else has signed as well, whom nobody asked for.
    let mut strangers = payloads[0].clone();
    let text = Note::parse(&strangers.checkpoint).unwrap().text;
    under(&mut strangers.checkpoint, &witness(9).cosign(&text, 0));
    judge.judge("honest-2", &sealed(&strangers, Some(&key(1))), true);
    let mut numbers = Numbers(7);
    judge.changes(3_000, || {
        let which = numbers.below(payloads.len());
        let mut changed = payloads[which].clone();
        edit(&mut changed, &elsewhere, &mut numbers);
        (changed != payloads[which]).then(|| sealed(&changed, Some(&key(1))))
    });
    judge.finish();
}

#[test]
fn a_checkpoint_that_is_not_shown_to_be_of_the_log_is_found_also_when_nobody_asks() {
    let service = signed_by(1);
    let envelopes = witnessed(&service, 1);
    let mut changed = payload(&envelopes[0]);
    changed.witnessed[1].proof.pop();
    let found = failure(asking(&sealed(&changed, Some(&key(1))), &[], None));
    assert_eq!(
        (found.check, found.element.as_str()),
        (CheckName::Checkpoint, "witnessed[1]")
    );
    let own = PackedWitnessed {
        checkpoint: changed.checkpoint.clone(),
        proof: Vec::new(),
    };
    changed.witnessed = vec![own];
    let found = failure(asking(&sealed(&changed, Some(&key(1))), &[], None));
    assert_eq!(found.element, "witnessed[0]");
}
