//! The extended protocol: statements parsed once, bound to values as portals, executed in parts.
//!
//! Named statements live in the session, which shares them with PREPARE and EXECUTE; the unnamed one
//! and all portals live here. A portal is its statement, its values and, once it runs, the stream of
//! its rows: `Execute` with a row limit takes that many and leaves the rest for the next `Execute`.
//! Portals end with their transaction.
//!
//! Everything up to Sync is one transaction. Where one Execute is all there is, the usual case, the
//! session is not told of a transaction at all, and the statement commits by itself.

use crate::connection::{Connection, Ended};
use crate::failure::Failure;
use crate::frontend::{Bind, Formats, Message, Target};
use crate::rows;
use datum::Datum;
use sql::{ColumnDesc, Outcome, Prepared, RowStream, SqlError, TransactionStatus};
use std::collections::HashMap;
use std::sync::Arc;

/// Statements and portals by name cost memory that only the client can give back.
const PORTALS_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Extended {
    unnamed_statement: Option<Arc<Prepared>>,
    unnamed_portal: Option<Portal>,
    portals: HashMap<Box<str>, Portal>,
    /// After an error: everything until Sync is read and thrown away.
    pub(crate) skipping: bool,
}

struct Portal {
    prepared: Arc<Prepared>,
    /// The format codes of its Bind, as they were sent.
    formats: Box<[u8]>,
    run: Run,
}

enum Run {
    Ready(Vec<Datum>),
    Rows {
        columns: Arc<[ColumnDesc]>,
        rows: RowStream,
    },
    /// Ran to its end; of a query nothing is left, anything else cannot be repeated.
    Done,
}

impl Extended {
    /// A simple query destroys the unnamed statement and the unnamed portal.
    pub(crate) fn forget_unnamed(&mut self) {
        self.unnamed_statement = None;
        self.unnamed_portal = None;
    }

    pub(crate) fn forget_portals(&mut self) {
        self.unnamed_portal = None;
        self.portals.clear();
    }

    fn portal(&self, name: &str) -> Result<&Portal, SqlError> {
        let portal =
            if name.is_empty() { self.unnamed_portal.as_ref() } else { self.portals.get(name) };
        portal.ok_or_else(|| no_portal(name))
    }

    /// Out of the store while it runs: what fails stays out.
    fn take_portal(&mut self, name: &str) -> Result<Portal, SqlError> {
        let portal =
            if name.is_empty() { self.unnamed_portal.take() } else { self.portals.remove(name) };
        portal.ok_or_else(|| no_portal(name))
    }

    fn put_portal(&mut self, name: &str, portal: Portal) {
        if name.is_empty() {
            self.unnamed_portal = Some(portal);
        } else {
            self.portals.insert(name.into(), portal);
        }
    }
}

impl Connection {
    pub(crate) async fn extended_message(&mut self, message: Message<'_>) -> Result<(), Failure> {
        match message {
            Message::Parse { name, sql, types } => {
                let types: Vec<u32> = types.iter().collect();
                self.parse(name, sql, &types).await
            }
            Message::Bind(bind) => self.bind(&bind).inspect_err(|_| self.session.fail()),
            Message::Describe { target, name } => {
                self.describe(target, name).inspect_err(|_| self.session.fail())
            }
            Message::Execute { portal, rows_max } => self.execute(portal, rows_max).await,
            Message::Close { target, name } => {
                self.close(target, name);
                Ok(())
            }
            // The caller hands on the five above only.
            Message::Query(_)
            | Message::Flush
            | Message::Sync
            | Message::CopyData
            | Message::CopyDone
            | Message::CopyFail(_)
            | Message::FunctionCall
            | Message::Password
            | Message::Terminate => Ok(()),
        }
    }

    pub(crate) async fn sync(&mut self) -> Result<(), Failure> {
        if let Err(error) = self.session.end_implicit().await {
            self.send_notices();
            if crate::connection::is_fatal(&error) {
                return Err(error.into());
            }
            self.channel.out.error(&error);
        }
        Ok(())
    }

    async fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> Result<(), Failure> {
        if name.is_empty() {
            self.extended.unnamed_statement = None;
        }
        let prepared = self.session.prepare(sql, types).await?;
        if name.is_empty() {
            self.extended.unnamed_statement = Some(prepared);
        } else {
            self.session.store_prepared(name, prepared)?;
        }
        self.channel.out.parse_complete();
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        if !name.is_empty() {
            return self.session.prepared(name);
        }
        self.extended
            .unnamed_statement
            .clone()
            .ok_or_else(|| SqlError::new("26000", "unnamed prepared statement does not exist"))
    }

    fn bind(&mut self, bind: &Bind<'_>) -> Result<(), Failure> {
        let prepared = self.statement(bind.statement)?;
        let values = rows::parameters(bind, &prepared.param_types, self.session.type_context())?;
        check_result_formats(&prepared, bind.result_formats)?;
        if !bind.portal.is_empty() {
            self.check_new_portal(bind.portal)?;
        }
        let formats = bind.result_formats.as_bytes().into();
        let portal = Portal { prepared, formats, run: Run::Ready(values) };
        self.extended.put_portal(bind.portal, portal);
        self.channel.out.bind_complete();
        Ok(())
    }

