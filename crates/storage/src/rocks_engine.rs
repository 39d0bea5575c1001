//! The engine on RocksDB.
//!
//! One database, one write-ahead log, five families. The log is flushed by hand: an unsynced
//! write stays in a buffer of the process until somebody syncs, so a write that carries only
//! applied state (which the Raft log can replay) costs no system call.
//!
//! Memory is bounded by `RocksOptions`: one cache for all blocks, indexes and filters, one budget
//! for all memory tables.

use crate::ballast::Ballast;
use crate::engine::{BatchOp, Cf, Engine, EngineIterator, EngineReader, IterOptions, WriteBatch};
use crate::error::{StorageError, StorageResult};
use crate::gc::{Filter, Garbage};
use crate::keyspace;
use crate::row_cache::RowCache;
use crate::space::{Space, space_of};
use bytes::Bytes;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor,
    CompactOptions, CompactionDecision, DBCompressionType, DBRawIteratorWithThreadMode,
    DBRecoveryMode, DBWithThreadMode, LogLevel, MultiThreaded, Options, ReadOptions,
    SliceTransform, SnapshotWithThreadMode, WriteOptions,
};
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

type Db = DBWithThreadMode<MultiThreaded>;

/// Files with versions are compacted at this age, if nothing else made them: garbage that has come
/// into being since goes then.
const FILE_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Limits of one store.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// Blocks, indexes and filters that stay in memory.
    pub block_cache_bytes: usize,
    /// Rows that are read one by one.
    pub row_cache_bytes: usize,
    /// All memory tables together; the fullest is flushed when they reach this.
    pub memtable_bytes_max: usize,
    /// The write-ahead log is cut (by flushing what holds it) above this: bounds restart time.
    pub wal_bytes_max: u64,
    pub open_files_max: i32,
    pub background_jobs: i32,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            block_cache_bytes: 128 << 20,
            row_cache_bytes: 256 << 20,
            memtable_bytes_max: 96 << 20,
            wal_bytes_max: 256 << 20,
            open_files_max: 512,
            background_jobs: 2,
        }
    }
}

/// RocksDB in one directory.
pub struct RocksEngine {
    db: Arc<Db>,
    cache: Cache,
    rows: RowCache,
    dir: PathBuf,
    garbage: Arc<Garbage>,
    /// How the room on the disk is found out.
    measure: fn(&Path) -> Option<Space>,
}

impl RocksEngine {
    /// Opens or creates the store in `dir`.
    ///
    /// # Errors
    /// `Io` if another process holds the directory, `Corruption` if the files are damaged.
    pub fn open(dir: &Path, options: &RocksOptions) -> StorageResult<Self> {
        let space = space_of(dir).or_else(|| space_of(dir.parent()?));
        let options = &options.clone().fit(space);
        let cache = Cache::new_hyper_clock_cache(options.block_cache_bytes, 0);
        let garbage = Arc::<Garbage>::default();
        let families = || {
            Cf::ALL.into_iter().map(|cf| {
                let mut family = family_options(cf, &cache, options);
                if let Cf::Data | Cf::Txn = cf {
                    let garbage = garbage.clone();
                    family.set_compaction_filter_factory(FilterFactory { garbage, cf });
                    family.set_periodic_compaction_seconds(FILE_AGE_MAX.as_secs());
                }
                ColumnFamilyDescriptor::new(cf.name(), family)
            })
        };
        let ballast = Ballast::new(dir, options.wal_bytes_max);
        let db = ballast.open(|| {
            Db::open_cf_descriptors(&database_options(options), dir, families()).map_err(|error| {
                match error.to_string().contains("While lock file") {
                    true => StorageError::Io("another process is using this directory".into()),
                    false => classify(error),
                }
            })
        })?;
        ballast.keep(space_of(dir).map_or(0, |space| space.available));
        let rows = RowCache::new(options.row_cache_bytes);
        let dir = dir.to_owned();
        let engine = Self { db: Arc::new(db), cache, rows, dir, garbage, measure: space_of };
        engine.garbage.load(&engine)?;
        Ok(engine)
    }

