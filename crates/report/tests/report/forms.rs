//! What holds for every report, whatever it is about.

use std::collections::{BTreeMap, BTreeSet};

use cavra_domain::route::FilterTerms;
use cavra_evidence::digest::Digest;
use cavra_report::{CONTROLS, Report, Standing, csv};
use proptest::prelude::*;
use serde_json::Value;

use crate::golden::{assessment, packages, page, reported, rows};
use crate::packages::{
    HOSTILE_NOTES, HOSTILE_REFERENCE, Service, fixture, key, payload, report, sealed, signer, upgraded,
};

const SCHEMA: &str = "oscal/oscal_assessment-results_schema.json";

/// NIST's schema, as it was released.
fn schema() -> jsonschema::Validator {
    let text = std::fs::read(fixture(SCHEMA)).unwrap();
    assert_eq!(
        Digest::of(&text).to_hex(),
        "d9e34757f0c12aff61f52b821f0b8f83ba0ba75b3a149a202b08ba82f82bc4c3",
        "the schema is NIST's own"
    );
    let schema: Value = serde_json::from_slice(&text).unwrap();
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft7)
        .should_validate_formats(true)
        .build(&schema)
        .unwrap()
}

fn problems(schema: &jsonschema::Validator, document: &Value) -> Vec<String> {
    schema
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The rows of a CSV text, by RFC 4180 to the letter.
fn parsed(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut table: Vec<Vec<String>> = Vec::new();
    let (mut row, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            ('"', true) => {
                quoted = false;
                assert!(
                    matches!(chars.peek(), Some(',' | '\r')),
                    "nothing follows a closing quote"
                );
            }
            ('"', false) => {
                assert!(cell.is_empty(), "a quote begins a cell");
                quoted = true;
            }
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                table.push(std::mem::take(&mut row));
            }
            ('\n', false) => panic!("a line ends with CR LF"),
            (c, _) => cell.push(c),
        }
    }
    assert!(
        row.is_empty() && cell.is_empty() && !quoted,
        "the last line ends as well"
    );
    let names = table.remove(0);
    table
        .into_iter()
        .map(|row| {
            assert_eq!(row.len(), names.len());
            names.iter().cloned().zip(row).collect()
        })
        .collect()
}

/// Every tag is closed in its order, and nothing is a tag or an attribute that could do anything.
fn well_formed(page: &str) {
    const VOID: [&str; 3] = ["br", "meta", "!DOCTYPE"];
    const TAGS: [&str; 33] = [
        "html", "head", "title", "style", "body", "main", "section", "div", "h1", "h2", "h3", "p", "b",
        "strong", "span", "code", "pre", "a", "ul", "ol", "li", "table", "caption", "thead", "tbody", "tr",
        "th", "td", "br", "meta", "!DOCTYPE", "em", "small",
    ];
    let mut open: Vec<&str> = Vec::new();
    for piece in page.split('<').skip(1) {
        let (tag, _) = piece.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
            continue;
        }
        assert!(TAGS.contains(&name), "{tag}");
        for attribute in [" on", " src", " style=", "javascript:"] {
            assert!(!tag.contains(attribute), "{tag}");
        }
        assert!(!tag.contains("href") || tag.starts_with("a href=\"#g"), "{tag}");
        if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// The routes of a package: each with its id and the ids of its history.
fn routes(package: &[u8]) -> Vec<(String, Vec<String>)> {
    let text = payload(package).audit_package;
    let package: Value = serde_json::from_str(&text).unwrap();
    let id = |value: &Value| value.as_str().unwrap().to_owned();
    package["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| {
            let entries = route["acknowledgements"].as_array().unwrap();
            let entries = entries.iter().map(|entry| id(&entry["acknowledgement_id"]));
            (id(&route["route_id"]), entries.collect())
        })
        .collect()
}

fn observations(document: &Value) -> &Vec<Value> {
    document["assessment-results"]["results"][0]["observations"]
        .as_array()
        .unwrap()
}

