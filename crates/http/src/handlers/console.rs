//! What a console asks first: where it is, who it is, whether the service is there.

use actix_web::{HttpRequest, web};
use cavra_app::App;
use cavra_domain::time::Timestamp;
use cavra_rbac::{Access, Caller, Permission};
use schemars::JsonSchema;
use serde::Serialize;

use std::collections::BTreeMap;

use super::Answer;
use crate::ServerInfo;
use crate::authenticate::{Presented, present};
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
    /// Whether browsers can sign in: `configured` or `disabled`.
    pub(crate) sign_in: &'static str,
    /// The id of the key that audit packages are signed with; null when they are not signed.
    pub(crate) signing_key_id: Option<String>,
    /// Origins that browsers may call from.
    pub(crate) cors_origins: Vec<String>,
    /// Names of operations, with their path templates.
    pub(crate) endpoints: BTreeMap<&'static str, &'static str>,
}

/// The session document (contract wire 2.2): who the request's token or session proves, and what that lets do.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Session {
    /// Schema of this document.
    pub(crate) schema_version: &'static str,
    /// Always `CAVRA`.
    pub(crate) product: &'static str,
    /// `authenticated`, `auth_required`, or `local_or_demo` in open local mode.
    pub(crate) mode: &'static str,
    /// Whether somebody was verified.
    pub(crate) authenticated: bool,
    /// Whether somebody has to be.
    pub(crate) auth_required: bool,
    /// Who; null when nobody was verified.
    pub(crate) actor: Option<cavra_domain::actor::Actor>,
    /// The roles that give the actor rights.
    pub(crate) roles: Vec<String>,
    /// Published rules about approvals that the actor matches. Approvals have no part in this service.
    pub(crate) repository_permissions: Vec<RepositoryPermission>,
    /// What this caller may do: the published flags, and every permission that the routes enforce.
    pub(crate) permissions: BTreeMap<String, bool>,
    /// When the token or the session ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    /// What writes with a session bring as `X-CSRF-Token`; only sessions have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) csrf_token: Option<String>,
    /// For people.
    pub(crate) operator_notes: Vec<&'static str>,
}

/// A published rule about approvals.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RepositoryPermission {
    /// The repository; `*` for any.
    pub(crate) repository: String,
    /// The approver group; `*` for any.
    pub(crate) approver_group: String,
    /// What the rule lets do.
    pub(crate) actions: Vec<String>,
    /// The groups that it is for.
    pub(crate) groups: Vec<String>,
}

/// How callers prove who they are, as published.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct SecurityBoundary {
    /// Schema of this document.
    pub(crate) schema_version: &'static str,
    /// `oidc_rbac_ready` when both are configured, `oidc_only` without rights, else `local_or_demo`.
    pub(crate) mode: &'static str,
    /// Tokens.
    pub(crate) oidc: OidcBoundary,
    /// Rights.
    pub(crate) rbac: RbacBoundary,
    /// Browsers of other origins.
    pub(crate) cors: CorsBoundary,
    /// Every permission that a route asks for.
    pub(crate) console_permissions: Vec<&'static str>,
    /// For people.
    pub(crate) operator_notes: Vec<&'static str>,
}

/// How tokens are verified.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct OidcBoundary {
    /// Whether a provider is configured.
    pub(crate) configured: bool,
    /// The environment variable that names its file.
    pub(crate) config_env: &'static str,
    /// The algorithms that are accepted.
    pub(crate) supported_algorithms: Vec<&'static str>,
    /// The claims that are looked at.
    pub(crate) validated_claims: Vec<&'static str>,
}

/// How rights are given.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RbacBoundary {
    /// Whether rights are configured.
    pub(crate) configured: bool,
    /// The environment variable that names its file.
    pub(crate) config_env: &'static str,
    /// What holds.
    pub(crate) boundaries: Vec<&'static str>,
}

/// Which browsers may call.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CorsBoundary {
    /// Whether any other origin may.
    pub(crate) configured: bool,
    /// Which.
    pub(crate) origins: Vec<String>,
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

const fn configured(is: bool) -> &'static str {
    if is { "configured" } else { "disabled" }
}

