//! Garbage: versions that nobody may ask for any more, and how they go.
//!
//! ```text
//! time            threshold T = 30
//!  40 │ a=4                   kept: above T
//!  30 ├─────────────────────
//!  25 │ a=3          b=∅      a=3 kept: a reader at T sees it; b=∅ kept as long as b=1 exists
//!  20 │ a=2                   dropped by any compaction that meets a=3 before it
//!  10 │ a=1          b=1      a=1 dropped; b=∅ and b=1 go together, by a sweep
//!     └─────────────────────
//! ```
//!
//! A reader below T is refused: it looks at T after its cursor is pinned, and a compaction fixes its
//! own T before it begins, so no cursor ever misses a version that its reader may see.
//!
//! A compaction sees the versions of a key in order, newest first, but not those of other levels: it
//! drops what lies below a version at or below T that it has just met, and nothing else. A
//! tombstone may go only when no older version can exist at any level (protocol.md, rule 16). So the
//! compaction only notes where tombstones are. A sweep then reads these keys through all levels, and
//! deletes a tombstone and everything older in one batch; RocksDB carries that to every level.
//! Where a sweep deleted much, the span is compacted at once, or scans would step over the traces.
//!
//! The marks are written to disk before anything is dropped by them: local family, key `gc/marks`,
//! `byte 0: format version, 1; bytes 1..9: threshold, BE; bytes 9..17: records, BE`.
//!
//! What it does not do: decide where the marks are, or know who still reads.

use crate::engine::{Cf, Engine, EngineReader, IterOptions, WriteBatch};
use crate::error::{StorageError, StorageResult};
use crate::hidden::{is_hidden, is_record};
use crate::keyspace::{SUFFIX, has_suffix, txn_timestamp, version_timestamp};
use crate::mvcc;
use core_domain::Timestamp;
use core_domain::planted::{PlantedBug, is_planted};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the marks lie in [`Cf::Local`], and in the chunks of a range's snapshot.
pub const MARKS_KEY: &[u8] = b"gc/marks";
const FORMAT: u8 = 1;
/// Neighbouring runs of tombstones are one while no more other keys lie between them.
const GAP_KEYS_MAX: u64 = 256;
/// Runs remembered; more are found again by later compactions.
const RUNS_MAX: usize = 4096;
/// Versions deleted by one batch of a sweep.
const BATCH_VERSIONS_MAX: usize = 1000;
/// Keys looked at under one lock of a sweep.
const BATCH_KEYS_MAX: usize = 10_000;
/// A sweep that deleted so many versions is followed by a compaction of its span.
const COMPACT_VERSIONS_MIN: u64 = 1000;

/// Up to where things may be dropped. Only ever rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// No read below it is served. Of each key, what is older than its newest version at or below
    /// it may be gone.
    pub threshold: Timestamp,
    /// Status records of transactions that began and were committed before it may be gone.
    pub records: Timestamp,
}

impl Marks {
    pub fn max(self, other: Self) -> Self {
        Self {
            threshold: self.threshold.max(other.threshold),
            records: self.records.max(other.records),
        }
    }

    pub fn encode(self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.threshold.0.to_be_bytes());
        out.extend_from_slice(&self.records.0.to_be_bytes());
        out
    }

    /// # Errors
    /// `Corruption` if the bytes are not of a known format.
    pub fn decode(stored: &[u8]) -> StorageResult<Self> {
        let number = |raw: &[u8]| raw.try_into().ok().map(u64::from_be_bytes).map(Timestamp);
        match stored {
            [FORMAT, rest @ ..] if rest.len() == 16 => number(&rest[..8])
                .zip(number(&rest[8..]))
                .map(|(threshold, records)| Self { threshold, records }),
            _ => None,
        }
        .ok_or_else(|| StorageError::Corruption(format!("unknown garbage marks {stored:?}")))
    }
}

/// Neighbouring keys whose newest version is a tombstone. Bounds are encoded keys, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub start: Vec<u8>,
    pub end: Vec<u8>,
    pub tombstones: u64,
    /// Of the tombstones' commits.
    pub oldest: Timestamp,
    pub newest: Timestamp,
}

impl Run {
    pub fn new(encoded: Vec<u8>, commit: Timestamp) -> Self {
        Self { start: encoded.clone(), end: encoded, tombstones: 1, oldest: commit, newest: commit }
    }

    /// Takes `other` in, and whatever lies between.
    pub fn join(&mut self, other: &Run) {
        if other.start < self.start {
            self.start.clone_from(&other.start);
        }
        if other.end > self.end {
            self.end.clone_from(&other.end);
        }
        self.tombstones += other.tombstones;
        self.oldest = self.oldest.min(other.oldest);
        self.newest = self.newest.max(other.newest);
    }

    /// The threshold at which about half of it can go: a sweep costs as much as it brings.
    fn ripe_at(&self) -> Timestamp {
        Timestamp(self.oldest.0 + (self.newest.0 - self.oldest.0) / 2)
    }

    /// Above every version of the last key.
    fn upper(&self) -> Vec<u8> {
        [self.end.as_slice(), &[0xff; SUFFIX + 1]].concat()
    }
}

