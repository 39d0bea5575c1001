//! What a range is: its span, its replicas, its generation.
//!
//! The descriptor is applied state of the range itself: every change of it (split, membership)
//! is an entry of the range's log, so each replica knows it at the index where it took effect.

use core_domain::{Generation, Key, NodeId, RangeId, ReplicaId, Span};
use serde::{Deserialize, Serialize};

/// The range of the oracle, the directory, the settings and the catalog.
pub const SYSTEM_RANGE: RangeId = RangeId(1);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeDescriptor {
    pub range: RangeId,
    pub span: Span,
    /// Rises with each change of `span` or `replicas`.
    pub generation: Generation,
    /// Ordered by replica id.
    pub replicas: Vec<ReplicaPlace>,
    /// The smallest replica id that was never given out in this range.
    pub next_replica: ReplicaId,
}

/// One replica and the node that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaPlace {
    pub replica: ReplicaId,
    pub node: NodeId,
    /// Where that node listened when the replica was added; it may have moved since.
    pub address: String,
    pub role: ReplicaRole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaRole {
    Voter,
    /// Receives the log, does not vote: on its way in or out.
    Learner,
}

impl RangeDescriptor {
    /// The descriptor of a new range whose voters are `founders`; replica ids are their positions,
    /// counted from one.
    pub fn founding(range: RangeId, span: Span, founders: &[(NodeId, String)]) -> Self {
        let replicas = founders
            .iter()
            .zip(1..)
            .map(|((node, address), id)| ReplicaPlace {
                replica: ReplicaId(id),
                node: *node,
                address: address.clone(),
                role: ReplicaRole::Voter,
            })
            .collect::<Vec<_>>();
        let next_replica = ReplicaId(replicas.len() as u64 + 1);
        Self { range, span, generation: Generation(1), replicas, next_replica }
    }

    pub fn replica_on(&self, node: NodeId) -> Option<&ReplicaPlace> {
        self.replicas.iter().find(|place| place.node == node)
    }

    pub fn replica(&self, id: ReplicaId) -> Option<&ReplicaPlace> {
        self.replicas.iter().find(|place| place.replica == id)
    }

    pub fn voters(&self) -> impl Iterator<Item = &ReplicaPlace> {
        self.replicas.iter().filter(|place| place.role == ReplicaRole::Voter)
    }

    /// Left and right descriptor after a split at `at`; `None` if `at` is not strictly inside.
    pub fn split(&self, at: &Key, right: RangeId) -> Option<(Self, Self)> {
        if !self.span.contains(at) || *at == self.span.start {
            return None;
        }
        let generation = Generation(self.generation.0 + 1);
        let left_span = Span::new(self.span.start.clone(), at.clone());
        let right_span = Span::new(at.clone(), self.span.end.clone());
        let left = Self { span: left_span, generation, ..self.clone() };
        let right = Self { range: right, span: right_span, generation, ..self.clone() };
        Some((left, right))
    }
}
