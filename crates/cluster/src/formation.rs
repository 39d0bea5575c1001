//! How empty nodes become exactly one cluster.
//!
//! Nodes started with the same `--join` list greet every address on it. The listed addresses are
//! the founders: the system range's Raft group starts with all of them as voters, each knowing its
//! position in the sorted list. Raft elects a leader only with a majority of those voters, so two
//! clusters cannot come from one list, whoever starts first.
//!
//! ```text
//!           empty ──greets a majority of empty or founding listed nodes──▶ founding ──▶ member
//!             │                                                                ▲
//!             └──greets a member──▶ asks it for an identity (join or claim) ───┘
//! ```
//!
//! The decision is [`decide`], pure; [`Greeter`] asks around and answers others. A founder that
//! comes late finds members and *claims* its position, which the cluster grants once: a founder
//! whose disk was wiped gets a fresh identity instead, because its old replicas voted.

use crate::transport::{Handler, Transport};
use async_trait::async_trait;
use bytes::Bytes;
use core_domain::{ClusterId, NodeId};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The service that greetings go to.
pub const HELLO_SERVICE: &str = "hello";
const HELLO_TIMEOUT: Duration = Duration::from_millis(800);

/// Who a node is: persisted before it takes part in anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub node: NodeId,
    /// Known once the first leader has chosen it.
    pub cluster: Option<ClusterId>,
    /// The addresses that founded the cluster, sorted; node ids 1.. in that order.
    pub founders: Vec<String>,
}

/// A node's answer to a greeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Drawn at process start: by it a node recognises itself among the addresses.
    pub nonce: u64,
    /// The sorted list it was started with.
    pub join: Vec<String>,
    /// `None`: empty.
    pub identity: Option<Identity>,
}

/// What an empty node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Found the cluster with the listed addresses, as the node at this position.
    Found(Identity),
    /// Ask this member for an identity.
    Join { via: String },
    /// Greet again: this is missing.
    Wait(String),
}

/// Decides from what the listed addresses answered. `heard` has an entry for each that did, this
/// node included.
pub fn decide(nonce: u64, join: &[String], heard: &BTreeMap<String, Hello>) -> Step {
    let member = heard
        .iter()
        .find(|(_, hello)| hello.identity.as_ref().is_some_and(|i| i.cluster.is_some()));
    if let Some((address, _)) = member {
        return Step::Join { via: address.clone() };
    }
    let Some(position) = heard
        .iter()
        .find(|(_, hello)| hello.nonce == nonce)
        .and_then(|(address, _)| join.iter().position(|listed| listed == address))
    else {
        return Step::Wait("no member answers, and this node is not on its own join list".into());
    };
    if let Some((address, other)) = heard.iter().find(|(_, hello)| {
        let theirs = hello.identity.as_ref().map_or(&hello.join, |i| &i.founders);
        theirs.as_slice() != join
    }) {
        return Step::Wait(format!(
            "{address} was started with another join list: {:?}",
            other.join
        ));
    }
    let majority = join.len() / 2 + 1;
    if heard.len() < majority {
        return Step::Wait(format!(
            "{} of {} addresses answer, {majority} needed",
            heard.len(),
            join.len()
        ));
    }
    Step::Found(Identity {
        node: NodeId(position as u64 + 1),
        cluster: None,
        founders: join.to_vec(),
    })
}

/// Greets others and answers greetings.
pub struct Greeter {
    nonce: u64,
    join: Vec<String>,
    identity: RwLock<Option<Identity>>,
}

impl Greeter {
    pub fn new(join: Vec<String>, identity: Option<Identity>) -> Arc<Self> {
        Arc::new(Self { nonce: rand::random(), join, identity: RwLock::new(identity) })
    }

    /// From now on, greetings are answered with this identity.
    pub fn set_identity(&self, identity: Identity) {
        *self.identity.write() = Some(identity);
    }

    /// One round of greetings to every listed address, then the decision.
    pub async fn step(&self, transport: &dyn Transport) -> Step {
        let greetings = self.join.iter().map(|address| async move {
            let answer =
                transport.call(address, HELLO_SERVICE, Bytes::new(), HELLO_TIMEOUT).await.ok()?;
            let hello: Hello = postcard::from_bytes(&answer).ok()?;
            Some((address.clone(), hello))
        });
        let heard = futures::future::join_all(greetings).await.into_iter().flatten().collect();
        decide(self.nonce, &self.join, &heard)
    }
}

#[async_trait]
impl Handler for Greeter {
    async fn handle(&self, _: Bytes) -> Result<Bytes, String> {
        let hello = Hello {
            nonce: self.nonce,
            join: self.join.clone(),
            identity: self.identity.read().clone(),
        };
        postcard::to_stdvec(&hello).map(Bytes::from).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Vec<String> {
        vec!["a:1".into(), "b:1".into(), "c:1".into()]
    }

    fn empty(nonce: u64) -> Hello {
        Hello { nonce, join: list(), identity: None }
    }

    fn with_identity(nonce: u64, node: u64, cluster: Option<u128>) -> Hello {
        let identity =
            Identity { node: NodeId(node), cluster: cluster.map(ClusterId), founders: list() };
        Hello { nonce, join: list(), identity: Some(identity) }
    }

    fn heard(answers: &[(&str, Hello)]) -> BTreeMap<String, Hello> {
        answers.iter().map(|(address, hello)| ((*address).to_owned(), hello.clone())).collect()
    }

    #[test]
    fn a_minority_waits_and_a_majority_founds_with_all_listed_addresses() {
        let alone = decide(2, &list(), &heard(&[("b:1", empty(2))]));
        assert!(matches!(alone, Step::Wait(_)), "{alone:?}");
        let two = decide(2, &list(), &heard(&[("b:1", empty(2)), ("c:1", empty(3))]));
        let Step::Found(identity) = two else { panic!("{two:?}") };
        assert_eq!(identity.node, NodeId(2));
        assert_eq!(identity.founders, list());
    }

    #[test]
    fn a_late_founder_and_a_stranger_both_ask_a_member() {
        let member = with_identity(1, 1, Some(9));
        let late = decide(3, &list(), &heard(&[("a:1", member.clone()), ("c:1", empty(3))]));
        assert_eq!(late, Step::Join { via: "a:1".into() });
        let stranger = decide(99, &list(), &heard(&[("a:1", member)]));
        assert_eq!(stranger, Step::Join { via: "a:1".into() });
    }

    #[test]
    fn another_list_never_founds_together_with_this_one() {
        let mut other = empty(1);
        other.join.pop();
        let got = decide(2, &list(), &heard(&[("a:1", other), ("b:1", empty(2))]));
        assert!(matches!(got, Step::Wait(_)), "{got:?}");
    }

    #[test]
    fn founders_without_a_leader_yet_count_as_met() {
        let got =
            decide(2, &list(), &heard(&[("a:1", with_identity(1, 1, None)), ("b:1", empty(2))]));
        assert!(matches!(got, Step::Found(_)), "{got:?}");
    }
}
