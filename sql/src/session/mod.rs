//! One client's conversation: its settings, its transaction, its prepared statements and cursors.
//!
//! ```text
//! core.rs         the part that functions and other sessions see
//! transaction.rs  the transaction's state
//! planning.rs     text to plan: plan cache, re-planning when the catalog has moved
//! begin.rs        where a statement begins: transaction, tables, snapshot
//! point.rs        one row by its key, the shortest way
//! statement.rs    running a plan: retries, time-outs, cancel
//! lost_race.rs    40001: begin again, or say why not
//! past.rs         AS OF SYSTEM TIME
//! control.rs      BEGIN, COMMIT, SAVEPOINT, ...
//! command.rs      SET, SHOW, PREPARE, DISCARD, ...
//! cursor.rs       DECLARE, FETCH, CLOSE
//! copying.rs      COPY's calls from the wire
//! facts.rs        what SQL functions may ask
//! advisory.rs     pg_advisory_lock and its kin
//! limits.rs       what ends a statement before it is done
//! ```

pub(crate) mod advisory;
mod begin;
mod command;
mod control;
mod copying;
pub(crate) mod core;
mod cursor;
mod facts;
pub(crate) mod limits;
mod lost_race;
mod past;
mod planning;
mod point;
mod ranges;
pub(crate) mod statement;
pub(crate) mod transaction;

pub use core::{Activity, SessionCore};
pub(crate) use facts::Deadline;
pub(crate) use point::PointPlan;

use crate::error::{Notice, SqlError, SqlResult};
use crate::prepared::Prepared;
use crate::server::Server;
use crate::settings::Effective;
use crate::settings::registry::at;
use catalog::DatabaseDescriptor;
use core_domain::{CausalToken, Guarantee, Timestamp};
use datum::TypeContext;
use std::collections::HashMap;
use std::sync::Arc;
use transaction::{Block, Transaction};

/// The byte of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

pub struct Session {
    pub(crate) server: Arc<Server>,
    core: Arc<SessionCore>,
    database: Arc<DatabaseDescriptor>,
    /// The login role's OID, zero if the catalog does not know the name.
    role: u32,
    /// A copy of what the core's settings say, renewed after each statement.
    effective: Arc<Effective>,
    pub(crate) txn: Transaction,
    prepared: HashMap<String, Arc<Prepared>>,
    cursors: HashMap<String, cursor::Cursor>,
    /// A stream that the client has not finished, in a transaction that goes on.
    open_stream: Option<statement::OpenStream>,
    last_guarantee: Option<Guarantee>,
    /// The causal token's timestamp: everything this session has seen.
    seen: Timestamp,
    dots: Vec<core_domain::token::Dot>,
    token_published: Timestamp,
    /// The text of a statement that is run by a template's plan.
    shown_text: Option<Arc<str>>,
}

impl Session {
    pub(crate) async fn open(
        server: Arc<Server>,
        core: Arc<SessionCore>,
        database: Arc<DatabaseDescriptor>,
        role: u32,
    ) -> SqlResult<Self> {
        let effective = core.effective();
        let mut session = Self {
            server,
            core,
            database,
            role,
            effective,
            txn: Transaction::default(),
            prepared: HashMap::new(),
            cursors: HashMap::new(),
            open_stream: None,
            last_guarantee: None,
            seen: Timestamp::ZERO,
            dots: Vec::new(),
            token_published: Timestamp::ZERO,
            shown_text: None,
        };
        // A token given as a connection option is checked like one given by SET.
        let token = session.core.settings.lock().get(at::CAUSAL_TOKEN).to_string();
        if !token.is_empty() {
            session.accept_token(&token).await?;
        }
        session.core.settings.lock().take_changes();
        Ok(session)
    }

    /// For BackendKeyData: process id and secret.
    pub fn backend_key(&self) -> (i32, i32) {
        (self.core.pid, self.core.secret)
    }

    pub fn core(&self) -> &Arc<SessionCore> {
        &self.core
    }

    /// ParameterStatus at start-up: server_version, client_encoding, DateStyle, TimeZone, ...
    pub fn parameters(&self) -> Vec<(String, String)> {
        self.core.settings.lock().reported()
    }

