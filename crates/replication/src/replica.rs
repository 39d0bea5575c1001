//! One replica of one range: what the rest of the node asks of it.

use crate::command::{Applied, Body, COMMAND_BYTES_MAX, Command};
use crate::descriptor::{RangeDescriptor, ReplicaPlace, ReplicaRole};
use crate::error::{ReplicationError, Result};
use crate::log::{GroupLog, LogWriter};
use crate::machine::{Machine, Surroundings};
use crate::network::{Network, Peers};
use crate::store::Tuning;
use crate::types::{Metrics, MetricsWatch, Proposal, Raft, StoredMembership, TypeConfig};
use core_domain::{NodeId, RangeId, ReplicaId};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError};
use openraft::type_config::TypeConfigExt;
use openraft::{ReadPolicy, ServerState, TokioInstant};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use storage::Cf;

/// Part of a lease that its holder trusts: the rest allows for clocks that run at other rates.
const LEASE_MARGIN: f64 = 0.8;
/// A group that stopped this often in a row stays stopped.
const REBUILDS_MAX: u32 = 5;

/// Whether this replica may answer for its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It leads, has applied an entry of its term, and no other can lead now: read locally.
    Serving {
        term: u64,
    },
    /// It leads as far as it knows: [`Replica::confirm_leadership`] before reading.
    Unconfirmed {
        term: u64,
    },
    Follower,
}

pub struct Replica {
    range: RangeId,
    id: ReplicaId,
    around: Surroundings,
    peers: Arc<Peers>,
    writer: Arc<LogWriter>,
    tuning: Arc<Tuning>,
    running: RwLock<Arc<Running>>,
    mirror: Mirror,
    /// One change of membership at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// One split or transfer at a time: both do without the lease meanwhile.
    moving: tokio::sync::Mutex<()>,
    /// Until then, requests for votes are not heard (protocol.md, rule 9; openraft.md, "Reads").
    deaf_to_votes_until: RwLock<Option<tokio::time::Instant>>,
    stopping: AtomicBool,
}

/// What a rebuild replaces.
pub(crate) struct Running {
    pub raft: Raft,
    pub machine: Machine,
    pub log: Arc<GroupLog>,
    pub metrics: MetricsWatch,
}

/// Leadership as atomics, for reads that must not wait. Written by the watching task alone,
/// `term` last on gaining and first on losing.
struct Mirror {
    base: TokioInstant,
    /// The term that this replica leads in, or 0.
    term: AtomicU64,
    /// An entry of that term is applied.
    ready: AtomicBool,
    /// Nanoseconds after `base`.
    lease_until: AtomicU64,
    sole_voter: AtomicBool,
    /// Changes of membership under way: none of them may be overtaken by `sole_voter`.
    changes: AtomicU32,
    /// A term in which every read is confirmed, since another replica may lead the span, or part of it,
    /// before the lease lapses: a transfer was tried, whose message may still arrive; or a split is
    /// under way, which the others may have applied already.
    leaseless_term: AtomicU64,
}

impl Replica {
    pub fn range(&self) -> RangeId {
        self.range
    }

    pub fn id(&self) -> ReplicaId {
        self.id
    }

    pub fn node(&self) -> NodeId {
        self.around.node
    }

    /// As applied here. Generation 0: waiting for its first snapshot.
    pub fn descriptor(&self) -> Arc<RangeDescriptor> {
        self.running().machine.descriptor()
    }

    pub fn applied_index(&self) -> u64 {
        self.running().machine.applied().map_or(0, |applied| applied.index)
    }

    /// A few atomic loads.
    pub fn leadership(&self) -> Leadership {
        let mirror = &self.mirror;
        let term = mirror.term.load(Ordering::Acquire);
        if term == 0 {
            return Leadership::Follower;
        }
        let held = mirror.sole_voter.load(Ordering::Acquire)
            || (mirror.leaseless_term.load(Ordering::Acquire) != term
                && mirror.now() < mirror.lease_until.load(Ordering::Acquire));
        let serving = held && mirror.ready.load(Ordering::Acquire);
        if mirror.term.load(Ordering::Acquire) != term {
            return Leadership::Follower;
        }
        if serving { Leadership::Serving { term } } else { Leadership::Unconfirmed { term } }
    }

