//! An engine in memory that can crash: the suffix of its unsynced batches is lost, as much of it
//! as a seed says.
//!
//! ```text
//! write(A)  sync_wal()  write(B)  write(C)   crash(seed)  →  {A} or {A, B} or {A, B, C}
//! ```
//!
//! It does not tear a batch (RocksDB's log has checksums per record) and does not damage bytes.

use crate::engine::{BatchOp, Cf, Engine, EngineIterator, EngineReader, IterOptions, WriteBatch};
use crate::error::{StorageError, StorageResult};
use crate::gc::{Filter, Garbage};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Family = BTreeMap<Bytes, Bytes>;

/// All families at one moment. Cloned by writers only while a reader pins it.
#[derive(Clone, Default)]
struct Families([Arc<Family>; Cf::ALL.len()]);

impl Families {
    fn apply(&mut self, batch: &WriteBatch) {
        for op in batch.ops() {
            match op {
                BatchOp::Put { cf, key, value } => {
                    Arc::make_mut(&mut self.0[*cf as usize]).insert(key.clone(), value.clone());
                }
                BatchOp::Delete { cf, key } => {
                    Arc::make_mut(&mut self.0[*cf as usize]).remove(key);
                }
                BatchOp::DeleteRange { cf, start, end } => {
                    Arc::make_mut(&mut self.0[*cf as usize]).retain(|k, _| k < start || k >= end);
                }
            }
        }
    }
}

#[derive(Default)]
struct State {
    visible: Families,
    durable: Families,
    unsynced: Vec<WriteBatch>,
    crashed: bool,
}

/// The crash-injecting engine.
#[derive(Default)]
pub struct CrashEngine {
    state: RwLock<State>,
    nearly_full: AtomicBool,
    garbage: Arc<Garbage>,
}

impl CrashEngine {
    pub fn new() -> Self {
        Self::default()
    }

    /// Pulls the plug: this engine fails every write from now on, and the answer is what a
    /// restart would find. `seed` chooses how many unsynced batches reached the disk by chance.
    pub fn crash(&self, seed: u64) -> Self {
        let mut state = self.state.write();
        state.crashed = true;
        let kept = mix(seed) as usize % (state.unsynced.len() + 1);
        let mut survivor = state.durable.clone();
        for batch in &state.unsynced[..kept] {
            survivor.apply(batch);
        }
        let survived = State { visible: survivor.clone(), durable: survivor, ..State::default() };
        let survivor = Self { state: RwLock::new(survived), ..Self::default() };
        survivor.garbage.load(&survivor).expect("what was synced is whole");
        survivor
    }

    /// What it says of its disk from now on.
    pub fn set_nearly_full(&self, full: bool) {
        self.nearly_full.store(full, Ordering::SeqCst);
    }

    /// Batches that a crash could lose.
    pub fn unsynced_batches(&self) -> usize {
        self.state.read().unsynced.len()
    }
}

/// SplitMix64's finaliser: neighbouring seeds choose differently.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 1
}

impl EngineReader for CrashEngine {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        Ok(self.state.read().visible.0[cf as usize].get(key).cloned())
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIterator + '_> {
        let family = self.state.read().visible.0[cf as usize].clone();
        Box::new(MapIterator::new(family, options))
    }
}

impl Engine for CrashEngine {
    fn write(&self, batch: WriteBatch, sync: bool) -> StorageResult<()> {
        let mut state = self.state.write();
        if state.crashed {
            return Err(StorageError::Io("the engine has crashed".into()));
        }
        state.visible.apply(&batch);
        state.unsynced.push(batch);
        if sync {
            sync_all(&mut state);
        }
        Ok(())
    }

    fn sync_wal(&self) -> StorageResult<()> {
        let mut state = self.state.write();
        if state.crashed {
            return Err(StorageError::Io("the engine has crashed".into()));
        }
        sync_all(&mut state);
        Ok(())
    }

    fn snapshot(&self) -> Arc<dyn EngineReader> {
        Arc::new(MapSnapshot(self.state.read().visible.clone()))
    }

    fn checkpoint(&self, _dir: &Path) -> StorageResult<()> {
        Err(StorageError::Io("the in-memory engine makes no checkpoints".into()))
    }

