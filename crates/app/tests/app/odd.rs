//! What a published store may hold that is unusual: both verifiers read it as the service does.

use cavra_domain::route::{Cycles, FilterTerms, RouteFilter};
use cavra_evidence::package::{KeyHistory, Signer};
use cavra_evidence::verify::{Verdict, verify, verify_with};
use serde_json::{Value, json};

use super::judging::Judge;
use super::signed::{Numbers, envelope, fraud, key, made, service, signed_by, trusting};
use super::support::{Service, at, everything, filter, take_with};

/// How many records are made.
const RECORDS: usize = 3_000;

fn pick(numbers: &mut Numbers, from: &[Value]) -> Value {
    from[numbers.below(from.len())].clone()
}

fn times() -> Vec<Value> {
    [
        "2016-12-31T23:59:60Z",
        "2026-05-31T20:59:60.25-03:00",
        "2026-05-30x10:00:00Z",
        "2026-05-30 10:00:00.123456789+05:59",
        "2026-05-30T10:00:00",
        " 2026-05-30T10:00:00-23:59\u{a0}",
        "2026-05-30t10:00:00z",
        "0000-01-01T00:00:00Z",
        "0000-02-29T00:00:00.5Z",
        "0000-12-31T23:59:59+00:00",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:60Z",
    ]
    .map(Value::from)
    .to_vec()
}

fn names() -> Vec<Value> {
    let odd = [
        "Slack",
        " pager-DUTY ",
        "İstanbul",
        "ΣΊΣΥΦΟΣ",
        "Straße-7",
        "ﬃ",
        "😀",
    ];
    odd.map(Value::from).to_vec()
}

fn owners() -> Vec<Value> {
    let odd = ["ana", "", "Ærø, bo", "ΣΣς", "  spaced ", "İ", "a\u{307}na"];
    odd.map(Value::from).to_vec()
}

/// The value under a key, or nothing there.
fn put(holder: &mut Value, numbers: &mut Numbers, key: &str, from: &[Value]) {
    if numbers.below(5) > 0 {
        holder[key] = pick(numbers, from);
    }
}

fn decision(numbers: &mut Numbers) -> Value {
    let mut decision = json!({ "provider": pick(numbers, &names()) });
    let mut put = |key: &str, from: &[Value]| put(&mut decision, numbers, key, from);
    put("owner", &owners());
    put("escalation_owner", &owners());
    put(
        "action",
        &[
            json!("deliver"),
            json!("Suppress"),
            json!(" DELIVER "),
            json!(null),
            json!(""),
        ],
    );
    put(
        "acknowledgement_minutes",
        &[
            json!(15),
            json!(0),
            json!(-5),
            json!(1.9),
            json!(0.5),
            json!("30"),
            json!(" +7 "),
            json!("x"),
            json!(""),
            json!(true),
            json!(null),
            json!([1]),
            json!(4_294_967_295_u32),
            json!("4294967295"),
            json!("-99999999999999999999"),
            json!(1e3),
            json!("1_000"),
            json!("٣"),
        ],
    );
    put(
        "owner_availability",
        &[
            json!(null),
            json!({}),
            json!({ "available": false }),
            json!({ "available": "no" }),
            json!("yes"),
            json!([1]),
            json!(5),
            json!({ "available": 0 }),
        ],
    );
    put(
        "maintenance_window",
        &[json!(null), json!({}), json!("window"), json!([])],
    );
    put(
        "category",
        &[
            json!("other"),
            json!("Owner-Calendar"),
            json!(" healthy_schedule "),
            json!("deliver"),
            json!("none"),
            json!(7),
        ],
    );
    put(
        "reason",
        &[json!(""), json!("it is HEALTHY today"), json!("due"), json!(7)],
    );
    decision
}

fn plan(numbers: &mut Numbers, number: usize) -> Value {
    let lists = [
        json!("slack"),
        json!(["slack", 5, " Jira "]),
        json!({}),
        json!(null),
        json!([]),
    ];
    let mut document = json!({});
    if numbers.below(3) == 0 {
        put(
            &mut document,
            numbers,
            "acknowledgement_required_providers",
            &lists,
        );
        put(
            &mut document,
            numbers,
            "owners",
            &[json!(["a", "b"]), json!("x"), json!([""]), json!([7])],
        );
    } else {
        let decisions: Vec<Value> = (0..=numbers.below(5)).map(|_| decision(numbers)).collect();
        document["route_decisions"] = json!(decisions);
    }
    put(&mut document, numbers, "generated_at", &times());
    let mut record = json!({
        "metadata_kind": "go-backend-rollback-drill-notification-plan", "session_id": format!("gordn-{number}"),
        "schedule_id": format!(" s{} ", numbers.below(12)),
    });
    put(&mut record, numbers, "created_at", &times());
    put(&mut record, numbers, "acknowledgement_required_providers", &lists);
    // A published store may keep the document in the record itself.
    if numbers.below(6) == 0 {
        for (key, value) in document.as_object().unwrap() {
            record[key] = value.clone();
        }
    } else {
        record["plan"] = document;
    }
    record
}

