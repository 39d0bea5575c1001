//! Random transactions over lists: reads, scans, and appends under a lock.
//!
//! ```text
//! read     get(key)                                   at the statement's snapshot
//! scan     all keys from one on                       gaps are empty lists
//! append   lock(key, Exclusive) → list; put(list ++ element)
//! ```

use super::{Load, Nodes, TXN_TIMEOUT, Turn, begin, decode, encode, end, insist, key, lock};
use crate::check::{History, Outcome, Recorder, Running};
use crate::random::Random;
use core_domain::{IsolationLevel, Key, KvResult, KvTransaction, ReadAt, ScanOptions, Span, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub struct ListAppend {
    pub load: Load,
    pub isolation: IsolationLevel,
    pub keys: u64,
    /// Reads and appends of one transaction, at most.
    pub ops_max: u64,
}

impl ListAppend {
    /// Where a list is stored; ascending.
    pub fn key(list: u64) -> Key {
        key("list", list)
    }

    /// Runs to the end of its time, then reads every list once more.
    pub async fn run(&self, nodes: &Nodes) -> History {
        let recorder = Recorder::default();
        self.disturb(nodes, &recorder).await;
        self.read_all(nodes, &recorder).await;
        recorder.history()
    }

    async fn disturb(&self, nodes: &Nodes, recorder: &Recorder) {
        let (this, recorder) = (*self, recorder.clone());
        self.load
            .run(nodes, move |turn| {
                let recorder = recorder.clone();
                async move { this.step(turn, &recorder).await }
            })
            .await;
    }

    async fn step(&self, turn: Turn, recorder: &Recorder) -> Random {
        let Turn { client, store, mut random } = turn;
        let mut running = recorder.invoke(client);
        let planned = self.plan(&mut random);
        let whole = async {
            let txn = match begin(&store, self.isolation).await {
                Ok(txn) => txn,
                Err(_) => return (running, Outcome::Aborted),
            };
            let done = self.carry_out(&txn, &planned, &mut running, recorder).await;
            let outcome = end(&txn, &done).await;
            (running, outcome)
        };
        // A transaction that is given up is dropped, and recorded as unknown by that.
        if let Ok((running, outcome)) = tokio::time::timeout(TXN_TIMEOUT, whole).await {
            running.finish(outcome);
        }
        random
    }

    fn plan(&self, random: &mut Random) -> Vec<Step> {
        let count = random.below(self.ops_max) + 1;
        let steps = (0..count).map(|_| {
            let list = random.below(self.keys);
            match random.below(8) {
                0 => Step::Scan { from: list },
                1..4 => Step::Read { list },
                _ => Step::Append { list },
            }
        });
        steps.collect()
    }

    async fn carry_out(
        &self,
        txn: &Arc<dyn KvTransaction>,
        planned: &[Step],
        running: &mut Running,
        recorder: &Recorder,
    ) -> KvResult<()> {
        for step in planned {
            txn.begin_statement().await?;
            match step {
                Step::Read { list } => {
                    let value = txn.get(&Self::key(*list), ReadAt::Snapshot).await?;
                    running.read(*list, &decode(value.as_ref()));
                }
                Step::Scan { from } => {
                    for (list, value) in self.scan(txn, *from).await? {
                        running.read(list, &decode(value.as_ref()));
                    }
                }
                Step::Append { list } => {
                    let key = Self::key(*list);
                    let mut elements = decode(lock(txn, &key).await?.as_ref());
                    let element = recorder.element();
                    elements.push(element);
                    running.append(*list, element);
                    txn.put(key, encode(&elements))?;
                }
            }
        }
        Ok(())
    }

    async fn scan(
        &self,
        txn: &Arc<dyn KvTransaction>,
        from: u64,
    ) -> KvResult<BTreeMap<u64, Option<Value>>> {
        let mut lists: BTreeMap<u64, Option<Value>> =
            (from..self.keys).map(|list| (list, None)).collect();
        let mut rest = Some(Span::new(Self::key(from), Self::key(self.keys)));
        while let Some(span) = rest {
            let page = txn.scan(&span, ScanOptions::default()).await?;
            for (key, value) in page.rows {
                let list = (from..self.keys).find(|list| Self::key(*list) == key);
                lists.extend(list.map(|list| (list, Some(value))));
            }
            rest = page.rest;
        }
        Ok(lists)
    }

    /// What is there in the end, so that every append is seen or missed.
    async fn read_all(&self, nodes: &Nodes, recorder: &Recorder) {
        insist(nodes, |store| async move {
            let mut running = recorder.invoke(self.load.clients);
            let txn = match begin(&store, IsolationLevel::RepeatableRead).await {
                Ok(txn) => txn,
                Err(error) => {
                    running.finish(Outcome::Aborted);
                    return Err(error);
                }
            };
            let read = self.scan(&txn, 0).await.map(|lists| {
                for (list, value) in lists {
                    running.read(list, &decode(value.as_ref()));
                }
            });
            let outcome = end(&txn, &read).await;
            running.finish(outcome);
            read
        })
        .await;
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Read { list: u64 },
    Scan { from: u64 },
    Append { list: u64 },
}
