//! A service to test with, and what the tests ask it again and again.

use std::io::{BufReader, Cursor};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cavra_app::acknowledge::Acknowledge;
use cavra_app::bulk::{Bulk, BulkSelection};
use cavra_app::import::{ImportOptions, ImportReport, ImportSource, Unwatched};
use cavra_app::package::StoredDocument;
use cavra_app::plan::Deliver;
use cavra_app::views::{Paging, RouteRow};
use cavra_app::{App, AppError, Settings};
use cavra_domain::acknowledgement::AckState;
use cavra_domain::actor::Actor;
use cavra_domain::bulk::{BulkMode, ListedRoute};
use cavra_domain::id::{ScheduleId, SequentialIds};
use cavra_domain::public_safe::Text;
use cavra_domain::route::{Cycles, FilterTerms, Provider, RouteFilter};
use cavra_domain::schedule::RequestedProviders;
use cavra_domain::time::{Clock, Timestamp};
use cavra_storage::sqlite::SqliteStore;
use cavra_storage::{Store, StoredRecord};
use serde_json::{Value, json};

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// When the quickstart store's story is told.
pub(crate) fn noon() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

/// A clock that moves when it is told to.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(crate) fn set(&self, to: Timestamp) {
        *self.0.lock().unwrap() = to;
    }

    pub(crate) fn forward(&self, minutes: u32) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus_minutes(minutes);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A service and its clock.
pub(crate) struct Service {
    pub(crate) app: App,
    pub(crate) clock: Arc<HandClock>,
}

impl Service {
    pub(crate) fn over(store: Arc<dyn Store>, settings: Settings) -> Self {
        let clock = Arc::new(HandClock(Mutex::new(noon())));
        let ids = Arc::new(SequentialIds::default());
        Self {
            app: App::new(store, clock.clone(), ids, settings),
            clock,
        }
    }

    pub(crate) fn empty() -> Self {
        Self::over(Arc::new(SqliteStore::in_memory().unwrap()), Settings::default())
    }

    /// With the quickstart store's records.
    pub(crate) fn quickstart() -> Self {
        let service = Self::empty();
        let report = take(&service.app, &quickstart_text()).unwrap();
        assert_eq!(report.imported_count, 184);
        service
    }
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

pub(crate) fn quickstart_text() -> String {
    std::fs::read_to_string(fixture("quickstart.json")).unwrap()
}

pub(crate) fn quickstart_records() -> Vec<Value> {
    let store: Value = serde_json::from_str(&quickstart_text()).unwrap();
    store["items"].as_array().unwrap().clone()
}

pub(crate) fn source(bytes: impl AsRef<[u8]> + Send + 'static) -> ImportSource {
    ImportSource::Text(Box::new(BufReader::new(Cursor::new(bytes))))
}

pub(crate) fn take(app: &App, text: &str) -> Result<ImportReport, AppError> {
    take_with(app, text, false)
}

pub(crate) fn take_with(app: &App, text: &str, skip_invalid: bool) -> Result<ImportReport, AppError> {
    app.import(
        vec![source(text.to_owned())],
        ImportOptions { skip_invalid },
        Box::new(Unwatched),
    )
}

pub(crate) fn position(app: &App) -> u64 {
    app.store().reading(|tx| tx.head()).unwrap().position
}

pub(crate) fn record(app: &App, session_id: &str) -> Option<StoredRecord> {
    app.store().reading(|tx| tx.record(session_id)).unwrap()
}

pub(crate) fn ndjson(app: &App) -> String {
    let mut text = String::new();
    app.export_evidence(None, None, &mut |record| {
        text.push_str(&record.json);
        text.push('\n');
        Ok(())
    })
    .unwrap();
    text
}

pub(crate) fn filter(terms: FilterTerms<'_>) -> RouteFilter {
    RouteFilter::parse(&terms).unwrap()
}

pub(crate) fn everything() -> RouteFilter {
    RouteFilter::default()
}

pub(crate) fn deliver() -> RouteFilter {
    RouteFilter::default().or_deliver()
}

/// Every route that a filter means, page by page; the total is held against it.
pub(crate) fn rows(app: &App, filter: &RouteFilter, cycles: Cycles) -> Vec<RouteRow> {
    let mut rows = Vec::new();
    let mut cursor = None;
    loop {
        let paging = Paging {
            limit: 40,
            offset: 0,
            cursor,
        };
        let page = app
            .routes(filter, cycles, cavra_app::views::RouteSort::Newest, &paging)
            .unwrap();
        rows.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            assert_eq!(page.total, rows.len() as u64);
            return rows;
        }
    }
}

/// The rows of current routes of one schedule and provider.
pub(crate) fn rows_of(app: &App, schedule_id: &str, provider: &str) -> Vec<RouteRow> {
    let filter = filter(FilterTerms {
        schedule_id,
        provider,
        ..FilterTerms::default()
    });
    rows(app, &filter, Cycles::Current)
}

