//! openraft's own suite on this log store and state machine, over RocksDB.

use crate::descriptor::RangeDescriptor;
use crate::log::{GroupLog, LogWriter, NoTrace, format};
use crate::machine::{Machine, Spans, Surroundings};
use crate::observer::Deaf;
use crate::types::TypeConfig;
use core_domain::{NodeId, RangeId, ReplicaId, Span};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use std::sync::Arc;
use storage::{Cf, Engine, RocksEngine, RocksOptions, WriteBatch};

struct Builder;

/// Ends the writer and removes the files after each test of the suite.
struct Guard {
    writer: Arc<LogWriter>,
    _dir: tempfile::TempDir,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.writer.stop();
    }
}

impl StoreBuilder<TypeConfig, Arc<GroupLog>, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, Arc<GroupLog>, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let engine = RocksEngine::open(dir.path(), &RocksOptions::default());
        let engine: Arc<dyn Engine> = Arc::new(engine.expect("an empty directory opens"));
        let writer = LogWriter::start(engine.clone(), Arc::new(NoTrace)).expect("a thread");
        let range = RangeId(1);
        let descriptor =
            RangeDescriptor::founding(range, Span::all(), &[(NodeId(1), "a:1".into())]);
        let mut batch = WriteBatch::new();
        let key = format::key(range, format::Tag::Descriptor);
        batch.put(Cf::Raft, key, format::seal(&descriptor));
        engine.write(batch, true).expect("a healthy disk");
        let log = GroupLog::open(range, engine.clone(), writer.clone()).expect("an empty log");
        let (host, _) = tokio::sync::mpsc::unbounded_channel();
        let around = Surroundings {
            node: NodeId(1),
            engine,
            observer: Arc::new(Deaf),
            spans: Arc::new(Spans::default()),
            host,
        };
        let machine = Machine::open(around, ReplicaId(1), log.clone()).expect("an empty state");
        Ok((Guard { writer, _dir: dir }, log, machine))
    }
}

#[test]
fn the_log_store_keeps_every_promise_that_openraft_asks_for() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(Suite::test_all(Builder)).expect("the suite passes");
}