    /// Who leads, as far as known here.
    pub fn leader(&self) -> Option<ReplicaPlace> {
        let running = self.running();
        let metrics = running.metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let place = metrics.membership_config.get_node(&leader)?;
        Some(ReplicaPlace {
            replica: leader,
            node: place.node,
            address: self.peers.address_of(place),
            role: ReplicaRole::Voter,
        })
    }

    /// The refusal that tells the caller where to go.
    pub fn not_leader(&self) -> ReplicationError {
        let leader = self.leader().filter(|place| place.replica != self.id);
        ReplicationError::NotLeader { range: self.range, leader }
    }

    /// Asks a quorum whether this replica still leads, and waits until what was committed before is
    /// applied here. Concurrent calls share one round.
    pub async fn confirm_leadership(&self) -> Result<()> {
        let running = self.running();
        let raft = &running.raft;
        match raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => match linearizer.await_ready(raft).await {
                Ok(_) => Ok(()),
                Err(fatal) => Err(self.stopped(fatal)),
            },
            Err(RaftError::APIError(error)) => match error {
                openraft::errors::LinearizableReadError::ForwardToLeader(to) => {
                    Err(self.forward(to))
                }
                openraft::errors::LinearizableReadError::QuorumNotEnough(missing) => {
                    Err(ReplicationError::NoQuorum {
                        range: self.range,
                        reason: missing.to_string(),
                    })
                }
            },
            Err(RaftError::Fatal(fatal)) => Err(self.stopped(fatal)),
        }
    }

    /// Replicates a command; answers once it is applied here.
    pub async fn propose(&self, command: &Command) -> Result<Applied> {
        if let Body::Write { ops } = &command.body
            && let Some(op) = ops.iter().find(|op| !Cf::REPLICATED.contains(&op.cf))
        {
            return Err(ReplicationError::Refused(format!("family {:?} is not replicated", op.cf)));
        }
        let bytes = command.encode();
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(ReplicationError::Refused(format!(
                "a command of {} bytes, at most {COMMAND_BYTES_MAX} are allowed",
                bytes.len()
            )));
        }
        let proposed = self.propose_encoded(Proposal(bytes));
        match tokio::time::timeout(self.tuning.propose_timeout, proposed).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.unknown("no quorum answered in time")),
        }
    }

    async fn propose_encoded(&self, proposal: Proposal) -> Result<Applied> {
        let running = self.running();
        let mut renewed = false;
        loop {
            match running.raft.client_write(proposal.clone()).await {
                Ok(response) => return Ok(response.data),
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to)))
                    if to.reason == ForwardReason::LeaseExpired && !renewed =>
                {
                    // After a quiet time the leader must hear its followers before it writes.
                    self.confirm_leadership().await?;
                    renewed = true;
                }
                Err(error) => return Err(self.write_error(error)),
            }
        }
    }

    /// Splits the range at `at`; the right half is `right`. Answers once the split is applied here.
    ///
    /// The other replicas may apply it, and elect a leader of the right half after one lease, while it
    /// still waits to be applied here. Reads are confirmed until then, which waits for what is
    /// committed (protocol.md, rule 9).
    pub async fn split(&self, at: core_domain::Key, right: RangeId) -> Result<Applied> {
        let _moving = self.moving.lock().await;
        let term = self.mirror.term.load(Ordering::Acquire);
        if term == 0 {
            return Err(self.not_leader());
        }
        let before = self.mirror.leaseless_term.swap(term, Ordering::AcqRel);
        let generation = self.descriptor().generation;
        let body = Body::Split { at, right };
        // In this term or not at all: another leader would not know of it.
        let applied = self.propose(&Command { range: self.range, generation, term, body }).await;
        let certain = applied.as_ref().map_or_else(|error| error.is_not_applied(), |_| true);
        if certain {
            self.mirror.leaseless_term.store(before, Ordering::Release);
        }
        applied
    }

    /// Makes the voter on `node` the leader. This replica stops serving at once: it does without its
    /// lease, and while a transfer is under way openraft confirms nothing and takes no entries. If
    /// the transfer fails, the others elect somebody.
    pub async fn transfer_to(&self, node: NodeId) -> Result<()> {
        let _moving = self.moving.lock().await;
        let descriptor = self.descriptor();
        let target = descriptor
            .voters()
            .find(|place| place.node == node)
            .ok_or_else(|| {
                ReplicationError::Refused(format!("{} has no voter on {node}", self.range))
            })?
            .replica;
        if target == self.id {
            return Ok(());
        }
        let term = self.mirror.term.load(Ordering::Acquire);
        if term == 0 {
            return Err(self.not_leader());
        }
        self.mirror.leaseless_term.store(term, Ordering::Release);
        let running = self.running();
        let trigger = running.raft.trigger();
        trigger.transfer_leader(target).await.map_err(|fatal| self.stopped(fatal))?;
        let metrics = running
            .raft
            .wait(Some(self.tuning.election_timeout_max * 3))
            .metrics(|m| m.current_leader == Some(target), "leader transferred")
            .await;
        metrics.map(|_| ()).map_err(|error| ReplicationError::NoQuorum {
            range: self.range,
            reason: error.to_string(),
        })
    }

    pub(crate) fn write_error(
        &self,
        error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>,
    ) -> ReplicationError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => self.forward(to),
            RaftError::APIError(error @ ClientWriteError::LogEntryDiscarded(_)) => {
                self.unknown(error)
            }
            RaftError::APIError(
                error @ (ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_)),
            ) => ReplicationError::Refused(error.to_string()),
            // The entry may be in the log, and the log survives.
            RaftError::Fatal(fatal) => self.unknown(fatal),
        }
    }

    fn forward(&self, to: ForwardToLeader<TypeConfig>) -> ReplicationError {
        let leader = match (to.leader_id, to.leader_node) {
            (Some(replica), Some(place)) if replica != self.id => Some(ReplicaPlace {
                replica,
                node: place.node,
                address: self.peers.address_of(&place),
                role: ReplicaRole::Voter,
            }),
            _ => None,
        };
        ReplicationError::NotLeader { range: self.range, leader }
    }

    fn unknown(&self, reason: impl ToString) -> ReplicationError {
        ReplicationError::OutcomeUnknown { range: self.range, reason: reason.to_string() }
    }

    pub(crate) fn stopped(&self, reason: impl ToString) -> ReplicationError {
        ReplicationError::Stopped { range: self.range, reason: reason.to_string() }
    }

    pub(crate) fn running(&self) -> Arc<Running> {
        self.running.read().clone()
    }

    pub(crate) fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    pub(crate) fn engine(&self) -> &dyn storage::Engine {
        &*self.around.engine
    }

    pub(crate) fn observer(&self) -> &dyn crate::observer::Observer {
        &*self.around.observer
    }

    pub(crate) fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// While the guard lives, this replica does not take itself for the only voter.
    pub(crate) fn begin_change(&self) -> ChangeGuard<'_> {
        self.mirror.changes.fetch_add(1, Ordering::AcqRel);
        self.mirror.sole_voter.store(false, Ordering::Release);
        self.running().raft.runtime_config().tick(true);
        ChangeGuard(self)
    }

    /// A deaf replica hears the candidate that it last voted for: the lease that it may have helped
    /// to live is that one's own. So the first leader of a split's right half need not wait.
    pub(crate) fn hears_votes_of(&self, candidate: ReplicaId) -> bool {
        let voted_for = || self.running().log.vote().map(|vote| vote.leader_id.node_id);
        self.hears_votes() || voted_for() == Some(candidate)
    }

    pub(crate) fn hears_votes(&self) -> bool {
        self.deaf_to_votes_until.read().is_none_or(|until| tokio::time::Instant::now() >= until)
    }
}

