//! The SQLite engine: WAL, `synchronous=FULL`, one writer thread, a pool of readers.
//!
//! **Writing.** One thread does all of it: see `writer.rs`.
//!
//! **Memory.** The sample binary has no files: there, one connection serves reads and writes in turn.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::{ReadTx, StorageError, Store, WriteEnd, WriteJob};

mod append;
mod check;
mod history;
mod log;
mod past;
mod read;
mod release;
mod routes;
mod schema;
mod writer;

pub use check::{CheckReport, Finding};
pub use schema::FORMAT;

use append::WriteState;
use read::Reading;
use writer::{Job, write_loop};

/// How long a connection waits for another process before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

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
