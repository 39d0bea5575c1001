//! Ranges that have grown too large are split in their middle, by the nodes that lead them.
//!
//! ```text
//! every `size_check_interval`:   each range led here ─▶ about how many bytes? ─▶ its middle ─▶ split
//! ```
//!
//! A split is an entry in the range's log: what is under way is evaluated again after it. What this
//! does not do: split by load, merge.

use crate::coordinator::{Shared, TxnCoordinator};
use core_domain::{KvError, KvResult, KvStore};
use replication::{Leadership, Replica, SYSTEM_RANGE};
use std::sync::{Arc, Weak};

pub(crate) async fn watch(shared: Weak<Shared>) {
    loop {
        let Some(tuning) = shared.upgrade().map(|shared| shared.sender.tuning.clone()) else {
            return;
        };
        tokio::time::sleep(tuning.size_check_interval).await;
        let Some(shared) = shared.upgrade() else { return };
        let coordinator = TxnCoordinator::of(shared);
        for replica in coordinator.led_here() {
            if let Err(error) = split_if_large(&coordinator, &replica, tuning.range_bytes_max).await
            {
                tracing::info!(range = %replica.range(), %error, "not split yet");
            }
        }
    }
}

/// The oracle and the catalog stay where they are.
fn may_split(replica: &Replica) -> bool {
    replica.range() != SYSTEM_RANGE && replica.leadership() != Leadership::Follower
}

async fn split_if_large(
    coordinator: &TxnCoordinator,
    replica: &Arc<Replica>,
    bytes_max: u64,
) -> KvResult<()> {
    if !may_split(replica) {
        return Ok(());
    }
    let measured = replica.clone();
    let measuring = tokio::task::spawn_blocking(move || -> replication::Result<_> {
        let bytes = measured.approximate_bytes()?;
        let middle = if bytes > bytes_max { measured.middle()? } else { None };
        Ok(middle.map(|middle| (bytes, middle)))
    });
    let found = measuring.await.map_err(|panic| KvError::Internal(panic.to_string()))?;
    let Some((bytes, middle)) = found? else { return Ok(()) };
    tracing::info!(range = %replica.range(), bytes, at = %middle, "splitting a large range");
    coordinator.split_at(&middle).await
}
