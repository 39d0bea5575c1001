//! The cluster's register of nodes, and its own identity: rows of the system range.
//!
//! ```text
//! /system/cluster          ClusterRecord: drawn once, by whoever comes first
//! /system/nodes/next       the next node id to give
//! /system/nodes/<id>       NodeRecord: where the node is reached
//! ```
//!
//! An empty node asks any member for an identity (service `join`). A founder that comes late is
//! given its own position, unless a node has registered under it: then its disk was wiped, its old
//! replicas have voted, and it gets a fresh id.

use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use bytes::Bytes;
use cluster::{Handler, Identity, Transport};
use core_domain::{
    ClusterId, Key, KvError, KvStore, KvTransaction, LockMode, LockedValue, NodeId, TokenKey,
    TxnOptions, WaitPolicy,
};
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Where empty nodes ask for an identity.
pub const JOIN_SERVICE: &str = "join";
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS_MAX: usize = 20;

/// What makes a cluster itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClusterRecord {
    pub cluster: ClusterId,
    pub token_key: TokenKey,
    pub founders: Vec<String>,
}

/// Where a node is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    pub address: String,
    pub sql_address: String,
    pub http_address: String,
}

#[derive(Serialize, Deserialize)]
struct JoinRequest {
    address: String,
}

fn cluster_key() -> Key {
    Key::system("cluster")
}

fn next_key() -> Key {
    Key::system("nodes/next")
}

fn node_key(node: NodeId) -> Key {
    Key::system(&format!("nodes/{:020}", node.0))
}

/// The cluster's record; drawn now if this node is the first to ask.
pub async fn cluster_record(kv: &dyn KvStore, founders: &[String]) -> Result<ClusterRecord> {
    let drawn = ClusterRecord {
        cluster: ClusterId(rand::random()),
        token_key: rand::random(),
        founders: founders.to_vec(),
    };
    in_transaction(kv, |txn| {
        let drawn = drawn.clone();
        Box::pin(async move {
            if let Some(record) = read_locked(&*txn, &cluster_key()).await? {
                return Ok(record);
            }
            write(&*txn, cluster_key(), &drawn)?;
            write(&*txn, next_key(), &(drawn.founders.len() as u64 + 1))?;
            Ok(drawn)
        })
    })
    .await
}

/// Tells the cluster where this node is reached now.
pub async fn register(kv: &dyn KvStore, node: NodeId, record: &NodeRecord) -> Result<()> {
    in_transaction(kv, |txn| {
        let record = record.clone();
        Box::pin(async move {
            let known: Option<NodeRecord> = read_locked(&*txn, &node_key(node)).await?;
            if known.as_ref() != Some(&record) {
                write(&*txn, node_key(node), &record)?;
            }
            Ok(())
        })
    })
    .await
}

/// Answers empty nodes.
pub struct JoinService {
    pub kv: Arc<dyn KvStore>,
    pub record: ClusterRecord,
}

#[async_trait]
impl Handler for JoinService {
    async fn handle(&self, payload: Bytes) -> Result<Bytes, String> {
        let request: JoinRequest =
            postcard::from_bytes(&payload).map_err(|error| error.to_string())?;
        let identity = self.admit(&request).await.map_err(|error| format!("{error:#}"))?;
        postcard::to_stdvec(&identity).map(Bytes::from).map_err(|error| error.to_string())
    }
}

impl JoinService {
    async fn admit(&self, request: &JoinRequest) -> Result<Identity> {
        let founders = &self.record.founders;
        let position = founders.iter().position(|founder| *founder == request.address);
        let placeholder = NodeRecord {
            address: request.address.clone(),
            sql_address: String::new(),
            http_address: String::new(),
        };
        let node = in_transaction(&*self.kv, |txn| {
            let placeholder = placeholder.clone();
            Box::pin(async move {
                if let Some(position) = position {
                    let node = NodeId(position as u64 + 1);
                    if read_locked::<NodeRecord>(&*txn, &node_key(node)).await?.is_none() {
                        write(&*txn, node_key(node), &placeholder)?;
                        return Ok(node);
                    }
                }
                let next: u64 = read_locked(&*txn, &next_key())
                    .await?
                    .ok_or_else(|| KvError::Internal("the cluster has no node counter".into()))?;
                write(&*txn, next_key(), &(next + 1))?;
                write(&*txn, node_key(NodeId(next)), &placeholder)?;
                Ok(NodeId(next))
            })
        })
        .await?;
        Ok(Identity { node, cluster: Some(self.record.cluster), founders: founders.clone() })
    }
}

