//! OpenAPI 3.1, made from the table of operations and the types that the handlers use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cavra_app::import::ImportReport;
use cavra_app::views::RouteRow;
use cavra_domain::acknowledgement::AcknowledgementDocument;
use cavra_domain::archive::{ArchiveHealth, ArchiveReferenceDocument};
use cavra_domain::audit_package::AuditPackage;
use cavra_domain::bulk::BulkDocument;
use cavra_domain::dashboard::Dashboard;
use cavra_domain::delivery::DeliveryDocument;
use cavra_domain::escalation::EscalationPlan;
use cavra_domain::export::AuditorExport;
use cavra_domain::retry::RetryPlan;
use cavra_domain::schedule::{NotificationPlan, ScheduleReport};
use cavra_domain::suppression::SuppressionTrend;
use cavra_domain::undo::{BulkUndoDocument, UndoDocument};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::error::{Code, ProblemDocument};
use crate::handlers::evidence::IMPORT_TYPES;
use crate::routes::{Body, EVERYWHERE, Method, Operation, Output, TABLE, WITH_BODY, WITH_PERMISSION};

/// The document; made once.
static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

/// The OpenAPI document of this service.
pub fn document() -> &'static Value {
    &DOCUMENT
}

/// The JSON Schemas (draft 2020-12) of the documents that this service stores or answers with, each complete in
/// itself, by name.
pub fn schemas() -> BTreeMap<&'static str, Schema> {
    fn of<T: JsonSchema>() -> Schema {
        SchemaSettings::draft2020_12()
            .for_serialize()
            .into_generator()
            .into_root_schema_for::<T>()
    }
    BTreeMap::from([
        ("acknowledgement", of::<AcknowledgementDocument>()),
        ("acknowledgement-undo", of::<UndoDocument>()),
        ("archive-health", of::<ArchiveHealth>()),
        ("archive-reference", of::<ArchiveReferenceDocument>()),
        ("auditor-export", of::<AuditorExport>()),
        ("audit-package", of::<AuditPackage>()),
        ("bulk-acknowledgement", of::<BulkDocument>()),
        ("bulk-acknowledgement-undo", of::<BulkUndoDocument>()),
        ("dashboard", of::<Dashboard<Map<String, Value>>>()),
        ("delivery", of::<DeliveryDocument>()),
        ("escalation-plan", of::<EscalationPlan>()),
        ("import-report", of::<ImportReport>()),
        ("notification-plan", of::<NotificationPlan>()),
        ("problem", of::<ProblemDocument>()),
        ("retry-plan", of::<RetryPlan>()),
        ("route", of::<RouteRow>()),
        ("schedule-report", of::<ScheduleReport>()),
        ("suppression-trend", of::<SuppressionTrend<RouteRow>>()),
    ])
}

/// Two generators, because a type may look different on the way in and on the way out.
struct Generators {
    input: SchemaGenerator,
    output: SchemaGenerator,
}

fn build() -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut generators = Generators {
        input: settings().for_deserialize().into_generator(),
        output: settings().for_serialize().into_generator(),
    };
    let problem = generators.output.subschema_for::<ProblemDocument>();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for operation in TABLE {
        let described = describe(operation, &mut generators, &problem);
        paths
            .entry(described_path(operation.path))
            .or_default()
            .insert(operation.method.as_str().to_lowercase(), described);
    }
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    for definitions in [
        generators.input.take_definitions(true),
        generators.output.take_definitions(true),
    ] {
        schemas.extend(definitions);
    }
    let responses = shared_problems(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "CAVRA drill governance",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Answers for rollback-drill notifications: routes, acknowledgements, audit packages",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": { "schemas": schemas, "responses": responses, "securitySchemes": {
            "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "An access token of the configured OpenID provider." },
            "session": { "type": "apiKey", "in": "cookie", "name": crate::authenticate::SESSION_COOKIE,
                "description": "The session of a browser that has signed in; writes also need X-CSRF-Token." },
        } },
    })
}

/// Takes the problems out of the operations: many operations have the same ones, and each is described once.
fn shared_problems(paths: &mut BTreeMap<String, Map<String, Value>>) -> BTreeMap<String, Value> {
    let mut shared: BTreeMap<String, Value> = BTreeMap::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let operations = paths.values_mut().flat_map(|operations| operations.values_mut());
    let responses = operations.filter_map(|operation| operation.get_mut("responses")?.as_object_mut());
    for (status, response) in responses.flatten() {
        if response.pointer("/content/application~1problem+json").is_none() {
            continue;
        }
        let name = names.entry(response.to_string()).or_insert_with(|| {
            let first = format!("Problem{status}");
            let mut name = first.clone();
            let mut number = 1;
            while shared.contains_key(&name) {
                number += 1;
                name = format!("{first}-{number}");
            }
            shared.insert(name.clone(), response.clone());
            name
        });
        *response = json!({ "$ref": format!("#/components/responses/{name}") });
    }
    shared
}

