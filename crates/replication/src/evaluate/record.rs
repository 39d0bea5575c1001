//! What a transaction leaves on disk beside its versions: status records, rollback markers, intents.
//!
//! ```text
//! txn family, key txn_key(primary key or rolled-back key, start)
//!   byte 0      format version, 1
//!   byte 1      1 committed, 2 rolled back
//!   bytes 2..10 commit timestamp, BE; zero if rolled back
//!
//! lock family, key encode_key(user key)
//!   byte 0      format version: 1, or 2 if the write is the primary of an asynchronous commit
//!   bytes 1..   postcard of Intents; in version 2 followed by that of the transaction's other keys
//! ```
//!
//! A rolled-back record beside a key that is not the primary is a marker: a prewrite of that
//! transaction on that key which arrives late is refused (protocol.md, rule 4).
//!
//! Status records expire with garbage collection: those of transactions that began and committed
//! before the mark `records`, which moves only once nothing of transactions older than it is left
//! anywhere (garbage.rs). What such a transaction would still ask is refused. A transaction that began
//! before, but commits after the search for leftovers, keeps its record until the next search.

use core_domain::{Key, KvError, LockMode, Timestamp, TxnId, Value};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use storage::{Cf, EngineReader, IterOptions, Lookup, keyspace};

use crate::command::EngineOp;

const FORMAT: u8 = 1;
/// Intents whose write names the other keys of its transaction.
const FORMAT_ASYNC: u8 = 2;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Committed(Timestamp),
    RolledBack,
}

impl Outcome {
    pub fn encode(self) -> Vec<u8> {
        let (kind, commit) = match self {
            Outcome::Committed(commit) => (1, commit),
            Outcome::RolledBack => (2, Timestamp::ZERO),
        };
        let mut out = vec![FORMAT, kind];
        out.extend_from_slice(&commit.0.to_be_bytes());
        out
    }

    pub fn decode(stored: &[u8]) -> Result<Self, KvError> {
        let timestamp = |raw: &[u8]| raw.try_into().ok().map(u64::from_be_bytes).map(Timestamp);
        let outcome = match stored {
            [FORMAT, 1, raw @ ..] => timestamp(raw).map(Outcome::Committed),
            [FORMAT, 2, ..] => Some(Outcome::RolledBack),
            _ => None,
        };
        outcome.ok_or_else(|| KvError::Corruption(format!("unknown status record {stored:?}")))
    }
}

/// The effect that records how `txn` ended, beside `key`.
pub(super) fn outcome_op(key: &Key, txn: TxnId, outcome: Outcome) -> EngineOp {
    EngineOp::put(Cf::Txn, keyspace::txn_key(key.as_ref(), txn), outcome.encode())
}

/// Reads what is recorded about transactions beside keys.
pub(super) struct Outcomes<'a>(Lookup<'a>);

impl<'a> Outcomes<'a> {
    /// `count`: how many keys will be asked for, best in ascending order.
    pub fn new(reader: &'a dyn EngineReader, count: usize) -> Self {
        Self(Lookup::new(reader, Cf::Txn, count))
    }

    /// What is recorded about `txn` beside `key`.
    pub fn beside(&mut self, key: &Key, txn: TxnId) -> Result<Option<Outcome>, KvError> {
        let stored = self.0.get(&keyspace::txn_key(key.as_ref(), txn))?;
        stored.map(|stored| Outcome::decode(&stored)).transpose()
    }
}

/// What is recorded about `txn` beside `key`.
pub(super) fn outcome_beside(
    reader: &dyn EngineReader,
    key: &Key,
    txn: TxnId,
) -> Result<Option<Outcome>, KvError> {
    Outcomes::new(reader, 1).beside(key, txn)
}

