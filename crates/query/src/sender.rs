//! A request finds the leader of its range: here by a function call, elsewhere by the service
//! `range`; and this node's ranges answer the others.
//!
//! ```text
//! key ─▶ replica here? ─yes, leads─▶ evaluate, no bytes encoded
//!   └──▶ cache, else ask the nodes ─▶ leader's address ─▶ call
//!            NotLeader(hint) ─▶ there      WrongRange ─▶ learn, look up again
//!            silence ─▶ the next replica   until `unavailable_timeout`
//! ```
//!
//! The payload is `version byte, postcard`. What it does not do: decide what a failed commit means.

use crate::range_cache::RangeCache;
use async_trait::async_trait;
use bytes::Bytes;
use cluster::{Handler, Transport, TransportError};
use core_domain::{Key, KvError, KvResult, NodeId, RangeId, WaitPolicy};
use replication::evaluate::{
    BulkPart, Evaluator, Group, HeldLocks, RangeError, RangeRequest, RangeResponse, TXN_EXPIRY,
    Victim, WaitEdge,
};
use replication::{
    Applied, Leadership, RangeDescriptor, Replica, ReplicaPlace, SYSTEM_RANGE, Store,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The name under which nodes serve their ranges to each other.
pub const RANGE_SERVICE: &str = "range";
const FORMAT: u8 = 1;
/// A remote wait for a lock is renewed this often, so that no call stays open for ever.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

/// While a call is unanswered, how often to look whether its range has another leader.
const LEADER_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Live nodes and where they listen.
pub type PeerList = Arc<dyn Fn() -> Vec<(NodeId, String)> + Send + Sync>;

/// Times and sizes; simulation shrinks them.
#[derive(Clone, Debug)]
pub struct SendTuning {
    /// How long a range may have no leader before its requests are refused.
    pub unavailable_timeout: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How long a commit whose outcome is unknown is asked for again.
    pub outcome_timeout: Duration,
    /// A range that takes more on the disk is split.
    pub range_bytes_max: u64,
    /// How often sizes are looked at.
    pub size_check_interval: Duration,
}

impl Default for SendTuning {
    fn default() -> Self {
        Self {
            // An election follows the end of the lease and may need a second round.
            unavailable_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(1),
            outcome_timeout: Duration::from_secs(10),
            range_bytes_max: 512 << 20,
            size_check_interval: Duration::from_secs(5),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Envelope {
    Execute {
        range: RangeId,
        request: RangeRequest,
    },
    /// Which range has this key (`before`: the keys just below it)?
    Locate {
        key: Key,
        before: bool,
    },
    LocateRange {
        range: RangeId,
    },
    /// Only at the leader.
    Split {
        range: RangeId,
        at: Key,
        right: RangeId,
    },
    /// Only at the leader.
    Transfer {
        range: RangeId,
        node: NodeId,
    },
    /// At the node that is to lead it.
    TakeOver {
        range: RangeId,
        held: HeldLocks,
    },
}

#[derive(Serialize, Deserialize)]
enum Reply {
    Executed(Result<RangeResponse, RangeError>),
    Located(Option<(RangeDescriptor, Option<ReplicaPlace>)>),
    Split(Result<(), RangeError>),
    Transferred(Result<bool, RangeError>),
    TakenOver,
}

/// Who answered, after how many wrong turns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub node: NodeId,
    pub redirects: u32,
}

pub struct RangeSender {
    store: Arc<Store>,
    evaluator: Arc<Evaluator>,
    transport: Arc<dyn Transport>,
    peers: PeerList,
    cache: RangeCache,
    pub(crate) tuning: SendTuning,
}

/// Where one attempt goes.
enum Target {
    Here(Arc<dyn Group>),
    There(ReplicaPlace),
}

/// What one attempt brought, besides an answer.
enum Miss {
    /// Nothing was done.
    Not(String),
    /// It may have been done.
    Maybe(String),
    /// It may have been done where it was asked; another node leads by now.
    Moved(String),
}

impl RangeSender {
    /// Serves this node's ranges to others from now on.
    pub fn start(
        store: Arc<Store>,
        evaluator: Arc<Evaluator>,
        transport: Arc<dyn Transport>,
        peers: PeerList,
        tuning: SendTuning,
    ) -> Arc<Self> {
        let cache = RangeCache::default();
        let sender = Arc::new(Self { store, evaluator, transport, peers, cache, tuning });
        let service = RangeService(Arc::downgrade(&sender));
        sender.transport.register(RANGE_SERVICE, Arc::new(service));
        sender
    }

    /// The waits in this node's queues; `again`: those of the last such call that go on.
    pub(crate) fn own_waits(&self, again: bool) -> Vec<WaitEdge> {
        self.evaluator.waits(again)
    }

    pub(crate) fn give_way(&self, victim: &Victim) {
        self.evaluator.give_way(victim);
    }

    pub(crate) fn try_draw(&self) -> Option<core_domain::Timestamp> {
        let system = self.store.group(SYSTEM_RANGE)?;
        self.evaluator.try_draw(&*system)
    }

    pub(crate) fn led_here(&self) -> Vec<Arc<Replica>> {
        let led = |replica: &Arc<Replica>| replica.leadership() != Leadership::Follower;
        self.store.groups().into_iter().filter(led).collect()
    }

    /// The value of `key` at `at` and when it was committed, if it is led here and nothing has to be waited for.
    pub(crate) fn try_get(
        &self,
        key: &Key,
        at: core_domain::Timestamp,
    ) -> Option<Option<(core_domain::Timestamp, Option<core_domain::Value>)>> {
        let replica = self.store.group_at(key)?;
        let version = self.evaluator.try_get(&*replica, key, at)?;
        Some(version.map(|version| (version.commit, version.value)))
    }

    pub(crate) fn node(&self) -> NodeId {
        self.store.node()
    }

    pub(crate) fn evaluator(&self) -> &Arc<Evaluator> {
        &self.evaluator
    }

    /// Whether this node leads `range`.
    pub(crate) fn leadership(&self, range: RangeId) -> Leadership {
        self.store.group(range).map_or(Leadership::Follower, |replica| replica.leadership())
    }

    /// The range that has `key`.
    pub(crate) async fn locate(&self, key: &Key) -> KvResult<Arc<RangeDescriptor>> {
        self.find(key, false).await
    }

    /// The range that has the keys just below `end`.
    pub(crate) async fn locate_before(&self, end: &Key) -> KvResult<Arc<RangeDescriptor>> {
        self.find(end, true).await
    }

    async fn find(&self, key: &Key, before: bool) -> KvResult<Arc<RangeDescriptor>> {
        let started = Instant::now();
        // The right half of a split is known where it is a few milliseconds after the split.
        let mut asked = 0;
        loop {
            let known = if before { self.cache.before(key) } else { self.cache.at(key) };
            let local = self.local(key, before);
            if let Some(found) = newer(local, known) {
                return Ok(found);
            }
            if self.ask_peers(Envelope::Locate { key: key.clone(), before }).await {
                continue;
            }
            if started.elapsed() >= self.tuning.unavailable_timeout {
                let reason = format!("no live node knows the range of {key}");
                return Err(KvError::Unavailable { range: RangeId(0), reason });
            }
            tokio::time::sleep(Duration::from_millis(if asked < 20 { 5 } else { 50 })).await;
            asked += 1;
        }
    }

    fn local(&self, key: &Key, before: bool) -> Option<Arc<Replica>> {
        if !before {
            return self.store.group_at(key);
        }
        self.store.groups().into_iter().find(|replica| {
            let descriptor = replica.descriptor();
            let span = &descriptor.span;
            let starts_below = key.is_empty() || span.start < *key;
            let reaches = span.end.is_empty() || (!key.is_empty() && *key <= span.end);
            !span.is_empty() && starts_below && reaches
        })
    }

    /// Whether some node knew; the answer is in the cache then.
    async fn ask_peers(&self, question: Envelope) -> bool {
        let question = encode(&question);
        let own = self.transport.local_address().to_owned();
        for (_, address) in (self.peers)().into_iter().filter(|(_, address)| *address != own) {
            let asked = self.transport.call(
                &address,
                RANGE_SERVICE,
                question.clone(),
                self.tuning.call_timeout,
            );
            if let Ok(bytes) = asked.await
                && let Ok(Reply::Located(Some((descriptor, leader)))) = decode(&bytes)
            {
                self.cache.learn(&descriptor);
                self.cache.learn_leader(descriptor.range, leader.as_ref());
                return true;
            }
        }
        false
    }

    /// Sends to a range that is known by its id, the system range.
    pub(crate) async fn to_range(
        &self,
        range: RangeId,
        request: RangeRequest,
    ) -> KvResult<RangeResponse> {
        let descriptor = match self.store.group(range) {
            Some(replica) => replica.descriptor(),
            None => match self.cache.at(&Key::system("")).filter(|known| known.range == range) {
                Some(known) => known,
                None => {
                    self.ask_peers(Envelope::LocateRange { range }).await;
                    self.locate(&Key::system("")).await?
                }
            },
        };
        match self.send(&descriptor, request).await {
            Ok((response, _)) => Ok(response),
            Err(error) => Err(kv_error(descriptor.range, error)),
        }
    }

    /// Sends `request` to the leader of `descriptor`'s range, wherever it is.
    ///
    /// # Errors
    /// `WrongRange` (learnt from: locate again), `Intents`, `OutcomeUnknown` if it may have been
    /// carried out, and `Kv`; `KvError::Unavailable` says that it was not.
    pub(crate) async fn send(
        &self,
        descriptor: &RangeDescriptor,
        request: RangeRequest,
    ) -> Result<(RangeResponse, Served), RangeError> {
        let range = descriptor.range;
        let asked = Instant::now();
        let mut started = asked;
        let mut redirects = 0;
        let mut maybe = None;
        let mut hint = None;
        loop {
            let target = self.target(descriptor, hint.take(), redirects);
            let miss = match target {
                Some(target) => {
                    let node = self.node_of(&target);
                    match self.attempt(range, target, &request, asked).await {
                        Ok(Ok(response)) => return Ok((response, Served { node, redirects })),
                        Ok(Err(RangeError::NotLeader { leader, .. })) => {
                            self.cache.learn_leader(range, leader.as_ref());
                            hint = leader;
                            Miss::Not("no replica that was asked leads".into())
                        }
                        Ok(Err(RangeError::NoQuorum { reason, .. })) => Miss::Not(reason),
                        Ok(Err(RangeError::OutcomeUnknown { reason, .. })) => Miss::Maybe(reason),
                        Ok(Err(RangeError::WrongRange { actual })) => {
                            self.correct(range, actual.as_ref()).await;
                            return Err(RangeError::WrongRange { actual });
                        }
                        Ok(Err(RangeError::Kv(KvError::LockTimeout { .. })))
                            if wait_left(&request, asked).is_some() =>
                        {
                            // Only this call's share of the wait is over.
                            started = Instant::now();
                            continue;
                        }
                        Ok(Err(error @ (RangeError::Intents(_) | RangeError::Kv(_)))) => {
                            return Err(error);
                        }
                        Err(miss) => miss,
                    }
                }
                None => Miss::Not("no replica is known".into()),
            };
            redirects += 1;
            let reason = match miss {
                Miss::Not(reason) => reason,
                Miss::Maybe(reason) => {
                    maybe = Some(reason.clone());
                    reason
                }
                Miss::Moved(reason) => {
                    // The new leader gets its time, however long the old one was waited for.
                    started = Instant::now();
                    maybe = Some(reason.clone());
                    reason
                }
            };
            if started.elapsed() >= self.tuning.unavailable_timeout {
                self.cache.forget(range);
                return Err(match maybe {
                    Some(reason) if has_effects(&request) => {
                        RangeError::OutcomeUnknown { range, reason }
                    }
                    _ => KvError::Unavailable { range, reason: self.explain(descriptor, &reason) }
                        .into(),
                });
            }
            // Two nodes that each believe that the other leads are given time to learn.
            match hint.is_none() {
                true => tokio::time::sleep(Duration::from_millis(10 << redirects.min(3))).await,
                false if redirects > 2 => tokio::time::sleep(Duration::from_millis(2)).await,
                false => {}
            }
        }
    }

    fn node_of(&self, target: &Target) -> NodeId {
        match target {
            Target::Here(_) => self.store.node(),
            Target::There(place) => place.node,
        }
    }

    /// The leader if known, else one replica after the other.
    fn target(
        &self,
        descriptor: &RangeDescriptor,
        hint: Option<ReplicaPlace>,
        attempt: u32,
    ) -> Option<Target> {
        let local = self.store.group(descriptor.range);
        if let Some(replica) = &local
            && replica.leadership() != Leadership::Follower
        {
            return Some(Target::Here(replica.clone()));
        }
        let own = self.store.node();
        let believed = hint
            .or_else(|| local.as_ref().and_then(|replica| replica.leader()))
            .or_else(|| self.cache.leader(descriptor.range))
            .filter(|place| place.node != own);
        // Every third attempt goes round, in case what is believed is wrong.
        if let Some(place) = believed
            && attempt % 3 != 2
        {
            return Some(Target::There(self.where_now(place)));
        }
        let others: Vec<&ReplicaPlace> =
            descriptor.voters().filter(|place| place.node != own).collect();
        if others.is_empty() {
            return local.map(|replica| Target::Here(replica as Arc<dyn Group>));
        }
        let place = others[attempt as usize % others.len()].clone();
        Some(Target::There(self.where_now(place)))
    }

    /// A node may listen elsewhere since its replica was added.
    fn where_now(&self, place: ReplicaPlace) -> ReplicaPlace {
        let live = (self.peers)().into_iter().find(|(node, _)| *node == place.node);
        match live {
            Some((_, address)) => ReplicaPlace { address, ..place },
            None => place,
        }
    }

    async fn attempt(
        &self,
        range: RangeId,
        target: Target,
        request: &RangeRequest,
        asked: Instant,
    ) -> Result<Result<RangeResponse, RangeError>, Miss> {
        match target {
            Target::Here(group) => Ok(self.evaluator.execute(&group, request.clone()).await),
            // Boxed, since the local way is copied with the room that this one takes.
            Target::There(place) => {
                Box::pin(self.attempt_there(range, place, request, asked)).await
            }
        }
    }

    async fn attempt_there(
        &self,
        range: RangeId,
        place: ReplicaPlace,
        request: &RangeRequest,
        asked: Instant,
    ) -> Result<Result<RangeResponse, RangeError>, Miss> {
        let (request, timeout) = self.for_the_road(request, asked);
        let payload = encode(&Envelope::Execute { range, request });
        let reply = tokio::select! {
            biased;
            reply = self.call(&place.address, payload, timeout) => reply?,
            leader = self.another_leader(range, place.node) => {
                return Err(Miss::Moved(format!(
                    "{} does not answer, and {leader} leads now",
                    place.node
                )));
            }
        };
        match reply {
            Reply::Executed(result) => Ok(result),
            Reply::Located(_) | Reply::Split(_) | Reply::Transferred(_) | Reply::TakenOver => {
                Err(Miss::Maybe(format!("{} answered another question", place.node)))
            }
        }
    }

    /// Ends once the replica here hears of a new leader that is not on `node`. A node that hangs
    /// keeps its connections: without this, its calls would be waited for until they time out.
    async fn another_leader(&self, range: RangeId, node: NodeId) -> NodeId {
        let led_by = || self.store.group(range).and_then(|replica| replica.leader());
        let before = led_by().map(|place| place.node);
        loop {
            tokio::time::sleep(LEADER_CHECK_INTERVAL).await;
            let now = led_by().map(|place| place.node);
            if let Some(leader) = now.filter(|leader| now != before && *leader != node) {
                return leader;
            }
        }
    }

    async fn call(&self, address: &str, payload: Bytes, timeout: Duration) -> Result<Reply, Miss> {
        let answer = self.transport.call(address, RANGE_SERVICE, payload, timeout).await;
        match answer {
            Ok(bytes) => decode(&bytes).map_err(Miss::Maybe),
            Err(error @ (TransportError::Unreachable { .. } | TransportError::Refused { .. })) => {
                Err(Miss::Not(error.to_string()))
            }
            Err(error @ TransportError::TimedOut { .. }) => Err(Miss::Maybe(error.to_string())),
        }
    }

    /// The request as another node gets it, and how long to wait for the answer.
    fn for_the_road(&self, request: &RangeRequest, asked: Instant) -> (RangeRequest, Duration) {
        let left = wait_left(request, asked).unwrap_or_default();
        let mut request = request.clone();
        let mut timeout = self.tuning.call_timeout;
        match &mut request {
            RangeRequest::Lock { wait: WaitPolicy::Wait(limit), .. } => {
                let wait = left.min(LOCK_WAIT_MAX);
                *limit = Some(wait);
                timeout += wait;
            }
            RangeRequest::BulkWrite(BulkPart { wait: WaitPolicy::Wait(limit), .. }) => {
                let wait = left.min(LOCK_WAIT_MAX);
                *limit = Some(wait);
                timeout = self.tuning.outcome_timeout + wait;
            }
            // A new leader hears first what is held.
            RangeRequest::Lock { keys, .. } if keys.first().is_some_and(Key::is_advisory) => {
                timeout += TXN_EXPIRY;
            }
            RangeRequest::Commit { .. }
            | RangeRequest::CommitValidated(_)
            | RangeRequest::Validate { .. }
            | RangeRequest::PrewriteAsync(_)
            | RangeRequest::SettleSecondaries { .. }
            | RangeRequest::PushTxn { .. }
            | RangeRequest::Prewrite { .. }
            | RangeRequest::CommitPrimary { .. }
            | RangeRequest::Resolve { .. }
            | RangeRequest::Rollback { .. }
            | RangeRequest::BulkWrite(_)
            | RangeRequest::BulkPrepare { .. }
            | RangeRequest::BulkCommit { .. }
            | RangeRequest::BulkDecide { .. }
            | RangeRequest::Erase { .. }
            | RangeRequest::QueryTxn { .. }
            | RangeRequest::MoveMarks { .. }
            | RangeRequest::FindIntents { .. }
            | RangeRequest::FindTxn { .. } => timeout = self.tuning.outcome_timeout,
            RangeRequest::Lock { .. }
            | RangeRequest::Get { .. }
            | RangeRequest::Scan { .. }
            | RangeRequest::OwnGet { .. }
            | RangeRequest::OwnScan { .. }
            | RangeRequest::Release { .. }
            | RangeRequest::ReleaseKeys { .. }
            | RangeRequest::Reassert { .. }
            | RangeRequest::ReportWaits(_)
            | RangeRequest::ListWaits
            | RangeRequest::WeakenKeys { .. }
            | RangeRequest::Heartbeat { .. }
            | RangeRequest::Report { .. }
            | RangeRequest::Draw { .. } => {}
        }
        (request, timeout)
    }

    /// Why a range is unavailable, with the replicas that are missing.
    fn explain(&self, descriptor: &RangeDescriptor, reason: &str) -> String {
        let live = (self.peers)();
        let missing: Vec<String> = descriptor
            .voters()
            .filter(|place| {
                place.node != self.store.node() && !live.iter().any(|(node, _)| *node == place.node)
            })
            .map(|place| format!("{} on {} ({})", place.replica, place.node, place.address))
            .collect();
        match missing.is_empty() {
            true => reason.to_owned(),
            false => format!("{reason}; missing replicas: {}", missing.join(", ")),
        }
    }

    /// Makes the replica on `node` the leader of `range`; false if no live node knows of one there
    /// that votes.
    pub(crate) async fn transfer(self: &Arc<Self>, range: RangeId, node: NodeId) -> KvResult<bool> {
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            let Some(descriptor) = self.describe(range).await else { return Ok(false) };
            let outcome = match self.target(&descriptor, None, attempt) {
                Some(Target::Here(_)) => {
                    // A task of its own: a caller that goes away must not leave it half done.
                    let sender = self.clone();
                    let transfer = async move { sender.transfer_here(range, node).await };
                    let failed = |_| RangeError::NotLeader { range, leader: None };
                    tokio::spawn(transfer).await.map_err(failed).and_then(|done| done)
                }
                Some(Target::There(place)) => self.transfer_there(&place, range, node).await,
                None => Err(RangeError::NotLeader { range, leader: None }),
            };
            match outcome {
                Ok(done) => return Ok(done),
                // Whoever leads by now is asked again; it may be the one on `node`.
                Err(error) if started.elapsed() >= self.tuning.unavailable_timeout => {
                    return Err(kv_error(range, error));
                }
                Err(RangeError::NotLeader { leader, .. }) => {
                    self.cache.learn_leader(range, leader.as_ref());
                }
                Err(RangeError::NoQuorum { .. } | RangeError::OutcomeUnknown { .. }) => {}
                Err(error) => return Err(kv_error(range, error)),
            }
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn transfer_there(
        &self,
        place: &ReplicaPlace,
        range: RangeId,
        node: NodeId,
    ) -> Result<bool, RangeError> {
        let payload = encode(&Envelope::Transfer { range, node });
        match self.call(&place.address, payload, self.tuning.outcome_timeout).await {
            Ok(Reply::Transferred(outcome)) => outcome,
            Ok(Reply::Executed(_) | Reply::Located(_) | Reply::Split(_) | Reply::TakenOver)
            | Err(_) => Err(RangeError::NotLeader { range, leader: None }),
        }
    }

    async fn transfer_here(&self, range: RangeId, node: NodeId) -> Result<bool, RangeError> {
        let Some(replica) = self.store.group(range) else {
            return Err(RangeError::NotLeader { range, leader: None });
        };
        if replica.leadership() == Leadership::Follower {
            return Err(replica.not_leader().into());
        }
        let descriptor = replica.descriptor();
        let Some(heir) = descriptor.voters().find(|place| place.node == node).cloned() else {
            return Ok(false);
        };
        if heir.replica == replica.id() {
            return Ok(true);
        }
        let group: Arc<dyn Group> = replica.clone();
        let held = self.evaluator.hand_over(&group).await?;
        let handing = async {
            let payload = encode(&Envelope::TakeOver { range, held });
            let address = self.where_now(heir).address;
            match self.call(&address, payload, self.tuning.call_timeout).await {
                Ok(Reply::TakenOver) => Ok(replica.transfer_to(node).await?),
                // Nobody is there to lead: nothing is given up.
                Ok(_) | Err(_) => {
                    let reason = format!("{node} does not answer");
                    Err(RangeError::NoQuorum { range, reason })
                }
            }
        };
        let outcome: Result<(), RangeError> = handing.await;
        if outcome.is_err() {
            self.evaluator.resume(range);
        }
        outcome.map(|()| true)
    }

    /// `range` is not what it was taken for. The caller looks again at once: a replica that is behind
    /// gets a moment.
    async fn correct(&self, range: RangeId, actual: Option<&RangeDescriptor>) {
        self.cache.forget(range);
        if let Some(actual) = actual {
            self.cache.learn(actual);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// A range known by its number.
    async fn describe(&self, range: RangeId) -> Option<Arc<RangeDescriptor>> {
        if let Some(replica) = self.store.group(range) {
            return Some(replica.descriptor());
        }
        self.ask_peers(Envelope::LocateRange { range }).await;
        self.cache.get(range)
    }

    /// Splits `descriptor`'s range at its leader.
    pub(crate) async fn split(
        &self,
        descriptor: &RangeDescriptor,
        at: &Key,
        right: RangeId,
    ) -> Result<(), RangeError> {
        let range = descriptor.range;
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            let outcome = match self.target(descriptor, None, attempt) {
                Some(Target::Here(_)) => self.split_here(range, at.clone(), right).await,
                Some(Target::There(place)) => {
                    let payload = encode(&Envelope::Split { range, at: at.clone(), right });
                    let timeout = self.tuning.outcome_timeout;
                    match self.call(&place.address, payload, timeout).await {
                        Ok(Reply::Split(outcome)) => outcome,
                        Ok(
                            Reply::Executed(_)
                            | Reply::Located(_)
                            | Reply::Transferred(_)
                            | Reply::TakenOver,
                        )
                        | Err(Miss::Maybe(_) | Miss::Moved(_)) => {
                            let reason = "no answer to a split".into();
                            Err(RangeError::OutcomeUnknown { range, reason })
                        }
                        Err(Miss::Not(_)) => Err(RangeError::NotLeader { range, leader: None }),
                    }
                }
                None => Err(RangeError::NotLeader { range, leader: None }),
            };
            match outcome {
                Err(RangeError::NotLeader { leader, .. })
                    if started.elapsed() < self.tuning.unavailable_timeout =>
                {
                    self.cache.learn_leader(range, leader.as_ref());
                }
                Err(RangeError::NoQuorum { .. })
                    if started.elapsed() < self.tuning.unavailable_timeout => {}
                Err(RangeError::WrongRange { actual }) => {
                    self.correct(range, actual.as_ref()).await;
                    return Err(RangeError::WrongRange { actual });
                }
                Ok(()) => {
                    self.correct(range, None).await;
                    return Ok(());
                }
                Err(other) => return Err(other),
            }
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn split_here(&self, range: RangeId, at: Key, right: RangeId) -> Result<(), RangeError> {
        let Some(replica) = self.store.group(range) else {
            return Err(RangeError::NotLeader { range, leader: None });
        };
        let descriptor = replica.descriptor();
        if !descriptor.span.contains(&at) || descriptor.span.start == at {
            return Err(RangeError::WrongRange { actual: Some((*descriptor).clone()) });
        }
        match replica.split(at, right).await? {
            Applied::Ok => Ok(()),
            Applied::StaleGeneration { .. } | Applied::StaleTerm => {
                Err(RangeError::WrongRange { actual: Some((*replica.descriptor()).clone()) })
            }
        }
    }
}

/// A leader's own descriptor is right. A follower's may be behind what other nodes told.
fn newer(
    local: Option<Arc<Replica>>,
    known: Option<Arc<RangeDescriptor>>,
) -> Option<Arc<RangeDescriptor>> {
    let Some(replica) = local else { return known };
    let own = replica.descriptor();
    if replica.leadership() != Leadership::Follower {
        return Some(own);
    }
    let ahead = |known: &Arc<RangeDescriptor>| {
        known.range != own.range || known.generation > own.generation
    };
    Some(known.filter(ahead).unwrap_or(own))
}

/// What is left of a wait for a lock that began at `since`; `None` if nothing is, or it is no wait.
fn wait_left(request: &RangeRequest, since: Instant) -> Option<Duration> {
    match request {
        RangeRequest::Lock { wait: WaitPolicy::Wait(limit), .. }
        | RangeRequest::BulkWrite(BulkPart { wait: WaitPolicy::Wait(limit), .. }) => match limit {
            None => Some(Duration::MAX),
            Some(limit) => limit.checked_sub(since.elapsed()),
        },
        _ => None,
    }
}

/// Whether it matters if a request was carried out without an answer.
fn has_effects(request: &RangeRequest) -> bool {
    match request {
        RangeRequest::Commit { .. }
        | RangeRequest::CommitValidated(_)
        | RangeRequest::PrewriteAsync(_)
        | RangeRequest::SettleSecondaries { .. }
        | RangeRequest::Prewrite { .. }
        | RangeRequest::CommitPrimary { .. }
        | RangeRequest::Resolve { .. }
        | RangeRequest::Rollback { .. }
        | RangeRequest::BulkWrite(_)
        | RangeRequest::BulkPrepare { .. }
        | RangeRequest::BulkCommit { .. }
        | RangeRequest::BulkDecide { .. }
        | RangeRequest::Erase { .. } => true,
        RangeRequest::Get { .. }
        | RangeRequest::Scan { .. }
        | RangeRequest::OwnGet { .. }
        | RangeRequest::OwnScan { .. }
        | RangeRequest::Lock { .. }
        | RangeRequest::QueryTxn { .. }
        | RangeRequest::PushTxn { .. }
        | RangeRequest::Validate { .. }
        | RangeRequest::FindTxn { .. }
        | RangeRequest::Release { .. }
        | RangeRequest::ReleaseKeys { .. }
        | RangeRequest::Reassert { .. }
        | RangeRequest::ReportWaits(_)
        | RangeRequest::ListWaits
        | RangeRequest::WeakenKeys { .. }
        | RangeRequest::Heartbeat { .. }
        | RangeRequest::Report { .. }
        | RangeRequest::MoveMarks { .. }
        | RangeRequest::FindIntents { .. }
        | RangeRequest::Draw { .. } => false,
    }
}

/// For senders that do not tell outcomes apart.
pub(crate) fn kv_error(range: RangeId, error: RangeError) -> KvError {
    match error {
        RangeError::Kv(error) => error,
        RangeError::NotLeader { .. }
        | RangeError::WrongRange { .. }
        | RangeError::Intents(_)
        | RangeError::NoQuorum { .. }
        | RangeError::OutcomeUnknown { .. } => {
            KvError::Unavailable { range, reason: error.to_string() }
        }
    }
}

fn encode<T: Serialize>(message: &T) -> Bytes {
    postcard::to_extend(message, vec![FORMAT]).expect("plain data encodes into memory").into()
}

fn decode<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, String> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => postcard::from_bytes(rest).map_err(|error| error.to_string()),
        _ => Err("unknown version of the range service".into()),
    }
}

struct RangeService(Weak<RangeSender>);

#[async_trait]
impl Handler for RangeService {
    async fn handle(&self, payload: Bytes) -> Result<Bytes, String> {
        let sender = self.0.upgrade().ok_or("shutting down")?;
        let reply = match decode(&payload)? {
            Envelope::Execute { range, request } => match sender.store.group(range) {
                Some(replica) => {
                    let group: Arc<dyn Group> = replica;
                    Reply::Executed(sender.evaluator.execute(&group, request).await)
                }
                None => Reply::Executed(Err(RangeError::NotLeader { range, leader: None })),
            },
            Envelope::Locate { key, before } => Reply::Located(located(sender.local(&key, before))),
            Envelope::LocateRange { range } => Reply::Located(located(sender.store.group(range))),
            Envelope::Split { range, at, right } => {
                Reply::Split(sender.split_here(range, at, right).await)
            }
            Envelope::Transfer { range, node } => {
                // A task of its own: a caller that goes away must not leave it half done.
                let transfer = async move { sender.transfer_here(range, node).await };
                let failed = |_| RangeError::NotLeader { range, leader: None };
                let done = tokio::spawn(transfer).await.map_err(failed);
                return Ok(encode(&Reply::Transferred(done.and_then(|done| done))));
            }
            Envelope::TakeOver { range, held } => {
                if let Some(replica) = sender.store.group(range) {
                    sender.evaluator.take_over(&replica.descriptor(), held);
                }
                Reply::TakenOver
            }
        };
        Ok(encode(&reply))
    }
}

fn located(replica: Option<Arc<Replica>>) -> Option<(RangeDescriptor, Option<ReplicaPlace>)> {
    replica.map(|replica| ((*replica.descriptor()).clone(), replica.leader()))
}
