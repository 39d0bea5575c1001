//! The thread that writes and syncs the logs of every range of a node.

#[cfg(test)]
mod golden;

use crate::log::format;
use crate::log::group::GroupLog;
use crate::types::{Entry, LogId, TypeConfig, Vote};
use core_domain::RangeId;
use core_domain::planted::{PlantedBug, is_planted};
use openraft::entry::RaftEntry;
use openraft::storage::IOFlushed;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use storage::{Cf, Engine, StorageError, WriteBatch};
use tokio::sync::oneshot;

/// Sees what the writer does, in order: for tests that must prove an order.
pub trait LogTrace: Send + Sync + 'static {
    /// Entries up to `index` are written, not yet durable.
    fn written(&self, range: RangeId, index: u64) {
        let _ = (range, index);
    }
    fn synced(&self) {}
    /// About to tell Raft that entries up to `index` are durable.
    fn acknowledging(&self, range: RangeId, index: u64) {
        let _ = (range, index);
    }
    /// The disk failed a log write or fsync: what is on it is unknown. The production hook ends
    /// the process; when it returns, nothing is ever acknowledged again.
    fn disk_failed(&self, error: &StorageError) {
        tracing::error!(%error, "a log write failed: ending the process");
        std::process::exit(74); // EX_IOERR
    }
}

/// The production hook.
#[derive(Debug, Default)]
pub struct NoTrace;

impl LogTrace for NoTrace {}

/// What a group asks of the writer. One order for all of a group's requests.
pub enum Request {
    Append {
        log: Arc<GroupLog>,
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
    },
    Vote {
        log: Arc<GroupLog>,
        vote: Vote,
        done: Done,
    },
    /// Entries `after..=last` go; `after` stays the last one.
    Truncate {
        log: Arc<GroupLog>,
        after: Option<u64>,
        last: u64,
        done: Done,
    },
    /// Entries up to `upto` go; those of `present` exist.
    Purge {
        log: Arc<GroupLog>,
        present: RangeInclusive<u64>,
        upto: LogId,
        done: Done,
    },
    /// Answers when all before it are written and synced.
    Barrier {
        done: Done,
    },
    Stop,
}

pub type Done = oneshot::Sender<io::Result<()>>;

pub struct LogWriter {
    queue: Arc<Queue>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
}

impl LogWriter {
    pub fn start(engine: Arc<dyn Engine>, trace: Arc<dyn LogTrace>) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Queue::default());
        let worker = Worker { queue: queue.clone(), engine, trace };
        let thread = std::thread::Builder::new().name("raft-log".into()).spawn(|| worker.run())?;
        Ok(Arc::new(Self { queue, thread: Mutex::new(Some(thread)) }))
    }

    pub fn submit(&self, request: Request) {
        let mut requests = self.queue.requests.lock();
        requests.push(request);
        if requests.len() == 1 {
            self.queue.arrived.notify_one();
        }
    }

    /// Submits and waits for the disk.
    pub async fn carry_out(&self, request: impl FnOnce(Done) -> Request) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.submit(request(done));
        answer.await.unwrap_or_else(|_| Err(io::Error::other("the log writer has stopped")))
    }

    /// Waits until everything submitted so far is durable.
    pub async fn barrier(&self) -> io::Result<()> {
        self.carry_out(|done| Request::Barrier { done }).await
    }

    /// Ends the thread after what is queued.
    pub fn stop(&self) {
        self.submit(Request::Stop);
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log writer panicked");
        }
    }
}

struct Worker {
    queue: Arc<Queue>,
    engine: Arc<dyn Engine>,
    trace: Arc<dyn LogTrace>,
}

impl Worker {
    fn run(self) {
        loop {
            let requests = {
                let mut waiting = self.queue.requests.lock();
                while waiting.is_empty() {
                    self.queue.arrived.wait(&mut waiting);
                }
                std::mem::take(&mut *waiting)
            };
            if !self.round(requests) {
                return;
            }
        }
    }

