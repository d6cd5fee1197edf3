//! Request and answer pairs as files: `fixtures/http/README.md` has their form and how to write them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cavra_http::error::Code;
use serde_json::{Map, Value, json};

use crate::client::{Answer, Request, encoded};
use crate::contract::Contract;
use crate::server::{Server, fixture};

/// The status table, which is no pair.
const PROBLEM_CODES: &str = "problem-codes.json";

/// Whether the files are written instead of compared.
fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Compares a file with what it should hold, or writes it.
fn settle(path: &Path, held: &str, now: &str, problems: &mut Vec<String>) {
    if held == now {
        return;
    }
    if updating() {
        std::fs::write(path, now).unwrap();
        return;
    }
    let line = held.lines().zip(now.lines()).take_while(|(a, b)| a == b).count();
    problems.push(format!(
        "{}:{}:\n  the file: {}\n  now:      {}",
        path.display(),
        line + 1,
        held.lines().nth(line).unwrap_or("(its end)"),
        now.lines().nth(line).unwrap_or("(its end)"),
    ));
}

fn pairs() -> Vec<(String, PathBuf)> {
    let mut pairs: Vec<(String, PathBuf)> = std::fs::read_dir(fixture("http"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .filter(|(_, path)| path.file_name().is_some_and(|name| name != PROBLEM_CODES))
        .collect();
    pairs.sort();
    pairs
}

/// The operation that a file is about: its name up to the first dash.
fn operation(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

fn request(described: &Value) -> Request {
    let text = |name: &str| described[name].as_str().unwrap_or_default().to_owned();
    let query: Vec<String> = described["query"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value.as_str().unwrap())))
        .collect();
    let target = match query.as_slice() {
        [] => text("path"),
        query => format!("{}?{}", text("path"), query.join("&")),
    };
    let mut request = Request::new(&text("method"), &target);
    for (name, value) in described["headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap());
    }
    match &described["body"] {
        Value::Null => request,
        Value::String(text) => request.body(text.as_str()),
        body => request.body(body.to_string()),
    }
}

/// The members of `now` that `held` names; of a list, all elements, each reduced to what the first held one names.
fn part(held: &Value, now: &Value) -> Value {
    match (held, now) {
        (Value::Object(held), Value::Object(now)) => {
            let named = held
                .iter()
                .filter_map(|(key, held)| Some((key.clone(), part(held, now.get(key)?))));
            Value::Object(named.collect())
        }
        (Value::Array(held), Value::Array(now)) => match held.first() {
            None => json!([]),
            Some(first) => now.iter().map(|now| part(first, now)).collect(),
        },
        _ => now.clone(),
    }
}

/// The lines of a text that the held ones begin like: a line's value is what follows the last space.
fn lines(held: &Value, now: &str) -> Value {
    let name = |line: &str| line.rsplit_once(' ').map_or(line, |(name, _)| name).to_owned();
    let now: BTreeMap<String, &str> = now.lines().map(|line| (name(line), line)).collect();
    held.as_array()
        .into_iter()
        .flatten()
        .filter_map(|held| now.get(&name(held.as_str().unwrap())).map(|line| json!(line)))
        .collect()
}

/// The pair as it should be, from what came back.
fn answered(pair: &Map<String, Value>, answer: &Answer) -> Value {
    let mut pair = pair.clone();
    pair.insert("status".into(), json!(answer.status));
    if let Some(held) = pair.get("response_part") {
        let part = part(held, &answer.json());
        pair.insert("response_part".into(), part);
    } else if let Some(held) = pair.get("response_lines") {
        // Without lines to compare the answer may as well be no text.
        let text = if held == &json!([]) {
            String::new()
        } else {
            answer.text()
        };
        let lines = lines(held, &text);
        pair.insert("response_lines".into(), lines);
    } else {
        pair.insert("response".into(), answer.json());
    }
    Value::Object(pair)
}

#[test]
fn every_pair_in_the_files_is_answered_as_it_was_and_as_openapi_says() {
    let mut problems = Vec::new();
    for (name, path) in pairs() {
        let held = std::fs::read_to_string(&path).unwrap();
        let pair: Map<String, Value> = serde_json::from_str(&held).expect("a pair is a JSON object");
        let server = Server::start();
        let contract = Contract::of(&server);
        for before in pair.get("before").and_then(Value::as_array).into_iter().flatten() {
            server.send(&request(before)).ok();
        }
        let answer = server.send(&request(&pair["request"]));
        problems.extend(contract.problems(operation(&name), &answer));
        settle(&path, &held, &pretty(&answered(&pair, &answer)), &mut problems);
    }
    assert!(
        problems.is_empty(),
        "{}\nUPDATE_GOLDEN=1 writes the files anew",
        problems.join("\n")
    );
}

#[test]
fn every_operation_has_a_pair_and_every_pair_an_operation() {
    let served: BTreeSet<String> = Contract::of(&Server::start()).operations().collect();
    let paired: BTreeSet<String> = pairs()
        .into_iter()
        .map(|(name, _)| operation(&name).to_owned())
        .collect();
    assert_eq!(served, paired);
}

#[test]
fn the_table_of_problem_codes_stays_as_it_is() {
    let path = fixture("http").join(PROBLEM_CODES);
    let table: Map<String, Value> = Code::ALL
        .iter()
        .map(|code| {
            (
                code.as_str().to_owned(),
                json!({ "status": code.status(), "title": code.title() }),
            )
        })
        .collect();
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    let mut problems = Vec::new();
    settle(&path, &held, &pretty(&Value::Object(table)), &mut problems);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
