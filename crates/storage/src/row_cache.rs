//! The newest versions of rows that were read one by one, beside RocksDB's blocks.
//!
//! A hit answers a point read at or above the version's timestamp without a cursor over the levels.
//! It must never be older than the engine:
//!
//! ```text
//! write   begin: entry out, shard closed ─▶ RocksDB ─▶ end: entry in again, shard's epoch + 1
//! fill    ticket (epoch, if not closed) ─▶ RocksDB read ─▶ in, if epoch and door are as before
//! ```
//!
//! A reader between `begin` and `end` asks RocksDB, and what it found is not kept. Only rows that
//! were read are kept, and their neighbours while there is room; a write renews what is there. A
//! shard that is full drops what was not used since it was last full.

use crate::engine::{BatchOp, Cf};
use crate::keyspace::{SUFFIX, version_timestamp};
use crate::mvcc::{Version, decode_version};
use bytes::Bytes;
use core_domain::{Timestamp, TxnId};
use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::Mutex;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

const SHARDS: usize = 256;
/// Larger rows are left to the block cache.
const VALUE_BYTES_MAX: usize = 2 << 10;
/// What an entry takes besides its key and value, about: its place in a table that is two thirds
/// full, and what the allocator rounds up.
const ENTRY_BYTES: usize = 72;

/// One write more that has begun, in a shard's state; above it are those that have ended.
const BEGUN: u64 = 1;
const ENDED: u64 = 1 << 32;

pub struct RowCache {
    shards: Box<[Mutex<Shard>]>,
    /// Per shard: how many writes are between their begin and their end, and how many have ended.
    /// Changed under the shard's lock.
    states: Box<[AtomicU64]>,
    hasher: DefaultHashBuilder,
    bytes_per_shard_max: usize,
}

#[derive(Default)]
struct Shard {
    rows: HashTable<Row>,
    bytes: usize,
    hits: u64,
}

struct Row {
    commit: Timestamp,
    start: TxnId,
    /// Key and value in one piece.
    bytes: Box<[u8]>,
    key_bytes: u32,
    is_deletion: bool,
    used: bool,
}

/// Permission to keep what is read from now on, by a cursor made after it.
pub struct Ticket([u64; SHARDS]);

/// A write under way: for each operation on `Cf::Data`, when the version that it replaces in the
/// cache was committed.
pub(crate) struct Writing {
    replaced: Vec<Option<Timestamp>>,
    /// Ranges were deleted: everything was forgotten.
    everywhere: bool,
}

