//! One range's log: what is on disk, and the tail that is in memory.
//!
//! ```text
//!   purged    on disk only          in the tail cache
//!  ─────────┬───────────────────┬─────────────────────────┐
//!           │ first ..          │ cached ..   written ..  │ last
//!           └───────────────────┴───────────────▲─────────┘
//!                                               apply waits for this
//! ```

use crate::error::{ReplicationError, Result};
use crate::log::format::{self, Tag};
use crate::log::writer::{LogWriter, Request};
use crate::types::{Entry, LogId, TypeConfig, Vote};
use core_domain::RangeId;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, LogIdOptionExt, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use storage::{Cf, Engine, IterOptions};
use tokio::sync::Notify;

/// Bytes of written entries that one group keeps in memory for followers and apply.
const TAIL_BYTES_MAX: usize = 2 << 20;
/// Bytes of entries in one append message, unless one entry alone is larger.
const READ_BYTES_MAX: usize = 1 << 20;
/// What an entry costs in memory beside its payload.
const ENTRY_OVERHEAD: usize = 64;

/// One range's log. Clones of the `Arc` are openraft's log store and log readers.
pub struct GroupLog {
    range: RangeId,
    engine: Arc<dyn Engine>,
    writer: Arc<LogWriter>,
    tail: Mutex<Tail>,
    written: Notify,
}

/// Rides along with appends, unsynced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub committed: Option<LogId>,
    /// Entries up to here were durable when this was written: if they cannot be read later, the
    /// disk lost what it had promised.
    pub synced: Option<u64>,
}

#[derive(Default)]
struct Tail {
    vote: Option<Vote>,
    position: Position,
    purged: Option<LogId>,
    /// Where a log that was empty began: 0 under Raft, 1 in openraft's test suite.
    first: u64,
    last: Option<LogId>,
    /// The newest entries, contiguous up to `last`. Unwritten entries are always here.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Entries up to here are written. Meaningless while a truncation is queued.
    written: Option<u64>,
    truncations_queued: u32,
    /// Bytes appended since the last purge, for the store's decision to purge again.
    bytes_since_purge: u64,
}

impl GroupLog {
    /// Reads and checks what is on disk. Entries behind the synced position that are torn are
    /// cut off; damage before it is an error, and the replica must be retired.
    pub fn open(
        range: RangeId,
        engine: Arc<dyn Engine>,
        writer: Arc<LogWriter>,
    ) -> Result<Arc<Self>> {
        let vote = read_record(&*engine, range, Tag::Vote)?;
        let position: Position = read_record(&*engine, range, Tag::Position)?.unwrap_or_default();
        let purged: Option<LogId> = read_record(&*engine, range, Tag::Purged)?;
        let mut tail = Tail { vote, position, purged, last: purged, ..Tail::default() };
        scan_entries(&*engine, range, &mut tail)?;
        tail.written = tail.last.index();
        Ok(Arc::new(Self { range, engine, writer, tail: Mutex::new(tail), written: Notify::new() }))
    }

    pub fn range(&self) -> RangeId {
        self.range
    }

    pub fn writer(&self) -> &Arc<LogWriter> {
        &self.writer
    }

    pub fn vote(&self) -> Option<Vote> {
        self.tail.lock().vote
    }

    pub fn last(&self) -> Option<LogId> {
        self.tail.lock().last
    }

    pub fn purged(&self) -> Option<LogId> {
        self.tail.lock().purged
    }

    pub fn bytes_since_purge(&self) -> u64 {
        self.tail.lock().bytes_since_purge
    }

    /// Returns once entry `index`, and every truncation before it, is written: only then may its
    /// effects be (protocol.md, rule 13). An entry that the log does not hold is not waited for:
    /// Raft applies none, only openraft's test suite does.
    pub async fn wait_written(&self, index: u64) {
        loop {
            let notified = self.written.notified();
            {
                let tail = self.tail.lock();
                let purged = tail.purged.index() >= Some(index);
                let absent = tail.last.index() < Some(index);
                if purged || absent || (tail.truncations_queued == 0 && tail.written >= Some(index))
                {
                    return;
                }
            }
            notified.await;
        }
    }

    pub(super) fn position(&self) -> Position {
        self.tail.lock().position
    }

    pub(super) fn mark_written(&self, index: u64) {
        let mut tail = self.tail.lock();
        tail.written = tail.written.max(Some(index));
        tail.evict();
        drop(tail);
        self.written.notify_waiters();
    }

