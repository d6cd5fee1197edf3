//! Server-sent events: where the log stands. What changed is for the caller to ask; entity tags make that cheap.

use std::time::Duration;

use actix_web::http::header::{self, ContentEncoding};
use actix_web::{HttpRequest, HttpResponse, web};
use cavra_app::App;
use futures_util::stream;
use tokio::sync::watch;

use super::{Answer, run};
use crate::extract::{Permitted, Query};
use crate::live::{Live, News};
use crate::wire::EventsQuery;

/// A sign of life on a quiet stream, so that both ends notice when the other is gone.
const BEAT: Duration = Duration::from_secs(15);

fn event(position: u64) -> web::Bytes {
    web::Bytes::from(format!(
        "id: {position}\nevent: position\ndata: {{\"position\":{position}}}\n\n"
    ))
}

/// What a listener has been told, and where the next news comes from.
struct Listener {
    news: watch::Receiver<News>,
    told: Option<u64>,
}

impl Listener {
    /// The next words of the stream; none when the server stops.
    async fn next(mut self) -> Option<(web::Bytes, Self)> {
        loop {
            let news = *self.news.borrow_and_update();
            match news {
                News::Closing => return None,
                News::Position(position) if self.told.is_none_or(|told| told != position) => {
                    self.told = Some(position);
                    return Some((event(position), self));
                }
                News::Position(_) => {}
            }
            match tokio::time::timeout(BEAT, self.news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some((web::Bytes::from_static(b": still here\n\n"), self)),
            }
        }
    }
}

pub(crate) async fn events(
    app: web::Data<App>,
    live: web::Data<Live>,
    Permitted(_): Permitted,
    request: HttpRequest,
    Query(query): Query<EventsQuery>,
) -> Answer<HttpResponse> {
    // Listen first and look then: what is committed in between is news.
    let news = live.listen();
    let position = run(&app, App::log_position).await?;
    live.seen(position);
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // A compressor would hold words back.
        .insert_header(ContentEncoding::Identity);
    if query.follow == Some(false) {
        return Ok(response.body(event(position)));
    }
    let told = request
        .headers()
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse().ok());
    let begin = web::Bytes::from_static(b"retry: 2000\n\n");
    let listener = Listener { news, told };
    let words = stream::unfold((Some(begin), listener), |(begin, listener)| async move {
        match begin {
            Some(begin) => Some((begin, (None, listener))),
            None => listener
                .next()
                .await
                .map(|(words, listener)| (words, (None, listener))),
        }
    });
    Ok(response.streaming(futures_util::StreamExt::map(words, Ok::<_, actix_web::Error>)))
}
