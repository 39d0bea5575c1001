//! What a leader knows about transactions that write ahead of their commit (`bulk.rs`).
//!
//! ```text
//!            first part             Prepare (several ranges)         decision
//! (unknown) ───────────▶ Open ──────────────────────────▶ Prepared ──────────▶ Committed(C)
//!                         │ one range: the commit is in flight       └───────▶ RolledBack
//!                         └─▶ Committing(C) ─▶ Committed(C)
//! ```
//!
//! One record per transaction and range says so on disk, in the family `txn` beside the first key
//! of the range, so that a new leader finds all of them together and a split can copy them:
//!
//! ```text
//! key     txn_key(start of the range ++ 00, start timestamp)
//! byte 0  format version, 1
//! byte 1  3 open, 4 prepared, 5 committed, 6 rolled back
//! prepared:  bytes 2..10 lowest commit timestamp, BE; then the primary key
//! committed: bytes 2..10 commit timestamp, BE
//! ```
//!
//! Records stay for ever at this stage, as status records do: versions refer to them. One is some
//! forty bytes, on disk and in the leader's memory, for a transaction of megabytes.
//!
//! Why readers need not wait for an open transaction: a read at R raises `max_ts` under the same
//! lock under which it takes its view, and whatever is open then commits above `max_ts`.

use super::flight::Flight;
use super::gate::GateState;
use super::{ForeignIntent, Outcome, Place, RangeError};
use crate::command::EngineOp;
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Key, KvError, LockMode, Span, Timestamp, TxnId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use storage::hidden::{Fate, Fates, Mark, is_record};
use storage::{Cf, EngineReader, IterOptions, WriteBatch, keyspace};

const FORMAT: u8 = 1;

#[derive(Clone)]
pub(super) enum Hidden {
    Open,
    /// All of it lies in this range; the entry that decides is in flight.
    Committing(Arc<Flight>),
    Prepared {
        primary: Key,
        min_commit: Timestamp,
    },
    Committed(Timestamp),
    RolledBack,
}

pub(super) type HiddenMap = HashMap<TxnId, Hidden>;

impl Hidden {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        match self {
            // Until its entry is applied it may yet fail.
            Hidden::Open | Hidden::Committing(_) => out.push(3),
            Hidden::Prepared { primary, min_commit } => {
                out.push(4);
                out.extend_from_slice(&min_commit.0.to_be_bytes());
                out.extend_from_slice(primary.as_ref());
            }
            Hidden::Committed(at) => {
                out.push(5);
                out.extend_from_slice(&at.0.to_be_bytes());
            }
            Hidden::RolledBack => out.push(6),
        }
        out
    }

    fn decode(stored: &[u8]) -> Option<Self> {
        let timestamp = |raw: &[u8]| raw.try_into().ok().map(u64::from_be_bytes).map(Timestamp);
        match stored {
            [FORMAT, 3] => Some(Hidden::Open),
            [FORMAT, 4, rest @ ..] if rest.len() >= 8 => {
                let (at, primary) = rest.split_at(8);
                Some(Hidden::Prepared { min_commit: timestamp(at)?, primary: Key::from(primary) })
            }
            [FORMAT, 5, at @ ..] => timestamp(at).map(Hidden::Committed),
            [FORMAT, 6] => Some(Hidden::RolledBack),
            _ => None,
        }
    }

    /// What a record says, if that is an outcome.
    pub fn outcome_in(stored: &[u8]) -> Option<Outcome> {
        match Self::decode(stored)? {
            Hidden::Committed(at) => Some(Outcome::Committed(at)),
            Hidden::RolledBack => Some(Outcome::RolledBack),
            Hidden::Open | Hidden::Committing(_) | Hidden::Prepared { .. } => None,
        }
    }

    pub fn is_undecided(&self) -> bool {
        match self {
            Hidden::Open | Hidden::Committing(_) | Hidden::Prepared { .. } => true,
            Hidden::Committed(_) | Hidden::RolledBack => false,
        }
    }

    /// The effect that records this about `txn` in the range that begins at `start`.
    pub fn op(&self, start: &Key, txn: TxnId) -> EngineOp {
        let key = keyspace::txn_key(start.next().as_ref(), txn);
        EngineOp::put(Cf::Txn, key, self.encode())
    }
}

