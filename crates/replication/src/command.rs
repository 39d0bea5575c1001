//! What goes into a range's log, and its bytes.
//!
//! A command is evaluated once, at the leader, and is from then on a list of effects: followers
//! apply bytes (protocol.md, rule 7). It names the generation that it was evaluated under; apply
//! refuses it when the range has moved on (rule 8), on every replica alike.
//!
//! ```text
//! byte   0      format version, 1
//!        1      kind: 1 Write, 2 Split, 3 UpdateDescriptor, 4 Noop
//!        2..10  range       u64 LE
//!       10..18  generation  u64 LE
//!       18..26  term        u64 LE, 0: any
//!       26..    Write: u32 LE count, then per operation
//!                 u8 column family, u8 1 = put / 0 = delete, u32 LE key length, key,
//!                 and for a put: u32 LE value length, value
//!               Split, UpdateDescriptor: postcard
//! ```
//!
//! Decoding shares the input's memory: keys and values are slices of it.

use crate::descriptor::RangeDescriptor;
use crate::error::ReplicationError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use core_domain::{Generation, Key, RangeId, Span};
use serde::{Deserialize, Serialize};
use storage::Cf;

/// The format that this build writes; it reads this one and older.
pub const COMMAND_VERSION: u8 = 1;
/// Largest encoded command that a leader accepts (protocol.md, rule 7).
pub const COMMAND_BYTES_MAX: usize = 4 << 20;

/// One entry of a range's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub range: RangeId,
    /// The generation that the command was evaluated under.
    pub generation: Generation,
    /// The term whose leader evaluated it, 0 if nothing was evaluated. Leadership may be lost and
    /// won again between evaluation and proposal, and another leader may have served in between:
    /// an entry of another term is refused at apply.
    pub term: u64,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Effects on the engine, in order.
    Write {
        ops: Vec<EngineOp>,
    },
    /// The range keeps `[start, at)`; `right` becomes `[at, end)`, with the same nodes and the
    /// same replica ids.
    Split {
        at: Key,
        right: RangeId,
    },
    /// Replaces what of the descriptor is not decided by membership or splits.
    UpdateDescriptor(Box<RangeDescriptor>),
    Noop,
    /// Every version in the span goes, for readers of every timestamp.
    Erase {
        span: Span,
    },
}

/// One effect: an engine key, already encoded for its column family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOp {
    pub cf: Cf,
    pub key: Bytes,
    /// `None` deletes.
    pub value: Option<Bytes>,
}

/// What became of a command when it was applied: the same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    Ok,
    /// Nothing was written: the range is at this generation. Evaluate again.
    StaleGeneration {
        current: Generation,
    },
    /// Nothing was written: the term that evaluated it had ended. Evaluate again.
    StaleTerm,
}

impl Command {
    pub fn write(range: RangeId, generation: Generation, term: u64, ops: Vec<EngineOp>) -> Self {
        Self { range, generation, term, body: Body::Write { ops } }
    }

    /// Whether these are the bytes of a split.
    pub fn is_split(encoded: &[u8]) -> bool {
        matches!(encoded, [COMMAND_VERSION, 2, ..])
    }

    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_bytes_estimate());
        out.put_u8(COMMAND_VERSION);
        out.put_u8(self.body.kind());
        out.put_u64_le(self.range.0);
        out.put_u64_le(self.generation.0);
        out.put_u64_le(self.term);
        match &self.body {
            Body::Write { ops } => {
                out.put_u32_le(ops.len() as u32);
                ops.iter().for_each(|op| op.encode(&mut out));
            }
            Body::Split { at, right } => put_postcard(&mut out, &(at, right)),
            Body::UpdateDescriptor(descriptor) => put_postcard(&mut out, descriptor),
            Body::Noop => {}
            Body::Erase { span } => put_postcard(&mut out, span),
        }
        out.freeze()
    }

    pub fn decode(mut bytes: Bytes) -> Result<Self, ReplicationError> {
        let damaged = |what: &str| ReplicationError::Damaged(format!("command: {what}"));
        let version = bytes.try_get_u8().map_err(|_| damaged("empty"))?;
        if version != COMMAND_VERSION {
            return Err(damaged(&format!("version {version}, at most {COMMAND_VERSION} is known")));
        }
        if bytes.remaining() < 25 {
            return Err(damaged("header cut short"));
        }
        let kind = bytes.get_u8();
        let range = RangeId(bytes.get_u64_le());
        let generation = Generation(bytes.get_u64_le());
        let term = bytes.get_u64_le();
        let body = match kind {
            1 => {
                let count = bytes.try_get_u32_le().map_err(|_| damaged("no count"))?;
                let ops = (0..count)
                    .map(|_| EngineOp::decode(&mut bytes))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| damaged("operation cut short"))?;
                Body::Write { ops }
            }
            2 => {
                let (at, right) =
                    postcard::from_bytes(&bytes).map_err(|e| damaged(&e.to_string()))?;
                Body::Split { at, right }
            }
            3 => Body::UpdateDescriptor(Box::new(
                postcard::from_bytes(&bytes).map_err(|e| damaged(&e.to_string()))?,
            )),
            4 => Body::Noop,
            5 => Body::Erase {
                span: postcard::from_bytes(&bytes).map_err(|e| damaged(&e.to_string()))?,
            },
            other => return Err(damaged(&format!("unknown kind {other}"))),
        };
        Ok(Self { range, generation, term, body })
    }

    fn encoded_bytes_estimate(&self) -> usize {
        match &self.body {
            Body::Write { ops } => 30 + ops.iter().map(EngineOp::encoded_bytes).sum::<usize>(),
            Body::Split { .. } | Body::UpdateDescriptor(_) | Body::Noop | Body::Erase { .. } => 128,
        }
    }
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Body::Write { .. } => 1,
            Body::Split { .. } => 2,
            Body::UpdateDescriptor(_) => 3,
            Body::Noop => 4,
            Body::Erase { .. } => 5,
        }
    }
}

