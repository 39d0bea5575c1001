//! The writes of a running transaction, before anybody else sees them.
//!
//! Pure state: both implementations of `KvTransaction` keep one, merge it into what they read, and
//! take from it what they commit.
//!
//! ```text
//! put a=1   savepoint s   put a=2   delete b      get a → 2      rollback_to s      get a → 1
//! ```
//!
//! What it does not do: locks, limits, order of commit.

use crate::key::{Key, Span, Value};
use crate::kv::{SavepointId, ScanOptions, ScanPage};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

/// One buffered write: `None` deletes.
pub type BufferedWrite = Option<Value>;

#[derive(Debug, Default)]
pub struct WriteBuffer {
    /// Each key's writes, oldest first: only the last counts, the others serve `rollback_to`.
    writes: BTreeMap<Key, Vec<(u64, BufferedWrite)>>,
    /// Keys in the order of their writes, for undoing.
    history: Vec<(u64, Key)>,
    sequence: u64,
    /// Writes above it may be overwritten in place.
    last_savepoint: u64,
    bytes: u64,
}

impl WriteBuffer {
    pub fn put(&mut self, key: Key, value: Value) {
        self.push(key, Some(value));
    }

    pub fn delete(&mut self, key: Key) {
        self.push(key, None);
    }

    fn push(&mut self, key: Key, write: BufferedWrite) {
        self.sequence += 1;
        self.bytes += size(&key, &write);
        let stack = self.writes.entry(key.clone()).or_default();
        if let Some((sequence, last)) = stack.last_mut()
            && *sequence > self.last_savepoint
        {
            self.bytes -= size(&key, last);
            *last = write;
            return;
        }
        stack.push((self.sequence, write));
        self.history.push((self.sequence, key));
    }

    /// `None`: not written by this transaction. `Some(None)`: deleted by it.
    pub fn get(&self, key: &Key) -> Option<&BufferedWrite> {
        self.writes.get(key).and_then(|stack| stack.last()).map(|(_, write)| write)
    }

    /// A number of its own, also when nothing was written since the last one: locks are told apart
    /// by it, too.
    pub fn savepoint(&mut self) -> SavepointId {
        self.sequence += 1;
        self.last_savepoint = self.sequence;
        SavepointId(self.sequence)
    }

    /// The savepoint that was made or returned to last; `None` if there is none.
    pub fn last_savepoint(&self) -> Option<SavepointId> {
        (self.last_savepoint > 0).then_some(SavepointId(self.last_savepoint))
    }

    /// Undoes every write since `savepoint`, which stays.
    pub fn rollback_to(&mut self, savepoint: SavepointId) {
        while let Some((_, key)) = self.history.pop_if(|(sequence, _)| *sequence > savepoint.0) {
            let stack = self.writes.get_mut(&key).expect("history names written keys");
            if let Some((_, write)) = stack.pop() {
                self.bytes -= size(&key, &write);
            }
            if stack.is_empty() {
                self.writes.remove(&key);
            }
        }
        self.last_savepoint = savepoint.0;
    }

    /// What a commit writes, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &BufferedWrite)> {
        self.writes.iter().filter_map(|(key, stack)| Some((key, &stack.last()?.1)))
    }

    /// Takes the writes out, in key order; savepoints keep their places.
    pub fn take_writes(&mut self) -> impl Iterator<Item = (Key, BufferedWrite)> + use<> {
        self.history.clear();
        self.bytes = 0;
        let writes = std::mem::take(&mut self.writes);
        writes.into_iter().filter_map(|(key, mut stack)| Some((key, stack.pop()?.1)))
    }

    /// A place after every write so far: savepoints before it compare below.
    pub fn mark(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub fn len(&self) -> usize {
        self.writes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of keys and values held, overwritten ones below a savepoint included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Lays the buffered writes over `page`, which answered a scan of `span`.
    pub fn merge(&self, span: &Span, options: &ScanOptions, page: ScanPage) -> ScanPage {
        if self.writes.is_empty() || span.is_empty() {
            return page;
        }
        let covered = covered_span(span, options.reverse, page.rest.as_ref());
        let upper = match covered.end.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(&covered.end),
        };
        if covered.is_empty() {
            return page;
        }
        let own = self.writes.range((Bound::Included(&covered.start), upper));
        if own.clone().next().is_none() {
            return page;
        }
        match options.reverse {
            false => lay_over(span, options, page, own),
            true => lay_over(span, options, page, own.rev()),
        }
    }
}

