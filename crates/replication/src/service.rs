//! The receiving end of Raft messages: each envelope of a frame goes to its replica.

use crate::descriptor::RangeDescriptor;
use crate::error::ReplicationError;
use crate::network::{self, Envelope, Message, Reply};
use crate::replica::{Leadership, Replica};
use crate::snapshot::{self, SnapshotData, StagedSnapshot};
use crate::store::Store;
use crate::types::{SnapshotMeta, TransferLeaderRequest, Vote};
use async_trait::async_trait;
use bytes::Bytes;
use cluster::Handler;
use core_domain::ReplicaId;
use openraft::storage::Snapshot;
use std::sync::{Arc, Weak};

pub struct RaftService {
    store: Weak<Store>,
}

impl RaftService {
    pub fn new(store: Weak<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Handler for RaftService {
    async fn handle(&self, payload: Bytes) -> Result<Bytes, String> {
        let store = self.store.upgrade().ok_or("shutting down")?;
        let envelopes: Vec<Bytes> = network::decode(&payload)?;
        let envelopes =
            envelopes.iter().map(|one| network::decode_one(one)).collect::<Result<Vec<_>, _>>()?;
        let replies = envelopes.into_iter().map(|envelope| answer(&store, envelope));
        Ok(network::encode(&futures::future::join_all(replies).await))
    }
}

async fn answer(store: &Arc<Store>, envelope: Envelope) -> Reply {
    let Envelope { range, to, message } = envelope;
    if let Message::Create = message {
        return done(store.create_replica(range, to, None).await.map(|_| ()));
    }
    if let Message::Restore { descriptor } = &message {
        return done(store.restore_replica(to, descriptor).await);
    }
    let Some(replica) = store.group(range).filter(|replica| replica.id() == to) else {
        return match message {
            Message::Destroy { .. } => Reply::Done, // It is gone, which was the wish.
            _ => Reply::Absent,
        };
    };
    match message {
        Message::Append(request) => match replica.running().raft.append_entries(request).await {
            Ok(response) => Reply::Append(response),
            Err(error) => Reply::Failed(error.to_string()),
        },
        Message::PreVote(request) | Message::Vote(request)
            if !replica.hears_votes_of(request.vote.leader_id.node_id) =>
        {
            Reply::Absent
        }
        // A transfer is the leader's own word: the lease that was helped to live is its own.
        Message::Transfer(request) if !replica.hears_votes_of(giver(&request)) => Reply::Absent,
        Message::PreVote(request) => {
            dismiss_a_removed_candidate(store, &replica, &request.vote);
            match replica.running().raft.pre_vote(request).await {
                Ok(response) => Reply::Vote(response),
                Err(error) => Reply::Failed(error.to_string()),
            }
        }
        Message::Vote(request) => match replica.running().raft.vote(request).await {
            Ok(response) => Reply::Vote(response),
            Err(error) => Reply::Failed(error.to_string()),
        },
        Message::Transfer(request) => {
            match replica.running().raft.handle_transfer_leader(request).await {
                Ok(response) => Reply::Transfer(response),
                Err(error) => Reply::Failed(error.to_string()),
            }
        }
        Message::SnapshotChunk { id, sequence, chunk } => {
            done(snapshot::stage_chunk(&**store.engine(), range, id, sequence, chunk))
        }
        Message::SnapshotEnd { vote, meta, descriptor, id, chunks } => {
            let staged = StagedSnapshot { id, descriptor };
            install(store, &replica, vote, meta, staged, chunks).await
        }
        Message::Destroy { generation, replicas } => {
            let newer = generation > replica.descriptor().generation
                || replica.descriptor().replica(to).is_none();
            if newer && !replicas.contains(&to) {
                done(store.remove_replica(range, to).await)
            } else {
                Reply::Failed(format!("{to} is a member as far as it knows"))
            }
        }
        Message::Create | Message::Restore { .. } => Reply::Done,
    }
}

/// Who hands over its leadership.
fn giver(request: &TransferLeaderRequest) -> ReplicaId {
    request.from_leader().leader_id.node_id
}

async fn install(
    store: &Arc<Store>,
    replica: &Replica,
    vote: Vote,
    meta: SnapshotMeta,
    staged: StagedSnapshot,
    chunks: u32,
) -> Reply {
    let (engine, range, id) = (store.engine().clone(), replica.range(), staged.id);
    let counting = tokio::task::spawn_blocking(move || snapshot::count_staged(&*engine, range, id));
    match counting.await {
        Ok(Ok(found)) if found == chunks => {}
        Ok(Ok(found)) => return Reply::Failed(format!("{found} of {chunks} chunks arrived")),
        Ok(Err(error)) => return Reply::Failed(error.to_string()),
        Err(error) => return Reply::Failed(error.to_string()),
    }
    let RangeDescriptor { range, span, .. } = &staged.descriptor;
    if let Err(other) = store.reserve_span(*range, span) {
        return Reply::Failed(format!("{other} here still covers part of it"));
    }
    let snapshot = Snapshot { meta, snapshot: SnapshotData::Staged(staged) };
    match replica.running().raft.install_full_snapshot(vote, snapshot).await {
        Ok(response) => Reply::Snapshot(response),
        Err(error) => Reply::Failed(error.to_string()),
    }
}

/// A replica that was removed while it could not hear of it campaigns for ever. The leader knows
/// the membership for certain, and tells it.
fn dismiss_a_removed_candidate(store: &Arc<Store>, replica: &Arc<Replica>, vote: &Vote) {
    let candidate: ReplicaId = vote.leader_id.node_id;
    let descriptor = replica.descriptor();
    let removed = descriptor.replica(candidate).is_none() && candidate < descriptor.next_replica;
    if removed && matches!(replica.leadership(), Leadership::Serving { .. }) {
        tracing::info!(range = %replica.range(), %candidate, "a removed replica campaigns");
        let replica = replica.clone();
        let store = store.clone();
        tokio::spawn(async move { dismiss_everywhere(&store, &replica, candidate).await });
    }
}

/// Where the candidate lives is no longer in the membership: every known node is told.
async fn dismiss_everywhere(store: &Arc<Store>, replica: &Replica, candidate: ReplicaId) {
    for address in store.peers().known_addresses() {
        replica.order_destroy(candidate, &address).await;
    }
}

fn done(outcome: Result<(), ReplicationError>) -> Reply {
    match outcome {
        Ok(()) => Reply::Done,
        Err(error) => Reply::Failed(error.to_string()),
    }
}