    /// The sum of a property over all families.
    fn of_all(&self, property: &str) -> u64 {
        Cf::ALL
            .into_iter()
            .filter_map(|cf| {
                self.db.property_int_value_cf(&handle(&self.db, cf), property).ok().flatten()
            })
            .sum()
    }
}

impl RocksOptions {
    /// On a small disk, logs and memory tables that are small beside it.
    fn fit(mut self, space: Option<Space>) -> Self {
        if let Some(space) = space {
            let share = space.total / 8;
            self.wal_bytes_max = self.wal_bytes_max.min(share);
            self.memtable_bytes_max =
                self.memtable_bytes_max.min(usize::try_from(share).unwrap_or(usize::MAX));
        }
        self
    }
}

fn database_options(options: &RocksOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_manual_wal_flush(true);
    // What a crash tore at the end of the log was never acknowledged; a hole before synced bytes
    // is damage and must be seen.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_max_total_wal_size(options.wal_bytes_max);
    db.set_db_write_buffer_size(options.memtable_bytes_max);
    db.set_max_open_files(options.open_files_max);
    db.set_max_background_jobs(options.background_jobs);
    db.set_bytes_per_sync(1 << 20);
    db.set_keep_log_file_num(4);
    db.set_max_log_file_size(8 << 20);
    db.set_log_level(LogLevel::Warn);
    db
}

fn family_options(cf: Cf, cache: &Cache, options: &RocksOptions) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In parts: a whole filter of a large file is larger than a shard of the cache, which then
    // never holds it, and each lookup would read it from the file.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(16 << 10);
    table.set_pin_top_level_index_and_filter(true);
    table.set_block_size(16 << 10);
    table.set_format_version(5);
    let mut family = Options::default();
    let mut memtable = options.memtable_bytes_max / 4;
    match cf {
        Cf::Data | Cf::Txn => {
            // Versions of one key share a prefix: a miss costs no block read.
            table.set_bloom_filter(10.0, false);
            table.set_whole_key_filtering(false);
            family.set_prefix_extractor(SliceTransform::create(
                "shanghai.user_key",
                without_suffix,
                Some(keyspace::has_suffix),
            ));
            family.set_memtable_prefix_bloom_ratio(0.05);
            family.set_compression_type(DBCompressionType::Lz4);
            family.set_bottommost_compression_type(DBCompressionType::Zstd);
            family.set_level_compaction_dynamic_level_bytes(true);
        }
        Cf::Lock => {
            table.set_bloom_filter(10.0, false);
            memtable /= 4;
        }
        Cf::Raft => {
            // Entries are purged soon after they are written: mostly they die in the memory table.
            family.set_compression_type(DBCompressionType::Lz4);
        }
        Cf::Local => memtable /= 8,
    }
    family.set_write_buffer_size(memtable);
    family.set_block_based_table_factory(&table);
    family
}

fn without_suffix(key: &[u8]) -> &[u8] {
    &key[..key.len() - keyspace::SUFFIX]
}

fn classify(error: rocksdb::Error) -> StorageError {
    let text = error.to_string();
    if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
        return StorageError::DiskFull(text);
    }
    if error.kind() == rocksdb::ErrorKind::Corruption {
        return StorageError::Corruption(text);
    }
    StorageError::Io(text)
}

fn handle(db: &Db, cf: Cf) -> Arc<BoundColumnFamily<'_>> {
    db.cf_handle(cf.name()).expect("every family is created when the store is opened")
}

fn read_options(cf: Cf, options: IterOptions) -> ReadOptions {
    let mut read = ReadOptions::default();
    if options.one_key && matches!(cf, Cf::Data | Cf::Txn) {
        read.set_prefix_same_as_start(true);
    } else {
        read.set_total_order_seek(true);
    }
    if let Some(lower) = options.lower {
        read.set_iterate_lower_bound(lower);
    }
    if let Some(upper) = options.upper {
        read.set_iterate_upper_bound(upper);
    }
    if options.bulk {
        read.fill_cache(false);
        read.set_readahead_size(1 << 20);
    }
    if let Some(skips_max) = options.skips_max {
        read.set_max_skippable_internal_keys(skips_max);
    }
    read
}

