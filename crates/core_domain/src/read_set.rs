//! What a SERIALIZABLE transaction has read, to be looked at again when it commits (protocol.md,
//! rule 5).
//!
//! ```text
//! read b at 7, scan [d, g) at 7, scan [f, k) at 7, read b at 9
//! ──b──────[d──────────k)──                each with the oldest time at which it was read
//!
//! too many:   ─b─c────[d─k)──p──   →   ──[b───────k)──p──      coarser, never forgetting
//! ```
//!
//! Pure state. Whoever checks it looks for versions of others in (since, commit timestamp].
//!
//! What it does not do: remember values, or keys of the system span. Sequences are not
//! transactional, and the catalog is protected by its own locks.

use crate::key::{Key, SYSTEM_PREFIX, Span, TABLE_KEY_HEADER};
use crate::time::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Spans kept apart; with more, neighbours become one.
pub const READ_SPANS_MAX: usize = 2000;
/// Bytes of their bounds.
const BYTES_MAX: usize = 256 << 10;

/// A span that was read, and the oldest time at which it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSpan {
    pub span: Span,
    pub since: Timestamp,
}

#[derive(Debug, Default)]
pub struct ReadSet {
    /// By start; they do not overlap.
    spans: BTreeMap<Key, Extent>,
    bytes: usize,
    latest: Timestamp,
}

#[derive(Clone, Debug)]
struct Extent {
    /// Empty: to the end of the keyspace.
    end: Key,
    since: Timestamp,
}

impl ReadSet {
    /// Notes that everything in `span` was read at `at`, what was not there included.
    pub fn note(&mut self, span: Span, at: Timestamp) {
        let user_keys = Span::new(Key(Bytes::from_static(&[SYSTEM_PREFIX + 1])), Key::MIN);
        let Some(span) = span.intersect(&user_keys).filter(|span| !span.is_empty()) else { return };
        self.latest = self.latest.max(at);
        let (mut start, mut extent) = (span.start, Extent { end: span.end, since: at });
        while let Some(other) = self.adjoining(&start, &extent) {
            let known = self.remove(&other);
            extent.since = extent.since.min(known.since);
            extent.end = later_end(extent.end, known.end);
            start = start.min(other);
        }
        self.bytes += start.len() + extent.end.len();
        self.spans.insert(start, extent);
        if self.spans.len() > READ_SPANS_MAX || self.bytes > BYTES_MAX {
            self.coarsen();
        }
    }

    pub fn note_key(&mut self, key: &Key, at: Timestamp) {
        self.note(Span::point(key.clone()), at);
    }

    /// The start of a known span that belongs to the new one: it overlaps it, or continues it and
    /// was read at the same time.
    fn adjoining(&self, start: &Key, new: &Extent) -> Option<Key> {
        let upper = match new.end.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Included(&new.end),
        };
        let reaches = |end: &Key, key: &Key| end.is_empty() || end > key;
        let neighbours = self.spans.range::<Key, _>((Bound::Unbounded, upper)).rev();
        neighbours
            .take_while(|(_, known)| known.end.is_empty() || known.end >= *start)
            .find(|(other, known)| {
                let overlaps = reaches(&known.end, start) && reaches(&new.end, other);
                overlaps || known.since == new.since
            })
            .map(|(other, _)| other.clone())
    }

    fn remove(&mut self, start: &Key) -> Extent {
        let extent = self.spans.remove(start).expect("just found");
        self.bytes -= start.len() + extent.end.len();
        extent
    }

    /// Joins neighbours in pairs, those of one index first, until half the room is free.
    fn coarsen(&mut self) {
        let mut across = false;
        while self.spans.len() > READ_SPANS_MAX / 2 || self.bytes > BYTES_MAX / 2 {
            let before = self.spans.len();
            if before == 1 {
                return;
            }
            self.join_pairs(across);
            across = self.spans.len() > before * 3 / 4;
        }
    }

    fn join_pairs(&mut self, across: bool) {
        let old = std::mem::take(&mut self.spans);
        self.bytes = 0;
        let mut pending: Option<(Key, Extent)> = None;
        for (start, extent) in old {
            pending = match pending.take() {
                Some((first, mut open)) if across || same_index(&first, &start) => {
                    open.since = open.since.min(extent.since);
                    open.end = later_end(open.end, extent.end);
                    self.keep(first, open);
                    None
                }
                Some((first, open)) => {
                    self.keep(first, open);
                    Some((start, extent))
                }
                None => Some((start, extent)),
            };
        }
        if let Some((first, open)) = pending {
            self.keep(first, open);
        }
    }

    fn keep(&mut self, start: Key, extent: Extent) {
        self.bytes += start.len() + extent.end.len();
        self.spans.insert(start, extent);
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The newest time at which anything was read.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// In key order.
    pub fn into_spans(self) -> Vec<ReadSpan> {
        let spans = self.spans.into_iter();
        spans
            .map(|(start, extent)| ReadSpan {
                span: Span::new(start, extent.end),
                since: extent.since,
            })
            .collect()
    }
}

