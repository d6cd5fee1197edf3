//! Every command, used as meant.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::program::{B, Folder, Serving, cavra, finish, published_store, quickstart, record, run};

const COMMANDS: [&str; 12] = [
    "api",
    "import",
    "export-evidence",
    "check",
    "backup",
    "verify",
    "report",
    "keys",
    "cosign",
    "openapi",
    "schemas",
    "completions",
];

fn records_in(err: &str) -> &str {
    err.lines().find(|line| line.contains("records read")).unwrap()
}

#[test]
fn every_command_explains_itself() {
    let help = run(&["--help"]).succeeded().text();
    for command in COMMANDS {
        assert!(help.contains(command), "{help}");
        let own = run(&[command, "--help"]).succeeded().text();
        assert!(own.contains("Usage: cavra") && own.contains(command), "{own}");
        // Clap's own list of what it asks for: every option says what it is.
        for line in own.lines().filter(|line| line.trim_start().starts_with("--")) {
            assert!(line.trim().len() > 2, "{own}");
        }
    }
    assert!(run(&["--version"]).succeeded().text().starts_with("cavra "));
    run(&[]).failed(2, &["Usage"]);
    run(&["frobnicate"]).failed(2, &["frobnicate", "--help"]);
}

#[test]
fn the_description_and_the_schemas_are_printed_as_json() {
    let openapi = run(&["openapi"]).succeeded().json();
    assert_eq!(openapi["openapi"], "3.1.0");
    let served = Folder::new();
    let serving = Serving::start(&["--database", &served.file("cavra.db")]);
    assert_eq!(
        serving.get("/openapi.json"),
        openapi,
        "what is printed is what is served"
    );
    let schemas = run(&["schemas"]).succeeded().json();
    for (name, schema) in schemas.as_object().unwrap() {
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
    }
    assert!(schemas.get("audit-package").is_some());
}

#[test]
fn a_completion_script_is_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).succeeded().text();
        assert!(script.contains("export-evidence"), "{shell}");
    }
}

