//! What can go wrong in replication, named by what the caller can do about it.

use crate::descriptor::ReplicaPlace;
use core_domain::{KvError, RangeId};
use thiserror::Error;

pub type Result<T> = std::result::Result<T, ReplicationError>;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplicationError {
    /// Nothing was proposed. Ask the leader, when it is known.
    #[error("the replica of {range} here is not its leader{}", match leader {
        Some(place) => format!("; {} at {} is", place.node, place.address),
        None => String::new(),
    })]
    NotLeader { range: RangeId, leader: Option<ReplicaPlace> },
    /// Nothing was proposed: no replica of this range is here.
    #[error("no replica of {range} on this node")]
    NoReplica { range: RangeId },
    /// Nothing was done in the time allowed; no quorum answers.
    #[error("{range} has no quorum: {reason}")]
    NoQuorum { range: RangeId, reason: String },
    /// Proposed, and whether it will be applied is not known.
    #[error("the outcome of a command on {range} is unknown: {reason}")]
    OutcomeUnknown { range: RangeId, reason: String },
    /// The command is over its size limit, or cannot be carried out in this state.
    #[error("refused: {0}")]
    Refused(String),
    /// Bytes on disk or on the wire that cannot be.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The replica, or the node, stopped.
    #[error("{range} stopped here: {reason}")]
    Stopped { range: RangeId, reason: String },
    #[error("storage: {0}")]
    Storage(String),
}

impl ReplicationError {
    /// Whether the command was certainly not and will never be applied.
    pub fn is_not_applied(&self) -> bool {
        match self {
            Self::OutcomeUnknown { .. } | Self::Stopped { .. } | Self::Storage(_) => false,
            Self::NotLeader { .. }
            | Self::NoReplica { .. }
            | Self::NoQuorum { .. }
            | Self::Refused(_)
            | Self::Damaged(_) => true,
        }
    }
}

/// For callers without a transaction at hand; one with it reports `OutcomeUnknown` itself.
impl From<ReplicationError> for KvError {
    fn from(error: ReplicationError) -> Self {
        let text = error.to_string();
        match error {
            ReplicationError::NotLeader { range, .. }
            | ReplicationError::NoReplica { range }
            | ReplicationError::NoQuorum { range, .. }
            | ReplicationError::OutcomeUnknown { range, .. }
            | ReplicationError::Stopped { range, .. } => {
                KvError::Unavailable { range, reason: text }
            }
            ReplicationError::Refused(_) | ReplicationError::Storage(_) => KvError::Internal(text),
            ReplicationError::Damaged(_) => KvError::Corruption(text),
        }
    }
}
