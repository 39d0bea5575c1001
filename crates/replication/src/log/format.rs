//! Keys and values of `Cf::Raft`.
//!
//! ```text
//! key: range, u64 BE ++ one byte:
//!   'm'  replica here               'v'  vote                   's'  committed, synced position
//!   'p'  last purged log id         'a'  applied log id         'c'  applied membership
//!   'd'  applied descriptor         't'  tombstone              'i'  snapshot being installed
//!   'l'  log entry, ++ index u64 BE
//!
//! value of all but 'l': u8 version 1, u32 LE crc32 of the rest, postcard
//! value of 'l':
//!   byte 0       version 1
//!        1..5    crc32 of the rest, u32 LE
//!        5..13   index, u64 LE (repeats the key: a misplaced entry is damage)
//!       13..21   term, u64 LE
//!       21..29   replica that proposed it, u64 LE
//!       29       0 blank, 1 command, 2 membership (postcard)
//!       30..     payload
//! ```

use crate::error::{ReplicationError, Result};
use crate::types::{Entry, Proposal, log_id};
use bytes::{BufMut, Bytes, BytesMut};
use core_domain::{RangeId, ReplicaId};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: u8 = 1;
const ENTRY_HEADER: usize = 30;

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    Meta = b'm',
    Vote = b'v',
    Position = b's',
    Purged = b'p',
    Applied = b'a',
    Membership = b'c',
    Descriptor = b'd',
    Tombstone = b't',
    Installing = b'i',
    Entry = b'l',
}

/// No record of `range` is below it, and none of a smaller range above.
pub fn range_start(range: RangeId) -> Vec<u8> {
    range.0.to_be_bytes().to_vec()
}

pub fn key(range: RangeId, tag: Tag) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u64(range.0);
    out.put_u8(tag as u8);
    out.freeze()
}

pub fn entry_key(range: RangeId, index: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(17);
    out.put_u64(range.0);
    out.put_u8(Tag::Entry as u8);
    out.put_u64(index);
    out.freeze()
}

/// The range that a key belongs to.
pub fn range_of(key: &[u8]) -> Option<RangeId> {
    key.get(..8).map(|raw| RangeId(u64::from_be_bytes(raw.try_into().expect("eight bytes"))))
}

/// The index in a log entry's key.
pub fn index_of(key: &[u8]) -> Option<u64> {
    key.get(9..17).map(|raw| u64::from_be_bytes(raw.try_into().expect("eight bytes")))
}

/// A small record: version, checksum, content.
pub fn seal<T: Serialize>(value: &T) -> Bytes {
    let content = postcard::to_stdvec(value).expect("plain data encodes into memory");
    let mut out = BytesMut::with_capacity(5 + content.len());
    out.put_u8(VERSION);
    out.put_u32_le(crc32fast::hash(&content));
    out.put_slice(&content);
    out.freeze()
}

pub fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let content = checked(bytes)?;
    postcard::from_bytes(content).map_err(|error| damaged(&error.to_string()))
}

pub fn encode_entry(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(ENTRY_HEADER + 128);
    out.put_u8(VERSION);
    out.put_u32_le(0);
    out.put_u64_le(entry.index());
    out.put_u64_le(entry.log_id.leader_id.term);
    out.put_u64_le(entry.log_id.leader_id.node_id.0);
    match &entry.payload {
        EntryPayload::Blank => out.put_u8(0),
        EntryPayload::Normal(proposal) => {
            out.put_u8(1);
            out.put_slice(&proposal.0);
        }
        EntryPayload::Membership(membership) => {
            out.put_u8(2);
            let content = postcard::to_stdvec(membership).expect("plain data encodes into memory");
            out.put_slice(&content);
        }
    }
    let crc = crc32fast::hash(&out[5..]);
    out[1..5].copy_from_slice(&crc.to_le_bytes());
    out.freeze()
}

/// Decodes the entry stored under `index`.
pub fn decode_entry(index: u64, bytes: Bytes) -> Result<Entry> {
    let content = checked(&bytes)?;
    if content.len() < ENTRY_HEADER - 5 {
        return Err(damaged("log entry cut short"));
    }
    let word = |at: usize| u64::from_le_bytes(content[at..at + 8].try_into().expect("eight bytes"));
    if word(0) != index {
        return Err(damaged(&format!("log entry {} stored as {index}", word(0))));
    }
    let id = log_id(word(8), ReplicaId(word(16)), index);
    let payload = match content[24] {
        0 => EntryPayload::Blank,
        1 => EntryPayload::Normal(Proposal(bytes.slice(ENTRY_HEADER..))),
        2 => EntryPayload::Membership(
            postcard::from_bytes(&content[25..]).map_err(|error| damaged(&error.to_string()))?,
        ),
        other => return Err(damaged(&format!("log entry of kind {other}"))),
    };
    Ok(Entry::new(id, payload))
}

fn checked(bytes: &[u8]) -> Result<&[u8]> {
    match bytes {
        [VERSION, crc @ ..] if crc.len() >= 4 => {
            let (stored, content) = crc.split_at(4);
            let stored = u32::from_le_bytes(stored.try_into().expect("four bytes"));
            if stored == crc32fast::hash(content) { Ok(content) } else { Err(damaged("checksum")) }
        }
        [version, ..] => Err(damaged(&format!("record version {version}"))),
        [] => Err(damaged("empty record")),
    }
}

fn damaged(what: &str) -> ReplicationError {
    ReplicationError::Damaged(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_an_entry_is_noticed() {
        let entry = Entry::new(
            log_id(3, ReplicaId(2), 9),
            EntryPayload::Normal(Proposal(Bytes::from_static(b"payload"))),
        );
        let bytes = encode_entry(&entry);
        assert_eq!(decode_entry(9, bytes.clone()).unwrap(), entry);
        assert!(decode_entry(8, bytes.clone()).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_entry(9, flipped.into()).is_err(), "bit {bit}");
        }
    }
}