impl RowCache {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            states: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            hasher: DefaultHashBuilder::default(),
            bytes_per_shard_max: bytes_max / SHARDS,
        }
    }

    /// The newest version under the groups of a user key (`keyspace::encode_key`), if it is known.
    pub fn get(&self, key: &[u8]) -> Option<Version> {
        let hash = self.hash(key);
        let mut shard = self.shards[shard_of(hash)].lock();
        let row = shard.rows.find_mut(hash, |row| row.key() == key)?;
        row.used = true;
        let found = row.version();
        shard.hits += 1;
        Some(found)
    }

    /// To be asked for before the cursor is made whose answers are to be kept.
    pub fn ticket(&self) -> Ticket {
        Ticket(std::array::from_fn(|shard| self.states[shard].load(Ordering::Acquire)))
    }

    /// Whether something can be kept without dropping something else, about.
    pub fn has_room(&self, key: &[u8]) -> bool {
        let shard = self.shards[shard_of(self.hash(key))].lock();
        shard.bytes + VALUE_BYTES_MAX < self.bytes_per_shard_max
    }

    /// Keeps the newest version of a key, unless something was written since the ticket. Answers
    /// whether it was there already.
    pub fn fill(&self, ticket: &Ticket, key: &[u8], newest: &Version) -> bool {
        let hash = self.hash(key);
        let at = shard_of(hash);
        let mut shard = self.shards[at].lock();
        let state = self.states[at].load(Ordering::Acquire);
        if shard.rows.find(hash, |row| row.key() == key).is_some() {
            return true;
        }
        if state.is_multiple_of(ENDED) && state == ticket.0[at] {
            self.insert(&mut shard, hash, key, newest);
        }
        false
    }

    pub(crate) fn begin(&self, ops: &[BatchOp]) -> Writing {
        let everywhere =
            ops.iter().any(|op| matches!(op, BatchOp::DeleteRange { cf: Cf::Data, .. }));
        if everywhere {
            for (shard, state) in self.shards.iter().zip(&self.states) {
                let mut shard = shard.lock();
                shard.rows.clear();
                shard.bytes = 0;
                state.fetch_add(BEGUN, Ordering::AcqRel);
            }
        }
        let mut replaced = Vec::new();
        for key in ops.iter().filter_map(row_key) {
            let hash = self.hash(key);
            let at = shard_of(hash);
            let mut shard = self.shards[at].lock();
            self.states[at].fetch_add(BEGUN, Ordering::AcqRel);
            replaced.push(shard.remove(hash, key));
        }
        Writing { replaced, everywhere }
    }

    /// `written`: whether the engine took the batch.
    pub(crate) fn end(&self, writing: Writing, ops: &[BatchOp], written: bool) {
        let mut replaced = writing.replaced.into_iter();
        for op in ops {
            let Some(key) = row_key(op) else { continue };
            let before = replaced.next().flatten();
            let hash = self.hash(key);
            let at = shard_of(hash);
            let mut shard = self.shards[at].lock();
            self.states[at].fetch_add(ENDED - BEGUN, Ordering::AcqRel);
            // The same key twice in a batch: which is newer is not worth finding out.
            shard.remove(hash, key);
            match (op, before) {
                (BatchOp::Put { key: stored, value, .. }, Some(before)) if written => {
                    let commit = version_timestamp(stored);
                    if commit > before
                        && let Ok(newest) = decode_version(commit, value)
                    {
                        self.insert(&mut shard, hash, key, &newest);
                    }
                }
                _ => {}
            }
        }
        if writing.everywhere {
            for (shard, state) in self.shards.iter().zip(&self.states) {
                let _closed = shard.lock();
                state.fetch_add(ENDED - BEGUN, Ordering::AcqRel);
            }
        }
    }

    /// Bytes in use, about, and reads answered.
    pub fn metrics(&self) -> (u64, u64) {
        self.shards.iter().fold((0, 0), |(bytes, hits), shard| {
            let shard = shard.lock();
            (bytes + shard.bytes as u64, hits + shard.hits)
        })
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// What is not there yet.
    fn insert(&self, shard: &mut Shard, hash: u64, key: &[u8], version: &Version) {
        let value = version.value.as_deref().unwrap_or_default();
        let bytes = ENTRY_BYTES + key.len() + value.len();
        if value.len() > VALUE_BYTES_MAX {
            return;
        }
        if shard.bytes + bytes > self.bytes_per_shard_max {
            shard.make_room();
        }
        shard.bytes += bytes;
        let row = Row {
            commit: version.commit,
            start: version.start,
            bytes: [key, value].concat().into(),
            key_bytes: key.len() as u32,
            is_deletion: version.value.is_none(),
            used: false,
        };
        shard.rows.insert_unique(hash, row, |row| self.hash(row.key()));
    }
}

/// The table inside a shard goes by the other bits.
fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

impl Row {
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_bytes as usize]
    }

    fn version(&self) -> Version {
        let value = &self.bytes[self.key_bytes as usize..];
        let value = (!self.is_deletion).then(|| Bytes::copy_from_slice(value));
        Version { commit: self.commit, start: self.start, value }
    }

    fn memory(&self) -> usize {
        ENTRY_BYTES + self.bytes.len()
    }
}

/// The groups of the user key, of an operation on a version.
fn row_key(op: &BatchOp) -> Option<&[u8]> {
    let (cf, key) = match op {
        BatchOp::Put { cf, key, .. } | BatchOp::Delete { cf, key } => (cf, key),
        BatchOp::DeleteRange { .. } => return None,
    };
    (*cf == Cf::Data).then(|| &key[..key.len().saturating_sub(SUFFIX)])
}

impl Shard {
    /// When the version was committed.
    fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Timestamp> {
        let entry = self.rows.find_entry(hash, |row| row.key() == key).ok()?;
        let (row, _) = entry.remove();
        self.bytes -= row.memory();
        Some(row.commit)
    }

