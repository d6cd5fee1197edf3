//! What operators ask: probes, metrics, the description of the API.

use actix_web::{HttpResponse, web};
use cavra_app::App;
use cavra_rbac::Access;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Answer, run};
use crate::error::{Code, Problem};
use crate::extract::{Permitted, Query};
use crate::metrics::Metrics;
use crate::wire::NoQuery;

/// A probe's answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Probe {
    /// Always `ok`.
    pub(crate) status: &'static str,
}

pub(crate) async fn livez(Query(NoQuery {}): Query<NoQuery>) -> Answer<web::Json<Probe>> {
    Ok(web::Json(Probe { status: "ok" }))
}

pub(crate) async fn readyz(
    app: web::Data<App>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<web::Json<Probe>> {
    match run(&app, |app| Ok(app.ready()?)).await {
        Ok(()) => Ok(web::Json(Probe { status: "ok" })),
        Err(_) => Err(Problem::new(Code::Unavailable, "storage does not answer").into()),
    }
}

pub(crate) async fn metrics(
    app: web::Data<App>,
    metrics: web::Data<Metrics>,
    access: web::Data<Access>,
    Permitted(_): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let counts = run(&app, App::route_counts).await?;
    if let Access::Identity(guard) = &**access {
        metrics.identity(guard.stats());
    }
    let text = metrics.render(&counts);
    Ok(HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(text))
}

pub(crate) async fn openapi(Query(NoQuery {}): Query<NoQuery>) -> Answer<HttpResponse> {
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(crate::openapi::document().to_string()))
}
