//! Which nodes hold a range, and how that changes.
//!
//! ```text
//! live nodes  1   2   3   4          what the leader does
//! replicas    V                      fewer than three nodes: one voter is enough
//! replicas    V   L   L              three nodes: two learners, which receive a snapshot
//! replicas    V   V   V              caught up: both become voters in one change
//! replicas    V   V  (V)  L          node 3 is gone: a learner elsewhere
//! replicas    V   V       V          caught up: it takes the lost voter's place
//! ```
//!
//! A replica id is drawn by a command of its own before it is used, so that none is used twice.

use crate::command::{Body, Command};
use crate::descriptor::{RangeDescriptor, ReplicaRole};
use crate::error::{ReplicationError, Result};
use crate::network::{Envelope, Message, Reply};
use crate::replica::{Leadership, Replica};
use crate::types::Place;
use core_domain::{NodeId, ReplicaId};
use openraft::{ChangeMembers, LogIdOptionExt, ServerState};
use std::collections::BTreeSet;
use std::time::Duration;

/// Voters of a range once that many nodes exist.
pub const VOTERS: usize = 3;
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// After these, the usual timeouts of elections decide.
const FIRST_CAMPAIGNS_MAX: u32 = 8;
const FIRST_CAMPAIGN_TIMEOUT: Duration = Duration::from_millis(60);

/// One step towards the wished-for replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Make an empty replica on this node and let it catch up.
    AddLearner(NodeId, String),
    /// These become the voters; whoever is none of them goes.
    SetVoters(BTreeSet<ReplicaId>),
    /// Learners that nobody needs.
    RemoveLearners(BTreeSet<ReplicaId>),
}

/// Decides the next step. `live` are the nodes that can be counted on.
pub fn plan(descriptor: &RangeDescriptor, live: &[(NodeId, String)], leader: ReplicaId) -> Step {
    let is_live = |node: NodeId| live.iter().any(|(id, _)| *id == node);
    let voters = descriptor.voters().collect::<Vec<_>>();
    let wanted = if live.len() >= VOTERS { VOTERS } else { voters.len().min(VOTERS) };
    let (kept, lost): (Vec<_>, Vec<_>) =
        voters.iter().copied().partition(|place| place.replica == leader || is_live(place.node));
    let learners = descriptor
        .replicas
        .iter()
        .filter(|place| place.role == ReplicaRole::Learner)
        .collect::<Vec<_>>();
    let dead_learners = learners
        .iter()
        .filter(|place| !is_live(place.node))
        .map(|place| place.replica)
        .collect::<BTreeSet<_>>();
    if !dead_learners.is_empty() {
        return Step::RemoveLearners(dead_learners);
    }
    let missing = wanted.saturating_sub(kept.len());
    if missing > learners.len() {
        // A voter on a silent node stays until there is one to take its place.
        let spare = live.iter().find(|(node, _)| descriptor.replica_on(*node).is_none());
        if let Some((node, address)) = spare {
            return Step::AddLearner(*node, address.clone());
        }
    }
    let promoted = learners.iter().take(missing).map(|place| place.replica);
    let mut target =
        kept.iter().map(|place| place.replica).chain(promoted).collect::<BTreeSet<_>>();
    if target.len() < wanted {
        target.extend(lost.iter().map(|place| place.replica).take(wanted - target.len()));
    }
    if target != voters.iter().map(|place| place.replica).collect() {
        return Step::SetVoters(target);
    }
    if learners.is_empty() {
        return Step::Nothing;
    }
    Step::RemoveLearners(learners.iter().map(|place| place.replica).collect())
}

