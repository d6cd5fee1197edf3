//! The one table of operations: what is served, to whom, with what, and how it may fail. The server registers
//! its rows, the middleware enforces their permissions, and OpenAPI is made from them, so the three cannot
//! drift apart.

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Route};
use cavra_app::acknowledge::{Acknowledged, Undone};
use cavra_app::bulk::{BulkDone, BulkReport, BulkUndone};
use cavra_app::import::ImportReport;
use cavra_app::plan::{ConfiguredSchedule, Delivered};
use cavra_app::release::{ArchiveReferenceRecorded, DeliveryRecorded, Exported};
use cavra_app::views::{Escalated, HistoryPage, RoutePage, RouteSummary, Trend};
use cavra_domain::actor::Actor;
use cavra_domain::archive::ArchiveHealth;
use cavra_domain::audit_package::AuditPackage;
use cavra_domain::dashboard::Dashboard;
use cavra_domain::retry::RetryPlan;
use cavra_domain::trend::RouteTrend;
use cavra_rbac::Permission;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Code, Problem};
use crate::handlers::{
    acknowledgements, console, events, evidence, log, notifications, operations, release, sign_in,
};
use crate::wire;

/// A method of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Safe: changes nothing.
    Get,
    /// Writes.
    Post,
}

impl Method {
    /// The method as HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// A type's schema.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A request's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    /// None.
    None,
    /// A JSON object.
    Json(SchemaOf),
    /// Records to import.
    Import,
}

/// An answer's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output {
    /// JSON.
    Json(SchemaOf),
    /// JSON, or a signed package when the caller asks for one.
    JsonOrEnvelope(SchemaOf),
    /// Text of another media type.
    Text(&'static str),
    /// A stream of server-sent events.
    Events,
    /// Another address (303).
    Elsewhere,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Its name, unique.
    pub(crate) id: &'static str,
    /// The name under which published clients find it in `/console/config`.
    pub(crate) published_name: Option<&'static str>,
    pub(crate) summary: &'static str,
    /// What a caller needs; none for what is open to everybody.
    pub(crate) permission: Option<Permission>,
    pub(crate) query: SchemaOf,
    pub(crate) body: Body,
    pub(crate) output: Output,
    /// The problems of its own, beside those of every operation.
    pub(crate) problems: &'static [Code],
    pub(crate) handler: fn() -> Route,
}

impl Operation {
    /// Whether it takes a body. Every one that does may create evidence, and takes an idempotency key.
    pub(crate) const fn takes_body(&self) -> bool {
        !matches!(self.body, Body::None)
    }
}

/// The answer of `POST .../audit-package`; it is streamed, so this type only describes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PackageAnswer {
    /// The package.
    audit_package: AuditPackage,
    /// Its evidence record, with the package's summary, size and digest.
    metadata: Map<String, Value>,
    /// Who made it.
    actor: Actor,
}

/// The answer of `POST .../delivery-retry-plan`; it is streamed, so this type only describes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanAnswer {
    /// The plan; left out with `Prefer: return=minimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<RetryPlan>,
    /// Its evidence record: with the plan, or, when that has many decisions, with its summary, size and digest.
    metadata: Map<String, Value>,
    /// Who made it.
    actor: Actor,
}

/// The answer of `GET .../delivery-retry-plan`; it is streamed, so this type only describes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanPreview {
    /// The plan that would be made, under an id that is kept nowhere.
    plan: RetryPlan,
    /// Always false: nothing was stored.
    persisted: bool,
}

/// The answer of archive health; it is streamed, so this type only describes it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HealthAnswer {
    /// The report; left out with `Prefer: return=minimal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<ArchiveHealth>,
    /// Its evidence record: with the report, or, when that has many alerts, with its summary, size and digest. Null
    /// when nothing was stored.
    metadata: Option<Map<String, Value>>,
    /// Whether the report was stored.
    persisted: bool,
}