fn describe(operation: &Operation, generators: &mut Generators, problem: &Schema) -> Value {
    let mut described = Map::new();
    described.insert("operationId".into(), json!(operation.id));
    described.insert("summary".into(), json!(operation.summary));
    if let Some(permission) = operation.permission {
        described.insert("x-cavra-permission".into(), json!(permission.as_str()));
        // The empty one stands for open local mode, and for reading where that needs no token.
        described.insert(
            "security".into(),
            json!([{ "bearer": [] }, { "session": [] }, {}]),
        );
    }
    let parameters = parameters(operation, generators);
    if !parameters.is_empty() {
        described.insert("parameters".into(), json!(parameters));
    }
    match operation.body {
        Body::None => {}
        Body::Json(schema) => {
            let content = json!({ "application/json": { "schema": schema(&mut generators.input) } });
            described.insert(
                "requestBody".into(),
                json!({ "required": true, "content": content }),
            );
        }
        Body::Import => {
            // What is no record is refused one by one, with its reason, and not as a whole.
            let records =
                json!({ "type": "array", "description": "Evidence metadata records (JSON objects)." });
            let shapes = |media: &str| match media {
                "application/json" => json!({ "schema": { "oneOf": [
                    {
                        "type": "object",
                        "properties": { "items": records },
                        "required": ["items"],
                        "additionalProperties": false,
                    },
                    records,
                ] } }),
                _ => json!({ "schema": { "type": "string", "format": "binary" } }),
            };
            let content: Map<String, Value> = IMPORT_TYPES
                .iter()
                .map(|media| ((*media).to_owned(), shapes(media)))
                .collect();
            described.insert(
                "requestBody".into(),
                json!({ "required": true, "content": content }),
            );
        }
    }
    described.insert("responses".into(), responses(operation, generators, problem));
    Value::Object(described)
}

fn parameters(operation: &Operation, generators: &mut Generators) -> Vec<Value> {
    let mut parameters: Vec<Value> = operation
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|part| part.split(':').next().unwrap_or(part))
        .map(|name| {
            json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": { "type": "string", "minLength": 1 },
                "example": example(name),
            })
        })
        .collect();
    parameters.extend(headers(operation));
    // A query's members are parameters, not a definition of their own.
    let reference = (operation.query)(&mut generators.input);
    let name = reference
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|path| path.rsplit('/').next())
        .map(str::to_owned);
    let Some(query) = name.and_then(|name| generators.input.definitions_mut().remove(&name)) else {
        return parameters;
    };
    let members = query
        .get("properties")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (name, schema) in members {
        let mut schema = schema;
        let description = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        parameters.push(json!({
            "name": name,
            "in": "query",
            "required": false,
            "description": description,
            "schema": not_null(schema),
        }));
    }
    parameters
}

/// A path as OpenAPI writes it: without the pattern that lets a parameter hold slashes.
fn described_path(path: &str) -> String {
    path.replace(":.*}", "}")
}

/// Operations whose answer has an entity tag.
const CONDITIONAL: [&str; 5] = ["bulkReport", "dashboard", "history", "routeSummary", "routes"];

/// Operations that have a short form of their answer, and what that is.
const SHORT: [(&str, &str); 4] = [
    ("bulkAcknowledge", LISTS_LEFT_OUT),
    (
        "makeRetryPlan",
        "`return=minimal` leaves out the plan; it can be asked for by its id.",
    ),
    (
        "recordArchiveHealth",
        "`return=minimal` leaves out the report; it can be asked for by its id.",
    ),
    ("undoBulk", LISTS_LEFT_OUT),
];

const LISTS_LEFT_OUT: &str =
    "`return=minimal` leaves out the lists of acknowledgements and of evidence records.";