struct RocksIterator<'a>(DBRawIteratorWithThreadMode<'a, Db>);

impl EngineIterator for RocksIterator<'_> {
    fn seek(&mut self, key: &[u8]) {
        self.0.seek(key);
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        self.0.seek_for_prev(key);
    }

    fn seek_to_first(&mut self) {
        self.0.seek_to_first();
    }

    fn seek_to_last(&mut self) {
        self.0.seek_to_last();
    }

    fn next(&mut self) {
        self.0.next();
    }

    fn prev(&mut self) {
        self.0.prev();
    }

    fn valid(&self) -> bool {
        self.0.valid()
    }

    fn key(&self) -> &[u8] {
        self.0.key().expect("asked only when valid")
    }

    fn value(&self) -> &[u8] {
        self.0.value().expect("asked only when valid")
    }

    fn status(&self) -> StorageResult<()> {
        self.0.status().map_err(classify)
    }
}

impl EngineReader for RocksEngine {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let found = self.db.get_pinned_cf(&handle(&self.db, cf), key).map_err(classify)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIterator + '_> {
        let cursor = self.db.raw_iterator_cf_opt(&handle(&self.db, cf), read_options(cf, options));
        Box::new(RocksIterator(cursor))
    }

    fn row_cache(&self) -> Option<&RowCache> {
        Some(&self.rows)
    }
}