/// A stored document: one of ours, or an imported one as the published system wrote it.
fn any<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let own = generator.subschema_for::<T>();
    json_schema!({ "anyOf": [
        own,
        { "type": "object", "description": "An imported document, as the published system wrote it." },
    ] })
}

/// An export without its hash, or an imported one.
fn any_export(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "Canonical JSON (RFC 8785) of the export without `export_hash`, or of an imported one.",
    })
}

/// Problems that any operation may have.
pub(crate) const EVERYWHERE: &[Code] = &[
    Code::InvalidValue,
    Code::UnknownKey,
    Code::HostNotAllowed,
    Code::Internal,
    Code::Unavailable,
];

/// Problems of any operation with a permission, where identity is configured.
pub(crate) const WITH_PERMISSION: &[Code] = &[
    Code::InvalidRequest,
    Code::TokenRequired,
    Code::InvalidToken,
    Code::InsufficientScope,
    Code::TooManyRequests,
];

/// Problems of any operation with a JSON body, beside [`EVERYWHERE`].
pub(crate) const WITH_BODY: &[Code] = &[
    Code::MissingValue,
    Code::ActorInBody,
    Code::RequestTimeout,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
    Code::MalformedBody,
    Code::NotPublicSafe,
    Code::KeyReused,
];

/// Everything that is served.
pub(crate) static TABLE: &[Operation] = &[
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/deliver",
        id: "deliver",
        published_name: Some("go_rollback_drill_notifications"),
        summary: "Make and store a notification plan; nothing is sent",
        permission: Some(Permission::PlanCreate),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::DeliverBody>),
        output: Output::Json(schema::<Delivered>),
        problems: &[Code::UnknownReference],
        handler: || web::post().to(notifications::deliver),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/bulk",
        id: "bulkAcknowledge",
        published_name: Some("go_rollback_drill_notification_bulk_acknowledge"),
        summary: "Acknowledge many routes in one transaction: listed ones, or all that a filter means",
        permission: Some(Permission::DrillAckBulk),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::BulkBody>),
        output: Output::Json(schema::<BulkDone>),
        problems: &[Code::BulkBlocked, Code::SelectionChanged, Code::TooManyRoutes],
        handler: || web::post().to(acknowledgements::bulk),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/bulk/{bulk_id}",
        id: "bulkReport",
        published_name: None,
        summary: "What a bulk acknowledgement did, route by route, and what was undone of it since",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<BulkReport>),
        problems: &[Code::UnknownReference, Code::UndoIsFinal, Code::NotPublicSafe],
        handler: || web::get().to(acknowledgements::bulk_report),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/bulk/{bulk_id}/undo",
        id: "undoBulk",
        published_name: None,
        summary: "Take back what a bulk acknowledgement changed and nobody has changed since",
        permission: Some(Permission::DrillAckUndo),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::UndoBody>),
        output: Output::Json(schema::<BulkUndone>),
        problems: &[Code::UnknownReference, Code::UndoIsFinal],
        handler: || web::post().to(acknowledgements::undo_bulk),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/{acknowledgement_id}/undo",
        id: "undoAcknowledgement",
        published_name: None,
        summary: "Take back one acknowledgement, where it is the one that stands",
        permission: Some(Permission::DrillAckUndo),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::UndoBody>),
        output: Output::Json(schema::<Undone>),
        problems: &[Code::UnknownReference, Code::UndoIsFinal, Code::RouteRefused],
        handler: || web::post().to(acknowledgements::undo),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-package",
        id: "createAuditPackage",
        published_name: Some("go_rollback_drill_notification_acknowledgement_audit"),
        summary: "Make and store the audit package of a scope",
        permission: Some(Permission::AuditPackageCreate),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::AuditPackageBody>),
        output: Output::JsonOrEnvelope(schema::<PackageAnswer>),
        problems: &[Code::UnknownReference],
        handler: || web::post().to(acknowledgements::create_package),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-packages/{audit_id}",
        id: "auditPackage",
        published_name: None,
        summary: "A stored audit package, the same bytes each time",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::PackageQuery>,
        body: Body::None,
        output: Output::JsonOrEnvelope(any::<AuditPackage>),
        problems: &[Code::UnknownReference, Code::NotPublicSafe],
        handler: || web::get().to(acknowledgements::package),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/{schedule_id}/acknowledgements",
        id: "acknowledge",
        published_name: Some("go_rollback_drill_notification_acknowledge"),
        summary: "Acknowledge the routes of a schedule for one provider",
        permission: Some(Permission::DrillAck),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::AcknowledgementBody>),
        output: Output::Json(schema::<Acknowledged>),
        problems: &[Code::UnknownReference, Code::RouteRefused],
        handler: || web::post().to(acknowledgements::acknowledge),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/escalation-plan",
        id: "escalationPlan",
        published_name: Some("go_rollback_drill_notification_escalation_plan"),
        summary: "Make and store an escalation plan over every current route",
        permission: Some(Permission::PlanCreate),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::EscalationBody>),
        output: Output::Json(schema::<Escalated>),
        problems: &[],
        handler: || web::post().to(notifications::escalation_plan),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications",
        id: "history",
        published_name: Some("go_rollback_drill_notification_history"),
        summary: "Evidence records, newest first",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::HistoryQuery>,
        body: Body::None,
        output: Output::Json(schema::<HistoryPage>),
        problems: &[Code::NotPublicSafe],
        handler: || web::get().to(notifications::history),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/dashboard",
        id: "dashboard",
        published_name: Some("go_rollback_drill_notification_dashboard"),
        summary: "Counts over everything",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::DashboardQuery>,
        body: Body::None,
        output: Output::Json(schema::<Dashboard<Map<String, Value>>>),
        problems: &[Code::UnknownReference],
        handler: || web::get().to(notifications::dashboard),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/routes",
        id: "routes",
        published_name: Some("go_rollback_drill_notification_routes"),
        summary: "Routes that a filter means, with their states",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::RoutesQuery>,
        body: Body::None,
        output: Output::Json(schema::<RoutePage>),
        problems: &[Code::UnknownReference, Code::NotPublicSafe],
        handler: || web::get().to(notifications::routes),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/routes/summary",
        id: "routeSummary",
        published_name: None,
        summary: "Routes that a filter means, counted by owner, provider, schedule or category",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::SummaryQuery>,
        body: Body::None,
        output: Output::Json(schema::<RouteSummary>),
        problems: &[Code::NotPublicSafe],
        handler: || web::get().to(notifications::route_summary),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/routes/trend",
        id: "routeTrend",
        published_name: None,
        summary: "How the states of routes developed; nothing is stored",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::RouteTrendQuery>,
        body: Body::None,
        output: Output::Json(schema::<RouteTrend>),
        problems: &[Code::NotPublicSafe],
        handler: || web::get().to(notifications::route_trend),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/suppression-trends",
        id: "suppressionTrends",
        published_name: Some("go_rollback_drill_notification_suppression_trends"),
        summary: "How much was suppressed, and why; nothing is stored",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::TrendQuery>,
        body: Body::None,
        output: Output::Json(schema::<Trend>),
        problems: &[Code::NotPublicSafe],
        handler: || web::get().to(notifications::suppression_trends),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-schedule",
        id: "schedule",
        published_name: Some("go_rollback_drill_schedule"),
        summary: "The state of a configured schedule",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::ScheduleQuery>,
        body: Body::None,
        output: Output::Json(schema::<ConfiguredSchedule>),
        problems: &[Code::UnknownReference, Code::NotPublicSafe],
        handler: || web::get().to(notifications::schedule),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-auditor-export",
        id: "makeAuditorExport",
        published_name: Some(
            "go_rollback_drill_notification_acknowledgement_audit_delivery_final_reporting_auditor_export",
        ),
        summary: "Make and store a final auditor export; over unchanged evidence it is the one that is there",
        permission: Some(Permission::ExportCreate),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::ExportBody>),
        output: Output::Json(schema::<Exported>),
        problems: &[Code::UnknownReference],
        handler: || web::post().to(release::make_export),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-auditor-exports/{export_id}",
        id: "auditorExport",
        published_name: None,
        summary: "The bytes of an export for an archive to keep: their SHA-256 is its export_hash",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(any_export),
        problems: &[Code::UnknownReference, Code::NotPublicSafe],
        handler: || web::get().to(release::export),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-auditor-export/deliveries",
        id: "recordDelivery",
        published_name: None,
        summary: "Record what a connector did with an export",
        permission: Some(Permission::DeliveryRecord),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::DeliveryBody>),
        output: Output::Json(schema::<DeliveryRecorded>),
        problems: &[Code::UnknownReference],
        handler: || web::post().to(release::record_delivery),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-auditor-export/delivery-retry-plan",
        id: "makeRetryPlan",
        published_name: Some(
            "go_rollback_drill_notification_acknowledgement_audit_delivery_final_reporting_auditor_export_delivery_retry_plan",
        ),
        summary: "Decide which failed deliveries to retry, and store the plan",
        permission: Some(Permission::RetryPlanCreate),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::RetryPlanBody>),
        output: Output::Json(schema::<PlanAnswer>),
        problems: &[],
        handler: || web::post().to(release::make_retry_plan),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-auditor-export/delivery-retry-plan",
        id: "previewRetryPlan",
        published_name: None,
        summary: "What the default policy decides about failed deliveries now; nothing is stored",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<PlanPreview>),
        problems: &[],
        handler: || web::get().to(release::retry_preview),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-auditor-export/delivery-retry-plans/{retry_plan_id}",
        id: "retryPlan",
        published_name: None,
        summary: "A stored retry plan, the same bytes each time",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(any::<RetryPlan>),
        problems: &[Code::UnknownReference, Code::NotPublicSafe],
        handler: || web::get().to(release::retry_plan),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-immutable-archive-reference",
        id: "recordArchiveReference",
        published_name: Some(
            "go_rollback_drill_notification_acknowledgement_audit_delivery_final_reporting_immutable_archive_reference",
        ),
        summary: "Bind what an archive says to an existing verified export",
        permission: Some(Permission::ArchiveReferenceWrite),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::ArchiveReferenceBody>),
        output: Output::Json(schema::<ArchiveReferenceRecorded>),
        problems: &[Code::UnknownReference, Code::ExportNotVerified],
        handler: || web::post().to(release::record_archive_reference),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-archive-reference-health",
        id: "archiveHealth",
        published_name: Some(
            "go_rollback_drill_notification_acknowledgement_audit_delivery_final_reporting_archive_reference_health",
        ),
        summary: "How well every verified export is archived; stores the report if the caller may, see `persist`",
        permission: Some(Permission::ArchiveHealthRead),
        query: schema::<wire::ArchiveHealthQuery>,
        body: Body::None,
        output: Output::Json(schema::<HealthAnswer>),
        problems: &[Code::NotPublicSafe, Code::UnknownReference],
        handler: || web::get().to(release::archive_health),
    },
    Operation {
        method: Method::Post,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-archive-reference-health",
        id: "recordArchiveHealth",
        published_name: None,
        summary: "Judge how well every verified export is archived, and store the report",
        permission: Some(Permission::ArchiveHealthRecord),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<wire::ArchiveHealthBody>),
        output: Output::Json(schema::<HealthAnswer>),
        problems: &[],
        handler: || web::post().to(release::record_archive_health),
    },
    Operation {
        method: Method::Get,
        path: "/runtime/go-pilot/rollback-drill-notifications/acknowledgements/audit-delivery/final-reporting-archive-reference-health/{health_id}",
        id: "storedArchiveHealth",
        published_name: None,
        summary: "A stored archive health report, the same bytes each time",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(any::<ArchiveHealth>),
        problems: &[Code::UnknownReference, Code::NotPublicSafe],
        handler: || web::get().to(release::stored_archive_health),
    },
    Operation {
        method: Method::Post,
        path: "/evidence",
        id: "recordEvidence",
        published_name: None,
        summary: "Take one evidence metadata record made elsewhere",
        permission: Some(Permission::EvidenceImport),
        query: schema::<wire::NoQuery>,
        body: Body::Json(schema::<Map<String, Value>>),
        output: Output::Json(schema::<ImportReport>),
        problems: &[Code::ImportRefused],
        handler: || web::post().to(evidence::record),
    },
    Operation {
        method: Method::Post,
        path: "/evidence/import",
        id: "importEvidence",
        published_name: None,
        summary: "Take a published store: JSON, NDJSON or its SQLite file, in one transaction",
        permission: Some(Permission::EvidenceImport),
        query: schema::<wire::ImportQuery>,
        body: Body::Import,
        output: Output::Json(schema::<ImportReport>),
        problems: &[Code::ImportRefused],
        handler: || web::post().to(evidence::import),
    },
    Operation {
        method: Method::Get,
        path: "/log/checkpoint",
        id: "logCheckpoint",
        published_name: None,
        summary: "The evidence log's newest checkpoint, a signed note (C2SP tlog-checkpoint)",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Text(log::CHECKPOINT_TYPE),
        problems: &[],
        handler: || web::get().to(log::checkpoint),
    },
    Operation {
        method: Method::Get,
        path: "/log/checkpoint/{size}",
        id: "logCheckpointAt",
        published_name: None,
        summary: "The checkpoint of an earlier size, with what witnesses have signed under it",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Text(log::CHECKPOINT_TYPE),
        problems: &[Code::UnknownReference],
        handler: || web::get().to(log::checkpoint_at),
    },
    Operation {
        method: Method::Get,
        path: "/log/tile/{tile:.*}",
        id: "logTile",
        published_name: None,
        summary: "A tile of hashes or a bundle of leaves (C2SP tlog-tiles); the path is LEVEL/INDEX or entries/INDEX",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Text(log::TILE_TYPE),
        problems: &[Code::UnknownReference],
        handler: || web::get().to(log::tile),
    },
    Operation {
        method: Method::Get,
        path: "/console/config",
        id: "consoleConfig",
        published_name: None,
        summary: "What a console needs to know first",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<console::ConsoleConfig>),
        problems: &[],
        handler: || web::get().to(console::config),
    },
    Operation {
        method: Method::Get,
        path: "/console/session",
        id: "consoleSession",
        published_name: Some("console_session"),
        summary: "Who the caller is and what the caller may do",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<console::Session>),
        problems: &[Code::InvalidRequest, Code::InvalidToken, Code::TooManyRequests],
        handler: || web::get().to(console::session),
    },
    Operation {
        method: Method::Get,
        path: "/events",
        id: "events",
        published_name: None,
        summary: "Server-sent events: where the evidence log stands, each time something was committed",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::EventsQuery>,
        body: Body::None,
        output: Output::Events,
        problems: &[],
        handler: || web::get().to(events::events),
    },
    Operation {
        method: Method::Get,
        path: "/console/security-boundary",
        id: "securityBoundary",
        published_name: None,
        summary: "How callers prove who they are, and which permissions there are",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<console::SecurityBoundary>),
        problems: &[],
        handler: || web::get().to(console::security_boundary),
    },
    Operation {
        method: Method::Get,
        path: "/console/sign-in",
        id: "signIn",
        published_name: Some("console_sign_in"),
        summary: "Send a browser to the identity provider",
        permission: None,
        query: schema::<wire::SignInQuery>,
        body: Body::None,
        output: Output::Elsewhere,
        problems: &[Code::NoSignIn],
        handler: || web::get().to(sign_in::begin),
    },
    Operation {
        method: Method::Get,
        path: cavra_rbac::CALLBACK_PATH,
        id: "signInCallback",
        published_name: None,
        summary: "Take a browser back from the identity provider and begin its session",
        permission: None,
        query: schema::<wire::CallbackQuery>,
        body: Body::None,
        output: Output::Text("text/html"),
        problems: &[Code::NoSignIn, Code::SignInFailed],
        handler: || web::get().to(sign_in::finish),
    },
    Operation {
        method: Method::Post,
        path: "/console/sign-out",
        id: "signOut",
        published_name: Some("console_sign_out"),
        summary: "End the session of a browser",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<sign_in::SignedOut>),
        problems: &[
            Code::InvalidRequest,
            Code::InvalidToken,
            Code::CrossSite,
            Code::TooManyRequests,
        ],
        handler: || web::post().to(sign_in::end),
    },
    Operation {
        method: Method::Get,
        path: "/health",
        id: "health",
        published_name: None,
        summary: "The process is there",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<console::Health>),
        problems: &[],
        handler: || web::get().to(console::health),
    },
    Operation {
        method: Method::Get,
        path: "/version",
        id: "version",
        published_name: None,
        summary: "The running version",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<console::Version>),
        problems: &[],
        handler: || web::get().to(console::version),
    },
    Operation {
        method: Method::Get,
        path: "/livez",
        id: "livez",
        published_name: None,
        summary: "The process is there",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<operations::Probe>),
        problems: &[],
        handler: || web::get().to(operations::livez),
    },
    Operation {
        method: Method::Get,
        path: "/readyz",
        id: "readyz",
        published_name: None,
        summary: "Storage answers",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<operations::Probe>),
        problems: &[],
        handler: || web::get().to(operations::readyz),
    },
    Operation {
        method: Method::Get,
        path: "/metrics",
        id: "metrics",
        published_name: None,
        summary: "Metrics as OpenMetrics text",
        permission: Some(Permission::EvidenceRead),
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Text("application/openmetrics-text"),
        problems: &[],
        handler: || web::get().to(operations::metrics),
    },
    Operation {
        method: Method::Get,
        path: "/openapi.json",
        id: "openapi",
        published_name: None,
        summary: "This description",
        permission: None,
        query: schema::<wire::NoQuery>,
        body: Body::None,
        output: Output::Json(schema::<Map<String, Value>>),
        problems: &[],
        handler: || web::get().to(operations::openapi),
    },
];

