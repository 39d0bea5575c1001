//! Keys, spans, and the top-level layout of the one ordered keyspace.
//!
//! ```text
//! byte 0   what follows
//! 0x01     /system   range directory, settings, catalog, oracle, sequences, advisory locks
//! 0x02     /table    <table id, 8 bytes BE> <index id, 4 bytes BE> <key columns, memcomparable>
//! ```
//!
//! The encodings of key columns live in `catalog`; this file fixes only what ranges are cut by.

use crate::id::TableId;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use std::fmt;

/// First byte of every system key.
pub const SYSTEM_PREFIX: u8 = 0x01;
/// First byte of every table key.
pub const TABLE_PREFIX: u8 = 0x02;
/// What follows the prefix in the keys of advisory locks.
const ADVISORY: &[u8] = b"\x01advisory/";
/// Bytes of a key before its key columns: prefix, table id, index id.
pub const TABLE_KEY_HEADER: usize = 1 + 8 + 4;

/// The value stored under a key: opaque to everything below `catalog`.
pub type Value = Bytes;

/// A user key: memcomparable bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Key(pub Bytes);

impl Key {
    pub const MIN: Key = Key(Bytes::new());

    /// A key of the system span: `/system/<path>`.
    pub fn system(path: &str) -> Self {
        let mut buf = BytesMut::with_capacity(1 + path.len());
        buf.put_u8(SYSTEM_PREFIX);
        buf.put_slice(path.as_bytes());
        Key(buf.freeze())
    }

    /// The key prefix of one index of a table.
    pub fn index_prefix(table: TableId, index: u32) -> Self {
        let mut buf = BytesMut::with_capacity(TABLE_KEY_HEADER);
        buf.put_u8(TABLE_PREFIX);
        buf.put_u64(table.to_u64());
        buf.put_u32(index);
        Key(buf.freeze())
    }

    /// The key prefix of a whole table.
    pub fn table_prefix(table: TableId) -> Self {
        let mut buf = BytesMut::with_capacity(9);
        buf.put_u8(TABLE_PREFIX);
        buf.put_u64(table.to_u64());
        Key(buf.freeze())
    }

    /// The first key of a table group: where a group's first range starts.
    pub fn group_start(group: u32) -> Self {
        Self::table_prefix(TableId::new(group, 0))
    }

    /// The key that an advisory lock is taken on; nothing is ever stored under it:
    ///
    /// ```text
    /// /system/advisory/ <database, 4 bytes BE> <form, 1 byte> <number, 8 bytes BE>
    /// ```
    pub fn advisory(database: u32, form: u8, number: u64) -> Self {
        let mut buf = BytesMut::with_capacity(ADVISORY.len() + 4 + 1 + 8);
        buf.put_slice(ADVISORY);
        buf.put_u32(database);
        buf.put_u8(form);
        buf.put_u64(number);
        Key(buf.freeze())
    }

    /// Whether only the lock on this key counts, which therefore must not be lost unnoticed.
    pub fn is_advisory(&self) -> bool {
        self.0.starts_with(ADVISORY)
    }

    /// The table that this key belongs to; `None` for system keys.
    pub fn table(&self) -> Option<TableId> {
        let raw = self.0.get(1..9).filter(|_| self.0[0] == TABLE_PREFIX)?;
        Some(TableId::from_u64(u64::from_be_bytes(raw.try_into().ok()?)))
    }

    pub fn is_system(&self) -> bool {
        self.0.first() == Some(&SYSTEM_PREFIX)
    }

    /// The smallest key greater than this one.
    pub fn next(&self) -> Key {
        let mut buf = BytesMut::with_capacity(self.0.len() + 1);
        buf.put_slice(&self.0);
        buf.put_u8(0);
        Key(buf.freeze())
    }

    /// The smallest key greater than every key that starts with this one; `None` if there is none.
    pub fn prefix_end(&self) -> Option<Key> {
        let mut bytes = self.0.to_vec();
        while let Some(last) = bytes.pop() {
            if last < 0xff {
                bytes.push(last + 1);
                return Some(Key(bytes.into()));
            }
        }
        None
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Key(bytes.into())
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Key(Bytes::copy_from_slice(bytes))
    }
}

impl From<Bytes> for Key {
    fn from(bytes: Bytes) -> Self {
        Key(bytes)
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.first(), self.table()) {
            (Some(&SYSTEM_PREFIX), _) => write!(f, "/system/{}", self.0[1..].escape_ascii()),
            (_, Some(table)) => write!(f, "/table/{table}/{}", self.0[9..].escape_ascii()),
            _ => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

/// A half-open span of keys, `[start, end)`. An empty `end` means: to the end of the keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Span {
    pub start: Key,
    pub end: Key,
}

impl Span {
    pub fn new(start: Key, end: Key) -> Self {
        Self { start, end }
    }

    pub fn all() -> Self {
        Self::default()
    }

    /// Exactly one key.
    pub fn point(key: Key) -> Self {
        let end = key.next();
        Self { start: key, end }
    }

    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: Key) -> Self {
        let end = prefix.prefix_end().unwrap_or_default();
        Self { start: prefix, end }
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.start <= *key && (self.end.is_empty() || *key < self.end)
    }

    pub fn contains_span(&self, other: &Span) -> bool {
        self.start <= other.start
            && (self.end.is_empty() || (!other.end.is_empty() && other.end <= self.end))
    }

    pub fn overlaps(&self, other: &Span) -> bool {
        (self.end.is_empty() || other.start < self.end)
            && (other.end.is_empty() || self.start < other.end)
    }

    /// The part that both spans cover; `None` if they do not overlap.
    pub fn intersect(&self, other: &Span) -> Option<Span> {
        if !self.overlaps(other) {
            return None;
        }
        let start = self.start.clone().max(other.start.clone());
        let end = match (self.end.is_empty(), other.end.is_empty()) {
            (true, _) => other.end.clone(),
            (_, true) => self.end.clone(),
            _ => self.end.clone().min(other.end.clone()),
        };
        Some(Span { start, end })
    }

    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_end_skips_trailing_ff() {
        assert_eq!(Key::from(vec![1, 0xff]).prefix_end(), Some(Key::from(vec![2])));
        assert_eq!(Key::from(vec![0xff]).prefix_end(), None);
    }

    #[test]
    fn an_empty_end_reaches_the_end_of_the_keyspace() {
        let tail = Span::new(Key::from(vec![5]), Key::MIN);
        assert!(tail.contains(&Key::from(vec![0xff; 4])));
        assert!(tail.overlaps(&Span::all()));
        assert!(Span::all().contains_span(&tail));
        assert!(!tail.contains_span(&Span::all()));
        let head = Span::new(Key::MIN, Key::from(vec![5]));
        assert_eq!(tail.intersect(&head), None);
    }
}
