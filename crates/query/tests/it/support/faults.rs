//! What happens to a cluster while a workload runs: one thing after the other, as a seed says.
//!
//! ```text
//! kill       the node vanishes with its unsynced bytes, and is started again on what is left
//! pause      the node lives on, but nothing reaches or leaves it
//! cut link   two nodes do not hear each other; the third hears both
//! transfer   a range gets another leader, without a fault
//! ```

use super::{Cluster, address};
use core_domain::NodeId;
use std::time::{Duration, Instant};
use testkit::random::Random;
use testkit::workload::Nodes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Pause,
    CutLink,
    Transfer,
}

pub const ALL: [Fault; 4] = [Fault::Kill, Fault::Pause, Fault::CutLink, Fault::Transfer];

/// Longer than a lease and an election, so that others take over; at most one node is missing.
const FAULT_MS: std::ops::Range<u64> = 300..1500;
const CALM_MS: std::ops::Range<u64> = 100..500;

/// Injects faults until `duration` is over; in the end everything is healed. What was done.
pub async fn inject(
    cluster: &mut Cluster,
    nodes: &Nodes,
    faults: &[Fault],
    seed: u64,
    duration: Duration,
) -> Vec<String> {
    let deadline = Instant::now() + duration;
    let mut random = Random::new(seed);
    let mut done = Vec::new();
    while Instant::now() < deadline {
        tokio::time::sleep(between(&mut random, CALM_MS)).await;
        let fault = *random.choose(faults);
        let node = *random.choose(&cluster.ids);
        let other = *random.choose(&cluster.ids);
        let lasting = between(&mut random, FAULT_MS);
        done.push(format!("{fault:?} n{node} (n{other}) for {lasting:?}"));
        match fault {
            Fault::Kill => {
                nodes.remove(node);
                cluster.kill(node, random.draw()).await;
                tokio::time::sleep(lasting).await;
                cluster.restart(node).await;
                nodes.set(node, cluster.kv(node));
            }
            Fault::Pause => {
                cluster.net_cut(node);
                tokio::time::sleep(lasting).await;
                cluster.net.heal(&address(node));
            }
            Fault::CutLink => {
                cluster.net.cut_link(&address(node), &address(other));
                tokio::time::sleep(lasting).await;
                cluster.net.heal_link(&address(node), &address(other));
            }
            Fault::Transfer => transfer_all(cluster, node).await,
        }
    }
    done
}

fn between(random: &mut Random, ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(ms.start + random.below(ms.end - ms.start))
}

/// Every range is led by `node` then, unless something is in the way.
async fn transfer_all(cluster: &Cluster, node: u64) {
    for holder in cluster.nodes.values() {
        for replica in holder.store.groups() {
            if replica.leadership() != replication::Leadership::Follower {
                // A range that cannot be transferred now is not; that is no fault of the test.
                let _ = replica.transfer_to(NodeId(node)).await;
            }
        }
    }
}