pub(crate) struct ChangeGuard<'a>(&'a Replica);

impl Drop for ChangeGuard<'_> {
    fn drop(&mut self) {
        self.0.mirror.changes.fetch_sub(1, Ordering::AcqRel);
        let running = self.0.running();
        let metrics = running.metrics.borrow_watched().clone();
        self.0.mirror_membership(&running, &metrics);
    }
}

/// Starting, watching, rebuilding.
impl Replica {
    pub(crate) async fn start(
        range: RangeId,
        id: ReplicaId,
        around: Surroundings,
        peers: Arc<Peers>,
        writer: Arc<LogWriter>,
        tuning: Arc<Tuning>,
    ) -> Result<Arc<Self>> {
        let running = run(range, id, &around, &peers, &writer, &tuning).await?;
        let replica = Arc::new(Self {
            range,
            id,
            around,
            peers,
            writer,
            tuning,
            running: RwLock::new(Arc::new(running)),
            mirror: Mirror::new(),
            changing: tokio::sync::Mutex::new(()),
            moving: tokio::sync::Mutex::new(()),
            deaf_to_votes_until: RwLock::new(None),
            stopping: AtomicBool::new(false),
        });
        replica.begin().await?;
        let watched = Arc::downgrade(&replica);
        let mut running = replica.running();
        tokio::spawn(async move {
            let mut failures = 0;
            while watch(&watched, &running).await == Watched::Stopped {
                let Some(replica) = watched.upgrade() else { return };
                failures += 1;
                match replica.rebuild(failures).await {
                    Some(rebuilt) => running = rebuilt,
                    None => return,
                }
            }
        });
        Ok(replica)
    }

