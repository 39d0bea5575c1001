//! Advisory locks: the lock is all there is, so nothing at commit would notice that it was lost
//! (protocol.md, rule 3). They are leases instead, as long as a transaction's life:
//!
//! ```text
//! holder   every second: Reassert ─▶ Done          not confirmed for TXN_EXPIRY: it gives up by itself
//! leader   held: Done    not held: Aborted          not heard of for TXN_EXPIRY: others may have them
//! new leader, for TXN_EXPIRY: asserted locks are taken over, new ones wait
//! ```
//!
//! A holder was last confirmed before the new leader began to serve. So when that grants a lock to
//! somebody new, each holder has asserted its own there, or knows that it is lost. Only the rate of
//! the monotonic clocks counts.
//!
//! Where a range has one replica, leaders change only with the process, and mostly the sessions with
//! it: new locks do not wait.

use super::lock_table::Acquired;
use super::{Admission, Place, RangeError, RangeResponse, TXN_EXPIRY, check_keys};
use core_domain::{Key, KvError, LockMode, TxnId};
use std::time::Duration;

impl Place<'_> {
    pub(super) async fn reassert(
        &self,
        txn: TxnId,
        asserted: Vec<(Key, LockMode)>,
    ) -> Result<RangeResponse, RangeError> {
        loop {
            let admission = self.admit().await?;
            check_keys(&admission.descriptor, asserted.iter().map(|(key, _)| key))?;
            let may_take_over = self.takes_over(&admission) > Duration::ZERO;
            let expires = self.evaluator.expiry();
            let kept = {
                let mut locks = self.evaluator.locks.lock();
                asserted.iter().all(|(key, mode)| {
                    let held = locks.holds(txn, key, *mode);
                    held || may_take_over && {
                        let acquired = locks.acquire(txn, key, *mode, false, expires);
                        matches!(acquired, Acquired::Granted)
                    }
                })
            };
            if kept {
                self.evaluator.locks.lock().touch(txn, expires);
            }
            if !self.still(&admission).await? {
                continue;
            }
            return match kept {
                true => Ok(RangeResponse::Done),
                false => Err(KvError::Aborted { txn }.into()),
            };
        }
    }

    /// How much longer this leader hears what was held under the one before it.
    pub(super) fn takes_over(&self, admission: &Admission) -> Duration {
        if admission.descriptor.voters().count() < 2 {
            return Duration::ZERO;
        }
        let since = self.gate.state.lock().since;
        (since + TXN_EXPIRY).saturating_sub(self.now())
    }

    /// A new lock waits until the leader knows what is held; false if `deadline` comes first.
    pub(super) async fn await_takeover(
        &self,
        admission: &Admission,
        deadline: Option<Duration>,
    ) -> bool {
        let left = self.takes_over(admission);
        let patience = deadline.map_or(left, |at| at.saturating_sub(self.now()).min(left));
        tokio::time::sleep(patience).await;
        patience == left
    }
}
