//! What ends a wait: cancel requests, `statement_timeout`, `transaction_timeout`,
//! `idle_session_timeout`, `idle_in_transaction_session_timeout`, `pg_terminate_backend`.
//!
//! `Session::execute` minds its own limits; the rows that a statement streams afterwards are asked
//! for here, and so is everything about a client that says nothing.

use sql::{Session, SqlError, SqlResult, TransactionStatus};
use std::future::pending;
use std::time::Duration;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep, sleep_until};

/// `None` where a timeout is off. Read again only after statements that may have changed it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    idle_session: Option<Duration>,
    idle_in_transaction: Option<Duration>,
    statement: Option<Duration>,
    transaction: Option<Duration>,
    statement_deadline: Option<Instant>,
    /// Of a statement that was its own transaction when it began.
    transaction_deadline: Option<Instant>,
}

impl Limits {
    pub fn read(session: &Session) -> Limits {
        let timeout = |name| session.setting(name).and_then(|value| parse(&value));
        Limits {
            idle_session: timeout("idle_session_timeout"),
            idle_in_transaction: timeout("idle_in_transaction_session_timeout"),
            statement: timeout("statement_timeout"),
            transaction: timeout("transaction_timeout"),
            statement_deadline: None,
            transaction_deadline: None,
        }
    }

    pub fn statement_begins(&mut self) {
        self.statement_deadline = self.statement.map(|timeout| Instant::now() + timeout);
        self.transaction_deadline = self.transaction.map(|timeout| Instant::now() + timeout);
    }

    /// `work`, a part of the running statement, unless the statement is to end before that.
    pub async fn bound<T>(
        &self,
        session: &mut Session,
        work: impl Future<Output = SqlResult<T>>,
    ) -> SqlResult<T> {
        let core = session.core().clone();
        let in_block = session.status() != TransactionStatus::Idle;
        let transaction = match in_block {
            true => session.transaction_deadline(),
            false => self.transaction_deadline,
        };
        let interrupted = if core.is_cancelled() {
            interruption(&core)
        } else {
            // Work that has used up its task's budget must not starve the clock that ends it.
            let end = unconstrained(async {
                tokio::select! {
                    () = core.cancelled() => interruption(&core),
                    error = self.expired(transaction) => error,
                }
            });
            tokio::select! {
                biased;
                done = work => return done,
                interrupted = end => interrupted,
            }
        };
        session.fail();
        Err(interrupted)
    }

    /// Waits until the running statement's time is over, or its transaction's.
    pub async fn expired(&self, transaction: Option<Instant>) -> SqlError {
        tokio::select! {
            () = at(self.statement_deadline) => {
                SqlError::new("57014", "canceling statement due to statement timeout")
            }
            () = at(transaction) => transaction_over(),
        }
    }

    /// Waits until a silent session is to be ended, and says why.
    pub async fn idle(&self, session: &Session) -> SqlError {
        let (timeout, sqlstate, which) = match session.status() {
            TransactionStatus::Idle => (self.idle_session, "57P05", "idle-session timeout"),
            TransactionStatus::InTransaction | TransactionStatus::Failed => {
                (self.idle_in_transaction, "25P03", "idle-in-transaction timeout")
            }
        };
        let silence = async {
            match timeout {
                Some(timeout) => sleep(timeout).await,
                None => pending().await,
            }
        };
        let core = session.core();
        let terminated = async {
            core.cancelled().await;
            // A cancel request finds nothing to cancel in an idle session.
            if !core.is_terminated() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = silence => {
                SqlError::fatal(sqlstate, format!("terminating connection due to {which}"))
            }
            () = terminated => interruption(core),
            () = at(session.transaction_deadline()) => transaction_over(),
        }
    }
}

fn transaction_over() -> SqlError {
    SqlError::fatal("25P04", "terminating connection due to transaction timeout")
}

pub(crate) fn interruption(core: &sql::session::SessionCore) -> SqlError {
    if core.is_terminated() {
        SqlError::fatal("57P01", "terminating connection due to administrator command")
    } else {
        SqlError::new("57014", "canceling statement due to user request")
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// A duration as PostgreSQL writes it: a number and a unit, milliseconds without one; 0 is off.
fn parse(setting: &str) -> Option<Duration> {
    let setting = setting.trim();
    let digits = setting.find(|c: char| !c.is_ascii_digit()).unwrap_or(setting.len());
    let number: u64 = setting[..digits].parse().ok()?;
    let millis = match setting[digits..].trim() {
        "" | "ms" => number,
        "us" => number.div_ceil(1000),
        "s" => number.checked_mul(1000)?,
        "min" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        "d" => number.checked_mul(86_400_000)?,
        _ => return None,
    };
    (millis > 0).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_their_units() {
        let settings =
            [("0", None), ("250", Some(250)), ("5s", Some(5000)), ("2min", Some(120_000))];
        for (setting, millis) in settings {
            assert_eq!(parse(setting), millis.map(Duration::from_millis), "{setting}");
        }
        assert_eq!(parse("off"), None);
    }
}
