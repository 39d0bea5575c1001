//! COPY FROM STDIN as the wire drives it.

use super::Session;
use super::transaction::Block;
use crate::copy;
use crate::error::{SqlError, SqlResult};
use crate::outcome::{CopyIn, Outcome};
use crate::prepared::{Prepared, VersionedPlan};
use bytes::Bytes;
use planner::Plan;
use std::sync::Arc;

impl Session {
    pub(super) async fn begin_copy_in(
        &mut self,
        plan: &Arc<VersionedPlan>,
        prepared: &Arc<Prepared>,
    ) -> SqlResult<Outcome> {
        let alone = self.txn.block == Block::None;
        let versioned = self.hold_tables(plan, prepared).await?;
        let Plan::Copy(plan) = &versioned.planned.plan else {
            return Err(SqlError::internal("COPY has become another statement"));
        };
        let ctx = self.begin_statement(&versioned, Arc::from([])).await?;
        let copy = copy::begin_in(plan, versioned.clone(), ctx, alone)?;
        Ok(Outcome::CopyIn(Box::new(copy)))
    }

    /// More data of a COPY FROM STDIN, cut anywhere.
    ///
    /// # Errors
    /// A bad line or row; the COPY is over and the session has noted it.
    pub async fn copy_write(&mut self, copy: &mut CopyIn, chunk: Bytes) -> SqlResult<()> {
        let cancelled = self.core.clone();
        let result = tokio::select! {
            biased;
            result = copy.state.write(&chunk) => result,
            () = cancelled.cancelled() => {
                Err(SqlError::new("57014", "canceling statement due to user request"))
            }
        };
        if let Err(error) = result {
            return Err(self.end_copy(copy, error).await);
        }
        Ok(())
    }

    /// CopyDone: answers the tag.
    ///
    /// # Errors
    /// As `copy_write`, or the commit's.
    pub async fn copy_finish(&mut self, mut copy: Box<CopyIn>) -> SqlResult<String> {
        let rows = match copy.state.finish().await {
            Ok(rows) => rows,
            Err(error) => return Err(self.end_copy(&copy, error).await),
        };
        self.last_guarantee = Some(copy.state.ctx().txn.guarantee());
        if copy.state.is_alone() {
            self.commit().await?;
        }
        Ok(format!("COPY {rows}"))
    }

    /// CopyFail, or a lost connection: answers the error to send.
    pub async fn copy_fail(&mut self, copy: Box<CopyIn>, reason: &str) -> SqlError {
        let error = SqlError::new("57014", format!("COPY from stdin failed: {reason}"))
            .with_context(copy.state.context());
        self.end_copy(&copy, error).await
    }

    async fn end_copy(&mut self, copy: &CopyIn, error: SqlError) -> SqlError {
        if copy.state.is_alone() {
            self.abort().await;
        } else {
            self.note_failure();
        }
        error
    }
}
