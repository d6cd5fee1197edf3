//! Reports of signed packages, as people ask for them.

use std::fs::File;

use crate::program::{Folder, cavra, finish, fixture, run};

/// A package or a report of `fixtures/reports`.
fn held(name: &str) -> String {
    fixture(&format!("reports/{name}"))
}

const MADE_AT: [&str; 2] = ["--made-at", "2026-06-02T08:00:00Z"];

#[test]
fn every_form_of_report_is_the_one_in_the_fixtures() {
    let key = held("log.pub");
    for name in ["whole", "filtered", "forged", "unsigned"] {
        let package = held(&format!("{name}.dsse.json"));
        for (form, rows, file) in [
            ("html", None, "html"),
            ("csv", None, "csv"),
            ("csv", Some("routes"), "csv"),
            ("csv", Some("acknowledgements"), "acknowledgements.csv"),
            ("oscal", None, "oscal.json"),
        ] {
            let mut arguments = vec!["report", &package, "--format", form];
            arguments.extend(MADE_AT);
            if name != "unsigned" {
                arguments.extend(["--key", &key]);
            }
            arguments.extend(rows.into_iter().flat_map(|rows| ["--rows", rows]));
            let done = run(&arguments);
            assert_eq!(done.code, Some(i32::from(name == "forged")), "{}", done.err);
            let separator = if file.starts_with('a') { "-" } else { "." };
            let expected = std::fs::read_to_string(held(&format!("{name}{separator}{file}"))).unwrap();
            if form == "oscal" {
                let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
                assert_eq!(done.json(), expected, "{name}");
            } else {
                assert_eq!(done.text(), expected, "{name} {form}");
            }
        }
    }
}

#[test]
fn a_package_that_is_not_verified_gives_a_report_and_exit_code_1() {
    let folder = Folder::new();
    let out = folder.file("report.html");
    let unsigned = held("unsigned.dsse.json");
    run(&[
        "report",
        &unsigned,
        "--format",
        "html",
        "--key",
        &held("log.pub"),
        "--out",
        &out,
    ])
    .failed(1, &["NOT verified", "it is not signed"]);
    let page = std::fs::read_to_string(&out).unwrap();
    assert!(page.contains("<title>NOT VERIFIED:") && page.contains("it is not signed"));
    // The filtered package was made after the whole one.
    let (whole, filtered) = (held("whole.dsse.json"), held("filtered.dsse.json"));
    let arguments = ["report", &whole, "--format", "csv", "--previous", &filtered];
    let done = run(&arguments).failed(1, &["the previous package is the newer one"]);
    assert!(done.text().contains("NOT VERIFIED,"));
    let garbage = folder.write("garbage", "{}");
    let done = run(&["report", &garbage, "--format", "oscal"]).failed(1, &["NOT verified", "envelope"]);
    assert!(done.text().contains("NOT VERIFIED"));
}

#[test]
fn without_a_key_a_report_says_that_it_proves_nothing_about_who_made_it() {
    let done = run(&["report", &held("whole.dsse.json"), "--format", "html"]).succeeded();
    assert!(done.err.contains("consistent with itself only"), "{}", done.err);
    assert!(done.text().contains("Consistent with itself only, not verified"));
    let done = run(&["report", &held("unsigned.dsse.json"), "--format", "csv"]).succeeded();
    assert!(done.err.contains("nobody signed it"), "{}", done.err);
    assert!(done.text().contains("unsigned, consistent with itself only"));
}

#[test]
fn a_package_comes_from_standard_input_and_a_report_goes_to_a_new_file() {
    let folder = Folder::new();
    let out = folder.file("report.csv");
    let key = held("log.pub");
    let mut command = cavra(&["report", "-", "--format", "csv", "--key", &key, "--out", &out]);
    command.stdin(File::open(held("whole.dsse.json")).unwrap());
    let done = finish(command).succeeded();
    assert!(done.out.is_empty() && done.err.contains("verified with the key that was given"));
    let written = std::fs::read(&out).unwrap();
    assert_eq!(written, std::fs::read(held("whole.csv")).unwrap());
    // Neither a report nor the package is overwritten, and nothing half is left.
    let package = folder.write("package.json", std::fs::read(held("whole.dsse.json")).unwrap());
    let before = folder.content();
    for taken in [&out, &package] {
        run(&["report", &package, "--format", "html", "--out", taken])
            .failed(2, &["nothing is overwritten", taken]);
    }
    run(&[
        "report",
        &package,
        "--format",
        "html",
        "--out",
        &folder.file("no/such/folder"),
    ])
    .failed(2, &["no/such"]);
    assert_eq!(folder.content(), before);
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let whole = held("whole.dsse.json");
    run(&["report", &whole]).failed(2, &["--format"]);
    run(&["report", &whole, "--format", "pdf"]).failed(2, &["html", "csv", "oscal"]);
    run(&["report", &whole, "--format", "html", "--rows", "routes"]).failed(2, &["--rows belongs to"]);
    run(&["report", &whole, "--format", "html", "--made-at", "today"]).failed(2, &["today"]);
    run(&["report", &held("missing.json"), "--format", "html"]).failed(2, &["missing.json"]);
    run(&["report", &whole, "--format", "html", "--key", &whole]).failed(2, &["is not a public key"]);
}
