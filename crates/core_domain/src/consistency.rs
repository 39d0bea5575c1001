//! What a session asks for, and the receipt for what it got.

use crate::id::NodeId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The guarantee a session asks for: `SET consistency`. Ordered by strength.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum ConsistencyLevel {
    Eventual,
    Causal,
    #[default]
    Strong,
}

impl ConsistencyLevel {
    pub const NAMES: [&'static str; 3] = ["strong", "causal", "eventual"];

    pub fn as_str(self) -> &'static str {
        match self {
            ConsistencyLevel::Strong => "strong",
            ConsistencyLevel::Causal => "causal",
            ConsistencyLevel::Eventual => "eventual",
        }
    }
}

impl fmt::Display for ConsistencyLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ConsistencyLevel {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s.to_ascii_lowercase().as_str() {
            "strong" => Ok(ConsistencyLevel::Strong),
            "causal" => Ok(ConsistencyLevel::Causal),
            "eventual" => Ok(ConsistencyLevel::Eventual),
            _ => Err(()),
        }
    }
}

/// A transaction's isolation, as PostgreSQL names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IsolationLevel {
    /// A fresh snapshot for each statement; READ UNCOMMITTED is served as this, as in PostgreSQL.
    #[default]
    ReadCommitted,
    /// One snapshot for the whole transaction; a write to a row changed since is 40001.
    RepeatableRead,
    /// REPEATABLE READ plus validation of everything read.
    Serializable,
}

impl IsolationLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            IsolationLevel::ReadCommitted => "read committed",
            IsolationLevel::RepeatableRead => "repeatable read",
            IsolationLevel::Serializable => "serializable",
        }
    }
}

/// The receipt for one statement: `SHOW last_guarantee`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    pub asked: ConsistencyLevel,
    pub served: ConsistencyLevel,
    /// The snapshot read; zero if the statement read nothing.
    pub read_timestamp: Timestamp,
    /// How old the snapshot was when it was taken.
    pub staleness: Duration,
    /// Nodes whose replicas answered.
    pub replicas: Vec<NodeId>,
    /// Time spent waiting for locks, leaders or the token.
    pub waited: Duration,
    /// Requests that went to a node that did not lead the range any more.
    pub redirects: u32,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replicas: Vec<String> = self.replicas.iter().map(NodeId::to_string).collect();
        write!(
            f,
            "asked={} served={} read_timestamp={} staleness_ms={} replicas={} waited_ms={} redirects={}",
            self.asked,
            self.served,
            self.read_timestamp.0,
            self.staleness.as_millis(),
            replicas.join(","),
            self.waited.as_millis(),
            self.redirects
        )
    }
}