impl Engine for RocksEngine {
    fn write(&self, batch: WriteBatch, sync: bool) -> StorageResult<()> {
        let handles = Cf::ALL.map(|cf| handle(&self.db, cf));
        let of = |cf: Cf| &handles[cf as usize];
        let mut rocks =
            rocksdb::WriteBatch::with_capacity_bytes(batch.bytes() + 32 * batch.ops().len());
        for op in batch.ops() {
            match op {
                BatchOp::Put { cf, key, value } => rocks.put_cf(of(*cf), key, value),
                BatchOp::Delete { cf, key } => rocks.delete_cf(of(*cf), key),
                BatchOp::DeleteRange { cf, start, end } => {
                    rocks.delete_range_cf(of(*cf), start, end);
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        let writing = self.rows.begin(batch.ops());
        let written = self.db.write_opt(rocks, &options).map_err(classify);
        self.rows.end(writing, batch.ops(), written.is_ok());
        written
    }

    fn sync_wal(&self) -> StorageResult<()> {
        self.db.flush_wal(true).map_err(classify)
    }

    fn snapshot(&self) -> Arc<dyn EngineReader> {
        Arc::new(RocksSnapshot::new(self.db.clone()))
    }

    fn checkpoint(&self, dir: &Path) -> StorageResult<()> {
        // The log's buffer must be in the file before the file is linked.
        self.sync_wal()?;
        rocksdb::checkpoint::Checkpoint::new(&*self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(dir))
            .map_err(classify)
    }

    fn approximate_bytes(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64> {
        let sizes = self
            .db
            .get_approximate_sizes_cf(&handle(&self.db, cf), &[rocksdb::Range::new(start, end)]);
        Ok(sizes.into_iter().sum())
    }

    fn is_nearly_full(&self) -> bool {
        let Some(space) = (self.measure)(&self.dir) else { return false };
        space.is_nearly_full(self.of_all("rocksdb.cur-size-all-mem-tables"))
    }

    fn garbage(&self) -> &Garbage {
        &self.garbage
    }

    fn compact(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<()> {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        self.db.compact_range_cf_opt(&handle(&self.db, cf), Some(start), Some(end), &options);
        Ok(())
    }

    fn metrics(&self) -> Vec<(&'static str, u64)> {
        let of_all = |property| self.of_all(property);
        let (row_cache_bytes, row_cache_hits) = self.rows.metrics();
        vec![
            ("storage_row_cache_bytes", row_cache_bytes),
            ("storage_row_cache_hits", row_cache_hits),
            ("storage_block_cache_bytes", self.cache.get_usage() as u64),
            ("storage_memtable_bytes", of_all("rocksdb.cur-size-all-mem-tables")),
            ("storage_sst_bytes", of_all("rocksdb.live-sst-files-size")),
            (
                "storage_pending_compaction_bytes",
                of_all("rocksdb.estimate-pending-compaction-bytes"),
            ),
            ("storage_garbage_dropped", self.garbage.dropped()),
            ("storage_versions_stepped_over", self.garbage.stepped()),
            ("storage_gc_threshold_ms", self.garbage.threshold().physical_ms()),
            ("storage_keys_estimated", of_all("rocksdb.estimate-num-keys")),
        ]
    }
}

/// Makes the filter of each compaction of a family.
struct FilterFactory {
    garbage: Arc<Garbage>,
    cf: Cf,
}

impl CompactionFilterFactory for FilterFactory {
    type Filter = Filter;

    fn create(&mut self, _: CompactionFilterContext) -> Filter {
        Filter::new(self.garbage.clone(), self.cf)
    }

    fn name(&self) -> &CStr {
        c"shanghai.garbage"
    }
}

impl CompactionFilter for Filter {
    fn filter(&mut self, _level: u32, key: &[u8], value: &[u8]) -> CompactionDecision {
        match self.drops(key, value) {
            true => CompactionDecision::Remove,
            false => CompactionDecision::Keep,
        }
    }

    fn name(&self) -> &CStr {
        c"shanghai.garbage"
    }
}

/// A snapshot that keeps its database open. A compaction may drop what garbage collection lets go
/// even from under it: readers ask for the threshold when their cursors stand.
struct RocksSnapshot {
    /// Released in `drop`, before `db`.
    snapshot: ManuallyDrop<SnapshotWithThreadMode<'static, Db>>,
    db: Arc<Db>,
}

impl RocksSnapshot {
    fn new(db: Arc<Db>) -> Self {
        let snapshot = db.snapshot();
        #[allow(unsafe_code)]
        // SAFETY: the snapshot borrows `*db`, which stays where it is as long as the Arc beside it
        // lives; `drop` releases the snapshot first, and no method hands it out.
        let snapshot = unsafe {
            std::mem::transmute::<SnapshotWithThreadMode<'_, Db>, SnapshotWithThreadMode<'static, Db>>(
                snapshot,
            )
        };
        Self { snapshot: ManuallyDrop::new(snapshot), db }
    }
}

impl Drop for RocksSnapshot {
    fn drop(&mut self) {
        #[allow(unsafe_code)]
        // SAFETY: dropped exactly once, here, while `self.db` is still alive.
        unsafe {
            ManuallyDrop::drop(&mut self.snapshot);
        }
    }
}

impl EngineReader for RocksSnapshot {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let found = self.snapshot.get_pinned_cf(&handle(&self.db, cf), key).map_err(classify)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIterator + '_> {
        let cursor =
            self.snapshot.raw_iterator_cf_opt(&handle(&self.db, cf), read_options(cf, options));
        Box::new(RocksIterator(cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_nearly_full_while_too_little_is_left_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let options = RocksOptions { memtable_bytes_max: 256 << 20, ..RocksOptions::default() };
        let mut engine = RocksEngine::open(dir.path(), &options).unwrap();
        engine.measure = |_| Some(Space { total: 64 << 30, available: 1 << 20 });
        assert!(engine.is_nearly_full());
        engine.measure = |_| Some(Space { total: 64 << 30, available: 272 << 20 });
        assert!(!engine.is_nearly_full());
        // What is in memory only will need room as well.
        let mut batch = WriteBatch::new();
        batch.put(Cf::Data, vec![0u8; 17], vec![0u8; 20 << 20]);
        engine.write(batch, false).unwrap();
        assert!(engine.is_nearly_full());
        engine.measure = |_| None;
        assert!(!engine.is_nearly_full(), "a system that does not say is trusted");
    }
}