fn later_end(a: Key, b: Key) -> Key {
    if a.is_empty() || b.is_empty() { Key::MIN } else { a.max(b) }
}

fn same_index(a: &Key, b: &Key) -> bool {
    a.as_slice().get(..TABLE_KEY_HEADER) == b.as_slice().get(..TABLE_KEY_HEADER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from(text.as_bytes())
    }

    fn set(notes: &[(&str, &str, u64)]) -> ReadSet {
        let mut set = ReadSet::default();
        for (start, end, at) in notes {
            set.note(Span::new(key(start), key(end)), Timestamp(*at));
        }
        set
    }

    fn shown(set: ReadSet) -> Vec<String> {
        let text = |key: &Key| String::from_utf8_lossy(key.as_slice()).into_owned();
        let spans = set.into_spans().into_iter();
        spans
            .map(|read| {
                format!("{}-{}@{}", text(&read.span.start), text(&read.span.end), read.since.0)
            })
            .collect()
    }

    #[test]
    fn spans_that_overlap_become_one_with_the_oldest_time() {
        assert_eq!(shown(set(&[("d", "g", 7), ("f", "k", 7)])), ["d-k@7"]);
        assert_eq!(shown(set(&[("d", "g", 7), ("e", "f", 9)])), ["d-g@7"]);
        assert_eq!(shown(set(&[("e", "f", 9), ("d", "g", 7)])), ["d-g@7"]);
        assert_eq!(shown(set(&[("a", "c", 7), ("e", "g", 7), ("b", "f", 7)])), ["a-g@7"]);
        assert_eq!(shown(set(&[("a", "c", 7), ("x", "", 7), ("b", "y", 8)])), ["a-@7"]);
        assert_eq!(shown(set(&[("a", "", 7), ("b", "c", 7)])), ["a-@7"]);
    }

    #[test]
    fn spans_that_touch_become_one_if_they_were_read_together() {
        assert_eq!(shown(set(&[("a", "c", 7), ("c", "e", 7)])), ["a-e@7"]);
        assert_eq!(shown(set(&[("c", "e", 7), ("a", "c", 7)])), ["a-e@7"]);
        assert_eq!(shown(set(&[("a", "c", 7), ("c", "e", 8)])), ["a-c@7", "c-e@8"]);
        assert_eq!(shown(set(&[("c", "e", 8), ("a", "c", 7)])), ["a-c@7", "c-e@8"]);
        // Touches one of another time, overlaps one of its own.
        assert_eq!(shown(set(&[("c", "e", 8), ("a", "b", 7), ("aa", "c", 7)])), ["a-c@7", "c-e@8"]);
    }

    #[test]
    fn however_much_is_read_nothing_is_forgotten() {
        let mut set = ReadSet::default();
        let keys: Vec<Key> = (0..50_000u32)
            .map(|i| {
                let mut bytes = vec![crate::key::TABLE_PREFIX; TABLE_KEY_HEADER];
                bytes[TABLE_KEY_HEADER - 1] = (i % 3) as u8;
                bytes.extend_from_slice(&i.wrapping_mul(2_654_435_761).to_be_bytes());
                Key::from(bytes)
            })
            .collect();
        for (i, key) in keys.iter().enumerate() {
            set.note_key(key, Timestamp(10 + i as u64 % 5));
        }
        assert!(set.len() <= READ_SPANS_MAX && set.bytes <= BYTES_MAX);
        assert_eq!(set.latest(), Timestamp(14));
        let spans = set.into_spans();
        assert!(spans.iter().all(|read| same_index(&read.span.start, &read.span.end)));
        for (i, key) in keys.iter().enumerate() {
            let at = Timestamp(10 + i as u64 % 5);
            let covered = |read: &&ReadSpan| read.span.contains(key) && read.since <= at;
            assert_eq!(spans.iter().filter(covered).count(), 1, "{key}");
        }
    }

    #[test]
    fn keys_of_the_system_span_are_left_out() {
        let mut set = ReadSet::default();
        set.note_key(&Key::system("sequence/1"), Timestamp(3));
        assert!(set.is_empty());
        set.note(Span::new(Key::system("x"), key("b")), Timestamp(3));
        assert_eq!(shown(set), ["\u{2}-b@3"]);
    }
}