    /// The first steps of a group that was just opened.
    async fn begin(self: &Arc<Self>) -> Result<()> {
        let running = self.running();
        let state = running.metrics.borrow_watched().clone();
        self.mirror_membership(&running, &state);
        if self.is_alone().await? {
            let elected = running.raft.trigger().elect(false).await;
            return elected.map_err(|fatal| self.stopped(fatal));
        }
        if running.log.vote().is_some_and(|vote| vote.leader_id.term > 0) {
            self.be_deaf_for_a_lease();
        }
        Ok(())
    }

    /// It may have helped a lease to live that it no longer knows of: no votes until that lapsed.
    pub(crate) fn be_deaf_for_a_lease(self: &Arc<Self>) {
        let lease = self.tuning.election_timeout_max;
        *self.deaf_to_votes_until.write() = Some(tokio::time::Instant::now() + lease);
        self.running().raft.runtime_config().elect(false);
        let replica = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(lease).await;
            if let Some(replica) = replica.upgrade() {
                replica.running().raft.runtime_config().elect(true);
            }
        });
    }

    /// Nobody else has a replica. Asks the group itself: its metrics know nothing right after a start.
    pub(crate) async fn is_alone(&self) -> Result<bool> {
        let (running, id) = (self.running(), self.id);
        let alone = running
            .raft
            .with_raft_state(move |state| is_alone(state.membership_state.effective(), id));
        alone.await.map_err(|fatal| self.stopped(fatal))
    }

    /// Campaigns now, without asking first whether it would win.
    pub(crate) async fn elect(&self) -> Result<()> {
        let running = self.running();
        running.raft.trigger().elect(false).await.map_err(|fatal| self.stopped(fatal))
    }

    /// Stops the group for good; its data stay.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let was_leading = self.mirror.lose();
        if let Err(error) = self.running().raft.shutdown().await {
            tracing::warn!(range = %self.range, %error, "the group ended abnormally");
        }
        self.running().machine.retire();
        if was_leading {
            self.around.observer.leadership_lost(self.range);
        }
    }

    /// Opens the group again from disk after its core failed.
    async fn rebuild(self: &Arc<Self>, failures: u32) -> Option<Arc<Running>> {
        if self.mirror.lose() {
            self.around.observer.leadership_lost(self.range);
        }
        if self.stopping.load(Ordering::Acquire) {
            return None;
        }
        let old = self.running();
        let reason = old.metrics.borrow_watched().running_state.clone();
        if failures > REBUILDS_MAX {
            tracing::error!(range = %self.range, ?reason, "the group stays stopped");
            return None;
        }
        tracing::error!(range = %self.range, ?reason, failures, "the group failed: rebuilding it");
        let _ = old.raft.shutdown().await; // It reports the panic that brought us here.
        old.machine.retire();
        tokio::time::sleep(Duration::from_millis(50 << failures)).await;
        self.writer.barrier().await.ok()?;
        let opened =
            run(self.range, self.id, &self.around, &self.peers, &self.writer, &self.tuning).await;
        match opened {
            Ok(running) => {
                let running = Arc::new(running);
                *self.running.write() = running.clone();
                if let Err(error) = self.begin().await {
                    tracing::error!(range = %self.range, %error, "the rebuilt group stopped");
                }
                Some(running)
            }
            Err(error) => {
                tracing::error!(range = %self.range, %error, "the group cannot be opened again");
                None
            }
        }
    }

    fn mirror_metrics(&self, running: &Running, metrics: &Metrics) {
        self.mirror_membership(running, metrics);
        let term = match metrics.state {
            ServerState::Leader if metrics.current_leader == Some(self.id) => metrics.current_term,
            _ => 0,
        };
        let mirror = &self.mirror;
        let before = mirror.term.load(Ordering::Acquire);
        if before != term && mirror.lose() {
            self.around.observer.leadership_lost(self.range);
        }
        if term == 0 || self.stopping.load(Ordering::Acquire) {
            return;
        }
        let ready = metrics.last_applied.is_some_and(|applied| {
            applied.leader_id.term == term && applied.leader_id.node_id == self.id
        });
        if let Some(acked) = metrics.last_quorum_acked {
            let trusted = self.tuning.election_timeout_max.mul_f64(LEASE_MARGIN);
            let since_base = acked.into_inner() - mirror.base;
            mirror.lease_until.store((since_base + trusted).as_nanos() as u64, Ordering::Release);
        }
        mirror.ready.store(ready, Ordering::Release);
        if before != term {
            mirror.term.store(term, Ordering::Release);
            // No lease but its own is left, and of that it knows.
            *self.deaf_to_votes_until.write() = None;
            self.around.observer.leadership_gained(self.range, term);
        }
    }

    fn mirror_membership(&self, running: &Running, metrics: &Metrics) {
        let quiet = self.mirror.changes.load(Ordering::Acquire) == 0;
        let membership = metrics.membership_config.membership();
        let configs = membership.get_joint_config();
        let sole = configs.len() == 1 && configs[0].iter().eq([&self.id]);
        self.mirror.sole_voter.store(quiet && sole, Ordering::Release);
        if self.mirror.changes.load(Ordering::Acquire) > 0 {
            self.mirror.sole_voter.store(false, Ordering::Release); // One began in between.
        }
        // A group of one replica needs no heartbeats, and a tick costs about 10 µs.
        let idle = quiet && is_alone(&metrics.membership_config, self.id) && metrics.state == ServerState::Leader;
        running.raft.runtime_config().tick(!idle);
    }
}