/// What compactions, readers and sweeps of one engine share.
#[derive(Default)]
pub struct Garbage {
    threshold: AtomicU64,
    records: AtomicU64,
    /// One raise at a time.
    raising: Mutex<()>,
    /// Held by who rewrites a span's versions in another order than they were committed in, and by
    /// sweeps: a tombstone must not go between it and what it hides.
    rewriting: Mutex<()>,
    runs: Mutex<Vec<Run>>,
    dropped: AtomicU64,
    stepped: AtomicU64,
}

impl Garbage {
    /// No read below it may be served. To be asked after the reader's cursor is pinned.
    pub fn threshold(&self) -> Timestamp {
        Timestamp(self.threshold.load(Ordering::Acquire))
    }

    /// Nothing is known any more of transactions that began before it.
    pub fn records(&self) -> Timestamp {
        Timestamp(self.records.load(Ordering::Acquire))
    }

    pub fn marks(&self) -> Marks {
        Marks { threshold: self.threshold(), records: self.records() }
    }

    /// What an engine finds in its files when it is opened.
    pub(crate) fn load(&self, reader: &dyn EngineReader) -> StorageResult<()> {
        if let Some(stored) = reader.get(Cf::Local, MARKS_KEY)? {
            self.set(Marks::decode(&stored)?);
        }
        Ok(())
    }

    fn set(&self, marks: Marks) {
        self.threshold.fetch_max(marks.threshold.0, Ordering::AcqRel);
        self.records.fetch_max(marks.records.0, Ordering::AcqRel);
    }

    /// Sweeps wait until the guard is dropped.
    pub fn rewriting(&self) -> MutexGuard<'_, ()> {
        self.rewriting.lock()
    }

    /// Where tombstones are.
    pub fn note(&self, run: Run) {
        let mut runs = self.runs.lock();
        let touching = runs.iter().position(|r| r.start <= run.end && run.start <= r.end);
        match touching {
            Some(at) => runs[at].join(&run),
            None if runs.len() < RUNS_MAX => runs.push(run),
            None => {}
        }
    }

    /// Versions and records dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Versions that scans stepped over since the start.
    pub fn stepped(&self) -> u64 {
        self.stepped.load(Ordering::Relaxed)
    }

    pub fn count_steps(&self, steps: u64) {
        self.stepped.fetch_add(steps, Ordering::Relaxed);
    }

    fn take_ripe(&self, threshold: Timestamp) -> Vec<Run> {
        self.runs.lock().extract_if(.., |run| run.ripe_at() <= threshold).collect()
    }
}

/// Raises the marks, on the disk before in memory: what is dropped by them stays refused after a
/// crash.
///
/// # Errors
/// Of the disk.
pub fn raise(engine: &dyn Engine, marks: Marks) -> StorageResult<()> {
    let garbage = engine.garbage();
    let _one = garbage.raising.lock();
    let (before, after) = (garbage.marks(), garbage.marks().max(marks));
    if after == before {
        return Ok(());
    }
    let mut batch = WriteBatch::new();
    batch.put(Cf::Local, MARKS_KEY, after.encode());
    engine.write(batch, true)?;
    garbage.set(after);
    Ok(())
}

/// Drops the tombstones that are noted and may go; how many versions went. Blocks for as long as it
/// takes.
///
/// # Errors
/// Of the disk, or `Corruption`.
pub fn collect(engine: &dyn Engine) -> StorageResult<u64> {
    let garbage = engine.garbage();
    let threshold = garbage.threshold();
    let mut dropped = 0;
    for run in garbage.take_ripe(threshold) {
        let swept = sweep(engine, &run, threshold)?;
        if swept >= COMPACT_VERSIONS_MIN {
            engine.compact(Cf::Data, &run.start, &run.upper())?;
        }
        dropped += swept;
    }
    Ok(dropped)
}

/// Deletes every tombstone of `run` that is the newest version at or below `threshold`, together
/// with all that is older.
fn sweep(engine: &dyn Engine, run: &Run, threshold: Timestamp) -> StorageResult<u64> {
    let garbage = engine.garbage();
    let mut dropped = 0;
    let mut left: Option<Run> = None;
    let mut from = Some(run.start.clone());
    while let Some(lower) = from {
        let _alone = garbage.rewriting();
        let mut batch = WriteBatch::new();
        from = gather(engine, lower, run.upper(), threshold, &mut batch, &mut left)?;
        dropped += batch.ops().len() as u64;
        if !batch.is_empty() {
            engine.write(batch, false)?;
        }
    }
    garbage.dropped.fetch_add(dropped, Ordering::Relaxed);
    if let Some(left) = left {
        garbage.note(left);
    }
    Ok(dropped)
}

