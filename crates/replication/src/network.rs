//! Raft messages between replicas, over the node's transport.
//!
//! Appends of all groups to one node pass through one outbox: what gathers while its frames are on
//! their way leaves in one frame. Everything else (votes, snapshots, orders) goes alone, so that
//! an election never waits behind data.
//!
//! ```text
//! frame     u8 version 1, postcard list of envelopes
//! envelope  postcard (range, receiving replica, message)
//! answer    u8 version 1, postcard list of replies, in the order of the envelopes
//! ```
//!
//! A message to a replica that is not there (yet) is answered `Absent`, which openraft sees as
//! unreachable.

use crate::descriptor::RangeDescriptor;
use crate::snapshot::{LiveSnapshot, SnapshotData};
use crate::types::{Place, SnapshotMeta, TypeConfig, Vote};
use bytes::{BufMut, Bytes, BytesMut};
use cluster::{Transport, TransportError};
use core_domain::{Generation, NodeId, RangeId, ReplicaId};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// The transport service that carries this.
pub const RAFT_SERVICE: &str = "raft";
const VERSION: u8 = 1;
/// A frame is sent when it holds this much.
const FRAME_BYTES_MAX: usize = 2 << 20;
/// Frames of one outbox that may be on their way at once.
const FRAMES_IN_FLIGHT_MAX: usize = 8;
const SNAPSHOT_CHUNK_TIMEOUT: Duration = Duration::from_secs(20);
/// Installing rewrites a whole range.
const SNAPSHOT_INSTALL_TIMEOUT: Duration = Duration::from_secs(300);

#[derive(Serialize, Deserialize)]
pub struct Envelope {
    pub range: RangeId,
    pub to: ReplicaId,
    pub message: Message,
}

#[derive(Serialize, Deserialize)]
pub enum Message {
    Append(AppendEntriesRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    Vote(VoteRequest<TypeConfig>),
    Transfer(TransferLeaderRequest<TypeConfig>),
    SnapshotChunk {
        id: u64,
        sequence: u32,
        chunk: Bytes,
    },
    SnapshotEnd {
        vote: Vote,
        meta: SnapshotMeta,
        descriptor: RangeDescriptor,
        id: u64,
        chunks: u32,
    },
    /// Make an empty replica, which a snapshot will fill.
    Create,
    /// Go: at `generation` the range's replicas were these, and you were none of them.
    Destroy {
        generation: Generation,
        replicas: Vec<ReplicaId>,
    },
    /// Make an empty replica, if there never was one: you are a member since a split of which your node
    /// knows the left half's outcome only.
    Restore {
        descriptor: RangeDescriptor,
    },
}

#[derive(Serialize, Deserialize)]
pub enum Reply {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    Transfer(TransferLeaderResponse<TypeConfig>),
    Snapshot(SnapshotResponse<TypeConfig>),
    Done,
    /// No such replica here, or it does not take part yet.
    Absent,
    Failed(String),
}

/// How to reach the other nodes.
pub struct Peers {
    transport: Arc<dyn Transport>,
    /// Where nodes are known to listen now, over what a membership says.
    addresses: RwLock<HashMap<NodeId, String>>,
    outboxes: Mutex<HashMap<String, mpsc::UnboundedSender<Outgoing>>>,
}

struct Outgoing {
    envelope: Bytes,
    timeout: Duration,
    reply: oneshot::Sender<Result<Reply, TransportError>>,
}

impl Peers {
    pub fn new(transport: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { transport, addresses: RwLock::default(), outboxes: Mutex::default() })
    }

    pub fn set_addresses(&self, live: &[(NodeId, String)]) {
        let mut addresses = self.addresses.write();
        for (node, address) in live {
            addresses.insert(*node, address.clone());
        }
    }

    pub fn address_of(&self, place: &Place) -> String {
        self.addresses.read().get(&place.node).cloned().unwrap_or_else(|| place.address.clone())
    }

    pub fn known_addresses(&self) -> Vec<String> {
        self.addresses.read().values().cloned().collect()
    }