fn answer(numbers: &mut Numbers, number: usize) -> Value {
    let plans: Vec<Value> = (0..3)
        .map(|_| json!(format!("gordn-{}", numbers.below(RECORDS))))
        .collect();
    let mut document = json!({});
    let mut put = |key: &str, from: &[Value]| put(&mut document, numbers, key, from);
    put("provider", &names());
    put("owner", &owners());
    put(
        "plan_id",
        &[&plans[..], &[json!(""), json!(null), json!(7)]].concat(),
    );
    put(
        "acknowledgement_state",
        &[
            json!("Escalated"),
            json!(" resolved "),
            json!(null),
            json!(""),
            json!("dismissed"),
            json!("acknowledged"),
        ],
    );
    put("acknowledged_at", &times());
    put("acknowledged_by", &[json!("ana"), json!(""), json!(7)]);
    put("external_ref", &[json!("CHG-1"), json!(null)]);
    put(
        "notes",
        &[
            json!("two\nlines"),
            json!("a \"quote\" and \\ and \u{7f}é😀"),
            json!([]),
        ],
    );
    put(
        "actor",
        &[
            json!({ "issuer": "https://idp.example.org", "subject": "u-1", "verified": true }),
            json!("ana"),
            json!([]),
        ],
    );
    let mut record = json!({
        "metadata_kind": "go-backend-rollback-drill-notification-ack", "session_id": format!("gordack-{number}"),
        "schedule_id": format!("s{}", numbers.below(12)), "acknowledgement": document,
    });
    let mut put = |key: &str, from: &[Value]| self::put(&mut record, numbers, key, from);
    put("created_at", &times());
    put("signer", &[json!("bo"), json!(null)]);
    put("provider", &names());
    put("acknowledgement_state", &[json!("dismissed"), json!("resolved")]);
    record
}

fn undo(numbers: &mut Numbers, number: usize) -> Value {
    let undone = numbers.below(RECORDS);
    json!({
        "metadata_kind": "go-backend-rollback-drill-notification-ack-undo",
        "session_id": format!("gordackundo-{number}"), "schedule_id": "s1", "created_at": pick(numbers, &times()),
        "acknowledgement_undo": {
            "acknowledgement_id": format!("gordack-{undone}"), "provider": "slack", "undone_state": "resolved",
            "undone_by": "ana", "reason": "a mistake", "undone_at": pick(numbers, &times()),
        },
    })
}

#[test]
fn records_of_every_odd_form_are_read_by_both_verifiers_as_the_service_reads_them() {
    let service = signed_by(1);
    let mut numbers = Numbers(5);
    let records: Vec<Value> = (0..RECORDS)
        .map(|number| match numbers.below(12) {
            0 => plan(&mut numbers, number),
            1 | 2 => undo(&mut numbers, number),
            _ => answer(&mut numbers, number),
        })
        .collect();
    let report = take_with(&service.app, &json!({ "items": records }).to_string(), true).unwrap();
    assert!(report.imported_count > 1_500, "{:?}", report.refused);
    let public = key(1).verifier();
    let mut judge = Judge::new("odd", &[("key.pub", &public)], |package| {
        verify(package, trusting(&public))
    });
    let of = |owner, provider, schedule_id| {
        filter(FilterTerms {
            owner,
            provider,
            schedule_id,
            ..FilterTerms::default()
        })
    };
    let scopes: [RouteFilter; 5] = [
        everything(),
        filter(FilterTerms {
            action: "suppress",
            ..FilterTerms::default()
        }),
        of("ΣΣ", "", ""),
        of("", "İSTANBUL", ""),
        of("i\u{307}", "", "s3"),
    ];
    let mut routes = 0;
    for (number, scope) in scopes.into_iter().enumerate() {
        for (cycle, cycles) in [("now", Cycles::Current), ("ever", Cycles::All)] {
            let package = envelope(&service, &made(&service, scope.clone(), cycles));
            routes += judge
                .judge(&format!("{number}-{cycle}"), &package, true)
                .route_count;
        }
    }
    assert!(routes > 500, "{routes}");
    judge.finish();
}

/// A service with the same past each time, which signs with the newest of these keys.
fn of_keys(keys: &[u8]) -> Service {
    let mut history = KeyHistory::first(&key(keys[0]).verifier());
    for pair in keys.windows(2) {
        history = history.rotated(
            &key(pair[0]),
            &key(pair[1]).verifier(),
            at("2026-01-01T00:00:00Z"),
        );
    }
    let newest = key(keys[keys.len() - 1]);
    let service = service(Some(Signer::new(newest, Some(history)).unwrap()));
    super::signed::fill(&service);
    service
}

#[test]
fn a_package_from_before_the_rotation_of_a_key_is_compared_whichever_key_is_trusted() {
    let before = of_keys(&[1]);
    let earlier = envelope(&before, &made(&before, fraud(), Cycles::Current));
    let after = of_keys(&[1, 2]);
    made(&after, fraud(), Cycles::Current);
    let now = envelope(&after, &made(&after, fraud(), Cycles::Current));
    for trusted in [1, 2] {
        let public = key(trusted).verifier();
        let mut judge = Judge::new(
            &format!("rotated-{trusted}"),
            &[("key.pub", &public)],
            |package| verify_with(package, Some(&earlier), trusting(&public)),
        );
        let found = judge.judge("now", &now, true);
        assert_eq!(found.verdict, Verdict::Verified);
        // It is the previous package as well; it is verified only by who trusts the key that signed it.
        judge.judge("earlier", &earlier, trusted == 1);
        judge.finish();
    }
    // Somebody else's key, which this log does not name; and nobody's.
    let strangers = of_keys(&[3]);
    let stranger = envelope(&strangers, &made(&strangers, fraud(), Cycles::Current));
    let nobody = service(None);
    super::signed::fill(&nobody);
    let unsigned = envelope(&nobody, &made(&nobody, fraud(), Cycles::Current));
    let public = key(2).verifier();
    for previous in [stranger, unsigned] {
        let found = verify_with(&now, Some(&previous), trusting(&public));
        assert_eq!(found.verdict, Verdict::Failed);
        let failure = found.failure.unwrap();
        assert!(
            failure.problem.contains("not signed by a key of this log"),
            "{failure:?}"
        );
    }
}