    fn check_new_portal(&self, name: &str) -> Result<(), SqlError> {
        let portals = &self.extended.portals;
        if portals.contains_key(name) {
            return Err(SqlError::new("42P03", format!("cursor \"{name}\" already exists")));
        }
        if portals.len() >= PORTALS_MAX {
            return Err(SqlError::new(
                "53000",
                format!("a session may have at most {PORTALS_MAX} open portals"),
            ));
        }
        Ok(())
    }

    fn describe(&mut self, target: Target, name: &str) -> Result<(), Failure> {
        match target {
            Target::Statement => {
                let prepared = self.statement(name)?;
                self.channel.out.parameter_description(&prepared.param_types);
                match &prepared.columns {
                    Some(columns) => self.channel.out.row_description(columns, Formats::TEXT),
                    None => self.channel.out.no_data(),
                }
            }
            Target::Portal => {
                let portal = self.extended.portal(name)?;
                match &portal.prepared.columns {
                    Some(columns) => {
                        let formats = Formats::from_bytes(&portal.formats);
                        self.channel.out.row_description(columns, formats);
                    }
                    None => self.channel.out.no_data(),
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, target: Target, name: &str) {
        match (target, name) {
            (Target::Statement, "") => self.extended.unnamed_statement = None,
            (Target::Statement, name) => self.session.close_prepared(name),
            (Target::Portal, "") => self.extended.unnamed_portal = None,
            (Target::Portal, name) => drop(self.extended.portals.remove(name)),
        }
        self.channel.out.close_complete();
    }

    async fn execute(&mut self, name: &str, rows_max: i32) -> Result<(), Failure> {
        let mut portal = self.extended.take_portal(name).inspect_err(|_| self.session.fail())?;
        if !self.channel.sync_is_next() {
            self.session.begin_implicit();
        }
        self.limits.statement_begins();
        let rows_max = usize::try_from(rows_max).ok().filter(|max| *max > 0);
        let resumed = !matches!(portal.run, Run::Ready(_));
        let ended = self.run_portal(name, &mut portal, rows_max, resumed).await;
        let ended = match ended {
            Ok(ended) => ended,
            Err(failure) => {
                self.send_notices();
                return Err(failure);
            }
        };
        match &ended {
            Some(ended) => self.end_statement(ended),
            None => self.channel.out.portal_suspended(),
        }
        if self.session.status() == TransactionStatus::Idle && ended_transaction(ended.as_ref()) {
            self.extended.forget_portals();
        } else {
            self.extended.put_portal(name, portal);
        }
        Ok(())
    }

    /// Runs a portal, or goes on with it. `None`: its row limit was reached.
    async fn run_portal(
        &mut self,
        name: &str,
        portal: &mut Portal,
        rows_max: Option<usize>,
        resumed: bool,
    ) -> Result<Option<Ended>, Failure> {
        let formats = Formats::from_bytes(&portal.formats);
        let (columns, mut rows) = match std::mem::replace(&mut portal.run, Run::Done) {
            Run::Ready(values) => {
                if rows_max.is_none()
                    && let Some(row) = self.session.try_point(&portal.prepared, &values)
                {
                    let columns = portal.prepared.columns.as_deref().unwrap_or_default();
                    return Ok(Some(self.send_point(columns, row, formats)?));
                }
                match Box::pin(self.session.execute(&portal.prepared, values)).await? {
                    Outcome::Rows { columns, rows } => (columns, rows),
                    Outcome::Complete { tag } => return Ok(Some(Ended::Complete(tag.into()))),
                    Outcome::CopyIn(copy) => return self.copy_in(copy).await.map(Some),
                    Outcome::CopyOut(copy) => return self.copy_out(copy).await.map(Some),
                    Outcome::Empty => return Ok(Some(Ended::Empty)),
                }
            }
            Run::Rows { columns, rows } => (columns, rows),
            Run::Done if portal.prepared.columns.is_some() => {
                return Ok(Some(Ended::Complete("SELECT 0".into())));
            }
            Run::Done => {
                self.session.fail();
                let error = SqlError::new("55000", format!("portal \"{name}\" cannot be run"));
                return Err(error.into());
            }
        };
        let mut sent = 0;
        loop {
            let wanted = rows_max.unwrap_or(usize::MAX) - sent;
            if wanted == 0 {
                portal.run = Run::Rows { columns, rows };
                return Ok(None);
            }
            match self.send_rows(&columns, &mut rows, formats, wanted).await? {
                0 => break,
                count => sent += count,
            }
        }
        let tag = rows.tag();
        // The tag of a later part counts that part.
        let partial = resumed && tag.starts_with("SELECT ");
        let tag = if partial { format!("SELECT {sent}") } else { tag };
        Ok(Some(Ended::Complete(tag.into())))
    }
}

/// COMMIT, ROLLBACK and their like end every portal, the one that ran them included.
fn ended_transaction(ended: Option<&Ended>) -> bool {
    match ended {
        Some(Ended::Complete(tag)) => tag == "COMMIT" || tag == "ROLLBACK",
        Some(Ended::Empty) | None => false,
    }
}

fn check_result_formats(prepared: &Prepared, formats: Formats<'_>) -> Result<(), SqlError> {
    let columns = prepared.columns.as_ref().map_or(0, |columns| columns.len());
    if formats.count() > 1 && formats.count() != columns {
        return Err(SqlError::new(
            "08P01",
            format!(
                "bind message has {} result formats but query has {columns} columns",
                formats.count()
            ),
        ));
    }
    Ok(())
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new("34000", format!("portal \"{name}\" does not exist"))
}
