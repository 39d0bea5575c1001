//! What ends a statement before it is done: a cancel request, `statement_timeout`,
//! `transaction_timeout`; and a wait for a lock: `lock_timeout`.
//!
//! Nothing here makes a timer where none is asked for.

use super::SessionCore;
use crate::error::SqlError;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Times of one statement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub statement: Option<Instant>,
    pub transaction: Option<Instant>,
    pub lock: Option<Duration>,
}

impl Limits {
    /// Returns when the statement must end, and says why.
    pub async fn reached(self, core: &SessionCore) -> SqlError {
        tokio::select! {
            () = core.cancelled() => cancelled(core),
            () = at(self.statement) => timed_out(),
            () = at(self.transaction) => transaction_timed_out(),
        }
    }

    /// As `reached`, for a wait for a lock that begins now.
    pub async fn lock_reached(self, core: &SessionCore) -> SqlError {
        let patience = at(self.lock.map(|limit| Instant::now() + limit));
        tokio::select! {
            error = self.reached(core) => error,
            () = patience => SqlError::new("55P03", "canceling statement due to lock timeout"),
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What `pg_cancel_backend` and `pg_terminate_backend` do to a statement.
pub(crate) fn cancelled(core: &SessionCore) -> SqlError {
    match core.is_terminated() {
        true => SqlError::fatal("57P01", "terminating connection due to administrator command"),
        false => SqlError::new("57014", "canceling statement due to user request"),
    }
}

pub(crate) fn timed_out() -> SqlError {
    SqlError::new("57014", "canceling statement due to statement timeout")
}

pub(crate) fn transaction_timed_out() -> SqlError {
    SqlError::fatal("25P04", "terminating connection due to transaction timeout")
}

/// Errors that came by way of an expression, which knows no severity, and end the connection.
pub(crate) fn ends_connection(error: &SqlError) -> bool {
    matches!(error.sqlstate.as_str(), "57P01" | "57P02" | "25P04")
}
