//! Handlers: extract, one call of a use case, map.

use actix_web::web;
use cavra_app::{App, AppError};

use crate::error::{Code, Problem};

pub(crate) mod acknowledgements;
pub(crate) mod console;
pub(crate) mod evidence;
pub(crate) mod notifications;
pub(crate) mod operations;
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