    /// Carries out all that waits; whether to go on.
    fn round(&self, mut requests: Vec<Request>) -> bool {
        let stop = requests.iter().position(|request| matches!(request, Request::Stop));
        if let Some(at) = stop {
            requests.truncate(at);
        }
        match self.write(&requests) {
            Ok(()) => requests.into_iter().for_each(|request| self.acknowledge(request)),
            Err(error) => {
                self.trace.disk_failed(&error);
                return false; // Dropping the requests tells those who wait that nothing is known.
            }
        }
        stop.is_none()
    }

    /// One batch for all, then one sync if any of them needs it.
    fn write(&self, requests: &[Request]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::new();
        let mut sync = false;
        for request in requests {
            request.stage(&mut batch);
            sync |= !matches!(request, Request::Purge { .. } | Request::Stop);
        }
        stage_positions(requests, &mut batch);
        if !batch.is_empty() {
            self.engine.write(batch, false)?;
        }
        for request in requests {
            self.mark_written(request);
        }
        if sync && !is_planted(PlantedBug::AcknowledgedUnsynced) {
            self.engine.sync_wal()?;
            self.trace.synced();
        }
        Ok(())
    }

    fn mark_written(&self, request: &Request) {
        match request {
            Request::Append { log, entries, .. } => {
                if let Some(last) = entries.last() {
                    self.trace.written(log.range(), last.index());
                    log.mark_written(last.index());
                }
            }
            Request::Truncate { log, after, .. } => log.mark_truncated(*after),
            Request::Vote { .. }
            | Request::Purge { .. }
            | Request::Barrier { .. }
            | Request::Stop => {}
        }
    }

    fn acknowledge(&self, request: Request) {
        match request {
            Request::Append { log, entries, done } => {
                if let Some(last) = entries.last() {
                    log.mark_synced(last.index());
                    self.trace.acknowledging(log.range(), last.index());
                }
                done.io_completed(Ok(()));
            }
            Request::Vote { done, .. }
            | Request::Truncate { done, .. }
            | Request::Purge { done, .. }
            | Request::Barrier { done } => {
                // Whoever waited may have been cancelled; the disk did its part.
                let _ = done.send(Ok(()));
            }
            Request::Stop => {}
        }
    }
}

impl Request {
    fn stage(&self, batch: &mut WriteBatch) {
        match self {
            Request::Append { log, entries, .. } => {
                for entry in entries {
                    let key = format::entry_key(log.range(), entry.index());
                    batch.put(Cf::Raft, key, format::encode_entry(entry));
                }
            }
            Request::Vote { log, vote, .. } => {
                batch.put(
                    Cf::Raft,
                    format::key(log.range(), format::Tag::Vote),
                    format::seal(vote),
                );
            }
            Request::Truncate { log, after, last, .. } => {
                for index in after.map_or(0, |after| after + 1)..=*last {
                    batch.delete(Cf::Raft, format::entry_key(log.range(), index));
                }
                log.lower_synced(*after);
            }
            Request::Purge { log, present, upto, .. } => {
                for index in present.clone() {
                    batch.delete(Cf::Raft, format::entry_key(log.range(), index));
                }
                let key = format::key(log.range(), format::Tag::Purged);
                batch.put(Cf::Raft, key, format::seal(upto));
            }
            Request::Barrier { .. } | Request::Stop => {}
        }
    }
}

/// The committed id and the position known to be synced ride along, once per group.
fn stage_positions(requests: &[Request], batch: &mut WriteBatch) {
    let mut logs: Vec<&Arc<GroupLog>> = Vec::new();
    for request in requests {
        if let Request::Append { log, .. } | Request::Truncate { log, .. } = request
            && !logs.iter().any(|known| Arc::ptr_eq(known, log))
        {
            logs.push(log);
        }
    }
    for log in logs {
        let key = format::key(log.range(), format::Tag::Position);
        batch.put(Cf::Raft, key, format::seal(&log.position()));
    }
}
