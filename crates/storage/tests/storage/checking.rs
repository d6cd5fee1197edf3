//! The check finds what somebody has done to the file behind the service's back.

use std::sync::OnceLock;

use cavra_domain::acknowledgement::AckState;
use cavra_domain::actor::Actor;
use cavra_domain::audit_package::{AuditPackage, PackageDigest, PackageHeader, PackageInput, PackageRoute};
use cavra_domain::bulk::{BulkAnswer, BulkDocument, BulkMode, Selection, decide_bulk};
use cavra_domain::id::{AcknowledgementId, BulkId, IdSource, SequentialIds};
use cavra_domain::public_safe::Text;
use cavra_domain::route::{Cycles, RouteAction, RouteFilter};
use cavra_evidence::digest::Digest;
use cavra_storage::sqlite::{CheckReport, SqliteStore};
use cavra_storage::{Appended, NewRecord, RouteQuery, Store, pack};
use rusqlite::Connection;
use serde_json::Value;

use super::support::{Numbers, Place, append, log, noon, open, position, quickstart, read, routes, write};

/// The quickstart store, a bulk over everything that is outstanding, and a package of it.
fn filled() -> Place {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let place = Place::new();
        let store = open(&place.file());
        append(store.as_ref(), quickstart(), noon());
        bulk(store.as_ref());
        package(store.as_ref());
        drop(store);
        std::fs::read(place.file()).unwrap()
    });
    let place = Place::new();
    std::fs::write(place.file(), file).unwrap();
    place
}

fn own(store: &dyn Store, records: Vec<Value>) {
    write(store, move |tx| {
        for value in &records {
            let appended = tx.append(&NewRecord {
                value,
                recorded_at: noon(),
                imported: false,
            })?;
            assert!(matches!(appended, Appended::Recorded { .. }));
        }
        Ok(())
    })
    .unwrap();
}

fn bulk(store: &dyn Store) {
    bulk_of(store, 11);
}

/// Answers every outstanding route, of which there are at least so many.
fn bulk_of(store: &dyn Store, at_least: u64) {
    let ids = SequentialIds::default();
    let filter = RouteFilter {
        action: Some(RouteAction::Deliver),
        ..RouteFilter::default()
    };
    let selection = Selection::filtered(routes(store, &filter, Cycles::Current, noon()));
    let answer = BulkAnswer {
        bulk_id: BulkId::from_uuid(ids.next(noon())),
        said: AckState::Acknowledged,
        actor: Actor::local("acknowledged_by", "ana@example.org").unwrap(),
        at: noon(),
        external_ref: Text::empty(),
        notes: Text::empty(),
    };
    let decision = decide_bulk(&selection, &[], &answer, || {
        AcknowledgementId::from_uuid(ids.next(noon()))
    });
    assert!(decision.counts.changed_count >= at_least);
    let mut records: Vec<Value> = decision
        .acknowledgements
        .iter()
        .map(|document| document.record().into_value())
        .collect();
    let document = BulkDocument {
        schema_version: cavra_domain::bulk::BULK_SCHEMA,
        product: cavra_domain::evidence::PRODUCT,
        bulk_id: answer.bulk_id,
        acknowledgement_state: answer.said,
        acknowledged_by: answer.actor.actor.clone(),
        acknowledged_at: noon(),
        mode: BulkMode::BestEffort,
        filter: None,
        listed_count: None,
        external_ref: Text::empty(),
        notes: Text::empty(),
        counts: decision.counts,
        repeated_count: 0,
        selection_digest: "sha256:00".to_owned(),
        expected_digest: None,
        outcomes_sha256: Digest::of(b"[]").to_hex(),
        outcomes_bytes: 2,
        actor: answer.actor,
    };
    records.push(document.record().into_value());
    own(store, records);
    let at = position(store);
    write(store, move |tx| {
        tx.store_pieces(at, &mut std::iter::once(Ok(pack(b"[]"))))
    })
    .unwrap();
}

