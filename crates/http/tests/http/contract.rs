//! The OpenAPI document against itself and against what is served.

use std::collections::{BTreeMap, BTreeSet};

use cavra_http::error::Code;
use serde_json::{Map, Value, json};

use crate::client::{Answer, Request};
use crate::server::Server;

/// The methods that are tried on every path.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Codes that no operation has: they come before one is found.
const BEFORE_OPERATIONS: [Code; 2] = [Code::NotFound, Code::MethodNotAllowed];

/// The served description.
pub(crate) struct Contract(Value);

impl Contract {
    /// The description of a server, with what its operations share in place of the references to it.
    pub(crate) fn of(server: &Server) -> Self {
        let mut described = server.get("/openapi.json");
        let shared = described["components"]["responses"].clone();
        let operations = described["paths"].as_object_mut().unwrap().values_mut();
        for operation in operations.flat_map(|methods| methods.as_object_mut().unwrap().values_mut()) {
            for response in operation["responses"].as_object_mut().unwrap().values_mut() {
                let name = response["$ref"]
                    .as_str()
                    .map(|name| name.replace("#/components/responses/", ""));
                if let Some(name) = name {
                    *response = shared[&name].clone();
                }
            }
        }
        Self(described)
    }

    fn paths(&self) -> &Map<String, Value> {
        self.0["paths"].as_object().unwrap()
    }

    /// Path, method in capitals, operation.
    fn all(&self) -> impl Iterator<Item = (&str, String, &Value)> {
        self.paths().iter().flat_map(|(path, operations)| {
            let operations = operations.as_object().unwrap();
            operations
                .iter()
                .map(move |(method, operation)| (path.as_str(), method.to_uppercase(), operation))
        })
    }

    /// The operations' names.
    pub(crate) fn operations(&self) -> impl Iterator<Item = String> {
        self.all()
            .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
    }

    /// The names of the operations that take a body.
    pub(crate) fn posts(&self) -> impl Iterator<Item = String> {
        self.all()
            .filter(|(_, method, operation)| method == "POST" && operation["requestBody"].is_object())
            .map(|(_, _, operation)| operation["operationId"].as_str().unwrap().to_owned())
    }

    /// The operation that a request is for, by its method and path.
    pub(crate) fn operation_of(&self, method: &str, path: &str) -> Option<&str> {
        let segments: Vec<&str> = path.split('/').collect();
        let matches = |template: &str| {
            let template: Vec<&str> = template.split('/').collect();
            let same = |(template, segment): (&&str, &&str)| template.starts_with('{') || template == segment;
            template.len() == segments.len() && template.iter().zip(&segments).all(same)
        };
        self.all()
            .find(|(template, of, _)| of == method && matches(template))
            .and_then(|(.., operation)| operation["operationId"].as_str())
    }

    /// Where an answer is not what the description of its operation says.
    pub(crate) fn problems(&self, operation_id: &str, answer: &Answer) -> Vec<String> {
        let Some((.., operation)) = self
            .all()
            .find(|(.., operation)| operation["operationId"] == operation_id)
        else {
            return vec![format!("{operation_id} is not described")];
        };
        let Some(described) = operation["responses"].get(answer.status.to_string()) else {
            return vec![format!(
                "{operation_id}: status {} is not described",
                answer.status
            )];
        };
        let given = answer.header("content-type").unwrap_or_default();
        let media = given.split(';').next().unwrap_or_default();
        let Some(schema) = described["content"].get(media).map(|content| &content["schema"]) else {
            return vec![format!(
                "{operation_id}: {media} is not described for {}",
                answer.status
            )];
        };
        let body = if media.ends_with("json") {
            answer.json()
        } else {
            json!(answer.text())
        };
        self.validator(schema)
            .iter_errors(&body)
            .map(|error| {
                format!(
                    "{operation_id} {}: {}: {error}",
                    answer.status,
                    error.instance_path()
                )
            })
            .collect()
    }

