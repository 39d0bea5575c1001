//! Versions of a key, and reading them at a timestamp.
//!
//! ```text
//! time
//!  40 │       b=Y             read at 35:  a → 1   b → (deleted)   c → 9
//!  30 │             b=∅       read at 45:  a → 1   b → Y           c → 9
//!  20 │ a=1                   scan at 35, either direction: a=1, c=9
//!  10 │       b=X       c=9
//!     └──────────────────── keys
//! ```
//!
//! A version's key is `keyspace::version_key(user key, commit)`, newest first. Its value:
//!
//! ```text
//! byte 0      format version, 1
//! byte 1      0: deletion, 1: value
//! bytes 2..10 start timestamp of the writing transaction, BE (protocol.md, rule 4)
//! bytes 10..  the value; nothing after a deletion
//! ```
//!
//! Kinds 2 and 3 are hidden versions (`hidden.rs`): readers ask their [`Fates`] about them.
//!
//! What it does not do: intents, locks, waiting. Those belong to the leader's evaluation.

use crate::engine::{Cf, EngineIterator, EngineReader, IterOptions};
use crate::error::{StorageError, StorageResult};
use crate::gc::Run;
use crate::hidden::{Fate, Fates, decode_hidden, is_hidden};
use crate::keyspace::{SUFFIX, decode_key, encode_key, span_bounds, version_timestamp};
use crate::lookup::{Ascending, is_many};
use crate::row_cache::{RowCache, Ticket};
use bytes::Bytes;
use core_domain::{Key, Span, Timestamp, TxnId, Value};

const FORMAT: u8 = 1;
const DELETION: u8 = 0;
const VALUE: u8 = 1;
const HEADER: usize = 10;
/// Neighbouring versions are stepped over this often before a seek is cheaper.
const STEPS_MAX: usize = 8;
/// Versions stepped over for the cache of rows after a read of one.
const NEIGHBOURS_MAX: usize = 32;
/// Of these, how many may be there already before it is not worth it.
const PRESENT_MAX: usize = 4;

/// One committed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub commit: Timestamp,
    pub start: TxnId,
    /// `None`: a deletion.
    pub value: Option<Value>,
}

/// The bytes stored under a version's key.
pub fn encode_version(start: TxnId, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + value.map_or(0, <[u8]>::len));
    out.push(FORMAT);
    out.push(if value.is_some() { VALUE } else { DELETION });
    out.extend_from_slice(&start.0.to_be_bytes());
    out.extend_from_slice(value.unwrap_or_default());
    out
}

/// The reverse of [`encode_version`].
///
/// # Errors
/// `Corruption` if the bytes are not of a known format.
pub fn decode_version(commit: Timestamp, stored: &[u8]) -> StorageResult<Version> {
    match stored {
        [FORMAT, kind @ (DELETION | VALUE), rest @ ..] if rest.len() >= 8 => {
            let (start, value) = rest.split_at(8);
            Ok(Version {
                commit,
                start: TxnId(u64::from_be_bytes(start.try_into().expect("eight bytes"))),
                value: (*kind == VALUE).then(|| Bytes::copy_from_slice(value)),
            })
        }
        _ => Err(StorageError::Corruption(format!(
            "unknown version format, first bytes {:?}",
            &stored[..stored.len().min(HEADER)]
        ))),
    }
}

/// The version under `commit` as a read at `at` sees it; `None`: it does not.
fn seen(
    fates: Option<&dyn Fates>,
    commit: Timestamp,
    stored: &[u8],
    at: Timestamp,
) -> StorageResult<Option<Version>> {
    if !is_hidden(stored) {
        return if commit <= at { decode_version(commit, stored).map(Some) } else { Ok(None) };
    }
    let (mark, value) = decode_hidden(stored)?;
    let commit = match fates.map_or(Fate::Unseen, |fates| fates.of(&mark)) {
        Fate::Own => commit,
        Fate::Committed(decided) if decided <= at => decided,
        Fate::Committed(_) | Fate::Unseen => return Ok(None),
    };
    let value = value.map(Bytes::copy_from_slice);
    Ok(Some(Version { commit, start: mark.start, value }))
}