    fn approximate_bytes(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64> {
        let family = self.state.read().visible.0[cf as usize].clone();
        let bounds = (Bound::Included(start), Bound::Excluded(end));
        Ok(family.range::<[u8], _>(bounds).map(|(k, v)| (k.len() + v.len()) as u64).sum())
    }

    fn is_nearly_full(&self) -> bool {
        self.nearly_full.load(Ordering::SeqCst)
    }

    fn garbage(&self) -> &Garbage {
        &self.garbage
    }

    /// As RocksDB does it: readers that are there keep their view, and nothing is logged.
    fn compact(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<()> {
        let mut filter = Filter::new(self.garbage.clone(), cf);
        let mut state = self.state.write();
        if state.crashed {
            return Err(StorageError::Io("the engine has crashed".into()));
        }
        let bounds = (Bound::Included(start), Bound::Excluded(end));
        let dropped: Vec<Bytes> = state.visible.0[cf as usize]
            .range::<[u8], _>(bounds)
            .filter(|(key, value)| filter.drops(key, value))
            .map(|(key, _)| key.clone())
            .collect();
        let mut batch = WriteBatch::new();
        dropped.into_iter().for_each(|key| batch.delete(cf, key));
        state.visible.apply(&batch);
        state.unsynced.push(batch);
        Ok(())
    }

    fn metrics(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

fn sync_all(state: &mut State) {
    for batch in std::mem::take(&mut state.unsynced) {
        state.durable.apply(&batch);
    }
}

struct MapSnapshot(Families);

impl EngineReader for MapSnapshot {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        Ok(self.0.0[cf as usize].get(key).cloned())
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIterator + '_> {
        Box::new(MapIterator::new(self.0.0[cf as usize].clone(), options))
    }
}

struct MapIterator {
    family: Arc<Family>,
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
    at: Option<(Bytes, Bytes)>,
}

impl MapIterator {
    fn new(family: Arc<Family>, options: IterOptions) -> Self {
        let lower = options.lower.map_or(Bound::Unbounded, |key| Bound::Included(key.into()));
        let upper = options.upper.map_or(Bound::Unbounded, |key| Bound::Excluded(key.into()));
        Self { family, lower, upper, at: None }
    }

    fn first(&self, lower: Bound<Bytes>) -> Option<(Bytes, Bytes)> {
        if is_empty_range(&lower, &self.upper) {
            return None;
        }
        let entry = self.family.range((lower, self.upper.clone())).next();
        entry.map(|(k, v)| (k.clone(), v.clone()))
    }

    fn last(&self, upper: Bound<Bytes>) -> Option<(Bytes, Bytes)> {
        if is_empty_range(&self.lower, &upper) {
            return None;
        }
        let entry = self.family.range((self.lower.clone(), upper)).next_back();
        entry.map(|(k, v)| (k.clone(), v.clone()))
    }

    fn position(&self) -> Bytes {
        self.at.as_ref().expect("asked only when valid").0.clone()
    }
}

/// `BTreeMap::range` panics where RocksDB finds nothing.
fn is_empty_range(lower: &Bound<Bytes>, upper: &Bound<Bytes>) -> bool {
    match (lower, upper) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(l), Bound::Included(u)) => l > u,
        (Bound::Included(l) | Bound::Excluded(l), Bound::Included(u) | Bound::Excluded(u)) => {
            l >= u
        }
    }
}

impl EngineIterator for MapIterator {
    fn seek(&mut self, key: &[u8]) {
        let below = matches!(&self.lower, Bound::Included(lower) if key < lower.as_ref());
        let lower =
            if below { self.lower.clone() } else { Bound::Included(Bytes::copy_from_slice(key)) };
        self.at = self.first(lower);
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        let above = matches!(&self.upper, Bound::Excluded(upper) if key >= upper.as_ref());
        let upper =
            if above { self.upper.clone() } else { Bound::Included(Bytes::copy_from_slice(key)) };
        self.at = self.last(upper);
    }

    fn seek_to_first(&mut self) {
        self.at = self.first(self.lower.clone());
    }

    fn seek_to_last(&mut self) {
        self.at = self.last(self.upper.clone());
    }

    fn next(&mut self) {
        self.at = self.first(Bound::Excluded(self.position()));
    }

    fn prev(&mut self) {
        self.at = self.last(Bound::Excluded(self.position()));
    }

    fn valid(&self) -> bool {
        self.at.is_some()
    }

    fn key(&self) -> &[u8] {
        &self.at.as_ref().expect("asked only when valid").0
    }

    fn value(&self) -> &[u8] {
        &self.at.as_ref().expect("asked only when valid").1
    }

    fn status(&self) -> StorageResult<()> {
        Ok(())
    }
}