impl Mirror {
    fn new() -> Self {
        Self {
            base: TypeConfig::now(),
            term: AtomicU64::new(0),
            ready: AtomicBool::new(false),
            lease_until: AtomicU64::new(0),
            sole_voter: AtomicBool::new(false),
            changes: AtomicU32::new(0),
            leaseless_term: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        (TypeConfig::now() - self.base).as_nanos() as u64
    }

    /// Whether it was leading.
    fn lose(&self) -> bool {
        let was = self.term.swap(0, Ordering::AcqRel) != 0;
        self.ready.store(false, Ordering::Release);
        self.lease_until.store(0, Ordering::Release);
        was
    }
}

fn is_alone(membership: &StoredMembership, id: ReplicaId) -> bool {
    let membership = membership.membership();
    membership.nodes().map(|(id, _)| id).eq([&id]) && membership.voter_ids().eq([id])
}

#[derive(PartialEq, Eq)]
enum Watched {
    /// The core ended by itself.
    Stopped,
    /// The replica is gone.
    Dropped,
}

async fn watch(replica: &std::sync::Weak<Replica>, running: &Running) -> Watched {
    let mut metrics = running.metrics.clone();
    loop {
        {
            let Some(replica) = replica.upgrade() else { return Watched::Dropped };
            let now = metrics.borrow_and_update().clone();
            if now.running_state.is_err() {
                return Watched::Stopped;
            }
            replica.mirror_metrics(running, &now);
        }
        if metrics.changed().await.is_err() {
            return Watched::Stopped;
        }
    }
}

async fn run(
    range: RangeId,
    id: ReplicaId,
    around: &Surroundings,
    peers: &Arc<Peers>,
    writer: &Arc<LogWriter>,
    tuning: &Tuning,
) -> Result<Running> {
    let log = GroupLog::open(range, around.engine.clone(), writer.clone())?;
    let machine = Machine::open(around.clone(), id, log.clone())?;
    let network =
        Network { peers: peers.clone(), range, append_timeout: tuning.election_timeout_max };
    let config = Arc::new(tuning.raft_config(range)?);
    let raft = Raft::new(id, config, network, log.clone(), machine.clone())
        .await
        .map_err(|fatal| ReplicationError::Stopped { range, reason: fatal.to_string() })?;
    let metrics = raft.metrics();
    Ok(Running { raft, machine, log, metrics })
}