fn package(store: &dyn Store) {
    let filter = RouteFilter::default().or_deliver();
    let actor = Actor::local("generated_by", "ana@example.org").unwrap();
    let (header, entries) = read(store, |tx| {
        let header = PackageHeader::new(&PackageInput {
            filter: &filter,
            cycles: Cycles::Current,
            at: noon(),
            actor: &actor,
            counts: tx.count_routes(&filter, Cycles::Current, noon())?,
            acknowledgement_count: tx.count_acknowledgements(&filter, Cycles::Current, noon())?,
            population: tx.population(&filter, Cycles::Current, noon())?,
            evidence: tx.route_evidence()?,
        });
        let mut entries = Vec::new();
        tx.visit_histories(
            &RouteQuery::all(&filter, Cycles::Current, noon()),
            &mut |tracked, history| {
                entries.push(PackageRoute::new(&tracked, history, noon()));
                Ok(std::ops::ControlFlow::Continue(()))
            },
        )?;
        Ok((header, entries))
    })
    .unwrap();
    let text = AuditPackage {
        header: header.clone(),
        routes: entries,
    }
    .text();
    let digest = PackageDigest {
        sha256: Digest::of(text.as_bytes()).to_hex(),
        bytes: text.len() as u64,
        providers: vec!["slack".to_owned()],
    };
    own(store, vec![header.record(&digest).into_value()]);
    let at = position(store);
    let pieces: Vec<Vec<u8>> = text.as_bytes().chunks(20_000).map(pack).collect();
    assert!(!pieces.is_empty());
    write(store, move |tx| {
        tx.store_pieces(at, &mut pieces.into_iter().map(Ok))
    })
    .unwrap();
}

fn report(place: &Place) -> CheckReport {
    let store = SqliteStore::open_existing(&place.file()).unwrap();
    let mut told = 0;
    let report = store.check(&mut |position| told = position).unwrap();
    assert!(told > 0);
    report
}

/// Edits the file as somebody would who can write it: with the triggers out of the way, and put back afterwards.
fn edit(place: &Place, edits: &str) {
    let connection = Connection::open(place.file()).unwrap();
    let triggers: Vec<(String, String)> = connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    for (name, _) in &triggers {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    let before = connection.total_changes();
    connection.execute_batch(edits).unwrap();
    assert!(connection.total_changes() > before, "`{edits}` changed nothing");
    for (_, sql) in &triggers {
        connection.execute_batch(sql).unwrap();
    }
}

/// Does an edit to a filled store and gives what the check says about it, one finding per line.
fn found(edits: &str) -> String {
    let place = filled();
    edit(&place, edits);
    let report = report(&place);
    let lines: Vec<String> = report
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.place, finding.problem))
        .collect();
    lines.join("\n")
}

/// The edit is found, and nothing else is.
fn finds(edits: &str, expected: &[&str]) {
    let said = found(edits);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{edits}: {said}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{edits}: {line} is not `{expected}`");
    }
}

#[test]
fn an_untouched_store_is_clean() {
    let place = filled();
    let report = report(&place);
    assert_eq!(report.findings, []);
    assert_eq!(
        (report.record_count, report.package_count),
        (position(open(&place.file()).as_ref()), 2)
    );
    assert!(report.record_count > 184 + 10);
}

#[test]
fn a_new_store_is_clean() {
    let place = Place::new();
    let store = open(&place.file());
    let empty = CheckReport {
        log_root: Some(Digest::of([])),
        ..CheckReport::default()
    };
    assert_eq!(store.check(&mut |_| {}).unwrap(), empty);
}

#[test]
fn the_check_runs_beside_the_service() {
    let place = filled();
    let store = open(&place.file());
    let mut first = true;
    let report = store
        .check(&mut |_| {
            if std::mem::take(&mut first) {
                append(
                    store.as_ref(),
                    vec![super::support::note("meanwhile", noon())],
                    noon(),
                );
            }
        })
        .unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.record_count + 1, position(store.as_ref()));
}

#[test]
fn a_flipped_byte_in_a_record_is_found() {
    // The record stays JSON, and says somebody else.
    finds(
        "UPDATE evidence SET record = replace(record, '\"signer\":\"', '\"signer\":\"x') WHERE position = 40",
        &["record 40: its digest is not that of its content"],
    );
}

#[test]
fn a_replaced_record_is_found() {
    // REPLACE deletes without asking a trigger.
    finds(
        "INSERT OR REPLACE INTO evidence SELECT position, session_id, kind, created_at, recorded_at, imported, sha256, \
         replace(record, '\"signer\":\"', '\"signer\":\"x') FROM evidence WHERE position = 40",
        &["record 40: its digest is not that of its content"],
    );
}

#[test]
fn a_record_that_is_no_longer_json_is_found() {
    finds(
        "UPDATE evidence SET record = substr(record, 2) WHERE position = 41",
        &["record 41: its digest", "record 41: it is not strict JSON"],
    );
}

#[test]
fn a_package_record_that_is_no_longer_json_is_a_finding_and_no_failure() {
    let said = found(
        "UPDATE evidence SET record = substr(record, 2) WHERE position = (SELECT max(position) FROM evidence)",
    );
    assert!(said.contains("it is not strict JSON"), "{said}");
}

