//! What a node tells of its cluster: `shanghai.nodes`, `shanghai.ranges`, `/metrics`.

use admin::Metric;
use catalog::virtual_tables::{NodeInfo, RangeInfo};
use cluster::Membership;
use core_domain::NodeId;
use replication::{Leadership, RangeDescriptor, ReplicaRole, Store};
use std::sync::Arc;

pub struct View {
    pub node: NodeId,
    pub membership: Arc<Membership>,
    pub store: Arc<Store>,
    /// Microseconds since 1970.
    pub started: i64,
}

impl sql::ClusterView for View {
    fn nodes(&self) -> Vec<NodeInfo> {
        let groups = self.store.groups();
        let count = |node: NodeId| {
            let ranges =
                groups.iter().filter(|g| g.descriptor().replica_on(node).is_some()).count();
            let leaders =
                groups.iter().filter(|g| g.leader().is_some_and(|l| l.node == node)).count();
            (ranges as u64, leaders as u64)
        };
        self.membership
            .members()
            .into_iter()
            .map(|view| {
                let (ranges, leaders) = count(view.member.node);
                let is_local = view.member.node == self.node;
                NodeInfo {
                    id: view.member.node.0,
                    state: view.state.to_string(),
                    rpc_address: view.member.address,
                    sql_address: view.member.sql_address,
                    http_address: view.member.http_address,
                    started: is_local.then_some(self.started),
                    ranges,
                    leaders,
                    suspicion: Some(view.phi),
                    version: if is_local {
                        env!("CARGO_PKG_VERSION").into()
                    } else {
                        String::new()
                    },
                    is_local,
                }
            })
            .collect()
    }

    fn ranges(&self) -> Vec<RangeInfo> {
        self.store
            .groups()
            .iter()
            .map(|group| {
                let descriptor = group.descriptor();
                let with_role = |role: ReplicaRole| {
                    let places = descriptor.replicas.iter().filter(|place| place.role == role);
                    places.map(|place| place.node.0).collect()
                };
                RangeInfo {
                    id: descriptor.range.0,
                    span: descriptor.span.clone(),
                    generation: descriptor.generation.0,
                    leader: group.leader().map(|leader| leader.node.0),
                    voters: with_role(ReplicaRole::Voter),
                    learners: with_role(ReplicaRole::Learner),
                    size_bytes: group.approximate_bytes().ok(),
                }
            })
            .collect()
    }
}

/// Samples for `/metrics`.
pub fn metrics(store: &Store, server: &sql::Server) -> Vec<Metric> {
    let groups = store.groups();
    let led = groups
        .iter()
        .filter(|group| matches!(group.leadership(), Leadership::Serving { .. }))
        .count();
    let under = |descriptor: &RangeDescriptor| descriptor.voters().count() < 3;
    vec![
        Metric::gauge("shanghai_sessions", "Open SQL sessions.", server.session_count() as f64),
        Metric::gauge(
            "shanghai_query_bytes",
            "Bytes of rows that statements keep.",
            server.query_bytes() as f64,
        ),
        Metric::gauge("shanghai_ranges", "Replicas of ranges on this node.", groups.len() as f64),
        Metric::gauge("shanghai_ranges_led", "Ranges that this node leads and serves.", led as f64),
        Metric::gauge(
            "shanghai_ranges_underreplicated",
            "Ranges here with fewer than three voters.",
            groups.iter().filter(|group| under(&group.descriptor())).count() as f64,
        ),
        Metric::gauge(
            "shanghai_ranges_damaged",
            "Ranges whose replica here is retired because its disk lost what it had promised.",
            store.damaged().len() as f64,
        ),
    ]
}
