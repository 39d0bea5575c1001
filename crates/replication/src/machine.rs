//! Applying a range's log to the engine.
//!
//! Entries are gathered into one unsynced batch that also carries the applied log id, so state
//! and position survive a crash together. The batch is written only after the log entries that it
//! applies are (protocol.md, rule 13). What an entry does depends on nothing but the entry and the
//! applied state.

#[cfg(test)]
mod golden;

use crate::command::{Applied, Body, Command};
use crate::descriptor::{RangeDescriptor, ReplicaPlace, ReplicaRole};
use crate::error::{ReplicationError, Result};
use crate::evaluate::copy_records;
use crate::log::GroupLog;
use crate::log::format::{self, Tag};
use crate::log::group::{read_record, storage_error};
use crate::observer::Observer;
use crate::snapshot::{self, LiveSnapshot, SnapshotData, StagedSnapshot};
use crate::types::{Entry, LogId, Membership, SnapshotMeta, StoredMembership, TypeConfig, Vote};
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Generation, Key, NodeId, RangeId, ReplicaId, Span};
use futures::{Stream, StreamExt};
use openraft::storage::{
    ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot,
};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use storage::{Cf, Engine, WriteBatch};
use tokio::sync::mpsc::UnboundedSender;

/// Entries applied by one batch at most.
const APPLY_ENTRIES_MAX: usize = 512;

/// The spans that replicas on this node hold, so that none is installed over another.
pub type Spans = Mutex<BTreeMap<RangeId, Span>>;

/// What apply asks of the store, to be done after it.
pub enum HostEvent {
    /// The right half was written and can be started. `elect`: this replica leads first.
    Split { right: RangeId, elect: bool },
    /// A membership without this replica was applied.
    Removed { range: RangeId, replica: ReplicaId },
}

/// Which replica of a range lives here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub replica: ReplicaId,
}

/// openraft's state machine: a handle.
#[derive(Clone)]
pub struct Machine(Arc<MachineState>);

pub struct MachineState {
    range: RangeId,
    replica: ReplicaId,
    engine: Arc<dyn Engine>,
    log: Arc<GroupLog>,
    observer: Arc<dyn Observer>,
    spans: Arc<Spans>,
    host: UnboundedSender<HostEvent>,
    state: RwLock<State>,
    /// Set when another machine takes over this range's state, or it is deleted: nothing more may
    /// be written. Held while writing.
    retired: Mutex<bool>,
}

#[derive(Clone)]
struct State {
    applied: Option<LogId>,
    membership: StoredMembership,
    descriptor: Arc<RangeDescriptor>,
}

/// What surrounds a replica on its node.
#[derive(Clone)]
pub struct Surroundings {
    pub node: NodeId,
    pub engine: Arc<dyn Engine>,
    pub observer: Arc<dyn Observer>,
    pub spans: Arc<Spans>,
    pub host: UnboundedSender<HostEvent>,
}

impl Machine {
    /// Reads the applied state; finishes an interrupted snapshot first.
    pub fn open(around: Surroundings, replica: ReplicaId, log: Arc<GroupLog>) -> Result<Self> {
        let range = log.range();
        let engine = around.engine;
        snapshot::finish_interrupted(&*engine, range)?;
        let descriptor: RangeDescriptor =
            read_record(&*engine, range, Tag::Descriptor)?.unwrap_or_else(|| unborn(range));
        let state = State {
            applied: read_record(&*engine, range, Tag::Applied)?,
            membership: read_record(&*engine, range, Tag::Membership)?.unwrap_or_default(),
            descriptor: Arc::new(descriptor),
        };
        around.spans.lock().insert(range, state.descriptor.span.clone());
        Ok(Self(Arc::new(MachineState {
            range,
            replica,
            engine,
            log,
            observer: around.observer,
            spans: around.spans,
            host: around.host,
            state: RwLock::new(state),
            retired: Mutex::new(false),
        })))
    }

    /// The state as it is now, with the log position that it is at.
    fn pin(
        &self,
    ) -> io::Result<Option<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>>>
    {
        let taken = LiveSnapshot::take(&self.0.engine, self.0.range).map_err(io_error)?;
        Ok(taken
            .map(|(meta, live)| Snapshot { meta, snapshot: SnapshotData::Live(Arc::new(live)) }))
    }

