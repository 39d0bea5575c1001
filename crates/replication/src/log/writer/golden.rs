//! The log writer, step by step: no thread, a round of its loop when the script says so. The dialect:
//!
//! ```text
//! append RANGE FROM..TO term=T     truncate RANGE after=N     purge RANGE upto=N term=T
//! vote RANGE term=T                asked for, not yet written
//! round                            one round of the writer: what it does, in order
//! fail                             the disk fails from now on
//! crash                            unsynced batches are lost; the logs are opened again
//! disk RANGE                       the range's records     state    unsynced batches
//! ```

use super::{LogTrace, LogWriter, Queue, Worker};
use crate::log::{GroupLog, format};
use crate::types::{Entry, Proposal, Vote, log_id};
use core_domain::{RangeId, ReplicaId};
use goldenscript::{Command, Context};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use storage::{Cf, CrashEngine, EngineReader, IterOptions, StorageError};
use tokio::runtime::Runtime;

const LEADER: ReplicaId = ReplicaId(1);

#[test]
fn log_writer() {
    goldenscript::run(&mut Node::new(), "tests/scripts/log").expect("the script passes");
}

#[derive(Default)]
struct Events(Mutex<String>);

impl LogTrace for Events {
    fn written(&self, range: RangeId, index: u64) {
        *self.0.lock() += &format!("written {} up to {index}\n", range.0);
    }

    fn synced(&self) {
        *self.0.lock() += "synced\n";
    }

    fn acknowledging(&self, range: RangeId, index: u64) {
        *self.0.lock() += &format!("acknowledging {} up to {index}\n", range.0);
    }

    fn disk_failed(&self, _: &StorageError) {
        *self.0.lock() += "disk failed\n";
    }
}

struct Node {
    engine: Arc<CrashEngine>,
    events: Arc<Events>,
    worker: Worker,
    writer: Arc<LogWriter>,
    logs: BTreeMap<u64, Arc<GroupLog>>,
    runtime: Runtime,
}

impl Node {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut node = Self::on(CrashEngine::new(), runtime);
        node.open(&[1, 2]);
        node
    }

    fn on(engine: CrashEngine, runtime: Runtime) -> Self {
        let engine = Arc::new(engine);
        let events = Arc::new(Events::default());
        let queue = Arc::new(Queue::default());
        let writer = Arc::new(LogWriter { queue: queue.clone(), thread: Mutex::new(None) });
        let worker = Worker { queue, engine: engine.clone(), trace: events.clone() };
        Self { engine, events, worker, writer, logs: BTreeMap::new(), runtime }
    }

    fn open(&mut self, ranges: &[u64]) {
        for range in ranges {
            let (engine, writer) = (self.engine.clone(), self.writer.clone());
            let log = GroupLog::open(RangeId(*range), engine, writer).expect("a sound log");
            self.logs.insert(*range, log);
        }
    }

    /// Starts a request, which then waits for the writer.
    fn ask(&self, request: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.runtime.spawn(request);
        self.settle();
    }

    /// Lets every task run until it waits.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn round(&mut self) -> String {
        let requests = std::mem::take(&mut *self.worker.queue.requests.lock());
        self.worker.round(requests);
        self.settle();
        std::mem::take(&mut *self.events.0.lock())
    }

    fn crash(&mut self) -> String {
        let survivor = self.engine.crash(0);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let ranges: Vec<u64> = self.logs.keys().copied().collect();
        *self = Self::on(survivor, runtime);
        self.open(&ranges);
        let last = |log: &Arc<GroupLog>| log.last().map_or("nothing".into(), |id| id.to_string());
        self.logs.iter().map(|(range, log)| format!("{range} ends with {}\n", last(log))).collect()
    }

    fn disk(&self, range: RangeId) -> String {
        let options = IterOptions {
            lower: Some(format::range_start(range)),
            upper: Some(format::range_start(RangeId(range.0 + 1))),
            ..IterOptions::default()
        };
        let mut records = self.engine.iter(Cf::Raft, options);
        records.seek_to_first();
        let mut out = String::new();
        while records.valid() {
            let bytes = records.value().to_vec().into();
            out += &match format::index_of(records.key()) {
                Some(index) => match format::decode_entry(index, bytes) {
                    Ok(entry) => format!("entry {}\n", entry.log_id),
                    Err(error) => format!("entry {index}: {error}\n"),
                },
                None => format!("record {}\n", records.key()[8] as char),
            };
            records.next();
        }
        out
    }
}

impl goldenscript::Runner for Node {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut words = Vec::new();
        while let Some(word) = args.next_pos() {
            words.push(word);
        }
        let mut number = |name: &str| -> Result<u64, Box<dyn Error>> {
            Ok(args.take_key(name).ok_or_else(|| format!("{name}?"))?.parse()?)
        };
        let log_of = |range: &str| -> Result<Arc<GroupLog>, Box<dyn Error>> {
            Ok(self.logs.get(&range.parse()?).ok_or("no such range")?.clone())
        };
        match (command.name.as_str(), words.as_slice()) {
            ("append", [range, span]) => {
                let (from, to) = span.split_once("..").ok_or("FROM..TO")?;
                let (from, to, term): (u64, u64, u64) =
                    (from.parse()?, to.parse()?, number("term")?);
                let payload = EntryPayload::Normal(Proposal(b"x".to_vec().into()));
                let entry = move |at| Entry::new(log_id(term, LEADER, at), payload.clone());
                let entries: Vec<Entry> = (from..=to).map(entry).collect();
                let mut log = log_of(range)?;
                self.ask(async move { log.append(entries, IOFlushed::noop()).await });
                Ok(String::new())
            }
            ("vote", [range]) => {
                let vote = Vote::new(number("term")?, LEADER);
                let mut log = log_of(range)?;
                self.ask(async move { log.save_vote(&vote).await });
                Ok(String::new())
            }
            ("truncate", [range]) => {
                let mut log = log_of(range)?;
                let after = log_id(1, LEADER, number("after")?);
                self.ask(async move { log.truncate_after(Some(after)).await });
                Ok(String::new())
            }
            ("purge", [range]) => {
                let mut log = log_of(range)?;
                let upto = log_id(number("term")?, LEADER, number("upto")?);
                self.ask(async move { log.purge(upto).await });
                Ok(String::new())
            }
            ("round", []) => Ok(self.round()),
            ("fail", []) => {
                // What would survive is of no interest here.
                let _ = self.engine.crash(0);
                Ok(String::new())
            }
            ("crash", []) => Ok(self.crash()),
            ("disk", [range]) => Ok(self.disk(RangeId(range.parse()?))),
            ("state", []) => Ok(format!("{} batches unsynced\n", self.engine.unsynced_batches())),
            _ => Err(format!("what is {command:?}?").into()),
        }
    }
}