/// One batch of a sweep; where the next one begins. Tombstones that are too young are added to
/// `left`.
fn gather(
    engine: &dyn Engine,
    lower: Vec<u8>,
    upper: Vec<u8>,
    threshold: Timestamp,
    batch: &mut WriteBatch,
    left: &mut Option<Run>,
) -> StorageResult<Option<Vec<u8>>> {
    let options =
        IterOptions { lower: Some(lower), upper: Some(upper), bulk: true, ..Default::default() };
    let mut cursor = engine.iter(Cf::Data, options);
    cursor.seek_to_first();
    let mut key = KeyInOrder::default();
    let mut deleting = false;
    let mut keys = 0;
    while cursor.valid() {
        let at = cursor.key();
        if !has_suffix(at) {
            return Err(StorageError::Corruption(format!("version key {}", at.escape_ascii())));
        }
        if key.enter(at) {
            if keys >= BATCH_KEYS_MAX || batch.ops().len() >= BATCH_VERSIONS_MAX {
                return Ok(Some(at.to_vec()));
            }
            keys += 1;
            deleting = false;
        }
        let commit = version_timestamp(at);
        let tombstone = mvcc::is_deletion(cursor.value());
        if commit > threshold {
            if tombstone {
                let young = Run::new(key.encoded.clone(), commit);
                match left {
                    Some(left) => left.join(&young),
                    None => *left = Some(young),
                }
            }
        } else if is_hidden(cursor.value()) {
            if deleting {
                batch.delete(Cf::Data, at.to_vec());
            }
        } else {
            let first_below = key.settle();
            deleting |= first_below && tombstone;
            let hides = first_below || !is_planted(PlantedBug::TombstoneDroppedEarly);
            if deleting && hides {
                batch.delete(Cf::Data, at.to_vec());
            }
        }
        cursor.next();
    }
    cursor.status()?;
    Ok(None)
}

/// Which key the versions that come by belong to, and whether one at or below the threshold was
/// among them.
#[derive(Default)]
struct KeyInOrder {
    encoded: Vec<u8>,
    settled: bool,
}

impl KeyInOrder {
    /// Whether `version_key` is of another key than the one before.
    fn enter(&mut self, version_key: &[u8]) -> bool {
        let encoded = &version_key[..version_key.len() - SUFFIX];
        if self.encoded == encoded && !encoded.is_empty() {
            return false;
        }
        self.encoded.clear();
        self.encoded.extend_from_slice(encoded);
        self.settled = false;
        true
    }

    /// Whether this is the first version at or below the threshold.
    fn settle(&mut self) -> bool {
        !std::mem::replace(&mut self.settled, true)
    }
}

/// What one compaction of a family drops: decides, and does nothing.
pub(crate) struct Filter {
    garbage: Arc<Garbage>,
    cf: Cf,
    /// As they were when the compaction began.
    marks: Marks,
    key: KeyInOrder,
    /// Keys since the last tombstone.
    gap: u64,
    runs: Vec<Run>,
    dropped: u64,
}

impl Filter {
    pub fn new(garbage: Arc<Garbage>, cf: Cf) -> Self {
        let marks = garbage.marks();
        let key = KeyInOrder::default();
        Self { garbage, cf, marks, key, gap: 0, runs: Vec::new(), dropped: 0 }
    }

    /// Whether the entry may go. Entries come in key order.
    pub fn drops(&mut self, key: &[u8], value: &[u8]) -> bool {
        let drops = has_suffix(key)
            && match self.cf {
                Cf::Data => self.drops_version(key, value),
                Cf::Txn => self.drops_record(key, value),
                Cf::Lock | Cf::Raft | Cf::Local => false,
            };
        self.dropped += u64::from(drops);
        drops
    }

    fn drops_version(&mut self, key: &[u8], value: &[u8]) -> bool {
        if self.key.enter(key) {
            self.gap += 1;
        }
        let commit = version_timestamp(key);
        if is_hidden(value) {
            // Its timestamp does not say who sees it: it hides nothing, and goes with what is hidden.
            return commit <= self.marks.threshold && self.key.settled;
        }
        if commit <= self.marks.threshold && !self.key.settle() {
            return true;
        }
        if mvcc::is_deletion(value) {
            self.note(commit);
        }
        false
    }

    fn note(&mut self, commit: Timestamp) {
        let tombstone = Run::new(self.key.encoded.clone(), commit);
        let near = self.gap <= GAP_KEYS_MAX || self.runs.len() >= RUNS_MAX;
        match self.runs.last_mut().filter(|_| near) {
            Some(run) => run.join(&tombstone),
            None => self.runs.push(tombstone),
        }
        self.gap = 0;
    }

    /// The oracle's own records belong to no transaction: they are those of number zero. A record's
    /// bytes 2..10 say when it was committed, zero if it was rolled back.
    fn drops_record(&self, key: &[u8], value: &[u8]) -> bool {
        if is_record(value) {
            // Hidden versions need it, whatever their age.
            return false;
        }
        let began = txn_timestamp(key);
        let committed = value.get(2..10).and_then(|raw| raw.try_into().ok());
        let committed = Timestamp(committed.map_or(0, u64::from_be_bytes));
        began != Timestamp::ZERO && began.max(committed) < self.marks.records
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.garbage.dropped.fetch_add(self.dropped, Ordering::Relaxed);
        for run in self.runs.drain(..) {
            self.garbage.note(run);
        }
    }
}
