//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT: the transaction's state machine.

use super::statement::failed_block;
use super::transaction::{AtCommit, Block, Savepoint, Transaction};
use super::{Session, now_micros};
use crate::ddl;
use crate::error::{SqlError, SqlResult};
use crate::outcome::Outcome;
use crate::settings::isolation_level;
use crate::settings::registry::at;
use crate::table_locks::TableGuards;
use planner::{TxnModes, TxnPlan};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl Session {
    pub(super) async fn control(&mut self, plan: &TxnPlan) -> SqlResult<Outcome> {
        let tag = match plan {
            TxnPlan::Begin(modes) => self.begin(modes)?,
            TxnPlan::BeginPast { modes, as_of } => self.begin_past(modes, as_of).await?,
            TxnPlan::Commit { chain } => self.commit_command(*chain).await?,
            TxnPlan::Rollback { chain } => self.rollback_command(*chain).await?,
            TxnPlan::Savepoint(name) => self.savepoint(name)?,
            TxnPlan::Release(name) => self.release_savepoint(name)?,
            TxnPlan::RollbackTo(name) => self.rollback_to(name).await?,
            TxnPlan::SetTransaction(modes) => {
                if self.txn.block == Block::None {
                    self.core.notice(SqlError::warning(
                        "25P01",
                        "SET TRANSACTION can only be used in transaction blocks",
                    ));
                } else {
                    self.set_modes(modes)?;
                }
                "SET"
            }
            TxnPlan::SetSessionCharacteristics(modes) => {
                self.set_characteristics(modes)?;
                "SET"
            }
            TxnPlan::SetConstraints { deferred: false, .. } => "SET CONSTRAINTS",
            TxnPlan::SetConstraints { deferred: true, .. } => {
                return Err(SqlError::unsupported("SET CONSTRAINTS ... DEFERRED"));
            }
        };
        Ok(Outcome::Complete { tag: tag.to_owned() })
    }

    /// Several statements of one simple query, or a pipeline until Sync, are one transaction.
    /// Idempotent; nothing in a transaction block.
    pub fn begin_implicit(&mut self) {
        if self.txn.block == Block::None {
            self.start_transaction(now_micros());
            self.txn.block = Block::Implicit;
            self.core.in_transaction.store(true, Ordering::Release);
        }
    }

    /// Commits what `begin_implicit` began, or rolls it back after an error. Nothing if there is
    /// none, or if BEGIN has turned it into a block.
    ///
    /// # Errors
    /// The commit failed; everything was rolled back.
    pub async fn end_implicit(&mut self) -> SqlResult<()> {
        if self.txn.block != Block::Implicit {
            return Ok(());
        }
        if self.has_failed() {
            self.abort().await;
            return Ok(());
        }
        self.commit().await
    }

    pub(super) fn start_transaction(&mut self, now: i64) {
        self.txn = Transaction {
            isolation: self.effective.default_isolation,
            read_only: self.effective.default_read_only,
            started_at: now,
            deadline: self.effective.transaction_timeout.map(|limit| Instant::now() + limit),
            ..Transaction::default()
        };
    }

    pub(super) fn begin(&mut self, modes: &TxnModes) -> SqlResult<&'static str> {
        match self.txn.block {
            Block::Explicit => {
                self.core.notice(SqlError::warning(
                    "25001",
                    "there is already a transaction in progress",
                ));
                return Ok("BEGIN");
            }
            // What the query has done so far becomes part of the block.
            Block::Implicit => self.txn.block = Block::Explicit,
            Block::None => {
                self.start_transaction(now_micros());
                self.txn.block = Block::Explicit;
            }
        }
        self.core.in_transaction.store(true, Ordering::Release);
        self.publish_modes();
        self.publish_default_deferrable();
        self.set_modes(modes)?;
        Ok("BEGIN")
    }

    fn set_modes(&mut self, modes: &TxnModes) -> SqlResult<()> {
        if let Some(isolation) = modes.isolation
            && isolation != self.txn.isolation
        {
            if self.txn.snapshot_catalog.is_some() {
                return Err(SqlError::new(
                    "25001",
                    "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                ));
            }
            self.txn.isolation = isolation;
        }
        if let Some(read_only) = modes.read_only {
            let too_late = self.txn.snapshot_catalog.is_some() || self.txn.as_of.is_some();
            if self.txn.read_only && !read_only && too_late {
                return Err(SqlError::new(
                    "25001",
                    "transaction read-write mode must be set before any query",
                ));
            }
            self.txn.read_only = read_only;
        }
        if let Some(deferrable) = modes.deferrable {
            if self.txn.snapshot_catalog.is_some() {
                return Err(SqlError::new(
                    "25001",
                    "SET TRANSACTION [NOT] DEFERRABLE must be called before any query",
                ));
            }
            // Every snapshot here is safe at once: there is nothing to wait for.
            let value = if deferrable { "on" } else { "off" };
            self.core.settings.lock().publish(at::TRANSACTION_DEFERRABLE, value.into());
        }
        self.publish_modes();
        Ok(())
    }

    fn publish_default_deferrable(&self) {
        let mut settings = self.core.settings.lock();
        let default = settings.get(at::DEFAULT_DEFERRABLE).to_string();
        settings.publish(at::TRANSACTION_DEFERRABLE, default.into());
    }

    /// What `SHOW transaction_isolation` answers.
    fn publish_modes(&self) {
        let mut settings = self.core.settings.lock();
        settings.publish(at::TRANSACTION_ISOLATION, self.txn.isolation.as_str().into());
        let read_only = if self.txn.read_only { "on" } else { "off" };
        settings.publish(at::TRANSACTION_READ_ONLY, read_only.into());
    }

    /// `SET transaction_isolation = ...`.
    pub(super) fn set_mode_setting(&mut self, at: usize, value: &str) -> SqlResult<()> {
        let mut modes = TxnModes::default();
        match at {
            at::TRANSACTION_ISOLATION => modes.isolation = Some(isolation_level(value)),
            _ => modes.read_only = Some(value == "on"),
        }
        if self.txn.block == Block::None { Ok(()) } else { self.set_modes(&modes) }
    }

    fn set_characteristics(&mut self, modes: &TxnModes) -> SqlResult<()> {
        if let Some(isolation) = modes.isolation {
            self.core.set("default_transaction_isolation", isolation.as_str(), false)?;
        }
        if let Some(read_only) = modes.read_only {
            let value = if read_only { "on" } else { "off" };
            self.core.set("default_transaction_read_only", value, false)?;
        }
        if let Some(deferrable) = modes.deferrable {
            let value = if deferrable { "on" } else { "off" };
            self.core.set("default_transaction_deferrable", value, false)?;
        }
        Ok(())
    }

    async fn commit_command(&mut self, chain: bool) -> SqlResult<&'static str> {
        let (block, modes) = (self.txn.block, self.modes());
        let tag = if self.has_failed() {
            self.abort().await;
            "ROLLBACK"
        } else {
            if block != Block::Explicit {
                self.warn_no_transaction(chain)?;
            }
            self.commit().await?;
            "COMMIT"
        };
        self.chain(chain, block, &modes)?;
        Ok(tag)
    }

    async fn rollback_command(&mut self, chain: bool) -> SqlResult<&'static str> {
        let (block, modes) = (self.txn.block, self.modes());
        if block != Block::Explicit {
            self.warn_no_transaction(chain)?;
        }
        self.abort().await;
        self.chain(chain, block, &modes)?;
        Ok("ROLLBACK")
    }

    fn chain(&mut self, chain: bool, block: Block, modes: &TxnModes) -> SqlResult<()> {
        match (chain, block) {
            (true, _) => self.begin(modes).map(|_| ()),
            // The statements that follow in the same query are one transaction again.
            (false, Block::Implicit) => {
                self.begin_implicit();
                Ok(())
            }
            (false, Block::None | Block::Explicit) => Ok(()),
        }
    }

    fn modes(&self) -> TxnModes {
        TxnModes {
            isolation: Some(self.txn.isolation),
            read_only: Some(self.txn.read_only),
            deferrable: None,
        }
    }

    fn warn_no_transaction(&self, chain: bool) -> SqlResult<()> {
        if chain {
            return Err(SqlError::new(
                "25P01",
                "COMMIT AND CHAIN can only be used in transaction blocks",
            ));
        }
        self.core.notice(SqlError::warning("25P01", "there is no transaction in progress"));
        Ok(())
    }

    fn savepoint(&mut self, name: &str) -> SqlResult<&'static str> {
        if !self.txn.is_explicit() {
            return Err(no_block("SAVEPOINT"));
        }
        let savepoint = Savepoint {
            name: name.to_owned(),
            kv: self.txn.kv.as_ref().map(|kv| kv.savepoint()),
            settings_mark: self.core.settings.lock().mark(),
            guards_mark: self.txn.guards.as_ref().map_or(0, TableGuards::mark),
            advisory_mark: self.core.advisory.mark(),
            catalog: self.txn.catalog.clone(),
            at_commit: self.txn.at_commit.clone(),
        };
        self.txn.savepoints.push(savepoint);
        Ok("SAVEPOINT")
    }

    fn release_savepoint(&mut self, name: &str) -> SqlResult<&'static str> {
        if !self.txn.is_explicit() {
            return Err(no_block("RELEASE SAVEPOINT"));
        }
        let at = self.find_savepoint(name)?;
        self.txn.savepoints.truncate(at);
        Ok("RELEASE")
    }

    async fn rollback_to(&mut self, name: &str) -> SqlResult<&'static str> {
        if !self.txn.is_explicit() {
            return Err(no_block("ROLLBACK TO SAVEPOINT"));
        }
        let at = self.find_savepoint(name)?;
        self.txn.savepoints.truncate(at + 1);
        self.undo_to_savepoint().await?;
        let savepoint = &self.txn.savepoints[at];
        self.txn.catalog.clone_from(&savepoint.catalog);
        self.txn.at_commit.clone_from(&savepoint.at_commit);
        self.core.settings.lock().rollback_to(savepoint.settings_mark);
        self.txn.failed = false;
        self.txn.stream_failed.store(false, Ordering::Release);
        self.renew_effective();
        Ok("ROLLBACK")
    }

    /// Undoes the writes since the latest savepoint, and frees what was locked since.
    async fn undo_to_savepoint(&mut self) -> SqlResult<()> {
        let Some(savepoint) = self.txn.savepoints.last() else { return Ok(()) };
        if let (Some(kv), Some(mark)) = (&self.txn.kv, savepoint.kv) {
            kv.rollback_to(mark)?;
            if let Err(error) = kv.release_since(mark).await {
                tracing::debug!(txn = %kv.id(), %error, "locks left to the transaction's end");
            }
        }
        if let Some(guards) = &mut self.txn.guards {
            guards.release_to(savepoint.guards_mark);
        }
        self.core.advisory.rollback_to(savepoint.advisory_mark).await;
        Ok(())
    }

    /// If a block is open, it has failed just now: as in PostgreSQL, what it holds is free at once,
    /// back to its latest savepoint, and not when the client gets round to saying ROLLBACK.
    pub(super) async fn give_back(&mut self) {
        if self.txn.block != Block::Explicit {
            return;
        }
        if !self.txn.savepoints.is_empty() {
            if let Err(error) = self.undo_to_savepoint().await {
                tracing::debug!(%error, "locks left to the transaction's end");
            }
            return;
        }
        if let Some(kv) = &self.txn.kv {
            kv.rollback().await;
        }
        self.txn.guards = None;
        self.core.advisory.end_transaction().await;
    }

    fn find_savepoint(&self, name: &str) -> SqlResult<usize> {
        self.txn
            .savepoints
            .iter()
            .rposition(|s| s.name == name)
            .ok_or_else(|| SqlError::new("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    /// Commits whatever is there, and does what was put off until then.
    ///
    /// # Errors
    /// Everything was rolled back, except for 40003.
    pub(super) async fn commit(&mut self) -> SqlResult<()> {
        if self.has_failed() {
            self.abort().await;
            return Err(failed_block());
        }
        // Under a lock that is lost nothing may be committed.
        if self.core.advisory.is_in_use()
            && let Err(error) = self.core.advisory.check().await
        {
            self.abort().await;
            return Err(error);
        }
        self.hold_cursors();
        let txn = std::mem::take(&mut self.txn);
        if let Some(kv) = &txn.kv {
            match kv.commit().await {
                Ok(receipt) => self.saw(receipt.timestamp),
                Err(error) => {
                    // Dropping the transaction rolls it back; a retry must not find its locks.
                    kv.rollback().await;
                    self.core.advisory.end_transaction().await;
                    self.after_rollback();
                    return Err(self.explain_refused_commit(error.into(), txn.isolation));
                }
            }
        }
        if let Some(catalog) = txn.catalog {
            self.server.catalog.install(catalog);
        }
        // The next statement must see the new schema before the tables are free again.
        drop(txn.guards);
        self.after_commit(txn.at_commit);
        self.core.advisory.end_transaction().await;
        self.core.settings.lock().commit();
        self.end_block();
        Ok(())
    }

    fn after_commit(&self, at_commit: AtCommit) {
        for sequence in &at_commit.changed_sequences {
            self.server.sequences.forget(*sequence);
        }
        if !at_commit.dropped_spans.is_empty() || !at_commit.new_groups.is_empty() {
            tokio::spawn(ddl::finish(self.server.clone(), at_commit));
        }
    }

    /// Rolls back whatever is there.
    pub(super) async fn abort(&mut self) {
        let txn = std::mem::take(&mut self.txn);
        if let Some(kv) = &txn.kv {
            kv.rollback().await;
        }
        self.core.advisory.end_transaction().await;
        self.after_rollback();
    }

    fn after_rollback(&mut self) {
        self.core.settings.lock().rollback_to(0);
        self.cursors.retain(|_, cursor| cursor.is_held());
        self.end_block();
    }

    /// The statement was alone and only read: its rows keep the transaction, the session forgets it.
    pub(super) fn release(&mut self) {
        self.txn = Transaction::default();
        if self.core.advisory.is_in_use() {
            let core = self.core.clone();
            tokio::spawn(async move { core.advisory.end_transaction().await });
        }
        self.core.settings.lock().commit();
        self.end_block();
    }

    fn end_block(&mut self) {
        self.open_stream = None;
        self.core.in_transaction.store(false, Ordering::Release);
        self.core.txn_id.store(0, Ordering::Relaxed);
        self.renew_effective();
    }
}

fn no_block(command: &str) -> SqlError {
    SqlError::new("25P01", format!("{command} can only be used in transaction blocks"))
}

/// BEGIN AS OF SYSTEM TIME where something was read already.
pub(super) fn begin_conflict() -> SqlError {
    SqlError::new("25001", "BEGIN AS OF SYSTEM TIME must be called before any query")
}