/// Everything prewritten on one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intents {
    pub write: Option<WriteIntent>,
    /// Locks that take part in a two-phase commit without writing. Several may share.
    pub locks: Vec<LockIntent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteIntent {
    pub txn: TxnId,
    pub primary: Key,
    /// The statement that wrote it, for rolling back by sequence.
    pub sequence: u32,
    pub min_commit: Timestamp,
    /// `None` deletes.
    pub value: Option<Value>,
    /// On the primary of an asynchronous commit: its other keys.
    #[serde(skip)]
    pub secondaries: Option<Arc<[Key]>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockIntent {
    pub txn: TxnId,
    pub primary: Key,
    pub mode: LockMode,
    pub min_commit: Timestamp,
}

impl Intents {
    pub fn encode(&self) -> Vec<u8> {
        let secondaries = self.write.as_ref().and_then(|write| write.secondaries.as_deref());
        match secondaries {
            None => postcard::to_extend(self, vec![FORMAT]),
            Some(keys) => postcard::to_extend(&(self, keys), vec![FORMAT_ASYNC]),
        }
        .expect("plain data encodes into memory")
    }

    pub fn decode(stored: &[u8]) -> Result<Self, KvError> {
        let damaged = || KvError::Corruption("unknown intent format".into());
        match stored.split_first().ok_or_else(damaged)? {
            (&FORMAT, rest) => postcard::from_bytes(rest).map_err(|_| damaged()),
            (&FORMAT_ASYNC, rest) => {
                let (mut intents, keys): (Self, Vec<Key>) =
                    postcard::from_bytes(rest).map_err(|_| damaged())?;
                intents.write.as_mut().ok_or_else(damaged)?.secondaries = Some(keys.into());
                Ok(intents)
            }
            _ => Err(damaged()),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.write.is_none() && self.locks.is_empty()
    }

    /// Whether any is of `txn`.
    pub(super) fn are_of(&self, txn: TxnId) -> bool {
        self.write.as_ref().is_some_and(|intent| intent.txn == txn)
            || self.locks.iter().any(|intent| intent.txn == txn)
    }

    /// Takes out what `txn` left here; whether there was anything.
    pub fn remove(&mut self, txn: TxnId) -> bool {
        let before = (self.write.is_some(), self.locks.len());
        self.write.take_if(|intent| intent.txn == txn);
        self.locks.retain(|intent| intent.txn != txn);
        before != (self.write.is_some(), self.locks.len())
    }

    /// The effect that stores this under `key`.
    pub(super) fn op(&self, key: &Key) -> EngineOp {
        let key = keyspace::encode_key(key.as_ref());
        match self.is_empty() {
            true => EngineOp::delete(Cf::Lock, key),
            false => EngineOp::put(Cf::Lock, key, self.encode()),
        }
    }
}

/// Reads what is prewritten on keys.
pub(super) struct IntentReader<'a>(Lookup<'a>);

impl<'a> IntentReader<'a> {
    /// `count`: how many keys will be asked for, best in ascending order.
    pub fn new(reader: &'a dyn EngineReader, count: usize) -> Self {
        Self(Lookup::new(reader, Cf::Lock, count))
    }

    pub fn on(&mut self, key: &Key) -> Result<Intents, KvError> {
        let stored = self.0.get(&keyspace::encode_key(key.as_ref()))?;
        stored.map_or_else(|| Ok(Intents::default()), |stored| Intents::decode(&stored))
    }
}

/// What is prewritten on `key`.
pub(super) fn intents_on(reader: &dyn EngineReader, key: &Key) -> Result<Intents, KvError> {
    IntentReader::new(reader, 1).on(key)
}

/// Write intents in `span` that a read at `at` cannot pass, at most `count_max`.
pub(super) fn intents_in(
    reader: &dyn EngineReader,
    span: &core_domain::Span,
    at: Timestamp,
    count_max: usize,
) -> Result<Vec<(Key, WriteIntent)>, KvError> {
    foreign_intents(reader, span, count_max, |write| write.min_commit <= at)
}

/// Write intents in `span` that are in somebody's way, at most `count_max`.
pub(super) fn foreign_intents(
    reader: &dyn EngineReader,
    span: &core_domain::Span,
    count_max: usize,
    in_the_way: impl Fn(&WriteIntent) -> bool,
) -> Result<Vec<(Key, WriteIntent)>, KvError> {
    let (lower, upper) = keyspace::span_bounds(span);
    let options = IterOptions { lower: Some(lower), upper, ..IterOptions::default() };
    let mut cursor = reader.iter(Cf::Lock, options);
    let mut found = Vec::new();
    cursor.seek_to_first();
    while cursor.valid() && found.len() < count_max {
        if let Some(write) = Intents::decode(cursor.value())?.write
            && in_the_way(&write)
        {
            let (key, _) = keyspace::decode_key(cursor.key())?;
            found.push((key, write));
        }
        cursor.next();
    }
    cursor.status()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_records_have_their_documented_bytes() {
        let committed = Outcome::Committed(Timestamp(0x0102));
        assert_eq!(committed.encode(), [1, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(Outcome::RolledBack.encode(), [1, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        for outcome in [committed, Outcome::RolledBack] {
            assert_eq!(Outcome::decode(&outcome.encode()).unwrap(), outcome);
        }
        assert!(Outcome::decode(&[2, 1]).is_err());
    }

    #[test]
    fn intents_have_their_documented_bytes() {
        let intents = Intents {
            write: Some(WriteIntent {
                txn: TxnId(5),
                primary: Key::from(&b"p"[..]),
                sequence: 2,
                min_commit: Timestamp(9),
                value: Some(Value::from_static(b"v")),
                secondaries: None,
            }),
            locks: vec![LockIntent {
                txn: TxnId(6),
                primary: Key::from(&b"q"[..]),
                mode: LockMode::KeyShare,
                min_commit: Timestamp(9),
            }],
        };
        let bytes = intents.encode();
        assert_eq!(
            bytes,
            [1, 1, 5, 1, b'p', 2, 9, 1, 1, b'v', 1, 6, 1, b'q', 0, 9],
            "version, write present, …"
        );
        assert_eq!(Intents::decode(&bytes).unwrap(), intents);
        assert!(Intents::decode(&[9]).is_err());
        let mut primary = intents.clone();
        let others = [Key::from(&b"s"[..]), Key::from(&b"tt"[..])];
        primary.write.as_mut().unwrap().secondaries = Some(others.into());
        let named = primary.encode();
        assert_eq!(named[0], 2);
        assert_eq!(named[1..bytes.len()], bytes[1..]);
        assert_eq!(named[bytes.len()..], [2, 1, b's', 2, b't', b't']);
        assert_eq!(Intents::decode(&named).unwrap(), primary);
    }
}
