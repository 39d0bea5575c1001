//! Bytes from one node's service to another's.

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why a call got no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransportError {
    /// Nothing was delivered: safe to try again or elsewhere.
    #[error("{address} is unreachable: {reason}")]
    Unreachable { address: String, reason: String },
    /// It may or may not have been carried out.
    #[error("no answer from {address} within {after:?}")]
    TimedOut { address: String, after: Duration },
    /// The other side has no such service (yet), or refused.
    #[error("{address} refused: {reason}")]
    Refused { address: String, reason: String },
}

/// The receiving end of a service.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one call. An `Err` reaches the caller as [`TransportError::Refused`].
    async fn handle(&self, payload: Bytes) -> Result<Bytes, String>;
}

/// Calls between nodes, addressed by `host:port`. Two implementations: gRPC, and the
/// network in memory of the tests.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The address at which others reach this node.
    fn local_address(&self) -> &str;

    async fn call(
        &self,
        address: &str,
        service: &'static str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError>;

    /// Serves `service` from now on. A second registration replaces the first.
    fn register(&self, service: &'static str, handler: Arc<dyn Handler>);
}