    pub(super) fn mark_truncated(&self, after: Option<u64>) {
        let mut tail = self.tail.lock();
        tail.written = tail.written.min(after);
        tail.truncations_queued -= 1;
        drop(tail);
        self.written.notify_waiters();
    }

    pub(super) fn mark_synced(&self, index: u64) {
        let mut tail = self.tail.lock();
        tail.position.synced = tail.position.synced.max(Some(index));
    }

    pub(super) fn lower_synced(&self, after: Option<u64>) {
        let mut tail = self.tail.lock();
        tail.position.synced = tail.position.synced.min(after);
    }

    /// Entries of `[start, end)` that the log holds, at least one if there is any, and not many
    /// more than `bytes_max` bytes of them.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>> {
        let (cached, disk) = {
            let tail = self.tail.lock();
            let start = start.max(tail.purged.next_index()).max(tail.first);
            let end = end.min(tail.last.next_index());
            let first_cached = tail.last.next_index() - tail.entries.len() as u64;
            let from = start.max(first_cached);
            let cached = (from..end)
                .map(|index| tail.entries[(index - first_cached) as usize].clone())
                .collect::<Vec<_>>();
            (cached, start..end.min(first_cached))
        };
        let mut entries = Vec::new();
        let mut bytes = 0;
        if !disk.is_empty() {
            self.read_disk(disk.start, disk.end, bytes_max, &mut bytes, &mut entries)?;
            if entries.len() < (disk.end - disk.start) as usize {
                return Ok(entries); // Stopped at the size limit.
            }
        }
        for entry in cached {
            if bytes >= bytes_max && !entries.is_empty() {
                break;
            }
            bytes += cost(&entry);
            entries.push(entry);
        }
        Ok(entries)
    }

    fn read_disk(
        &self,
        start: u64,
        end: u64,
        bytes_max: usize,
        bytes: &mut usize,
        entries: &mut Vec<Entry>,
    ) -> Result<()> {
        let options = IterOptions {
            lower: Some(format::entry_key(self.range, start).to_vec()),
            upper: Some(format::entry_key(self.range, end).to_vec()),
            bulk: true,
            ..IterOptions::default()
        };
        let mut iter = self.engine.iter(Cf::Raft, options);
        iter.seek_to_first();
        for index in start..end {
            if *bytes >= bytes_max && !entries.is_empty() {
                return Ok(());
            }
            if !iter.valid() || format::index_of(iter.key()) != Some(index) {
                iter.status().map_err(storage_error)?;
                if self.purged().index() >= Some(index) {
                    // Purged while this was reading: what is left of it is no longer asked for.
                    entries.clear();
                    return Ok(());
                }
                return Err(ReplicationError::Damaged(format!(
                    "{}: log entry {index} is missing",
                    self.range
                )));
            }
            let entry = format::decode_entry(index, iter.value().to_vec().into())?;
            *bytes += cost(&entry);
            entries.push(entry);
            iter.next();
        }
        Ok(())
    }
}

