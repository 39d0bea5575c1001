//! What garbage collection drops, and that no reader at or above the threshold notices.

use core_domain::planted::{PlantedBug, plant};
use core_domain::{Key, Span, Timestamp, TxnId};
use std::collections::BTreeMap;
use storage::gc::{self, Marks, Run};
use storage::mvcc::{Scan, encode_version, read_at};
use storage::{Cf, CrashEngine, Engine, IterOptions, RocksEngine, RocksOptions, WriteBatch};
use storage::{keyspace, keyspace::version_key};

fn both(test: impl Fn(&dyn Engine)) {
    test(&CrashEngine::new());
    let dir = tempfile::tempdir().unwrap();
    test(&RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap());
}

fn put(engine: &dyn Engine, key: &[u8], commit: u64, value: Option<&[u8]>) {
    let mut batch = WriteBatch::new();
    let stored = encode_version(TxnId(commit - 1), value);
    batch.put(Cf::Data, version_key(key, Timestamp(commit)), stored);
    engine.write(batch, false).unwrap();
}

fn compact(engine: &dyn Engine) {
    for cf in [Cf::Data, Cf::Txn] {
        engine.compact(cf, &[], &keyspace::end_of_family()).unwrap();
    }
}

/// Both compactions that a tombstone needs, and the sweep between them.
fn collect_all(engine: &dyn Engine, threshold: u64) {
    let marks = Marks { threshold: Timestamp(threshold), records: Timestamp(threshold) };
    gc::raise(engine, marks).unwrap();
    compact(engine);
    gc::collect(engine).unwrap();
    compact(engine);
}

fn stored(engine: &dyn Engine, cf: Cf) -> Vec<Vec<u8>> {
    let mut cursor = engine.iter(cf, IterOptions::default());
    let mut keys = Vec::new();
    cursor.seek_to_first();
    while cursor.valid() {
        keys.push(cursor.key().to_vec());
        cursor.next();
    }
    keys
}

fn rows(engine: &dyn Engine, at: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut scan = Scan::new(engine, &Span::all(), Timestamp(at), false);
    let mut out = Vec::new();
    while let Some((key, version)) = scan.next_row().unwrap() {
        out.push((key.0.to_vec(), version.value.unwrap().to_vec()));
    }
    out
}

#[test]
fn of_each_key_the_newest_version_at_or_below_the_threshold_stays() {
    both(|engine| {
        for commit in [10, 20, 25, 40] {
            put(engine, b"a", commit, Some(b"x"));
        }
        put(engine, b"b", 10, Some(b"gone"));
        put(engine, b"b", 25, None);
        put(engine, b"c", 35, None);
        collect_all(engine, 30);
        let left: Vec<(Vec<u8>, u64)> = stored(engine, Cf::Data)
            .iter()
            .map(|key| keyspace::decode_version_key(key).unwrap())
            .map(|(key, commit)| (key.0.to_vec(), commit.0))
            .collect();
        let expected = [(b"a", 40), (b"a", 25), (b"c", 35)];
        assert_eq!(left, expected.map(|(key, commit)| (key.to_vec(), commit)));
    });
}

/// Histories of hot and cold keys, collected at rising thresholds while new versions come: every
/// moment at or above the threshold reads as if nothing had ever been dropped.
#[test]
fn no_reader_at_or_above_the_threshold_sees_a_difference() {
    both(|engine| {
        let mut model: BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>> = BTreeMap::new();
        let mut state = 11u64;
        let mut random = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        let mut written = 0;
        for commit in 2..3000u64 {
            let key = match random(3) {
                0 => b"hot".to_vec(),
                1 => vec![b'h'; random(20) as usize],
                _ => random(60).to_be_bytes()[4..].to_vec(),
            };
            let value = (random(5) > 1).then(|| commit.to_string().into_bytes());
            put(engine, &key, commit, value.as_deref());
            model.entry(key).or_default().insert(commit, value);
            written += 1;
            if commit % 500 != 0 {
                continue;
            }
            let threshold = commit - 200;
            collect_all(engine, threshold);
            for at in [threshold, threshold + 1, commit - 100, commit, u64::MAX] {
                let expected: Vec<_> = model
                    .iter()
                    .filter_map(|(key, versions)| {
                        let (_, value) = versions.range(..=at).next_back()?;
                        Some((key.clone(), value.clone()?))
                    })
                    .collect();
                assert_eq!(rows(engine, at), expected, "at {at}, collected below {threshold}");
            }
        }
        let left = stored(engine, Cf::Data).len();
        assert!(left < 800, "{left} of {written} versions are left");
    });
}

