//! Numbers handed out in blocks: hidden row ids.
//!
//! A block is taken in a small transaction of its own on `/system/row_ids`, so an id is never given
//! twice in a cluster, whatever crashes; what is left of a block at a restart is lost, and nobody
//! can tell.

use crate::error::{SqlError, SqlResult};
use core_domain::{Key, KvStore, LockMode, LockedValue, TxnOptions, Value, WaitPolicy};
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;

const BLOCK: i64 = 1 << 20;

pub(crate) struct NumberBlocks {
    kv: Arc<dyn KvStore>,
    block: Mutex<Range<i64>>,
    filling: tokio::sync::Mutex<()>,
}

impl NumberBlocks {
    pub fn new(kv: Arc<dyn KvStore>) -> Self {
        Self { kv, block: Mutex::new(0..0), filling: tokio::sync::Mutex::new(()) }
    }

    /// `count` fresh row ids, ascending.
    pub async fn row_ids(&self, count: usize) -> SqlResult<Range<i64>> {
        let count = count as i64;
        loop {
            if let Some(ids) = self.take(count) {
                return Ok(ids);
            }
            let _one_at_a_time = self.filling.lock().await;
            if let Some(ids) = self.take(count) {
                return Ok(ids);
            }
            let block = self.fetch(BLOCK.max(count)).await?;
            *self.block.lock() = block;
        }
    }

    fn take(&self, count: i64) -> Option<Range<i64>> {
        let mut block = self.block.lock();
        if block.end - block.start < count {
            return None;
        }
        let ids = block.start..block.start + count;
        block.start += count;
        Some(ids)
    }

    async fn fetch(&self, count: i64) -> SqlResult<Range<i64>> {
        let key = Key::system("row_ids");
        loop {
            let txn = self.kv.begin(TxnOptions::default()).await?;
            txn.begin_statement().await?;
            let wait = WaitPolicy::Wait(None);
            let locked = txn.lock(std::slice::from_ref(&key), LockMode::Exclusive, wait).await?;
            let start = match locked.first() {
                Some(LockedValue::Locked { value: Some(value), .. }) => {
                    let bytes = value.as_ref().try_into().map_err(|_| {
                        SqlError::new("XX001", "data corrupted: the counter of row ids")
                    })?;
                    i64::from_be_bytes(bytes)
                }
                Some(LockedValue::Locked { value: None, .. }) => 1,
                Some(LockedValue::Skipped) | None => {
                    return Err(SqlError::internal("a lock was neither taken nor refused"));
                }
            };
            let end = start + count;
            txn.put(key.clone(), Value::copy_from_slice(&end.to_be_bytes()))?;
            match txn.commit().await {
                Ok(_) => return Ok(start..end),
                Err(error) if error.is_retryable() => continue,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