    /// Drops an eighth: what was not used since it was looked at last, or anything.
    fn make_room(&mut self) {
        let mut left = self.rows.len() / 8 + 1;
        for spare_used in [true, false] {
            let bytes = &mut self.bytes;
            self.rows.retain(|row| {
                if left == 0 || (spare_used && std::mem::take(&mut row.used)) {
                    return true;
                }
                left -= 1;
                *bytes -= row.memory();
                false
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineReader, WriteBatch};
    use crate::keyspace::{encode_key, version_key};
    use crate::mvcc::{encode_version, newest, read_at};
    use crate::{RocksEngine, RocksOptions};
    use core_domain::Key;

    fn put(batch: &mut WriteBatch, key: &str, commit: u64, value: Option<&str>) {
        let stored = encode_version(TxnId(commit - 1), value.map(str::as_bytes));
        batch.put(Cf::Data, version_key(key.as_bytes(), Timestamp(commit)), stored);
    }

    fn version(commit: u64, value: &'static str) -> Version {
        let value = Some(Bytes::from_static(value.as_bytes()));
        Version { commit: Timestamp(commit), start: TxnId(commit - 1), value }
    }

    #[test]
    fn reads_through_the_cache_are_those_of_the_engine() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
        let key = Key::from(&b"a"[..]);
        let read = |at| read_at(&engine, &key, Timestamp(at)).unwrap().map(|found| found.value);
        let write = |ops: &[(u64, Option<&str>)]| {
            let mut batch = WriteBatch::new();
            ops.iter().for_each(|(commit, value)| put(&mut batch, "a", *commit, *value));
            engine.write(batch, false).unwrap();
        };
        write(&[(10, Some("x"))]);
        for _ in 0..2 {
            assert_eq!(read(9), None);
            assert_eq!(read(10), Some(Some("x".into())));
        }
        assert!(engine.row_cache().unwrap().get(&encode_key(b"a")).is_some());
        write(&[(20, None)]);
        assert_eq!((read(10), read(20)), (Some(Some("x".into())), Some(None)));
        // Two versions at once, in either order.
        write(&[(40, Some("z")), (30, Some("y"))]);
        assert_eq!((read(35), read(50)), (Some(Some("y".into())), Some(Some("z".into()))));
        write(&[(25, Some("late"))]);
        assert_eq!(newest(&engine, &key).unwrap(), Some(version(40, "z")));
        assert_eq!(read(29), Some(Some("late".into())));
        let mut batch = WriteBatch::new();
        batch.delete_range(Cf::Data, encode_key(b"a"), encode_key(b"b"));
        engine.write(batch, false).unwrap();
        assert_eq!(newest(&engine, &key).unwrap(), None);
    }

    #[test]
    fn neighbours_come_along_while_there_is_room_each_in_its_newest_version() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
        let mut batch = WriteBatch::new();
        for name in ["a", "b", "c", "d"] {
            put(&mut batch, name, 10, Some("old"));
            put(&mut batch, name, 20, (name != "c").then_some("new"));
        }
        engine.write(batch, false).unwrap();
        let cached = |name: &str| engine.row_cache().unwrap().get(&encode_key(name.as_bytes()));
        assert!(newest(&engine, &Key::from(&b"b"[..])).unwrap().is_some());
        assert_eq!(cached("a"), None);
        assert_eq!(cached("b"), Some(version(20, "new")));
        assert_eq!(cached("c").map(|found| found.value), Some(None));
        assert_eq!(cached("d"), Some(version(20, "new")));
    }

    #[test]
    fn what_was_read_before_or_during_a_write_is_not_kept() {
        let cache = RowCache::new(1 << 20);
        let key = encode_key(b"a");
        let mut batch = WriteBatch::new();
        put(&mut batch, "a", 20, Some("new"));
        let before = cache.ticket();
        let writing = cache.begin(batch.ops());
        let during = cache.ticket();
        for ticket in [&before, &during] {
            cache.fill(ticket, &key, &version(10, "old"));
            assert_eq!(cache.get(&key), None);
        }
        cache.end(writing, batch.ops(), true);
        for ticket in [&before, &during] {
            cache.fill(ticket, &key, &version(10, "old"));
            assert_eq!(cache.get(&key), None);
        }
        cache.fill(&cache.ticket(), &key, &version(20, "new"));
        assert_eq!(cache.get(&key), Some(version(20, "new")));
        let writing = cache.begin(batch.ops());
        cache.end(writing, batch.ops(), false);
        assert_eq!(cache.get(&key), None, "a write that failed says nothing");
    }

    #[test]
    fn a_full_cache_keeps_what_is_used() {
        let cache = RowCache::new(SHARDS * 20 * (ENTRY_BYTES + 9 + 1));
        let hot = encode_key(b"hot");
        cache.fill(&cache.ticket(), &hot, &version(10, "x"));
        for n in 0..100_000u32 {
            let key = encode_key(&n.to_be_bytes());
            cache.fill(&cache.ticket(), &key, &version(10, "x"));
            if n % 10 == 0 {
                assert!(cache.get(&hot).is_some(), "dropped after {n}");
            }
        }
        let (bytes, _) = cache.metrics();
        assert!(bytes as usize <= SHARDS * 20 * (ENTRY_BYTES + 9 + 1));
        assert!(bytes as usize > SHARDS * 10 * (ENTRY_BYTES + 9 + 1));
    }
}
