//! Every replica of this node.
//!
//! ```text
//! open ─▶ for each replica on disk: finish its snapshot, check its log, start its group
//!      ─▶ serve "raft": frames of envelopes, each to its replica
//!      ─▶ housekeeping: start right halves of splits, remove replicas, purge logs
//! ```

use crate::descriptor::RangeDescriptor;
use crate::error::{ReplicationError, Result};
use crate::log::format::{self, Tag};
use crate::log::group::{read_record, storage_error};
use crate::log::{LogTrace, LogWriter};
use crate::machine::{HostEvent, Meta, Spans, Surroundings};
use crate::network::{Peers, RAFT_SERVICE};
use crate::observer::Observer;
use crate::replica::{Leadership, Replica};
use crate::service::RaftService;
use crate::snapshot;
use crate::types::{LogId, Place};
use cluster::Transport;
use core_domain::{Key, NodeId, RangeId, ReplicaId, Span};
use openraft::LogIdOptionExt;
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;
use storage::{Cf, Engine, IterOptions, WriteBatch};
use tokio::sync::mpsc;

/// Times and limits. Simulation shrinks them.
#[derive(Clone, Debug)]
pub struct Tuning {
    pub heartbeat_interval: Duration,
    pub election_timeout_min: Duration,
    /// Also the lease: at most one second (protocol.md, rule 11).
    pub election_timeout_max: Duration,
    /// After that, the outcome of a proposal is unknown.
    pub propose_timeout: Duration,
    /// A log that holds more is purged, up to a quarter that stays for slow followers.
    pub log_bytes_max: u64,
    pub log_entries_max: u64,
    pub housekeeping_interval: Duration,
    /// How long a new replica may take to catch up before the attempt is given up.
    pub catch_up_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(150),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(1000),
            propose_timeout: Duration::from_secs(10),
            log_bytes_max: 64 << 20,
            log_entries_max: 50_000,
            housekeeping_interval: Duration::from_secs(1),
            catch_up_timeout: Duration::from_secs(60),
        }
    }
}

impl Tuning {
    pub(crate) fn raft_config(&self, range: RangeId) -> Result<openraft::Config> {
        let config = openraft::Config {
            cluster_name: range.to_string(),
            heartbeat_interval: self.heartbeat_interval.as_millis() as u64,
            election_timeout_min: self.election_timeout_min.as_millis() as u64,
            election_timeout_max: self.election_timeout_max.as_millis() as u64,
            install_snapshot_timeout: 600_000,
            max_payload_entries: 1024,
            snapshot_policy: openraft::SnapshotPolicy::Never,
            // Housekeeping purges, by bytes.
            max_in_snapshot_log_to_keep: u64::MAX,
            purge_batch_size: 256,
            removed_leader_step_down: openraft::StepDownPolicy::Never,
            enable_pre_vote: Some(true),
            quorum_loss_probe_interval: Some(
                self.election_timeout_max.as_millis() as u64 * 2 + 100,
            ),
            // A restart always begins a new term: what leaders keep in memory is gone.
            enable_leader_restore: Some(false),
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| ReplicationError::Refused(error.to_string()))
    }
}

/// Used as `Arc<Store>`.
pub struct Store {
    around: Surroundings,
    peers: Arc<Peers>,
    writer: Arc<LogWriter>,
    tuning: Arc<Tuning>,
    groups: RwLock<HashMap<RangeId, Arc<Replica>>>,
    /// Ranges whose replica here must not be started: their disk lost what it had promised.
    damaged: RwLock<BTreeMap<RangeId, ReplicationError>>,
    /// Serialises creation and removal of replicas.
    changing: tokio::sync::Mutex<()>,
}

