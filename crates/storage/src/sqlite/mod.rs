//! The SQLite engine: WAL, `synchronous=FULL`, one writer thread, a pool of readers.
//!
//! **Group commit.** The writer takes every job that waits, runs each inside a savepoint of one transaction,
//! commits once, and only then answers them: an answered write survives power loss, and a failed job takes
//! nothing of its neighbours with it. While jobs come in company it waits up to 2 ms for as many as the last time, so
//! that they share a commit; a job that comes alone is done at once.
//!
//! **Memory.** The sample binary has no files: there, one connection serves reads and writes in turn.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::{ReadTx, StorageError, Store, Verdict, WriteEnd, WriteJob};

mod append;
mod check;
mod history;
mod log;
mod past;
mod read;
mod release;
mod routes;
mod schema;

pub use check::{CheckReport, Finding};
pub use schema::FORMAT;

use append::WriteState;
use read::Reading;

/// How long a connection waits for another process before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// How many jobs share one commit at most.
const JOBS_PER_COMMIT: usize = 256;

/// How long a commit waits at most for one more job, and how often: 2 ms together.
const WAIT: Duration = Duration::from_micros(250);

/// See [`WAIT`].
const WAITS: u32 = 8;

/// How many readers work at the same time.
const READERS: usize = 8;

