//! Oracle time, and the clock it leans on.
//!
//! A [`Timestamp`] is `physical_ms << 18 | logical`. Timestamps are handed out by the oracle (the
//! leader of the system range); nobody computes one from a local clock, so no guarantee depends
//! on clocks agreeing.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bits of a timestamp that count within one millisecond.
pub const LOGICAL_BITS: u32 = 18;

/// A point in oracle time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl Timestamp {
    pub const ZERO: Timestamp = Timestamp(0);
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    pub fn new(physical_ms: u64, logical: u64) -> Self {
        Self((physical_ms << LOGICAL_BITS) | logical)
    }

    /// Milliseconds since 1970, as the oracle believed.
    pub fn physical_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }

    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// This timestamp moved forward by `duration` (whole milliseconds).
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0 + ((duration.as_millis() as u64) << LOGICAL_BITS))
    }

    /// This timestamp moved back by `duration` (whole milliseconds), not below zero.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub((duration.as_millis() as u64) << LOGICAL_BITS))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.physical_ms(), self.0 & ((1 << LOGICAL_BITS) - 1))
    }
}

/// Where time comes from; simulated in tests.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time since some fixed start. Leases depend on its rate only.
    fn monotonic(&self) -> Duration;
    /// Wall time in milliseconds since 1970: advisory, never a source of order.
    fn wall_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        // A clock before 1970 reads as zero; the oracle only ever moves forward from there.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }
}
