//! Sequences: values handed out without waiting for anybody's transaction.
//!
//! A block of values is taken in a small transaction of its own, and given out from memory to all
//! sessions of this process; what is left at a restart is a gap, as after a crash of PostgreSQL.
//! A sequence that the running transaction has created or changed itself is worked on inside that
//! transaction: nobody else can see it yet.
//!
//! What it does not do: tell other nodes of a `setval`. They use up their block first.

use crate::error::{SqlError, SqlResult};
use catalog::keys::{SequenceState, sequence_key};
use catalog::{Catalog, SequenceDescriptor};
use core_domain::{
    Key, KvStore, KvTransaction, LockMode, LockedValue, ReadAt, TxnOptions, WaitPolicy,
};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Values fetched ahead, as PostgreSQL logs ahead (SEQ_LOG_VALS).
const BLOCK: usize = 32;
/// A sequence in heavy use gets larger blocks, up to this.
const BLOCK_MAX: usize = 1024;

pub(crate) struct Sequences {
    kv: Arc<dyn KvStore>,
    blocks: Mutex<HashMap<u32, Block>>,
    filling: tokio::sync::Mutex<()>,
}

struct Block {
    /// A changed definition makes the block void.
    descriptor: Arc<SequenceDescriptor>,
    values: VecDeque<i64>,
    size_next: usize,
}

/// # Errors
/// 42809 for an OID that is no sequence's.
pub(crate) fn expect(catalog: &Catalog, oid: u32) -> SqlResult<&Arc<SequenceDescriptor>> {
    catalog.sequence(oid).ok_or_else(|| match catalog.relation_by_oid(oid) {
        Some(relation) => {
            SqlError::new("42809", format!("\"{}\" is not a sequence", relation.name()))
        }
        None => SqlError::new("42P01", format!("could not open relation with OID {oid}")),
    })
}

impl Sequences {
    pub fn new(kv: Arc<dyn KvStore>) -> Self {
        Self { kv, blocks: Mutex::default(), filling: tokio::sync::Mutex::new(()) }
    }

    /// A value from memory, if there is one.
    pub fn take(&self, sequence: &Arc<SequenceDescriptor>) -> Option<i64> {
        let mut blocks = self.blocks.lock();
        let block = blocks.get_mut(&sequence.oid)?;
        if block.descriptor != *sequence {
            blocks.remove(&sequence.oid);
            return None;
        }
        block.values.pop_front()
    }

    /// The next value, fetching a block if there is none. `txn` is the caller's transaction.
    pub async fn next(
        &self,
        txn: &Arc<dyn KvTransaction>,
        sequence: &Arc<SequenceDescriptor>,
    ) -> SqlResult<i64> {
        let key = sequence_key(sequence.oid);
        let _one_at_a_time = self.filling.lock().await;
        if let Some(value) = self.take(sequence) {
            return Ok(value);
        }
        let (count, size_next) = match self.blocks.lock().get(&sequence.oid) {
            Some(block) => (block.size_next, (block.size_next * 2).min(BLOCK_MAX)),
            None => (BLOCK, BLOCK),
        };
        let mut values = loop {
            match self.fetch(&key, sequence, count).await? {
                Fetched::Values(values) => break values,
                Fetched::Raced => continue,
                Fetched::Absent => return in_transaction(&**txn, &key, sequence).await,
            }
        };
        let first = values
            .pop_front()
            .ok_or_else(|| SqlError::internal("a block of a sequence without values"))?;
        let block = Block { descriptor: sequence.clone(), values, size_next };
        self.blocks.lock().insert(sequence.oid, block);
        Ok(first)
    }

