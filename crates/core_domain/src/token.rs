//! The causal token: what a session has seen, as text that a driver can carry.
//!
//! Format, version 1, base64url without padding of:
//!
//! ```text
//! byte  0       version (1)
//! bytes 1..17   cluster id, big-endian
//! bytes 17..25  timestamp, big-endian
//! bytes 25..27  number of dots, big-endian
//! then per dot  node id (8), incarnation (8), counter (8), big-endian, ascending
//! last 16       HMAC-SHA256 over everything before, truncated
//! ```
//!
//! A dot names a provisional write (node, incarnation, counter) that the session has seen. Nothing
//! writes dots yet; the format carries them from its first version (protocol.md, rule 20).

use crate::id::{ClusterId, NodeId};
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 16 + 8 + 2;
const DOT_BYTES: usize = 24;
const MAC_BYTES: usize = 16;
/// A token with more dots than this is refused: it would not fit a parameter status comfortably.
pub const DOTS_MAX: usize = 1024;

/// The secret that authenticates a cluster's tokens.
pub type TokenKey = [u8; 32];

/// One provisional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    pub node: NodeId,
    pub incarnation: u64,
    pub counter: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalToken {
    pub cluster: ClusterId,
    pub timestamp: Timestamp,
    /// Ascending.
    pub dots: Vec<Dot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    #[error("causal token is damaged")]
    Damaged,
    #[error("causal token has format {0}, which this node does not know")]
    UnknownFormat(u8),
    #[error("causal token belongs to another cluster")]
    OtherCluster,
    #[error("causal token is from the future")]
    FromTheFuture,
}

impl CausalToken {
    /// The token as text, authenticated with the cluster's key.
    pub fn seal(&self, key: &TokenKey) -> String {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.dots.len() * DOT_BYTES + MAC_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.cluster.0.to_be_bytes());
        bytes.extend_from_slice(&self.timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&(self.dots.len() as u16).to_be_bytes());
        for dot in &self.dots {
            bytes.extend_from_slice(&dot.node.0.to_be_bytes());
            bytes.extend_from_slice(&dot.incarnation.to_be_bytes());
            bytes.extend_from_slice(&dot.counter.to_be_bytes());
        }
        let mac = mac(key, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token. `cluster` is ours; `now` the newest oracle timestamp that can have been
    /// issued: a token beyond it was never given by this cluster.
    ///
    /// # Errors
    /// Damaged, of an unknown format, of another cluster, or from the future.
    pub fn open(
        text: &str,
        key: &TokenKey,
        cluster: ClusterId,
        now: Timestamp,
    ) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| TokenError::Damaged)?;
        if bytes.len() < HEADER_BYTES + MAC_BYTES {
            return Err(TokenError::Damaged);
        }
        if bytes[0] != FORMAT {
            return Err(TokenError::UnknownFormat(bytes[0]));
        }
        let (body, tag) = bytes.split_at(bytes.len() - MAC_BYTES);
        // The cluster comes before the tag: another cluster's key cannot match, and "another
        // cluster" is the more useful answer.
        let their_cluster = ClusterId(u128::from_be_bytes(array(&body[1..17])));
        if their_cluster != cluster {
            return Err(TokenError::OtherCluster);
        }
        mac(key, body).verify_truncated_left(tag).map_err(|_| TokenError::Damaged)?;
        let timestamp = Timestamp(u64::from_be_bytes(array(&body[17..25])));
        let count = usize::from(u16::from_be_bytes(array(&body[25..27])));
        if count > DOTS_MAX || body.len() != HEADER_BYTES + count * DOT_BYTES {
            return Err(TokenError::Damaged);
        }
        if timestamp > now {
            return Err(TokenError::FromTheFuture);
        }
        let dots = body[HEADER_BYTES..]
            .chunks_exact(DOT_BYTES)
            .map(|dot| Dot {
                node: NodeId(u64::from_be_bytes(array(&dot[0..8]))),
                incarnation: u64::from_be_bytes(array(&dot[8..16])),
                counter: u64::from_be_bytes(array(&dot[16..24])),
            })
            .collect();
        Ok(Self { cluster, timestamp, dots })
    }
}

fn mac(key: &TokenKey, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(bytes);
    mac
}

fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    slice.try_into().expect("the caller sliced exactly N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: TokenKey = [7; 32];

    fn token() -> CausalToken {
        CausalToken {
            cluster: ClusterId(42),
            timestamp: Timestamp(1000),
            dots: vec![Dot { node: NodeId(1), incarnation: 2, counter: 3 }],
        }
    }

    #[test]
    fn a_token_survives_the_round_trip() {
        let text = token().seal(&KEY);
        assert_eq!(CausalToken::open(&text, &KEY, ClusterId(42), Timestamp(1000)), Ok(token()));
    }

    #[test]
    fn a_damaged_token_is_refused_wherever_the_damage_is() {
        let text = token().seal(&KEY);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let broken = String::from_utf8(bytes).unwrap();
            let got = CausalToken::open(&broken, &KEY, ClusterId(42), Timestamp(1000));
            assert!(got.is_err(), "accepted {broken}");
        }
        let got = CausalToken::open(&text[..10], &KEY, ClusterId(42), Timestamp(1000));
        assert_eq!(got, Err(TokenError::Damaged));
        assert_eq!(
            CausalToken::open("", &KEY, ClusterId(42), Timestamp(1)),
            Err(TokenError::Damaged)
        );
    }

    #[test]
    fn another_cluster_and_the_future_are_refused() {
        let text = token().seal(&KEY);
        let open =
            |cluster, now| CausalToken::open(&text, &KEY, ClusterId(cluster), Timestamp(now));
        assert_eq!(open(43, 1000), Err(TokenError::OtherCluster));
        assert_eq!(open(42, 999), Err(TokenError::FromTheFuture));
    }
}
