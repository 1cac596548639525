//! The thread that writes: what waits at one moment shares a transaction, and so a write to the disk.

use std::any::Any;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use operone_core::{Error, ErrorKind, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{Failure, from_sqlite};

/// The most jobs that share a transaction.
const MOST_JOBS: usize = 64;

/// What happens after the commit, before the job is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterCommit {
    Nothing,
    /// The log is copied into the file and emptied.
    EmptyLog,
}

/// A thread with the one connection that writes. Dropping it ends the thread after the jobs that wait.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Runs in the transaction, or learns why there is none.
type Job = Box<dyn FnOnce(Result<&Connection, rusqlite::Error>) -> Ran + Send>;

/// A job that ran in the transaction and is to be answered.
struct Ran {
    failed: bool,
    after: AfterCommit,
    /// Answers the caller; with an error if the transaction was not committed.
    answer: Box<dyn FnOnce(Result<()>) + Send>,
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> Result<Self, Failure> {
        let (jobs, waiting) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("operone-sqlite".into())
            .spawn(move || run(&connection, &waiting))
            .map_err(|error| Error::internal("the writing thread cannot be started").with_source(error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `job`, commits, runs `committed` and gives its value. A dropped future changes nothing of this
    /// once the job was handed over.
    pub(crate) async fn write<T: Send + 'static, U: Send + 'static>(
        &self,
        operation: &'static str,
        after: AfterCommit,
        job: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
        committed: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U> {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = connection.map_err(Failure::from).and_then(job);
            let result = result.map_err(|failure| failure.into_error(operation));
            let failed = result.is_err();
            let answer = Box::new(move |commit: Result<()>| {
                let result = result.and_then(|value| commit.map(|()| committed(value)));
                // The caller may be gone, which is its right.
                let _ = sender.send(result);
            });
            Ran { failed, after, answer }
        });
        let closed = || Error::internal("the database is closed").with_operation(operation);
        self.jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        let Some(thread) = self.thread.take() else { return };
        if thread.thread().id() == std::thread::current().id() {
            return;
        }
        if let Err(panic) = thread.join() {
            tracing::error!(
                reason = panic_message(panic.as_ref()),
                "the thread that writes to SQLite panicked"
            );
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("")
}

fn run(connection: &Connection, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            (first(Err(error)).answer)(Ok(()));
            continue;
        }
        let jobs = std::iter::once(first).chain(waiting.try_iter()).take(MOST_JOBS);
        let (ran, whole) = run_all(connection, jobs);
        let commit = commit(connection, &ran, whole);
        let empty_log = ran.iter().any(|job| job.after == AfterCommit::EmptyLog && !job.failed);
        let emptied = if empty_log && commit.is_ok() { truncate_log(connection) } else { Ok(()) };
        for job in ran {
            let outcome = match job.after {
                AfterCommit::EmptyLog if commit.is_ok() => &emptied,
                _ => &commit,
            };
            (job.answer)(for_one_caller(outcome));
        }
    }
}

/// Runs each job in a savepoint of its own, so that one that fails undoes nothing but itself. The second value
/// tells whether the transaction holds what the others did.
fn run_all(connection: &Connection, jobs: impl Iterator<Item = Job>) -> (Vec<Ran>, bool) {
    let mut ran = Vec::new();
    for job in jobs {
        if let Err(error) = connection.execute_batch("SAVEPOINT job") {
            ran.push(job(Err(error)));
            return (ran, false);
        }
        let done = job(Ok(connection));
        let end = if done.failed { "ROLLBACK TO job; RELEASE job" } else { "RELEASE job" };
        // Some errors, a full disk for one, end the whole transaction.
        let whole = !connection.is_autocommit() && connection.execute_batch(end).is_ok();
        ran.push(done);
        if !whole {
            return (ran, false);
        }
    }
    (ran, true)
}

fn commit(connection: &Connection, ran: &[Ran], whole: bool) -> Result<()> {
    if !whole {
        rollback(connection);
        return Err(Error::new(ErrorKind::Unavailable, "a write that shared the transaction ended it"));
    }
    // Where every job failed nothing has to reach the disk.
    if ran.iter().all(|job| job.failed) {
        rollback(connection);
        return Ok(());
    }
    connection.execute_batch("COMMIT").map_err(|error| {
        rollback(connection);
        from_sqlite("sqlite.commit", error)
    })
}

fn rollback(connection: &Connection) {
    if connection.is_autocommit() {
        return;
    }
    if let Err(error) = connection.execute_batch("ROLLBACK") {
        tracing::error!(%error, "a transaction cannot be rolled back");
    }
}

/// Copies the log into the file and empties it, waiting for reads that still need it.
fn truncate_log(connection: &Connection) -> Result<()> {
    let busy: bool = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| from_sqlite("sqlite.empty_log", error))?;
    if busy {
        return Err(Error::new(ErrorKind::Unavailable, "a read kept the log from being emptied"));
    }
    Ok(())
}

/// The outcome of a transaction for one of those who shared it.
fn for_one_caller(outcome: &Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => Ok(()),
        Err(error) => {
            let cause = std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
            Err(Error::from(error.report()).with_operation("sqlite.commit").with_source(cause))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn open(path: &std::path::Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS numbers (number)").unwrap();
        connection
    }

    fn insert(connection: &Connection, number: i64) -> Result<(), Failure> {
        connection.execute("INSERT INTO numbers VALUES (?1)", [number])?;
        Ok(())
    }

    fn numbers(connection: &Connection) -> Vec<i64> {
        let mut statement = connection.prepare("SELECT number FROM numbers ORDER BY number").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    async fn write<T: Send + 'static>(
        writer: &Writer,
        job: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        writer.write("test", AfterCommit::Nothing, job, |value| value).await
    }

    #[tokio::test]
    async fn what_waits_shares_a_transaction_and_a_failure_undoes_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let writer = Writer::start(open(&path)).unwrap();
        let (go, wait) = mpsc::channel::<()>();
        let first = write(&writer, move |connection| {
            insert(connection, 1)?;
            wait.recv_timeout(Duration::from_secs(10)).unwrap();
            Ok(())
        });
        let failing = write(&writer, |connection| {
            insert(connection, 2)?;
            Err::<(), _>(Error::conflict("no").with_code("refused").into())
        });
        let other = open(&path);
        let last = write(&writer, move |connection| {
            insert(connection, 3)?;
            Ok((numbers(connection), numbers(&other)))
        });
        // Each is handed over when it is first polled; the first is let go once all three are.
        let all = async { tokio::join!(first, failing, last, async { go.send(()).unwrap() }) };
        let (first, failing, last, ()) = all.await;
        first.unwrap();
        assert_eq!(failing.unwrap_err().code(), "refused");
        let (within, outside) = last.unwrap();
        assert_eq!(
            (within, outside),
            (vec![1, 3], Vec::new()),
            "the last one shares the first one's transaction"
        );
        drop(writer);
        assert_eq!(numbers(&open(&path)), [1, 3]);
    }

    #[tokio::test]
    async fn a_full_disk_is_reported_and_got_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let connection = open(&path);
        connection.pragma_update(None, "max_page_count", 20).unwrap();
        let writer = Writer::start(connection).unwrap();
        let error = write(&writer, |connection| {
            connection.execute("INSERT INTO numbers VALUES (zeroblob(1000000))", [])?;
            Ok(())
        });
        let error = error.await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("disk_full", true));
        write(&writer, |connection| insert(connection, 1)).await.unwrap();
        drop(writer);
        assert_eq!(numbers(&open(&path)), [1]);
    }

    #[tokio::test]
    async fn a_write_goes_on_without_its_caller() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let writer = Writer::start(open(&path)).unwrap();
        let slow = write(&writer, |connection| {
            std::thread::sleep(Duration::from_millis(50));
            insert(connection, 1)
        });
        let timed_out = tokio::time::timeout(Duration::from_millis(5), slow).await;
        assert!(timed_out.is_err());
        write(&writer, |connection| insert(connection, 2)).await.unwrap();
        drop(writer);
        assert_eq!(numbers(&open(&path)), [1, 2]);
    }
}
