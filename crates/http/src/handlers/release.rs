//! Auditor exports, their deliveries, retry plans, archive references and archive health.

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use cavra_app::App;
use cavra_app::package::StoredDocument;
use cavra_app::release::{ArchiveReferenceRecorded, DeliveryRecorded, Exported};
use cavra_domain::id::{ArchiveHealthId, ExportId, RetryPlanId};
use cavra_rbac::{Permission, Scope};

use super::{Answer, pieces, run};
use crate::authenticate::lacks;
use crate::context::{Minimal, PREFERENCE_APPLIED};
use crate::error::{Code, Problem};
use crate::extract::{Json, Permitted, Query};
use crate::wire::{
    ArchiveHealthBody, ArchiveHealthQuery, ArchiveReferenceBody, DeliveryBody, ExportBody, NoQuery,
    RetryPlanBody,
};

/// What is said about storing a report of an earlier state.
const ONLY_SEEN: &str =
    "is for looking: a report of an earlier state is not stored; leave out `persist=true`";

/// What a browser says about where a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(crate) async fn make_export(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<ExportBody>,
) -> Answer<web::Json<Exported>> {
    let command = body.command(caller)?;
    run(&app, move |app| app.make_export(command))
        .await
        .map(web::Json)
}

pub(crate) async fn export(
    app: web::Data<App>,
    Permitted(_): Permitted,
    export_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let export_id = ExportId::parse(&export_id).map_err(Problem::from)?;
    let text = run(&app, move |app| app.export_text(&export_id)).await?;
    Ok(json(text))
}

pub(crate) async fn record_delivery(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<DeliveryBody>,
) -> Answer<web::Json<DeliveryRecorded>> {
    let (report, actor) = body.command(caller)?;
    run(&app, move |app| app.record_delivery(report, actor))
        .await
        .map(web::Json)
}

pub(crate) async fn make_retry_plan(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Minimal(minimal): Minimal,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<RetryPlanBody>,
) -> Answer<HttpResponse> {
    let (policy, actor) = body.command(caller)?;
    let plan = run(&app, move |app| app.retry_plan(&policy, &actor)).await?;
    Ok(made(app, &plan, minimal))
}

pub(crate) async fn retry_preview(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let (policy, actor) = RetryPlanBody::default().command(caller)?;
    let text = run(&app, move |app| app.retry_preview(&policy, &actor)).await?;
    let text = text.between("{\"plan\":", ",\"persisted\":false}");
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text)))
}

pub(crate) async fn retry_plan(
    app: web::Data<App>,
    Permitted(_): Permitted,
    retry_plan_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let id = RetryPlanId::parse(&retry_plan_id).map_err(Problem::from)?;
    let plan = run(&app, move |app| app.stored_retry_plan(&id)).await?;
    Ok(whole(app, &plan))
}

pub(crate) async fn record_archive_reference(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<ArchiveReferenceBody>,
) -> Answer<web::Json<ArchiveReferenceRecorded>> {
    let (archived, new) = body.command(caller)?;
    run(&app, move |app| app.record_archive_reference(archived, new))
        .await
        .map(web::Json)
}

pub(crate) async fn archive_health(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    request: HttpRequest,
    Query(query): Query<ArchiveHealthQuery>,
) -> Answer<HttpResponse> {
    let may_record = caller.decide(Permission::ArchiveHealthRecord, Scope::Service);
    // A report that is stored names the groups that gave the right to store it.
    let author = may_record
        .clone()
        .map_or_else(|_| caller.clone(), |grant| caller.clone().using(grant));
    let as_of = query.as_of()?;
    let ((policy, actor), asked) = query.command(author)?;
    if as_of.is_some() && asked == Some(true) {
        return Err(Problem::at(Code::InvalidValue, "as_of", ONLY_SEEN).into());
    }
    if let (Some(true), Err(denied)) = (asked, &may_record) {
        return Err(lacks(&request, &caller, *denied).into());
    }
    // An image on some page can make a browser send this request with its own address or session.
    let foreign = request
        .headers()
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| site == "cross-site");
    let persist = as_of.is_none() && asked.unwrap_or(true) && may_record.is_ok() && !foreign;
    if persist {
        let report = run(&app, move |app| app.record_archive_health(&policy, &actor)).await?;
        return Ok(made(app, &report, false));
    }
    let text = run(&app, move |app| app.archive_health(&policy, &actor, as_of)).await?;
    let text = text.between("{\"health\":", ",\"metadata\":null,\"persisted\":false}");
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text)))
}

pub(crate) async fn record_archive_health(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Minimal(minimal): Minimal,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<ArchiveHealthBody>,
) -> Answer<HttpResponse> {
    let (policy, actor) = body.command(caller)?;
    let report = run(&app, move |app| app.record_archive_health(&policy, &actor)).await?;
    Ok(made(app, &report, minimal))
}

pub(crate) async fn stored_archive_health(
    app: web::Data<App>,
    Permitted(_): Permitted,
    health_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let id = ArchiveHealthId::parse(&health_id).map_err(Problem::from)?;
    let report = run(&app, move |app| app.stored_archive_health(&id)).await?;
    Ok(whole(app, &report))
}

/// The answer to whoever had a document made.
fn made(app: web::Data<App>, document: &StoredDocument, minimal: bool) -> HttpResponse {
    let text = app.made_text(document, minimal);
    let mut response = HttpResponse::Ok();
    if minimal {
        response.insert_header((PREFERENCE_APPLIED, "return=minimal"));
    }
    response
        .content_type("application/json")
        .streaming(pieces(app, text))
}

fn json(body: impl Into<web::Bytes>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(body.into())
}

/// A stored document, streamed.
fn whole(app: web::Data<App>, document: &StoredDocument) -> HttpResponse {
    let text = app.document_text(document, String::new(), String::new());
    HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text))
}
