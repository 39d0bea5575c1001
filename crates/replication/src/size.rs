//! How large a range is, and where its middle lies.
//!
//! ```text
//! encoded keys   first ......|...... last      bisected: how much lies below?
//!                      └─▶ the next key that exists: a row is never cut, nor its versions
//! ```
//!
//! Sizes are RocksDB's estimates over whole blocks, of files alone: what is in memory tables counts
//! when it is flushed.

use crate::error::Result;
use crate::log::group::storage_error;
use crate::replica::Replica;
use core_domain::{Key, Span};
use storage::{Cf, Engine, EngineIterator, IterOptions, keyspace};

/// How often the bisection goes to finer bytes, sixteen at a time.
const LEVELS_MAX: usize = 2;
const FINE: usize = size_of::<u128>();

impl Replica {
    /// About how much this replica takes on its disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn approximate_bytes(&self) -> Result<u64> {
        bytes_of(self.engine(), &self.descriptor().span)
    }

    /// A key with about as much before as after it, both more than nothing. Reads the disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn middle(&self) -> Result<Option<Key>> {
        middle_of(self.engine(), &self.descriptor().span)
    }
}

fn bytes_of(engine: &dyn Engine, span: &Span) -> Result<u64> {
    let (lower, upper) = keyspace::span_bounds(span);
    let upper = upper.unwrap_or_else(keyspace::end_of_family);
    bytes_between(engine, &lower, &upper)
}

fn bytes_between(engine: &dyn Engine, lower: &[u8], upper: &[u8]) -> Result<u64> {
    let mut bytes = 0;
    for cf in Cf::REPLICATED {
        bytes += engine.approximate_bytes(cf, lower, upper).map_err(storage_error)?;
    }
    Ok(bytes)
}

fn middle_of(engine: &dyn Engine, span: &Span) -> Result<Option<Key>> {
    let (lower, upper) = keyspace::span_bounds(span);
    let options =
        IterOptions { lower: Some(lower.clone()), upper, bulk: true, ..Default::default() };
    let mut cursor = engine.iter(Cf::Data, options);
    cursor.seek_to_last();
    let Some(last) = key_at(&*cursor)? else { return Ok(None) };
    cursor.seek_to_first();
    let Some(first) = key_at(&*cursor)? else { return Ok(None) };
    let ends = [keyspace::encode_key(first.as_ref()), keyspace::encode_key(last.as_ref())];
    let half = bytes_of(engine, span)? / 2;
    let below_half = |at: &[u8]| Ok(bytes_between(engine, &lower, at)? < half);
    cursor.seek(&bisect(&ends[0], &ends[1], below_half)?);
    let found = key_at(&*cursor)?.unwrap_or(last);
    if found > first {
        return Ok(Some(found));
    }
    // Most of it are versions of the first key.
    cursor.seek(&keyspace::encode_key(first.next().as_ref()));
    key_at(&*cursor)
}

fn key_at(cursor: &dyn EngineIterator) -> Result<Option<Key>> {
    if !cursor.valid() {
        cursor.status().map_err(storage_error)?;
        return Ok(None);
    }
    let (key, _) = keyspace::decode_key(cursor.key()).map_err(storage_error)?;
    Ok(Some(key))
}

/// Bytes between `low` and `high` about where `is_low` turns from true to false.
fn bisect(low: &[u8], high: &[u8], is_low: impl Fn(&[u8]) -> Result<bool>) -> Result<Vec<u8>> {
    let same = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    let mut prefix = low[..same].to_vec();
    let (mut below, mut above) = (fine(&low[same..]), fine(&high[same..]));
    for _ in 0..LEVELS_MAX {
        while above.saturating_sub(below) > 1 {
            let middle = below + (above - below) / 2;
            let at = [&prefix[..], &middle.to_be_bytes()].concat();
            if is_low(&at)? { below = middle } else { above = middle }
        }
        // Whatever lies between begins with the bytes of `below`.
        prefix.extend_from_slice(&below.to_be_bytes());
        (below, above) = (0, u128::MAX);
    }
    Ok(prefix)
}

fn fine(bytes: &[u8]) -> u128 {
    let mut padded = [0; FINE];
    let taken = bytes.len().min(FINE);
    padded[..taken].copy_from_slice(&bytes[..taken]);
    u128::from_be_bytes(padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_domain::{Timestamp, TxnId};
    use storage::{CrashEngine, WriteBatch, mvcc};

    fn put(engine: &CrashEngine, key: &str, commit: u64, bytes: usize) {
        let mut batch = WriteBatch::new();
        let value = mvcc::encode_version(TxnId(1), Some(&vec![0; bytes][..]));
        batch.put(Cf::Data, keyspace::version_key(key.as_bytes(), Timestamp(commit)), value);
        engine.write(batch, false).unwrap();
    }

    fn middle(engine: &CrashEngine) -> Option<Key> {
        middle_of(engine, &Span::new(Key::from(&b"k"[..]), Key::from(&b"l"[..]))).unwrap()
    }

    #[test]
    fn the_middle_has_half_of_the_bytes_on_each_side() {
        let engine = CrashEngine::new();
        for i in 0..100 {
            put(&engine, &format!("k-with-a-prefix-that-all-of-them-share-{i:03}"), 1, 100);
        }
        // Not counted: other ranges' keys.
        put(&engine, "a", 1, 50_000);
        put(&engine, "z", 1, 50_000);
        let text = String::from_utf8(middle(&engine).unwrap().as_ref().to_vec()).unwrap();
        let at: usize = text[text.len() - 3..].parse().unwrap();
        assert!((45..=55).contains(&at), "{text}");
    }

    #[test]
    fn all_versions_of_a_key_stay_together() {
        let engine = CrashEngine::new();
        assert_eq!(middle(&engine), None);
        for commit in 1..50 {
            put(&engine, "k1", commit, 100);
        }
        assert_eq!(middle(&engine), None);
        put(&engine, "k2", 1, 1);
        assert_eq!(middle(&engine), Some(Key::from(&b"k2"[..])));
        put(&engine, "k0", 1, 1);
        assert!([&b"k1"[..], b"k2"].map(Key::from).contains(&middle(&engine).unwrap()));
    }
}