impl Tail {
    /// Forgets written entries beyond the budget, oldest first.
    fn evict(&mut self) {
        while self.bytes > TAIL_BYTES_MAX
            && self.truncations_queued == 0
            && let Some(entry) = self.entries.front()
            && Some(entry.index()) <= self.written
        {
            self.bytes -= cost(entry);
            self.entries.pop_front();
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.last.is_none() {
            self.first = entry.index();
        }
        assert!(
            self.last.is_none() || entry.index() == self.last.next_index(),
            "hole in the log: {} appended after {:?}",
            entry.log_id,
            self.last
        );
        self.last = Some(entry.log_id);
        let cost = cost(&entry);
        self.bytes += cost;
        self.bytes_since_purge += cost as u64;
        self.entries.push_back(entry);
    }

    fn drop_after(&mut self, after: u64) {
        while let Some(entry) = self.entries.back()
            && entry.index() >= after
        {
            self.bytes -= cost(entry);
            self.entries.pop_back();
        }
    }

    fn drop_upto(&mut self, upto: u64) {
        while let Some(entry) = self.entries.front()
            && entry.index() <= upto
        {
            self.bytes -= cost(entry);
            self.entries.pop_front();
        }
    }
}

fn cost(entry: &Entry) -> usize {
    ENTRY_OVERHEAD
        + match &entry.payload {
            EntryPayload::Normal(proposal) => proposal.0.len(),
            EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        }
}

/// Finds the last good entry, and judges what follows it.
fn scan_entries(engine: &dyn Engine, range: RangeId, tail: &mut Tail) -> Result<()> {
    let first = tail.purged.next_index();
    let options = IterOptions {
        lower: Some(format::entry_key(range, first).to_vec()),
        upper: Some(format::entry_key(range, u64::MAX).to_vec()),
        bulk: true,
        ..IterOptions::default()
    };
    let mut iter = engine.iter(Cf::Raft, options);
    iter.seek_to_first();
    let mut committed_found = tail.position.committed <= tail.purged;
    let mut torn = Vec::new();
    while iter.valid() {
        let expected = tail.last.next_index();
        let index = format::index_of(iter.key());
        let entry = (index == Some(expected) && torn.is_empty())
            .then(|| format::decode_entry(expected, iter.value().to_vec().into()).ok())
            .flatten();
        match entry {
            Some(entry) => {
                committed_found |= tail.position.committed == Some(entry.log_id);
                tail.bytes_since_purge += cost(&entry) as u64;
                tail.last = Some(entry.log_id);
            }
            None => torn.push(iter.key().to_vec()),
        }
        iter.next();
    }
    iter.status().map_err(storage_error)?;
    drop(iter);
    if tail.position.synced > tail.last.index() {
        return Err(ReplicationError::Damaged(format!(
            "{range}: the log was durable up to {:?} and can be read up to {:?}",
            tail.position.synced,
            tail.last.index()
        )));
    }
    if !committed_found {
        // It rode along with an earlier batch than its entry, which did not survive.
        tail.position.committed = None;
    }
    if !torn.is_empty() {
        tracing::warn!(%range, entries = torn.len(), last = ?tail.last, "cut off a torn log tail");
        let mut batch = storage::WriteBatch::new();
        torn.into_iter().for_each(|key| batch.delete(Cf::Raft, key));
        engine.write(batch, true).map_err(storage_error)?;
    }
    Ok(())
}

/// Reads one of the small records of a range.
pub fn read_record<T: serde::de::DeserializeOwned>(
    engine: &(impl storage::EngineReader + ?Sized),
    range: RangeId,
    tag: Tag,
) -> Result<Option<T>> {
    match engine.get(Cf::Raft, &format::key(range, tag)).map_err(storage_error)? {
        Some(bytes) => format::unseal(&bytes).map(Some),
        None => Ok(None),
    }
}

pub fn storage_error(error: storage::StorageError) -> ReplicationError {
    match error {
        storage::StorageError::Corruption(what) => ReplicationError::Damaged(what),
        storage::StorageError::DiskFull(_) | storage::StorageError::Io(_) => {
            ReplicationError::Storage(error.to_string())
        }
    }
}

fn io_error(error: ReplicationError) -> io::Error {
    io::Error::other(error)
}

impl RaftLogReader<TypeConfig> for Arc<GroupLog> {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index + 1,
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        self.read(start, end, usize::MAX).map_err(io_error)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).map_err(io_error)
    }
}

impl RaftLogStorage<TypeConfig> for Arc<GroupLog> {
    type LogReader = Arc<GroupLog>;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Arc<GroupLog> {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let log = self.clone();
        let vote = *vote;
        self.writer.carry_out(|done| Request::Vote { log, vote, done }).await?;
        self.tail.lock().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.tail.lock().position.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.tail.lock().position.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect::<Vec<_>>();
        {
            let mut tail = self.tail.lock();
            entries.iter().cloned().for_each(|entry| tail.push(entry));
        }
        let log = self.clone();
        self.writer.submit(Request::Append { log, entries, done: callback });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let after = last_log_id.index();
        let last = {
            let mut tail = self.tail.lock();
            let Some(last) = tail.last.index().filter(|last| Some(*last) > after) else {
                return Ok(());
            };
            tail.drop_after(after.map_or(0, |after| after + 1));
            tail.last = last_log_id;
            tail.truncations_queued += 1;
            last
        };
        let log = self.clone();
        self.writer.carry_out(|done| Request::Truncate { log, after, last, done }).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let present = {
            let mut tail = self.tail.lock();
            if tail.purged >= Some(upto) {
                return Ok(());
            }
            let present = tail.purged.next_index()..=tail.last.index().unwrap_or(0).min(upto.index);
            tail.purged = Some(upto);
            tail.drop_upto(upto.index);
            tail.bytes_since_purge = tail.bytes as u64;
            if tail.last.index() <= Some(upto.index) {
                tail.last = Some(upto);
                tail.written = tail.written.max(Some(upto.index));
            }
            present
        };
        self.written.notify_waiters();
        let log = self.clone();
        self.writer.carry_out(|done| Request::Purge { log, present, upto, done }).await
    }
}
