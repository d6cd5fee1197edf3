//! Handlers: extract, one call of a use case, map.

use actix_web::web;
use cavra_app::package::{Piece, StoredDocument};
use cavra_app::{App, AppError};
use futures_util::stream::{self, Stream};

use crate::error::{Code, Problem};

pub(crate) mod acknowledgements;
pub(crate) mod console;
pub(crate) mod evidence;
pub(crate) mod notifications;
pub(crate) mod operations;
pub(crate) mod release;
pub(crate) mod sign_in;

/// What a handler gives back.
pub(crate) type Answer<T> = Result<T, actix_web::Error>;

/// Runs a use case off the async threads.
pub(crate) async fn run<T: Send + 'static>(
    app: &web::Data<App>,
    job: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
) -> Answer<T> {
    let app = App::clone(app);
    match web::block(move || job(&app)).await {
        Ok(result) => result.map_err(|error| Problem::from(error).into()),
        // The job panicked, or the server is going down.
        Err(_) => Err(Problem::new(Code::Internal, "the operation failed inside").into()),
    }
}

/// What comes next on a streamed document.
enum Next {
    Before(String),
    Piece(u64),
    Done,
}

/// The text of a stored document, piece by piece, between two other texts. One piece is in memory at a time.
pub(crate) fn pieces(
    app: web::Data<App>,
    document: StoredDocument,
    before: String,
    after: String,
) -> impl Stream<Item = Answer<web::Bytes>> {
    stream::try_unfold(
        (app, document, after, Next::Before(before)),
        |(app, document, after, next)| async move {
            match next {
                Next::Before(text) => Ok(Some((
                    web::Bytes::from(text),
                    (app, document, after, Next::Piece(0)),
                ))),
                Next::Done => Ok(None),
                Next::Piece(number) => {
                    let (asked, asked_of) = (number, document.clone());
                    let piece = run(&app, move |app| app.piece(&asked_of, asked)).await?;
                    Ok(Some(match piece {
                        Piece::Text(text) => (
                            web::Bytes::from(text),
                            (app, document, after, Next::Piece(number + 1)),
                        ),
                        Piece::End => (
                            web::Bytes::from(after),
                            (app, document, String::new(), Next::Done),
                        ),
                    }))
                }
            }
        },
    )
}
