//! SWIM membership: who is up, spread by gossip (the `foca` crate).
//!
//! One task owns the protocol's state; packets go over [`Transport`], timers over tokio. Others see
//! a [`MemberView`] per node. Heartbeats (every packet heard from a node counts as one) feed a Phi
//! estimator per peer.
//!
//! ```text
//! packet in ──▶ ┌──────┐ ──▶ packets out (transport, service "gossip")
//! timer     ──▶ │ foca │ ──▶ timers
//!               └──────┘ ──▶ member up / down ──▶ MemberView
//! ```
//!
//! Not here: any decision about ranges or leaders.

use crate::phi::{PHI_SUSPECT, PhiEstimator};
use crate::transport::{Handler, Transport};
use async_trait::async_trait;
use bytes::Bytes;
use core_domain::{Clock, NodeId, NodeState};
use foca::{
    Config, Foca, Identity, NoCustomBroadcast, Notification, PostcardCodec, Runtime, Timer,
};
use parking_lot::RwLock;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const GOSSIP_SERVICE: &str = "gossip";
const PACKET_TIMEOUT: Duration = Duration::from_millis(500);
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// A node as gossip knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub node: NodeId,
    /// Where its RPCs are answered.
    pub address: String,
    /// Where SQL clients connect.
    pub sql_address: String,
    pub http_address: String,
    /// Rises at every start and whenever the node refutes its own death.
    pub incarnation: u64,
}

impl Identity for Member {
    /// The address: an announcement to a seed knows nothing else of it.
    type Addr = String;

    fn renew(&self) -> Option<Self> {
        Some(Self { incarnation: self.incarnation + 1, ..self.clone() })
    }

    fn addr(&self) -> String {
        self.address.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.incarnation > adversary.incarnation
    }
}

/// What is known of one member now.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    pub member: Member,
    pub state: NodeState,
    pub phi: f64,
}

struct Known {
    member: Member,
    up: bool,
    phi: PhiEstimator,
}

/// The node's view of the cluster, kept up to date by gossip.
pub struct Membership {
    me: Member,
    clock: Arc<dyn Clock>,
    known: RwLock<BTreeMap<NodeId, Known>>,
    events: mpsc::UnboundedSender<Event>,
}

enum Event {
    Packet(Bytes),
    Timer(Timer<Member>),
    Announce(Vec<String>),
    Leave(tokio::sync::oneshot::Sender<()>),
}

impl Membership {
    /// Starts gossiping. `seeds` are addresses to announce to until members are known.
    pub fn start(
        me: Member,
        seeds: Vec<String>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (events, inbox) = mpsc::unbounded_channel();
        let membership = Arc::new(Self { me: me.clone(), clock, known: RwLock::default(), events });
        transport.register(GOSSIP_SERVICE, membership.clone());
        tokio::spawn(membership.clone().gossip(inbox, transport));
        tokio::spawn(membership.clone().announce(seeds));
        membership
    }

    /// Every member heard of, this node included, in the order of their ids.
    pub fn members(&self) -> Vec<MemberView> {
        let now = self.clock.monotonic();
        let mut views: Vec<MemberView> = self
            .known
            .read()
            .values()
            .map(|known| {
                let phi = known.phi.phi(now);
                let state = match known.up {
                    false => NodeState::Dead,
                    true if phi > PHI_SUSPECT => NodeState::Suspect,
                    true => NodeState::Live,
                };
                MemberView { member: known.member.clone(), state, phi }
            })
            .collect();
        views.push(MemberView { member: self.me.clone(), state: NodeState::Live, phi: 0.0 });
        views.sort_by_key(|view| view.member.node);
        views
    }

    /// Members that seem up, with their RPC addresses; this node included.
    pub fn live(&self) -> Vec<(NodeId, String)> {
        self.members()
            .into_iter()
            .filter(|view| view.state == NodeState::Live)
            .map(|view| (view.member.node, view.member.address))
            .collect()
    }

    /// Where a node answers RPCs; `None` if it was never heard of.
    pub fn address(&self, node: NodeId) -> Option<String> {
        if node == self.me.node {
            return Some(self.me.address.clone());
        }
        self.known.read().get(&node).map(|known| known.member.address.clone())
    }

    /// Tells the others that this node goes, so that they need not find out.
    pub async fn leave(&self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        if self.events.send(Event::Leave(done)).is_ok() {
            let _ = tokio::time::timeout(PACKET_TIMEOUT, wait).await;
        }
    }

    /// Announces to the seeds, more rarely once others are known: a seed may come back later.
    async fn announce(self: Arc<Self>, seeds: Vec<String>) {
        loop {
            let alone = !self.known.read().values().any(|known| known.up);
            if self.events.send(Event::Announce(seeds.clone())).is_err() {
                return;
            }
            let pause = if alone { ANNOUNCE_INTERVAL / 8 } else { ANNOUNCE_INTERVAL };
            tokio::time::sleep(pause).await;
        }
    }

