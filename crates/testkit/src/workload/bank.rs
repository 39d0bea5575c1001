//! Transfers between random accounts, and readers of all of them.

use super::{Load, Nodes, TXN_TIMEOUT, Turn, begin, decode, encode, end, insist, key, lock};
use crate::check::bank::Statement;
use crate::random::Random;
use core_domain::{IsolationLevel, Key, KvResult, KvStore, ReadAt};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

const OPENING_BALANCE: i64 = 100;

#[derive(Clone, Copy, Debug)]
pub struct Bank {
    pub load: Load,
    pub isolation: IsolationLevel,
    pub accounts: u64,
}

impl Bank {
    /// Where an account is stored; ascending.
    pub fn key(account: u64) -> Key {
        key("account", account)
    }

    pub fn total(&self) -> i64 {
        self.accounts as i64 * OPENING_BALANCE
    }

    /// Every statement, the one at the end the last.
    pub async fn run(&self, nodes: &Nodes) -> Vec<Statement> {
        insist(nodes, |store| self.open(store)).await;
        let statements = Arc::new(Mutex::new(Vec::new()));
        let (this, filing) = (*self, statements.clone());
        self.load
            .run(nodes, move |turn| {
                let statements = filing.clone();
                async move { this.step(turn, &statements).await }
            })
            .await;
        let last = insist(nodes, |store| self.read(store, self.load.clients)).await;
        let mut statements = std::mem::take(&mut *statements.lock());
        statements.push(last);
        statements
    }

    /// The same, however often it is tried.
    async fn open(&self, store: Arc<dyn KvStore>) -> KvResult<()> {
        let txn = begin(&store, IsolationLevel::ReadCommitted).await?;
        for account in 0..self.accounts {
            lock(&txn, &Self::key(account)).await?;
            txn.put(Self::key(account), encode(&[OPENING_BALANCE as u64]))?;
        }
        txn.commit().await.map(|_| ())
    }

    async fn step(&self, turn: Turn, statements: &Mutex<Vec<Statement>>) -> Random {
        let Turn { client, store, mut random } = turn;
        if random.below(3) == 0 {
            let read = tokio::time::timeout(TXN_TIMEOUT, self.read(store, client)).await;
            if let Ok(Ok(statement)) = read {
                statements.lock().push(statement);
            }
        } else {
            let from = random.below(self.accounts);
            let to = (from + 1 + random.below(self.accounts - 1)) % self.accounts;
            let amount = random.below(20) as i64;
            let transfer = self.transfer(&store, from, to, amount);
            // What becomes of it does not matter: all of it or nothing.
            let _ = tokio::time::timeout(TXN_TIMEOUT, transfer).await;
        }
        random
    }

    async fn transfer(
        &self,
        store: &Arc<dyn KvStore>,
        from: u64,
        to: u64,
        amount: i64,
    ) -> KvResult<()> {
        let txn = begin(store, self.isolation).await?;
        let both = async {
            for (account, change) in [(from, -amount), (to, amount)] {
                let key = Self::key(account);
                let balance = balance(&decode(lock(&txn, &key).await?.as_ref()));
                txn.put(key, encode(&[(balance.unwrap_or(0) + change) as u64]))?;
            }
            Ok(())
        };
        let done = both.await;
        end(&txn, &done).await;
        done
    }

    /// One statement, so one snapshot at every level.
    async fn read(&self, store: Arc<dyn KvStore>, client: usize) -> KvResult<Statement> {
        let txn = begin(&store, self.isolation).await?;
        let keys: Vec<Key> = (0..self.accounts).map(Self::key).collect();
        let values = txn.multi_get(&keys, ReadAt::Snapshot).await?;
        txn.commit().await?;
        let balances: BTreeMap<u64, i64> = (0..)
            .zip(values)
            .filter_map(|(account, value)| Some((account, balance(&decode(value.as_ref()))?)))
            .collect();
        Ok(Statement { client, balances })
    }
}

fn balance(stored: &[u64]) -> Option<i64> {
    stored.first().map(|raw| *raw as i64)
}