    /// A validator of a schema whose references lead into this document.
    fn validator(&self, schema: &Value) -> jsonschema::Validator {
        let mut root = schema.clone();
        root["components"] = self.0["components"].clone();
        jsonschema::draft202012::new(&root).expect("the schema is one")
    }
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(target) if key == "$ref" => {
                        found.insert(target);
                    }
                    member => references(member, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| references(element, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_in_openapi_leads_somewhere_and_every_component_is_used() {
    let contract = Contract::of(&Server::start());
    let mut found = BTreeSet::new();
    references(&contract.0, &mut found);
    let broken: Vec<&&str> = found
        .iter()
        .filter(|target| {
            let pointer = target.strip_prefix('#');
            pointer.is_none_or(|pointer| contract.0.pointer(pointer).is_none())
        })
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
    let schemas = contract.0["components"]["schemas"].as_object().unwrap();
    let unused: Vec<&String> = schemas
        .keys()
        .filter(|name| !found.contains(format!("#/components/schemas/{name}").as_str()))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn every_operation_in_openapi_has_a_name_of_its_own() {
    let contract = Contract::of(&Server::start());
    let names: Vec<String> = contract.operations().collect();
    let unique: BTreeSet<&String> = names.iter().collect();
    assert_eq!(names.len(), unique.len(), "{names:?}");
}

#[test]
fn every_operation_describes_its_success_its_parameters_and_its_problems_under_their_statuses() {
    let contract = Contract::of(&Server::start());
    let mut described_codes = BTreeSet::new();
    for (path, method, operation) in contract.all() {
        let responses = operation["responses"].as_object().unwrap();
        let success = if path == "/console/sign-in" { "303" } else { "200" };
        assert!(responses.contains_key(success), "{method} {path}");
        for (status, response) in responses {
            assert!(
                !response["description"].as_str().unwrap().is_empty(),
                "{path} {status}"
            );
            // Neither a redirect nor 304 has a body.
            let content = response["content"].as_object();
            let bare = matches!(status.as_str(), "303" | "304");
            assert_eq!(content.is_none(), bare, "{path} {status}");
            for (media, content) in content.into_iter().flatten() {
                contract.validator(&content["schema"]);
                let problem = status != success;
                assert_eq!(
                    media == "application/problem+json",
                    problem,
                    "{method} {path} {status}"
                );
                if problem {
                    let codes = content["schema"]
                        .pointer("/allOf/1/properties/code/enum")
                        .unwrap();
                    for code in codes.as_array().unwrap() {
                        let code = Code::ALL.iter().find(|known| code == known.as_str()).unwrap();
                        assert_eq!(status, &code.status().to_string(), "{path}");
                        described_codes.insert(*code);
                    }
                }
            }
        }
        let in_path: BTreeSet<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let declared: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(in_path, declared, "{path}");
        assert_eq!(
            // There is nothing to say when a session ends.
            method == "POST" && path != "/console/sign-out",
            operation.get("requestBody").is_some(),
            "{method} {path}"
        );
    }
    described_codes.extend(BEFORE_OPERATIONS);
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    assert_eq!(
        described_codes, all,
        "each problem code belongs to an operation, or to none at all"
    );
}

#[test]
fn every_operation_that_reads_or_writes_evidence_names_a_permission_that_the_session_knows() {
    let server = Server::start();
    let contract = Contract::of(&server);
    let session = server.get("/console/session");
    let mut open = BTreeSet::new();
    for (path, _, operation) in contract.all() {
        match operation["x-cavra-permission"].as_str() {
            Some(permission) => {
                assert_eq!(
                    session["permissions"][permission],
                    json!(true),
                    "{path}: {permission}"
                );
            }
            None => {
                open.insert(path);
            }
        }
    }
    let expected = [
        "/console/callback",
        "/console/config",
        "/console/security-boundary",
        "/console/session",
        "/console/sign-in",
        "/console/sign-out",
        "/health",
        "/livez",
        "/openapi.json",
        "/readyz",
        "/version",
    ];
    assert_eq!(open, BTreeSet::from(expected));
}

#[test]
fn every_endpoint_of_the_console_configuration_is_a_described_path() {
    let server = Server::start();
    let contract = Contract::of(&server);
    let config = server.get("/console/config");
    let endpoints = config["endpoints"].as_object().unwrap();
    assert!(!endpoints.is_empty());
    for (name, path) in endpoints {
        assert!(
            contract.paths().contains_key(path.as_str().unwrap()),
            "{name}: {path}"
        );
    }
}

#[test]
fn every_other_method_on_a_path_is_refused_and_the_answer_names_those_that_are_served() {
    let server = Server::start();
    let contract = Contract::of(&server);
    let before = server.written();
    let mut by_path: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in contract.all() {
        let path = path
            .replace("{schedule_id}", "checkout-edge-weekly")
            .replace("{audit_id}", "gordackaudit-2f759d2f334d6962")
            .replace("{acknowledgement_id}", "gordack-1")
            .replace("{bulk_id}", "gordbulkack-1");
        by_path.entry(path).or_default().insert(method);
    }
    for (path, methods) in &by_path {
        for method in METHODS.iter().filter(|method| !methods.contains(**method)) {
            let answer = server.send(&Request::new(method, path));
            assert_eq!(answer.status, 405, "{method} {path}");
            let allow = answer.header("allow").unwrap_or_default();
            let allowed: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
            assert_eq!(&allowed, methods, "{method} {path}");
        }
    }
    assert_eq!(server.written(), before);
}
