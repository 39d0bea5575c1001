//! Runs of deleted keys that scans leap over.
//!
//! Versions that older readers may still ask for stay, tombstones among them: in a table that is used
//! as a queue, every poll for the first row would step over all that was taken out lately.
//!
//! ```text
//! keys      1∅ 2∅ 3∅ 4∅ 5∅ 6∅ 7  8  9
//! scan at R ────────────────────▶7          tells of the run 1..6, newest tombstone N
//! next scan, R ≥ N   ───────leap▶7
//! a write on 1..6: the run is forgotten
//! ```
//!
//! A scan that stepped over many deleted keys makes the range be watched. From then on the keys of
//! entries are remembered for a while, when they take off and when they land; so a later scan knows
//! that nothing was written to the run between the moment its cursor was pinned and the moment it
//! tells of it.

use core_domain::{Key, Timestamp};
use std::collections::VecDeque;
use storage::gc::Run;
use storage::keyspace::encode_key;

/// Fewer deleted keys are stepped over.
pub(super) const DEAD_KEYS_MIN: u64 = 64;
/// Runs remembered of one range. One for the newest readers, some for those a little behind.
const RUNS_MAX: usize = 8;
/// Written keys remembered: a scan during which more are written tells nothing.
const WRITTEN_MAX: usize = 512;

#[derive(Default)]
pub(super) struct DeadRuns {
    watching: bool,
    runs: VecDeque<Run>,
    /// Encoded keys, the last ones of those that `count` has counted.
    written: VecDeque<Vec<u8>>,
    count: u64,
}

impl DeadRuns {
    /// What a reader at `at` may leap over.
    pub fn leaps(&self, at: Timestamp) -> Vec<Run> {
        self.runs.iter().filter(|run| run.newest <= at).cloned().collect()
    }

    /// To be asked before the cursor is pinned; `None` while the range is not watched.
    pub fn moment(&self) -> Option<u64> {
        self.watching.then_some(self.count)
    }

    pub fn watch(&mut self) {
        self.watching = true;
    }

    pub fn wrote(&mut self, key: &Key) {
        if !self.watching {
            return;
        }
        let encoded = encode_key(key.as_ref());
        self.runs.retain(|run| !is_in(run, &encoded));
        if self.written.len() == WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back(encoded);
        self.count += 1;
    }

    /// Whether certainly nothing was written to `run` since `moment`. Who leapt asks this after
    /// reading: an intent that was decided in between is now a version that was leapt over.
    pub fn is_untouched(&self, run: &Run, moment: u64) -> bool {
        let since = usize::try_from(self.count - moment).unwrap_or(usize::MAX);
        since <= self.written.len()
            && !self.written.iter().rev().take(since).any(|key| is_in(run, key))
    }

    /// Remembers `run`, unless something may have been written to it since `moment`.
    pub fn record(&mut self, run: Run, moment: u64) {
        if !self.is_untouched(&run, moment) {
            return;
        }
        // What it contains at the same moment or later is of no more use.
        self.runs.retain(|old| {
            !(run.newest <= old.newest && run.start <= old.start && old.end <= run.end)
        });
        if self.runs.len() == RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }

    /// Nothing is known any more, also not to those who asked for a moment before.
    pub fn clear(&mut self) {
        *self = Self { count: self.count + 1, ..Self::default() };
    }
}

fn is_in(run: &Run, encoded: &[u8]) -> bool {
    run.start.as_slice() <= encoded && encoded <= run.end.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key::from(vec![n])
    }

    fn run(from: u8, to: u8, newest: u64) -> Run {
        let mut run = Run::new(encode_key(&[from]), Timestamp(newest));
        run.join(&Run::new(encode_key(&[to]), Timestamp(newest)));
        run
    }

    #[test]
    fn a_run_is_leapt_over_until_it_is_written_to() {
        let mut dead = DeadRuns::default();
        assert_eq!(dead.moment(), None);
        dead.watch();
        let moment = dead.moment().unwrap();
        dead.wrote(&key(9));
        dead.record(run(1, 6, 50), moment);
        assert!(
            dead.leaps(Timestamp(49)).is_empty(),
            "an older reader sees what was deleted since"
        );
        assert_eq!(dead.leaps(Timestamp(50)), [run(1, 6, 50)]);
        dead.wrote(&key(7));
        assert_eq!(dead.leaps(Timestamp(60)).len(), 1);
        dead.wrote(&key(3));
        assert!(dead.leaps(Timestamp(60)).is_empty());
    }

    #[test]
    fn a_run_that_was_written_to_while_it_was_read_is_not_remembered() {
        let mut dead = DeadRuns::default();
        dead.watch();
        let moment = dead.moment().unwrap();
        dead.wrote(&key(6));
        dead.record(run(1, 6, 50), moment);
        assert!(dead.leaps(Timestamp::MAX).is_empty());
        let moment = dead.moment().unwrap();
        for _ in 0..=WRITTEN_MAX {
            dead.wrote(&key(9));
        }
        dead.record(run(1, 6, 50), moment);
        assert!(dead.leaps(Timestamp::MAX).is_empty(), "too much was written to know");
    }

    #[test]
    fn who_leaps_learns_of_what_was_written_meanwhile() {
        let mut dead = DeadRuns::default();
        dead.watch();
        let moment = dead.moment().unwrap();
        dead.wrote(&key(9));
        assert!(dead.is_untouched(&run(1, 6, 50), moment));
        dead.wrote(&key(2));
        assert!(!dead.is_untouched(&run(1, 6, 50), moment));
        let moment = dead.moment().unwrap();
        assert!(dead.is_untouched(&run(1, 6, 50), moment));
        // A split forgets everything while scans are under way.
        dead.clear();
        assert!(!dead.is_untouched(&run(1, 6, 50), moment));
        dead.watch();
        dead.record(run(1, 6, 50), moment);
        dead.wrote(&key(9));
        dead.record(run(1, 6, 50), moment);
        assert!(dead.leaps(Timestamp::MAX).is_empty());
    }
}