    /// After this returns, nothing is written through this machine.
    pub fn retire(&self) {
        *self.0.retired.lock() = true;
    }

    pub fn descriptor(&self) -> Arc<RangeDescriptor> {
        self.0.state.read().descriptor.clone()
    }

    pub fn applied(&self) -> Option<LogId> {
        self.0.state.read().applied
    }
}

/// A replica that was created to receive a snapshot: it covers nothing yet.
fn unborn(range: RangeId) -> RangeDescriptor {
    RangeDescriptor {
        range,
        span: Span::new(Key::MIN.next(), Key::MIN.next()), // contains no key
        generation: Generation(0),
        replicas: Vec::new(),
        next_replica: ReplicaId(0),
    }
}

fn splits(entry: &Entry) -> bool {
    matches!(&entry.payload, EntryPayload::Normal(proposal) if Command::is_split(&proposal.0))
}

/// One batch in the making.
struct Staged {
    batch: WriteBatch,
    state: State,
    descriptor_changed: bool,
    membership_changed: bool,
    answers: Vec<(ApplyResponder<TypeConfig>, Applied)>,
    right: Option<(RangeDescriptor, ReplicaId)>,
}

impl MachineState {
    async fn apply_chunk(&self, chunk: Vec<EntryResponder<TypeConfig>>) -> Result<()> {
        let mut staged = self.begin();
        for (entry, responder) in chunk {
            if staged.right.is_some() || splits(&entry) {
                // What follows a split is evaluated against its outcome, and a split copies records
                // of what precedes it.
                self.commit(staged).await?;
                staged = self.begin();
            }
            let answer = self.stage(&mut staged, entry)?;
            staged.answers.extend(responder.map(|responder| (responder, answer)));
        }
        self.commit(staged).await
    }

    fn begin(&self) -> Staged {
        Staged {
            batch: WriteBatch::new(),
            state: self.state.read().clone(),
            descriptor_changed: false,
            membership_changed: false,
            answers: Vec::new(),
            right: None,
        }
    }

    fn stage(&self, staged: &mut Staged, entry: Entry) -> Result<Applied> {
        let id = entry.log_id;
        assert!(
            staged.state.applied.is_none_or(|applied| applied.index < id.index),
            "{} applied again after {:?}",
            id,
            staged.state.applied
        );
        staged.state.applied = Some(id);
        match entry.payload {
            EntryPayload::Blank => Ok(Applied::Ok),
            EntryPayload::Membership(membership) => {
                self.stage_membership(staged, id, membership);
                Ok(Applied::Ok)
            }
            EntryPayload::Normal(proposal) => {
                let command = Command::decode(proposal.0)?;
                self.stage_command(staged, id, command)
            }
        }
    }

    fn stage_membership(&self, staged: &mut Staged, id: LogId, membership: Membership) {
        let old = &staged.state.descriptor;
        // Without a descriptor the snapshot that is to come will bring it.
        if old.generation > Generation(0)
            && let Some(descriptor) = with_membership(old, &membership)
        {
            staged.state.descriptor = Arc::new(descriptor);
            staged.descriptor_changed = true;
        }
        staged.state.membership = StoredMembership::new(Some(id), membership);
        staged.membership_changed = true;
    }