fn prop<'a>(holder: &'a Value, name: &str) -> Option<&'a str> {
    let props = holder["props"].as_array()?;
    props.iter().find(|prop| prop["name"] == name)?["value"].as_str()
}

/// What every form has to say about a package that is not verified.
fn unmistakable(report: &Report) {
    assert_eq!(report.standing(), Standing::Failed);
    let failure = report.verification().failure.as_ref().unwrap();
    let page = page(report);
    well_formed(&page);
    assert!(page.contains("<title>NOT VERIFIED:") && page.contains("<body class=\"failed\">"));
    assert!(page.contains("First wrong element: <strong>"));
    for word in ["Verified", "class=\"verified\""] {
        assert!(!page.replace(".verified", "").contains(word), "{word}");
    }
    for rows in [
        rows(report, csv::Rows::Routes),
        rows(report, csv::Rows::Acknowledgements),
    ] {
        let rows = parsed(&rows);
        assert!(!rows.is_empty());
        for row in rows {
            assert_eq!(row["verification"], "NOT VERIFIED");
            let element = csv::original(&row["first_wrong_element"]);
            assert!(element.starts_with(&failure.element), "{element}");
        }
    }
    let document = assessment(report);
    assert_eq!(problems(&schema(), &document), Vec::<String>::new());
    for observation in &observations(&document)[..1] {
        assert_eq!(prop(observation, "verification"), Some("NOT VERIFIED"));
    }
    for finding in document["assessment-results"]["results"][0]["findings"]
        .as_array()
        .unwrap()
    {
        assert_eq!(prop(finding, "support"), Some("none"));
        assert_eq!(finding["target"]["status"]["reason"], "fail");
    }
}

/// NIST's controls, see `fixtures/oscal/README.md`.
fn controls() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("oscal/sp800-53-rev5-controls.json")).unwrap()).unwrap()
}

