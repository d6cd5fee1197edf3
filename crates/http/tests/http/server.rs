//! A server of one's own for each test: memory, a clock that stands still, ids that count, the quickstart data.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use cavra_app::import::{ImportOptions, ImportSource, Unwatched};
use cavra_app::plan::ScheduleSettings;
use cavra_app::{App, Settings};
use cavra_domain::id::SequentialIds;
use cavra_domain::schedule::Mode;
use cavra_domain::time::{Clock, Timestamp};
use cavra_http::{Limits, ServeOptions, ServerInfo};
use cavra_rbac::Access;
use cavra_storage::sqlite::SqliteStore;
use serde_json::Value;

use crate::client::{Answer, Request};

/// The instant of the quickstart data's story.
pub(crate) const NOW: &str = "2026-06-01T12:00:00Z";

/// The origin that may call from a browser.
pub(crate) const ORIGIN: &str = "http://127.0.0.1:5173";

/// The prefix of the operations on drills.
pub(crate) const B: &str = "/runtime/go-pilot/rollback-drill-notifications";

/// A path of [`B`].
pub(crate) fn b(path: &str) -> String {
    format!("{B}{path}")
}

pub(crate) fn fixture(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(path)
}

/// What changes whenever anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    position: u64,
    total: Value,
    dashboard: Value,
}

/// A clock that stands until it is moved.
#[derive(Debug)]
struct HandClock(Mutex<Timestamp>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    clock: Arc<HandClock>,
    app: App,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::seeded(limits, true)
    }

    /// Without any record.
    pub(crate) fn empty() -> Self {
        Self::seeded(Limits::default(), false)
    }

    fn seeded(limits: Limits, quickstart: bool) -> Self {
        let clock = Arc::new(HandClock(Mutex::new(Timestamp::parse(NOW).unwrap())));
        Self::serving(
            limits,
            quickstart,
            Arc::clone(&clock) as _,
            clock,
            Access::OpenLocal,
        )
    }

    /// A server that knows its callers in this way, and lives by this clock.
    pub(crate) fn with_access(limits: Limits, clock: Arc<dyn Clock>, access: Access) -> Self {
        let unused = Arc::new(HandClock(Mutex::new(Timestamp::parse(NOW).unwrap())));
        Self::serving(limits, true, clock, unused, access)
    }

    fn serving(
        limits: Limits,
        quickstart: bool,
        clock: Arc<dyn Clock>,
        hand: Arc<HandClock>,
        access: Access,
    ) -> Self {
        let settings = Settings {
            schedules: ScheduleSettings {
                files: vec![
                    fixture("schedules/payments-ledger-monthly.json"),
                    fixture("schedules/search-index-weekly.json"),
                ],
                history: Some(fixture("drill-history.json")),
                mode: Mode::Promoted,
                ..ScheduleSettings::default()
            },
            ..Settings::default()
        };
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let app = App::new(
            store,
            Arc::clone(&clock),
            Arc::new(SequentialIds::default()),
            settings,
        );
        if quickstart {
            let data = std::fs::read(fixture("quickstart.json")).unwrap();
            let source = ImportSource::Text(Box::new(Cursor::new(data)));
            app.import(vec![source], ImportOptions::default(), Box::new(Unwatched))
                .expect("the quickstart data can be taken");
        }
        let info = ServerInfo {
            api_base_url: "https://drills.example.test".to_owned(),
            metadata_mode: "sqlite",
            cors_origins: vec![ORIGIN.to_owned()],
            hosts: BTreeSet::new(),
            // Of its own, so that evidence ids do not depend on how many requests came before.
            ids: Arc::new(SequentialIds::default()),
            clock,
            access: access.clone(),
        };
        let options = ServeOptions {
            workers: 1,
            limits,
            allowed_hosts: vec!["drills.internal".to_owned()],
        };
        let (started, starting) = sync_channel(1);
        let serving = app.clone();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let address = SocketAddr::from(([127, 0, 0, 1], 0));
                let listener = cavra_http::bind(address, &access).unwrap();
                let listening = cavra_http::serve(serving, info, &options, listener).unwrap();
                started
                    .send((listening.address, listening.server.handle()))
                    .unwrap();
                listening.server.await.unwrap();
            });
        });
        let (address, handle) = starting.recv().expect("the server starts");
        Self {
            address,
            clock: hand,
            app,
            handle,
            thread: Some(thread),
        }
    }

    /// Moves the clock.
    pub(crate) fn forward_micros(&self, micros: i64) {
        let mut now = self.clock.0.lock().unwrap();
        *now = now.plus_micros(micros);
    }

    /// Sets the clock to some microseconds after a time.
    pub(crate) fn set_clock(&self, to: &str, micros: i64) {
        *self.clock.0.lock().unwrap() = Timestamp::parse(to).unwrap().plus_micros(micros);
    }

    /// Where the log stands.
    pub(crate) fn position(&self) -> u64 {
        self.app.store().reading(|tx| tx.head()).unwrap().position
    }

    pub(crate) fn send(&self, request: &Request) -> Answer {
        request.send(self.address)
    }

    pub(crate) fn get(&self, target: &str) -> Value {
        self.send(&Request::get(target)).ok()
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.send(&Request::post(target, body.to_string()))
    }

    /// Where the log stands, how long the history is, and in which states the routes are.
    pub(crate) fn written(&self) -> Written {
        let head = self.app.store().reading(|tx| tx.head()).unwrap();
        Written {
            position: head.position,
            total: self.get(&b("?limit=1"))["total"].clone(),
            dashboard: self.get(&b("/dashboard")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The order is sent at once; the thread's end says that it was followed.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server stops");
        }
    }
}