    fn stage_command(&self, staged: &mut Staged, id: LogId, command: Command) -> Result<Applied> {
        let current = staged.state.descriptor.generation;
        if command.range != self.range {
            return Err(ReplicationError::Damaged(format!(
                "a command for {} in the log of {}",
                command.range, self.range
            )));
        }
        if current == Generation(0) {
            return Err(ReplicationError::Damaged(format!(
                "{}: entry {id} to apply before any snapshot",
                self.range
            )));
        }
        if command.generation != current && !is_planted(PlantedBug::ApplyIgnoresGeneration) {
            return Ok(Applied::StaleGeneration { current });
        }
        if command.term != 0 && command.term != id.leader_id.term {
            return Ok(Applied::StaleTerm);
        }
        match command.body {
            Body::Write { ops } => {
                ops.into_iter().for_each(|op| snapshot::stage_op(&mut staged.batch, op));
            }
            Body::Split { at, right } => {
                let Some((left, right)) = staged.state.descriptor.split(&at, right) else {
                    return Ok(Applied::StaleGeneration { current });
                };
                staged.state.descriptor = Arc::new(left);
                staged.descriptor_changed = true;
                staged.right = Some((right, id.leader_id.node_id));
            }
            Body::UpdateDescriptor(new) => {
                let mut descriptor = (*staged.state.descriptor).clone();
                descriptor.next_replica = descriptor.next_replica.max(new.next_replica);
                staged.state.descriptor = Arc::new(descriptor);
                staged.descriptor_changed = true;
            }
            Body::Noop => {}
            Body::Erase { span } => snapshot::erase_versions(&mut staged.batch, &span),
        }
        Ok(Applied::Ok)
    }

    async fn commit(&self, mut staged: Staged) -> Result<()> {
        let Some(applied) = staged.state.applied else { return Ok(()) };
        let key = |tag| format::key(self.range, tag);
        staged.batch.put(Cf::Raft, key(Tag::Applied), format::seal(&applied));
        if staged.membership_changed {
            let record = format::seal(&staged.state.membership);
            staged.batch.put(Cf::Raft, key(Tag::Membership), record);
        }
        if staged.descriptor_changed {
            let record = format::seal(&*staged.state.descriptor);
            staged.batch.put(Cf::Raft, key(Tag::Descriptor), record);
        }
        if let Some((right, leader)) = &staged.right {
            let left = &staged.state.descriptor.span.start;
            let copied = copy_records(&*self.engine, &mut staged.batch, left, &right.span.start);
            copied.map_err(storage_error)?;
            self.stage_right(&mut staged.batch, right, *leader, applied, &staged.state.membership)?;
        }
        self.log.wait_written(applied.index).await;
        {
            let retired = self.retired.lock();
            if *retired {
                return Err(self.is_retired());
            }
            self.engine.write(staged.batch, false).map_err(storage_error)?;
        }
        let descriptor = staged.state.descriptor.clone();
        if staged.descriptor_changed {
            self.spans.lock().insert(self.range, descriptor.span.clone());
        }
        let right = staged.right.map(|(right, leader)| {
            self.observer.split(&descriptor, &right);
            HostEvent::Split { right: right.range, elect: leader == self.replica }
        });
        let membership = &staged.state.membership;
        if staged.membership_changed
            && membership.membership().get_node(&self.replica).is_none()
            && membership.membership().get_joint_config().len() == 1
        {
            self.tell(HostEvent::Removed { range: self.range, replica: self.replica });
        }
        *self.state.write() = staged.state;
        // Not before: the left half answers for the right one's keys until here.
        right.into_iter().for_each(|split| self.tell(split));
        if staged.descriptor_changed {
            self.observer.descriptor_changed(&descriptor);
        }
        for (responder, answer) in staged.answers {
            responder.send(answer);
        }
        Ok(())
    }

    /// Writes the right half's replica, as far as this node has one and none that is newer.
    fn stage_right(
        &self,
        batch: &mut WriteBatch,
        right: &RangeDescriptor,
        leader: ReplicaId,
        at: LogId,
        membership: &StoredMembership,
    ) -> Result<()> {
        let Some(place) = right.replica(self.replica) else { return Ok(()) };
        let key = |tag| format::key(right.range, tag);
        let present: Option<Meta> = read_record(&*self.engine, right.range, Tag::Meta)?;
        let tombstone: Option<ReplicaId> = read_record(&*self.engine, right.range, Tag::Tombstone)?;
        if present.is_some() || tombstone.is_some_and(|smallest| place.replica < smallest) {
            // A later replica of the right range is here (empty until this split is applied), or
            // this one was removed already: the data are not its.
            snapshot::delete_span(batch, &right.span);
            return Ok(());
        }
        // The term of the vote must not be below the log's, or the first leader panics.
        let vote = Vote::new(at.leader_id.term, leader);
        let meta = Meta { replica: place.replica };
        batch.put(Cf::Raft, key(Tag::Meta), format::seal(&meta));
        batch.put(Cf::Raft, key(Tag::Vote), format::seal(&vote));
        batch.put(Cf::Raft, key(Tag::Purged), format::seal(&at));
        batch.put(Cf::Raft, key(Tag::Applied), format::seal(&at));
        batch.put(Cf::Raft, key(Tag::Membership), format::seal(membership));
        batch.put(Cf::Raft, key(Tag::Descriptor), format::seal(right));
        Ok(())
    }