/// Asks a member for an identity.
pub async fn ask_to_join(transport: &dyn Transport, via: &str) -> Result<Identity> {
    let request = JoinRequest { address: transport.local_address().to_owned() };
    let payload = postcard::to_stdvec(&request)?.into();
    let answer = transport.call(via, JOIN_SERVICE, payload, JOIN_TIMEOUT).await?;
    postcard::from_bytes(&answer).context("the member's answer")
}

/// Whether the cluster had no majority to answer with.
pub fn is_unavailable(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<KvError>(),
        Some(KvError::Unavailable { .. } | KvError::OutcomeUnknown { .. })
    )
}

/// Runs `body` in a transaction, again as long as the cluster says that it may succeed.
async fn in_transaction<T>(
    kv: &dyn KvStore,
    body: impl Fn(Arc<dyn KvTransaction>) -> BoxFuture<'static, Result<T, KvError>> + Send + Sync,
) -> Result<T> {
    let mut last = anyhow!("never tried");
    for _ in 0..ATTEMPTS_MAX {
        let attempt = async {
            let txn = kv.begin(TxnOptions::default()).await?;
            txn.begin_statement().await?;
            match body(txn.clone()).await {
                Ok(value) => {
                    txn.commit().await?;
                    Ok(value)
                }
                Err(error) => {
                    txn.rollback().await;
                    Err(error)
                }
            }
        };
        match attempt.await {
            Ok(value) => return Ok(value),
            // Each body reads before it writes, so it may be repeated after any of these.
            Err(error) if error.is_retryable() => last = error.into(),
            Err(error @ (KvError::Unavailable { .. } | KvError::OutcomeUnknown { .. })) => {
                last = error.into();
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(last)
}

/// Locks a key and reads its newest value.
async fn read_locked<T: DeserializeOwned>(
    txn: &dyn KvTransaction,
    key: &Key,
) -> Result<Option<T>, KvError> {
    let locked =
        txn.lock(std::slice::from_ref(key), LockMode::Exclusive, WaitPolicy::Wait(None)).await?;
    match locked.into_iter().next() {
        Some(LockedValue::Locked { value: Some(value), .. }) => decode(&value).map(Some),
        Some(LockedValue::Locked { value: None, .. }) => Ok(None),
        Some(LockedValue::Skipped) | None => {
            Err(KvError::Internal("a lock was asked for and not answered".into()))
        }
    }
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, KvError> {
    postcard::from_bytes(value).map_err(|error| KvError::Corruption(error.to_string()))
}

fn write<T: Serialize>(txn: &dyn KvTransaction, key: Key, value: &T) -> Result<(), KvError> {
    let bytes = postcard::to_stdvec(value).map_err(|error| KvError::Internal(error.to_string()))?;
    txn.put(key, bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::memory_kv::MemoryKv;

    fn service(kv: Arc<dyn KvStore>, record: ClusterRecord) -> JoinService {
        JoinService { kv, record }
    }

    #[tokio::test]
    async fn a_late_founder_gets_its_position_once_and_strangers_get_fresh_ids() {
        let kv: Arc<dyn KvStore> = Arc::new(MemoryKv::new());
        let founders = vec!["a:1".to_owned(), "b:1".to_owned(), "c:1".to_owned()];
        let record = cluster_record(&*kv, &founders).await.unwrap();
        let again = cluster_record(&*kv, &founders).await.unwrap();
        assert_eq!(record.cluster, again.cluster);
        let service = service(kv, record);
        let join = async |address: &str| {
            service.admit(&JoinRequest { address: address.into() }).await.unwrap().node
        };
        assert_eq!(join("c:1").await, NodeId(3));
        assert_eq!(join("c:1").await, NodeId(4), "a wiped founder must not vote again as itself");
        assert_eq!(join("d:1").await, NodeId(5));
        assert_eq!(join("a:1").await, NodeId(1));
    }
}