    /// ParameterStatus since the last call, causal_token after each transaction included.
    pub fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        self.publish_token();
        self.core.settings.lock().take_changes()
    }

    pub fn take_notices(&mut self) -> Vec<Notice> {
        let wanted = severity_rank(self.core.settings.lock().get(at::CLIENT_MIN_MESSAGES));
        let mut notices = self.core.take_notices();
        notices.retain(|notice| severity_rank(notice.severity.as_str()) >= wanted);
        notices
    }

    pub fn status(&self) -> TransactionStatus {
        match (self.txn.block, self.has_failed()) {
            (Block::None | Block::Implicit, _) => TransactionStatus::Idle,
            (Block::Explicit, false) => TransactionStatus::InTransaction,
            (Block::Explicit, true) => TransactionStatus::Failed,
        }
    }

    /// For reading and printing values as text.
    pub fn type_context(&self) -> &TypeContext {
        &self.effective.types
    }

    /// A setting as SHOW prints it.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.core.settings.lock().show(name).ok()
    }

    /// How `regclass`, `regtype` and their kin print: names instead of numbers. `None`: as a number.
    pub fn reg_name(&self, ty: &datum::SqlType, oid: u32) -> Option<String> {
        planning::reg_name(self, ty, oid)
    }

    /// Rolls back; the connection is gone.
    pub async fn close(mut self) {
        self.abort().await;
        self.core.advisory.close().await;
    }

    /// When `transaction_timeout` ends the running transaction, and the connection with it.
    pub fn transaction_deadline(&self) -> Option<tokio::time::Instant> {
        // A block that has failed waits for its ROLLBACK only.
        self.txn.deadline.filter(|_| !self.has_failed())
    }

    /// Whether `pg_terminate_backend` or a shutdown asks the connection to end.
    pub fn termination(&self) -> Option<SqlError> {
        if self.core.is_terminated() {
            return Some(SqlError::fatal(
                "57P01",
                "terminating connection due to administrator command",
            ));
        }
        if self.server.is_shutting_down() && self.txn.block == Block::None {
            return Some(SqlError::fatal(
                "57P01",
                "terminating connection because the node is shutting down",
            ));
        }
        None
    }

    // ---- causal token and receipt ----

    /// `SET causal_token`: from now on nothing older than it is shown.
    async fn accept_token(&mut self, text: &str) -> SqlResult<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let config = &self.server.config;
        let open = |now| CausalToken::open(text, &config.token_key, config.cluster, now);
        let token = match open(self.server.newest_seen()) {
            // Another node may have given it out: ask the oracle before calling it the future.
            Err(core_domain::TokenError::FromTheFuture) => open(self.server.kv.now().await?),
            answer => answer,
        };
        let token = token.map_err(|error| {
            SqlError::new("22023", format!("invalid value for parameter \"causal_token\": {error}"))
        })?;
        self.seen = self.seen.max(token.timestamp);
        for dot in token.dots {
            if let Err(at) = self.dots.binary_search(&dot) {
                self.dots.insert(at, dot);
            }
        }
        self.publish_token();
        Ok(())
    }

    fn saw(&mut self, timestamp: Timestamp) {
        if timestamp > self.seen {
            self.seen = timestamp;
            self.server.saw(timestamp);
        }
    }

    /// Makes the token as text, if it has moved and somebody is about to see it.
    fn publish_token(&mut self) {
        if self.seen == self.token_published {
            return;
        }
        self.token_published = self.seen;
        let config = &self.server.config;
        let token =
            CausalToken { cluster: config.cluster, timestamp: self.seen, dots: self.dots.clone() };
        let text = token.seal(&config.token_key);
        self.core.settings.lock().publish(at::CAUSAL_TOKEN, text.into());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.server.forget(self.core.pid);
    }
}

fn severity_rank(name: &str) -> u8 {
    match name.to_ascii_lowercase().as_str() {
        "debug5" | "debug4" | "debug3" | "debug2" | "debug1" | "debug" => 0,
        "log" => 1,
        "notice" => 2,
        "warning" => 3,
        "error" => 4,
        // INFO always reaches the client.
        _ => 5,
    }
}

/// Microseconds since 1970 UTC.
pub(crate) fn now_micros() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_micros() as i64)
}
