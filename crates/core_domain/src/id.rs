//! Identifiers. Newtypes, so that a range is never passed where a replica is meant.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl From<u64> for $name {
            fn from(raw: u64) -> Self {
                Self(raw)
            }
        }
    };
}

id!(
    /// A node of the cluster: one process, one data directory. Assigned once, never reused.
    NodeId,
    "n"
);
id!(
    /// A range: one span of the keyspace, one Raft group.
    RangeId,
    "r"
);
id!(
    /// One replica of one range. Never reused: a wiped replica that came back under its old id
    /// could vote twice.
    ReplicaId,
    "p"
);
id!(
    /// Counts the changes of a range's span and replicas. Every command carries the generation
    /// that it was evaluated under and is refused at apply when it differs (protocol.md, rule 8).
    Generation,
    "g"
);
id!(
    /// A transaction's identity: its start timestamp, drawn from the oracle, so unique.
    TxnId,
    "t"
);
id!(
    /// Position in a range's log.
    LogSequenceNumber,
    "l"
);
id!(
    /// Version of a versioned thing (catalog, setting), counted from one.
    Version,
    "v"
);

/// A table: `group` (tables of one group are neighbours in the keyspace and start in one range)
/// and a number within it. Encoded as eight big-endian bytes, group first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TableId {
    pub group: u32,
    pub number: u32,
}

impl TableId {
    pub fn new(group: u32, number: u32) -> Self {
        Self { group, number }
    }

    pub fn to_u64(self) -> u64 {
        (u64::from(self.group) << 32) | u64::from(self.number)
    }

    pub fn from_u64(raw: u64) -> Self {
        Self { group: (raw >> 32) as u32, number: raw as u32 }
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.group, self.number)
    }
}

/// A cluster's identity, drawn once at its formation. Tokens and messages of another cluster are
/// refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