/// The version under `commit`, if it is known for ever what became of it.
fn settled(
    fates: Option<&dyn Fates>,
    commit: Timestamp,
    stored: &[u8],
) -> StorageResult<Option<Version>> {
    if !is_hidden(stored) {
        return decode_version(commit, stored).map(Some);
    }
    let (mark, value) = decode_hidden(stored)?;
    let decided = fates.and_then(|fates| fates.committed(mark.start));
    let value = value.map(Bytes::copy_from_slice);
    Ok(decided.map(|commit| Version { commit, start: mark.start, value }))
}

/// Whether a version's stored bytes are those of a deletion.
pub(crate) fn is_deletion(stored: &[u8]) -> bool {
    stored.get(1) == Some(&DELETION)
}

/// Reads versions of single keys, from the moment of its creation or later.
pub struct PointReader<'a> {
    reader: &'a dyn EngineReader,
    cursor: PointCursor<'a>,
    target: Vec<u8>,
    fates: Option<&'a dyn Fates>,
    top: Timestamp,
    /// The last look at the engine passed over a version.
    passed: bool,
}

enum PointCursor<'a> {
    /// Made when the cache of rows has no answer. Looks at the filters before each block.
    One(Option<Box<dyn EngineIterator + 'a>>),
    Many(Ascending<'a>),
}

impl<'a> PointReader<'a> {
    /// `count`: how many keys will be asked for, best in ascending order.
    pub fn new(reader: &'a dyn EngineReader, count: usize) -> Self {
        let cursor = match is_many(count) {
            true => PointCursor::Many(Ascending::new(reader, Cf::Data)),
            false => PointCursor::One(None),
        };
        Self {
            reader,
            cursor,
            target: Vec::new(),
            fates: None,
            top: Timestamp::ZERO,
            passed: false,
        }
    }

    /// Asks `fates` about hidden versions; without, none is seen.
    pub fn with(mut self, fates: Option<&'a dyn Fates>) -> Self {
        self.fates = fates;
        self
    }

    /// The highest timestamp under which the last read met a version, a hidden one included.
    pub fn top(&self) -> Timestamp {
        self.top
    }

    /// The newest version of `key` committed at or before `at`, a deletion included.
    ///
    /// # Errors
    /// Of the disk, or `Corruption`.
    pub fn at(&mut self, key: &Key, at: Timestamp) -> StorageResult<Option<Version>> {
        self.target = encode_key(key.as_ref());
        if let (PointCursor::One(_), Some(cache)) = (&self.cursor, self.reader.row_cache())
            && !self.has_own()
        {
            return self.at_through(cache, at);
        }
        self.seek(at)
    }

    /// Of the row named by `target`.
    fn at_through(&mut self, cache: &RowCache, at: Timestamp) -> StorageResult<Option<Version>> {
        if let Some(newest) = cache.get(&self.target) {
            self.top = newest.commit;
            return if newest.commit <= at { Ok(Some(newest)) } else { self.seek(at) };
        }
        if !matches!(self.cursor, PointCursor::One(None)) {
            // Through a cursor that is older than the ticket an old version could be kept.
            return self.seek(at);
        }
        let ticket = cache.ticket();
        let with_neighbours = cache.has_room(&self.target);
        if with_neighbours {
            self.cursor =
                PointCursor::One(Some(self.reader.iter(Cf::Data, IterOptions::default())));
        }
        let prefix = self.target.len();
        let newest = self.seek(Timestamp::MAX)?;
        self.target.truncate(prefix);
        // Above what is kept lies nothing that may show later.
        if let Some(newest) = newest.as_ref().filter(|_| !self.passed) {
            cache.fill(&ticket, &self.target, newest);
            if let (true, PointCursor::One(Some(cursor))) = (with_neighbours, &mut self.cursor) {
                fill_neighbours(cache, &ticket, &mut **cursor, self.fates)?;
            }
        }
        match newest {
            Some(newest) if newest.commit > at => self.seek(at),
            newest => Ok(newest),
        }
    }

    /// The newest version at or before `at` of the row named by `target`, asked of the engine.
    fn seek(&mut self, at: Timestamp) -> StorageResult<Option<Version>> {
        let prefix = self.target.len();
        self.top = Timestamp::ZERO;
        self.passed = false;
        let mut from = if self.has_own() { Timestamp::MAX } else { at };
        loop {
            self.target.truncate(prefix);
            self.target.extend_from_slice(&(!from.0).to_be_bytes());
            let found = match &mut self.cursor {
                PointCursor::Many(cursor) => cursor.seek(&self.target)?,
                PointCursor::One(cursor) => {
                    let cursor = cursor.get_or_insert_with(|| {
                        let options = IterOptions { one_key: true, ..IterOptions::default() };
                        self.reader.iter(Cf::Data, options)
                    });
                    cursor.seek(&self.target);
                    if !cursor.valid() {
                        cursor.status()?;
                        return Ok(None);
                    }
                    Some((cursor.key(), cursor.value()))
                }
            };
            let Some((found, stored)) = found else { return Ok(None) };
            if found.len() != prefix + SUFFIX || found[..prefix] != self.target[..prefix] {
                return Ok(None);
            }
            let commit = version_timestamp(found);
            self.top = self.top.max(commit);
            let version = seen(self.fates, commit, stored, at)?;
            if version.is_some() || commit == Timestamp::ZERO {
                return Ok(version);
            }
            self.passed = true;
            from = commit.prev().min(at);
        }
    }

    fn has_own(&self) -> bool {
        self.fates.is_some_and(|fates| fates.has_own())
    }

    /// The newest version of `key`, a deletion included.
    ///
    /// # Errors
    /// Of the disk, or `Corruption`.
    pub fn newest(&mut self, key: &Key) -> StorageResult<Option<Version>> {
        self.at(key, Timestamp::MAX)
    }
}

/// Keeps the newest versions of the keys after the one that `cursor` stands on: in the cursor's
/// reach they cost little, and a seek each later.
fn fill_neighbours(
    cache: &RowCache,
    ticket: &Ticket,
    cursor: &mut dyn EngineIterator,
    fates: Option<&dyn Fates>,
) -> StorageResult<()> {
    let mut present = 0;
    let mut last = cursor.key()[..cursor.key().len() - SUFFIX].to_vec();
    for _ in 0..NEIGHBOURS_MAX {
        cursor.next();
        if !cursor.valid() {
            return cursor.status();
        }
        let found = cursor.key();
        let prefix = &found[..found.len() - SUFFIX];
        if prefix != last {
            last.clear();
            last.extend_from_slice(prefix);
            if let Some(newest) = settled(fates, version_timestamp(found), cursor.value())? {
                present += usize::from(cache.fill(ticket, &last, &newest));
            }
            if present == PRESENT_MAX {
                break;
            }
        }
    }
    Ok(())
}

/// The newest version of `key` committed at or before `at`, a deletion included.
///
/// # Errors
/// Of the disk, or `Corruption`.
pub fn read_at(
    reader: &dyn EngineReader,
    key: &Key,
    at: Timestamp,
) -> StorageResult<Option<Version>> {
    PointReader::new(reader, 1).at(key, at)
}

/// The newest version of `key`, a deletion included.
///
/// # Errors
/// Of the disk, or `Corruption`.
pub fn newest(reader: &dyn EngineReader, key: &Key) -> StorageResult<Option<Version>> {
    PointReader::new(reader, 1).newest(key)
}

/// A scan of `span` as of one timestamp, in either direction, over a cursor of its own. Deletions
/// are left out.
///
/// A table that is used as a queue has many deleted keys side by side. The scan tells of the longest
/// such run, and leaps over runs that it is told of.
pub struct Scan<'a> {
    cursor: Box<dyn EngineIterator + 'a>,
    at: Timestamp,
    reverse: bool,
    fates: Option<&'a dyn Fates>,
    /// Runs of keys that a reader at `at` sees nothing of.
    leaps: Vec<Run>,
    /// Versions stepped over.
    steps: u64,
    /// The run of deleted keys that the scan is in, and the longest before it.
    run: Option<Run>,
    longest: Option<Run>,
}

