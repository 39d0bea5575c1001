//! A network in one process, with a switch for each node: for tests and examples.
//!
//! ```text
//! network.node("a:1") ──call("b:1", "raft", …)──▶ what "b:1" registered as "raft"
//! network.cut_off("b:1")                          … Unreachable; TimedOut if it was under way
//! network.cut_link("a:1", "b:1")                  … the same between these two alone
//! ```
//!
//! What it does not do: delay, reorder or lose single messages.

use crate::transport::{Handler, Transport, TransportError};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

type Services = HashMap<&'static str, Arc<dyn Handler>>;

/// Used as `Arc<MemoryNetwork>`; nodes exist from their first registration on.
#[derive(Default)]
pub struct MemoryNetwork {
    nodes: RwLock<HashMap<String, Services>>,
    cut_off: Mutex<HashSet<String>>,
    /// Pairs, both ways round.
    cut_links: Mutex<HashSet<(String, String)>>,
}

impl MemoryNetwork {
    /// What the node at `address` reaches the others by.
    pub fn node(self: &Arc<Self>, address: impl Into<String>) -> Arc<MemoryTransport> {
        Arc::new(MemoryTransport { network: self.clone(), address: address.into() })
    }

    /// Nothing reaches or leaves this node any more.
    pub fn cut_off(&self, address: &str) {
        self.cut_off.lock().insert(address.to_owned());
    }

    /// Its own links; links that were cut one by one stay cut.
    pub fn heal(&self, address: &str) {
        self.cut_off.lock().remove(address);
    }

    /// Nothing passes between these two any more.
    pub fn cut_link(&self, a: &str, b: &str) {
        let mut links = self.cut_links.lock();
        links.insert((a.to_owned(), b.to_owned()));
        links.insert((b.to_owned(), a.to_owned()));
    }

    pub fn heal_link(&self, a: &str, b: &str) {
        let ends =
            |link: &(String, String)| (link.0 == a && link.1 == b) || (link.0 == b && link.1 == a);
        self.cut_links.lock().retain(|link| !ends(link));
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.is_cut_off(from)
            || self.is_cut_off(to)
            || self.cut_links.lock().contains(&(from.to_owned(), to.to_owned()))
    }

    pub fn is_cut_off(&self, address: &str) -> bool {
        self.cut_off.lock().contains(address)
    }
}

/// One node's end of a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: Arc<MemoryNetwork>,
    address: String,
}

#[async_trait]
impl Transport for MemoryTransport {
    fn local_address(&self) -> &str {
        &self.address
    }

    async fn call(
        &self,
        address: &str,
        service: &'static str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let address = address.to_owned();
        let cut = || self.network.is_cut(&self.address, &address);
        let handler = self.network.nodes.read().get(&address).and_then(|s| s.get(service).cloned());
        let Some(handler) = handler.filter(|_| !cut()) else {
            return Err(TransportError::Unreachable { address, reason: "cut off".into() });
        };
        let answered = tokio::time::timeout(timeout, handler.handle(payload)).await;
        if cut() {
            return Err(TransportError::TimedOut { address, after: timeout });
        }
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(reason)) => Err(TransportError::Refused { address, reason }),
            Err(_) => Err(TransportError::TimedOut { address, after: timeout }),
        }
    }

    fn register(&self, service: &'static str, handler: Arc<dyn Handler>) {
        let mut nodes = self.network.nodes.write();
        nodes.entry(self.address.clone()).or_default().insert(service, handler);
    }
}
