//! Prepared statements by text, shared by the sessions of one process.
//!
//! The key is everything that a plan depends on except the catalog's version: a cached statement
//! notices by itself that the catalog has moved (`prepared.rs`). When the cache is full, it is
//! emptied half way: statements in use are back after one planning each.

use datum::SqlType;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

const SHARDS: usize = 16;
/// Longer texts are planned each time: they are loads, not statements that come again.
const TEXT_BYTES_MAX: usize = 16 << 10;

pub(crate) struct PlanCache<V> {
    shards: [Mutex<HashMap<CacheKey, V>>; SHARDS],
    hasher: RandomState,
    entries_per_shard_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CacheKey {
    pub text: Arc<str>,
    pub database: u32,
    pub search_path: Arc<str>,
    pub user: Arc<str>,
    /// Types given by the client; `Unknown` where they are to be inferred.
    pub param_types: Vec<SqlType>,
}

impl<V: Clone> PlanCache<V> {
    pub fn new(entries_max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            entries_per_shard_max: (entries_max / SHARDS).max(4),
        }
    }

    pub fn get(&self, key: &CacheKey) -> Option<V> {
        self.shard(key).lock().get(key).cloned()
    }

    pub fn put(&self, key: CacheKey, value: V) {
        if key.text.len() > TEXT_BYTES_MAX {
            return;
        }
        let mut shard = self.shard(&key).lock();
        if shard.len() >= self.entries_per_shard_max {
            let mut keep = false;
            shard.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        shard.insert(key, value);
    }

    fn shard(&self, key: &CacheKey) -> &Mutex<HashMap<CacheKey, V>> {
        &self.shards[self.hasher.hash_one(&key.text) as usize % SHARDS]
    }
}
