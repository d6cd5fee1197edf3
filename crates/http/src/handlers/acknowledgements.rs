//! Acknowledging, taking back, and audit packages.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use cavra_app::App;
use cavra_app::acknowledge::{Acknowledged, Undone};
use cavra_app::bulk::LongAnswer;
use cavra_domain::id::{AcknowledgementId, AuditId, BulkId};

use super::{Answer, holds, not_modified, pieces, run};
use crate::context::{Minimal, PREFERENCE_APPLIED};
use crate::error::Problem;
use crate::extract::{Json, Permitted, Query};
use crate::wire::{AcknowledgementBody, AuditPackageBody, BulkBody, NoQuery, UndoBody};

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

pub(crate) async fn undo(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    acknowledgement_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<UndoBody>,
) -> Answer<web::Json<Undone>> {
    let acknowledgement_id = AcknowledgementId::parse(&acknowledgement_id).map_err(Problem::from)?;
    let command = body.one(acknowledgement_id, caller)?;
    run(&app, move |app| app.undo(command)).await.map(web::Json)
}

pub(crate) async fn bulk(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Minimal(minimal): Minimal,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<BulkBody>,
) -> Answer<HttpResponse> {
    let command = body.command(caller, minimal)?;
    let done = run(&app, move |app| app.bulk(command)).await?;
    long_answer(app, done, minimal)
}

pub(crate) async fn undo_bulk(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Minimal(minimal): Minimal,
    bulk_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<UndoBody>,
) -> Answer<HttpResponse> {
    let bulk_id = BulkId::parse(&bulk_id).map_err(Problem::from)?;
    let command = body.bulk(bulk_id, caller, minimal)?;
    let done = run(&app, move |app| app.undo_bulk(command)).await?;
    long_answer(app, done, minimal)
}

fn long_answer(app: web::Data<App>, done: LongAnswer, minimal: bool) -> Answer<HttpResponse> {
    let mut response = HttpResponse::Ok();
    if minimal {
        response.insert_header((PREFERENCE_APPLIED, "return=minimal"));
    }
    let text = done.text().map_err(Problem::from)?;
    Ok(response
        .content_type("application/json")
        .streaming(pieces(app, text)))
}

pub(crate) async fn bulk_report(
    app: web::Data<App>,
    Permitted(_): Permitted,
    request: HttpRequest,
    bulk_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let bulk_id = BulkId::parse(&bulk_id).map_err(Problem::from)?;
    let report = run(&app, move |app| app.bulk_report(&bulk_id)).await?;
    // A report changes when the bulk is undone, and never otherwise.
    let tag = format!("W/\"{}\"", report.version);
    if holds(&request, &tag) {
        return Ok(not_modified(&tag));
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::ETAG, tag))
        .content_type("application/json")
        .streaming(pieces(app, report.text)))
}

pub(crate) async fn create_package(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<AuditPackageBody>,
) -> Answer<HttpResponse> {
    let (filter, cycles, actor) = body.command(caller)?;
    let package = run(&app, move |app| app.export_package(filter, cycles, &actor)).await?;
    let text = app.made_text(&package);
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text)))
}

pub(crate) async fn package(
    app: web::Data<App>,
    Permitted(_): Permitted,
    audit_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let audit_id = AuditId::parse(&audit_id).map_err(Problem::from)?;
    let package = run(&app, move |app| app.package(&audit_id)).await?;
    let text = app.document_text(&package, String::new(), String::new());
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text)))
}
