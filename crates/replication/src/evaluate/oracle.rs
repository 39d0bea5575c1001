//! The timestamp oracle: part of the system range's leader (protocol.md, rule 12).
//!
//! ```text
//!        reserved through Raft, by the leader before
//! ───────────────┤ window_end (old)            ┤ window_end (new)
//!                │                              │
//!  new leader:   next starts here   drawn ▶ ▶ ▶ │ never beyond
//! ```
//!
//! A number is drawn from memory, then the lease is checked: a leader that was cut off finds out
//! before its number leaves. Physical time comes from the wall clock once, when a term begins, and
//! from the monotonic clock after that.
//!
//! The window is stored in the txn family under `/system/oracle`, transaction 0:
//! `byte 0: format version, 1; bytes 1..9: window end, BE`.

use super::gate::Admission;
use super::{Group, Place, RangeError};
use crate::command::{Applied, Command, EngineOp};
use crate::replica::Leadership;
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Clock, Key, KvError, Timestamp, TxnId};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use storage::{Cf, EngineReader, keyspace};

const FORMAT: u8 = 1;
/// How much is reserved at once: also how far a failover may push time ahead.
const WINDOW: Duration = Duration::from_secs(3);
/// What must be left of a window before the next one is reserved in the background.
const RESERVE_AT: Duration = Duration::from_secs(1);

pub(super) struct Oracle {
    clock: Arc<dyn Clock>,
    serving: Mutex<Option<Serving>>,
    /// One reservation at a time.
    reserving: tokio::sync::Mutex<()>,
}

struct Serving {
    term: u64,
    next: u64,
    window_end: u64,
    /// Wall and monotonic time when the term began.
    began_wall_ms: u64,
    began: Duration,
    /// A background reservation is under way.
    reserving: bool,
}

enum Drawn {
    Now {
        first: Timestamp,
        running_low: bool,
    },
    Exhausted,
    /// Another term.
    Elsewhere,
}

impl Oracle {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, serving: Mutex::new(None), reserving: tokio::sync::Mutex::new(()) }
    }

    fn draw(&self, term: u64, count: u64) -> Drawn {
        let mut serving = self.serving.lock();
        let Some(serving) = serving.as_mut().filter(|serving| serving.term == term) else {
            return Drawn::Elsewhere;
        };
        let physical = Timestamp::new(serving.physical_ms(&*self.clock), 0).0;
        let first = serving.next.max(physical);
        if first + count > serving.window_end {
            return Drawn::Exhausted;
        }
        serving.next = first + count;
        let left = serving.window_end - serving.next;
        let running_low = left < span(RESERVE_AT) && !serving.reserving;
        serving.reserving |= running_low;
        Drawn::Now { first: Timestamp(first), running_low }
    }

    /// Without waiting; `None` also when the next window should be reserved first.
    pub fn try_draw(&self, system: &dyn Group, count: u64) -> Option<Timestamp> {
        {
            let mut serving = self.serving.lock();
            let serving = serving.as_mut().filter(|serving| may_draw(system, serving.term))?;
            let physical = Timestamp::new(serving.physical_ms(&*self.clock), 0).0;
            let first = serving.next.max(physical);
            let low = !serving.reserving
                && serving.window_end < first.saturating_add(count + span(RESERVE_AT));
            if low || first + count > serving.window_end {
                return None;
            }
            serving.next = first + count;
            may_draw(system, serving.term).then_some(Timestamp(first))
        }
    }
}

/// Whether numbers of `term` may leave now, without asking anybody.
fn may_draw(system: &dyn Group, term: u64) -> bool {
    system.leadership() == Leadership::Serving { term }
        || is_planted(PlantedBug::OracleTrustsItsLease)
}

impl Serving {
    fn physical_ms(&self, clock: &dyn Clock) -> u64 {
        self.began_wall_ms + clock.monotonic().saturating_sub(self.began).as_millis() as u64
    }
}

fn span(duration: Duration) -> u64 {
    Timestamp::ZERO.plus(duration).0
}

