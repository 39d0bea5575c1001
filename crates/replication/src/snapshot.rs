//! A range's state, on its way from one replica to another.
//!
//! The sender pins the engine and streams the span's keys in chunks; the metadata are read from
//! the same pinned view, so both tell of one log position. The receiver stages the chunks, and
//! installs them under a marker:
//!
//! ```text
//! staging/...  chunk 1, chunk 2, ...        not synced
//! marker       meta, descriptor, staging id  synced, and with it the chunks
//! span         deleted, then rewritten from the chunks
//! last batch   applied id, membership, descriptor; marker and chunks gone; synced
//! ```
//!
//! The last chunk tells how far garbage was dropped where it comes from (`storage::gc`): the receiver
//! refuses as much.
//!
//! A crash before the marker leaves the old state (staging is swept at start); after it, the
//! installation is done again from the chunks.

use crate::command::{Body, Command, EngineOp};
use crate::descriptor::RangeDescriptor;
use crate::error::{ReplicationError, Result};
use crate::log::format::{self, Tag};
use crate::log::group::{read_record, storage_error};
use crate::types::{LogId, SnapshotMeta, StoredMembership};
use bytes::{BufMut, Bytes, BytesMut};
use core_domain::{RangeId, Span};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use storage::gc::{self, MARKS_KEY};
use storage::{Cf, Engine, EngineReader, IterOptions, Marks, WriteBatch, keyspace};

/// Bytes of keys and values in one chunk, unless one value alone is larger.
const CHUNK_BYTES_MAX: usize = 1 << 20;
const STAGING_PREFIX: &[u8] = b"staging/";

/// What openraft hands around as "the snapshot".
pub enum SnapshotData {
    /// The state of a replica here, pinned.
    Live(Arc<LiveSnapshot>),
    /// Chunks that arrived from elsewhere.
    Staged(StagedSnapshot),
}

pub struct LiveSnapshot {
    engine: Arc<dyn Engine>,
    reader: Arc<dyn EngineReader>,
    pub descriptor: RangeDescriptor,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedSnapshot {
    pub id: u64,
    pub descriptor: RangeDescriptor,
}

/// The marker: from its sync on, the installation happens.
#[derive(Serialize, Deserialize)]
struct Installing {
    meta: SnapshotMeta,
    descriptor: RangeDescriptor,
    /// What the replica covered before: its keys go too.
    covered_before: Span,
    staging: u64,
}

impl LiveSnapshot {
    /// Pins the engine. Nothing may be applied yet; `None` while there is no descriptor.
    pub fn take(engine: &Arc<dyn Engine>, range: RangeId) -> Result<Option<(SnapshotMeta, Self)>> {
        let reader = engine.snapshot();
        let applied: Option<LogId> = read_record(&*reader, range, Tag::Applied)?;
        let descriptor: Option<RangeDescriptor> = read_record(&*reader, range, Tag::Descriptor)?;
        let Some(descriptor) = descriptor else { return Ok(None) };
        let membership: StoredMembership =
            read_record(&*reader, range, Tag::Membership)?.unwrap_or_default();
        let meta = SnapshotMeta { last_log_id: applied, last_membership: membership };
        Ok(Some((meta, Self { engine: engine.clone(), reader, descriptor })))
    }

    /// Calls `sink` with each chunk's bytes, in key order within each family.
    pub fn chunks(&self) -> impl Iterator<Item = Result<Bytes>> + Send + '_ {
        let (lower, upper) = keyspace::span_bounds(&self.descriptor.span);
        let mut families = Cf::REPLICATED.into_iter();
        let mut current = families.next().map(|cf| (cf, lower.clone()));
        let mut ended = false;
        std::iter::from_fn(move || {
            let mut ops = Vec::new();
            let mut bytes = 0;
            while let Some((cf, from)) = current.take() {
                match self.fill(cf, from, upper.clone(), &mut ops, &mut bytes) {
                    Ok(Some(next)) => {
                        current = Some((cf, next));
                        break;
                    }
                    Ok(None) => current = families.next().map(|cf| (cf, lower.clone())),
                    Err(error) => return Some(Err(error)),
                }
            }
            if ops.is_empty() && !std::mem::replace(&mut ended, true) {
                // What was dropped below them by now is missing from the chunks.
                let marks = self.engine.garbage().marks();
                if marks != Marks::default() {
                    ops.push(EngineOp::put(Cf::Local, MARKS_KEY, marks.encode()));
                }
            }
            (!ops.is_empty()).then(|| Ok(encode_chunk(&self.descriptor, ops)))
        })
    }

