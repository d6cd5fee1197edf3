//! Records and stores to test with.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cavra_domain::route::{Cycles, RouteFilter, StateName, TrackedRoute, Transition};
use cavra_domain::time::Timestamp;
use cavra_storage::sqlite::SqliteStore;
use cavra_storage::{
    Appended, NewRecord, ReadTx, RouteQuery, StorageError, Store, StoredRecord, Verdict, WriteJob, WriteTx,
};
use rusqlite::Connection;
use rusqlite::types::Value as SqlValue;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// When the tests' records are taken, unless they say otherwise: after everything in the quickstart store.
pub(crate) fn noon() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

/// A folder with a place for a database file.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.named("cavra.db")
    }

    pub(crate) fn named(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Every file of the folder, with its content.
    pub(crate) fn content(&self) -> BTreeMap<String, Vec<u8>> {
        std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, std::fs::read(&path).unwrap())
            })
            .collect()
    }
}

/// One route decision of a plan.
pub(crate) fn decision(provider: &str, owner: &str, action: &str) -> Value {
    json!({
        "provider": provider,
        "owner": owner,
        "escalation_owner": "head-of-sre",
        "action": action,
        "acknowledgement_minutes": 60,
        "reason": "drill is due",
    })
}

/// A plan as the published store has it.
pub(crate) fn plan(schedule: &str, plan_id: &str, created_at: Timestamp, decisions: &[Value]) -> Value {
    json!({
        "session_id": plan_id,
        "created_at": created_at,
        "signer": "release-governance",
        "metadata_kind": "go-backend-rollback-drill-notification-plan",
        "plan_id": plan_id,
        "schedule_id": schedule,
        "alert_level": "warning",
        "plan": {
            "plan_id": plan_id,
            "schedule_id": schedule,
            "status": "due_soon",
            "next_due_at": "2026-06-10T12:00:00+00:00",
            "generated_at": created_at,
            "route_decisions": decisions,
        },
    })
}

/// An acknowledgement as the published store has it, with the parts that the published one lacks.
#[derive(Debug, Clone)]
pub(crate) struct Ack<'a> {
    pub(crate) id: &'a str,
    pub(crate) schedule: &'a str,
    pub(crate) plan: Option<&'a str>,
    pub(crate) provider: &'a str,
    pub(crate) owner: Option<&'a str>,
    pub(crate) said: &'a str,
    pub(crate) at: Timestamp,
}

impl Ack<'_> {
    pub(crate) fn record(&self) -> Value {
        let mut acknowledgement = json!({
            "acknowledgement_id": self.id,
            "schedule_id": self.schedule,
            "plan_id": self.plan.unwrap_or_default(),
            "provider": self.provider,
            "acknowledgement_state": self.said,
            "acknowledged_by": "ana@example.org",
            "acknowledged_at": self.at,
            "external_ref": "CHG-1",
            "notes": "",
        });
        if let Some(owner) = self.owner {
            acknowledgement["owner"] = json!(owner);
        }
        json!({
            "session_id": self.id,
            "created_at": self.at,
            "signer": "ana@example.org",
            "metadata_kind": "go-backend-rollback-drill-notification-ack",
            "acknowledgement_id": self.id,
            "schedule_id": self.schedule,
            "plan_id": self.plan.unwrap_or_default(),
            "provider": self.provider,
            "acknowledgement_state": self.said,
            "acknowledgement": acknowledgement,
        })
    }
}

/// The undo of an acknowledgement. What it says of the route is not what decides which routes it is about.
pub(crate) fn undo(id: &str, of: &str, at: Timestamp) -> Value {
    json!({
        "session_id": id,
        "created_at": at,
        "signer": "ben@example.org",
        "metadata_kind": "go-backend-rollback-drill-notification-ack-undo",
        "undo_id": id,
        "acknowledgement_id": of,
        "schedule_id": "s1",
        "provider": "slack",
        "acknowledgement_state": "undone",
        "acknowledgement_undo": {
            "undo_id": id,
            "acknowledgement_id": of,
            "schedule_id": "s1",
            "plan_id": "",
            "provider": "slack",
            "owner": "",
            "undone_state": "acknowledged",
            "undone_by": "ben@example.org",
            "undone_at": at,
            "reason": "taken by mistake",
        },
    })
}

/// A record that says nothing about routes.
pub(crate) fn note(id: &str, created_at: Timestamp) -> Value {
    json!({
        "session_id": id,
        "created_at": created_at,
        "signer": "ana@example.org",
        "metadata_kind": "go-backend-rollback-drill-notification-escalation-plan",
        "plan_id": id,
        "alert_level": "healthy",
        "escalation_plan": {},
    })
}

/// The records of the quickstart store, in the order of its file.
pub(crate) fn quickstart() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/quickstart.json");
    let store: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    store["items"].as_array().unwrap().clone()
}

pub(crate) fn open(path: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(path).unwrap())
}

pub(crate) fn in_memory() -> SqliteStore {
    SqliteStore::in_memory().unwrap()
}

pub(crate) fn write<T: Send + 'static>(
    store: &dyn Store,
    job: impl FnOnce(&mut dyn WriteTx) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    store.writing(job)
}

