//! The main job from end to end: records in, routes acknowledged, a package out, a restart, everything still there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::program::{B, Folder, Serving, quickstart, run};

const SCOPE: &str = "schedule_id=checkout-edge-weekly&action=deliver";

/// Each route of the scope with its state and how often it changed.
fn states(serving: &Serving) -> BTreeMap<String, (String, u64)> {
    let page = serving.get(&format!("{B}/routes?{SCOPE}&limit=500"));
    let rows = page["items"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            let state = (text("acknowledgement_state"), row["revision"].as_u64().unwrap());
            (text("route_id"), state)
        })
        .collect()
}

/// The text of the package inside an answer, as it came over the wire.
fn package_text(answer: &str) -> &str {
    let end = answer.rfind(",\"metadata\":{").unwrap();
    answer[..end].strip_prefix("{\"audit_package\":").unwrap()
}

#[test]
fn what_was_acknowledged_and_exported_is_there_after_a_restart() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let arguments = ["--database", &database, "--import", &quickstart()];
    let serving = Serving::start(&arguments);
    let outstanding = serving.count(&format!("{SCOPE}&state=outstanding"));
    assert!(outstanding > 0);

    let filter = json!({ "schedule_id": "checkout-edge-weekly", "state": "outstanding" });
    let bulk = json!({ "filter": filter, "acknowledged_by": "ana@example.org", "external_ref": "CHG-4711" });
    let done = serving.done(&format!("{B}/acknowledgements/bulk"), &bulk);
    assert_eq!(done["changed_count"], outstanding);
    assert_eq!(serving.count(&format!("{SCOPE}&state=outstanding")), 0);

    let scope = json!({ "schedule_id": "checkout-edge-weekly", "generated_by": "ana@example.org" });
    let (status, answer) = serving.post(&format!("{B}/acknowledgements/audit-package"), &scope.to_string());
    assert_eq!(status, 200, "{answer}");
    let package: Value = serde_json::from_str(package_text(&answer)).unwrap();
    let before = states(&serving);
    let exported: BTreeMap<String, (String, u64)> = package["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| {
            let text = |key: &str| route[key].as_str().unwrap().to_owned();
            (
                text("route_id"),
                (text("acknowledgement_state"), route["revision"].as_u64().unwrap()),
            )
        })
        .collect();
    assert_eq!(exported, before, "the exported scope is the visible scope");
    let path = format!(
        "{B}/acknowledgements/audit-packages/{}",
        package["audit_id"].as_str().unwrap()
    );
    assert_eq!(serving.bytes(&path), package_text(&answer).as_bytes());
    let history = serving.get(&format!("{B}?limit=1"))["total"].clone();
    serving.stop();

    // The import is still asked for; what is there already is left as it is.
    let serving = Serving::start(&arguments);
    assert_eq!(states(&serving), before);
    assert_eq!(serving.bytes(&path), package_text(&answer).as_bytes());
    assert_eq!(serving.get(&format!("{B}?limit=1"))["total"], history);
    let shown = serving.get(&format!("{B}?audit_id={}", package["audit_id"].as_str().unwrap()));
    assert_eq!(shown["total"], 1);
    serving.stop();
    run(&["check", "--database", &database]).succeeded();
}