    /// Gathers keys of one family from `from` on; returns where to go on when the chunk is full.
    fn fill(
        &self,
        cf: Cf,
        from: Vec<u8>,
        upper: Option<Vec<u8>>,
        ops: &mut Vec<EngineOp>,
        bytes: &mut usize,
    ) -> Result<Option<Vec<u8>>> {
        let options =
            IterOptions { lower: Some(from), upper, bulk: true, ..IterOptions::default() };
        let mut iter = self.reader.iter(cf, options);
        iter.seek_to_first();
        while iter.valid() {
            if *bytes >= CHUNK_BYTES_MAX {
                return Ok(Some(iter.key().to_vec()));
            }
            *bytes += iter.key().len() + iter.value().len();
            ops.push(EngineOp::put(cf, iter.key().to_vec(), iter.value().to_vec()));
            iter.next();
        }
        iter.status().map_err(storage_error)?;
        Ok(None)
    }
}

fn encode_chunk(descriptor: &RangeDescriptor, ops: Vec<EngineOp>) -> Bytes {
    Command::write(descriptor.range, descriptor.generation, 0, ops).encode()
}

/// Keeps one chunk until the installation. Not synced: the marker's sync covers it.
pub fn stage_chunk(
    engine: &dyn Engine,
    range: RangeId,
    id: u64,
    sequence: u32,
    chunk: Bytes,
) -> Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(Cf::Local, staging_key(range, id, sequence), chunk);
    engine.write(batch, false).map_err(storage_error)
}

/// How many chunks of a transfer are here without a gap.
pub fn count_staged(engine: &dyn Engine, range: RangeId, id: u64) -> Result<u32> {
    for sequence in 0.. {
        let key = staging_key(range, id, sequence);
        if engine.get(Cf::Local, &key).map_err(storage_error)?.is_none() {
            return Ok(sequence);
        }
    }
    Ok(u32::MAX)
}

/// Replaces the replica's state by the staged one, durably. `covered_before` is the span it had.
pub fn install(
    engine: &dyn Engine,
    meta: &SnapshotMeta,
    staged: &StagedSnapshot,
    covered_before: Span,
) -> Result<()> {
    let range = staged.descriptor.range;
    let marker = Installing {
        meta: meta.clone(),
        descriptor: staged.descriptor.clone(),
        covered_before,
        staging: staged.id,
    };
    let mut batch = WriteBatch::new();
    batch.put(Cf::Raft, format::key(range, Tag::Installing), format::seal(&marker));
    engine.write(batch, true).map_err(storage_error)?;
    carry_out(engine, marker)
}

/// At start: completes an installation that a crash interrupted.
pub fn finish_interrupted(engine: &dyn Engine, range: RangeId) -> Result<()> {
    match read_record::<Installing>(engine, range, Tag::Installing)? {
        Some(marker) => {
            tracing::warn!(%range, "a crash interrupted the installation of a snapshot: again");
            carry_out(engine, marker)
        }
        None => Ok(()),
    }
}

/// At start, after every interrupted installation: forgets chunks of transfers that broke off.
pub fn sweep_staging(engine: &dyn Engine) -> Result<()> {
    let mut batch = WriteBatch::new();
    batch.delete_range(Cf::Local, STAGING_PREFIX, &b"staging0"[..]);
    engine.write(batch, false).map_err(storage_error)
}

