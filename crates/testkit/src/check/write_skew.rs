//! Write skew: two transactions each read both of a pair, found both free, and each took one.
//!
//! ```text
//! rule: at most one of a, b is taken
//! T1: reads a free, b free ── takes a      one after the other, the second would have seen the
//! T2: reads a free, b free ── takes b      first: no serial order has both
//! ```
//!
//! Snapshot isolation allows it (Berenson et al. 1995, A5B): the two write different keys.

use std::fmt;

/// One attempt to take a side of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    pub client: usize,
    pub pair: u64,
    pub side: u8,
    /// Acknowledged; who does not know took nothing, here.
    pub committed: bool,
}

/// Both sides of a pair are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteSkew {
    pub pair: u64,
    pub takers: Vec<Take>,
}

impl fmt::Display for WriteSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takers: Vec<String> = self
            .takers
            .iter()
            .map(|take| format!("client {} took side {}", take.client, take.side))
            .collect();
        write!(f, "pair {} is taken twice: {}", self.pair, takers.join(", "))
    }
}

/// `state`: the pairs at the end, which sides of them are taken.
pub fn check(takes: &[Take], state: &[(u64, [bool; 2])]) -> Vec<WriteSkew> {
    let both = state.iter().filter(|(_, sides)| sides[0] && sides[1]);
    both.map(|(pair, _)| WriteSkew {
        pair: *pair,
        takers: takes.iter().filter(|take| take.pair == *pair && take.committed).cloned().collect(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_with_two_owners_is_named_with_them() {
        let take = |client, pair, side, committed| Take { client, pair, side, committed };
        let takes =
            [take(1, 7, 0, true), take(2, 7, 1, true), take(3, 8, 0, true), take(4, 8, 1, false)];
        let found = check(&takes, &[(7, [true, true]), (8, [true, false])]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "pair 7 is taken twice: client 1 took side 0, client 2 took side 1"
        );
    }
}
