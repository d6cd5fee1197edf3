//! The one thread that writes.
//!
//! **Group commit.** The writer takes every job that waits, runs those that may share a transaction in one, commits
//! once, and only then answers them: an answered write survives power loss. A job that fails before it has written
//! anything leaves the others as they are. One that fails later takes the transaction with it, and then each of its jobs
//! runs again in one of its own: a failed job takes nothing of its neighbours with it. While jobs come in company the
//! writer waits up to 2 ms for as many as the last time, so that they share a commit; a job that comes alone is done at
//! once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::append::{WriteState, Writing, in_transaction};
use super::lock;
use crate::{StorageError, Verdict, WriteEnd, WriteJob};

/// How many jobs share one commit at most.
const JOBS_PER_COMMIT: usize = 256;

/// How long a commit waits at most for one more job, and how often: 2 ms together.
const WAIT: Duration = Duration::from_micros(250);

/// See [`WAIT`].
const WAITS: u32 = 8;

/// A job, and who is told its end.
pub(super) struct Job {
    pub(super) work: WriteJob,
    pub(super) end: WriteEnd,
}

/// Takes waiting jobs in groups, until nobody can send any more.
pub(super) fn write_loop(connection: &Mutex<Connection>, waiting: &Receiver<Job>, path: Option<&Path>) {
    let mut state = WriteState::logging();
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

/// Runs jobs in the order in which they came, and tells each its end. Those beside each other that may share a
/// transaction do.
fn commit_group(connection: &mut Connection, state: &mut WriteState, group: Vec<Job>, path: Option<&Path>) {
    let mut group = VecDeque::from(group);
    while !group.is_empty() {
        let sharing = group.iter().take_while(|job| job.work.is_repeatable()).count();
        let mut jobs: Vec<Job> = group.drain(..sharing.max(1)).collect();
        let ended = commit(connection, state, &mut jobs);
        for (job, ended) in jobs.into_iter().zip(ended) {
            (job.end)(ended.map_err(|error| named(error, path)));
        }
    }
}

/// How each job ended, in the end: what it appended is durable, or nothing of it is there.
fn commit(
    connection: &mut Connection,
    state: &mut WriteState,
    jobs: &mut [Job],
) -> Vec<Result<(), StorageError>> {
    if jobs.len() > 1 {
        if let Some(ended) = commit_together(connection, state, jobs) {
            return ended;
        }
        tracing::debug!(
            jobs = jobs.len(),
            "a shared transaction is done again, job by job"
        );
    }
    jobs.iter_mut()
        .map(|job| commit_alone(connection, state, job))
        .collect()
}

/// Runs a job in a transaction of its own.
fn commit_alone(
    connection: &mut Connection,
    state: &mut WriteState,
    job: &mut Job,
) -> Result<(), StorageError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match run_job(&transaction, state, &mut job.work) {
        Ok(Verdict::Commit) => log_and_commit(transaction, state),
        // A job that asked for nothing to be kept has its own reason to tell.
        verdict => {
            state.forget();
            verdict.map(|_| ())
        }
    }
}

/// Runs jobs in one transaction without anything that could undo one of them alone. A job that fails with nothing
/// written has only read, and the others go on. One that fails behind its first write takes the transaction with it:
/// then it is as if none had run, and there is no answer yet.
///
/// Savepoints would keep the others' work, but for each of them SQLite writes every page that the job touches to a
/// second journal first, which is a third of what an acknowledgement costs; and jobs that decide before they write
/// fail behind it only when the storage does.
fn commit_together(
    connection: &mut Connection,
    state: &mut WriteState,
    jobs: &mut [Job],
) -> Option<Vec<Result<(), StorageError>>> {
    let to_all = |error: &StorageError, count| (0..count).map(|_| Err(again(error))).collect();
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => return Some(to_all(&error.into(), jobs.len())),
    };
    let mut ended = Vec::with_capacity(jobs.len());
    for job in jobs.iter_mut() {
        let before = transaction.total_changes();
        let verdict = run_job(&transaction, state, &mut job.work);
        let kept = matches!(verdict, Ok(Verdict::Commit));
        // On a full disk or a failing one SQLite itself may have rolled back the whole transaction.
        if transaction.is_autocommit() || (!kept && transaction.total_changes() != before) {
            drop(transaction);
            state.forget();
            return None;
        }
        ended.push(verdict);
    }
    let committed = log_and_commit(transaction, state);
    let told = ended.into_iter().map(|verdict| match (verdict?, &committed) {
        (Verdict::Commit, Err(error)) => Err(again(error)),
        (Verdict::Commit, Ok(())) | (Verdict::Rollback, _) => Ok(()),
    });
    Some(told.collect())
}