/// The row that a request is for.
pub(crate) fn operation(method: &str, pattern: &str) -> Option<&'static Operation> {
    TABLE
        .iter()
        .find(|operation| operation.path == pattern && operation.method.as_str() == method)
}

/// Whether a path is there for everybody, whatever the method.
pub(crate) fn is_open(pattern: &str) -> bool {
    let mut rows = TABLE
        .iter()
        .filter(|operation| operation.path == pattern)
        .peekable();
    // The page is for everybody: it shows nothing, and what it asks for is protected.
    crate::page::serves(pattern)
        || (rows.peek().is_some() && rows.all(|operation| operation.permission.is_none()))
}

/// The methods of a path, for `Allow`.
fn methods(path: &str) -> String {
    let methods: Vec<&str> = TABLE
        .iter()
        .filter(|operation| operation.path == path)
        .map(|operation| operation.method.as_str())
        .collect();
    methods.join(", ")
}

/// Registers every row.
pub(crate) fn register(config: &mut ServiceConfig) {
    for (index, row) in TABLE.iter().enumerate() {
        if TABLE.iter().take(index).any(|earlier| earlier.path == row.path) {
            continue;
        }
        let mut resource = web::resource(row.path);
        for operation in TABLE.iter().filter(|operation| operation.path == row.path) {
            resource = resource.route((operation.handler)());
        }
        config.service(resource.default_service(web::route().to(wrong_method)));
    }
}

async fn wrong_method(request: HttpRequest) -> Result<&'static str, actix_web::Error> {
    let allow = request
        .match_pattern()
        .map(|pattern| methods(&pattern))
        .unwrap_or_default();
    let detail = format!("{} is not served here; {allow} is", request.method());
    Err(Problem::new(Code::MethodNotAllowed, detail)
        .allowing(allow)
        .into())
}

/// What is served for every other path.
pub(crate) async fn nothing_here() -> Result<&'static str, actix_web::Error> {
    Err(Problem::new(Code::NotFound, "there is no such path; see /openapi.json").into())
}