fn carry_out(engine: &dyn Engine, marker: Installing) -> Result<()> {
    let range = marker.descriptor.range;
    // Of each key, a tombstone is written before what it hides.
    let _rewriting = engine.garbage().rewriting();
    let mut batch = WriteBatch::new();
    for span in [&marker.covered_before, &marker.descriptor.span] {
        if !span.is_empty() {
            delete_span(&mut batch, span);
        }
    }
    engine.write(batch, false).map_err(storage_error)?;
    for sequence in 0.. {
        let key = staging_key(range, marker.staging, sequence);
        let Some(chunk) = engine.get(Cf::Local, &key).map_err(storage_error)? else { break };
        let Body::Write { ops } = Command::decode(chunk)?.body else {
            return Err(ReplicationError::Damaged("a snapshot chunk of another kind".into()));
        };
        let mut batch = WriteBatch::new();
        for op in ops {
            match op {
                EngineOp { cf: Cf::Local, value: Some(marks), .. } => {
                    let marks = Marks::decode(&marks).map_err(storage_error)?;
                    gc::raise(engine, marks).map_err(storage_error)?;
                }
                op => stage_op(&mut batch, op),
            }
        }
        engine.write(batch, false).map_err(storage_error)?;
    }
    let mut batch = WriteBatch::new();
    if let Some(applied) = &marker.meta.last_log_id {
        batch.put(Cf::Raft, format::key(range, Tag::Applied), format::seal(applied));
    }
    let membership = format::seal(&marker.meta.last_membership);
    batch.put(Cf::Raft, format::key(range, Tag::Membership), membership);
    batch.put(Cf::Raft, format::key(range, Tag::Descriptor), format::seal(&marker.descriptor));
    batch.delete(Cf::Raft, format::key(range, Tag::Installing));
    let (from, to) = (staging_key(range, 0, 0), staging_key(RangeId(range.0 + 1), 0, 0));
    batch.delete_range(Cf::Local, from, to);
    engine.write(batch, true).map_err(storage_error)
}

/// Deletes every replicated key of `span`.
pub fn delete_span(batch: &mut WriteBatch, span: &Span) {
    let (lower, upper) = keyspace::span_bounds(span);
    let upper = upper.unwrap_or_else(keyspace::end_of_family);
    for cf in Cf::REPLICATED {
        batch.delete_range(cf, lower.clone(), upper.clone());
    }
}

/// The versions in `span`; what is locked or was decided there stays known.
pub fn erase_versions(batch: &mut WriteBatch, span: &Span) {
    let (lower, upper) = keyspace::span_bounds(span);
    batch.delete_range(Cf::Data, lower, upper.unwrap_or_else(keyspace::end_of_family));
}

pub fn stage_op(batch: &mut WriteBatch, op: EngineOp) {
    match op.value {
        Some(value) => batch.put(op.cf, op.key, value),
        None => batch.delete(op.cf, op.key),
    }
}

fn staging_key(range: RangeId, id: u64, sequence: u32) -> Bytes {
    let mut key = BytesMut::with_capacity(STAGING_PREFIX.len() + 20);
    key.put_slice(STAGING_PREFIX);
    key.put_u64(range.0);
    key.put_u64(id);
    key.put_u32(sequence);
    key.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_domain::{NodeId, Timestamp};
    use storage::CrashEngine;

    /// Of an empty range too: what it held may be gone, and its receiver must not answer as if it
    /// never had been.
    #[test]
    fn a_snapshot_tells_how_far_garbage_was_dropped() {
        let range = RangeId(7);
        let from = Arc::new(CrashEngine::new());
        let founders = [(NodeId(1), "here:1".to_owned())];
        let descriptor = RangeDescriptor::founding(range, Span::all(), &founders);
        let mut batch = WriteBatch::new();
        batch.put(Cf::Raft, format::key(range, Tag::Descriptor), format::seal(&descriptor));
        from.write(batch, true).unwrap();
        let engine: Arc<dyn Engine> = from.clone();
        let (meta, live) = LiveSnapshot::take(&engine, range).unwrap().unwrap();
        assert_eq!(live.chunks().count(), 0);
        // While the snapshot is being sent.
        let marks = Marks { threshold: Timestamp(50), records: Timestamp(40) };
        gc::raise(&*engine, marks).unwrap();
        let to = CrashEngine::new();
        for (chunk, sequence) in live.chunks().zip(0..) {
            stage_chunk(&to, range, 1, sequence, chunk.unwrap()).unwrap();
        }
        install(&to, &meta, &StagedSnapshot { id: 1, descriptor }, Span::all()).unwrap();
        assert_eq!(to.garbage().marks(), marks);
        assert_eq!(to.crash(3).garbage().marks(), marks, "and after a crash");
    }
}
