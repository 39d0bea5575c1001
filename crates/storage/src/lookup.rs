//! Exact reads of many keys.
//!
//! One key is read by itself: the filters answer most misses without a block. Many ascending keys
//! share one cursor, which mostly stands where the next answer is already:
//!
//! ```text
//! stored  b  d  h         asked  a → stands on b: no      b → yes      c → stands on d: no
//!                                e, f, g → stands on h: no, without moving
//! ```

use crate::engine::{Cf, EngineIterator, EngineReader, IterOptions};
use crate::error::StorageResult;
use bytes::Bytes;

/// From this many keys on a cursor is cheaper.
const MANY: usize = 16;
/// Stored keys stepped over before a seek is cheaper.
const STEPS_MAX: usize = 3;

/// A cursor for targets that mostly ascend.
pub(crate) struct Ascending<'a> {
    cursor: Box<dyn EngineIterator + 'a>,
    /// The cursor stands on the first key that is not below it; nothing was sought yet if `None`.
    last: Option<Vec<u8>>,
}

impl<'a> Ascending<'a> {
    pub fn new(reader: &'a dyn EngineReader, cf: Cf) -> Self {
        Self { cursor: reader.iter(cf, IterOptions::default()), last: None }
    }

    /// The first stored key that is not below `target`, and its value.
    pub fn seek(&mut self, target: &[u8]) -> StorageResult<Option<(&[u8], &[u8])>> {
        let ascends = self.last.as_deref().is_some_and(|last| last <= target);
        let mut steps = 0;
        while ascends && steps < STEPS_MAX && self.cursor.valid() && self.cursor.key() < target {
            self.cursor.next();
            steps += 1;
        }
        // Past the end there is nothing for any later target either.
        if !ascends || (self.cursor.valid() && self.cursor.key() < target) {
            self.cursor.seek(target);
        }
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(target);
        if !self.cursor.valid() {
            self.cursor.status()?;
            return Ok(None);
        }
        Ok(Some((self.cursor.key(), self.cursor.value())))
    }
}

/// Exact reads in one family, all by one cursor if they are many.
pub struct Lookup<'a> {
    reader: &'a dyn EngineReader,
    cf: Cf,
    cursor: Option<Ascending<'a>>,
}

impl<'a> Lookup<'a> {
    /// `count`: how many keys will be asked for, best in ascending order.
    pub fn new(reader: &'a dyn EngineReader, cf: Cf, count: usize) -> Self {
        let cursor = is_many(count).then(|| Ascending::new(reader, cf));
        Self { reader, cf, cursor }
    }

    /// # Errors
    /// Of the disk.
    pub fn get(&mut self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let Some(cursor) = &mut self.cursor else { return self.reader.get(self.cf, key) };
        let found = cursor.seek(key)?.filter(|(found, _)| *found == key);
        Ok(found.map(|(_, value)| Bytes::copy_from_slice(value)))
    }
}

pub(crate) fn is_many(count: usize) -> bool {
    count >= MANY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, WriteBatch};
    use crate::{CrashEngine, RocksEngine, RocksOptions};

    #[test]
    fn a_cursor_answers_as_single_reads_do_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        let rocks = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
        for engine in [&rocks as &dyn Engine, &CrashEngine::new()] {
            let mut batch = WriteBatch::new();
            for n in (0..100u8).filter(|n| n % 7 == 0 || n % 11 == 0) {
                batch.put(Cf::Lock, vec![n], vec![n, n]);
            }
            engine.write(batch, false).unwrap();
            let ascending: Vec<u8> = (0..120).collect();
            let jumping: Vec<u8> = (0..120u16).map(|n| (n * 37 % 120) as u8).collect();
            for order in [ascending, jumping] {
                let mut many = Lookup::new(engine, Cf::Lock, order.len());
                let mut single = Lookup::new(engine, Cf::Lock, 1);
                for n in order {
                    assert_eq!(many.get(&[n]).unwrap(), single.get(&[n]).unwrap(), "{n}");
                }
            }
        }
    }
}
