//! AS OF SYSTEM TIME: reading what was.
//!
//! ```text
//! SELECT … FROM t AS OF SYSTEM TIME '-10s'       one statement
//! BEGIN AS OF SYSTEM TIME '2026-11-23 12:00+00'  a transaction
//!
//! '-10s'                    an interval before now, which is the oracle's
//! '2026-11-23 12:00:00+00'  a timestamp, with the session's time zone if it names none
//! 465898567680000000        an oracle timestamp, as a decimal number
//! ```
//!
//! Such a transaction only reads. Below the garbage collection's threshold it is refused (72000), in
//! the future too (22023), and where a table has changed since then (0A000): its rows of then are not
//! read by its columns of now.

use super::control::begin_conflict;
use super::transaction::Block;
use super::{Session, now_micros};
use crate::catalog_cache;
use crate::error::{SqlError, SqlResult};
use crate::prepared::VersionedPlan;
use catalog::persistence;
use core_domain::{KvTransaction, ReadAt, Timestamp};
use datum::datetime::{parse_interval, parse_timestamptz};
use planner::TxnModes;

impl Session {
    /// Lets the transaction that is about to be opened read the past.
    pub(super) async fn read_past(&mut self, text: &str) -> SqlResult<()> {
        if self.txn.kv.is_some() {
            // Opened by this statement a moment ago, or by BEGIN with a time of its own.
            return match self.txn.as_of_text.as_deref() == Some(text) {
                true => Ok(()),
                false => Err(SqlError::unsupported(
                    "AS OF SYSTEM TIME in a transaction that reads another time",
                )
                .with_hint("Use BEGIN AS OF SYSTEM TIME.")),
            };
        }
        if self.txn.block == Block::Explicit && self.txn.as_of_text.as_deref() != Some(text) {
            return Err(SqlError::unsupported(
                "AS OF SYSTEM TIME of a statement in a transaction block",
            )
            .with_hint("Use BEGIN AS OF SYSTEM TIME."));
        }
        if self.txn.as_of.is_none() {
            self.txn.as_of = Some(self.moment(text).await?);
            self.txn.as_of_text = Some(text.into());
            self.txn.read_only = true;
        }
        Ok(())
    }

    /// BEGIN AS OF SYSTEM TIME.
    pub(super) async fn begin_past(
        &mut self,
        modes: &TxnModes,
        text: &str,
    ) -> SqlResult<&'static str> {
        if modes.read_only == Some(false) {
            return Err(SqlError::new("42601", "AS OF SYSTEM TIME specified with READ WRITE mode"));
        }
        if self.txn.block != Block::None && self.txn.kv.is_some() {
            return Err(begin_conflict());
        }
        let at = self.moment(text).await?;
        let was_in_block = self.txn.block == Block::Explicit;
        let tag = self.begin(&TxnModes { read_only: Some(true), ..*modes })?;
        if !was_in_block {
            self.txn.as_of = Some(at);
            self.txn.as_of_text = Some(text.into());
        }
        Ok(tag)
    }

    /// The oracle timestamp that `text` means now.
    async fn moment(&self, text: &str) -> SqlResult<Timestamp> {
        let now = self.server.kv.now().await?;
        let at = self.parse_moment(text.trim(), now)?;
        match at <= now {
            true => Ok(at),
            false => Err(invalid(text, "it lies in the future")),
        }
    }

    fn parse_moment(&self, text: &str, now: Timestamp) -> SqlResult<Timestamp> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let raw = text.parse().map_err(|_| invalid(text, "the number is too large"))?;
            return Ok(Timestamp(raw));
        }
        let mut types = self.effective.types.clone();
        types.now = now_micros();
        // A date would do as an interval, too.
        let micros = match parse_timestamptz(text, &types) {
            Ok(micros) => micros,
            Err(no_time) => {
                let interval = parse_interval(text, -1).map_err(|_| no_time)?;
                let micros = interval.span_micros();
                if micros >= 0 {
                    return Err(invalid(text, "an interval must be negative"));
                }
                let back = u64::try_from(-micros).unwrap_or(u64::MAX).div_ceil(1000);
                return Ok(Timestamp::new(now.physical_ms().saturating_sub(back), 0));
            }
        };
        let ms = u64::try_from(micros / 1000).map_err(|_| invalid(text, "it is too long ago"))?;
        match ms <= Timestamp::MAX.physical_ms() {
            true => Ok(Timestamp::new(ms, 0)),
            false => Err(invalid(text, "it lies in the future")),
        }
    }

    /// Refuses tables that are not what they were.
    pub(super) async fn refuse_changed_since(
        &self,
        txn: &dyn KvTransaction,
        plan: &VersionedPlan,
    ) -> SqlResult<()> {
        let version = txn.get(&persistence::version_key(), ReadAt::Snapshot).await?;
        let version =
            version.map(|stored| persistence::decode_version(stored.as_ref())).transpose()?;
        if version == Some(plan.catalog.version()) {
            return Ok(());
        }
        let then = catalog_cache::load(txn, ReadAt::Snapshot).await?;
        for used in &plan.planned.uses {
            let oid = used.relation;
            let table = plan.catalog.table(oid);
            let view = plan.catalog.view(oid);
            let same = then.as_ref().is_some_and(|then| {
                then.table(oid).map(|t| &**t) == table.map(|t| &**t)
                    && then.view(oid).map(|v| &**v) == view.map(|v| &**v)
            });
            let name = table.map(|t| &t.name).or(view.map(|v| &v.name));
            if let (false, Some(name)) = (same, name) {
                let what = "AS OF SYSTEM TIME before the last change of a table's schema";
                return Err(SqlError::unsupported(what)
                    .with_detail(format!("Relation \"{name}\" has changed since then.")));
            }
        }
        Ok(())
    }
}

fn invalid(text: &str, why: &str) -> SqlError {
    let message = format!("invalid value for AS OF SYSTEM TIME: \"{text}\"");
    SqlError::new("22023", message).with_detail(format!("As a point in the past, {why}."))
}
