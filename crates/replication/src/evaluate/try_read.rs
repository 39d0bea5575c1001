//! A read of one key that has nothing to wait for: no future, no request.
//!
//! The same steps as in `read.rs`, in the same order. Whatever would make that one wait or look
//! twice (a lease to confirm, a flight, intents somewhere in the range, keys that moved), or refuse
//! to answer (a snapshot too old), makes this one give up.

use super::Evaluator;
use super::group::Group;
use super::hidden::fates;
use crate::replica::Leadership;
use core_domain::planted::{PlantedBug, is_planted};
use core_domain::{Key, Timestamp};
use storage::mvcc::{PointReader, Version};

impl Evaluator {
    /// The version of `key` at `at`; `None`: ask in the ordinary way.
    pub fn try_get(&self, group: &dyn Group, key: &Key, at: Timestamp) -> Option<Option<Version>> {
        let leadership = group.leadership();
        let Leadership::Serving { term } = leadership else { return None };
        let descriptor = group.descriptor();
        if !descriptor.span.contains(key) {
            return None;
        }
        let gate = self.gate(group.range());
        let view = {
            let mut state = gate.state.lock();
            let in_flight = state.flights.on(key).is_some_and(|flight| flight.min_commit <= at);
            if state.term != term || state.intents != Some(0) || in_flight {
                return None;
            }
            if !is_planted(PlantedBug::ReadsRaiseNothing) {
                state.max_ts = state.max_ts.max(at);
            }
            state.view(None)
        };
        let reading = view.reading(at);
        let mut reader = PointReader::new(&*self.engine, 1).with(fates(&reading));
        let version = reader.at(key, at).ok()?;
        if reading.as_ref().is_some_and(|reading| reading.take_met().is_some()) {
            return None;
        }
        let kept = at >= self.engine.garbage().threshold();
        let still = kept
            && group.leadership() == leadership
            && group.descriptor().generation == descriptor.generation;
        still.then_some(version)
    }
}