    async fn fetch(
        &self,
        key: &Key,
        sequence: &SequenceDescriptor,
        count: usize,
    ) -> SqlResult<Fetched> {
        let own = self.kv.begin(TxnOptions::default()).await?;
        own.begin_statement().await?;
        // Not there outside the caller's transaction: it has just been created inside it.
        if own.get(key, ReadAt::Latest).await?.is_none() {
            own.rollback().await;
            return Ok(Fetched::Absent);
        }
        let Some(mut state) = locked_state(&*own, key).await? else {
            own.rollback().await;
            return Ok(Fetched::Absent);
        };
        let mut values = VecDeque::with_capacity(count);
        while values.len() < count.max(sequence.cache.max(1) as usize) {
            match state.next(sequence) {
                Ok((value, next)) => {
                    values.push_back(value);
                    state = next;
                }
                Err(error) if values.is_empty() => return Err(error.into()),
                Err(_) => break,
            }
        }
        own.put(key.clone(), state.encode())?;
        match own.commit().await {
            Ok(_) => Ok(Fetched::Values(values)),
            Err(error) if error.is_retryable() => Ok(Fetched::Raced),
            Err(error) => Err(error.into()),
        }
    }

    /// `setval`, and ALTER SEQUENCE ... RESTART: at once, whatever becomes of the transaction.
    pub async fn set(
        &self,
        txn: &Arc<dyn KvTransaction>,
        sequence: &Arc<SequenceDescriptor>,
        value: i64,
        is_called: bool,
    ) -> SqlResult<()> {
        if !(sequence.min..=sequence.max).contains(&value) {
            return Err(SqlError::new(
                "22003",
                format!(
                    "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                    sequence.name, sequence.min, sequence.max
                ),
            ));
        }
        let key = sequence_key(sequence.oid);
        let state = SequenceState { last_value: value, is_called };
        let _one_at_a_time = self.filling.lock().await;
        loop {
            let own = self.kv.begin(TxnOptions::default()).await?;
            own.begin_statement().await?;
            if own.get(&key, ReadAt::Latest).await?.is_none() {
                own.rollback().await;
                let wait = WaitPolicy::Wait(None);
                txn.lock(std::slice::from_ref(&key), LockMode::Exclusive, wait).await?;
                txn.put(key, state.encode())?;
                return Ok(());
            }
            locked_state(&*own, &key).await?;
            own.put(key.clone(), state.encode())?;
            match own.commit().await {
                Ok(_) => break,
                Err(error) if error.is_retryable() => continue,
                Err(error) => return Err(error.into()),
            }
        }
        self.blocks.lock().remove(&sequence.oid);
        Ok(())
    }

    /// The value given out last by this process, else the stored one; `None` before the first.
    pub async fn last_value(
        &self,
        txn: &Arc<dyn KvTransaction>,
        sequence: &Arc<SequenceDescriptor>,
    ) -> SqlResult<Option<i64>> {
        if let Some(block) = self.blocks.lock().get(&sequence.oid)
            && let Some(next) = block.values.front()
        {
            return Ok(Some(next - sequence.increment));
        }
        let state = txn.get(&sequence_key(sequence.oid), ReadAt::Latest).await?;
        let state = state.map(|value| SequenceState::decode(&value)).transpose()?;
        Ok(state.filter(|state| state.is_called).map(|state| state.last_value))
    }

    /// Forgets the block: the sequence was altered, restarted or dropped.
    pub fn forget(&self, sequence: u32) {
        self.blocks.lock().remove(&sequence);
    }
}

enum Fetched {
    Values(VecDeque<i64>),
    Absent,
    /// Another transaction was faster: again.
    Raced,
}

async fn locked_state(txn: &dyn KvTransaction, key: &Key) -> SqlResult<Option<SequenceState>> {
    let wait = WaitPolicy::Wait(None);
    let locked = txn.lock(std::slice::from_ref(key), LockMode::Exclusive, wait).await?;
    match locked.into_iter().next() {
        Some(LockedValue::Locked { value: Some(value), .. }) => {
            Ok(Some(SequenceState::decode(&value)?))
        }
        Some(LockedValue::Locked { value: None, .. }) => Ok(None),
        Some(LockedValue::Skipped) | None => {
            Err(SqlError::internal("a lock was neither taken nor refused"))
        }
    }
}

async fn in_transaction(
    txn: &dyn KvTransaction,
    key: &Key,
    sequence: &SequenceDescriptor,
) -> SqlResult<i64> {
    let state = locked_state(txn, key).await?.unwrap_or(SequenceState::initial(sequence));
    let (value, next) = state.next(sequence)?;
    txn.put(key.clone(), next.encode())?;
    Ok(value)
}