    fn is_retired(&self) -> ReplicationError {
        let reason = "another instance took over".to_owned();
        ReplicationError::Stopped { range: self.range, reason }
    }

    fn tell(&self, event: HostEvent) {
        // Fails only while the store is being dropped, when there is nothing left to do.
        let _ = self.host.send(event);
    }

    fn install(&self, meta: &SnapshotMeta, data: SnapshotData) -> Result<()> {
        let staged = match data {
            SnapshotData::Staged(staged) => staged,
            SnapshotData::Live(live) => self.stage_live(&live)?,
        };
        let before = self.state.read().descriptor.span.clone();
        {
            let mut spans = self.spans.lock();
            let new = &staged.descriptor.span;
            let other = spans.iter().find(|(range, span)| {
                **range != self.range && !span.is_empty() && span.overlaps(new)
            });
            if let Some((other, _)) = other {
                return Err(ReplicationError::Refused(format!(
                    "the snapshot of {} overlaps {other}, which has yet to split or to go",
                    self.range
                )));
            }
            spans.insert(self.range, new.clone());
        }
        {
            let retired = self.retired.lock();
            if *retired {
                return Err(self.is_retired());
            }
            snapshot::install(&*self.engine, meta, &staged, before)?;
        }
        let descriptor = Arc::new(staged.descriptor);
        *self.state.write() = State {
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
            descriptor: descriptor.clone(),
        };
        self.observer.descriptor_changed(&descriptor);
        Ok(())
    }

    /// A snapshot from within this process, as openraft's test suite does it.
    fn stage_live(&self, live: &LiveSnapshot) -> Result<StagedSnapshot> {
        let id = u64::MAX;
        for (chunk, sequence) in live.chunks().zip(0..) {
            snapshot::stage_chunk(&*self.engine, self.range, id, sequence, chunk?)?;
        }
        Ok(StagedSnapshot { id, descriptor: live.descriptor.clone() })
    }
}

/// The descriptor under a new membership; `None` if it stays as it is.
fn with_membership(old: &RangeDescriptor, membership: &Membership) -> Option<RangeDescriptor> {
    let voters = membership.voter_ids().collect::<Vec<_>>();
    let replicas = membership
        .nodes()
        .map(|(id, place)| ReplicaPlace {
            replica: *id,
            node: place.node,
            address: place.address.clone(),
            role: if voters.contains(id) { ReplicaRole::Voter } else { ReplicaRole::Learner },
        })
        .collect::<Vec<_>>();
    if replicas == old.replicas {
        return None;
    }
    let highest = replicas.last().map_or(0, |place| place.replica.0);
    Some(RangeDescriptor {
        generation: Generation(old.generation.0 + 1),
        next_replica: old.next_replica.max(ReplicaId(highest + 1)),
        replicas,
        ..old.clone()
    })
}

fn io_error(error: ReplicationError) -> io::Error {
    io::Error::other(error)
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Machine;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.0.state.read();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_ENTRIES_MAX);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.into_iter().collect::<io::Result<Vec<_>>>()?;
            self.0.apply_chunk(chunk).await.map_err(io_error)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Machine {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> io::Result<()> {
        // It rewrites a whole range: what else runs on this thread must not wait for it.
        let (machine, meta) = (self.clone(), meta.clone());
        let installing = tokio::task::spawn_blocking(move || machine.0.install(&meta, snapshot));
        installing.await.map_err(io::Error::other)?.map_err(io_error)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>>>
    {
        Ok(self.pin()?.filter(|snapshot| snapshot.meta.last_log_id.is_some()))
    }
}

/// Building costs nothing: a snapshot is the current state, pinned when it is sent.
impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotData>> {
        self.pin()?.ok_or_else(|| io::Error::other("this replica has no state yet"))
    }
}