pub(crate) fn states(rows: &[RouteRow]) -> Vec<(&str, &str)> {
    let mut states: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| (row.owner.as_str(), row.acknowledgement_state))
        .collect();
    states.sort_unstable();
    states
}

pub(crate) fn ana() -> Actor {
    Actor::local("acknowledged_by", "ana@example.org").unwrap()
}

pub(crate) fn text(text: &str) -> Text {
    Text::parse(cavra_domain::acknowledgement::NOTES, text).unwrap()
}

/// Plans a schedule with a route for each owner and provider; other minutes make it another plan.
pub(crate) fn plan(
    app: &App,
    schedule_id: &str,
    owners: &[impl AsRef<str>],
    providers: &[&str],
    acknowledgement_minutes: usize,
) {
    let owners: Vec<&str> = owners.iter().map(AsRef::as_ref).collect();
    let done = app.deliver(Deliver {
        schedule: Some(json!({
            "schema_version": "cavra.go-backend-rollback-drill-schedule.v1",
            "schedule_id": schedule_id,
            "status": "active",
            "environment": "production",
            "interval_days": 30,
            "next_due_at": "2026-06-10T12:00:00+00:00",
            "runbook_ref": "runbook://rollback/any",
            "owners": owners,
            "notification_providers": providers,
            "owner_routes": [{ "owners": [], "acknowledgement_minutes": acknowledgement_minutes }],
        })),
        schedule_id: None,
        routing_policy: None,
        requested: RequestedProviders::default(),
        force: true,
        actor: ana(),
    });
    assert!(!done.unwrap().resent);
}

pub(crate) fn acknowledge(
    schedule: &str,
    provider: &str,
    owner: Option<&str>,
    said: AckState,
) -> Acknowledge {
    Acknowledge {
        schedule_id: ScheduleId::parse(schedule).unwrap(),
        provider: Provider::parse(provider).unwrap(),
        owner: owner.map(text),
        plan_id: None,
        said,
        external_ref: text("CHG-1"),
        notes: text("seen"),
        actor: ana(),
    }
}

pub(crate) fn bulk(selection: BulkSelection, said: AckState, mode: BulkMode) -> Bulk {
    Bulk {
        selection,
        said,
        external_ref: text("CHG-2"),
        notes: text("all of them"),
        mode,
        dry_run: false,
        expected_digest: None,
        minimal: false,
        actor: ana(),
    }
}

pub(crate) fn listed(row: &RouteRow) -> ListedRoute {
    ListedRoute {
        schedule_id: row.schedule_id.clone(),
        provider: row.provider.clone(),
        owner: Some(row.owner.clone()),
        plan_id: None,
        external_ref: None,
        notes: None,
    }
}

/// One outcome of a bulk or an undo, as its answer says it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Told {
    pub(crate) schedule_id: String,
    pub(crate) provider: String,
    pub(crate) owner: String,
    pub(crate) plan_id: String,
    pub(crate) previous_state: String,
    pub(crate) state: String,
    pub(crate) outcome: String,
    pub(crate) reason: String,
    pub(crate) acknowledgement_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the answer")]
pub(crate) struct Counts {
    pub(crate) matched_count: u64,
    pub(crate) changed_count: u64,
    pub(crate) already_count: u64,
    pub(crate) refused_count: u64,
    pub(crate) not_found_count: u64,
}

/// The answer of a bulk.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Done {
    pub(crate) bulk_id: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    pub(crate) acknowledgement_count: u64,
    pub(crate) repeated_count: u64,
    pub(crate) selection_digest: String,
    pub(crate) outcomes: Vec<Told>,
    pub(crate) acknowledgements: Vec<Value>,
    pub(crate) metadata: Vec<Value>,
    pub(crate) bulk_metadata: Option<Value>,
}

/// Does a bulk that has to succeed.
pub(crate) fn bulk_done(app: &App, command: Bulk) -> Done {
    let text = app.bulk(command).unwrap().text().unwrap();
    serde_json::from_slice(&text.whole(app).unwrap()).unwrap()
}

/// A whole package, joined.
pub(crate) fn package_text(app: &App, package: &StoredDocument) -> Vec<u8> {
    app.document_text(package, String::new(), String::new())
        .whole(app)
        .unwrap()
}

pub(crate) fn package(app: &App, filter: RouteFilter, cycles: Cycles) -> (StoredDocument, Value) {
    let stored = app.export_package(filter, cycles, &ana()).unwrap();
    let document = serde_json::from_slice(&package_text(app, &stored)).unwrap();
    (stored, document)
}

/// A time as the published store wrote it.
pub(crate) fn at_published(text: &str) -> Timestamp {
    Timestamp::parse_published(text).unwrap()
}