fn records(start: &Key) -> IterOptions {
    let span = Span::point(start.next());
    let (lower, upper) = keyspace::span_bounds(&span);
    IterOptions { lower: Some(lower), upper, ..IterOptions::default() }
}

/// All records of the range that begins at `start`.
pub(super) fn load(reader: &dyn EngineReader, start: &Key) -> Result<HiddenMap, KvError> {
    let mut map = HiddenMap::new();
    let mut cursor = reader.iter(Cf::Txn, records(start));
    cursor.seek_to_first();
    while cursor.valid() {
        if is_record(cursor.value()) {
            let (_, txn) = keyspace::decode_txn_key(cursor.key())?;
            let damaged = || KvError::Corruption(format!("unknown record of {txn}"));
            map.insert(txn, Hidden::decode(cursor.value()).ok_or_else(damaged)?);
        }
        cursor.next();
    }
    cursor.status().map_err(KvError::from)?;
    Ok(map)
}

/// A split: the right half keeps versions of the same transactions. Part of apply, so it looks at
/// nothing but the applied state.
pub(crate) fn copy_records(
    reader: &dyn EngineReader,
    batch: &mut WriteBatch,
    left: &Key,
    right: &Key,
) -> Result<(), storage::StorageError> {
    if is_planted(PlantedBug::SplitForgetsRecords) {
        return Ok(());
    }
    let mut cursor = reader.iter(Cf::Txn, records(left));
    cursor.seek_to_first();
    while cursor.valid() {
        if is_record(cursor.value()) {
            let (_, txn) = keyspace::decode_txn_key(cursor.key())?;
            let key = keyspace::txn_key(right.next().as_ref(), txn);
            batch.put(Cf::Txn, key, cursor.value().to_vec());
        }
        cursor.next();
    }
    cursor.status()
}

/// What a reader may meet, as of the moment when it was let in.
#[derive(Clone, Default)]
pub(super) struct View {
    /// `None`: nothing is hidden in this range, which is the usual case.
    map: Option<Arc<HiddenMap>>,
    own: Option<TxnId>,
}

/// Answers the storage, and remembers what is in the reader's way.
pub(super) struct Reading<'a> {
    map: &'a HiddenMap,
    own: Option<TxnId>,
    at: Timestamp,
    /// They will not commit at or below `at`, whatever was prepared.
    passed: &'a [TxnId],
    met: RefCell<Option<Met>>,
}

/// An undecided version that a read at its timestamp, or a lock, cannot pass.
#[derive(Clone)]
pub(super) struct Met {
    pub mark: Mark,
    pub stage: Stage,
}

#[derive(Clone)]
pub(super) enum Stage {
    /// Only locks and writes meet it.
    Open,
    Committing(Arc<Flight>),
    Prepared {
        primary: Key,
        min_commit: Timestamp,
    },
}

impl GateState {
    pub fn view(&self, own: Option<TxnId>) -> View {
        View { map: self.hidden.clone(), own }
    }

    pub fn set_hidden(&mut self, txn: TxnId, state: Hidden) {
        Arc::make_mut(self.hidden.get_or_insert_default()).insert(txn, state);
    }

    pub fn hidden_of(&self, txn: TxnId) -> Option<&Hidden> {
        self.hidden.as_ref()?.get(&txn)
    }
}

impl View {
    /// The same, for a reader that is `own`.
    pub fn of(mut self, own: TxnId) -> Self {
        self.own = Some(own);
        self
    }

    /// For a read at `at`; `Timestamp::MAX`: for a lock or a write, which nothing undecided passes.
    pub fn reading(&self, at: Timestamp) -> Option<Reading<'_>> {
        let map = self.map.as_deref()?;
        Some(Reading { map, own: self.own, at, passed: &[], met: RefCell::default() })
    }
}

impl<'a> Reading<'a> {
    /// Looks through what `passed` have prepared.
    pub fn passing(mut self, passed: &'a [TxnId]) -> Self {
        self.passed = passed;
        self
    }
}