    async fn gossip(
        self: Arc<Self>,
        mut inbox: mpsc::UnboundedReceiver<Event>,
        transport: Arc<dyn Transport>,
    ) {
        let mut config = Config::new_lan(NonZeroU32::new(8).expect("8 is not zero"));
        config.probe_period = HEARTBEAT_INTERVAL;
        config.probe_rtt = HEARTBEAT_INTERVAL / 3;
        config.suspect_to_down_after = Duration::from_secs(3);
        config.remove_down_after = Some(Duration::from_secs(600));
        // Members are few and each must hear from every other: a packet is one RPC.
        config.max_packet_size = 16_384.try_into().expect("not zero");
        let mut foca: Foca<Member, _, _, NoCustomBroadcast> =
            Foca::new(self.me.clone(), config, StdRng::from_rng(&mut rand::rng()), PostcardCodec);
        while let Some(event) = inbox.recv().await {
            let mut driver = Driver { membership: &self, transport: &transport };
            let outcome = match event {
                Event::Packet(packet) => foca.handle_data(&packet, &mut driver),
                Event::Timer(timer) => foca.handle_timer(timer, &mut driver),
                Event::Announce(seeds) => {
                    for seed in seeds.iter().filter(|seed| **seed != self.me.address) {
                        let unknown = Member {
                            // Not a member yet: only its address matters to the transport.
                            node: NodeId(0),
                            address: seed.clone(),
                            sql_address: String::new(),
                            http_address: String::new(),
                            incarnation: 0,
                        };
                        if let Err(error) = foca.announce(unknown, &mut driver) {
                            tracing::debug!(%error, %seed, "announce failed");
                        }
                    }
                    Ok(())
                }
                Event::Leave(done) => {
                    let left = foca.leave_cluster(&mut driver);
                    let _ = done.send(());
                    left
                }
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "gossip event ignored");
            }
        }
    }

    fn heard_from(&self, node: NodeId) {
        let now = self.clock.monotonic();
        if let Some(known) = self.known.write().get_mut(&node) {
            known.phi.heartbeat(now);
        }
    }

    fn set(&self, member: &Member, up: bool) {
        let now = self.clock.monotonic();
        let mut known = self.known.write();
        let entry = known.entry(member.node).or_insert_with(|| Known {
            member: member.clone(),
            up,
            phi: PhiEstimator::new(HEARTBEAT_INTERVAL),
        });
        if up && !entry.up {
            // Its silence while it was down says nothing about its rhythm.
            entry.phi = PhiEstimator::new(HEARTBEAT_INTERVAL);
        }
        entry.member = member.clone();
        entry.up = up;
        if up {
            entry.phi.heartbeat(now);
        }
    }
}

/// Packets carry their sender in front, for the Phi estimators: foca's own header is opaque here.
#[async_trait]
impl Handler for Membership {
    async fn handle(&self, payload: Bytes) -> Result<Bytes, String> {
        let Some(sender) = payload.get(..8) else { return Err("short packet".into()) };
        let sender = u64::from_be_bytes(sender.try_into().expect("eight bytes were taken"));
        self.heard_from(NodeId(sender));
        self.events
            .send(Event::Packet(payload.slice(8..)))
            .map_err(|_| "not gossiping any more".to_owned())?;
        Ok(Bytes::new())
    }
}

struct Driver<'a> {
    membership: &'a Arc<Membership>,
    transport: &'a Arc<dyn Transport>,
}

impl Runtime<Member> for Driver<'_> {
    fn notify(&mut self, notification: Notification<'_, Member>) {
        match notification {
            Notification::MemberUp(member) => {
                tracing::info!(node = %member.node, address = %member.address, "member up");
                self.membership.set(member, true);
            }
            Notification::MemberDown(member) => {
                tracing::warn!(node = %member.node, address = %member.address, "member down");
                self.membership.set(member, false);
            }
            Notification::Rename(_, member) => self.membership.set(member, true),
            Notification::Active
            | Notification::Idle
            | Notification::Defunct
            | Notification::Rejoin(_) => {}
        }
    }

    fn send_to(&mut self, to: Member, data: &[u8]) {
        let mut packet = Vec::with_capacity(8 + data.len());
        packet.extend_from_slice(&self.membership.me.node.0.to_be_bytes());
        packet.extend_from_slice(data);
        let transport = self.transport.clone();
        let membership = self.membership.clone();
        tokio::spawn(async move {
            let sent =
                transport.call(&to.address, GOSSIP_SERVICE, packet.into(), PACKET_TIMEOUT).await;
            // The reply of the transport is a heartbeat too.
            if sent.is_ok() {
                membership.heard_from(to.node);
            }
        });
    }

    fn submit_after(&mut self, event: Timer<Member>, after: Duration) {
        let events = self.membership.events.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = events.send(Event::Timer(event));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::GrpcTransport;
    use core_domain::SystemClock;
    use tokio::net::TcpListener;

    async fn node(id: u64, seeds: Vec<String>) -> (Arc<Membership>, String, impl FnOnce()) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let transport = GrpcTransport::new(address.clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = transport.clone();
        let server =
            tokio::spawn(
                async move { serving.serve(listener, async { drop(stopped.await) }).await },
            );
        let me = Member {
            node: NodeId(id),
            address: address.clone(),
            sql_address: String::new(),
            http_address: String::new(),
            incarnation: 1,
        };
        let membership = Membership::start(me, seeds, transport, Arc::new(SystemClock::default()));
        (membership, address, move || {
            drop(stop);
            server.abort();
        })
    }

    async fn until(what: &str, condition: impl Fn() -> bool) {
        for _ in 0..200 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never: {what}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn three_nodes_meet_and_a_silent_one_is_noticed() {
        let (a, address, _stop_a) = node(1, vec![]).await;
        let (b, _, _stop_b) = node(2, vec![address.clone()]).await;
        let (c, _, stop_c) = node(3, vec![address]).await;
        for (name, view) in [("a", &a), ("b", &b), ("c", &c)] {
            until(&format!("{name} sees three live nodes"), || view.live().len() == 3).await;
        }
        stop_c();
        until("a sees that c is gone", || {
            a.members().iter().any(|view| {
                view.member.node == NodeId(3)
                    && matches!(view.state, NodeState::Dead | NodeState::Suspect)
            })
        })
        .await;
        assert!(a.live().iter().any(|(node, _)| *node == NodeId(2)));
    }
}
