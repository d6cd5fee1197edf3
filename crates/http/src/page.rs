//! The console's files, beside the table of operations: they are no operations, need no permission, and say nothing
//! about evidence. The page asks for that through the API, like any other client.

use actix_web::http::header::{self, HeaderName, HeaderValue};
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
    let path = if path == "/" {
        "index.html"
    } else {
        path.strip_prefix('/')?
    };
    files().iter().find(|file| file.path == path)
}

/// Whether a path is one of the page's.
pub(crate) fn serves(path: &str) -> bool {
    named(path).is_some()
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
    let mut response = if holds(&request, &file.entity_tag) {
        not_modified(&file.entity_tag)
    } else {
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, file.content_type))
            .insert_header((header::ETAG, file.entity_tag.as_str()))
            // A new version is seen at once; an old one costs a question and no bytes.
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .body(file.bytes)
    };
    // Also on a 304: a browser takes its fields over into what it has kept (RFC 9111 3.2), and with the policy of the
    // API the page would be dead from its second visit on.
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    Ok(response)
}

async fn wrong_method(request: HttpRequest) -> Result<&'static str, actix_web::Error> {
    let detail = format!("{} is not served here; GET, HEAD is", request.method());
    Err(Problem::new(Code::MethodNotAllowed, detail)
        .allowing("GET, HEAD".to_owned())
        .into())
}
