//! Versions whose transaction was not decided when they were written.
//!
//! A transaction too large for one log entry writes its versions ahead of its commit, below the
//! commit timestamp that it will get; one small record says later what became of all of them:
//!
//! ```text
//! time
//!  50 │              commit of S: "S → 50"          read at 45:  a → old   b → (none)
//!  40 │ a=old'(S)    b=1(S)                         read at 50:  a → old'  b → 1
//!  10 │ a=old
//!     └──────────────────────────────── keys
//! ```
//!
//! S held both keys from 40 on, so nobody else has a version between 40 and 50: the order of the
//! versions of a key is also the order of their commits. The bytes of such a version:
//!
//! ```text
//! byte 0       format version, 1
//! byte 1       2: deletion, 3: value
//! bytes 2..10  start timestamp of the writing transaction, BE: by it the record is found
//! bytes 10..14 sequence of the part that wrote it, BE
//! byte 14      1: written under a lock that leaves the key columns alone; else 0
//! bytes 15..   the value
//! ```
//!
//! Whoever drops old versions must know: the timestamp of a hidden version says nothing about who
//! sees it, so it is never the one at or below a threshold that hides what is older. Below a version
//! that does, it may go. And the records of `is_record` must stay while there are hidden versions.

use crate::error::{StorageError, StorageResult};
use core_domain::{LockMode, Timestamp, TxnId};

const FORMAT: u8 = 1;
const DELETION: u8 = 2;
const VALUE: u8 = 3;
const HEADER: usize = 15;

/// Who wrote a hidden version, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub start: TxnId,
    /// The part of the transaction; one that is sent again has the same.
    pub sequence: u32,
    /// The lock that its writer held.
    pub mode: LockMode,
}

/// What a hidden version is to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Written by the reader's own transaction.
    Own,
    Committed(Timestamp),
    /// Undecided, or rolled back: passed over.
    Unseen,
}

/// Knows what became of the transactions that wrote hidden versions.
pub trait Fates {
    fn of(&self, mark: &Mark) -> Fate;
    /// When a transaction committed, if it did: asked beside the way of the reader.
    fn committed(&self, start: TxnId) -> Option<Timestamp>;
    /// Whether `Own` may be the answer: own versions are seen above the read's timestamp too.
    fn has_own(&self) -> bool {
        false
    }
}

/// Whether `stored`, a version's bytes, is of a transaction that was not decided when it was
/// written.
pub fn is_hidden(stored: &[u8]) -> bool {
    matches!(stored, [FORMAT, DELETION | VALUE, ..])
}

/// Whether `stored`, of the family `txn`, is a record of what became of hidden versions: these are
/// not status records, and do not age.
pub fn is_record(stored: &[u8]) -> bool {
    matches!(stored, [FORMAT, 3..=6, ..])
}

/// The bytes stored under a hidden version's key.
pub fn encode_hidden(mark: Mark, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + value.map_or(0, <[u8]>::len));
    out.push(FORMAT);
    out.push(if value.is_some() { VALUE } else { DELETION });
    out.extend_from_slice(&mark.start.0.to_be_bytes());
    out.extend_from_slice(&mark.sequence.to_be_bytes());
    out.push(u8::from(mark.mode == LockMode::NoKeyExclusive));
    out.extend_from_slice(value.unwrap_or_default());
    out
}