    /// Sends one message alone.
    pub async fn send(
        &self,
        address: &str,
        envelope: &Envelope,
        timeout: Duration,
    ) -> Result<Reply, TransportError> {
        let mut replies =
            send_frame(&*self.transport, address, &[encode_one(envelope)], timeout).await?;
        replies.pop().ok_or_else(|| refused(address, "an empty answer"))
    }

    /// Sends one message together with others to the same node.
    async fn send_batched(
        self: &Arc<Self>,
        address: &str,
        envelope: &Envelope,
        timeout: Duration,
    ) -> Result<Reply, TransportError> {
        let (reply, answer) = oneshot::channel();
        let outgoing = Outgoing { envelope: encode_one(envelope), timeout, reply };
        self.outbox(address).send(outgoing).map_err(|_| refused(address, "shutting down"))?;
        answer.await.unwrap_or_else(|_| Err(refused(address, "shutting down")))
    }

    fn outbox(&self, address: &str) -> mpsc::UnboundedSender<Outgoing> {
        let mut outboxes = self.outboxes.lock();
        if let Some(outbox) = outboxes.get(address) {
            return outbox.clone();
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run_outbox(self.transport.clone(), address.to_owned(), receiver));
        outboxes.insert(address.to_owned(), sender.clone());
        sender
    }
}

/// Ends when the [`Peers`] are dropped.
async fn run_outbox(
    transport: Arc<dyn Transport>,
    address: String,
    mut waiting: mpsc::UnboundedReceiver<Outgoing>,
) {
    let in_flight = Arc::new(Semaphore::new(FRAMES_IN_FLIGHT_MAX));
    while let Some(first) = waiting.recv().await {
        let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
        let mut bytes = first.envelope.len();
        let mut frame = vec![first];
        while bytes < FRAME_BYTES_MAX
            && let Ok(next) = waiting.try_recv()
        {
            bytes += next.envelope.len();
            frame.push(next);
        }
        let transport = transport.clone();
        let address = address.clone();
        tokio::spawn(async move {
            deliver(&*transport, &address, frame).await;
            drop(permit);
        });
    }
}

async fn deliver(transport: &dyn Transport, address: &str, frame: Vec<Outgoing>) {
    let envelopes = frame.iter().map(|one| one.envelope.clone()).collect::<Vec<_>>();
    let timeout = frame.iter().map(|one| one.timeout).max().unwrap_or_default();
    match send_frame(transport, address, &envelopes, timeout).await {
        Ok(replies) => {
            for (one, reply) in frame.into_iter().zip(replies) {
                let _ = one.reply.send(Ok(reply)); // Whoever asked may be gone.
            }
        }
        Err(error) => {
            for one in frame {
                let _ = one.reply.send(Err(error.clone()));
            }
        }
    }
}

async fn send_frame(
    transport: &dyn Transport,
    address: &str,
    envelopes: &[Bytes],
    timeout: Duration,
) -> Result<Vec<Reply>, TransportError> {
    let answer = transport.call(address, RAFT_SERVICE, encode(&envelopes), timeout).await?;
    let replies: Vec<Reply> = decode(&answer).map_err(|error| refused(address, &error))?;
    if replies.len() == envelopes.len() {
        Ok(replies)
    } else {
        Err(refused(address, "another number of answers"))
    }
}

fn refused(address: &str, reason: &str) -> TransportError {
    TransportError::Refused { address: address.to_owned(), reason: reason.to_owned() }
}

fn encode_one(envelope: &Envelope) -> Bytes {
    postcard::to_stdvec(envelope).expect("plain data encodes into memory").into()
}

pub fn decode_one(bytes: &[u8]) -> Result<Envelope, String> {
    postcard::from_bytes(bytes).map_err(|error| error.to_string())
}

pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut out = BytesMut::new().writer();
    out.get_mut().put_u8(VERSION);
    postcard::to_io(value, &mut out).expect("plain data encodes into memory");
    out.into_inner().freeze()
}