#[test]
fn controls_and_targets_are_those_of_the_catalog() {
    let known = controls();
    for control in CONTROLS {
        let title = known[control.id]["title"].as_str().expect(control.id);
        assert_eq!(title.to_lowercase(), control.title.to_lowercase());
    }
    for (name, package, standing) in packages() {
        let document = assessment(&reported(&package, standing));
        let result = &document["assessment-results"]["results"][0];
        let reviewed = result["reviewed-controls"]["control-selections"][0]["include-controls"]
            .as_array()
            .unwrap();
        let ids: Vec<&str> = reviewed
            .iter()
            .map(|control| control["control-id"].as_str().unwrap())
            .collect();
        let targets: Vec<&Value> = result["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| &finding["target"])
            .collect();
        assert_eq!(ids.len(), CONTROLS.len(), "{name}");
        assert_eq!(targets.len(), CONTROLS.len(), "{name}");
        for (id, target) in ids.into_iter().zip(targets) {
            assert_eq!(target["type"], "objective-id");
            assert_eq!(target["target-id"], known[id]["objective"], "{name}: {id}");
        }
    }
}

#[test]
fn every_route_and_every_acknowledgement_is_in_every_form() {
    for (name, package, standing) in packages() {
        let routes = routes(&package);
        let report = reported(&package, standing);
        let entries: usize = routes.iter().map(|(_, entries)| entries.len()).sum();
        assert!(
            name == "filtered" || (routes.len() > 10 && entries > 10),
            "{name}"
        );

        let page = page(&report);
        well_formed(&page);
        assert_eq!(page.matches("<th scope=rowgroup").count(), routes.len());
        assert_eq!(page.matches("<li><b>").count(), entries);

        let by_route = parsed(&rows(&report, csv::Rows::Routes));
        let named: Vec<&str> = by_route.iter().map(|row| row["route_id"].as_str()).collect();
        let expected: Vec<&str> = routes.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(named, expected, "in the order of the package");
        let by_entry = parsed(&rows(&report, csv::Rows::Acknowledgements));

        let document = assessment(&report);
        assert_eq!(problems(&schema(), &document), Vec::<String>::new(), "{name}");
        let observations = &observations(&document)[2..];
        assert_eq!(observations.len(), routes.len());

        for (((id, entries), row), observation) in routes.iter().zip(&by_route).zip(observations) {
            assert!(page.contains(&format!("Route <code>{id}</code>")));
            assert_eq!(row["acknowledgement_count"], entries.len().to_string());
            assert_eq!(row["verification"], report.standing().label());
            assert_eq!(prop(observation, "route-id"), Some(id.as_str()));
            assert_eq!(prop(observation, "verification"), Some(report.standing().label()));
            let told: Vec<&str> = observation["relevant-evidence"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| prop(entry, "acknowledgement-id").unwrap())
                .collect();
            assert_eq!(&told, entries);
            let rows: Vec<&str> = by_entry
                .iter()
                .filter(|row| row["route_id"] == *id)
                .map(|row| row["acknowledgement_id"].as_str())
                .collect();
            if entries.is_empty() {
                assert_eq!(rows, [""]);
            } else {
                assert_eq!(&rows, entries);
            }
            for entry in entries {
                assert!(page.contains(&format!("<code>{entry}</code>")));
            }
        }
    }
}

#[test]
fn hostile_texts_are_texts_in_every_form() {
    let package = Service::new(Some(signer())).package(&FilterTerms::default());
    let report = reported(&package, Standing::Verified);
    let page = page(&report);
    assert!(page.contains("&lt;script&gt;alert(&#39;VERIFIED&#39;)&lt;/script&gt;"));
    for kind in [csv::Rows::Routes, csv::Rows::Acknowledgements] {
        let rows = parsed(&rows(&report, kind));
        let hostile: Vec<_> = rows
            .iter()
            .filter(|row| csv::original(&row["external_ref"]) == HOSTILE_REFERENCE)
            .collect();
        assert!(!hostile.is_empty());
        for row in hostile {
            assert!(row["external_ref"].starts_with("'="));
            assert!(row["notes"].contains(";'+1\n'@SUM"), "{}", row["notes"]);
            assert_eq!(csv::original(&row["notes"]), HOSTILE_NOTES);
        }
    }
    let document = assessment(&report).to_string();
    assert!(!document.contains("<script>"));
    assert!(
        document.contains("\\\\*\\\\*VERIFIED\\\\*\\\\*"),
        "markup is escaped"
    );
}

#[test]
fn characters_that_hide_or_turn_a_text_are_named() {
    let (_, whole, _) = packages().remove(0);
    let mut turned = payload(&whole);
    let before = turned.audit_package.clone();
    // No service takes such a text, but a package can be made elsewhere.
    turned.audit_package = before.replacen("CHG-4711", "\u{202e}\u{200b}\u{ad}DEIFIREV", 2);
    assert_ne!(turned.audit_package, before);
    let report = report(&sealed(&turned), None, Some(&key()));
    unmistakable(&report);
    let page = page(&report);
    assert!(page.contains("&lt;U+202E&gt;&lt;U+200B&gt;&lt;U+00AD&gt;DEIFIREV"));
    let document = assessment(&report).to_string();
    assert!(document.contains("<U+202E><U+200B><U+00AD>DEIFIREV"));
    for text in [&page, &document] {
        assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{ad}']));
    }
}

#[test]
fn a_package_that_fails_is_unmistakable_in_every_form() {
    let (_, forged, _) = packages().remove(2);
    let report = reported(&forged, Standing::Failed);
    unmistakable(&report);
    let page = page(&report);
    // What can be read is shown.
    assert_eq!(page.matches("<th scope=rowgroup").count(), routes(&forged).len());
    // Signed by somebody else, not at all, or asked to continue another log.
    let (_, whole, _) = packages().remove(0);
    let (_, unsigned, _) = packages().remove(3);
    let other = cavra_evidence::note::SigningKey::new("cavra.log/reports", &[9; 32]).unwrap();
    unmistakable(&report_with(&whole, None, Some(&other.verifier())));
    unmistakable(&report_with(&unsigned, None, Some(&key())));
    unmistakable(&report_with(&whole, Some(&unsigned), Some(&key())));
}

fn report_with(
    package: &[u8],
    previous: Option<&[u8]>,
    key: Option<&cavra_evidence::note::VerifierKey>,
) -> Report {
    report(package, previous, key)
}

#[test]
fn what_is_no_package_gives_a_report_all_the_same() {
    let (_, whole, _) = packages().remove(0);
    let mut broken = payload(&whole);
    broken.audit_package = "{\"routes\":[{},1],\"audit_id\":\"<b>\"".to_owned();
    let mut strange = payload(&whole);
    strange.audit_package =
        strange
            .audit_package
            .replacen("\"acknowledgement_minutes\":", "\"acknowledgement_minutes\":-", 1);
    for package in [
        Vec::new(),
        b"{}".to_vec(),
        whole[..whole.len() / 2].to_vec(),
        sealed(&broken),
    ] {
        let report = report(&package, None, Some(&key()));
        unmistakable(&report);
        let rows = parsed(&rows(&report, csv::Rows::Routes));
        assert_eq!((rows.len(), rows[0]["row"].as_str()), (1, "no routes"));
    }
    let report = report(&sealed(&strange), None, Some(&key()));
    unmistakable(&report);
    let rows = parsed(&rows(&report, csv::Rows::Routes));
    assert_eq!(rows.len(), routes(&whole).len());
    let unreadable: Vec<_> = rows.iter().filter(|row| row["row"] == "unreadable").collect();
    assert_eq!(unreadable.len(), 1);
    assert!(unreadable[0]["notes"].contains("\"acknowledgement_minutes\":-"));
    assert!(page(&report).contains("Entries that are no routes"));
}

#[test]
fn nothing_says_verified_without_a_key() {
    let (_, whole, _) = packages().remove(0);
    let (_, unsigned, _) = packages().remove(3);
    for (package, standing, label) in [
        (whole, Standing::ConsistentOnly, "consistent with itself only"),
        (
            unsigned,
            Standing::Unsigned,
            "unsigned, consistent with itself only",
        ),
    ] {
        let report = report(&package, None, None);
        assert_eq!((report.standing(), report.standing().label()), (standing, label));
        let page = page(&report);
        assert!(page.contains("<body class=\"unproven\">") && page.contains("not verified"));
        assert!(!page.contains(">Verified"));
        for row in parsed(&rows(&report, csv::Rows::Routes)) {
            assert_eq!(row["verification"], label);
        }
        let document = assessment(&report);
        assert_eq!(problems(&schema(), &document), Vec::<String>::new());
        let findings = &document["assessment-results"]["results"][0]["findings"];
        for finding in findings.as_array().unwrap() {
            assert_eq!(prop(finding, "support"), Some("supports-if-trusted"));
        }
    }
}

#[test]
fn imported_and_upgraded_records_are_marked() {
    let (_, whole, _) = packages().remove(0);
    let verified = reported(&whole, Standing::Verified);
    let page_of_whole = page(&verified);
    assert!(
        page_of_whole.contains("<span class=x>imported</span>") && !page_of_whole.contains("upgraded</span>")
    );
    assert!(page_of_whole.contains("proven by a token of https://login.example.org, subject user-42"));
    let report = reported(&upgraded(&whole), Standing::Verified);
    assert!(report.verification().upgraded_count > 0);
    let page = page(&report);
    assert!(page.contains("<span class=x>imported, upgraded</span>"));
    assert!(page.contains("<span class=x>upgraded</span>"));
    let rows = parsed(&rows(&report, csv::Rows::Acknowledgements));
    let origins: BTreeSet<&str> = rows.iter().map(|row| row["record_origin"].as_str()).collect();
    assert!(origins.is_superset(&BTreeSet::from(["imported, upgraded", "upgraded"])));
    let plans: BTreeSet<&str> = rows.iter().map(|row| row["plan_origin"].as_str()).collect();
    assert_eq!(plans, BTreeSet::from(["imported, upgraded"]));
}

#[test]
fn a_suppressed_route_has_no_deadline_and_needs_no_answer() {
    let suppressed = FilterTerms {
        action: "suppress",
        ..FilterTerms::default()
    };
    let service = Service::of(Some(signer()), &["fraud-scoring-monthly", "audit-log-quarterly"]);
    let package = service.package(&suppressed);
    let count = routes(&package).len();
    assert!(count > 0);
    let report = reported(&package, Standing::Verified);
    let page = page(&report);
    let row = "<td>suppressed, no answer required</td><td>none</td><td>nobody</td>";
    assert_eq!(page.matches(row).count(), count);
    for row in parsed(&rows(&report, csv::Rows::Routes)) {
        assert_eq!(
            (row["state"].as_str(), row["deadline_at"].as_str()),
            ("not_required", "")
        );
    }
    let document = assessment(&report);
    assert_eq!(problems(&schema(), &document), Vec::<String>::new());
    assert!(document.to_string().contains("no answer was due"));
}

#[test]
fn an_earlier_package_is_named_and_compared() {
    let service = Service::new(Some(signer()));
    let earlier = service.package(&FilterTerms::default());
    let later = service.package(&FilterTerms::default());
    let report = report(&later, Some(&earlier), Some(&key()));
    assert_eq!(report.standing(), Standing::Verified);
    let page = page(&report);
    let size = report.verification().previous_tree_size.unwrap();
    assert!(page.contains(&format!("of a log with {size} leaves")));
    assert!(page.contains("<th scope=row>Consistency</th><td class=ok>passed</td>"));
    let document = assessment(&report);
    assert_eq!(
        prop(&observations(&document)[0], "check-consistency"),
        Some("passed")
    );
    assert_eq!(
        prop(&observations(&document)[0], "previous-tree-size"),
        Some(size.to_string().as_str())
    );
}

#[test]
fn no_finding_says_satisfied_and_ids_follow_from_the_package() {
    for (_, package, standing) in packages() {
        let report = reported(&package, standing);
        let document = assessment(&report);
        assert_eq!(document, assessment(&report), "the same bytes each time");
        let findings = &document["assessment-results"]["results"][0]["findings"];
        let findings = findings.as_array().unwrap();
        assert_eq!(findings.len(), CONTROLS.len());
        for finding in findings {
            assert_eq!(finding["target"]["status"]["state"], "not-satisfied");
        }
        let text = document.to_string();
        let ids: Vec<&str> = text
            .split("\"uuid\":\"")
            .skip(1)
            .map(|rest| &rest[..36])
            .collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(unique.len(), ids.len());
        for used in [
            "\"observation-uuid\":\"",
            "\"subject-uuid\":\"",
            "\"actor-uuid\":\"",
            "\"href\":\"#",
        ] {
            for id in text.split(used).skip(1).map(|rest| &rest[..36]) {
                assert!(unique.contains(id), "{used} leads somewhere");
            }
        }
    }
}

#[test]
fn the_page_for_auditors_lists_the_same_controls() {
    let page = std::fs::read_to_string(fixture("../docs/auditors.md")).unwrap();
    for control in CONTROLS {
        let id = control.id.to_uppercase();
        let row = page
            .lines()
            .find(|line| line.starts_with('|') && line.contains(&format!("| {id}")))
            .unwrap_or_else(|| panic!("{id}"));
        assert!(row.contains(control.title) && row.contains(control.by), "{row}");
        assert!(
            control.related.is_none_or(|related| row.contains(related)),
            "{row}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Somebody with the key changes a character of the payload: whatever becomes of it, it is not verified.
    #[test]
    fn a_changed_package_is_unmistakable(place in 0.0..1.0_f64, to in proptest::char::range(' ', '~')) {
        let (_, whole, _) = packages().remove(0);
        let mut changed = payload(&whole);
        let mut characters: Vec<char> = changed.audit_package.chars().collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a text")]
        let place = (place * characters.len() as f64) as usize;
        prop_assume!(characters[place] != to);
        characters[place] = to;
        changed.audit_package = characters.into_iter().collect();
        unmistakable(&report(&sealed(&changed), None, Some(&key())));
    }
}
