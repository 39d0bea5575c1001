//! What a history can show that it should not, and which promise that breaks.
//!
//! The names are those of Adya's thesis ("Weak Consistency", 1999) and of the Elle paper (Kingsbury
//! and Alvaro, VLDB 2020):
//!
//! ```text
//! edges    ww  overwrites      wr  reads what was written      rw  overwrites what was read
//!
//! G0       a cycle of ww                        dirty write
//! G1a      a committed read of an aborted write
//! G1b      a read of a write that was not its transaction's last
//! G1c      a cycle of ww and wr                 circular information flow
//! G-single a cycle with exactly one rw          read skew, lost update
//! G-nonadjacent  several rw, no two in a row    long fork
//! G2       a cycle with two rw in a row         write skew
//! ```
//!
//! A cycle that needs the order of real time (one transaction had ended before another began) is the
//! same anomaly `-realtime`: forbidden where reads and snapshots are as of now, not only consistent.

use core_domain::IsolationLevel;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnomalyKind {
    /// A transaction does not see its own appends.
    Internal,
    /// An element twice in one list.
    DuplicateElement,
    /// An element that nobody appended.
    UnknownElement,
    /// Two reads of a list of which neither continues the other.
    IncompatibleOrder,
    /// An append that was committed before a reader began is in no version.
    LostAppend,
    G0,
    G1a,
    G1b,
    G1c,
    /// Two reads of one transaction saw two states of a list.
    UnrepeatableRead,
    /// Two transactions read the same version of a list and both appended to it.
    LostUpdate,
    GSingle,
    GNonadjacent,
    G2,
}

impl AnomalyKind {
    pub fn name(self) -> &'static str {
        match self {
            AnomalyKind::Internal => "internal",
            AnomalyKind::DuplicateElement => "duplicate element",
            AnomalyKind::UnknownElement => "unknown element",
            AnomalyKind::IncompatibleOrder => "incompatible order",
            AnomalyKind::LostAppend => "lost append",
            AnomalyKind::G0 => "G0",
            AnomalyKind::G1a => "G1a",
            AnomalyKind::G1b => "G1b",
            AnomalyKind::G1c => "G1c",
            AnomalyKind::UnrepeatableRead => "unrepeatable read",
            AnomalyKind::LostUpdate => "lost update",
            AnomalyKind::GSingle => "G-single",
            AnomalyKind::GNonadjacent => "G-nonadjacent",
            AnomalyKind::G2 => "G2",
        }
    }
}

/// One finding, with the transactions that show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: AnomalyKind,
    /// Only the order of real time makes it one.
    pub real_time: bool,
    pub explanation: String,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.real_time { "-realtime" } else { "" };
        write!(f, "{}{suffix}: {}", self.kind.name(), self.explanation)
    }
}

/// What was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    pub isolation: IsolationLevel,
    /// Everything that had been committed is seen by what begins after it: `consistency = 'strong'`.
    pub real_time: bool,
}

impl Model {
    pub const READ_COMMITTED: Model = Model::of(IsolationLevel::ReadCommitted);
    /// Snapshot isolation.
    pub const REPEATABLE_READ: Model = Model::of(IsolationLevel::RepeatableRead);
    pub const SERIALIZABLE: Model = Model::of(IsolationLevel::Serializable);
    pub const STRICT_SERIALIZABLE: Model = Model::strong(IsolationLevel::Serializable);

    pub const fn of(isolation: IsolationLevel) -> Self {
        Self { isolation, real_time: false }
    }

    pub const fn strong(isolation: IsolationLevel) -> Self {
        Self { isolation, real_time: true }
    }

    pub fn forbids(self, anomaly: &Anomaly) -> bool {
        (self.real_time || !anomaly.real_time) && self.forbids_kind(anomaly.kind)
    }

    fn forbids_kind(self, kind: AnomalyKind) -> bool {
        match kind {
            AnomalyKind::Internal
            | AnomalyKind::DuplicateElement
            | AnomalyKind::UnknownElement
            | AnomalyKind::IncompatibleOrder
            | AnomalyKind::LostAppend
            | AnomalyKind::G0
            | AnomalyKind::G1a
            | AnomalyKind::G1b
            | AnomalyKind::G1c => true,
            // One snapshot: it does not change, and who wrote before its reader commits wins.
            AnomalyKind::UnrepeatableRead
            | AnomalyKind::LostUpdate
            | AnomalyKind::GSingle
            | AnomalyKind::GNonadjacent => self.isolation != IsolationLevel::ReadCommitted,
            AnomalyKind::G2 => self.isolation == IsolationLevel::Serializable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_forbids_what_the_one_below_does_and_more() {
        let of = |kind, real_time| Anomaly { kind, real_time, explanation: String::new() };
        let levels = [
            Model::READ_COMMITTED,
            Model::REPEATABLE_READ,
            Model::SERIALIZABLE,
            Model::STRICT_SERIALIZABLE,
        ];
        let table = [
            (of(AnomalyKind::G1a, false), [true, true, true, true]),
            (of(AnomalyKind::GSingle, false), [false, true, true, true]),
            (of(AnomalyKind::G2, false), [false, false, true, true]),
            (of(AnomalyKind::G1c, true), [false, false, false, true]),
            (of(AnomalyKind::G2, true), [false, false, false, true]),
        ];
        for (anomaly, forbidden) in table {
            assert_eq!(levels.map(|level| level.forbids(&anomaly)), forbidden, "{anomaly}");
        }
        let strong = Model::strong(IsolationLevel::RepeatableRead);
        assert!(strong.forbids(&of(AnomalyKind::GSingle, true)));
        assert!(!strong.forbids(&of(AnomalyKind::G2, true)));
    }
}