impl<'a> Scan<'a> {
    /// `leaps`: keys that were all deleted at or before `at`, and not written since.
    pub fn with_leaps(
        reader: &'a dyn EngineReader,
        span: &Span,
        at: Timestamp,
        reverse: bool,
        leaps: Vec<Run>,
    ) -> Self {
        Self { leaps, ..Self::new(reader, span, at, reverse) }
    }

    pub fn new(reader: &'a dyn EngineReader, span: &Span, at: Timestamp, reverse: bool) -> Self {
        let (lower, upper) = span_bounds(span);
        let options = IterOptions { lower: Some(lower), upper, ..IterOptions::default() };
        let mut cursor = reader.iter(Cf::Data, options);
        if reverse {
            cursor.seek_to_last();
        } else {
            cursor.seek_to_first();
        }
        let leaps = Vec::new();
        Self { cursor, at, reverse, fates: None, leaps, steps: 0, run: None, longest: None }
    }

    /// Asks `fates` about hidden versions; without, none is seen.
    pub fn with(mut self, fates: Option<&'a dyn Fates>) -> Self {
        self.fates = fates;
        self
    }

    fn has_own(&self) -> bool {
        self.fates.is_some_and(|fates| fates.has_own())
    }

    /// The next visible row.
    ///
    /// # Errors
    /// Of the disk, or `Corruption`.
    pub fn next_row(&mut self) -> StorageResult<Option<(Key, Version)>> {
        while self.cursor.valid() {
            if !self.leaps.is_empty() && self.leap() {
                continue;
            }
            let row = if self.reverse { self.back()? } else { self.forward()? };
            if let Some((key, version)) = row
                && version.value.is_some()
            {
                self.end_run();
                return Ok(Some((key, version)));
            }
        }
        self.cursor.status()?;
        self.end_run();
        Ok(None)
    }

