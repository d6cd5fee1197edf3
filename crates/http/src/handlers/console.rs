//! What a console asks first: where it is, who it is, whether the service is there.

use actix_web::web;
use cavra_rbac::{Access, Caller, Permission};
use schemars::JsonSchema;
use serde::Serialize;

use std::collections::BTreeMap;

use super::Answer;
use crate::ServerInfo;
use crate::extract::Query;
use crate::wire::NoQuery;

/// Schema of [`Session`].
const SESSION_SCHEMA: &str = "cavra.console.session.v1";

/// The discovery document (contract wire 2.2), without server paths and without parts that do not exist here.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ConsoleConfig {
    /// Always `CAVRA`.
    pub(crate) product: &'static str,
    /// Where the API is; empty for this origin.
    pub(crate) api_base_url: String,
    /// How evidence is kept: `sqlite`, or `sample` for seeded data in memory.
    pub(crate) metadata_mode: &'static str,
    /// Always `disabled`: this service delivers nothing.
    pub(crate) connector_delivery: &'static str,
    /// `configured` or `disabled`.
    pub(crate) approval_oidc: &'static str,
    /// `configured` or `disabled`.
    pub(crate) approval_rbac: &'static str,
    /// Origins that browsers may call from.
    pub(crate) cors_origins: Vec<String>,
    /// Names of operations, with their path templates.
    pub(crate) endpoints: BTreeMap<&'static str, &'static str>,
}

/// The session document (contract wire 2.2). It introspects the request; nothing is kept.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Session {
    /// Schema of this document.
    pub(crate) schema_version: &'static str,
    /// Always `CAVRA`.
    pub(crate) product: &'static str,
    /// `local_or_demo` in open local mode.
    pub(crate) mode: &'static str,
    /// Whether a token was verified.
    pub(crate) authenticated: bool,
    /// Whether a token is needed.
    pub(crate) auth_required: bool,
    /// Who; null in open local mode.
    pub(crate) actor: Option<cavra_domain::actor::Actor>,
    /// Always empty here; published clients read the key.
    pub(crate) repository_permissions: Vec<String>,
    /// What this caller may do: the published flags, and every permission that the routes enforce.
    pub(crate) permissions: BTreeMap<String, bool>,
    /// For people.
    pub(crate) operator_notes: Vec<&'static str>,
}

/// Liveness as published.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    pub(crate) status: &'static str,
    /// Always `CAVRA`.
    pub(crate) product: &'static str,
}

/// The running version.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Version {
    /// Version of this program.
    pub(crate) version: &'static str,
    /// Its name.
    pub(crate) name: &'static str,
}

pub(crate) async fn config(
    info: web::Data<ServerInfo>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<web::Json<ConsoleConfig>> {
    let endpoints = crate::routes::TABLE
        .iter()
        .filter_map(|operation| operation.published_name.map(|name| (name, operation.path)))
        .collect();
    Ok(web::Json(ConsoleConfig {
        product: "CAVRA",
        api_base_url: info.api_base_url.clone(),
        metadata_mode: info.metadata_mode,
        connector_delivery: "disabled",
        approval_oidc: "disabled",
        approval_rbac: "disabled",
        cors_origins: info.cors_origins.clone(),
        endpoints,
    }))
}

pub(crate) async fn session(
    access: web::Data<Access>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<web::Json<Session>> {
    let may = |permission| access.decide(Caller::Local, permission).is_ok();
    let mut permissions: BTreeMap<String, bool> = Permission::ALL
        .iter()
        .map(|permission| (permission.as_str().to_owned(), may(*permission)))
        .collect();
    let read = may(Permission::EvidenceRead);
    let published = [
        ("read_evidence_metadata", read),
        ("read_activity", read),
        // Parts of the published system that do not exist here.
        ("read_inventory", false),
        ("read_integrations", false),
        ("decide_approvals", false),
        ("publish_policy_packs", false),
        ("create_break_glass", false),
        ("acknowledge_drill_notifications", may(Permission::DrillAck)),
    ];
    permissions.extend(published.map(|(name, value)| (name.to_owned(), value)));
    Ok(web::Json(Session {
        schema_version: SESSION_SCHEMA,
        product: "CAVRA",
        mode: "local_or_demo",
        authenticated: false,
        auth_required: false,
        actor: None,
        repository_permissions: Vec::new(),
        permissions,
        operator_notes: vec![
            "open local mode: the service listens on this machine only, and every caller may do everything",
            "names are recorded as they are given, as unverified",
        ],
    }))
}

pub(crate) async fn health(Query(NoQuery {}): Query<NoQuery>) -> Answer<web::Json<Health>> {
    Ok(web::Json(Health {
        status: "ok",
        product: "CAVRA",
    }))
}

pub(crate) async fn version(Query(NoQuery {}): Query<NoQuery>) -> Answer<web::Json<Version>> {
    Ok(web::Json(Version {
        version: env!("CARGO_PKG_VERSION"),
        name: "CAVRA Runtime Server",
    }))
}
