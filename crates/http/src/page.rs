//! The console's files, beside the table of operations: they are no operations, need no permission, and say nothing
//! about evidence. The page asks for that through the API, like any other client.

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use cavra_console::{CONTENT_SECURITY_POLICY, File, files};

use crate::error::{Code, Problem};
use crate::handlers::{holds, not_modified};

/// Where a file is served.
fn address(file: &File) -> String {
    format!("/{}", file.path)
}

/// The file that a path names; the page itself is at the root too.
fn named(path: &str) -> Option<&'static File> {
    let path = if path == "/" { "index.html" } else { path.strip_prefix('/')? };
    files().iter().find(|file| file.path == path)
}

/// Registers every file.
pub(crate) fn register(config: &mut ServiceConfig) {
    for path in files().iter().map(address).chain(["/".to_owned()]) {
        config.service(
            web::resource(path)
                .route(web::get().to(file))
                .route(web::head().to(file))
                .default_service(web::route().to(wrong_method)),
        );
    }
}

async fn file(request: HttpRequest) -> Result<HttpResponse, actix_web::Error> {
    let Some(file) = named(request.path()) else {
        return Err(Problem::new(Code::NotFound, "there is no such file").into());
    };
    if holds(&request, &file.entity_tag) {
        return Ok(not_modified(&file.entity_tag));
    }
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, file.content_type))
        .insert_header((header::ETAG, file.entity_tag.as_str()))
        // A new version is seen at once; an old one costs a question and no bytes.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .body(file.bytes))
}

async fn wrong_method(request: HttpRequest) -> Result<&'static str, actix_web::Error> {
    let detail = format!("{} is not served here; GET, HEAD is", request.method());
    Err(Problem::new(Code::MethodNotAllowed, detail)
        .allowing("GET, HEAD".to_owned())
        .into())
}