fn log_and_commit(transaction: Transaction<'_>, state: &mut WriteState) -> Result<(), StorageError> {
    let committed = in_transaction(&transaction)
        .and_then(|()| state.log(&transaction))
        .and_then(|()| transaction.commit().map_err(StorageError::from));
    if committed.is_err() {
        state.forget();
    }
    committed
}

/// Runs a job. Whoever calls rolls back what it did unless it says [`Verdict::Commit`].
fn run_job(
    connection: &Connection,
    state: &mut WriteState,
    job: &mut WriteJob,
) -> Result<Verdict, StorageError> {
    let mut writing = Writing::begin(connection, state)?;
    match catch_unwind(AssertUnwindSafe(|| job.run(&mut writing))) {
        Ok(Verdict::Commit) => writing.finish().map(|()| Verdict::Commit),
        Ok(Verdict::Rollback) => Ok(Verdict::Rollback),
        Err(_) => Err(StorageError::Panicked),
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{channel, sync_channel};

    use cavra_domain::time::Timestamp;
    use serde_json::{Value, json};

    use super::super::{check, log, schema};
    use super::*;
    use crate::{Appended, NewRecord, WriteTx};

    type Told = Receiver<Result<(), StorageError>>;

    /// A job with what it tells at its end, and how often it has run.
    struct Handed {
        job: Job,
        told: Told,
        runs: Arc<AtomicUsize>,
    }

    fn handed(make: impl FnOnce(Arc<AtomicUsize>) -> WriteJob) -> Handed {
        let (tell, told) = sync_channel(1);
        let runs = Arc::<AtomicUsize>::default();
        let end: WriteEnd = Box::new(move |end| tell.send(end).unwrap());
        let work = make(Arc::clone(&runs));
        let job = Job { work, end };
        Handed { job, told, runs }
    }

    /// A job that may share a transaction.
    fn job(mut work: impl FnMut(&mut dyn WriteTx) -> Verdict + Send + 'static) -> Handed {
        handed(|runs| {
            WriteJob::repeatable(move |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                work(tx)
            })
        })
    }

    fn append_value(tx: &mut dyn WriteTx, value: &Value) -> Result<Appended, StorageError> {
        tx.append(&NewRecord {
            value,
            recorded_at: Timestamp::EPOCH,
            imported: true,
        })
    }

    fn append(tx: &mut dyn WriteTx, id: &str) -> Result<Appended, StorageError> {
        append_value(
            tx,
            &json!({"session_id": id, "signer": format!("signer of {id}")}),
        )
    }

    fn verdict<T>(result: Result<T, StorageError>) -> Verdict {
        result.map_or(Verdict::Rollback, |_| Verdict::Commit)
    }

    fn kept(id: &'static str) -> Handed {
        job(move |tx| verdict(append(tx, id)))
    }

    /// Appends, and then wants none of it.
    fn regretted(id: &'static str) -> Handed {
        job(move |tx| {
            append(tx, id).unwrap();
            Verdict::Rollback
        })
    }

    /// What became of a group.
    struct Ended {
        told: Vec<Result<(), StorageError>>,
        runs: Vec<usize>,
        /// The records that are there, in the order of their positions.
        ids: Vec<String>,
    }

    impl Ended {
        /// Which of these were told that they are durable.
        fn answered<'a>(&self, ids: &[&'a str]) -> Vec<&'a str> {
            let all = ids.iter().zip(&self.told);
            all.filter_map(|(id, told)| told.is_ok().then_some(*id)).collect()
        }
    }

    /// A database in memory, which takes one group of jobs. What is there afterwards has no gap, no leaf too many or too
    /// few, and is what the evidence says; and the writer goes on.
    fn one_group(setup: &str, handed: Vec<Handed>) -> Ended {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::prepare(&connection, Path::new(":memory:")).unwrap();
        connection.execute_batch(setup).unwrap();
        let mut state = WriteState::logging();
        let mut group = Vec::new();
        let mut waiting = Vec::new();
        for Handed { job, told, runs } in handed {
            group.push(job);
            waiting.push((told, runs));
        }
        commit_group(&mut connection, &mut state, group, None);
        let ended = Ended {
            told: waiting.iter().map(|(told, _)| told.recv().unwrap()).collect(),
            runs: waiting
                .iter()
                .map(|(_, runs)| runs.load(Ordering::Relaxed))
                .collect(),
            ids: ids(&connection),
        };
        sound(&connection, ended.ids.len());
        let Handed { job, told, .. } = kept("afterwards");
        commit_group(&mut connection, &mut state, vec![job], None);
        told.recv().unwrap().expect("the writer goes on");
        sound(&connection, ended.ids.len() + 1);
        ended
    }

    fn ids(connection: &Connection) -> Vec<String> {
        let mut statement = connection
            .prepare("SELECT session_id FROM evidence ORDER BY position")
            .unwrap();
        statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn sound(connection: &Connection, records: usize) {
        assert!(connection.is_autocommit());
        let report = check::check(connection, &mut |_| {}).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!(report.record_count, records as u64);
        assert_eq!(report.log_size, report.record_count);
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
    fn a_job_that_only_reads_and_refuses_costs_nobody_a_second_run() {
        let refused = || job(|_| Verdict::Rollback);
        let careless = job(|_| panic!("on purpose"));
        // What is there already, and what cannot be understood, fails before anything is written.
        let unreadable = job(|tx| verdict(append_value(tx, &json!({"session_id": 7}))));
        let conflicting = job(|tx| {
            verdict(append_value(
                tx,
                &json!({"session_id": "first", "signer": "another"}),
            ))
        });
        let jobs = vec![
            refused(),
            kept("first"),
            careless,
            unreadable,
            conflicting,
            kept("second"),
            refused(),
        ];
        let ended = one_group("", jobs);
        assert_eq!(ended.ids, ["first", "second"]);
        assert_eq!(ended.runs, [1; 7]);
        assert!(matches!(
            ended.told.as_slice(),
            [
                Ok(()),
                Ok(()),
                Err(StorageError::Panicked),
                Ok(()),
                Ok(()),
                Ok(()),
                Ok(())
            ]
        ));
    }

    #[test]
    fn jobs_of_one_commit_fail_alone() {
        let panicking = job(|tx| {
            append(tx, "panicking").unwrap();
            panic!("on purpose")
        });
        let jobs = vec![
            kept("first"),
            regretted("refused"),
            kept("second"),
            panicking,
            kept("third"),
        ];
        let ended = one_group("", jobs);
        assert_eq!(ended.ids, ["first", "second", "third"]);
        // The first failure ends the shared run; then each has one of its own.
        assert_eq!(ended.runs, [2, 2, 1, 1, 1]);
        assert!(matches!(
            ended.told.as_slice(),
            [Ok(()), Ok(()), Ok(()), Err(StorageError::Panicked), Ok(())]
        ));
    }

    #[test]
    fn only_the_last_run_of_a_job_counts() {
        let mut run = 0;
        // Says something else each time it runs, and stands behind one that is not there the second time.
        let counting = job(move |tx| {
            run += 1;
            let id = format!("run {run} behind {}", tx.state().head().unwrap().position);
            verdict(append(tx, &id))
        });
        let mut first = true;
        let once_only = job(move |tx| {
            let kept = std::mem::take(&mut first).then(|| append(tx, "of a run that was rolled back"));
            kept.map_or(Verdict::Rollback, verdict)
        });
        let ended = one_group("", vec![once_only, counting, regretted("regretted")]);
        assert_eq!(ended.ids, ["run 2 behind 0"]);
        assert_eq!(ended.runs, [2, 2, 2]);
    }

    #[test]
    fn a_job_that_cannot_run_again_has_a_transaction_of_its_own() {
        let once = |work: fn(&mut dyn WriteTx) -> Verdict| {
            handed(|runs| {
                WriteJob::once(move |tx| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    work(tx)
                })
            })
        };
        let jobs = vec![
            kept("first"),
            kept("second"),
            once(|tx| verdict(append(tx, "once"))),
            kept("third"),
            regretted("regretted"),
            once(|tx| {
                append(tx, "regretted once").unwrap();
                Verdict::Rollback
            }),
            kept("fourth"),
        ];
        let ended = one_group("", jobs);
        assert_eq!(ended.ids, ["first", "second", "once", "third", "fourth"]);
        assert_eq!(ended.runs, [1, 1, 1, 2, 2, 1, 1]);
        assert!(ended.told.iter().all(Result::is_ok));
    }

    #[test]
    fn the_leaves_of_a_large_job_are_in_the_log_when_it_is_kept_and_only_then() {
        let large = |verdict: Verdict| {
            handed(|_| {
                WriteJob::once(move |tx| {
                    for number in 0..=log::LEAVES_AT_ONCE {
                        append_value(tx, &json!({"session_id": format!("record {number}")})).unwrap();
                    }
                    verdict
                })
            })
        };
        let jobs = vec![
            kept("before"),
            large(Verdict::Rollback),
            large(Verdict::Commit),
            kept("behind"),
        ];
        let ended = one_group("", jobs);
        assert_eq!(ended.ids.len(), 1 + log::LEAVES_AT_ONCE + 1 + 1);
        assert_eq!(ended.ids.last().map(String::as_str), Some("behind"));
    }

    /// What SQLite does by itself when a write fails for want of room or for the disk's sake.
    const LOST: &str = "CREATE TEMP TRIGGER lost BEFORE INSERT ON evidence WHEN NEW.session_id = 'lost' \
         BEGIN SELECT RAISE(ROLLBACK, 'on purpose'); END;";

    #[test]
    fn what_the_database_rolls_back_by_itself_takes_nobody_with_it() {
        let jobs = vec![kept("first"), kept("lost"), kept("second")];
        let ended = one_group(LOST, jobs);
        assert_eq!(ended.ids, ["first", "second"]);
        assert_eq!(ended.runs, [2, 2, 1]);
    }

    #[test]
    fn a_job_that_does_not_hear_that_its_transaction_is_gone_is_told_so() {
        let deaf = || {
            job(|tx| {
                let _ = append(tx, "lost");
                // Whatever this gives, nothing of it may stay.
                let _ = append(tx, "behind it");
                Verdict::Commit
            })
        };
        for jobs in [vec![deaf()], vec![kept("first"), deaf(), kept("second")]] {
            let names: &[&str] = if jobs.len() == 1 {
                &["deaf"]
            } else {
                &["first", "deaf", "second"]
            };
            let ended = one_group(LOST, jobs);
            assert!(!ended.answered(names).contains(&"deaf"));
            assert_eq!(ended.ids, ended.answered(names));
        }
    }

    #[test]
    fn a_commit_that_fails_is_told_to_everybody_who_wrote_and_nothing_is_there() {
        let refused = job(|_| Verdict::Rollback);
        // The log's tiles are written right before the commit: this one has the leaves of both.
        let setup = "CREATE TEMP TRIGGER fails BEFORE INSERT ON main.log_tile WHEN length(NEW.hashes) = 2 * 32 \
             BEGIN SELECT RAISE(FAIL, 'on purpose'); END;";
        let ended = one_group(setup, vec![kept("first"), refused, kept("second")]);
        assert_eq!(ended.ids, [""; 0]);
        assert!(matches!(
            ended.told.as_slice(),
            [Err(StorageError::Engine(_)), Ok(()), Err(StorageError::Engine(_))]
        ));
    }

    #[test]
    fn a_full_disk_keeps_nothing_that_was_answered_with_an_error_and_everything_else() {
        let (tell, told_itself) = sync_channel(2);
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
            tell.send(append_value(tx, &value).unwrap_err()).unwrap();
            Verdict::Rollback
        });
        let jobs = vec![kept("first"), filling, kept("second")];
        let ended = one_group("PRAGMA max_page_count = 750", jobs);
        assert_eq!(ended.ids, ["first", "second"]);
        assert_eq!(ended.runs, [2, 2, 1]);
        for _ in 0..2 {
            assert!(matches!(told_itself.recv().unwrap(), StorageError::Full));
        }
        assert!(
            ended.told.iter().all(Result::is_ok),
            "the job's own error is told by the job"
        );
    }
}