/// Both in scan order; stops where the page is full, however much is buffered beyond.
fn lay_over<'a>(
    span: &Span,
    options: &ScanOptions,
    page: ScanPage,
    own: impl Iterator<Item = (&'a Key, &'a Vec<(u64, BufferedWrite)>)>,
) -> ScanPage {
    let mut committed = page.rows.into_iter().peekable();
    let mut own = own.peekable();
    let mut rows: Vec<(Key, Value)> = Vec::new();
    let mut bytes = 0;
    let full = |rows: &Vec<(Key, Value)>, bytes| {
        rows.len() >= options.rows_max || (bytes >= options.bytes_max && !rows.is_empty())
    };
    while !full(&rows, bytes) {
        let order = match (committed.peek(), own.peek()) {
            (None, None) => return ScanPage { rows, rest: page.rest },
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((theirs, _)), Some((ours, _))) if options.reverse => (*ours).cmp(theirs),
            (Some((theirs, _)), Some((ours, _))) => theirs.cmp(ours),
        };
        let from_committed = if order.is_le() { committed.next() } else { None };
        let row = match order.is_ge().then(|| own.next()).flatten() {
            Some((key, stack)) => {
                let (_, write) = stack.last().expect("never empty");
                write.as_ref().map(|value| (key.clone(), value.clone()))
            }
            None => from_committed,
        };
        if let Some((key, value)) = row {
            bytes += key.len() + value.len();
            rows.push((key, value));
        }
    }
    if committed.peek().is_none() && own.peek().is_none() {
        return ScanPage { rows, rest: page.rest };
    }
    let rest = rest_after(span, options.reverse, rows.last().map(|(key, _)| key));
    ScanPage { rows, rest }
}

/// The part of `span` that a page with this `rest` has answered.
pub fn covered_span(span: &Span, reverse: bool, rest: Option<&Span>) -> Span {
    match rest {
        None => span.clone(),
        Some(rest) if reverse => Span::new(rest.end.clone(), span.end.clone()),
        Some(rest) => Span::new(span.start.clone(), rest.start.clone()),
    }
}

/// What is left of `span` after a page that ended with `last`; `None` if nothing.
pub fn rest_after(span: &Span, reverse: bool, last: Option<&Key>) -> Option<Span> {
    let rest = match last {
        None => span.clone(),
        Some(last) if reverse => Span::new(span.start.clone(), last.clone()),
        Some(last) => Span::new(last.next(), span.end.clone()),
    };
    // An empty end means "to the end of the keyspace", so an emptied reverse rest is told apart.
    let exhausted = match reverse {
        true => last.is_some_and(|last| *last <= span.start),
        false => rest.is_empty(),
    };
    (!exhausted).then_some(rest)
}

fn size(key: &Key, write: &BufferedWrite) -> u64 {
    (key.len() + write.as_ref().map_or(0, Value::len)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from(text.as_bytes())
    }

    fn value(text: &'static str) -> Value {
        Value::from_static(text.as_bytes())
    }

    #[test]
    fn a_savepoint_brings_back_what_was_overwritten() {
        let mut buffer = WriteBuffer::default();
        buffer.put(key("a"), value("1"));
        let outer = buffer.savepoint();
        buffer.put(key("a"), value("2"));
        buffer.put(key("a"), value("3"));
        let inner = buffer.savepoint();
        buffer.delete(key("a"));
        buffer.put(key("b"), value("4"));
        assert_eq!(buffer.get(&key("a")), Some(&None));
        buffer.rollback_to(inner);
        assert_eq!(buffer.get(&key("a")), Some(&Some(value("3"))));
        assert_eq!(buffer.get(&key("b")), None);
        buffer.put(key("a"), value("5"));
        buffer.rollback_to(outer);
        assert_eq!(buffer.get(&key("a")), Some(&Some(value("1"))));
        assert_eq!(buffer.bytes(), 2);
        buffer.rollback_to(SavepointId(0));
        assert!(buffer.is_empty());
        assert_eq!(buffer.bytes(), 0);
    }

    #[test]
    fn own_writes_lie_over_a_page_but_not_beyond_it() {
        let mut buffer = WriteBuffer::default();
        buffer.put(key("b"), value("new"));
        buffer.delete(key("c"));
        buffer.put(key("x"), value("later"));
        let span = Span::new(key("a"), key("z"));
        let page =
            |rest| ScanPage { rows: vec![(key("a"), value("1")), (key("c"), value("3"))], rest };
        let options = ScanOptions::default();
        let rest = Some(Span::new(key("d"), key("z")));
        let merged = buffer.merge(&span, &options, page(rest.clone()));
        assert_eq!(merged.rows, [(key("a"), value("1")), (key("b"), value("new"))]);
        assert_eq!(merged.rest, rest);
        let merged = buffer.merge(&span, &options, page(None));
        assert_eq!(merged.rows.len(), 3);
        let one = ScanOptions { rows_max: 1, ..options };
        let merged = buffer.merge(&span, &one, page(None));
        assert_eq!(merged.rows.len(), 1);
        assert_eq!(merged.rest, Some(Span::new(key("a").next(), key("z"))));
        let last = ScanOptions { rows_max: 1, reverse: true, ..options };
        let mut reversed = page(None);
        reversed.rows.reverse();
        let merged = buffer.merge(&span, &last, reversed);
        assert_eq!(merged.rows, [(key("x"), value("later"))]);
        assert_eq!(merged.rest, Some(Span::new(key("a"), key("x"))));
        let small = ScanOptions { bytes_max: 3, ..options };
        let merged = buffer.merge(&span, &small, page(None));
        assert_eq!(merged.rows, [(key("a"), value("1")), (key("b"), value("new"))]);
        assert_eq!(merged.rest, Some(Span::new(key("b").next(), key("z"))));
    }
}
