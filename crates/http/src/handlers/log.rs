//! The evidence log as others read it (C2SP `tlog-checkpoint`, `tlog-tiles`).

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use cavra_app::App;

use super::{Answer, run};
use crate::error::{Code, Problem};
use crate::extract::{Permitted, Query};
use crate::wire::NoQuery;

/// The media type of a checkpoint.
pub(crate) const CHECKPOINT_TYPE: &str = "text/plain";

/// The same with its charset: a note has a dash that is not ASCII.
const UTF_8: &str = "text/plain; charset=utf-8";

/// The media type of a tile.
pub(crate) const TILE_TYPE: &str = "application/octet-stream";

pub(crate) async fn checkpoint(
    app: web::Data<App>,
    Permitted(_): Permitted,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let note = run(&app, |app| app.checkpoint(None)).await?;
    Ok(HttpResponse::Ok().content_type(UTF_8).body(note))
}

pub(crate) async fn checkpoint_at(
    app: web::Data<App>,
    Permitted(_): Permitted,
    size: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let size: u64 = size
        .parse()
        .map_err(|_| Problem::at(Code::InvalidValue, "size", "must be a number of leaves"))?;
    let note = run(&app, move |app| app.checkpoint(Some(size))).await?;
    Ok(HttpResponse::Ok().content_type(UTF_8).body(note))
}

pub(crate) async fn tile(
    app: web::Data<App>,
    Permitted(_): Permitted,
    path: web::Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<HttpResponse> {
    let bytes = run(&app, move |app| app.log_tile(&path)).await?;
    // What a path names never changes: a tile that is not full has its width in its path.
    Ok(HttpResponse::Ok()
        .content_type(TILE_TYPE)
        .insert_header((header::CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .body(bytes))
}
