//! The floors of `cargo xtask bench`: what bare SQLite costs for the same rows, and nothing else.
//!
//! `docs/performance.md` defines them. Rows come out of a database that the service has written; only the statements,
//! the digests and the commits are timed. Seconds on the wall and on the processor go to standard output.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::time::{Duration, Instant};

use cavra_domain::evidence::{EvidenceKind, history_terms};
use cavra_domain::time::Timestamp;
use cavra_evidence::digest::{Digest, DigestWriter};
use rusqlite::types::Value;
use rusqlite::{Connection, TransactionBehavior, params, params_from_iter};
use serde_json::{Value as Json, json};

/// How many records are read at a time, outside the clock.
const CHUNK: usize = 5_000;

type Failure = Box<dyn Error>;
type Row = Vec<Value>;

/// What was written for one record: the rows of each table.
struct Written {
    evidence: Row,
    postings: Vec<Row>,
    acknowledgement: Vec<Row>,
    answers: Vec<Row>,
    routes: Vec<Row>,
    pieces: Vec<Row>,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let took = match arguments.as_slice() {
        ["bulk", source, target, from] => write(source, target, from.parse()?)?,
        ["single", source, target, from, count] => singles(source, target, from.parse()?, count.parse()?)?,
        ["package", source] => package(source)?,
        ["deliveries", source] => rows(source, DELIVERIES)?,
        ["document", source, target] => document(source, target)?,
        ["exports", source] => rows(source, EXPORTS)?,
        _ => return Err("see the source for what it takes".into()),
    };
    writeln!(
        std::io::stdout(),
        "{} {}",
        took.wall.as_secs_f64(),
        took.processor.as_secs_f64()
    )?;
    Ok(())
}

/// How long something took: on the wall, and on a processor, which says the same on a machine that has other work.
#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    wall: Duration,
    processor: Duration,
}

/// The time that this thread has spent on a processor, as the kernel counts it; nothing where it does not.
fn processor() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn timed<T>(clock: &mut Clock, work: impl FnOnce() -> T) -> T {
    let before = processor();
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let begun = Instant::now();
    let done = work();
    clock.wall += begun.elapsed();
    clock.processor += processor().saturating_sub(before);
    done
}

/// As the service sets up its own connection.
fn open(path: &str) -> Result<Connection, Failure> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn query(connection: &Connection, sql: &str, position: i64) -> Result<Vec<Row>, Failure> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let rows = statement
        .query_map([position], |row| {
            (0..columns).map(|column| row.get(column)).collect()
        })?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// The terms of the database that the service has written.
fn terms(source: &Connection) -> Result<HashMap<String, i64>, Failure> {
    let mut statement = source.prepare("SELECT name, id FROM term")?;
    let terms = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok(terms)
}

fn written(
    source: &Connection,
    terms: &HashMap<String, i64>,
    position: i64,
) -> Result<Option<Written>, Failure> {
    let Some(evidence) = query(
        source,
        "SELECT position, session_id, kind, created_at, recorded_at, imported, sha256, record FROM evidence \
         WHERE position = ?1",
        position,
    )?
    .pop() else {
        return Ok(None);
    };
    let mut postings = Vec::new();
    if let [
        _,
        _,
        Value::Text(kind),
        Value::Integer(created_at),
        ..,
        Value::Text(record),
    ] = evidence.as_slice()
    {
        for term in history_terms(&EvidenceKind::of(kind), &serde_json::from_str(record)?) {
            let id = terms.get(term.as_str()).ok_or("a term is missing")?;
            postings.push([*id, *created_at, position].map(Value::Integer).to_vec());
        }
    }
    let of_route = "FROM acknowledgement a JOIN route r ON r.plan = a.plan AND r.provider_key = a.provider_key \
                    AND r.owner = a.owner";
    Ok(Some(Written {
        evidence,
        postings,
        acknowledgement: query(
            source,
            "SELECT * FROM acknowledgement WHERE position = ?1",
            position,
        )?,
        answers: query(
            source,
            &format!("SELECT r.id, a.effective_at, a.position, 'change' {of_route} WHERE a.position = ?1"),
            position,
        )?,
        routes: query(
            source,
            &format!("SELECT r.id, a.said, a.position {of_route} WHERE a.position = ?1"),
            position,
        )?,
        pieces: query(
            source,
            "SELECT position, piece, bytes FROM package_chunk WHERE position = ?1",
            position,
        )?,
    }))
}