/// The engine over one database file, or over memory.
pub struct SqliteStore {
    path: Option<PathBuf>,
    readers: Readers,
    jobs: Mutex<Option<Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The earlier state that was last asked for, made anew; evidence is only ever added, so it stays right.
    past: Mutex<Option<(u64, Connection)>>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

enum Readers {
    /// Read-only connections of a file; each sees the state at its own start and never waits for the writer.
    Pool {
        path: PathBuf,
        idle: Mutex<Pool>,
        freed: Condvar,
    },
    /// The one connection of a memory database.
    Shared(Arc<Mutex<Connection>>),
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

struct Job {
    work: WriteJob,
    end: WriteEnd,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteStore {
    /// Opens a database file, creates it when it is not there, and brings an older format up to date.
    ///
    /// # Errors
    /// [`StorageError`] naming the file: not ours, newer than this version, read-only, or damaged. The file is
    /// left as it was.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        // SQLite takes a file of one byte for an empty one and would write over it.
        if std::fs::metadata(path).is_ok_and(|file| file.len() == 1) {
            return Err(StorageError::NotOurs(path.to_owned()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|source| StorageError::Open {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        schema::prepare(&connection, path)?;
        let readers = Readers::Pool {
            path: path.to_owned(),
            idle: Mutex::default(),
            freed: Condvar::new(),
        };
        Self::start(Some(path.to_owned()), readers, Arc::new(Mutex::new(connection)))
    }

    /// Opens a database file that is there already: for checks, exports and copies beside a running service. As
    /// [`SqliteStore::open`] it brings an older format up to date, but it makes no database where there is none.
    ///
    /// # Errors
    /// [`StorageError`] as [`SqliteStore::open`]; a missing file is [`StorageError::Open`], an empty one
    /// [`StorageError::NotOurs`].
    pub fn open_existing(path: &Path) -> Result<Self, StorageError> {
        let refused = |source: std::io::Error| StorageError::Open {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let file = std::fs::metadata(path).map_err(refused)?;
        if !file.is_file() {
            return Err(refused(std::io::ErrorKind::NotFound.into()));
        }
        if file.len() == 0 {
            return Err(StorageError::NotOurs(path.to_owned()));
        }
        Self::open(path)
    }

    /// A database in memory, gone with the process.
    ///
    /// # Errors
    /// [`StorageError::Engine`] when SQLite fails.
    pub fn in_memory() -> Result<Self, StorageError> {
        let connection = Connection::open_in_memory()?;
        schema::prepare(&connection, Path::new(":memory:"))?;
        let shared = Arc::new(Mutex::new(connection));
        Self::start(None, Readers::Shared(Arc::clone(&shared)), shared)
    }

    /// Writes a consistent copy to a new file, while others read and write.
    ///
    /// # Errors
    /// [`StorageError`] when the file is there already or cannot be written.
    pub fn backup(&self, target: &Path) -> Result<(), StorageError> {
        let refused = |source: std::io::Error| StorageError::Open {
            path: target.to_owned(),
            source: Box::new(source),
        };
        if target.exists() {
            return Err(refused(std::io::ErrorKind::AlreadyExists.into()));
        }
        let Some(path) = &self.path else {
            return Err(StorageError::Closed);
        };
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        let name = target
            .to_str()
            .ok_or_else(|| refused(std::io::ErrorKind::InvalidFilename.into()))?;
        connection.execute("VACUUM INTO ?1", [name])?;
        // The copy is only a backup once it is on the disk.
        std::fs::File::open(target)
            .and_then(|file| file.sync_all())
            .map_err(refused)
    }

    fn start(
        path: Option<PathBuf>,
        readers: Readers,
        connection: Arc<Mutex<Connection>>,
    ) -> Result<Self, StorageError> {
        let (jobs, waiting) = channel();
        let shared_path = path.clone();
        let writer = std::thread::Builder::new()
            .name("cavra-writer".to_owned())
            .spawn(move || write_loop(&connection, &waiting, shared_path.as_deref()))
            .map_err(|error| StorageError::Engine(Box::new(error)))?;
        Ok(Self {
            path,
            readers,
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            past: Mutex::default(),
        })
    }

    /// The state after so many records, in a database of its own.
    fn replayed(&self, position: u64) -> Result<Connection, StorageError> {
        // A temporary database, which SQLite keeps in memory or spills to a file of its own; the memory engine has none.
        let scratch = match &self.readers {
            Readers::Shared(_) => Connection::open_in_memory()?,
            Readers::Pool { .. } => Connection::open("")?,
        };
        schema::prepare_scratch(&scratch)?;
        let mut replayed = Ok(());
        self.read(&mut |tx| replayed = past::replay(tx, position, &scratch))?;
        replayed?;
        Ok(scratch)
    }

    fn reader(&self) -> Result<Connection, StorageError> {
        let Readers::Pool { path, idle, freed } = &self.readers else {
            return Err(StorageError::Closed);
        };
        let mut pool = lock(idle);
        loop {
            if let Some(connection) = pool.idle.pop() {
                return Ok(connection);
            }
            if pool.open < READERS {
                pool.open += 1;
                drop(pool);
                let opened = open_reader(path);
                if opened.is_err() {
                    lock(idle).open -= 1;
                    freed.notify_one();
                }
                return opened;
            }
            pool = freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn open_reader(path: &Path) -> Result<Connection, StorageError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|source| StorageError::Open {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    schema::keep_statements(&connection)?;
    Ok(connection)
}

impl Store for SqliteStore {
    fn read(&self, job: &mut dyn FnMut(&dyn ReadTx)) -> Result<(), StorageError> {
        match &self.readers {
            Readers::Shared(connection) => {
                let connection = lock(connection);
                catch_unwind(AssertUnwindSafe(|| job(&Reading::new(&connection))))
                    .map_err(|_| StorageError::Panicked)
            }
            Readers::Pool { idle, freed, .. } => {
                let connection = self.reader()?;
                let transaction = connection.unchecked_transaction();
                let outcome = transaction.map_err(StorageError::from).map(|transaction| {
                    // A panic in the job must not cost the pool its connection.
                    let run = catch_unwind(AssertUnwindSafe(|| job(&Reading::new(&transaction))));
                    drop(transaction);
                    run
                });
                lock(idle).idle.push(connection);
                freed.notify_one();
                outcome?.map_err(|_| StorageError::Panicked)
            }
        }
    }

    fn read_as_of(&self, position: u64, job: &mut dyn FnMut(&dyn ReadTx)) -> Result<(), StorageError> {
        // Who looks at an earlier state asks more than one question about it.
        // Taken out, so that nobody waits for anybody's answer.
        let kept = lock(&self.past).take();
        let scratch = match kept {
            Some((kept, scratch)) if kept == position => scratch,
            _ => self.replayed(position)?,
        };
        catch_unwind(AssertUnwindSafe(|| job(&Reading::new(&scratch))))
            .map_err(|_| StorageError::Panicked)?;
        if past::is_small(&scratch)? {
            *lock(&self.past) = Some((position, scratch));
        }
        Ok(())
    }

    fn submit(&self, work: WriteJob, end: WriteEnd) {
        let job = Job { work, end };
        let unsent = match lock(&self.jobs).as_ref() {
            Some(jobs) => jobs.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        };
        if let Some(job) = unsent {
            (job.end)(Err(StorageError::Closed));
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The writer ends when it has answered every job that was sent.
        lock(&self.jobs).take();
        if let Some(writer) = lock(&self.writer).take() {
            let _ = writer.join();
        }
    }
}

/// Takes waiting jobs in groups, until nobody can send any more.
fn write_loop(connection: &Mutex<Connection>, waiting: &Receiver<Job>, path: Option<&Path>) {
    let mut state = WriteState::default();
    let mut expected = 1;
    while let Ok(first) = waiting.recv() {
        let group = gather(first, waiting, expected);
        expected = group.len();
        commit_group(&mut lock(connection), &mut state, group, path);
    }
}

/// The jobs of one commit: those that wait, and while fewer are there than shared the last one, those that come within a
/// bounded time. Whoever is alone waits for nobody.
fn gather<T>(first: T, waiting: &Receiver<T>, expected: usize) -> Vec<T> {
    let mut group = vec![first];
    let mut waits = 0;
    while group.len() < JOBS_PER_COMMIT {
        let next = match waiting.try_recv() {
            Ok(job) => Some(job),
            Err(_) if group.len() < expected && waits < WAITS => {
                waits += 1;
                waiting.recv_timeout(WAIT).ok()
            }
            Err(_) => break,
        };
        group.extend(next);
    }
    group
}

fn commit_group(connection: &mut Connection, state: &mut WriteState, group: Vec<Job>, path: Option<&Path>) {
    let mut group = VecDeque::from(group);
    while !group.is_empty() {
        let mut done = Vec::with_capacity(group.len());
        let committed =
            run_group(connection, state, &mut group, &mut done).map_err(|error| named(error, path));
        if committed.is_err() {
            state.forget();
            state.forget_leaves(0);
        }
        for (end, outcome) in done {
            let outcome = match (&committed, outcome) {
                (_, Err(error)) => Err(named(error, path)),
                // A job that asked for nothing to be kept has its own reason to tell.
                (_, Ok(Verdict::Rollback)) | (Ok(()), Ok(Verdict::Commit)) => Ok(()),
                (Err(error), Ok(Verdict::Commit)) => Err(again(error)),
            };
            end(outcome);
        }
    }
}

type Answered = (WriteEnd, Result<Verdict, StorageError>);

/// Runs jobs in one transaction and commits it. Jobs that stay in `group` were not touched.
fn run_group(
    connection: &mut Connection,
    state: &mut WriteState,
    group: &mut VecDeque<Job>,
    done: &mut Vec<Answered>,
) -> Result<(), StorageError> {
    let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
    let mut transaction = match begun {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = StorageError::from(error);
            done.extend(group.drain(..).map(|job| (job.end, Err(again(&error)))));
            return Err(error);
        }
    };
    // A job that shares its transaction with nobody needs no savepoint: the transaction is one, and SQLite keeps
    // no second journal of every page that the job touches.
    if group.len() == 1
        && let Some(job) = group.pop_front()
    {
        let outcome = run_job(&transaction, state, job.work);
        let keep = matches!(outcome, Ok(Verdict::Commit));
        done.push((job.end, outcome));
        if keep {
            state.log(&transaction)?;
            transaction.commit()?;
        }
        return Ok(());
    }
    while let Some(job) = group.pop_front() {
        let outcome = run_beside_others(&mut transaction, state, job.work);
        done.push((job.end, outcome));
        // On a full disk or a failing one SQLite itself rolls back the whole transaction. Whatever came next would
        // then be committed statement by statement.
        if transaction.is_autocommit() {
            let lost = std::io::Error::other("the database rolled the transaction back");
            return Err(StorageError::Engine(Box::new(lost)));
        }
    }
    state.log(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// Runs a job that shares its transaction with others: what it does can be undone alone.
fn run_beside_others(
    transaction: &mut rusqlite::Transaction<'_>,
    state: &mut WriteState,
    work: WriteJob,
) -> Result<Verdict, StorageError> {
    let savepoint = transaction.savepoint()?;
    let verdict = run_job(&savepoint, state, work);
    if matches!(verdict, Ok(Verdict::Commit)) {
        savepoint.commit()?;
    }
    verdict
}

/// Runs a job. Whoever calls undoes what it did unless it says [`Verdict::Commit`].
fn run_job(connection: &Connection, state: &mut WriteState, work: WriteJob) -> Result<Verdict, StorageError> {
    let before = state.waiting();
    let mut writing = append::Writing::begin(connection, state)?;
    let verdict = match catch_unwind(AssertUnwindSafe(|| work(&mut writing))) {
        Ok(Verdict::Commit) => writing.finish().map(|()| Verdict::Commit),
        Ok(Verdict::Rollback) => Ok(Verdict::Rollback),
        Err(_) => Err(StorageError::Panicked),
    };
    if !matches!(verdict, Ok(Verdict::Commit)) {
        state.forget();
        state.forget_leaves(before);
    }
    verdict
}

/// The same error for one more caller of a failed group.
fn again(error: &StorageError) -> StorageError {
    match error {
        StorageError::Busy => StorageError::Busy,
        StorageError::Full => StorageError::Full,
        StorageError::ReadOnly(path) => StorageError::ReadOnly(path.clone()),
        StorageError::Corrupt(what) => StorageError::Corrupt(what.clone()),
        other => StorageError::Engine(Box::new(std::io::Error::other(other.to_string()))),
    }
}

/// Puts the file's name into an error that lacks it.
fn named(error: StorageError, path: Option<&Path>) -> StorageError {
    match (error, path) {
        (StorageError::ReadOnly(empty), Some(path)) if empty.as_os_str().is_empty() => {
            StorageError::ReadOnly(path.to_owned())
        }
        (error, _) => error,
    }
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly(PathBuf::new()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(error.to_string()),
            _ => Self::Engine(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use cavra_domain::time::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{NewRecord, WriteTx};

    type Told = Receiver<Result<(), StorageError>>;

    fn job(work: impl FnOnce(&mut dyn WriteTx) -> Verdict + Send + 'static) -> (Job, Told) {
        let (tell, told) = sync_channel(1);
        let work: WriteJob = Box::new(work);
        let end: WriteEnd = Box::new(move |end| tell.send(end).unwrap());
        (Job { work, end }, told)
    }

    fn append(tx: &mut dyn WriteTx, id: &str, filling: usize) -> Result<(), StorageError> {
        let value = json!({"session_id": id, "signer": "x".repeat(filling)});
        let record = NewRecord {
            value: &value,
            recorded_at: Timestamp::EPOCH,
            imported: false,
        };
        tx.append(&record).map(|_| ())
    }

    fn kept(id: &'static str) -> (Job, Told) {
        job(move |tx| append(tx, id, 10).map_or(Verdict::Rollback, |()| Verdict::Commit))
    }

    /// A database in memory, which takes one group of jobs: what each was told, and what is there afterwards.
    fn one_group(setup: &str, jobs: Vec<(Job, Told)>) -> (Vec<Result<(), StorageError>>, Vec<String>) {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::prepare(&connection, Path::new(":memory:")).unwrap();
        connection.execute_batch(setup).unwrap();
        let mut state = WriteState::default();
        let (group, told): (Vec<Job>, Vec<Told>) = jobs.into_iter().unzip();
        commit_group(&mut connection, &mut state, group, None);
        let told = told.iter().map(|told| told.recv().unwrap()).collect();
        assert!(connection.is_autocommit());
        let ids = connection
            .prepare("SELECT session_id FROM evidence ORDER BY position")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        (told, ids)
    }

    #[test]
    fn a_commit_takes_everything_that_waits_and_no_more_than_it_may() {
        let (send, waiting) = channel();
        for number in 1..JOBS_PER_COMMIT + 10 {
            send.send(number).unwrap();
        }
        let group = gather(0, &waiting, 1);
        assert_eq!(group, (0..JOBS_PER_COMMIT).collect::<Vec<_>>());
        // The rest is there for the next one, also when fewer than the last time have come; then the wait ends.
        assert_eq!(gather(0, &waiting, JOBS_PER_COMMIT).len(), 11);
        assert_eq!(gather(0, &waiting, 1), [0]);
        drop(send);
        assert_eq!(gather(0, &waiting, 5), [0]);
    }

    #[test]
    fn jobs_of_one_commit_fail_alone() {
        let refused = job(|tx| {
            append(tx, "refused", 10).unwrap();
            Verdict::Rollback
        });
        let panicking = job(|tx| {
            append(tx, "panicking", 10).unwrap();
            panic!("on purpose")
        });
        let (told, ids) = one_group(
            "",
            vec![kept("first"), refused, kept("second"), panicking, kept("third")],
        );
        assert_eq!(ids, ["first", "second", "third"]);
        assert!(matches!(
            told.as_slice(),
            [Ok(()), Ok(()), Ok(()), Err(StorageError::Panicked), Ok(())]
        ));
    }

    #[test]
    fn a_full_disk_keeps_nothing_that_was_answered_with_an_error_and_everything_else() {
        let (tell, told_itself) = sync_channel(1);
        // The record fits and its routes, which are written behind it, do not: SQLite gives up the whole transaction.
        let filling = job(move |tx| {
            let decisions: Vec<_> = (0..100)
                .map(|number| json!({"provider": "slack", "owner": format!("o{number}"), "reason": "x".repeat(20_000)}))
                .collect();
            let value = json!({
                "session_id": "filling",
                "created_at": Timestamp::EPOCH,
                "metadata_kind": "go-backend-rollback-drill-notification-plan",
                "schedule_id": "s1",
                "plan": {"route_decisions": decisions},
            });
            let record = NewRecord {
                value: &value,
                recorded_at: Timestamp::EPOCH,
                imported: true,
            };
            tell.send(tx.append(&record).unwrap_err()).unwrap();
            Verdict::Rollback
        });
        let (told, ids) = one_group(
            "PRAGMA max_page_count = 750",
            vec![kept("first"), filling, kept("second")],
        );
        assert!(matches!(told_itself.recv().unwrap(), StorageError::Full));
        let answered: Vec<&str> = ["first", "filling", "second"]
            .into_iter()
            .zip(&told)
            .filter_map(|(id, told)| (told.is_ok() && id != "filling").then_some(id))
            .collect();
        assert_eq!(ids, answered, "{told:?}");
        assert_eq!(
            ids.last().map(String::as_str),
            Some("second"),
            "the writer does not go on: {told:?}"
        );
        assert!(
            told[1].is_ok(),
            "the job's own error is told by the job: {told:?}"
        );
    }
}
