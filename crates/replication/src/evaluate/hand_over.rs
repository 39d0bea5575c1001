//! A leader gives way to another: rule 2's second half.
//!
//! ```text
//! old leader                                              new leader
//! nothing is evaluated any more; what is in flight lands
//! what is locked ────────────────────────────────────────▶ taken over, before it leads
//! Raft's transfer ───────────────────────────────────────▶ leads, starts, keeps the locks
//! waiters are told to ask there
//! ```
//!
//! Locks are only memory: where any of this fails, transactions may lose a race, never an update.

use super::{Evaluator, Group, RangeError};
use crate::descriptor::RangeDescriptor;
use crate::replica::Leadership;
use core_domain::{Key, LockMode, RangeId, TxnId};
use std::sync::Arc;
use std::time::Duration;

/// What is in flight longer is not waited for.
const LANDING_TIMEOUT: Duration = Duration::from_millis(500);
const LANDING_CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// Locks that are held: by whom, on what, how.
pub type HeldLocks = Vec<(TxnId, Key, LockMode)>;

impl Evaluator {
    /// Stops evaluating for a range that is led here, and answers its locks.
    ///
    /// # Errors
    /// `NotLeader` if it is not.
    pub async fn hand_over(&self, group: &Arc<dyn Group>) -> Result<HeldLocks, RangeError> {
        let not_leader = || RangeError::NotLeader { range: group.range(), leader: group.leader() };
        let term = match group.leadership() {
            Leadership::Serving { term } | Leadership::Unconfirmed { term } => term,
            Leadership::Follower => return Err(not_leader()),
        };
        let flights = self.gate(group.range()).give_way(term);
        let landed = async {
            for flight in &flights {
                flight.landed().await;
                // Whoever proposed it holds it until its locks are free.
                while Arc::strong_count(flight) > 1 {
                    tokio::time::sleep(LANDING_CHECK_INTERVAL).await;
                }
            }
        };
        if tokio::time::timeout(LANDING_TIMEOUT, landed).await.is_err() {
            tracing::info!(range = %group.range(), "handed over with entries in flight");
        }
        Ok(self.locks.lock().held_in(&group.descriptor().span))
    }

    /// The hand-over failed: if this node still leads, it serves again, with the locks that it has.
    pub fn resume(&self, range: RangeId) {
        self.gate(range).resume();
    }

    /// At the node that is to lead `descriptor`'s range: takes the locks that come along.
    pub fn take_over(&self, descriptor: &RangeDescriptor, held: HeldLocks) {
        let take = || self.locks.lock().take_over(&descriptor.span, held, self.expiry());
        self.gate(descriptor.range).expect_leadership(&descriptor.span, take);
    }
}
