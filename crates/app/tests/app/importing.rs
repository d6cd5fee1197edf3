//! Taking evidence from elsewhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cavra_app::AppError;
use cavra_app::import::{
    ImportOptions, ImportProgress, ImportReport, ImportSource, Refusal, Unwatched, sniff,
};
use cavra_domain::route::Cycles;
use serde_json::{Value, json};

use super::support::{
    Service, at, deliver, everything, ndjson, noon, position, quickstart_records, quickstart_text, record,
    rows, rows_of, states, take, take_with,
};

#[test]
fn the_quickstart_store_is_taken_whole() {
    let service = Service::empty();
    let report = take(&service.app, &quickstart_text()).unwrap();
    assert_eq!((report.record_count, report.imported_count), (184, 184));
    assert_eq!((report.unchanged_count, report.refused_count), (0, 0));
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for record in quickstart_records() {
        *kinds
            .entry(record["metadata_kind"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    assert_eq!(report.kinds, kinds);
    assert_eq!(report.kinds["go-backend-rollback-drill-notification-plan"], 26);
    assert_eq!(report.kinds["go-backend-rollback-drill-notification-ack"], 95);
    assert_eq!(
        report.route_count,
        rows(&service.app, &everything(), Cycles::All).len() as u64
    );

    let counts = service.app.route_counts().unwrap();
    assert_eq!(counts.route_count, 127);
    assert_eq!(
        [
            counts.outstanding,
            counts.acknowledged,
            counts.escalated,
            counts.dismissed,
            counts.resolved
        ],
        [35, 68, 9, 3, 12]
    );
    assert_eq!(counts.breached, 21);
    service.clock.set(at("2027-01-01T00:00:00Z"));
    let later = service.app.route_counts().unwrap();
    assert_eq!(
        later.breached,
        35 + 9,
        "in the end everything that is open is breached"
    );
    assert_eq!((later.outstanding, later.escalated), (35, 9));
}

#[test]
fn importing_the_same_again_changes_nothing() {
    let service = Service::quickstart();
    let (before, log) = (
        rows(&service.app, &everything(), Cycles::All),
        ndjson(&service.app),
    );
    service.clock.forward(90);
    let report = take(&service.app, &quickstart_text()).unwrap();
    assert_eq!(
        (report.record_count, report.unchanged_count, report.imported_count),
        (184, 184, 0)
    );
    assert!(report.kinds.is_empty());
    assert_eq!(ndjson(&service.app), log);
    service.clock.set(noon());
    assert_eq!(rows(&service.app, &everything(), Cycles::All), before);
}

#[test]
fn an_answer_from_before_a_cycle_does_not_cover_it() {
    let service = Service::quickstart();
    // Both of this provider's answers name no plan and were given in April and May.
    let ledger = rows_of(&service.app, "payments-ledger-monthly", "slack");
    assert_eq!(
        states(&ledger),
        [
            ("identity-team", "outstanding"),
            ("payments-oncall", "outstanding"),
            ("platform-operations", "outstanding")
        ]
    );
    assert!(
        ledger
            .iter()
            .all(|row| row.revision == 0 && row.acknowledged_by.as_str().is_empty())
    );
    // The one that was given after the newest plan covers it, whatever the provider's name looks like.
    let service_now = rows_of(&service.app, "payments-ledger-monthly", "service-now");
    assert_eq!(states(&service_now), [("release-governance", "acknowledged")]);
    for row in rows(&service.app, &deliver(), Cycles::Current) {
        assert!(
            row.acknowledged_at.is_empty() || at(&row.acknowledged_at) >= row.created_at,
            "{row:?} is answered by what was said before it began"
        );
    }
}

#[test]
fn answers_that_belong_to_nothing_are_kept_and_reported() {
    let service = Service::empty();
    let report = take(&service.app, &quickstart_text()).unwrap();
    let listed = &report.orphaned_acknowledgements;
    assert_eq!(report.orphaned_acknowledgement_count, listed.len() as u64);
    // It names a plan that the published store has forgotten.
    assert!(
        listed.iter().any(|id| id == "gordack-6e3e77295b1f90b8"),
        "{listed:?}"
    );
    assert!(listed.iter().all(|id| record(&service.app, id).is_some()));
    assert_eq!(
        service.app.dashboard().unwrap().orphaned_acknowledgement_count,
        listed.len() as u64
    );
}

/// A reader that hands out one byte at a time, as a slow stream may.
struct Drops(std::io::Cursor<Vec<u8>>);

impl Read for Drops {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(1);
        self.0.read(&mut into[..length])
    }
}

fn subset() -> Vec<Value> {
    let schedules = ["payments-ledger-monthly", "config-store-quarterly"];
    let mut records = quickstart_records();
    records.retain(|record| {
        record["schedule_id"]
            .as_str()
            .is_some_and(|id| schedules.contains(&id))
    });
    records
}

/// `subset`, as the published system keeps it in SQLite; made once with Python's sqlite3.
fn published() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/published.sqlite")
}

fn import(service: &Service, source: ImportSource) -> Result<ImportReport, AppError> {
    service
        .app
        .import(vec![source], ImportOptions::default(), Box::new(Unwatched))
}

fn lines(records: &[Value]) -> String {
    records
        .iter()
        .map(|record| record.to_string() + "\n")
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn every_shape_of_input_gives_the_same_state() {
    let records = subset();
    assert_eq!(records.len(), 19);
    let pretty = serde_json::to_string_pretty(&json!({ "items": records })).unwrap();
    let shapes: Vec<(&str, Vec<u8>)> = vec![
        ("items", json!({ "items": records }).to_string().into_bytes()),
        ("items over many lines", format!("\n\t {pretty}\n\n").into_bytes()),
        ("a list", serde_json::to_vec(&records).unwrap()),
        ("a pretty list", serde_json::to_vec_pretty(&records).unwrap()),
        ("lines", lines(&records).into_bytes()),
        (
            "lines without a last end",
            lines(&records).trim_end().as_bytes().to_vec(),
        ),
        (
            "lines with empty ones between",
            lines(&records).replace('\n', "\r\n\n").into_bytes(),
        ),
        ("SQLite", std::fs::read(published()).unwrap()),
    ];
    let expected = {
        let service = Service::empty();
        take(&service.app, &lines(&records)).unwrap();
        rows(&service.app, &everything(), Cycles::All)
    };
    assert_eq!(expected.len(), 6 + 6 + 11 + 8);
    let taken = |name: &str, reader: Box<dyn BufRead + Send>| {
        let service = Service::empty();
        let report = import(&service, sniff(reader).unwrap()).unwrap();
        assert_eq!((report.imported_count, report.refused_count), (19, 0), "{name}");
        assert_eq!(rows(&service.app, &everything(), Cycles::All), expected, "{name}");
    };
    for (name, bytes) in shapes {
        taken(
            name,
            Box::new(BufReader::new(std::io::Cursor::new(bytes.clone()))),
        );
        let drops = Drops(std::io::Cursor::new(bytes));
        taken(
            &format!("{name}, byte by byte"),
            Box::new(BufReader::with_capacity(1, drops)),
        );
    }
    let service = Service::empty();
    let before = std::fs::read(published()).unwrap();
    import(&service, ImportSource::PublishedFile(published())).unwrap();
    assert_eq!(rows(&service.app, &everything(), Cycles::All), expected);
    assert_eq!(std::fs::read(published()).unwrap(), before);
}

#[test]
fn several_sources_are_one_import() {
    let (first, second) = (lines(&subset()[..9]), lines(&subset()[5..]));
    let service = Service::empty();
    let sources = vec![super::support::source(first), super::support::source(second)];
    let report = service
        .app
        .import(sources, ImportOptions::default(), Box::new(Unwatched))
        .unwrap();
    assert_eq!(
        (report.record_count, report.imported_count, report.unchanged_count),
        (23, 19, 4)
    );
}

#[test]
fn a_cut_file_is_refused_and_nothing_is_taken() {
    let whole = quickstart_text();
    for length in [1, 9, 15, 200, whole.len() / 2, whole.trim_end().len() - 1] {
        for skip_invalid in [false, true] {
            let service = Service::empty();
            let refused = take_with(&service.app, &whole[..length], skip_invalid);
            if length == 1 {
                // A single brace may be the beginning of anything: it is a line that is no record.
                assert!(
                    refused.is_ok_and(|report| skip_invalid && report.refused_count == 1) || !skip_invalid
                );
            } else if length > 9 {
                assert!(
                    matches!(refused, Err(AppError::ImportUnreadable(_))),
                    "{length}: {refused:?}"
                );
            }
            assert_eq!(position(&service.app), 0, "{length}");
        }
    }
    let service = Service::empty();
    let text = lines(&subset());
    let cut = &text[..text.len() - 20];
    let Err(AppError::ImportRefused(report)) = take(&service.app, cut) else {
        panic!("a cut line is taken");
    };
    assert_eq!((report.refused_count, report.refused[0].record), (1, 19));
    assert_eq!(position(&service.app), 0);
    assert_eq!(take_with(&service.app, cut, true).unwrap().imported_count, 18);
}

#[test]
fn what_is_none_of_the_shapes_is_refused() {
    for (text, readable) in [
        ("", false),
        (" \n\t\n", false),
        ("{\"items\": 7}", false),
        ("{\"items\": [], \"items\": []}", false),
        ("{\"items\": [], \"more\": 1}", false),
        ("{\"items\": []} {}", false),
        ("[1, 2", false),
        ("hello", true),
        ("{\"records\": []}", true),
        ("[1]", true),
        ("{\"items\": [null]}", true),
    ] {
        let service = Service::empty();
        match take(&service.app, text) {
            Err(AppError::ImportUnreadable(said)) => assert!(!readable && !said.is_empty(), "{text}"),
            Err(AppError::ImportRefused(report)) => assert!(readable && report.refused_count > 0, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
        assert_eq!(position(&service.app), 0);
    }
    for bytes in [b"\xff\xfe{}".to_vec(), b"[\"\xff\"]".to_vec()] {
        let service = Service::empty();
        let refused = import(&service, super::support::source(bytes));
        assert!(
            matches!(refused, Err(AppError::ImportUnreadable(_))),
            "{refused:?}"
        );
    }
    let service = Service::empty();
    assert_eq!(take(&service.app, "[]").unwrap(), ImportReport::default());
    assert_eq!(
        take(&service.app, "{\"items\": []}").unwrap(),
        ImportReport::default()
    );
}

#[test]
fn a_damaged_published_store_is_refused() {
    let whole = std::fs::read(published()).unwrap();
    let service = Service::empty();
    for bytes in [whole[..whole.len() / 2].to_vec(), whole[..60].to_vec()] {
        let refused = import(&service, ImportSource::PublishedBytes(bytes));
        assert!(
            matches!(refused, Err(AppError::ImportUnreadable(_))),
            "{refused:?}"
        );
    }
    let missing = import(
        &service,
        ImportSource::PublishedFile(PathBuf::from("/no/such/file")),
    );
    assert!(
        matches!(missing, Err(AppError::ImportUnreadable(_))),
        "{missing:?}"
    );
    assert_eq!(position(&service.app), 0);
}

fn refusal(record: &str) -> Refusal {
    let service = Service::empty();
    let refused = take(&service.app, record);
    let Err(AppError::ImportRefused(mut report)) = refused else {
        panic!("{record}: {refused:?}");
    };
    assert_eq!((report.refused_count, report.imported_count), (1, 0), "{record}");
    assert_eq!(position(&service.app), 0);
    report.refused.pop().unwrap()
}

#[test]
fn a_record_is_read_strictly() {
    for (record, reason) in [
        (
            r#"{"session_id": "a", "session_id": "b", "created_at": "2026-06-01T00:00:00Z"}"#,
            "strict JSON",
        ),
        (
            r#"{"session_id": "a", "inside": {"x": 1, "x": 2}}"#,
            "strict JSON",
        ),
        (
            r#"{"session_id": "a", "count": 123456789012345678901234567890}"#,
            "strict JSON",
        ),
        (r#"{"session_id": "a", "count": 1e400}"#, "strict JSON"),
        (
            r#"{"created_at": "2026-06-01T00:00:00Z"}"#,
            "`session_id` is missing",
        ),
        (r#"{"session_id": ""}"#, "`session_id` is missing"),
        (
            r#"{"session_id": "a", "metadata_kind": 7}"#,
            "`metadata_kind` is not a text",
        ),
        (
            r#"{"session_id": "a", "metadata_kind": "go-backend-rollback-drill-notification-plan"}"#,
            "`created_at`",
        ),
        (
            r#"{"session_id": "a", "created_at": "yesterday"}"#,
            "`created_at` is not",
        ),
        (r#"["session_id"]"#, "not a"),
        ("7", "not a JSON object"),
    ] {
        // A list of one is read as a list, so that record stands in another.
        let said = refusal(&format!("{{\"items\": [{record}]}}"));
        assert!(said.reason.contains(reason), "{record}: {}", said.reason);
        assert_eq!(said.record, 1);
    }
}

#[test]
fn an_acknowledgement_without_schedule_provider_or_state_is_refused() {
    for (key, value, reason) in [
        ("schedule_id", json!(""), "`schedule_id` is missing"),
        ("provider", json!("  "), "`provider` is missing"),
        (
            "acknowledgement_state",
            json!("postponed"),
            "`acknowledgement_state`",
        ),
        ("acknowledged_at", json!("soon"), "`acknowledged_at`"),
    ] {
        let records = quickstart_records();
        let kind = "go-backend-rollback-drill-notification-ack";
        let mut record = records
            .iter()
            .find(|record| record["metadata_kind"] == kind)
            .unwrap()
            .clone();
        record[key] = value.clone();
        record["acknowledgement"][key] = value;
        let said = refusal(&record.to_string());
        assert!(said.reason.contains(reason), "{key}: {}", said.reason);
        assert_eq!(said.session_id, record["session_id"].as_str().unwrap());
    }
}

/// A token in the form of a known service, put together here so that no scanner finds it in the source.
fn secret() -> String {
    format!("gh{}_{}", "p", "A1b2C3d4E5f6A1b2C3d4E5f6A1b2C3d4E5f6")
}

/// Sees everything that an import tells while it runs.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(u64, Vec<Refusal>)>>);

impl ImportProgress for Told {
    fn read(&mut self, records: u64) {
        self.0.lock().unwrap().0 = records;
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.0.lock().unwrap().1.push(refusal.clone());
    }
}

#[test]
fn a_planted_secret_is_refused_with_its_reason_and_told_to_nobody() {
    let kind = "go-backend-rollback-drill-notification-ack";
    let ack = quickstart_records()
        .into_iter()
        .find(|record| record["metadata_kind"] == kind)
        .unwrap();
    let mut planted: Vec<Value> = Vec::new();
    for path in [
        "/acknowledgement/notes",
        "/signer",
        "/session_id",
        "/acknowledgement/external_ref",
    ] {
        let mut record = ack.clone();
        *record.pointer_mut(path).unwrap() = json!(format!("see {} there", secret()));
        planted.push(record);
    }
    let mut by_key = ack.clone();
    by_key[secret()] = json!("a key can hold one as well");
    planted.push(by_key);
    let mut by_name = ack;
    by_name["client_secret"] = json!("correct horse battery staple");
    planted.push(by_name);
    for record in planted {
        let service = Service::empty();
        let told = Told::default();
        let source = super::support::source(lines(&[record]));
        let refused = service
            .app
            .import(vec![source], ImportOptions::default(), Box::new(told.clone()));
        let Err(AppError::ImportRefused(report)) = &refused else {
            panic!("{refused:?}");
        };
        let (read, seen) = told.0.lock().unwrap().clone();
        assert_eq!((read, &seen), (1, &report.refused));
        assert!(!report.refused[0].reason.is_empty());
        let everything = format!("{refused:?} {seen:?} {}", serde_json::to_string(report).unwrap());
        assert!(!everything.contains(&secret()[..12]), "{everything}");
        assert!(!everything.contains("battery"), "{everything}");
        assert_eq!(position(&service.app), 0);
    }
}

#[test]
fn one_bad_record_stops_all_unless_it_may_be_skipped() {
    let mut records = quickstart_records();
    records[40]["note"] = json!(secret());
    records[90]["created_at"] = json!("yesterday");
    let text = lines(&records);
    let service = Service::empty();
    let Err(AppError::ImportRefused(report)) = take(&service.app, &text) else {
        panic!("a record that cannot be taken is taken");
    };
    assert_eq!(
        (report.record_count, report.refused_count),
        (184, 2),
        "all of them are named at once"
    );
    let numbers: Vec<u64> = report.refused.iter().map(|refusal| refusal.record).collect();
    assert_eq!(numbers, [41, 91]);
    assert_eq!(position(&service.app), 0);

    let report = take_with(&service.app, &text, true).unwrap();
    assert_eq!((report.imported_count, report.refused_count), (182, 2));
    assert_eq!(position(&service.app), 182);
    // Mended, the two are taken beside the others.
    let report = take(&service.app, &quickstart_text()).unwrap();
    assert_eq!((report.imported_count, report.unchanged_count), (2, 182));
    assert_eq!(service.app.route_counts().unwrap().acknowledged, 68);
}

#[test]
fn evidence_is_never_replaced() {
    let service = Service::quickstart();
    let before = ndjson(&service.app);
    let mut records = quickstart_records();
    records[3]["signer"] = json!("somebody-else");
    let Err(AppError::ImportRefused(report)) = take(&service.app, &lines(&records)) else {
        panic!("a record was replaced");
    };
    assert_eq!((report.unchanged_count, report.refused_count), (183, 1));
    assert!(
        report.refused[0].reason.contains("never replaced"),
        "{}",
        report.refused[0].reason
    );
    assert_eq!(ndjson(&service.app), before);
}

#[test]
fn one_record_is_taken_by_itself() {
    let service = Service::empty();
    let records = quickstart_records();
    for record in &records {
        let report = service.app.import_record(record).unwrap();
        assert_eq!((report.record_count, report.imported_count), (1, 1));
    }
    let again = service.app.import_record(&records[0]).unwrap();
    assert_eq!((again.imported_count, again.unchanged_count), (0, 1));
    assert_eq!(
        service.app.route_counts().unwrap(),
        Service::quickstart().app.route_counts().unwrap()
    );
    let refused = service.app.import_record(&json!({"session_id": 7}));
    assert!(matches!(refused, Err(AppError::ImportRefused(_))), "{refused:?}");
}

#[test]
fn a_store_is_not_one_record() {
    let service = Service::empty();
    let refused = service
        .app
        .import_record(&json!({ "items": quickstart_records() }));
    assert!(matches!(refused, Err(AppError::ImportRefused(report)) if report.refused_count == 1));
    assert_eq!(position(&service.app), 0);
}

#[test]
fn a_json_source_takes_no_lines() {
    let record = lines(&subset());
    let json = |text: String| ImportSource::Json(Box::new(std::io::Cursor::new(text)));
    let service = Service::empty();
    let refused = import(&service, json(record));
    assert!(
        matches!(refused, Err(AppError::ImportUnreadable(_))),
        "{refused:?}"
    );
    assert_eq!(position(&service.app), 0);
    let taken = import(&service, json(json!({ "items": subset() }).to_string())).unwrap();
    assert_eq!(taken.imported_count, taken.record_count);
}

#[test]
fn a_plan_dated_ahead_does_not_hide_the_cycles_that_begin_meanwhile() {
    let service = Service::empty();
    let plan = |id: &str, at: &str, minutes: u64| {
        json!({
            "metadata_kind": "go-backend-rollback-drill-notification-plan", "session_id": id, "created_at": at,
            "schedule_id": "sched-a",
            "plan": { "route_decisions": [
                { "provider": "slack", "owner": "ana", "action": "deliver", "acknowledgement_minutes": minutes },
            ] },
        })
        .to_string()
    };
    take(&service.app, &plan("gordn-ahead", "2099-01-01T00:00:00Z", 30)).unwrap();
    let ahead = rows(&service.app, &everything(), Cycles::Current);
    assert_eq!(
        ahead[0].created_at,
        noon(),
        "its clock began when it was recorded"
    );
    service.clock.forward(5);
    take(&service.app, &plan("gordn-later", "2026-06-01T12:05:00Z", 45)).unwrap();
    let current = rows(&service.app, &everything(), Cycles::Current);
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].plan_id.as_str(), "gordn-later");
}
