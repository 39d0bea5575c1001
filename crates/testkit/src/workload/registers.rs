//! Single writes and reads, each a transaction of its own.

use super::{Load, Nodes, TXN_TIMEOUT, Turn, begin, decode, encode, end, key, lock};
use crate::check::Outcome;
use crate::check::register::{Action, Operation, RegisterRecorder};
use crate::random::Random;
use core_domain::{IsolationLevel, Key, KvResult, KvStore, ReadAt};
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub struct Registers {
    pub load: Load,
    pub keys: u64,
}

impl Registers {
    /// Where a register is stored; ascending.
    pub fn key(register: u64) -> Key {
        key("register", register)
    }

    pub async fn run(&self, nodes: &Nodes) -> Vec<Operation> {
        let recorder = RegisterRecorder::default();
        let (keys, recording) = (self.keys, recorder.clone());
        self.load
            .run(nodes, move |turn| {
                let recorder = recording.clone();
                async move { step(keys, turn, &recorder).await }
            })
            .await;
        recorder.operations()
    }
}

async fn step(keys: u64, turn: Turn, recorder: &RegisterRecorder) -> Random {
    let Turn { client, store, mut random } = turn;
    let register = random.below(keys);
    if random.below(2) == 0 {
        write(&store, client, register, recorder.time.element(), recorder).await;
    } else {
        read(&store, client, register, recorder).await;
    }
    random
}

/// Writes a register, and records what its client knows of it.
pub async fn write(
    store: &Arc<dyn KvStore>,
    client: usize,
    register: u64,
    value: u64,
    recorder: &RegisterRecorder,
) -> Outcome {
    let invoked = recorder.time.tick();
    let whole = async {
        let Ok(txn) = begin(store, IsolationLevel::ReadCommitted).await else {
            return Outcome::Aborted;
        };
        let key = Registers::key(register);
        let locked = lock(&txn, &key).await;
        let done = locked.and_then(|_| txn.put(key, encode(&[value])));
        end(&txn, &done).await
    };
    let outcome = tokio::time::timeout(TXN_TIMEOUT, whole).await.unwrap_or(Outcome::Unknown);
    recorder.record(client, register, Action::Write(value), invoked, outcome);
    outcome
}

/// Reads a register, and records what was found. Without an answer there is nothing to record.
pub async fn read(
    store: &Arc<dyn KvStore>,
    client: usize,
    register: u64,
    recorder: &RegisterRecorder,
) {
    let invoked = recorder.time.tick();
    let whole = async {
        let txn = begin(store, IsolationLevel::ReadCommitted).await?;
        let value = txn.get(&Registers::key(register), ReadAt::Snapshot).await?;
        txn.commit().await?;
        KvResult::Ok(decode(value.as_ref()).first().copied())
    };
    if let Ok(Ok(value)) = tokio::time::timeout(TXN_TIMEOUT, whole).await {
        let action = Action::Read(value);
        recorder.record(client, register, action, invoked, Outcome::Committed);
    }
}