/// A deleted row, collected while its old version lies deep: whether it stays deleted.
fn deleted_row_stays_deleted(engine: &dyn Engine) -> bool {
    put(engine, b"a", 10, Some(b"old"));
    compact(engine);
    put(engine, b"a", 20, None);
    let run = Run::new(keyspace::encode_key(b"a"), Timestamp(20));
    engine.garbage().note(run);
    gc::raise(engine, Marks { threshold: Timestamp(30), ..Marks::default() }).unwrap();
    assert!(gc::collect(engine).unwrap() > 0);
    let seen = || read_at(engine, &Key::from(&b"a"[..]), Timestamp(40)).unwrap();
    let at_once = seen().and_then(|version| version.value);
    compact(engine);
    assert_eq!(seen().and_then(|version| version.value), at_once);
    at_once.is_none()
}

#[test]
fn a_deleted_row_stays_deleted_when_its_tombstone_goes() {
    both(|engine| {
        assert!(deleted_row_stays_deleted(engine));
        assert!(stored(engine, Cf::Data).is_empty());
    });
}

/// Rows that are read one by one come from memory: it must not outlive what a sweep takes, nor lose
/// what was written since.
#[test]
fn rows_in_memory_follow_sweeps_and_compactions() {
    both(|engine| {
        let key = |name: &str| Key::from(name.as_bytes());
        let read = |name: &str, at: u64| {
            let found = read_at(engine, &key(name), Timestamp(at)).unwrap();
            found.map(|version| (version.commit.0, version.value.is_some()))
        };
        for name in ["a", "b", "c"] {
            put(engine, name.as_bytes(), 10, Some(b"old"));
            put(engine, name.as_bytes(), 20, None);
        }
        put(engine, b"b", 40, Some(b"again"));
        put(engine, b"c", 25, Some(b"again"));
        let all = |expected: [Option<(u64, bool)>; 3]| {
            for _ in 0..2 {
                assert_eq!([read("a", 50), read("b", 50), read("c", 50)], expected);
            }
        };
        all([Some((20, false)), Some((40, true)), Some((25, true))]);
        collect_all(engine, 30);
        all([None, Some((40, true)), Some((25, true))]);
        assert_eq!(stored(engine, Cf::Data).len(), 2);
        put(engine, b"a", 45, Some(b"new"));
        all([Some((45, true)), Some((40, true)), Some((25, true))]);
    });
}

#[test]
fn a_tombstone_dropped_early_brings_the_row_back() {
    plant(PlantedBug::TombstoneDroppedEarly);
    both(|engine| assert!(!deleted_row_stays_deleted(engine), "the bug is not seen"));
}

/// What a snapshot's installation does: versions come newest first, and a sweep in the middle would
/// take the tombstone from above what is yet to come.
#[test]
fn a_sweep_waits_for_who_rewrites_a_span() {
    let engine = std::sync::Arc::new(CrashEngine::new());
    gc::raise(&*engine, Marks { threshold: Timestamp(30), ..Marks::default() }).unwrap();
    let rewriting = engine.garbage().rewriting();
    put(&*engine, b"a", 20, None);
    engine.garbage().note(Run::new(keyspace::encode_key(b"a"), Timestamp(20)));
    let sweeping = {
        let engine = engine.clone();
        std::thread::spawn(move || gc::collect(&*engine).unwrap())
    };
    std::thread::sleep(std::time::Duration::from_millis(30));
    put(&*engine, b"a", 10, Some(b"old"));
    drop(rewriting);
    assert_eq!(sweeping.join().unwrap(), 2);
    assert_eq!(rows(&*engine, 40), []);
}

#[test]
fn the_marks_are_durable_before_anything_goes_and_never_fall() {
    let marks = Marks { threshold: Timestamp(0x0102), records: Timestamp(3) };
    assert_eq!(marks.encode(), [1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 3]);
    assert!(Marks::decode(&[2; 17]).is_err());
    let engine = CrashEngine::new();
    gc::raise(&engine, marks).unwrap();
    gc::raise(&engine, Marks { threshold: Timestamp(7), records: Timestamp(9) }).unwrap();
    let expected = Marks { threshold: Timestamp(0x0102), records: Timestamp(9) };
    for seed in 0..8 {
        assert_eq!(engine.crash(seed).garbage().marks(), expected);
    }
    let dir = tempfile::tempdir().unwrap();
    {
        let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
        gc::raise(&engine, marks).unwrap();
    }
    let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
    assert_eq!(engine.garbage().marks(), marks);
}