fn window_key() -> Vec<u8> {
    keyspace::txn_key(Key::system("oracle").as_ref(), TxnId(0))
}

fn read_window(reader: &dyn EngineReader) -> Result<u64, RangeError> {
    let Some(stored) = reader.get(Cf::Txn, &window_key())? else { return Ok(0) };
    match stored.split_first() {
        Some((&FORMAT, raw)) if raw.len() == 8 => {
            Ok(u64::from_be_bytes(raw.try_into().expect("eight bytes")))
        }
        _ => Err(KvError::Corruption(format!("unknown oracle window {stored:?}")).into()),
    }
}

impl Place<'_> {
    /// The first of `count` consecutive timestamps.
    pub(super) async fn draw(&self, count: u32) -> Result<Timestamp, RangeError> {
        loop {
            let admission = self.admit().await?;
            let oracle = &self.evaluator.oracle;
            match oracle.draw(admission.term, u64::from(count.max(1))) {
                Drawn::Now { first, running_low } => {
                    if running_low {
                        self.reserve_in_background(admission.term);
                    }
                    if self.still(&Admission { ..admission }).await? {
                        return Ok(first);
                    }
                }
                Drawn::Exhausted => self.reserve(admission.term).await?,
                Drawn::Elsewhere => {
                    // The gate is of a term that the oracle was not started in: start again.
                    self.gate.lose(&self.evaluator.locks);
                }
            }
        }
    }

    /// The system range begins to be led here: above everything the leaders before could issue.
    pub(super) async fn start_oracle(&self, term: u64) -> Result<Timestamp, RangeError> {
        let oracle = &self.evaluator.oracle;
        let window_end = read_window(self.engine())?;
        *oracle.serving.lock() = Some(Serving {
            term,
            next: window_end,
            window_end,
            began_wall_ms: oracle.clock.wall_ms(),
            began: oracle.clock.monotonic(),
            reserving: false,
        });
        loop {
            match oracle.draw(term, 1) {
                Drawn::Now { first, .. } => return Ok(first),
                Drawn::Exhausted => self.reserve(term).await?,
                Drawn::Elsewhere => return Err(self.not_leader()),
            }
        }
    }

    fn reserve_in_background(&self, term: u64) {
        let (evaluator, group, gate) =
            (self.evaluator.clone(), self.group.clone(), self.gate.clone());
        tokio::spawn(async move {
            let place = Place { evaluator: &evaluator, group: &group, gate: &gate };
            if let Err(error) = place.reserve(term).await {
                tracing::warn!(%error, "the oracle's window was not extended");
            }
            if let Some(serving) = evaluator.oracle.serving.lock().as_mut() {
                serving.reserving = false;
            }
        });
    }

    async fn reserve(&self, term: u64) -> Result<(), RangeError> {
        let oracle = &self.evaluator.oracle;
        let _one = oracle.reserving.lock().await;
        let end = {
            let serving = oracle.serving.lock();
            let Some(serving) = serving.as_ref().filter(|serving| serving.term == term) else {
                return Err(self.not_leader());
            };
            let physical = Timestamp::new(serving.physical_ms(&*oracle.clock), 0).0;
            let next = serving.next.max(physical);
            if serving.window_end >= next + span(RESERVE_AT) {
                return Ok(()); // Somebody else just did.
            }
            next + span(WINDOW)
        };
        let mut stored = vec![FORMAT];
        stored.extend_from_slice(&end.to_be_bytes());
        let op = EngineOp::put(Cf::Txn, window_key(), stored);
        let generation = self.group.descriptor().generation;
        let command = Command::write(self.group.range(), generation, term, vec![op]);
        match self.group.propose(command).await? {
            Applied::Ok => {
                if let Some(serving) =
                    oracle.serving.lock().as_mut().filter(|serving| serving.term == term)
                {
                    serving.window_end = serving.window_end.max(end);
                }
                Ok(())
            }
            // A change of membership came in between: the caller looks again.
            Applied::StaleGeneration { .. } => Ok(()),
            Applied::StaleTerm => Err(self.not_leader()),
        }
    }
}