#[test]
fn a_record_with_its_digest_made_anew_is_found_when_it_is_not_canonical() {
    let place = filled();
    let store = open(&place.file());
    let record = super::support::log(store.as_ref())[9]
        .json
        .replacen("{\"", "{ \"", 1);
    drop(store);
    let digest = Digest::of(record.as_bytes()).to_hex();
    edit(
        &place,
        &format!(
            "UPDATE evidence SET record = '{}', sha256 = x'{digest}' WHERE position = 10",
            record.replace('\'', "''")
        ),
    );
    let report = report(&place);
    assert_eq!(report.findings.len(), 2, "{report:?}");
    assert_eq!(report.findings[0].place, "record 10");
    assert_eq!(report.findings[0].problem, "it is not canonical JSON");
    assert_eq!(report.findings[1].place, "record 10");
    assert!(report.findings[1].problem.contains("another leaf"), "{report:?}");
}

#[test]
fn a_changed_digest_is_found() {
    finds(
        "UPDATE evidence SET sha256 = (SELECT sha256 FROM evidence WHERE position = 8) WHERE position = 7",
        &[
            "record 7: its digest is not that of its content",
            "record 7: the log holds another leaf for it",
        ],
    );
}

#[test]
fn a_digest_of_another_length_is_found() {
    finds(
        "UPDATE evidence SET sha256 = x'00' WHERE position = 7",
        &[
            "log: a stored record has an unreadable `sha256`",
            "record 7: the log holds another leaf for it",
        ],
    );
}

#[test]
fn a_removed_record_in_the_middle_is_found() {
    let said = found("DELETE FROM evidence WHERE position = 100");
    assert!(
        said.contains("record 101: the log has a gap: position 100 is missing"),
        "{said}"
    );
}

#[test]
fn a_removed_record_at_the_end_is_found_by_the_leaf_that_it_left() {
    let said = found(
        "DELETE FROM package_chunk; DELETE FROM evidence WHERE position = (SELECT max(position) FROM evidence)",
    );
    assert!(said.contains("another leaf"), "{said}");
}

#[test]
fn a_record_under_another_key_kind_or_time_is_found() {
    for edits in [
        "UPDATE evidence SET session_id = 'other' WHERE position = 60",
        "UPDATE evidence SET created_at = created_at + 1 WHERE position = 60",
    ] {
        finds(
            edits,
            &["record 60: it stands under another key, kind or time than its own"],
        );
    }
    finds(
        "UPDATE evidence SET kind = 'other' WHERE position = 60",
        &[
            "record 60: it stands under another key, kind or time than its own",
            "record 60: the log holds another leaf for it",
        ],
    );
}

#[test]
fn a_changed_route_state_is_found() {
    finds(
        "UPDATE route SET state = 'resolved' WHERE id = (SELECT max(id) FROM route WHERE state = 'acknowledged')",
        &["route: row "],
    );
    finds(
        "UPDATE route SET revision = revision + 1 WHERE id = 5",
        &["route: row 5 is not what the evidence says"],
    );
}

#[test]
fn a_changed_counter_is_found() {
    finds(
        "UPDATE counter SET value = value - 1 WHERE name = 'acknowledgement_count'",
        &["counter: row "],
    );
    finds("INSERT INTO counter VALUES ('zzz', 1)", &["counter: row "]);
    finds(
        "UPDATE term SET record_count = record_count + 1 WHERE name = 'listed'",
        &["term: row "],
    );
}

#[test]
fn changed_histories_plans_and_postings_are_found() {
    finds(
        "UPDATE route_answer SET effect = 'final' WHERE route = (SELECT min(route) FROM route_answer)",
        &["route_answer: row 1 "],
    );
    finds("UPDATE plan SET current = 1 WHERE current = 0", &["plan: row "]);
    finds(
        "UPDATE acknowledgement SET notes = 'nothing to see' WHERE position = (SELECT min(position) FROM acknowledgement)",
        &["acknowledgement: row 1 "],
    );
    finds(
        "DELETE FROM posting WHERE position = (SELECT max(position) FROM posting)",
        &["posting: row "],
    );
}

