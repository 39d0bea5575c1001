//! Long fork: two readers that saw two independent writes in opposite orders. Parallel snapshot
//! isolation allows it; one oracle's snapshots do not.
//!
//! ```text
//! writers   x := 1        y := 1          each key is written once
//! reader 1  x: 1  y: ∅                    so x came before y
//! reader 2  x: ∅  y: 1                    so y came before x
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Keys that one transaction read in one snapshot, and whether each was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    pub client: usize,
    pub written: BTreeMap<u64, bool>,
}

impl Glance {
    fn seen(&self) -> BTreeSet<u64> {
        self.written.iter().filter(|(_, written)| **written).map(|(key, _)| *key).collect()
    }

    /// A key that is written here and not there.
    fn ahead_of(&self, other: &Glance) -> Option<u64> {
        self.seen().into_iter().find(|key| other.written.get(key) == Some(&false))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongFork {
    pub first: Glance,
    pub second: Glance,
    pub only_first: u64,
    pub only_second: u64,
}

impl fmt::Display for LongFork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "client {} saw {} without {}, client {} saw {} without {}",
            self.first.client,
            self.only_first,
            self.only_second,
            self.second.client,
            self.only_second,
            self.only_first
        )
    }
}

pub fn check(glances: &[Glance]) -> Vec<LongFork> {
    let mut forks = Vec::new();
    for (i, first) in glances.iter().enumerate() {
        for second in &glances[i + 1..] {
            if let (Some(only_first), Some(only_second)) =
                (first.ahead_of(second), second.ahead_of(first))
            {
                let (first, second) = (first.clone(), second.clone());
                forks.push(LongFork { first, second, only_first, only_second });
            }
        }
    }
    forks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(client: usize, written: &[(u64, bool)]) -> Glance {
        Glance { client, written: written.iter().copied().collect() }
    }

    #[test]
    fn opposite_orders_are_a_fork_and_growing_ones_are_not() {
        let grows = [
            glance(0, &[(1, false), (2, false)]),
            glance(1, &[(1, true), (2, false)]),
            glance(2, &[(1, true), (2, true)]),
            glance(3, &[(2, true), (3, false)]),
        ];
        assert_eq!(check(&grows), []);
        let forked = [grows[1].clone(), glance(4, &[(1, false), (2, true)])];
        let found = check(&forked);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "client 1 saw 1 without 2, client 4 saw 2 without 1");
    }
}
