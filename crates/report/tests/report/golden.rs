//! Packages and their reports as files: `fixtures/reports`. They show what a change does to a report.

use std::sync::LazyLock;

use cavra_domain::route::FilterTerms;
use cavra_report::{Report, Standing, csv, html, oscal};
use serde_json::Value;

use crate::packages::{Service, fixture, forged, key, report, signer};

/// Every kind of package: its name, its text, and how it stands.
pub(crate) fn packages() -> Vec<(&'static str, Vec<u8>, Standing)> {
    static MADE: LazyLock<Vec<(&str, Vec<u8>, Standing)>> = LazyLock::new(made);
    MADE.clone()
}

fn made() -> Vec<(&'static str, Vec<u8>, Standing)> {
    let signed = Service::new(Some(signer()));
    let filtered = FilterTerms {
        schedule_id: "fraud-scoring-monthly",
        state: "escalated",
        ..FilterTerms::default()
    };
    let whole = signed.package(&FilterTerms::default());
    let forged = forged(&whole);
    vec![
        ("whole", whole, Standing::Verified),
        ("filtered", signed.package(&filtered), Standing::Verified),
        ("forged", forged, Standing::Failed),
        (
            "unsigned",
            Service::new(None).package(&FilterTerms::default()),
            Standing::Unsigned,
        ),
    ]
}

/// The report on one of them: with the key, where there is a signature.
pub(crate) fn reported(package: &[u8], standing: Standing) -> Report {
    let key = (standing != Standing::Unsigned).then(key);
    let report = report(package, None, key.as_ref());
    assert_eq!(report.standing(), standing);
    report
}

pub(crate) fn page(report: &Report) -> String {
    let mut out = Vec::new();
    html::write(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

pub(crate) fn rows(report: &Report, rows: csv::Rows) -> String {
    let mut out = Vec::new();
    csv::write(report, rows, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

pub(crate) fn assessment(report: &Report) -> Value {
    let mut out = Vec::new();
    oscal::write(report, &mut out).unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn settle(name: &str, text: &str, problems: &mut Vec<String>) {
    let path = fixture("reports").join(name);
    if std::fs::read_to_string(&path).is_ok_and(|held| held == text) {
        return;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(path, text).unwrap();
    } else {
        problems.push(format!("{name} is not what it was"));
    }
}

#[test]
fn packages_and_their_reports_stay_as_they_are() {
    let mut problems = Vec::new();
    settle("log.pub", &format!("{}\n", key()), &mut problems);
    for (name, package, standing) in packages() {
        let report = reported(&package, standing);
        let text = String::from_utf8(package).unwrap();
        settle(&format!("{name}.dsse.json"), &text, &mut problems);
        settle(&format!("{name}.html"), &page(&report), &mut problems);
        settle(
            &format!("{name}.csv"),
            &rows(&report, csv::Rows::Routes),
            &mut problems,
        );
        settle(
            &format!("{name}-acknowledgements.csv"),
            &rows(&report, csv::Rows::Acknowledgements),
            &mut problems,
        );
        // Laid out for reading; the program writes it without white space.
        let pretty = serde_json::to_string_pretty(&assessment(&report)).unwrap() + "\n";
        settle(&format!("{name}.oscal.json"), &pretty, &mut problems);
    }
    assert!(
        problems.is_empty(),
        "{}\nUPDATE_GOLDEN=1 writes the files anew",
        problems.join("\n")
    );
}