#[test]
fn output_that_nobody_reads_any_more_is_no_error() {
    let folder = Folder::new();
    let database = folder.quickstart_database("cavra.db");
    let package = crate::program::fixture("reports/whole.dsse.json");
    for arguments in [
        &["export-evidence", "--database", &database][..],
        &["report", &package, "--format", "oscal"][..],
        &["openapi"][..],
    ] {
        let mut child = cavra(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn importing_the_same_file_again_changes_nothing() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let import = || {
        run(&["import", &quickstart(), "--database", &database])
            .succeeded()
            .err
    };
    assert_eq!(
        records_in(&import()),
        "184 records read: 184 imported, 0 there already, 0 refused"
    );
    let exported = run(&["export-evidence", "--database", &database]).succeeded().out;
    let again = import();
    assert_eq!(
        records_in(&again),
        "184 records read: 0 imported, 184 there already, 0 refused"
    );
    assert_eq!(
        run(&["export-evidence", "--database", &database]).succeeded().out,
        exported
    );
}

#[test]
fn a_refused_record_stops_an_import_unless_it_may_be_left_out() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let planted = format!("{}_{}", "ghp", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8");
    let mut unsafe_record = record(2);
    unsafe_record["summary"] = json!(format!("pushed with {planted}"));
    let file = folder.write(
        "mixed.ndjson",
        format!("{}\n{unsafe_record}\nno json\n{}\n", record(1), record(3)),
    );
    let import = |more: &[&str]| run(&[&["import", &file, "--database", &database], more].concat());
    let refused = import(&[]).failed(
        1,
        &[
            "refused record 2 `ppp-record-2`",
            "refused record 3",
            "nothing was imported",
            "--skip-invalid",
        ],
    );
    assert!(!refused.err.contains(&planted));
    assert!(
        run(&["export-evidence", "--database", &database])
            .succeeded()
            .out
            .is_empty()
    );
    let taken = import(&["--skip-invalid"]).succeeded();
    assert_eq!(
        records_in(&taken.err),
        "4 records read: 2 imported, 0 there already, 2 refused"
    );
    assert_eq!(
        run(&["export-evidence", "--database", &database])
            .succeeded()
            .text()
            .lines()
            .count(),
        2
    );
}

#[test]
fn every_shape_of_a_published_store_is_taken() {
    let folder = Folder::new();
    let records = [record(1), record(2), record(3)];
    let lines = records
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    let files = [
        folder.write("object.json", json!({ "items": records }).to_string()),
        folder.write("list.json", json!(records).to_string()),
        folder.write("lines.ndjson", &lines),
        published_store(),
    ];
    for (number, file) in files.iter().enumerate() {
        let database = folder.file(&format!("{number}.db"));
        let done = run(&["import", file, "--database", &database]).succeeded();
        assert_eq!(
            records_in(&done.err),
            "3 records read: 3 imported, 0 there already, 0 refused",
            "{file}"
        );
    }
    let together = folder.file("together.db");
    let mut arguments = vec!["import", "--database", &together];
    arguments.extend(files.iter().map(String::as_str));
    let done = run(&arguments).succeeded();
    assert_eq!(
        records_in(&done.err),
        "12 records read: 6 imported, 6 there already, 0 refused"
    );

    let piped = folder.file("piped.db");
    let mut child = cavra(&["import", "-", "--database", &piped])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        run(&["export-evidence", "--database", &piped])
            .succeeded()
            .text()
            .lines()
            .count(),
        3
    );
}

#[test]
fn an_export_imported_elsewhere_is_exported_the_same_there() {
    let folder = Folder::new();
    let first = folder.file("first.db");
    let serving = Serving::start(&["--database", &first, "--import", &quickstart()]);
    // Records of our own as well, not only imported ones.
    let bulk = json!({ "filter": { "schedule_id": "checkout-edge-weekly", "state": "outstanding" }, "acknowledged_by": "ana" });
    serving.done(&format!("{B}/acknowledgements/bulk"), &bulk);
    serving.done(
        &format!("{B}/acknowledgements/audit-package"),
        &json!({ "owner": "payments" }),
    );
    serving.done(&format!("{B}/escalation-plan"), &json!({}));
    serving.stop();
    let exported = run(&["export-evidence", "--database", &first]).succeeded();
    let file = folder.write("export.ndjson", &exported.out);
    let second = folder.file("second.db");
    run(&["import", &file, "--database", &second]).succeeded();
    assert_eq!(
        run(&["export-evidence", "--database", &second]).succeeded().out,
        exported.out
    );
    run(&["check", "--database", &second]).succeeded();
    let first = Serving::start(&["--database", &first]);
    let second = Serving::start(&["--database", &second]);
    for state in [
        "outstanding",
        "acknowledged",
        "escalated",
        "dismissed",
        "resolved",
    ] {
        let query = format!("state={state}");
        assert_eq!(second.count(&query), first.count(&query), "{state}");
    }
}

#[test]
fn an_export_can_be_narrowed_by_kind_and_by_time() {
    let folder = Folder::new();
    let database = folder.quickstart_database("cavra.db");
    let export = |more: &[&str]| {
        let done = run(&[&["export-evidence", "--database", &database], more].concat()).succeeded();
        let records: Vec<Value> = done
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        records
    };
    let all = export(&[]);
    assert_eq!(all.len(), 184);
    let kind = "go-backend-rollback-drill-notification-ack";
    let answers = export(&["--kind", kind]);
    assert_eq!(answers.len(), 95);
    assert!(answers.iter().all(|record| record["metadata_kind"] == kind));
    let since = "2026-06-01T12:00:00+02:00";
    let late = export(&["--since", since]);
    let expected = all
        .iter()
        .filter(|record| record["created_at"].as_str() >= Some("2026-06-01T10:00:00"));
    assert_eq!(late.len(), expected.count());
    assert!(!late.is_empty() && late.len() < all.len());
    assert!(export(&["--kind", "no-such-kind"]).is_empty());
    run(&["export-evidence", "--database", &database, "--since", "yesterday"])
        .failed(2, &["yesterday", "--since"]);
}

#[test]
fn a_single_flipped_byte_is_found() {
    let folder = Folder::new();
    let original = folder.quickstart_database("original.db");
    let clean = run(&["check", "--database", &original]).succeeded();
    assert!(
        clean.err.contains("184 records") && clean.err.contains("0 findings"),
        "{}",
        clean.err
    );
    // A copy has fewer remains of moved rows, in which a flipped byte would mean nothing. What is there once is live.
    let database = folder.file("cavra.db");
    run(&["backup", &database, "--database", &original]).succeeded();
    let good = std::fs::read(&database).unwrap();
    let exported = run(&["export-evidence", "--database", &original])
        .succeeded()
        .text();
    let places: Vec<usize> = exported
        .lines()
        .filter_map(|record| {
            let mut found = good
                .windows(record.len())
                .enumerate()
                .filter(|(_, window)| *window == record.as_bytes());
            let (place, _) = found.next()?;
            found.next().is_none().then_some(place + record.len() / 2)
        })
        .collect();
    assert!(places.len() > 50);
    for place in [places[0], places[places.len() / 2], places[places.len() - 1]] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        std::fs::write(&database, &bad).unwrap();
        let found = run(&["check", "--database", &database]).failed(1, &["record ", "digest"]);
        assert!(!found.err.contains(" 0 findings"), "{}", found.err);
    }
    std::fs::write(&database, &good).unwrap();
    run(&["check", "--database", &database]).succeeded();
}