impl EngineOp {
    pub fn put(cf: Cf, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { cf, key: key.into(), value: Some(value.into()) }
    }

    pub fn delete(cf: Cf, key: impl Into<Bytes>) -> Self {
        Self { cf, key: key.into(), value: None }
    }

    fn encoded_bytes(&self) -> usize {
        6 + self.key.len() + self.value.as_ref().map_or(0, |value| 4 + value.len())
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(cf_code(self.cf));
        out.put_u8(u8::from(self.value.is_some()));
        out.put_u32_le(self.key.len() as u32);
        out.put_slice(&self.key);
        if let Some(value) = &self.value {
            out.put_u32_le(value.len() as u32);
            out.put_slice(value);
        }
    }

    fn decode(bytes: &mut Bytes) -> Option<Self> {
        let cf = cf_from_code(bytes.try_get_u8().ok()?)?;
        let is_put = bytes.try_get_u8().ok()? == 1;
        let key = take(bytes)?;
        let value = if is_put { Some(take(bytes)?) } else { None };
        Some(Self { cf, key, value })
    }
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

fn put_postcard<T: Serialize>(out: &mut BytesMut, value: &T) {
    out.put_slice(&postcard::to_stdvec(value).expect("plain data encodes into memory"));
}

/// The family's number in commands and snapshots: on disk, so never renumbered.
pub(crate) fn cf_code(cf: Cf) -> u8 {
    match cf {
        Cf::Data => 0,
        Cf::Lock => 1,
        Cf::Txn => 2,
        Cf::Raft => 3,
        Cf::Local => 4,
    }
}

pub(crate) fn cf_from_code(code: u8) -> Option<Cf> {
    [Cf::Data, Cf::Lock, Cf::Txn, Cf::Raft, Cf::Local].into_iter().find(|cf| cf_code(*cf) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Command {
        let ops = vec![
            EngineOp::put(Cf::Data, &b"k"[..], &b"value"[..]),
            EngineOp::delete(Cf::Lock, &b"lock"[..]),
            EngineOp::put(Cf::Txn, &b""[..], &b""[..]),
        ];
        Command::write(RangeId(7), Generation(3), 5, ops)
    }

    #[test]
    fn a_command_survives_its_bytes_and_a_cut_one_is_refused() {
        let split = Command {
            range: RangeId(1),
            generation: Generation(2),
            term: 0,
            body: Body::Split { at: Key::system("m"), right: RangeId(9) },
        };
        let erase = Command {
            body: Body::Erase { span: Span::new(Key::system("a"), Key::system("b")) },
            ..split.clone()
        };
        for command in [sample(), split, erase] {
            let bytes = command.encode();
            assert_eq!(Command::decode(bytes.clone()).unwrap(), command);
            for cut in 0..bytes.len() {
                assert!(Command::decode(bytes.slice(..cut)).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_bytes_of_version_one_do_not_change() {
        let bytes = sample().encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "01010700000000000000030000000000000005000000000000000300000000010100\
             00006b0500000076616c75650100040000006c6f636b0201000000\
             0000000000"
                .replace(' ', "")
        );
    }
}