/// Writes the rows of one record, with its digest.
fn put(target: &Connection, written: &mut Written) -> Result<(), Failure> {
    if let [.., digest, Value::Text(record)] = written.evidence.as_mut_slice() {
        *digest = Value::Blob(Digest::of(record.as_bytes()).as_bytes().to_vec());
    }
    let insert = |sql: &str, row: &Row| -> Result<(), Failure> {
        target.prepare_cached(sql)?.execute(params_from_iter(row))?;
        Ok(())
    };
    insert(
        "INSERT INTO evidence VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        &written.evidence,
    )?;
    for row in &written.postings {
        insert("INSERT INTO posting VALUES (?1, ?2, ?3)", row)?;
    }
    for row in &written.acknowledgement {
        insert(
            "INSERT INTO acknowledgement VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, \
             ?16, ?17, ?18)",
            row,
        )?;
    }
    for row in &written.answers {
        insert("INSERT INTO route_answer VALUES (?1, ?2, ?3, ?4)", row)?;
    }
    for row in &written.routes {
        insert(
            "UPDATE route SET state = ?2, revision = revision + 1, answer = ?3 WHERE id = ?1",
            row,
        )?;
    }
    for row in &written.pieces {
        insert("INSERT INTO package_chunk VALUES (?1, ?2, ?3)", row)?;
    }
    Ok(())
}

/// Terms that the service made for these records: a handful, outside the clock.
fn copy_terms(terms: &HashMap<String, i64>, target: &Connection) -> Result<(), Failure> {
    for (name, id) in terms {
        target.execute(
            "INSERT INTO term (id, name, record_count) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING",
            params![id, name],
        )?;
    }
    Ok(())
}

/// Everything behind a position in one durable transaction.
fn write(source: &str, target: &str, from: i64) -> Result<Clock, Failure> {
    let source = Connection::open(source)?;
    let mut target = open(target)?;
    let terms = terms(&source)?;
    copy_terms(&terms, &target)?;
    let mut clock = Clock::default();
    let transaction = timed(&mut clock, || {
        target.transaction_with_behavior(TransactionBehavior::Immediate)
    })?;
    let mut next = from + 1;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK
            && let Some(written) = written(&source, &terms, next)?
        {
            chunk.push(written);
            next += 1;
        }
        if chunk.is_empty() {
            break;
        }
        timed(&mut clock, || {
            chunk
                .iter_mut()
                .try_for_each(|written| put(&transaction, written))
        })?;
    }
    timed(&mut clock, || transaction.commit())?;
    Ok(clock)
}

/// One durable transaction per record.
fn singles(source: &str, target: &str, from: i64, count: i64) -> Result<Clock, Failure> {
    let source = Connection::open(source)?;
    let mut target = open(target)?;
    let terms = terms(&source)?;
    copy_terms(&terms, &target)?;
    let mut clock = Clock::default();
    for position in from + 1..=from + count {
        let Some(mut written) = written(&source, &terms, position)? else {
            return Err("there are not so many".into());
        };
        timed(&mut clock, || -> Result<(), Failure> {
            let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate)?;
            put(&transaction, &mut written)?;
            Ok(transaction.commit()?)
        })?;
    }
    Ok(clock)
}