#[test]
fn a_damaged_piece_of_a_package_or_of_the_outcomes_of_a_bulk_is_found() {
    for edits in [
        "UPDATE package_chunk SET bytes = substr(bytes, 1, 20) WHERE piece = 1",
        "UPDATE package_chunk SET bytes = (SELECT bytes FROM package_chunk WHERE piece = 0 ORDER BY position DESC) \
         WHERE piece = 1",
        "DELETE FROM package_chunk WHERE piece = 2",
        "DELETE FROM package_chunk WHERE position = (SELECT max(position) FROM package_chunk)",
        // The text is the same when joined, but whoever reads piece by piece stops before the gap.
        "UPDATE package_chunk SET piece = piece + 1000 WHERE piece > 0",
    ] {
        finds(edits, &["its document is not the one it names"]);
    }
    for edits in [
        "DELETE FROM package_chunk WHERE position = (SELECT min(position) FROM package_chunk)",
        "UPDATE package_chunk SET bytes = (SELECT bytes FROM package_chunk WHERE piece = 1) \
         WHERE position = (SELECT min(position) FROM package_chunk)",
    ] {
        finds(edits, &["its document is not the one it names"]);
    }
}

#[test]
fn a_package_that_is_called_imported_is_checked_all_the_same() {
    finds(
        "UPDATE evidence SET imported = 1; DELETE FROM package_chunk WHERE piece = 1",
        &[
            "the log holds another leaf for it",
            "its document is not the one it names",
        ],
    );
}

#[test]
fn pieces_that_belong_to_no_package_are_found() {
    finds(
        "INSERT INTO package_chunk VALUES (3, 0, x'00')",
        &["record 3: pieces of a document lie under it, and it names none"],
    );
}

#[test]
fn a_changed_time_or_origin_of_a_record_is_found() {
    for edits in [
        "UPDATE evidence SET recorded_at = recorded_at + 1 WHERE position = 60",
        "UPDATE evidence SET imported = 1 - imported WHERE position = 60",
    ] {
        finds(edits, &["record 60: the log holds another leaf for it"]);
    }
}

#[test]
fn what_reads_as_before_and_is_written_otherwise_is_found() {
    finds(
        "UPDATE evidence SET imported = 2 WHERE position = 60",
        &["record 60: its mark of origin is neither yes nor no"],
    );
    let said = found("UPDATE package_chunk SET bytes = CAST(x'ffffff00' || substr(bytes, 5) AS BLOB)");
    assert!(said.contains("its document is not the one it names"), "{said}");
}

#[test]
fn what_is_no_signature_of_this_log_is_found() {
    for (size, line, problem) in [
        (5, "nothing", "a line under it is no signature"),
        (5, "— witness.example.org AAAA", "a line under it is no signature"),
        (
            100_000,
            "— witness.example.org AAAAAAAA",
            "something is signed under it, and the log has no such size",
        ),
    ] {
        finds(
            &format!("INSERT INTO log_cosignature VALUES ({size}, '{line}')"),
            &[&format!("checkpoint {size}: {problem}")],
        );
    }
    let fine = "INSERT INTO log_cosignature VALUES (5, '— witness.example.org AAAAAAAA')";
    finds(fine, &[]);
}

#[test]
fn a_changed_log_is_found() {
    for (edits, expected) in [
        (
            "UPDATE log_tile SET hashes = zeroblob(length(hashes)) WHERE level = 0",
            "record 1: the log holds another leaf for it",
        ),
        ("DELETE FROM log_tile", "log tile 0/0: it is missing"),
        (
            "INSERT INTO log_tile VALUES (1, 0, x'00')",
            "log tile 1/0: it has no evidence",
        ),
        ("INSERT INTO log_tile VALUES (-1, 0, x'00')", "log: "),
        (
            "UPDATE log_upgrade SET through = 5",
            "record 1: the log holds another leaf for it",
        ),
        (
            "UPDATE log_upgrade SET through = 100000",
            "log: it says that more records were upgraded",
        ),
        (
            "DELETE FROM log_upgrade",
            "log: the log does not say where it began",
        ),
    ] {
        let said = found(edits);
        assert!(said.starts_with(expected), "{edits}: {said}");
    }
}

/// A small store for many checks: two plans, answers, other records, a package with two pieces.
fn small() -> Vec<u8> {
    let place = Place::new();
    let store = open(&place.file());
    append(
        store.as_ref(),
        quickstart().into_iter().take(12).collect(),
        noon(),
    );
    bulk_of(store.as_ref(), 0);
    package(store.as_ref());
    drop(store);
    std::fs::read(place.file()).unwrap()
}