    /// The next key of a forward scan whose newest visible version, a deletion included, is younger
    /// than `since`.
    ///
    /// # Errors
    /// Of the disk, or `Corruption`.
    pub fn next_change(&mut self, since: Timestamp) -> StorageResult<Option<(Key, Version)>> {
        assert!(!self.reverse, "changes are looked for forwards");
        while self.cursor.valid() {
            if let Some((key, version)) = self.forward()?
                && version.commit > since
            {
                return Ok(Some((key, version)));
            }
        }
        self.cursor.status()?;
        Ok(None)
    }

    /// Versions stepped over so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The longest run of neighbouring keys that are deleted for every reader at or above its
    /// newest tombstone: of what was read so far.
    pub fn longest_run(&mut self) -> Option<Run> {
        self.end_run();
        self.longest.take()
    }

    /// Leaves the run that the cursor stands in, if it is one of those to leap over.
    fn leap(&mut self) -> bool {
        let at = self.cursor.key();
        let stands_in = |run: &&Run| {
            at >= run.start.as_slice() && (at < run.end.as_slice() || at.starts_with(&run.end))
        };
        let Some(run) = self.leaps.iter().filter(stands_in).max_by_key(|run| run.tombstones) else {
            return false;
        };
        match self.reverse {
            // Below every version of the first key, above every one of the last.
            true => self.cursor.seek_for_prev(&run.start),
            false => self.cursor.seek(&[run.end.as_slice(), &[0xff; SUFFIX + 1]].concat()),
        }
        self.steps += 1;
        let run = run.clone();
        self.extend_run(run);
        true
    }

    fn extend_run(&mut self, by: Run) {
        match &mut self.run {
            Some(run) => run.join(&by),
            None => self.run = Some(by),
        }
    }