/// A transaction that commits late may have left intents that nobody has looked for yet.
#[test]
fn status_records_expire_by_beginning_and_commit() {
    both(|engine| {
        let mut batch = WriteBatch::new();
        for (txn, commit) in [(0, 0), (5, 29), (6, 30), (7, 0), (29, 0), (30, 0), (31, 0)] {
            let record = [&[1, 1][..], &u64::to_be_bytes(commit)].concat();
            batch.put(Cf::Txn, keyspace::txn_key(b"primary", TxnId(txn)), record);
        }
        engine.write(batch, false).unwrap();
        collect_all(engine, 30);
        let left: Vec<u64> = stored(engine, Cf::Txn)
            .iter()
            .map(|key| keyspace::decode_txn_key(key).unwrap().1.0)
            .collect();
        assert_eq!(left, [0, 6, 30, 31], "the oracle's own record, and what is young enough");
    });
}

/// Finds the first row, as `ORDER BY id LIMIT 1` does; the versions it stepped over.
fn poll(engine: &dyn Engine, at: u64, leaps: Vec<Run>) -> (Option<Key>, u64, Option<Run>) {
    let mut scan = Scan::with_leaps(engine, &Span::all(), Timestamp(at), false, leaps);
    let row = scan.next_row().unwrap().map(|(key, _)| key);
    (row, scan.steps(), scan.longest_run())
}

fn queue(engine: &dyn Engine, rows: u64) {
    let row = |n: u64| n.to_be_bytes();
    let step = 1000;
    for from in (0..rows).step_by(step as usize) {
        let mut batch = WriteBatch::new();
        for n in from..from + step {
            let commit = 10 + 2 * n;
            let stored = encode_version(TxnId(1), Some(b"job"));
            batch.put(Cf::Data, version_key(&row(n), Timestamp(commit)), stored);
            let stored = encode_version(TxnId(1), None);
            batch.put(Cf::Data, version_key(&row(n), Timestamp(commit + 1)), stored);
        }
        engine.write(batch, false).unwrap();
    }
    put(engine, &row(rows), 11 + 2 * rows, Some(b"next"));
}

/// Work, not time: 50,000 rows, and a million with `SHANGHAI_SOAK=1`.
#[test]
fn a_queue_is_polled_in_few_steps_after_many_rows_have_passed_through() {
    let soak = std::env::var("SHANGHAI_SOAK").is_ok_and(|value| value == "1");
    let count = if soak { 1_000_000 } else { 50_000 };
    both(|engine| {
        queue(engine, count);
        let now = 20 + 2 * count;
        let next = Some(Key::from(&count.to_be_bytes()[..]));
        let (found, steps, run) = poll(engine, now, Vec::new());
        assert_eq!(found, next);
        assert!(steps >= 2 * count, "{steps} steps without help");
        // While the versions must be kept for older readers, the run is leapt over.
        let run = run.unwrap();
        assert_eq!(run.tombstones, count);
        let (found, steps, again) = poll(engine, now, vec![run.clone()]);
        assert_eq!((found, again), (next.clone(), Some(run.clone())));
        assert!(steps < 10, "{steps} steps with a leap");
        // Once nobody needs them, they go.
        engine.garbage().note(run);
        let marks = Marks { threshold: Timestamp(now - 1), ..Marks::default() };
        gc::raise(engine, marks).unwrap();
        assert_eq!(gc::collect(engine).unwrap(), 2 * count);
        let (found, steps, run) = poll(engine, now, Vec::new());
        assert_eq!((found, run), (next, None));
        assert!(steps < 10, "{steps} steps after collection");
    });
}

#[test]
fn a_leap_is_the_same_in_both_directions() {
    both(|engine| {
        for n in 0..100u64 {
            let key = n.to_be_bytes();
            put(engine, &key, 10, Some(b"x"));
            if (20..80).contains(&n) {
                put(engine, &key, 20 + n, None);
            }
        }
        for reverse in [false, true] {
            let read = |leaps| {
                let all = Span::all();
                let mut scan = Scan::with_leaps(engine, &all, Timestamp(200), reverse, leaps);
                let mut keys = Vec::new();
                while let Some((key, _)) = scan.next_row().unwrap() {
                    keys.push(key);
                }
                (keys, scan.steps(), scan.longest_run().unwrap())
            };
            let (expected, slow, run) = read(Vec::new());
            assert_eq!((expected.len(), run.tombstones), (40, 60));
            let (keys, fast, _) = read(vec![run]);
            assert_eq!(keys, expected);
            assert!(fast + 100 < slow, "{fast} steps of {slow}");
        }
    });
}
