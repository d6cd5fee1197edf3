//! Auditor exports, their deliveries, retry plans, archive references and archive health.

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use cavra_app::App;
use cavra_app::package::StoredDocument;
use cavra_app::release::{ArchiveReferenceRecorded, DeliveryRecorded, Exported, HealthReport};
use cavra_domain::id::{ArchiveHealthId, ExportId, RetryPlanId};
use cavra_rbac::{Permission, Scope};

use super::{Answer, pieces, run};
use crate::authenticate::lacks;
use crate::error::Problem;
use crate::extract::{Json, Permitted, Query};
use crate::wire::{
    ArchiveHealthBody, ArchiveHealthQuery, ArchiveReferenceBody, DeliveryBody, ExportBody, NoQuery,
    RetryPlanBody,
};

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
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<RetryPlanBody>,
) -> Answer<HttpResponse> {
    let (policy, actor) = body.command(caller)?;
    let plan = run(&app, move |app| app.retry_plan(&policy, &actor)).await?;
    let after = format!(
        ",\"metadata\":{},\"actor\":{}}}",
        serde_json::to_string(&plan.metadata)?,
        serde_json::to_string(&plan.actor)?
    );
    Ok(whole(app, &plan, "{\"plan\":", after))
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
    Ok(whole(app, &plan, "", String::new()))
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
    let ((policy, actor), asked) = query.command(author)?;
    if let (Some(true), Err(denied)) = (asked, &may_record) {
        return Err(lacks(&request, &caller, *denied).into());
    }
    // An image on some page can make a browser send this request with its own address or session.
    let foreign = request
        .headers()
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| site == "cross-site");
    let persist = asked.unwrap_or(true) && may_record.is_ok() && !foreign;
    let report = run(&app, move |app| app.archive_health(&policy, &actor, persist)).await?;
    health_answer(app, report)
}

pub(crate) async fn record_archive_health(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<ArchiveHealthBody>,
) -> Answer<HttpResponse> {
    let (policy, actor) = body.command(caller)?;
    let report = run(&app, move |app| app.archive_health(&policy, &actor, true)).await?;
    health_answer(app, report)
}

pub(crate) async fn stored_archive_health(
    app: web::Data<App>,
    Permitted(_): Permitted,
    health_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let id = ArchiveHealthId::parse(&health_id).map_err(Problem::from)?;
    let report = run(&app, move |app| app.stored_archive_health(&id)).await?;
    Ok(whole(app, &report, "", String::new()))
}

fn health_answer(app: web::Data<App>, report: HealthReport) -> Answer<HttpResponse> {
    Ok(match report {
        HealthReport::Stored(stored) => {
            let after = format!(
                ",\"metadata\":{},\"persisted\":true}}",
                serde_json::to_string(&stored.metadata)?
            );
            whole(app, &stored, "{\"health\":", after)
        }
        HealthReport::Unstored(text) => {
            let text = text.between("{\"health\":", ",\"metadata\":null,\"persisted\":false}");
            HttpResponse::Ok()
                .content_type("application/json")
                .streaming(pieces(app, text))
        }
    })
}

fn json(body: impl Into<web::Bytes>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(body.into())
}

/// A stored document, streamed between two texts.
fn whole(app: web::Data<App>, document: &StoredDocument, before: &str, after: String) -> HttpResponse {
    let text = app.document_text(document, before.to_owned(), after);
    HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text))
}