    /// The key that was just read was not deleted, or not for everybody.
    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        if self.longest.as_ref().is_none_or(|longest| longest.tombstones < run.tombstones) {
            self.longest = Some(run);
        }
    }

    /// What was read of one key. `newest`: no newer version was met.
    fn note(&mut self, encoded: Vec<u8>, found: Option<&Version>, newest: bool) {
        match found {
            Some(Version { value: None, commit, .. }) if newest => {
                self.extend_run(Run::new(encoded, *commit));
            }
            Some(_) | None => self.end_run(),
        }
    }

    /// Stands on the newest version of a key; leaves on the newest version of the next one.
    fn forward(&mut self) -> StorageResult<Option<(Key, Version)>> {
        let (key, prefix) = decode_key(self.cursor.key())?;
        let encoded = self.cursor.key()[..prefix].to_vec();
        let mut found = None;
        let mut newest = true;
        let mut steps = 0;
        let own = self.has_own();
        while self.on(&encoded) {
            let commit = version_timestamp(self.cursor.key());
            newest &= found.is_some() || commit <= self.at;
            if found.is_none() && (own || commit <= self.at) {
                found = seen(self.fates, commit, self.cursor.value(), self.at)?;
                // What is hidden may show to later readers.
                newest &= found.is_some();
                if found.is_some() {
                    steps = 0;
                }
            }
            self.cursor.next();
            steps += 1;
            self.steps += 1;
            if steps >= STEPS_MAX && self.on(&encoded) {
                // Past the versions that are too new, or past the rest of the key.
                let to = if found.is_none() { self.at } else { Timestamp::ZERO };
                if version_timestamp(self.cursor.key()) > to {
                    self.cursor.seek(&with_timestamp(&encoded, to));
                }
                steps = 0;
            }
        }
        self.note(encoded, found.as_ref(), newest);
        Ok(found.map(|version| (key, version)))
    }

    /// Stands on the oldest version of a key; leaves on the oldest version of the one before.
    fn back(&mut self) -> StorageResult<Option<(Key, Version)>> {
        let (key, prefix) = decode_key(self.cursor.key())?;
        let encoded = self.cursor.key()[..prefix].to_vec();
        let mut found = None;
        let mut newest = true;
        let mut steps = 0;
        let own = self.has_own();
        while self.on(&encoded) {
            let commit = version_timestamp(self.cursor.key());
            self.steps += 1;
            if commit > self.at && !own {
                // Everything before it is newer still.
                newest = false;
                self.leave_backwards(&encoded, steps);
                break;
            }
            if steps >= STEPS_MAX && !own {
                found = self.newest_here(&encoded)?;
                // Whether it is the newest was not looked at.
                newest = false;
                self.leave_backwards(&encoded, steps);
                break;
            }
            let here = seen(self.fates, commit, self.cursor.value(), self.at)?;
            newest = here.is_some();
            found = here.or(found);
            self.cursor.prev();
            steps += 1;
        }
        self.note(encoded, found.as_ref(), newest);
        Ok(found.map(|version| (key, version)))
    }

    /// The newest version of a key that is seen; stays on one of its versions, of which one is at
    /// or below the scan's timestamp.
    fn newest_here(&mut self, encoded: &[u8]) -> StorageResult<Option<Version>> {
        let top = with_timestamp(encoded, self.at);
        self.cursor.seek(&top);
        assert!(self.on(encoded), "a version at or below {} was just seen", self.at);
        while self.on(encoded) {
            let commit = version_timestamp(self.cursor.key());
            let found = seen(self.fates, commit, self.cursor.value(), self.at)?;
            if found.is_some() {
                return Ok(found);
            }
            self.cursor.next();
        }
        self.cursor.seek(&top);
        Ok(None)
    }

    fn leave_backwards(&mut self, encoded: &[u8], steps_made: usize) {
        for _ in steps_made..STEPS_MAX {
            if !self.on(encoded) {
                return;
            }
            self.cursor.prev();
        }
        if self.on(encoded) {
            // No version key equals the bare groups, and all of this key's are above them.
            self.cursor.seek_for_prev(encoded);
        }
    }

    fn on(&self, encoded: &[u8]) -> bool {
        self.cursor.valid() && self.cursor.key().starts_with(encoded)
    }
}

