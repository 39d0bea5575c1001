//! User keys to engine keys.
//!
//! User keys are arbitrary bytes, and one may be a prefix of another. An engine key appends a
//! suffix to a user key, so the user key is written in groups that keep the order whatever
//! follows (the scheme of MyRocks' record format):
//!
//! ```text
//! group   bytes 0..8   eight bytes of the key, zero-padded in the last group
//!         byte  8      how many of them count (0..8) if this is the last group; 9: more follow
//!
//! ""          00 00 00 00 00 00 00 00 | 00
//! "ab"        61 62 00 00 00 00 00 00 | 02
//! "abcdefgh"  61 62 63 64 65 66 67 68 | 08
//! "abcdefghi" 61 62 63 64 65 66 67 68 | 09   69 00 00 00 00 00 00 00 | 01
//!
//! family   engine key
//! data     groups(user key) ++ !commit timestamp   (8 bytes BE, inverted: newest first)
//! lock     groups(user key)
//! txn      groups(primary key) ++ start timestamp  (8 bytes BE)
//! ```
//!
//! All three families of a range therefore lie between the same two bounds.

use crate::error::{StorageError, StorageResult};
use core_domain::{Key, Span, Timestamp, TxnId};

const GROUP: usize = 8;
const MORE: u8 = GROUP as u8 + 1;
/// Bytes of the timestamp at the end of a data or txn key.
pub const SUFFIX: usize = 8;

/// The groups of `user_key`; order-preserving, and no result is a prefix of another.
pub fn encode_key(user_key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_len(user_key.len()) + SUFFIX);
    append_key(&mut out, user_key);
    out
}

fn append_key(out: &mut Vec<u8>, user_key: &[u8]) {
    let mut rest = user_key;
    while rest.len() > GROUP {
        let (group, tail) = rest.split_at(GROUP);
        out.extend_from_slice(group);
        out.push(MORE);
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&[0; GROUP][rest.len()..]);
    out.push(rest.len() as u8);
}

fn encoded_len(user_len: usize) -> usize {
    user_len.div_ceil(GROUP).max(1) * (GROUP + 1)
}

/// Reads the groups at the start of `engine_key`: the user key, and how many bytes they take.
///
/// # Errors
/// `Corruption` if they are not well formed.
pub fn decode_key(engine_key: &[u8]) -> StorageResult<(Key, usize)> {
    let mut user_key = Vec::with_capacity(engine_key.len());
    let mut at = 0;
    loop {
        let group = engine_key.get(at..at + GROUP + 1).ok_or_else(|| malformed(engine_key))?;
        at += GROUP + 1;
        match group[GROUP] {
            MORE => user_key.extend_from_slice(&group[..GROUP]),
            count if count < MORE => {
                user_key.extend_from_slice(&group[..count as usize]);
                return Ok((Key::from(user_key), at));
            }
            _ => return Err(malformed(engine_key)),
        }
    }
}

fn malformed(engine_key: &[u8]) -> StorageError {
    StorageError::Corruption(format!("malformed engine key {}", engine_key.escape_ascii()))
}

/// The key of the version of `user_key` committed at `commit`.
pub fn version_key(user_key: &[u8], commit: Timestamp) -> Vec<u8> {
    let mut out = encode_key(user_key);
    out.extend_from_slice(&(!commit.0).to_be_bytes());
    out
}

/// The reverse of [`version_key`].
///
/// # Errors
/// `Corruption` if it is not one.
pub fn decode_version_key(engine_key: &[u8]) -> StorageResult<(Key, Timestamp)> {
    let (key, at) = decode_key(engine_key)?;
    if at + SUFFIX != engine_key.len() {
        return Err(malformed(engine_key));
    }
    Ok((key, version_timestamp(engine_key)))
}

/// The commit timestamp at the end of a version key.
pub(crate) fn version_timestamp(engine_key: &[u8]) -> Timestamp {
    let suffix = engine_key[engine_key.len() - SUFFIX..].try_into().expect("eight bytes");
    Timestamp(!u64::from_be_bytes(suffix))
}

