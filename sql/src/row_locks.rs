//! Locks on rows that could not be had, in PostgreSQL's words.

use crate::context::ExecContext;
use crate::error::SqlError;
use catalog::TableDescriptor;
use core_domain::{IsolationLevel, KvError, LockMode, ReadAt};

/// What to tell of rows of `table` that could not be locked; `to_write`: for UPDATE or DELETE.
pub(crate) async fn refused(
    ctx: &ExecContext,
    table: &TableDescriptor,
    to_write: bool,
    error: KvError,
) -> SqlError {
    match &error {
        KvError::LockNotAvailable { .. } => SqlError::new(
            "55P03",
            format!("could not obtain lock on row in relation \"{}\"", table.name),
        ),
        KvError::Conflict { key, .. } if to_write => {
            let gone = matches!(ctx.txn.get(key, ReadAt::Latest).await, Ok(None));
            let mut error = SqlError::from(error);
            if gone {
                error.message = "could not serialize access due to concurrent delete".to_owned();
            }
            error
        }
        _ => error.into(),
    }
}

/// Whether rows locked in `mode` are answered as the snapshot has them, though they may have
/// changed: who only keeps a row from being deleted is in nobody's way, nor they in its.
pub(crate) fn keeps_snapshot(ctx: &ExecContext, mode: LockMode) -> bool {
    mode == LockMode::KeyShare && ctx.txn.options().isolation != IsolationLevel::ReadCommitted
}