fn with_timestamp(encoded: &[u8], at: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len() + SUFFIX);
    out.extend_from_slice(encoded);
    out.extend_from_slice(&(!at.0).to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, WriteBatch};
    use crate::keyspace::version_key;
    use crate::{CrashEngine, RocksEngine, RocksOptions};
    use std::collections::BTreeMap;

    fn key(text: &str) -> Key {
        Key::from(text.as_bytes())
    }

    fn put(engine: &dyn Engine, user_key: &[u8], commit: u64, value: Option<&[u8]>) {
        let mut batch = WriteBatch::new();
        let stored = encode_version(TxnId(commit - 1), value);
        batch.put(Cf::Data, version_key(user_key, Timestamp(commit)), stored);
        engine.write(batch, false).unwrap();
    }

    fn both(test: impl Fn(&dyn Engine)) {
        test(&CrashEngine::new());
        let dir = tempfile::tempdir().unwrap();
        test(&RocksEngine::open(dir.path(), &RocksOptions::default()).unwrap());
    }

    fn rows(engine: &dyn Engine, span: &Span, at: u64, reverse: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut scan = Scan::new(engine, span, Timestamp(at), reverse);
        let mut out = Vec::new();
        while let Some((key, version)) = scan.next_row().unwrap() {
            out.push((key.0.to_vec(), version.value.unwrap().to_vec()));
        }
        out
    }

    #[test]
    fn version_values_have_their_documented_bytes() {
        assert_eq!(encode_version(TxnId(0x0102), None), [1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(
            encode_version(TxnId(0x0102), Some(b"xy")),
            [1, 1, 0, 0, 0, 0, 0, 0, 1, 2, b'x', b'y']
        );
        assert!(decode_version(Timestamp(1), &[2, 0, 0, 0, 0, 0, 0, 0, 1, 2]).is_err());
    }

    #[test]
    fn the_picture_at_the_top_of_this_file_is_true() {
        both(|engine| {
            put(engine, b"b", 10, Some(b"X"));
            put(engine, b"c", 10, Some(b"9"));
            put(engine, b"a", 20, Some(b"1"));
            put(engine, b"b", 30, None);
            put(engine, b"b", 40, Some(b"Y"));
            let value = |k: &str, at: u64| {
                let version = read_at(engine, &key(k), Timestamp(at)).unwrap();
                version.and_then(|v| v.value).map(|v| v.to_vec())
            };
            assert_eq!(value("a", 35), Some(b"1".to_vec()));
            assert_eq!(value("a", 19), None);
            assert_eq!(value("b", 35), None);
            assert_eq!(value("b", 29), Some(b"X".to_vec()));
            assert_eq!(value("b", 40), Some(b"Y".to_vec()));
            assert_eq!(value("bb", 50), None);
            let newest = newest(engine, &key("b")).unwrap().unwrap();
            assert_eq!((newest.commit, newest.start), (Timestamp(40), TxnId(39)));
            for reverse in [false, true] {
                let mut expected =
                    vec![(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"9".to_vec())];
                if reverse {
                    expected.reverse();
                }
                assert_eq!(rows(engine, &Span::all(), 35, reverse), expected);
            }
        });
    }

    /// Many keys, prefixes of each other, with few and with many versions, against a model.
    #[test]
    fn scans_agree_with_a_model_in_both_directions() {
        both(|engine| {
            let mut model: BTreeMap<Vec<u8>, BTreeMap<u64, Option<Vec<u8>>>> = BTreeMap::new();
            let mut state = 7u64;
            let mut random = |n: u64| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) % n
            };
            for commit in 1..1500 {
                let user_key = match random(3) {
                    0 => b"hot".to_vec(),
                    1 => vec![b'h'; random(20) as usize],
                    _ => random(50).to_be_bytes()[4..].to_vec(),
                };
                let value = (random(4) > 0).then(|| commit.to_string().into_bytes());
                put(engine, &user_key, commit + 1, value.as_deref());
                model.entry(user_key).or_default().insert(commit + 1, value);
            }
            for at in [0, 1, 2, 10, 400, 777, 1499, 1500, u64::MAX] {
                for (from, to) in [("", ""), ("h", "hot"), ("hhhh", ""), ("", "hhh"), ("x", "")] {
                    let span = Span::new(key(from), key(to));
                    let mut expected: Vec<_> = model
                        .iter()
                        .filter(|(k, _)| span.contains(&Key::from(k.as_slice())))
                        .filter_map(|(k, versions)| {
                            let (_, value) = versions.range(..=at).next_back()?;
                            Some((k.clone(), value.clone()?))
                        })
                        .collect();
                    assert_eq!(rows(engine, &span, at, false), expected, "{from}..{to} at {at}");
                    expected.reverse();
                    assert_eq!(rows(engine, &span, at, true), expected, "{from}..{to} at {at}");
                }
            }
        });
    }

    #[test]
    fn a_snapshot_is_pinned_to_its_moment() {
        both(|engine| {
            put(engine, b"a", 10, Some(b"old"));
            let snapshot = engine.snapshot();
            put(engine, b"a", 20, Some(b"new"));
            assert_eq!(newest(&*snapshot, &key("a")).unwrap().unwrap().commit, Timestamp(10));
            assert_eq!(newest(engine, &key("a")).unwrap().unwrap().commit, Timestamp(20));
        });
    }
}