impl Store {
    /// Opens every replica that the engine holds, and starts to serve them to other nodes. Leases
    /// run on tokio's clock, as openraft does; there is no other.
    pub async fn open(
        engine: Arc<dyn Engine>,
        node: NodeId,
        transport: Arc<dyn Transport>,
        observer: Arc<dyn Observer>,
        trace: Arc<dyn LogTrace>,
        tuning: Tuning,
    ) -> Result<Arc<Self>> {
        let writer = LogWriter::start(engine.clone(), trace)
            .map_err(|error| ReplicationError::Storage(error.to_string()))?;
        let (host, events) = mpsc::unbounded_channel();
        let spans = Arc::new(Spans::default());
        let store = Arc::new(Self {
            around: Surroundings { node, engine, observer, spans, host },
            peers: Peers::new(transport.clone()),
            writer,
            tuning: Arc::new(tuning),
            groups: RwLock::default(),
            damaged: RwLock::default(),
            changing: tokio::sync::Mutex::new(()),
        });
        for (range, meta) in store.replicas_on_disk()? {
            match store.start_replica(range, meta.replica).await {
                Ok(_) => {}
                Err(error @ ReplicationError::Damaged(_)) => store.set_damaged(range, error),
                Err(error) => return Err(error),
            }
        }
        snapshot::sweep_staging(&**store.engine())?;
        transport.register(RAFT_SERVICE, Arc::new(RaftService::new(Arc::downgrade(&store))));
        tokio::spawn(keep_house(Arc::downgrade(&store), events));
        tokio::spawn(keep_logs_short(Arc::downgrade(&store)));
        Ok(store)
    }

    pub fn node(&self) -> NodeId {
        self.around.node
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.around.engine
    }

    pub fn group(&self, range: RangeId) -> Option<Arc<Replica>> {
        self.groups.read().get(&range).cloned()
    }

    /// The replica here whose applied span has `key`.
    pub fn group_at(&self, key: &Key) -> Option<Arc<Replica>> {
        let range = {
            let spans = self.around.spans.lock();
            spans.iter().find(|(_, span)| span.contains(key)).map(|(range, _)| *range)
        };
        range.and_then(|range| self.group(range))
    }

    /// In the order of their ids.
    pub fn groups(&self) -> Vec<Arc<Replica>> {
        let mut groups = self.groups.read().values().cloned().collect::<Vec<_>>();
        groups.sort_by_key(|replica| replica.range());
        groups
    }

    pub fn descriptors(&self) -> Vec<Arc<RangeDescriptor>> {
        self.groups().iter().map(|replica| replica.descriptor()).collect()
    }

    /// Ranges that cannot be served from this node's disk any more, and why.
    pub fn damaged(&self) -> BTreeMap<RangeId, ReplicationError> {
        self.damaged.read().clone()
    }

    /// Founds ranges with one voter on each of `founders`, in this order; replica ids are the
    /// positions, counted from one. Every founder calls this with the same arguments; Raft elects
    /// one leader among a majority of them. Ranges that are here already are left as they are.
    pub async fn bootstrap(
        self: &Arc<Self>,
        founders: &[(NodeId, String)],
        ranges: &[(RangeId, Span)],
    ) -> Result<()> {
        for (range, span) in ranges {
            if self.group(*range).is_some() {
                continue;
            }
            let descriptor = RangeDescriptor::founding(*range, span.clone(), founders);
            let place = descriptor.replica_on(self.node()).ok_or_else(|| {
                ReplicationError::Refused(format!("{} is not a founder", self.node()))
            })?;
            let replica = self.create_replica(*range, place.replica, Some(&descriptor)).await?;
            let members = descriptor
                .replicas
                .iter()
                .map(|place| {
                    let address = place.address.clone();
                    (place.replica, Place { node: place.node, address })
                })
                .collect::<BTreeMap<_, _>>();
            let initialized = replica.running().raft.initialize(members).await;
            if let Err(error) = initialized {
                // Another founder's messages may have come first: then it is initialized.
                tracing::info!(%range, %error, "already initialized");
            }
        }
        Ok(())
    }

    /// Tells where nodes listen now, and brings every range that is led from here to its number of
    /// voters on these nodes.
    pub async fn reconcile(self: &Arc<Self>, live: &[(NodeId, String)]) {
        self.peers.set_addresses(live);
        for replica in self.groups() {
            if replica.leadership() != Leadership::Follower
                && let Err(error) = replica.reconcile(live).await
            {
                tracing::info!(range = %replica.range(), %error, "not reconciled yet");
            }
        }
    }

    /// Before an orderly end: gives every range that is led from here to a voter on another live
    /// node, so that nobody waits for an election.
    pub async fn hand_over(&self, live: &[(NodeId, String)]) {
        let led = self.groups().into_iter().filter(|r| r.leadership() != Leadership::Follower);
        let handing = led.map(|replica| async move {
            let may_lead =
                |node: &NodeId| *node != replica.node() && live.iter().any(|(id, _)| id == node);
            let heir = replica.descriptor().voters().map(|place| place.node).find(may_lead);
            let Some(heir) = heir else { return };
            if let Err(error) = replica.transfer_to(heir).await {
                tracing::info!(range = %replica.range(), %heir, %error, "not handed over");
            }
        });
        futures::future::join_all(handing).await;
    }