/// The header fields that an operation heeds.
fn headers(operation: &Operation) -> Vec<Value> {
    let field = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema });
    let mut fields = Vec::new();
    if operation.takes_body() {
        let key = json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" });
        let description = "The same request with the same key again has no second effect and gets the same answer, for \
            24 hours. Answers that are problems, and those of dry runs, are not kept.";
        fields.push(field("Idempotency-Key", description, key));
    }
    if let Some((_, description)) = SHORT.iter().find(|(id, _)| *id == operation.id) {
        fields.push(field("Prefer", description, json!({ "type": "string" })));
    }
    if matches!(operation.output, Output::Events) {
        let description =
            "The `id` of the last event that the caller has; browsers send it when they come back.";
        fields.push(field("Last-Event-ID", description, json!({ "type": "string" })));
    }
    if CONDITIONAL.contains(&operation.id) {
        let description = "Entity tags that the caller has; 304 when nothing but ages has changed since.";
        fields.push(field("If-None-Match", description, json!({ "type": "string" })));
    }
    fields
}

/// A path parameter's value in the quickstart data.
fn example(name: &str) -> &'static str {
    match name {
        "schedule_id" => "payments-ledger-monthly",
        "size" => "1",
        "tile" => "0/000.p/1",
        "audit_id" => "gordackaudit-2f759d2f334d6962",
        "acknowledgement_id" => "gordack-035e04e99d2c981f",
        "bulk_id" => "gordbulkack-019e830e-1a00-7000-8000-000000000002",
        _ => "",
    }
}

/// A query parameter is there or not; it is never null.
fn not_null(mut schema: Value) -> Value {
    if let Some(types) = schema.get_mut("type")
        && let Some(only) = types
            .as_array()
            .and_then(|types| types.iter().find(|one| **one != json!("null")))
            .cloned()
    {
        *types = only;
    }
    schema
}

fn responses(operation: &Operation, generators: &mut Generators, problem: &Schema) -> Value {
    let content = match operation.output {
        Output::Json(schema) => json!({ "application/json": { "schema": schema(&mut generators.output) } }),
        Output::JsonOrEnvelope(schema) => json!({
            "application/json": { "schema": schema(&mut generators.output) },
            "application/vnd.dsse+json": { "schema": {
                "type": "object",
                "description": "A DSSE envelope; its payload is described in docs/verify/FORMAT.md.",
                "properties": {
                    "payload": { "type": "string", "contentEncoding": "base64" },
                    "payloadType": { "type": "string" },
                    "signatures": { "type": "array", "items": {
                        "type": "object",
                        "properties": { "keyid": { "type": "string" }, "sig": { "type": "string" } },
                        "required": ["keyid", "sig"],
                    } },
                },
                "required": ["payload", "payloadType", "signatures"],
            } },
        }),
        Output::Text(media) => json!({ (media): { "schema": { "type": "string" } } }),
        // What an event holds, no schema of this version can say.
        Output::Events => json!({ "text/event-stream": {} }),
        Output::Elsewhere => Value::Null,
    };
    let mut responses = Map::new();
    if content.is_null() {
        let location =
            json!({ "description": "Where to go", "required": true, "schema": { "type": "string" } });
        responses.insert(
            "303".into(),
            json!({ "description": "Elsewhere", "headers": { "Location": location } }),
        );
    } else {
        responses.insert("200".into(), json!({ "description": "Done", "content": content }));
        if CONDITIONAL.contains(&operation.id) {
            responses.insert(
                "304".into(),
                json!({ "description": "Nothing but ages has changed" }),
            );
        }
    }
    let mut codes: BTreeSet<Code> = EVERYWHERE.iter().chain(operation.problems).copied().collect();
    if !matches!(operation.body, Body::None) {
        codes.extend(WITH_BODY);
    }
    if operation.permission.is_some() {
        codes.extend(WITH_PERMISSION);
        if operation.method == Method::Post {
            codes.insert(Code::CrossSite);
        }
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    for (status, codes) in by_status {
        let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
        let titles: Vec<&str> = codes.iter().map(|code| code.title()).collect();
        let mut response = json!({
            "description": titles.join("; "),
            "content": { "application/problem+json": { "schema": {
                "allOf": [problem, { "properties": { "code": { "enum": names } } }],
            } } },
        });
        if [Code::Unavailable.status(), Code::TooManyRequests.status()].contains(&status)
            && let Some(response) = response.as_object_mut()
        {
            response.insert("headers".into(), json!({
                "Retry-After": { "description": "Seconds to wait", "required": true, "schema": { "type": "integer" } },
            }));
        }
        if status == Code::InvalidToken.status()
            && let Some(response) = response.as_object_mut()
        {
            response.insert("headers".into(), json!({
                "WWW-Authenticate": { "description": "RFC 6750", "required": true, "schema": { "type": "string" } },
            }));
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}
