//! What both engines promise, and what only a crash shows.

use storage::{
    Cf, CrashEngine, Engine, EngineReader, IterOptions, RocksEngine, RocksOptions, WriteBatch,
};

fn put(engine: &dyn Engine, key: &str, sync: bool) {
    let mut batch = WriteBatch::new();
    batch.put(Cf::Local, key.as_bytes().to_vec(), b"v".to_vec());
    engine.write(batch, sync).unwrap();
}

fn keys(engine: &dyn EngineReader) -> Vec<String> {
    let mut cursor = engine.iter(Cf::Local, IterOptions::default());
    let mut out = Vec::new();
    cursor.seek_to_first();
    while cursor.valid() {
        out.push(String::from_utf8(cursor.key().to_vec()).unwrap());
        cursor.next();
    }
    out
}

#[test]
fn a_crash_keeps_a_prefix_that_holds_everything_synced() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let engine = CrashEngine::new();
        put(&engine, "a", false);
        put(&engine, "b", true);
        put(&engine, "c", false);
        put(&engine, "d", false);
        let survivor = engine.crash(seed);
        outcomes.insert(keys(&survivor).join(""));
        let mut batch = WriteBatch::new();
        batch.delete(Cf::Local, b"a".to_vec());
        assert!(engine.write(batch, true).is_err(), "a crashed engine takes no writes");
        assert_eq!(survivor.unsynced_batches(), 0);
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), ["ab", "abc", "abcd"]);
}

#[test]
fn rocksdb_finds_synced_batches_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    {
        let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
        put(&engine, "a", false);
        put(&engine, "b", false);
        engine.sync_wal().unwrap();
    }
    let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
    assert_eq!(keys(&engine), ["a", "b"]);
}

/// The copy of the directory is what another process would find after `kill -9`.
#[test]
fn a_synced_write_is_in_the_files_before_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
    put(&engine, "a", false);
    put(&engine, "b", true);
    put(&engine, "c", false);
    engine.sync_wal().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "LOCK" {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let reopened = RocksEngine::open(copy.path(), &RocksOptions::default()).unwrap();
    assert_eq!(keys(&reopened), ["a", "b", "c"]);
}

#[test]
fn ranges_are_deleted_half_open_and_bounds_hide_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let rocks = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
    let crash = CrashEngine::new();
    for engine in [&rocks as &dyn Engine, &crash] {
        for key in ["a", "b", "c", "d", "e"] {
            put(engine, key, false);
        }
        let mut batch = WriteBatch::new();
        batch.delete_range(Cf::Local, b"b".to_vec(), b"d".to_vec());
        batch.put(Cf::Local, b"c".to_vec(), b"again".to_vec());
        engine.write(batch, false).unwrap();
        assert_eq!(keys(engine), ["a", "c", "d", "e"]);
        let options = IterOptions {
            lower: Some(b"b".to_vec()),
            upper: Some(b"e".to_vec()),
            ..Default::default()
        };
        let mut cursor = engine.iter(Cf::Local, options);
        cursor.seek(b"a");
        assert_eq!(cursor.key(), b"c");
        cursor.seek_for_prev(b"z");
        assert_eq!(cursor.key(), b"d");
        cursor.next();
        assert!(!cursor.valid());
    }
}