#[test]
fn a_backup_taken_while_serving_is_whole_and_clean() {
    let folder = Folder::new();
    let (database, copy) = (folder.file("cavra.db"), folder.file("copy.db"));
    let serving = Serving::start(&["--database", &database, "--import", &quickstart()]);
    let bulk = json!({ "filter": { "state": "outstanding" }, "acknowledged_by": "ana" });
    serving.done(&format!("{B}/acknowledgements/bulk"), &bulk);
    // What was just answered is still in the write-ahead log.
    run(&["backup", &copy, "--database", &database]).succeeded();
    run(&["check", "--database", &database]).succeeded();
    serving.done(&format!("{B}/escalation-plan"), &json!({}));
    let acknowledged = serving.count("state=acknowledged");
    serving.stop();
    run(&["check", "--database", &copy]).succeeded();
    let copied = Serving::start(&["--database", &copy]);
    assert_eq!(copied.count("state=acknowledged"), acknowledged);
    assert_eq!(copied.count("state=outstanding"), 0);
    copied.stop();
    // An existing file is never written over.
    let before = std::fs::read(&copy).unwrap();
    run(&["backup", &copy, "--database", &database]).failed(2, &[&copy, "new file"]);
    assert_eq!(std::fs::read(&copy).unwrap(), before);
}

#[test]
fn options_come_from_the_command_line_then_the_environment_then_the_file() {
    let folder = Folder::new();
    let config = folder.write(
        "cavra.toml",
        format!(
            "listen = \"127.0.0.1:0\"\ndatabase = \"{}\"\npublic_api_base_url = \"https://file.example.org\"\n\
             cors_origins = [\"https://file.example.org\"]\n",
            folder.file("cavra.db")
        ),
    );
    let configured = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = cavra(&[&["api", "--config", &config], arguments].concat());
        command.envs(environment.iter().copied());
        Serving::spawn(command).get("/console/config")
    };
    let file = configured(&[], &[]);
    assert_eq!(file["api_base_url"], "https://file.example.org");
    assert_eq!(file["cors_origins"], json!(["https://file.example.org"]));
    let environment = [
        ("CAVRA_PUBLIC_API_BASE_URL", "https://environment.example.org"),
        (
            "CAVRA_CORS_ORIGINS",
            "https://a.example.org, https://b.example.org",
        ),
    ];
    let over = configured(&[], &environment);
    assert_eq!(over["api_base_url"], "https://environment.example.org");
    assert_eq!(
        over["cors_origins"],
        json!(["https://a.example.org", "https://b.example.org"])
    );
    let line = configured(
        &["--public-api-base-url", "https://line.example.org"],
        &environment,
    );
    assert_eq!(line["api_base_url"], "https://line.example.org");
}

#[test]
fn schedules_come_from_configured_files() {
    let folder = Folder::new();
    let schedule = crate::program::fixture("schedules/search-index-weekly.json");
    let serving = Serving::start(&[
        "--database",
        &folder.file("cavra.db"),
        "--schedule",
        &schedule,
        "--backend-mode",
        "promoted",
    ]);
    let report = serving.get("/runtime/go-pilot/rollback-drill-schedule");
    assert_eq!(report["configured_schedule_ids"], json!(["search-index-weekly"]));
    assert_eq!(report["mode"], "promoted");
    let made = serving.done(&format!("{B}/deliver"), &json!({ "force": true }));
    assert_eq!(made["event_id"], "search-index-weekly");
    assert_eq!(made["resent"], false);
    // The same again begins nothing new.
    assert_eq!(
        serving.done(&format!("{B}/deliver"), &json!({ "force": true }))["resent"],
        true
    );
    assert!(
        !report.to_string().contains(env!("CARGO_MANIFEST_DIR")),
        "no path of the machine is told"
    );
}

#[test]
fn the_environment_of_other_commands_names_the_database_too() {
    let folder = Folder::new();
    let database = folder.quickstart_database("cavra.db");
    let mut command = cavra(&["check"]);
    command.env("CAVRA_DATABASE", &database);
    finish(command).succeeded();
}
