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

/// Whether the caller asks for the signed form.
fn wants_envelope(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(header::ACCEPT);
    let ranges: Vec<_> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(media_range)
        .collect();
    prefers_envelope(&ranges)
}

/// A media range in lower case, and its weight (RFC 9110 12.5.1); what is no weight counts as none.
fn media_range(range: &str) -> (String, f32) {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts
        .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
        .find_map(|weight| weight.parse().ok())
        .filter(|weight| (0.0..=1.0).contains(weight));
    (media, weight.unwrap_or(1.0))
}

/// Whether the signed form is named and liked as much as the plain one. The plain one is the answer to everything else,
/// also to what names neither: published clients name all sorts of types.
fn prefers_envelope(ranges: &[(String, f32)]) -> bool {
    let weight = |media: &str| {
        let of_it = ranges.iter().filter(|(named, _)| named == media);
        of_it.map(|(_, weight)| *weight).reduce(f32::max)
    };
    let plain = ["application/json", "application/*", "*/*"];
    let plain = plain.into_iter().find_map(weight).unwrap_or(0.0);
    weight(cavra_app::signed::ENVELOPE_TYPE).is_some_and(|signed| signed > 0.0 && signed >= plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_form_is_for_who_names_it_and_does_not_like_the_plain_one_better() {
        for (accept, signed) in [
            ("", false),
            ("*/*", false),
            ("application/*", false),
            ("application/json", false),
            ("text/html", false),
            ("application/vnd.dsse+json", true),
            ("APPLICATION/VND.DSSE+JSON; q=0.1", true),
            ("application/vnd.dsse+json;q=0", false),
            ("application/vnd.dsse+json;q=0.0, */*", false),
            ("application/vnd.dsse+json, application/json", true),
            ("application/vnd.dsse+json;q=0.5, application/json", false),
            ("application/vnd.dsse+json;q=0.5, application/json;q=0.4", true),
            ("application/vnd.dsse+json;q=0.5, */*;q=0.1", true),
            ("application/vnd.dsse+json;q=0.5, */*", false),
            ("application/vnd.dsse+json;q=0.5, application/json;q=0, */*", true),
            ("application/vnd.dsse+json;q=NaN", true),
            ("application/vnd.dsse+json;q=7, application/json", true),
        ] {
            let ranges: Vec<_> = accept.split(',').map(media_range).collect();
            assert_eq!(prefers_envelope(&ranges), signed, "{accept}");
        }
    }
}