impl Replica {
    /// At the leader: takes steps until the range has the replicas that `live` allows.
    pub async fn reconcile(&self, live: &[(NodeId, String)]) -> Result<()> {
        let Ok(_changing) = self.changing.try_lock() else { return Ok(()) };
        self.restore_missing(live).await;
        self.finish_joint_change().await?;
        // Each step changes the descriptor; the bound only stops a plan that turns in circles.
        for _ in 0..4 * VOTERS {
            if self.leadership() == Leadership::Follower {
                return Err(self.not_leader());
            }
            match plan(&self.descriptor(), live, self.id()) {
                Step::Nothing => return Ok(()),
                Step::AddLearner(node, address) => self.add_learner(node, &address).await?,
                Step::SetVoters(voters) => self.set_voters(voters).await?,
                Step::RemoveLearners(learners) => self.remove_learners(learners).await?,
            }
        }
        Ok(())
    }

    /// At the leader: a node that was away during the split that made this range may have no replica
    /// of it, and gets none from the left half's log if that is purged.
    async fn restore_missing(&self, live: &[(NodeId, String)]) {
        let running = self.running();
        let purged = running.log.purged().index();
        let replication = {
            use openraft::async_runtime::WatchReceiver;
            running.metrics.borrow_watched().replication.clone().unwrap_or_default()
        };
        let descriptor = self.descriptor();
        for place in descriptor.replicas.iter().filter(|place| place.replica != self.id()) {
            let matched = replication.get(&place.replica).and_then(|matched| matched.index());
            let Some((_, address)) = live.iter().find(|(node, _)| *node == place.node) else {
                continue;
            };
            if matched >= purged {
                continue;
            }
            let message = Message::Restore { descriptor: (*descriptor).clone() };
            let envelope = Envelope { range: self.range(), to: place.replica, message };
            match self.peers().send(address, &envelope, ORDER_TIMEOUT).await {
                Ok(Reply::Done) => {}
                Ok(Reply::Failed(reason)) => {
                    tracing::info!(range = %self.range(), node = %place.node, reason, "not restored");
                }
                Ok(_) | Err(_) => {} // The next round tries again.
            }
        }
    }

    /// At the leader: gives `node` a replica, lets it catch up, makes it a voter.
    pub async fn add_replica(&self, node: NodeId, address: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        if self.descriptor().replica_on(node).is_none() {
            self.add_learner(node, address).await?;
        }
        let descriptor = self.descriptor();
        let added = descriptor.replica_on(node).map(|place| place.replica);
        let voters = descriptor.voters().map(|place| place.replica).chain(added).collect();
        self.set_voters(voters).await
    }

    /// At the leader: takes the replica on `node` out of the group and deletes it. The leader itself
    /// must be transferred first.
    pub async fn remove_replica(&self, node: NodeId) -> Result<()> {
        let _changing = self.changing.lock().await;
        let descriptor = self.descriptor();
        let Some(place) = descriptor.replica_on(node) else { return Ok(()) };
        if place.replica == self.id() {
            return Err(ReplicationError::Refused("the leader must be transferred first".into()));
        }
        match place.role {
            ReplicaRole::Learner => self.remove_learners([place.replica].into()).await,
            ReplicaRole::Voter => {
                let voters = descriptor.voters().map(|voter| voter.replica);
                self.set_voters(voters.filter(|id| *id != place.replica).collect()).await
            }
        }
    }

