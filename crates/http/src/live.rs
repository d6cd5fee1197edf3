//! Who waits for news: one watcher asks the store where the log stands, however many listen.
//!
//! It asks instead of being told, because another process may write to the same file (`cavra import` while the server
//! runs), and it asks only while somebody listens. See ADR 0027.

use std::sync::Arc;
use std::time::Duration;

use cavra_app::App;
use tokio::sync::{Notify, watch};

/// How often the watcher asks.
const EVERY: Duration = Duration::from_millis(200);

/// What listeners are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The log stands here.
    Position(u64),
    /// The server stops.
    Closing,
}

/// Tells listeners where the log stands.
#[derive(Debug)]
pub(crate) struct Live {
    news: watch::Sender<News>,
    listened: Notify,
}

impl Live {
    /// Nobody listens yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            news: watch::Sender::new(News::Position(0)),
            listened: Notify::new(),
        })
    }

    /// One more listener.
    pub(crate) fn listen(&self) -> watch::Receiver<News> {
        let receiver = self.news.subscribe();
        self.listened.notify_one();
        receiver
    }

    /// The log stands at a position, as somebody has just seen.
    pub(crate) fn seen(&self, position: u64) {
        self.news.send_if_modified(|news| match news {
            News::Position(known) if *known < position => {
                *known = position;
                true
            }
            News::Position(_) | News::Closing => false,
        });
    }

    /// Ends every stream, so that a stop does not wait for listeners.
    pub(crate) fn close(&self) {
        self.news.send_replace(News::Closing);
        self.listened.notify_one();
    }

    /// Watches until the server stops. It keeps no hold on itself: without listeners and server, it ends.
    pub(crate) async fn watch(self: Arc<Self>, app: App) {
        loop {
            if *self.news.borrow() == News::Closing {
                return;
            }
            if self.news.receiver_count() == 0 {
                self.listened.notified().await;
                continue;
            }
            let asked = app.clone();
            match actix_web::web::block(move || asked.log_position()).await {
                Ok(Ok(position)) => self.seen(position),
                // Whoever asks for evidence is told what is wrong with the store; here there is nobody to tell.
                Ok(Err(error)) => tracing::warn!(%error, "the log's position cannot be read"),
                Err(_) => return,
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