    /// Stops every group and the log writer. Nothing that was acknowledged is lost by not calling
    /// this.
    pub async fn shutdown(&self) {
        for replica in self.groups() {
            replica.stop().await;
        }
        let writer = self.writer.clone();
        let stopped = tokio::task::spawn_blocking(move || writer.stop()).await;
        if let Err(error) = stopped {
            tracing::warn!(%error, "the log writer did not stop in order");
        }
    }

    pub(crate) fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// Holds `span` for `range` unless another replica here holds part of it.
    pub(crate) fn reserve_span(
        &self,
        range: RangeId,
        span: &Span,
    ) -> std::result::Result<(), RangeId> {
        let mut spans = self.around.spans.lock();
        let other = spans
            .iter()
            .find(|(other, held)| **other != range && !held.is_empty() && held.overlaps(span));
        match other {
            Some((other, _)) => Err(*other),
            None => {
                let before = spans.get(&range);
                if before.is_none_or(Span::is_empty) {
                    spans.insert(range, span.clone());
                }
                Ok(())
            }
        }
    }

    /// Writes and starts a replica; without a descriptor it waits for a snapshot.
    pub(crate) async fn create_replica(
        self: &Arc<Self>,
        range: RangeId,
        id: ReplicaId,
        descriptor: Option<&RangeDescriptor>,
    ) -> Result<Arc<Replica>> {
        let _changing = self.changing.lock().await;
        if let Some(present) = self.group(range) {
            return if present.id() == id {
                Ok(present)
            } else {
                Err(ReplicationError::Refused(format!(
                    "{range} has replica {} here, not {id}",
                    present.id()
                )))
            };
        }
        let tombstone: Option<ReplicaId> = read_record(&**self.engine(), range, Tag::Tombstone)?;
        if tombstone.is_some_and(|smallest| id < smallest) {
            return Err(ReplicationError::Refused(format!("replica {id} of {range} was removed")));
        }
        let mut batch = WriteBatch::new();
        batch.put(Cf::Raft, format::key(range, Tag::Meta), format::seal(&Meta { replica: id }));
        if let Some(descriptor) = descriptor {
            let record = format::seal(descriptor);
            batch.put(Cf::Raft, format::key(range, Tag::Descriptor), record);
        }
        self.engine().write(batch, true).map_err(storage_error)?;
        self.start_replica(range, id).await
    }

    /// Makes the replica of a right half whose split was never applied here, since the left half's
    /// log was purged before: a snapshot of that came instead. Only where no replica ever was: one that
    /// lost its votes must not take part (protocol.md, rule 13). Who applies a split writes the right
    /// half's record before giving up its span, so there is none once nothing overlaps.
    pub(crate) async fn restore_replica(
        self: &Arc<Self>,
        id: ReplicaId,
        descriptor: &RangeDescriptor,
    ) -> Result<()> {
        let range = descriptor.range;
        if self.group(range).is_some() {
            return Ok(());
        }
        if let Some(other) = self.overlapping(range, &descriptor.span) {
            return Err(ReplicationError::Refused(format!("{other} here has yet to split")));
        }
        if read_record::<Meta>(&**self.engine(), range, Tag::Meta)?.is_some() {
            return Err(ReplicationError::Refused(format!("{range} was here before")));
        }
        let replica = self.create_replica(range, id, None).await?;
        // The left half's replica here may have helped a lease to live.
        replica.be_deaf_for_a_lease();
        tracing::info!(%range, replica = %id, "a replica was missing since a split");
        Ok(())
    }

    fn overlapping(&self, range: RangeId, span: &Span) -> Option<RangeId> {
        let spans = self.around.spans.lock();
        let mut others = spans.iter().filter(|(other, held)| **other != range && !held.is_empty());
        others.find(|(_, held)| held.overlaps(span)).map(|(other, _)| *other)
    }

    async fn start_replica(
        self: &Arc<Self>,
        range: RangeId,
        id: ReplicaId,
    ) -> Result<Arc<Replica>> {
        let replica = Replica::start(
            range,
            id,
            self.around.clone(),
            self.peers.clone(),
            self.writer.clone(),
            self.tuning.clone(),
        )
        .await?;
        self.groups.write().insert(range, replica.clone());
        Ok(replica)
    }

