//! Taking evidence from elsewhere.

use std::io::{BufReader, Seek, SeekFrom, Write};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use cavra_app::import::{ImportOptions, ImportReport, ImportSource, Unwatched, sniff};
use cavra_app::{App, AppError};
use serde_json::{Map, Value};
use tempfile::SpooledTempFile;

use super::{Answer, run};
use crate::error::{Code, Problem};
use crate::extract::{Json, Limits, Permitted, Query, limits, media_type, next_piece};
use crate::wire::{ImportQuery, NoQuery};

/// The media types of an import.
pub(crate) const IMPORT_TYPES: [&str; 3] = [
    "application/json",
    "application/x-ndjson",
    "application/vnd.sqlite3",
];

pub(crate) async fn record(
    app: web::Data<App>,
    Permitted(_): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
    Json(record): Json<Map<String, Value>>,
) -> Answer<web::Json<ImportReport>> {
    run(&app, move |app| app.import_record(&Value::Object(record)))
        .await
        .map(web::Json)
}

pub(crate) async fn import(
    app: web::Data<App>,
    Permitted(_): Permitted,
    Query(query): Query<ImportQuery>,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer<web::Json<ImportReport>> {
    let media = media_type(&request);
    if !IMPORT_TYPES.contains(&media.as_str()) {
        let detail = format!("the body must be one of {}", IMPORT_TYPES.join(", "));
        return Err(Problem::new(Code::UnsupportedMediaType, detail).into());
    }
    let limits = limits(&request);
    let file = spool(&request, payload.into_inner(), &limits).await?;
    let options = ImportOptions {
        skip_invalid: query.skip_invalid.unwrap_or(false),
    };
    run(&app, move |app| {
        let reader = Box::new(BufReader::new(file));
        let source = match (media.as_str(), sniff(reader).map_err(AppError::Spool)?) {
            ("application/json", ImportSource::Text(reader)) => ImportSource::Json(reader),
            ("application/x-ndjson", source @ ImportSource::Text(_))
            | ("application/vnd.sqlite3", source @ ImportSource::PublishedBytes(_)) => source,
            (media, _) => return Err(AppError::ImportUnreadable(format!("it is not {media}"))),
        };
        app.import(vec![source], options, Box::new(Unwatched))
    })
    .await
    .map(web::Json)
}

/// Takes the whole body before anything is locked: a slow sender holds up nobody.
async fn spool(request: &HttpRequest, mut payload: Payload, limits: &Limits) -> Answer<SpooledTempFile> {
    let too_large = || {
        Problem::new(
            Code::PayloadTooLarge,
            format!("an import is at most {} bytes", limits.import_bytes),
        )
    };
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.import_bytes) {
        return Err(too_large().into());
    }
    let mut file = SpooledTempFile::new(limits.spool_bytes);
    let mut taken = 0;
    let failed = |_| Problem::new(Code::Unavailable, "there is no room for the body");
    while let Some(piece) = next_piece(&mut payload, limits).await? {
        taken += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if taken > limits.import_bytes {
            return Err(too_large().into());
        }
        crate::context::body(&piece);
        // At most one network read long, into memory or the page cache.
        file.write_all(&piece).map_err(failed)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(file)
}