/// Whether a key of the data or txn family is groups of nine bytes and a timestamp; bounds made by
/// `encode_key` have none.
pub(crate) fn has_suffix(key: &[u8]) -> bool {
    key.len() % (GROUP + 1) == SUFFIX
}

/// The start timestamp at the end of a txn key.
pub(crate) fn txn_timestamp(engine_key: &[u8]) -> Timestamp {
    let suffix = engine_key[engine_key.len() - SUFFIX..].try_into().expect("eight bytes");
    Timestamp(u64::from_be_bytes(suffix))
}

/// The key of the status record of transaction `txn`, whose primary key is `primary`.
pub fn txn_key(primary: &[u8], txn: TxnId) -> Vec<u8> {
    let mut out = encode_key(primary);
    out.extend_from_slice(&txn.0.to_be_bytes());
    out
}

/// The reverse of [`txn_key`].
///
/// # Errors
/// `Corruption` if it is not one.
pub fn decode_txn_key(engine_key: &[u8]) -> StorageResult<(Key, TxnId)> {
    let (key, at) = decode_key(engine_key)?;
    let suffix = engine_key[at..].try_into().map_err(|_| malformed(engine_key))?;
    Ok((key, TxnId(u64::from_be_bytes(suffix))))
}

/// Where the keys of `span` lie in each of [`crate::Cf::REPLICATED`]: `[lower, upper)`; no upper:
/// to the end of the family.
pub fn span_bounds(span: &Span) -> (Vec<u8>, Option<Vec<u8>>) {
    let upper = (!span.end.is_empty()).then(|| encode_key(span.end.as_ref()));
    (encode_key(span.start.as_ref()), upper)
}

/// An upper bound that is above every engine key of the replicated families, for engines that
/// need one (`delete_range`).
pub fn end_of_family() -> Vec<u8> {
    vec![0xff; 64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_keys_have_their_documented_bytes() {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(&encode_key(b"")), "000000000000000000");
        assert_eq!(hex(&encode_key(b"ab")), "616200000000000002");
        assert_eq!(hex(&encode_key(b"abcdefgh")), "616263646566676808");
        assert_eq!(hex(&encode_key(b"abcdefghi")), "616263646566676809690000000000000001");
        assert_eq!(
            hex(&version_key(b"ab", Timestamp(0x0102))),
            "616200000000000002fffffffffffffefd"
        );
        assert_eq!(hex(&txn_key(b"ab", TxnId(0x0102))), "6162000000000000020000000000000102");
    }

    #[test]
    fn keys_that_are_prefixes_of_each_other_keep_their_order_with_any_suffix() {
        let mut keys: Vec<Vec<u8>> = vec![vec![]];
        for byte in [0u8, 1, 7, 8, 9, 0xff] {
            for len in 1..20 {
                keys.push(vec![byte; len]);
                keys.push([vec![byte; len - 1], vec![byte.wrapping_add(1)]].concat());
            }
        }
        keys.sort();
        keys.dedup();
        let encoded: Vec<Vec<u8>> = keys
            .iter()
            .flat_map(|k| [version_key(k, Timestamp(u64::MAX)), version_key(k, Timestamp(1))])
            .collect();
        assert!(encoded.is_sorted());
        for (key, pair) in keys.iter().zip(encoded.chunks(2)) {
            let (decoded, at) = decode_version_key(&pair[1]).unwrap();
            assert_eq!((decoded.as_ref(), at), (key.as_slice(), Timestamp(1)));
        }
    }

    #[test]
    fn damaged_keys_are_reported() {
        assert!(decode_key(b"abc").is_err());
        assert!(decode_key(&[0, 0, 0, 0, 0, 0, 0, 0, 10]).is_err());
        assert!(decode_version_key(&encode_key(b"a")).is_err());
    }
}