impl Reading<'_> {
    pub fn take_met(&self) -> Option<Met> {
        self.met.borrow_mut().take()
    }

    /// What keeps a read at its timestamp from its answer.
    /// `key`: one of this range, by which whoever clears the way comes back here.
    pub fn check(&self, key: &Key) -> Result<Option<Arc<Flight>>, RangeError> {
        let Some(Met { mark, stage }) = self.take_met() else { return Ok(None) };
        match stage {
            Stage::Committing(flight) => Ok(Some(flight)),
            Stage::Prepared { primary, min_commit } => {
                let (key, txn) = (key.clone(), mark.start);
                Err(RangeError::Intents(vec![ForeignIntent { key, txn, primary, min_commit }]))
            }
            Stage::Open => Ok(None),
        }
    }
}

impl Fates for Reading<'_> {
    fn of(&self, mark: &Mark) -> Fate {
        if self.own == Some(mark.start) {
            return Fate::Own;
        }
        let for_write = self.at == Timestamp::MAX;
        let stage = match self.map.get(&mark.start) {
            Some(Hidden::Committed(at)) => return Fate::Committed(*at),
            Some(Hidden::RolledBack) => return Fate::Unseen,
            Some(Hidden::Open) if is_planted(PlantedBug::OpenVersionsAreSeen) => {
                return Fate::Committed(self.at);
            }
            Some(Hidden::Committing(flight)) if flight.min_commit <= self.at => {
                Stage::Committing(flight.clone())
            }
            Some(Hidden::Prepared { primary, min_commit })
                if *min_commit <= self.at && !self.passed.contains(&mark.start) =>
            {
                Stage::Prepared { primary: primary.clone(), min_commit: *min_commit }
            }
            // One that is not known began after this reader was let in.
            Some(Hidden::Open) | None if for_write => Stage::Open,
            Some(Hidden::Open | Hidden::Committing(_) | Hidden::Prepared { .. }) | None => {
                return Fate::Unseen;
            }
        };
        self.met.borrow_mut().get_or_insert(Met { mark: *mark, stage });
        Fate::Unseen
    }

    fn committed(&self, start: TxnId) -> Option<Timestamp> {
        match self.map.get(&start)? {
            Hidden::Committed(at) => Some(*at),
            Hidden::Open | Hidden::Committing(_) | Hidden::Prepared { .. } | Hidden::RolledBack => {
                None
            }
        }
    }

    fn has_own(&self) -> bool {
        self.own.is_some()
    }
}

/// As the storage wants it.
pub(super) fn fates<'r>(reading: &'r Option<Reading<'_>>) -> Option<&'r dyn Fates> {
    reading.as_ref().map(|reading| reading as &dyn Fates)
}

impl Place<'_> {
    /// What `txn` meets when it asks for `mode` on a key, if it matters: nothing keeps a foreign key's
    /// KeyShare from a row of others whose key columns stay.
    pub(super) fn in_the_way(met: Option<Met>, txn: TxnId, mode: LockMode) -> Option<Met> {
        met.filter(|Met { mark, .. }| mark.start == txn || mark.mode.conflicts_with(mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_their_documented_bytes() {
        let primary = Key::from(&b"p"[..]);
        let states = [
            (Hidden::Open, vec![1, 3]),
            (
                Hidden::Prepared { primary, min_commit: Timestamp(0x0102) },
                vec![1, 4, 0, 0, 0, 0, 0, 0, 1, 2, b'p'],
            ),
            (Hidden::Committed(Timestamp(9)), vec![1, 5, 0, 0, 0, 0, 0, 0, 0, 9]),
            (Hidden::RolledBack, vec![1, 6]),
        ];
        for (state, bytes) in states {
            assert_eq!(state.encode(), bytes);
            let again = Hidden::decode(&bytes).unwrap();
            assert_eq!(again.encode(), bytes);
            assert!(is_record(&bytes));
        }
        assert!(Hidden::decode(&[1, 2, 0]).is_none());
        assert!(!is_record(&super::super::Outcome::RolledBack.encode()));
    }
}
