//! The leader's memory of one range, and the way in.
//!
//! ```text
//!            leadership gained                        first request
//! (no term) ───────────────────▶ Raft applies an entry ───────────▶ draw from the oracle,
//!     ▲                          of the new term                    max_ts = drawn, locks void
//!     ├───────── leadership lost: flights leave, locks void ◀────── term = t: serving
//!     │                                                                    │
//!     └───────── handed over in t: flights land, locks go along ◀──────────┘
//! ```
//!
//! The right half of a split begins as a new leader does; only the locks stay, if they were kept here.

use super::flight::{Flight, Flights};
use super::hidden::{self, HiddenMap};
use super::pipeline::Pipeline;
use super::validate::Pushes;
use super::{LockTable, Place, RangeError, RangeResponse};
use crate::descriptor::{RangeDescriptor, SYSTEM_RANGE};
use crate::replica::Leadership;
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{KvError, RangeId, Span, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// How long a leader waits for a quorum to say that it still is one.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a leader that does not know how many intents there are looks for one.
pub(super) const REVIEW_INTERVAL: Duration = Duration::from_millis(100);
/// Traces of intents that are gone, until RocksDB forgets them: more are not stepped over.
const TRACES_MAX: u64 = 10_000;

pub(super) struct Gate {
    pub range: RangeId,
    pub state: Mutex<GateState>,
    pub pipeline: Pipeline,
    /// One initialisation at a time.
    starting: tokio::sync::Mutex<()>,
}

pub(super) struct GateState {
    /// The term that everything else here belongs to; zero: not serving.
    pub term: u64,
    /// When the term began to serve, in monotonic time.
    pub since: Duration,
    /// No read above it was ever served; every commit to come is above it (rule 1).
    pub max_ts: Timestamp,
    /// `max_ts`, if a validated commit put it where the oracle may not have come yet; else less.
    pub undrawn: Timestamp,
    /// Transactions with their primary here that must commit above something (rule 5).
    pub pushes: Pushes,
    pub flights: Flights,
    /// The term that the flights were proposed in: also while nothing is served in it any more.
    pub flights_of: u64,
    /// Keys with intents, in the engine or under way to it. Never too low; `None`: not known.
    pub intents: Option<usize>,
    /// Transactions that write ahead of their commit; `None`: never any in this range.
    pub hidden: Option<Arc<HiddenMap>>,
    /// When to look again, in monotonic time.
    review_at: Duration,
    /// The left half of the split that made this range kept the locks for it.
    inherited: bool,
    /// Where this node has locks for the range.
    locked: Option<Span>,
    /// The term in which nothing is evaluated any more: its leader hands over.
    handed_over: u64,
}

/// Under what a request is evaluated.
#[derive(Clone, Debug)]
pub struct Admission {
    pub term: u64,
    pub descriptor: Arc<RangeDescriptor>,
}

impl Gate {
    pub fn new(range: RangeId) -> Arc<Self> {
        Arc::new(Self {
            range,
            state: Mutex::new(GateState {
                term: 0,
                since: Duration::ZERO,
                max_ts: Timestamp::ZERO,
                undrawn: Timestamp::ZERO,
                pushes: Pushes::default(),
                flights: Flights::default(),
                flights_of: 0,
                intents: None,
                hidden: None,
                review_at: Duration::ZERO,
                inherited: false,
                locked: None,
                handed_over: 0,
            }),
            pipeline: Pipeline::default(),
            starting: tokio::sync::Mutex::new(()),
        })
    }

    /// Leadership is lost: entries in flight are no longer this node's to wait for, and who waits for
    /// a lock asks the new leader.
    pub fn lose(&self, locks: &Mutex<LockTable>) {
        let mut state = self.state.lock();
        state.term = 0;
        state.inherited = false;
        state.handed_over = 0;
        state.flights.clear();
        state.flights_of = 0;
        if let Some(span) = state.locked.take() {
            locks.lock().leave(&span);
        }
    }

    /// Nothing is evaluated in `term` any more; answers what is in flight.
    pub fn give_way(&self, term: u64) -> Vec<Arc<Flight>> {
        let mut state = self.state.lock();
        state.term = 0;
        state.handed_over = term;
        state.flights.all()
    }

    /// Should this node lead on, it keeps its locks.
    pub fn resume(&self) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.handed_over) != 0 {
            state.inherited = state.locked.is_some();
        }
    }

    /// Frees locks, unless they have gone along to another leader: they would stay held there.
    pub fn free(
        &self,
        locks: &Mutex<LockTable>,
        free: impl FnOnce(&mut LockTable),
    ) -> Result<RangeResponse, RangeError> {
        let state = self.state.lock();
        if state.handed_over != 0 {
            return Err(RangeError::NotLeader { range: self.range, leader: None });
        }
        free(&mut locks.lock());
        Ok(RangeResponse::Done)
    }

    /// Takes the locks of the leader before, should this node be the next. Not if it leads already: the
    /// message may be late, and what is held here counts.
    pub fn expect_leadership(&self, span: &Span, take: impl FnOnce()) {
        let mut state = self.state.lock();
        if state.term == 0 {
            take();
            state.inherited = true;
            state.locked = Some(span.clone());
        }
    }

    /// This range is the right half of a split of `left`: `spans` are theirs.
    pub fn inherit(&self, left: &Gate, spans: [&Span; 2]) {
        let (kept, max_ts, undrawn) = {
            let mut left = left.state.lock();
            left.intents = None;
            if let Some(locked) = &mut left.locked {
                locked.clone_from(spans[0]);
            }
            // One that is handing over has kept its locks so far, too; so has one that inherited them
            // and serves nothing yet.
            left.flights.dead.clear();
            (left.term != 0 || left.handed_over != 0 || left.inherited, left.max_ts, left.undrawn)
        };
        let mut state = self.state.lock();
        state.max_ts = state.max_ts.max(max_ts);
        state.undrawn = state.undrawn.max(undrawn);
        state.inherited = kept;
        state.locked = kept.then(|| spans[1].clone());
    }
}