pub(crate) fn read<T>(
    store: &dyn Store,
    job: impl FnOnce(&dyn ReadTx) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    store.reading(job)
}

pub(crate) fn append_one(
    tx: &mut dyn WriteTx,
    value: &Value,
    recorded_at: Timestamp,
) -> Result<Appended, StorageError> {
    tx.append(&NewRecord {
        value,
        recorded_at,
        imported: true,
    })
}

/// Appends records, all in one job.
pub(crate) fn append(store: &dyn Store, records: Vec<Value>, recorded_at: Timestamp) {
    write(store, move |tx| {
        for record in &records {
            append_one(tx, record, recorded_at)?;
        }
        Ok(())
    })
    .unwrap();
}

pub(crate) fn position(store: &dyn Store) -> u64 {
    read(store, |tx| tx.head()).unwrap().position
}

/// The whole log.
pub(crate) fn log(store: &dyn Store) -> Vec<StoredRecord> {
    read(store, |tx| {
        let mut records = Vec::new();
        tx.visit_records(0, None, None, &mut |record| {
            records.push(record);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(records)
    })
    .unwrap()
}

/// Routes that a filter means, as the store lists them.
pub(crate) fn routes(
    store: &dyn Store,
    filter: &RouteFilter,
    cycles: Cycles,
    now: Timestamp,
) -> Vec<TrackedRoute> {
    read(store, |tx| {
        let mut routes = Vec::new();
        tx.visit_routes(&RouteQuery::all(filter, cycles, now), &mut |tracked| {
            routes.push(tracked);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(routes)
    })
    .unwrap()
}

/// What can be seen of one route, apart from how often it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) current: bool,
    pub(crate) state: Option<StateName>,
    /// The acknowledgement that stands.
    pub(crate) answer: Option<String>,
    pub(crate) history: Vec<(String, Transition)>,
}

/// Every route of every cycle, by plan, provider key and owner.
pub(crate) type View = BTreeMap<(String, String, String), Seen>;

pub(crate) fn view(store: &dyn Store) -> View {
    read(store, |tx| {
        let mut view = View::new();
        let filter = RouteFilter::default();
        tx.visit_histories(
            &RouteQuery::all(&filter, Cycles::All, noon()),
            &mut |tracked, history| {
                let route = &tracked.route;
                let key = (
                    route.plan_id.to_string(),
                    route.provider.key().to_owned(),
                    route.owner.to_string(),
                );
                let seen = Seen {
                    current: tracked.current,
                    state: tracked.state(),
                    answer: tracked
                        .status
                        .answer
                        .as_ref()
                        .map(|answer| answer.acknowledgement_id.to_string()),
                    history: history
                        .into_iter()
                        .map(|entry| (entry.answer.acknowledgement_id.to_string(), entry.effect))
                        .collect(),
                };
                assert!(view.insert(key, seen).is_none(), "a route is listed twice");
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(view)
    })
    .unwrap()
}

/// A job that is sent as it is, without the conveniences of `writing`.
pub(crate) fn verdict(
    store: &dyn Store,
    verdict: Verdict,
    job: impl FnOnce(&mut dyn WriteTx) + Send + 'static,
) -> Result<(), StorageError> {
    store.write(WriteJob::once(move |tx| {
        job(tx);
        verdict
    }))
}

/// What a database declares, in a fixed order.
pub(crate) fn schema_dump(connection: &Connection) -> String {
    let mut statement = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
        .unwrap();
    let declared: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    declared
        .iter()
        .fold(String::new(), |dump, sql| dump + sql + ";\n\n")
}

/// A whole database as SQL that makes it again.
pub(crate) fn dump(connection: &Connection) -> String {
    let number = |pragma: &str| -> i64 {
        connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .unwrap()
    };
    let mut dump = format!(
        "PRAGMA foreign_keys = OFF;\nPRAGMA application_id = {};\nPRAGMA user_version = {};\n\n",
        number("application_id"),
        number("user_version"),
    );
    // Tables have to be there before their indexes and triggers.
    let mut statement = connection
        .prepare(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL \
             ORDER BY type <> 'table', type, name",
        )
        .unwrap();
    let declared: Vec<(String, String, String)> = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (_, _, sql) in &declared {
        dump = dump + sql + ";\n\n";
    }
    for (kind, table, _) in &declared {
        if kind == "table" {
            dump += &rows_dump(connection, table);
        }
    }
    dump
}

fn rows_dump(connection: &Connection, table: &str) -> String {
    let mut statement = connection
        .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3"))
        .or_else(|_| connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")))
        .or_else(|_| connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")))
        .unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut dump = String::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..columns)
            .map(|column| match row.get::<_, SqlValue>(column).unwrap() {
                SqlValue::Null => "NULL".to_owned(),
                SqlValue::Integer(number) => number.to_string(),
                SqlValue::Real(number) => number.to_string(),
                SqlValue::Text(text) => format!("'{}'", text.replace('\'', "''")),
                SqlValue::Blob(bytes) => {
                    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("x'{}'", hex.concat())
                }
            })
            .collect();
        dump = dump + "INSERT INTO " + table + " VALUES (" + &values.join(", ") + ");\n";
    }
    dump
}

/// A generator of numbers that is the same everywhere (`SplitMix64`).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
