//! Acknowledging, taking back, and audit packages.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use cavra_app::App;
use cavra_app::acknowledge::{Acknowledged, Undone};
use cavra_app::bulk::LongAnswer;
use cavra_app::package::StoredDocument;
use cavra_domain::id::{AcknowledgementId, AuditId, BulkId};
use futures_util::stream;

use super::{Answer, aside, given_document, holds, later, not_modified, pieces, run};
use crate::context::{Minimal, PREFERENCE_APPLIED};
use crate::error::{Code, Problem};
use crate::extract::{Json, Permitted, Query};
use crate::wire::{AcknowledgementBody, AuditPackageBody, BulkBody, NoQuery, PackageQuery, UndoBody};

pub(crate) async fn acknowledge(
    app: web::Data<App>,
    Permitted(caller): Permitted,
    schedule_id: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<AcknowledgementBody>,
) -> Answer<web::Json<Acknowledged>> {
    let command = body.command(&schedule_id, caller)?;
    later(&app, move |app, end| app.acknowledge_later(command, end))
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
    request: HttpRequest,
    Permitted(caller): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(body): Json<AuditPackageBody>,
) -> Answer<HttpResponse> {
    let signed = wants_envelope(&request);
    let consistent_with = body.consistent_with();
    if consistent_with.is_some() && !signed {
        return Err(Problem::at(Code::InvalidValue, "/consistent_with", ONLY_SIGNED).into());
    }
    let as_of = body.as_of()?;
    let (filter, cycles, actor) = body.command(caller)?;
    let made = run(&app, move |app| {
        app.export_package_as_of(filter, cycles, &actor, as_of)
    })
    .await;
    if signed {
        // A repeated request gets the form that it asks for, as it was: made from the same record.
        let (package, headers) = match made {
            Ok(package) => (package, Vec::new()),
            Err(error) => given_document(&app, error).await?,
        };
        let mut response = envelope(app, package, consistent_with).await?;
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        return Ok(response);
    }
    let text = app.made_text(&made?, false);
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text)))
}

pub(crate) async fn package(
    app: web::Data<App>,
    Permitted(_): Permitted,
    request: HttpRequest,
    audit_id: web::Path<String>,
    Query(query): Query<PackageQuery>,
) -> Answer<HttpResponse> {
    let signed = wants_envelope(&request);
    let consistent_with = query.consistent_with();
    if consistent_with.is_some() && !signed {
        return Err(Problem::at(Code::InvalidValue, "consistent_with", ONLY_SIGNED).into());
    }
    let audit_id = AuditId::parse(&audit_id).map_err(Problem::from)?;
    let package = run(&app, move |app| app.package(&audit_id)).await?;
    if signed {
        return envelope(app, package, consistent_with).await;
    }
    let text = app.document_text(&package, String::new(), String::new());
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .streaming(pieces(app, text)))
}

/// What is said about a parameter that only a signed package knows.
const ONLY_SIGNED: &str = "is for signed packages: ask with `Accept: application/vnd.dsse+json`";

/// Whether the caller asks for the signed form: the envelope's media type is named, and not refused.
fn wants_envelope(request: &HttpRequest) -> bool {
    request
        .headers()
        .get_all(header::ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                weight.is_some_and(|weight| weight.parse() == Ok(0.0))
            });
            media.eq_ignore_ascii_case(cavra_app::signed::ENVELOPE_TYPE) && !refused
        })
}

/// The signed form of a package, piece by piece.
async fn envelope(
    app: web::Data<App>,
    package: StoredDocument,
    consistent_with: Option<u64>,
) -> Answer<HttpResponse> {
    // An answer under a key is given again byte for byte, whatever witnesses sign meanwhile.
    let keyed = super::is_keyed();
    let signed = aside(&app, move |app| {
        if keyed {
            app.signed_package_for_good(&package, consistent_with)
        } else {
            app.signed_package(&package, consistent_with)
        }
    })
    .await?;
    let body = stream::try_unfold((app, Some(signed)), |(app, signed)| async move {
        let Some(mut signed) = signed else {
            return Ok(None);
        };
        let (piece, signed) = aside(&app, move |_| signed.next_piece().map(|piece| (piece, signed))).await?;
        Ok::<_, actix_web::Error>(piece.map(|piece| (web::Bytes::from(piece), (app, Some(signed)))))
    });
    Ok(HttpResponse::Ok()
        .content_type(cavra_app::signed::ENVELOPE_TYPE)
        .streaming(body))
}
