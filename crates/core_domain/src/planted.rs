//! Bugs that a test puts in, one at a time, to see that a checker catches them.
//!
//! A switch for the whole process: each test runs in one of its own. The binary never sets it, and
//! has no setting that could.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is left out, each a rule of protocol.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PlantedBug {
    /// Reads at a leader leave `max_ts` alone (rule 1).
    ReadsRaiseNothing = 1,
    /// A rollback leaves no marker (rule 4).
    RollbackLeavesNoMarker,
    /// Apply takes commands of any generation (rule 8).
    ApplyIgnoresGeneration,
    /// Commit and prewrite believe locks that may be lost (rule 3).
    CommitTrustsLocks,
    /// A transaction with spans to validate commits asynchronously (rule 5).
    AsyncCommitWhileValidating,
    /// The oracle draws without asking whether it still leads (rule 12).
    OracleTrustsItsLease,
    /// The log writer acknowledges before its sync (rule 13).
    AcknowledgedUnsynced,
    /// What was written ahead of a commit is taken for committed.
    OpenVersionsAreSeen,
    /// A part of a large transaction that arrives again is written again.
    LateCopiesWin,
    /// The right half of a split does not know what became of large transactions.
    SplitForgetsRecords,
    /// Garbage collection drops tombstones above older versions (rule 16).
    TombstoneDroppedEarly,
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// Puts `bug` in, for the rest of the process. Only for tests.
pub fn plant(bug: PlantedBug) {
    PLANTED.store(bug as u8, Ordering::Relaxed);
}

/// Whether `bug` is in.
pub fn is_planted(bug: PlantedBug) -> bool {
    PLANTED.load(Ordering::Relaxed) == bug as u8
}