fn time(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Json> {
    let at: Option<i64> = row.get(column)?;
    Ok(at
        .and_then(Timestamp::from_micros)
        .map_or(json!(""), |at| json!(at)))
}

fn text(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Json> {
    Ok(json!(row.get_ref(column)?.as_str_or_null()?.unwrap_or_default()))
}

/// Reads the rows of every delivered route with its history, and writes the JSON that the package has for them.
fn package(source: &str) -> Result<Clock, Failure> {
    let source = open(source)?;
    let mut clock = Clock::default();
    timed(&mut clock, || -> Result<(), Failure> {
        let mut routes = source.prepare(
            "SELECT r.route_id, r.schedule_id, r.plan_id, r.provider, r.owner, r.escalation_owner, r.action, \
             r.category, r.created_at, r.state, a.acknowledged_by, a.acknowledged_at, a.external_ref, a.notes, \
             a.acknowledgement_id, r.acknowledgement_minutes, r.revision, r.id FROM route r \
             LEFT JOIN acknowledgement a ON a.position = r.answer WHERE r.current = 1 AND r.action = 'deliver' \
             ORDER BY r.created_at DESC, r.route_id DESC",
        )?;
        let mut histories = source.prepare(
            "SELECT a.acknowledgement_id, a.said, a.acknowledged_by, a.acknowledged_at, a.external_ref, a.notes, \
             a.issuer, a.subject, a.verified, h.effect FROM route_answer h \
             JOIN acknowledgement a ON a.position = h.acknowledgement WHERE h.route = ?1 \
             ORDER BY h.effective_at, h.acknowledgement",
        )?;
        let mut out = std::io::BufWriter::with_capacity(1 << 18, std::io::sink());
        let mut rows = routes.query([])?;
        while let Some(row) = rows.next()? {
            let mut entries = Vec::new();
            let mut history = histories.query([row.get::<_, i64>(17)?])?;
            while let Some(entry) = history.next()? {
                entries.push(json!({
                    "acknowledgement_id": text(entry, 0)?, "acknowledgement_state": text(entry, 1)?, "undoes": "",
                    "acknowledged_by": text(entry, 2)?, "acknowledged_at": time(entry, 3)?,
                    "external_ref": text(entry, 4)?, "notes": text(entry, 5)?, "issuer": text(entry, 6)?,
                    "subject": text(entry, 7)?, "verified": entry.get::<_, bool>(8)?, "effect": text(entry, 9)?,
                }));
            }
            let route = json!({
                "route_id": text(row, 0)?, "schedule_id": text(row, 1)?, "plan_id": text(row, 2)?,
                "provider": text(row, 3)?, "owner": text(row, 4)?, "escalation_owner": text(row, 5)?,
                "route_action": text(row, 6)?, "category": text(row, 7)?, "route_created_at": time(row, 8)?,
                "acknowledgement_state": text(row, 9)?, "acknowledged": true, "acknowledged_by": text(row, 10)?,
                "acknowledged_at": time(row, 11)?, "external_ref": text(row, 12)?, "notes": text(row, 13)?,
                "acknowledgement_id": text(row, 14)?, "breached": false, "age_minutes": 1234.56,
                "acknowledgement_minutes": row.get::<_, i64>(15)?, "revision": row.get::<_, i64>(16)?,
                "acknowledgements": entries,
            });
            serde_json::to_writer(&mut out, &route)?;
        }
        Ok(out.flush()?)
    })?;
    Ok(clock)
}

const DELIVERIES: &str = "SELECT * FROM delivery ORDER BY export_id, provider_key, happened_at, position";

const EXPORTS: &str = "SELECT * FROM auditor_export e LEFT JOIN archive_reference r ON r.export_id = e.export_id \
     WHERE e.verified = 1 ORDER BY e.generated_at DESC, e.export_id DESC";

/// The newest stored document of a database, once more: its text is digested, packed, stored in one durable transaction
/// in a database of its own, and read and unpacked again. Reading the text beforehand is outside the clock.
fn document(source: &str, target: &str) -> Result<Clock, Failure> {
    let pieces: Vec<Vec<u8>> = Connection::open(source)?
        .prepare(
            "SELECT bytes FROM package_chunk WHERE position = (SELECT max(position) FROM package_chunk) ORDER BY piece",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let texts = pieces
        .iter()
        .map(|piece| cavra_storage::unpack(piece))
        .collect::<Result<Vec<_>, _>>()?;
    let mut target = open(target)?;
    target.execute_batch("CREATE TABLE IF NOT EXISTS piece (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")?;
    let mut clock = Clock::default();
    timed(&mut clock, || -> Result<(), Failure> {
        let mut digest = DigestWriter::new();
        for text in &texts {
            digest.write_all(text)?;
        }
        std::hint::black_box(digest.finish());
        let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for text in &texts {
            transaction
                .prepare_cached("INSERT INTO piece (bytes) VALUES (?1)")?
                .execute([cavra_storage::pack(text)])?;
        }
        transaction.commit()?;
        let mut stored = target.prepare("SELECT bytes FROM piece ORDER BY id DESC LIMIT ?1")?;
        let mut rows = stored.query([texts.len()])?;
        while let Some(row) = rows.next()? {
            std::hint::black_box(cavra_storage::unpack(row.get_ref(0)?.as_blob()?)?);
        }
        Ok(())
    })?;
    Ok(clock)
}

/// Reads every column of every row.
fn rows(source: &str, sql: &str) -> Result<Clock, Failure> {
    let source = open(source)?;
    let mut clock = Clock::default();
    timed(&mut clock, || -> Result<(), Failure> {
        let mut statement = source.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                std::hint::black_box(row.get::<_, Value>(column)?);
            }
        }
        Ok(())
    })?;
    Ok(clock)
}