pub fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    match bytes {
        [VERSION, content @ ..] => postcard::from_bytes(content).map_err(|e| e.to_string()),
        [version, ..] => Err(format!("raft frame of version {version}")),
        [] => Err("empty raft frame".into()),
    }
}

/// Makes links from one replica.
pub struct Network {
    pub peers: Arc<Peers>,
    pub range: RangeId,
    /// How long an append may take, its fsync on the other side included.
    pub append_timeout: Duration,
}

/// From one replica to another.
pub struct Link {
    peers: Arc<Peers>,
    range: RangeId,
    target: ReplicaId,
    place: Place,
    append_timeout: Duration,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: ReplicaId, place: &Place) -> Link {
        Link {
            peers: self.peers.clone(),
            range: self.range,
            target,
            place: place.clone(),
            append_timeout: self.append_timeout,
        }
    }
}

impl Link {
    fn envelope(&self, message: Message) -> Envelope {
        Envelope { range: self.range, to: self.target, message }
    }

    async fn send(
        &self,
        message: Message,
        timeout: Duration,
    ) -> Result<Reply, RPCError<TypeConfig>> {
        let address = self.peers.address_of(&self.place);
        let sent = self.peers.send(&address, &self.envelope(message), timeout).await;
        judge(sent)
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        meta: SnapshotMeta,
        live: &LiveSnapshot,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let id = rand::random();
        let mut chunks = 0;
        for (chunk, sequence) in live.chunks().zip(0u32..) {
            let chunk = chunk.map_err(|error| NetworkError::new(&error))?;
            let message = Message::SnapshotChunk { id, sequence, chunk };
            expect_done(self.send(message, SNAPSHOT_CHUNK_TIMEOUT).await?)?;
            chunks = sequence + 1;
        }
        let descriptor = live.descriptor.clone();
        let end = Message::SnapshotEnd { vote, meta, descriptor, id, chunks };
        match self.send(end, SNAPSHOT_INSTALL_TIMEOUT).await? {
            Reply::Snapshot(response) => Ok(response),
            _ => Err(unexpected().into()),
        }
    }
}

/// What the other side could not do becomes an error that openraft retries.
fn judge(sent: Result<Reply, TransportError>) -> Result<Reply, RPCError<TypeConfig>> {
    match sent {
        Ok(Reply::Absent) => {
            Err(RPCError::Unreachable(Unreachable::from_string("no such replica there")))
        }
        Ok(Reply::Failed(reason)) => Err(RPCError::Network(NetworkError::from_string(reason))),
        Ok(reply) => Ok(reply),
        Err(error @ (TransportError::Unreachable { .. } | TransportError::Refused { .. })) => {
            Err(RPCError::Unreachable(Unreachable::new(&error)))
        }
        Err(error @ TransportError::TimedOut { .. }) => {
            Err(RPCError::Network(NetworkError::new(&error)))
        }
    }
}

fn unexpected() -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string("an answer to another question"))
}

fn expect_done(reply: Reply) -> Result<(), StreamingError<TypeConfig>> {
    match reply {
        Reply::Done => Ok(()),
        _ => Err(unexpected().into()),
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let timeout = option.soft_ttl().max(self.append_timeout);
        let address = self.peers.address_of(&self.place);
        let envelope = self.envelope(Message::Append(rpc));
        match judge(self.peers.send_batched(&address, &envelope, timeout).await)? {
            Reply::Append(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.send(Message::Vote(rpc), option.soft_ttl()).await? {
            Reply::Vote(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.send(Message::PreVote(rpc), option.soft_ttl()).await? {
            Reply::Vote(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.send(Message::Transfer(rpc), option.soft_ttl()).await? {
            Reply::Transfer(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let SnapshotData::Live(live) = snapshot.snapshot else {
            let refusal = NetworkError::from_string("only a replica's own state is sent");
            return Err(refusal.into());
        };
        tokio::select! {
            sent = self.send_snapshot(vote, snapshot.meta, &live) => sent,
            closed = cancel => Err(closed.into()),
        }
    }
}