/// A change of the evidence, or of its log, that leaves the file a good database.
fn mutation(numbers: &mut Numbers, texts: &[String]) -> String {
    let records = texts.len() as u64;
    let (one, other) = (numbers.below(records) + 1, numbers.below(records) + 1);
    let byte = numbers.below(200) + 1;
    let bit = 1 << numbers.below(7);
    // One character of a text becomes another.
    let flipped = |column: &str, at: u64| {
        format!(
            "{column} = substr({column}, 1, {at} - 1) || char(unicode(substr({column}, {at}, 1)) + {bit}) || \
             substr({column}, {at} + 1)"
        )
    };
    match numbers.below(15) {
        0..=2 => format!(
            "UPDATE evidence SET {} WHERE position = {one}",
            flipped("record", byte)
        ),
        3 => format!("UPDATE evidence SET recorded_at = recorded_at + {byte} WHERE position = {one}"),
        4 => format!("UPDATE evidence SET imported = 1 - imported WHERE position = {one}"),
        5 => format!("UPDATE evidence SET created_at = created_at - {byte} WHERE position = {one}"),
        6 => format!(
            "UPDATE evidence SET {} WHERE position = {one}",
            flipped("kind", byte % 20 + 1)
        ),
        7 => format!("DELETE FROM evidence WHERE position = {one}"),
        8 => format!("DELETE FROM evidence WHERE position > {}", one - 1),
        // Two records change places.
        9 => format!(
            "UPDATE evidence SET position = -1 WHERE position = {one}; UPDATE evidence SET position = {one} WHERE \
             position = {to}; UPDATE evidence SET position = {to} WHERE position = -1",
            to = if one == other { one % records + 1 } else { other },
        ),
        // A record comes twice, under another key.
        10 => format!(
            "INSERT INTO evidence SELECT {}, session_id || '{byte}', kind, created_at, recorded_at, imported, sha256, \
             record FROM evidence WHERE position = {one}",
            records + 1
        ),
        // A record says something more, and its digest fits: only the log can tell.
        11 => {
            let text = &texts[usize::try_from(one - 1).unwrap()];
            let changed = text.replacen('{', &format!("{{\"\":{byte},"), 1);
            format!(
                "UPDATE evidence SET record = '{}', sha256 = x'{}' WHERE position = {one}",
                changed.replace('\'', "''"),
                Digest::of(&changed).to_hex()
            )
        }
        13 => format!("UPDATE evidence SET imported = {byte} + 1 WHERE position = {one}"),
        // A piece of a package or of a bulk's outcomes is cut, or gone.
        12 if bit == 1 => {
            "DELETE FROM package_chunk WHERE piece = (SELECT max(piece) FROM package_chunk)".to_owned()
        }
        12 => format!(
            "UPDATE package_chunk SET bytes = substr(bytes, 1, length(bytes) - {})",
            byte % 9 + 1
        ),
        _ => format!(
            "UPDATE log_tile SET hashes = CAST(substr(hashes, 1, {place}) || x'{byte:02x}{bit:02x}' || \
             substr(hashes, {place} + 3) AS BLOB)",
            place = numbers.below(32 * records - 2)
        ),
    }
}

#[test]
fn a_thousand_changes_of_the_evidence_are_all_found() {
    let bytes = small();
    let place = Place::new();
    std::fs::write(place.file(), &bytes).unwrap();
    let texts: Vec<String> = log(open(&place.file()).as_ref())
        .into_iter()
        .map(|record| record.json)
        .collect();
    let mut numbers = Numbers(7);
    for round in 0..1_000 {
        let edits = mutation(&mut numbers, &texts);
        let place = Place::new();
        std::fs::write(place.file(), &bytes).unwrap();
        edit(&place, &edits);
        let store = SqliteStore::open_existing(&place.file()).unwrap();
        let report = store.check(&mut |_| {}).unwrap();
        assert!(!report.findings.is_empty(), "round {round}: not found: {edits}");
    }
}

#[test]
fn a_missing_trigger_is_found() {
    let place = filled();
    let connection = Connection::open(place.file()).unwrap();
    connection
        .execute_batch("DROP TRIGGER evidence_is_never_changed")
        .unwrap();
    connection.execute_batch("CREATE TABLE mine (x)").unwrap();
    drop(connection);
    let problems: Vec<String> = report(&place)
        .findings
        .into_iter()
        .map(|finding| finding.problem)
        .collect();
    assert_eq!(
        problems,
        [
            "`trigger evidence_is_never_changed` is missing or not as this version makes it",
            "`table mine` is not part of it"
        ]
    );
}

#[test]
fn a_damaged_page_is_a_finding_and_no_failure() {
    let place = filled();
    let mut bytes = std::fs::read(place.file()).unwrap();
    // Every page from the third quarter on loses its head.
    let pages = bytes.len() / 4096;
    for page in (pages * 3 / 4..pages).map(|page| page * 4096) {
        bytes[page..page + 8].fill(0xee);
    }
    std::fs::write(place.file(), bytes).unwrap();
    assert!(!report(&place).findings.is_empty());
}