impl Place<'_> {
    /// Lets a request in: this node leads, and what it remembers belongs to the present term.
    pub(super) async fn admit(&self) -> Result<Admission, RangeError> {
        loop {
            let term = match self.group.leadership() {
                Leadership::Serving { term } | Leadership::Unconfirmed { term } => term,
                Leadership::Follower => return Err(self.not_leader()),
            };
            let descriptor = self.group.descriptor();
            if self.gate.state.lock().term == term {
                return Ok(Admission { term, descriptor });
            }
            self.start(term).await?;
        }
    }

    /// As `admit`, for what will be proposed: without a quorum it is refused now, while it is
    /// certain that nothing was done.
    pub(super) async fn admit_effects(&self) -> Result<Admission, RangeError> {
        let admission = self.admit().await?;
        if let Leadership::Unconfirmed { .. } = self.group.leadership() {
            self.confirm().await?;
        }
        Ok(admission)
    }

    async fn confirm(&self) -> Result<(), RangeError> {
        let confirmed = self.group.confirm_leadership();
        match tokio::time::timeout(CONFIRM_TIMEOUT, confirmed).await {
            Ok(confirmed) => Ok(confirmed?),
            Err(_) => Err(RangeError::NoQuorum {
                range: self.gate.range,
                reason: format!("no quorum answered within {CONFIRM_TIMEOUT:?}"),
            }),
        }
    }

    /// Rule 2: serves only after an entry of the term is applied and `max_ts` comes from an oracle
    /// timestamp drawn after that.
    async fn start(&self, term: u64) -> Result<(), RangeError> {
        let _one = self.gate.starting.lock().await;
        {
            let state = self.gate.state.lock();
            if state.term == term {
                return Ok(());
            }
            if state.handed_over == term {
                return Err(RangeError::NotLeader { range: self.gate.range, leader: None });
            }
        }
        if self.group.leadership() != (Leadership::Serving { term }) {
            self.confirm().await?;
        }
        let drawn = if self.group.range() == SYSTEM_RANGE {
            self.start_oracle(term).await?
        } else {
            let source = self.evaluator.source.get();
            let source = source.ok_or_else(|| KvError::Internal("no oracle connected".into()))?;
            source.draw().await?
        };
        let span = self.group.descriptor().span.clone();
        let intents = if self.finds_intents(&span, None) { None } else { Some(0) };
        let hidden = hidden::load(self.engine(), &span.start)?;
        if !self.leads(term).await? {
            return Ok(());
        }
        let mut state = self.gate.state.lock();
        if state.handed_over == term {
            return Err(RangeError::NotLeader { range: self.gate.range, leader: None });
        }
        if !std::mem::take(&mut state.inherited) {
            self.evaluator.locks.lock().leave(&span);
        }
        if state.flights_of != term {
            state.flights.clear();
            state.flights_of = term;
            // Else what is remembered is of this term, and what is in flight is about to change it.
            state.hidden = (!hidden.is_empty()).then(|| Arc::new(hidden));
        }
        state.max_ts = state.max_ts.max(drawn);
        state.pushes.start_above(drawn);
        state.since = self.now();
        state.intents = intents.filter(|_| state.flights.is_empty());
        state.locked = Some(span);
        state.term = term;
        tracing::debug!(range = %self.gate.range, term, max_ts = %state.max_ts, "serving");
        Ok(())
    }

    /// Whether readers of `span`, the range's, must look for intents. What is not known is looked up
    /// while nothing is in flight, since then the engine holds all that was proposed.
    pub(super) fn may_have_intents(&self, state: &mut GateState, span: &Span) -> bool {
        if state.intents.is_none() && state.flights.is_empty() {
            let now = self.now();
            if now >= state.review_at {
                state.review_at = now + REVIEW_INTERVAL;
                state.intents = (!self.finds_intents(span, Some(TRACES_MAX))).then_some(0);
            }
        }
        state.intents != Some(0)
    }

    /// False only if there certainly are none. Gives up after `skips_max` traces.
    fn finds_intents(&self, span: &Span, skips_max: Option<u64>) -> bool {
        let (lower, upper) = storage::keyspace::span_bounds(span);
        let options =
            storage::IterOptions { lower: Some(lower), upper, skips_max, ..Default::default() };
        let mut cursor = self.engine().iter(storage::Cf::Lock, options);
        cursor.seek_to_first();
        cursor.valid() || cursor.status().is_err()
    }

    /// Whether this node leads in `term` now; asks a quorum if the lease does not say.
    async fn leads(&self, term: u64) -> Result<bool, RangeError> {
        match self.group.leadership() {
            Leadership::Serving { term: now } => Ok(now == term),
            Leadership::Unconfirmed { term: now } if now == term => {
                self.confirm().await?;
                Ok(match self.group.leadership() {
                    Leadership::Serving { term: now } | Leadership::Unconfirmed { term: now } => {
                        now == term
                    }
                    Leadership::Follower => false,
                })
            }
            Leadership::Unconfirmed { .. } | Leadership::Follower => Ok(false),
        }
    }

    /// Asked after the data were read: was the admission valid all the while?
    pub(super) async fn still(&self, admission: &Admission) -> Result<bool, RangeError> {
        Ok(self.leads(admission.term).await?
            && self.group.descriptor().generation == admission.descriptor.generation)
    }
}

impl GateState {
    /// A read at `at` is about to be served (rule 1).
    pub fn raise(&mut self, at: Timestamp) {
        if !is_planted(PlantedBug::ReadsRaiseNothing) {
            self.max_ts = self.max_ts.max(at);
        }
    }

    /// A version lies at `at` whose transaction is to commit above it; `drawn` was drawn.
    pub fn raise_to_version(&mut self, at: Timestamp, drawn: Timestamp) {
        if at > self.max_ts {
            self.max_ts = at;
            self.undrawn = if at > drawn { at } else { Timestamp::ZERO };
        }
    }

    /// Whether a commit above `max_ts` must wait for the oracle.
    pub fn is_ahead_of_oracle(&self) -> bool {
        self.max_ts == self.undrawn && self.undrawn != Timestamp::ZERO
    }

    /// So many keys have an intent less.
    pub fn forget_intents(&mut self, keys: usize) {
        self.intents = self.intents.map(|known| known.saturating_sub(keys));
    }

    /// A flight of anybody else on one of `keys`.
    pub fn latched<'k>(
        &self,
        mut keys: impl Iterator<Item = &'k core_domain::Key>,
    ) -> Option<Arc<Flight>> {
        keys.find_map(|key| self.flights.on(key).cloned())
    }
}
