//! Acknowledging and audit packages.

use actix_web::{HttpResponse, web};
use cavra_app::App;
use cavra_app::acknowledge::{Acknowledged, BulkDone};
use cavra_domain::id::AuditId;

use super::{Answer, pieces, run};
use crate::error::Problem;
use crate::extract::{Json, Permitted, Query};
use crate::wire::{AcknowledgementBody, AuditPackageBody, BulkBody, NoQuery};

pub(crate) async fn acknowledge(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    schedule_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<AcknowledgementBody>,
) -> Answer<web::Json<Acknowledged>> {
    let command = body.command(&schedule_id, caller)?;
    run(&app, move |app| app.acknowledge(command))
        .await
        .map(web::Json)
}

pub(crate) async fn bulk(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<BulkBody>,
) -> Answer<web::Json<BulkDone>> {
    let command = body.command(caller)?;
    run(&app, move |app| app.bulk(command)).await.map(web::Json)
}

pub(crate) async fn create_package(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<AuditPackageBody>,
) -> Answer<HttpResponse> {
    let (filter, cycles, actor) = body.command(caller)?;
    let package = run(&app, move |app| app.export_package(filter, cycles, &actor)).await?;
    let before = "{\"audit_package\":".to_owned();
    let after = format!(
        ",\"metadata\":{},\"actor\":{}}}",
        serde_json::to_string(&package.metadata)?,
        serde_json::to_string(&package.actor)?
    );
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, package, before, after)))
}

pub(crate) async fn package(
    app: web::Data<App>,
    Permitted(_): Permitted,
    audit_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let audit_id = AuditId::parse(&audit_id).map_err(Problem::from)?;
    let package = run(&app, move |app| app.package(&audit_id)).await?;
    let body = pieces(app, package, String::new(), String::new());
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(body))
}