    /// Stops a replica, deletes its data, and leaves a tombstone so that it never comes back.
    pub(crate) async fn remove_replica(
        self: &Arc<Self>,
        range: RangeId,
        id: ReplicaId,
    ) -> Result<()> {
        let _changing = self.changing.lock().await;
        let Some(replica) = self.group(range).filter(|replica| replica.id() == id) else {
            return Ok(());
        };
        self.groups.write().remove(&range);
        replica.stop().await;
        self.writer.barrier().await.map_err(|e| ReplicationError::Storage(e.to_string()))?;
        let span = replica.descriptor().span.clone();
        let mut batch = WriteBatch::new();
        if !span.is_empty() {
            snapshot::delete_span(&mut batch, &span);
        }
        let next = RangeId(range.0 + 1);
        batch.delete_range(Cf::Raft, format::range_start(range), format::range_start(next));
        let tombstone = format::seal(&ReplicaId(id.0 + 1));
        batch.put(Cf::Raft, format::key(range, Tag::Tombstone), tombstone);
        self.engine().write(batch, true).map_err(storage_error)?;
        self.around.spans.lock().remove(&range);
        self.around.observer.removed(range);
        tracing::info!(%range, replica = %id, "replica removed");
        Ok(())
    }

    fn set_damaged(&self, range: RangeId, error: ReplicationError) {
        tracing::error!(%range, %error, "the replica is retired: its log is damaged");
        self.damaged.write().insert(range, error);
    }

    fn replicas_on_disk(&self) -> Result<Vec<(RangeId, Meta)>> {
        let mut found = Vec::new();
        let mut next = Some(RangeId(0));
        while let Some(from) = next {
            let range = {
                let options = IterOptions {
                    lower: Some(format::range_start(from)),
                    ..IterOptions::default()
                };
                let mut iter = self.engine().iter(Cf::Raft, options);
                iter.seek_to_first();
                iter.status().map_err(storage_error)?;
                iter.valid().then(|| format::range_of(iter.key())).flatten()
            };
            let Some(range) = range else { break };
            match read_record::<Meta>(&**self.engine(), range, Tag::Meta) {
                Ok(Some(meta)) => found.push((range, meta)),
                Ok(None) => {} // A tombstone.
                Err(error) => self.set_damaged(range, error),
            }
            next = range.0.checked_add(1).map(RangeId);
        }
        Ok(found)
    }

    async fn carry_out(self: &Arc<Self>, event: HostEvent) -> Result<()> {
        match event {
            HostEvent::Split { right, elect } => {
                let _changing = self.changing.lock().await;
                if self.group(right).is_some() {
                    return Ok(());
                }
                let Some(meta) = read_record::<Meta>(&**self.engine(), right, Tag::Meta)? else {
                    return Ok(());
                };
                let replica = self.start_replica(right, meta.replica).await?;
                if elect {
                    tokio::spawn(async move {
                        if let Err(error) = replica.lead_first_half().await {
                            tracing::warn!(range = %right, %error, "the right half is not led yet");
                        }
                    });
                }
                Ok(())
            }
            HostEvent::Removed { range, replica } => self.remove_replica(range, replica).await,
        }
    }

    /// Purges logs that grew beyond their limits.
    async fn purge_logs(&self) {
        for replica in self.groups() {
            let running = replica.running();
            let held = running.log.last().next_index() - running.log.purged().next_index();
            if running.log.bytes_since_purge() < self.tuning.log_bytes_max
                && held < self.tuning.log_entries_max
            {
                continue;
            }
            let applied: Option<LogId> = running.machine.applied();
            let upto = running.log.purged().next_index() + held / 4 * 3;
            let upto = upto.min(applied.index().unwrap_or(0));
            if let Err(error) = replica.purge_log(upto).await {
                tracing::info!(range = %replica.range(), %error, "the log is not purged yet");
            }
        }
    }
}

/// Waits for nothing else: the right half of a split is not led before it is started.
async fn keep_house(store: Weak<Store>, mut events: mpsc::UnboundedReceiver<HostEvent>) {
    while let Some(event) = events.recv().await {
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = store.carry_out(event).await {
            tracing::error!(%error, "housekeeping failed");
        }
    }
}

async fn keep_logs_short(store: Weak<Store>) {
    let Some(interval) = store.upgrade().map(|store| store.tuning.housekeeping_interval) else {
        return;
    };
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(store) = store.upgrade() else { return };
        store.purge_logs().await;
    }
}