    async fn add_learner(&self, node: NodeId, address: &str) -> Result<()> {
        let _change = self.begin_change();
        // A newcomer learns the descriptor from a snapshot: the log must not be complete.
        if self.running().log.purged().is_none() {
            self.purge_log(self.applied_index()).await?;
        }
        let id = self.draw_replica_id().await?;
        let envelope = Envelope { range: self.range(), to: id, message: Message::Create };
        let reply = self
            .peers()
            .send(address, &envelope, ORDER_TIMEOUT)
            .await
            .map_err(|error| ReplicationError::Refused(error.to_string()))?;
        match reply {
            Reply::Done => {}
            Reply::Failed(reason) => return Err(ReplicationError::Refused(reason)),
            _ => return Err(ReplicationError::Damaged("an answer to another question".into())),
        }
        tracing::info!(range = %self.range(), replica = %id, %node, "a learner joins");
        let place = Place { node, address: address.to_owned() };
        let running = self.running();
        let added = running.raft.add_learner(id, place, true);
        match tokio::time::timeout(self.tuning().catch_up_timeout, added).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.write_error(error)),
            Err(_) => Err(ReplicationError::NoQuorum {
                range: self.range(),
                reason: format!("replica {id} on {node} does not catch up"),
            }),
        }
    }

    /// Draws an id that was never used in this range.
    async fn draw_replica_id(&self) -> Result<ReplicaId> {
        let mut descriptor = (*self.descriptor()).clone();
        let id = descriptor.next_replica;
        descriptor.next_replica = ReplicaId(id.0 + 1);
        let generation = descriptor.generation;
        let body = Body::UpdateDescriptor(Box::new(descriptor));
        match self.propose(&Command { range: self.range(), generation, term: 0, body }).await? {
            crate::Applied::Ok => Ok(id),
            crate::Applied::StaleGeneration { .. } | crate::Applied::StaleTerm => {
                Err(ReplicationError::Refused("the descriptor changed meanwhile".into()))
            }
        }
    }

    async fn set_voters(&self, voters: BTreeSet<ReplicaId>) -> Result<()> {
        let _change = self.begin_change();
        let before = self.descriptor();
        tracing::info!(range = %self.range(), ?voters, "the voters change");
        let running = self.running();
        let change = ChangeMembers::ReplaceAllVoters(voters);
        running.raft.change_membership(change, false).await.map_err(|e| self.write_error(e))?;
        self.destroy_those_gone(&before).await;
        Ok(())
    }

    async fn remove_learners(&self, learners: BTreeSet<ReplicaId>) -> Result<()> {
        let _change = self.begin_change();
        let before = self.descriptor();
        let running = self.running();
        let change = ChangeMembers::RemoveNodes(learners);
        running.raft.change_membership(change, false).await.map_err(|e| self.write_error(e))?;
        self.destroy_those_gone(&before).await;
        Ok(())
    }

    /// A leader that fell between the two phases of a change leaves the second to the next.
    async fn finish_joint_change(&self) -> Result<()> {
        let running = self.running();
        let configs = {
            use openraft::async_runtime::WatchReceiver;
            let metrics = running.metrics.borrow_watched();
            metrics.membership_config.membership().get_joint_config().clone()
        };
        match configs.as_slice() {
            [_, .., target] => self.set_voters(target.clone()).await,
            _ => Ok(()),
        }
    }

    async fn destroy_those_gone(&self, before: &RangeDescriptor) {
        let now = self.descriptor();
        for gone in before.replicas.iter().filter(|place| now.replica(place.replica).is_none()) {
            let place = Place { node: gone.node, address: gone.address.clone() };
            let address = self.peers().address_of(&place);
            self.order_destroy(gone.replica, &address).await;
        }
    }

    /// Tells a removed replica to go. It may be unreachable: then it is told when it campaigns.
    pub(crate) async fn order_destroy(&self, gone: ReplicaId, address: &str) {
        let descriptor = self.descriptor();
        let replicas = descriptor.replicas.iter().map(|place| place.replica).collect();
        let message = Message::Destroy { generation: descriptor.generation, replicas };
        let envelope = Envelope { range: self.range(), to: gone, message };
        if let Err(error) = self.peers().send(address, &envelope, ORDER_TIMEOUT).await {
            tracing::info!(range = %self.range(), replica = %gone, %error, "not told to go");
        }
    }

    /// Forgets log entries up to `upto`, which are applied.
    pub(crate) async fn purge_log(&self, upto: u64) -> Result<()> {
        let running = self.running();
        let trigger = running.raft.trigger();
        trigger.snapshot().await.map_err(|fatal| self.stopped(fatal))?;
        let wait = || running.raft.wait(Some(ORDER_TIMEOUT));
        let built = wait().metrics(|m| m.snapshot.index() >= Some(upto), "snapshot").await;
        built.map_err(|error| self.stopped(error))?;
        trigger.purge_log(upto).await.map_err(|fatal| self.stopped(fatal))?;
        let purged = wait().metrics(|m| m.purged.index() >= Some(upto), "purged").await;
        purged.map(|_| ()).map_err(|error| self.stopped(error))
    }

    /// The first leader of a split's right half. Its old leader here has stopped answering for that
    /// span, so nobody's lease is in the way. The others can vote once the split has reached them, a
    /// heartbeat later: until then it campaigns again. Not where it is alone: then it campaigned when
    /// it was started, and a second campaign would end the term that it won, and with it the locks.
    pub(crate) async fn lead_first_half(&self) -> Result<()> {
        if self.is_alone().await? {
            return Ok(());
        }
        self.running().raft.runtime_config().elect(true);
        for campaign in 1..=FIRST_CAMPAIGNS_MAX {
            self.elect().await?;
            let running = self.running();
            // Longer each time: where votes are slow, a campaign must not end the one before it.
            let wait = running.raft.wait(Some(FIRST_CAMPAIGN_TIMEOUT * campaign));
            let another = |leader: ReplicaId| leader != self.id();
            let led = wait.metrics(
                |m| m.state == ServerState::Leader || m.current_leader.is_some_and(another),
                "a first leader",
            );
            if led.await.is_ok() {
                break;
            }
        }
        if self.leader().is_some_and(|leader| leader.replica != self.id()) {
            // The locks of the left half were kept for this one, and so were their waiters.
            self.observer().leadership_lost(self.range());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_domain::{RangeId, Span};

    fn nodes(ids: &[u64]) -> Vec<(NodeId, String)> {
        ids.iter().map(|id| (NodeId(*id), format!("host{id}:1"))).collect()
    }

    fn range(voters: &[u64], learners: &[u64]) -> RangeDescriptor {
        let mut range = RangeDescriptor::founding(
            RangeId(1),
            Span::all(),
            &nodes(&[voters, learners].concat()),
        );
        for place in &mut range.replicas[voters.len()..] {
            place.role = ReplicaRole::Learner;
        }
        range
    }

    fn ids(raw: &[u64]) -> BTreeSet<ReplicaId> {
        raw.iter().map(|id| ReplicaId(*id)).collect()
    }

    #[test]
    fn one_voter_becomes_three_in_one_change_once_three_nodes_live() {
        let leader = ReplicaId(1);
        assert_eq!(plan(&range(&[1], &[]), &nodes(&[1, 2]), leader), Step::Nothing);
        let live = nodes(&[1, 2, 3]);
        let step = plan(&range(&[1], &[]), &live, leader);
        assert_eq!(step, Step::AddLearner(NodeId(2), "host2:1".into()));
        let step = plan(&range(&[1], &[2]), &live, leader);
        assert_eq!(step, Step::AddLearner(NodeId(3), "host3:1".into()));
        let step = plan(&range(&[1], &[2, 3]), &live, leader);
        assert_eq!(step, Step::SetVoters(ids(&[1, 2, 3])));
        assert_eq!(plan(&range(&[1, 2, 3], &[]), &live, leader), Step::Nothing);
    }

    #[test]
    fn a_silent_voter_stays_until_another_can_take_its_place() {
        let leader = ReplicaId(1);
        let voters = range(&[1, 2, 3], &[]);
        assert_eq!(plan(&voters, &nodes(&[1, 2]), leader), Step::Nothing);
        let live = nodes(&[1, 2, 4]);
        assert_eq!(plan(&voters, &live, leader), Step::AddLearner(NodeId(4), "host4:1".into()));
        let step = plan(&range(&[1, 2, 3], &[4]), &live, leader);
        assert_eq!(step, Step::SetVoters(ids(&[1, 2, 4])));
    }

    #[test]
    fn learners_that_nobody_needs_go() {
        let live = nodes(&[1, 2, 3, 4]);
        let step = plan(&range(&[1, 2, 3], &[4]), &live, ReplicaId(1));
        assert_eq!(step, Step::RemoveLearners(ids(&[4])));
    }
}