pub(crate) async fn config(
    app: web::Data<App>,
    info: web::Data<ServerInfo>,
    access: web::Data<Access>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<web::Json<ConsoleConfig>> {
    let endpoints = crate::routes::TABLE
        .iter()
        .filter_map(|operation| operation.published_name.map(|name| (name, operation.path)))
        .collect();
    let (oidc, rbac, sign_in) = match &**access {
        Access::OpenLocal => (false, false, false),
        Access::Identity(guard) => (true, guard.has_policy(), guard.has_sign_in()),
    };
    Ok(web::Json(ConsoleConfig {
        product: "CAVRA",
        api_base_url: info.api_base_url.clone(),
        metadata_mode: info.metadata_mode,
        connector_delivery: "disabled",
        approval_oidc: configured(oidc),
        approval_rbac: configured(rbac),
        sign_in: configured(sign_in),
        signing_key_id: app.signing_key_id(),
        cors_origins: info.cors_origins.clone(),
        endpoints,
    }))
}

pub(crate) async fn session(
    access: web::Data<Access>,
    request: HttpRequest,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<web::Json<Session>> {
    let (presented, caller) = match &**access {
        Access::OpenLocal => (None, Some(Caller::Local)),
        Access::Identity(guard) => {
            let presented = present(guard, &request).await?;
            let caller = presented.caller().cloned().or_else(|| guard.anonymous());
            (Some(presented), caller)
        }
    };
    let verified = caller.as_ref().and_then(Caller::verified);
    let live = match &presented {
        Some(Presented::Session(_, live)) => Some(live),
        _ => None,
    };
    let (mode, operator_notes) = match (&**access, verified) {
        (Access::OpenLocal, _) => (
            "local_or_demo",
            vec![
                "open local mode: the service listens on this machine only, and every caller may do everything",
                "names are recorded as they are given, as unverified",
            ],
        ),
        (Access::Identity(_), None) => (
            "auth_required",
            vec![
                "identity is configured: writes need a token or a session with the right, and so do reads unless \
                 anonymous_read is on",
                "permissions say what this caller may do as it is",
            ],
        ),
        (Access::Identity(_), Some(_)) => (
            "authenticated",
            vec![
                "rights come from mapped groups only; permissions equal what the routes enforce",
                "evidence keeps issuer and subject; names are for display",
            ],
        ),
    };
    Ok(web::Json(Session {
        schema_version: SESSION_SCHEMA,
        product: "CAVRA",
        mode,
        authenticated: verified.is_some(),
        auth_required: matches!(**access, Access::Identity(_)),
        actor: verified.map(|caller| cavra_domain::actor::Actor {
            groups: caller.mapped_groups(),
            ..caller.actor()
        }),
        roles: verified
            .map(|caller| caller.roles().into_iter().map(str::to_owned).collect())
            .unwrap_or_default(),
        repository_permissions: verified.map(repository_permissions).unwrap_or_default(),
        permissions: permissions(caller.as_ref()),
        expires_at: verified.map(|caller| caller.identity().expires_at()),
        csrf_token: live.map(|live| live.csrf_token.clone()),
        operator_notes,
    }))
}

fn repository_permissions(caller: &cavra_rbac::Verified) -> Vec<RepositoryPermission> {
    let any = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
    let rules = caller
        .matching_rules()
        .into_iter()
        .map(|rule| RepositoryPermission {
            repository: any(&rule.repository),
            approver_group: any(&rule.approver_group),
            actions: rule.actions.clone(),
            groups: rule.groups.clone(),
        });
    rules.collect()
}

/// Every permission, and the published flags as a projection of them.
fn permissions(caller: Option<&Caller>) -> BTreeMap<String, bool> {
    let may = |permission| caller.is_some_and(|caller| caller.may(permission));
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
    permissions
}

pub(crate) async fn security_boundary(
    info: web::Data<ServerInfo>,
    access: web::Data<Access>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<web::Json<SecurityBoundary>> {
    let (oidc, rbac, supported_algorithms) = match &**access {
        Access::OpenLocal => (false, false, Vec::new()),
        Access::Identity(guard) => (true, guard.has_policy(), guard.algorithms()),
    };
    Ok(web::Json(SecurityBoundary {
        schema_version: "cavra.console.security_boundary.v1",
        mode: match (oidc, rbac) {
            (true, true) => "oidc_rbac_ready",
            (true, false) => "oidc_only",
            (false, _) => "local_or_demo",
        },
        oidc: OidcBoundary {
            configured: oidc,
            config_env: "CAVRA_APPROVAL_OIDC_CONFIG",
            supported_algorithms,
            validated_claims: if oidc {
                vec![
                    "iss",
                    "sub",
                    "aud",
                    "exp",
                    "iat",
                    "nbf",
                    "client_id",
                    "azp",
                    "jti",
                ]
            } else {
                Vec::new()
            },
        },
        rbac: RbacBoundary {
            configured: rbac,
            config_env: "CAVRA_APPROVAL_RBAC_FILE",
            boundaries: vec![
                "every operation names one permission, and what no mapped group allows is refused",
                "identity never comes from a body, a query or another header than Authorization",
            ],
        },
        cors: CorsBoundary {
            configured: !info.cors_origins.is_empty(),
            origins: info.cors_origins.clone(),
        },
        console_permissions: Permission::ALL
            .iter()
            .map(|permission| permission.as_str())
            .collect(),
        operator_notes: vec![
            "the service verifies tokens itself; a proxy in front adds no identity",
            "browsers sign in with code and PKCE where client_id is configured, and keep no token",
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