/// The reverse of [`encode_hidden`]; `None` inside: a deletion.
///
/// # Errors
/// `Corruption` if the bytes are too few.
pub fn decode_hidden(stored: &[u8]) -> StorageResult<(Mark, Option<&[u8]>)> {
    if stored.len() < HEADER {
        return Err(StorageError::Corruption("a hidden version cut short".into()));
    }
    let (header, value) = stored.split_at(HEADER);
    let start = u64::from_be_bytes(header[2..10].try_into().expect("eight bytes"));
    let sequence = u32::from_be_bytes(header[10..14].try_into().expect("four bytes"));
    let mode = match header[14] {
        1 => LockMode::NoKeyExclusive,
        _ => LockMode::Exclusive,
    };
    let mark = Mark { start: TxnId(start), sequence, mode };
    Ok((mark, (header[1] == VALUE).then_some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Cf, Engine, WriteBatch};
    use crate::keyspace::version_key;
    use crate::mvcc::{PointReader, Scan, encode_version};
    use crate::{CrashEngine, RocksEngine, RocksOptions};
    use core_domain::{Key, Span};

    struct Told(Fate);

    impl Fates for Told {
        fn of(&self, _: &Mark) -> Fate {
            self.0
        }

        fn committed(&self, _: TxnId) -> Option<Timestamp> {
            match self.0 {
                Fate::Committed(at) => Some(at),
                Fate::Own | Fate::Unseen => None,
            }
        }

        fn has_own(&self) -> bool {
            self.0 == Fate::Own
        }
    }

    #[test]
    fn hidden_versions_have_their_documented_bytes() {
        let mark = Mark { start: TxnId(0x0102), sequence: 3, mode: LockMode::NoKeyExclusive };
        let stored = encode_hidden(mark, Some(b"xy"));
        assert_eq!(stored, [1, 3, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3, 1, b'x', b'y']);
        assert_eq!(decode_hidden(&stored).unwrap(), (mark, Some(&b"xy"[..])));
        let deletion = encode_hidden(mark, None);
        assert_eq!(deletion[1], 2);
        assert_eq!(decode_hidden(&deletion).unwrap(), (mark, None));
        assert!(is_hidden(&stored) && is_hidden(&deletion));
        assert!(!is_hidden(&encode_version(TxnId(1), None)));
        assert!(decode_hidden(&stored[..10]).is_err());
    }

    /// The picture at the top, by point reads and scans in both directions, with few and with many
    /// versions below and above the hidden one.
    #[test]
    fn a_hidden_version_shows_from_its_commit_on() {
        let dir = tempfile::tempdir().unwrap();
        let rocks = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
        for engine in [&rocks as &dyn Engine, &CrashEngine::new()] {
            for older in [1u64, 30] {
                let name = format!("a{older}");
                let key = Key::from(name.as_bytes());
                let mut batch = WriteBatch::new();
                for n in 0..older {
                    let stored = encode_version(TxnId(1), Some(b"old"));
                    batch.put(Cf::Data, version_key(name.as_bytes(), Timestamp(100 + n)), stored);
                }
                let mark = Mark { start: TxnId(7), sequence: 0, mode: LockMode::Exclusive };
                let stored = encode_hidden(mark, Some(b"new"));
                batch.put(Cf::Data, version_key(name.as_bytes(), Timestamp(400)), stored);
                for n in 0..older {
                    let stored = encode_version(TxnId(9), Some(b"later"));
                    batch.put(Cf::Data, version_key(name.as_bytes(), Timestamp(600 + n)), stored);
                }
                engine.write(batch, false).unwrap();
                let committed = Told(Fate::Committed(Timestamp(500)));
                let unseen = Told(Fate::Unseen);
                let own = Told(Fate::Own);
                for (fates, at, expected) in [
                    (&unseen, 450, Some("old")),
                    (&unseen, 599, Some("old")),
                    (&unseen, 99, None),
                    (&committed, 499, Some("old")),
                    (&committed, 500, Some("new")),
                    (&committed, 599, Some("new")),
                    (&committed, 700, Some("later")),
                    (&own, 450, Some("new")),
                ] {
                    let value = |v: Option<crate::mvcc::Version>| {
                        v.and_then(|v| v.value).map(|v| String::from_utf8(v.to_vec()).unwrap())
                    };
                    for count in [1, 100] {
                        let mut reader = PointReader::new(engine, count).with(Some(fates));
                        let found = value(reader.at(&key, Timestamp(at)).unwrap());
                        assert_eq!(found.as_deref(), expected, "{older} at {at}, of {count}");
                    }
                    for reverse in [false, true] {
                        let span = Span::point(key.clone());
                        let mut scan = Scan::new(engine, &span, Timestamp(at), reverse);
                        scan = scan.with(Some(fates));
                        let row = scan.next_row().unwrap().map(|(_, version)| version);
                        let found = value(row);
                        assert_eq!(found.as_deref(), expected, "{older} at {at}, {reverse}");
                        assert!(scan.next_row().unwrap().is_none());
                    }
                }
                // Without anybody who knows, it is not there.
                let found = PointReader::new(engine, 1).at(&key, Timestamp(599)).unwrap();
                assert_eq!(found.unwrap().value.as_deref(), Some(&b"old"[..]));
            }
        }
    }

    /// Each read might keep its answer for the next one.
    #[test]
    fn the_cache_of_rows_keeps_only_what_is_decided() {
        let dir = tempfile::tempdir().unwrap();
        let engine = RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap();
        assert!(crate::EngineReader::row_cache(&engine).is_some());
        let key = Key::from(&b"k"[..]);
        let write = |at: u64, stored: Option<Vec<u8>>| {
            let mut batch = WriteBatch::new();
            match stored {
                Some(stored) => batch.put(Cf::Data, version_key(b"k", Timestamp(at)), stored),
                None => batch.delete(Cf::Data, version_key(b"k", Timestamp(at))),
            }
            engine.write(batch, false).unwrap();
        };
        let read = |fates: &Told, at: u64| {
            let mut reader = PointReader::new(&engine, 1).with(Some(fates));
            let found = reader.at(&key, Timestamp(at)).unwrap().and_then(|v| v.value);
            found.map(|value| String::from_utf8(value.to_vec()).unwrap())
        };
        let hidden = |start, value: &[u8]| {
            let mark = Mark { start: TxnId(start), sequence: 1, mode: LockMode::Exclusive };
            Some(encode_hidden(mark, Some(value)))
        };
        let (unseen, committed) = (Told(Fate::Unseen), Told(Fate::Committed(Timestamp(500))));
        write(100, Some(encode_version(TxnId(1), Some(b"old"))));
        assert_eq!(read(&unseen, 1000).as_deref(), Some("old"));
        write(400, hidden(7, b"new"));
        for _ in 0..2 {
            assert_eq!(read(&unseen, 1000).as_deref(), Some("old"));
        }
        assert_eq!(read(&committed, 499).as_deref(), Some("old"));
        for _ in 0..2 {
            assert_eq!(read(&committed, 1000).as_deref(), Some("new"));
            assert_eq!(read(&committed, 499).as_deref(), Some("old"));
        }
        write(600, Some(encode_version(TxnId(8), Some(b"later"))));
        assert_eq!(read(&committed, 1000).as_deref(), Some("later"));
        assert_eq!(read(&committed, 599).as_deref(), Some("new"));
        write(700, hidden(9, b"rolled back"));
        for _ in 0..2 {
            assert_eq!(read(&unseen, 1000).as_deref(), Some("later"));
        }
        write(700, None);
        assert_eq!(read(&unseen, 1000).as_deref(), Some("later"));
    }
}
