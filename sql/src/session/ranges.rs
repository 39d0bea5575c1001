//! Statements that say where rows are kept: SPLIT, TRANSFER LEADER.

use super::Session;
use super::transaction::Block;
use crate::error::{SqlError, SqlResult};
use crate::outcome::Outcome;
use core_domain::KvStore;
use planner::{RangesPlan, Tag};

impl Session {
    /// Done at once, and not undone by anything: so not in a transaction block.
    pub(super) async fn arrange_ranges(
        &mut self,
        plan: &RangesPlan,
        tag: Tag,
    ) -> SqlResult<Outcome> {
        if self.txn.block != Block::None {
            let what = match plan {
                RangesPlan::SplitAt(_) => format!("{} ... SPLIT", tag.0),
                RangesPlan::TransferLeader { .. } => "ALTER RANGE".to_owned(),
            };
            let message = format!("{what} cannot run inside a transaction block");
            return Err(SqlError::new("25001", message));
        }
        let kv = self.server.kv.clone();
        let (core, limits) = (self.core.clone(), self.limits());
        tokio::select! {
            biased;
            done = carry_out(&*kv, plan) => done?,
            error = limits.reached(&core) => return Err(error),
        }
        Ok(Outcome::Complete { tag: tag.0.to_owned() })
    }
}

async fn carry_out(kv: &dyn KvStore, plan: &RangesPlan) -> SqlResult<()> {
    match plan {
        RangesPlan::SplitAt(keys) => {
            for key in keys {
                kv.split_at(key).await?;
            }
            Ok(())
        }
        RangesPlan::TransferLeader { range, node } => {
            if kv.transfer_leader(*range, *node).await? {
                return Ok(());
            }
            let message = format!("range {} has no voting replica on node {}", range.0, node.0);
            Err(SqlError::new("55000", message))
        }
    }
}
