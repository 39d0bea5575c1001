//! One session's conversation, from its first ReadyForQuery to its end.
//!
//! ```text
//!            ┌────────────── idle: wait for a frame, a drain, an idle timeout ◀───────────┐
//!            ▼                                                                            │
//!      Query ── split, plan, execute each, commit ── ReadyForQuery, flush ────────────────┤
//!      Parse, Bind, Describe, Execute, Close ── answers gather ── (an error: skip) ──┐    │
//!            ▲                                                                       │    │
//!            └───────────────────────────────────────────────────────────────────────┘    │
//!      Sync ── commit ── ReadyForQuery, flush ────────────────────────────────────────────┘
//! ```
//!
//! The loop owns the socket, the buffers and the session; statements run inside it, so a client that
//! does not read slows down nothing but its own query. A panic below ends this session only.
//! The extended protocol is in `extended.rs`, COPY in `copy.rs`.

use crate::channel::{Channel, Frame};
use crate::extended::Extended;
use crate::failure::Failure;
use crate::frontend::{self, Formats, Message};
use crate::limits::Limits;
use crate::serve::goodbye;
use datum::Datum;
use futures::FutureExt as _;
use sql::{
    ColumnDesc, Outcome, Prepared, Row, RowStream, Session, Severity, SqlError, TransactionStatus,
};
use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Rows asked for at a time; between two batches the buffer is relieved and a cancel can strike.
const ROWS_PER_BATCH: usize = 512;

pub struct Connection {
    pub(crate) channel: Channel,
    pub(crate) session: Box<Session>,
    pub(crate) extended: Extended,
    pub(crate) limits: Limits,
    drain: CancellationToken,
}

/// How a statement ended, before the client is told.
pub(crate) enum Ended {
    Complete(Cow<'static, str>),
    Empty,
}

/// What the loop does next.
enum Next {
    Continue,
    Leave,
}

impl Connection {
    pub fn new(channel: Channel, session: Box<Session>, drain: CancellationToken) -> Connection {
        let limits = Limits::read(&session);
        Connection { channel, session, extended: Extended::default(), limits, drain }
    }

    /// Serves the client until one of the two sides has had enough.
    pub async fn run(mut self) {
        let failure = match AssertUnwindSafe(self.converse()).catch_unwind().await {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(_) => {
                // The session's state is anyone's guess: it is dropped, not closed.
                tracing::error!("a session panicked and was ended");
                let error = SqlError::fatal("XX000", "internal error: the session panicked");
                self.channel.out.error(&error);
                goodbye(self.channel).await;
                return;
            }
        };
        if let Some(Failure::Statement(error)) = &failure {
            self.channel.out.error(error);
        }
        let Connection { channel, session, .. } = self;
        if let Some(Failure::Gone(error)) = &failure {
            tracing::debug!(%error, "client left");
        }
        // Locks are given back before the goodbye, which may have to wait for a slow client.
        session.close().await;
        goodbye(channel).await;
    }

    async fn converse(&mut self) -> Result<(), Failure> {
        let drain = self.drain.clone();
        let drained = drain.cancelled();
        tokio::pin!(drained);
        self.ready().await?;
        loop {
            // Also a client that never pauses between its statements hears of a drain.
            if self.drain.is_cancelled() {
                return Err(shutting_down().into());
            }
            let frame = tokio::select! {
                biased;
                frame = self.channel.read_frame() => frame?,
                () = &mut drained => return Err(shutting_down().into()),
                error = self.limits.idle(&self.session) => return Err(error.into()),
            };
            match self.handle(frame).await {
                Ok(Next::Continue) => {}
                Ok(Next::Leave) => return Ok(()),
                Err(Failure::Statement(error)) if is_fatal(&error) => return Err(error.into()),
                Err(Failure::Statement(error)) => self.channel.out.error(&error),
                Err(gone) => return Err(gone),
            }
            self.channel.relieve().await?;
        }
    }

    /// Errors of the extended protocol are noted here, so that the rest up to Sync is skipped.
    async fn handle(&mut self, frame: Frame) -> Result<Next, Failure> {
        if self.extended.skipping && !matches!(frame.tag, b'S' | b'X') {
            return Ok(Next::Continue);
        }
        let message = match frontend::decode(frame.tag, &frame.body) {
            Ok(message) => message,
            Err(malformed) => {
                self.session.fail();
                return self.undecodable(frame.tag, malformed.into()).await;
            }
        };
        match message {
            Message::Query(sql) => {
                self.simple_query(sql).await?;
                self.ready().await?;
            }
            Message::Sync => {
                self.extended.skipping = false;
                self.sync().await?;
                self.ready().await?;
            }
            Message::Flush => self.channel.flush().await?,
            Message::Terminate => return Ok(Next::Leave),
            // What is left of a COPY whose end the client has not heard of yet.
            Message::CopyData | Message::CopyDone | Message::CopyFail(_) => {}
            Message::FunctionCall => {
                self.session.fail();
                self.channel.out.error(&SqlError::unsupported("the function call protocol"));
                self.ready().await?;
            }
            Message::Password => {
                return Err(SqlError::fatal("08P01", "invalid frontend message type 112").into());
            }
            extended @ (Message::Parse { .. }
            | Message::Bind(_)
            | Message::Describe { .. }
            | Message::Execute { .. }
            | Message::Close { .. }) => {
                if let Err(failure) = self.extended_message(extended).await {
                    self.extended.skipping = true;
                    return Err(failure);
                }
            }
        }
        Ok(Next::Continue)
    }

    /// The frame was whole and its body was not: an ordinary error of that message's protocol.
    async fn undecodable(&mut self, tag: u8, failure: Failure) -> Result<Next, Failure> {
        match tag {
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => {
                self.extended.skipping = true;
                Err(failure)
            }
            b'S' => Err(fatal(failure)),
            _ => {
                if let Failure::Statement(error) = &failure {
                    self.channel.out.error(error);
                }
                self.ready().await?;
                Ok(Next::Continue)
            }
        }
    }

    /// Several statements in one Query are one transaction, unless they say otherwise.
    async fn simple_query(&mut self, sql: &str) -> Result<(), Failure> {
        self.extended.forget_unnamed();
        let result = self.simple_statements(sql).await;
        if let Err(Failure::Statement(error)) = result {
            self.send_notices();
            if is_fatal(&error) {
                return Err(error.into());
            }
            self.channel.out.error(&error);
            // Rolls back what the statements before have done. Its own troubles come second.
            if let Err(second) = self.session.end_implicit().await {
                tracing::debug!(%second, "rolling back a failed query");
            }
            return Ok(());
        }
        result
    }

    async fn simple_statements(&mut self, sql: &str) -> Result<(), Failure> {
        if let Some((prepared, values)) = self.session.plan_lifted(sql).await? {
            let ended = self.simple_statement(&prepared, values).await?;
            self.end_statement(&ended);
            return Ok(());
        }
        let statements = self.session.split(sql)?;
        let several = statements.len() > 1;
        if statements.is_empty() {
            self.channel.out.empty_query();
        }
        for (index, statement) in statements.iter().enumerate() {
            if several {
                self.session.begin_implicit();
            }
            let prepared = self.session.plan(statement).await?;
            let ended = self.simple_statement(&prepared, Vec::new()).await?;
            if several && index + 1 == statements.len() {
                self.session.end_implicit().await?;
            }
            self.end_statement(&ended);
        }
        Ok(())
    }

    async fn simple_statement(
        &mut self,
        prepared: &Arc<Prepared>,
        values: Vec<Datum>,
    ) -> Result<Ended, Failure> {
        if let Some(row) = self.session.try_point(prepared, &values) {
            let columns = prepared.columns.as_deref().unwrap_or_default();
            self.channel.out.row_description(columns, Formats::TEXT);
            return Ok(self.send_point(columns, row, Formats::TEXT)?);
        }
        self.limits.statement_begins();
        match Box::pin(self.session.execute(prepared, values)).await? {
            Outcome::Rows { columns, mut rows } => {
                self.channel.out.row_description(&columns, Formats::TEXT);
                while self.send_rows(&columns, &mut rows, Formats::TEXT, ROWS_PER_BATCH).await? > 0
                {
                }
                Ok(Ended::Complete(rows.tag().into()))
            }
            Outcome::Complete { tag } => Ok(Ended::Complete(tag.into())),
            Outcome::CopyIn(copy) => self.copy_in(copy).await,
            Outcome::CopyOut(copy) => self.copy_out(copy).await,
            Outcome::Empty => Ok(Ended::Empty),
        }
    }

    /// The answer of a point read: a row or none.
    pub(crate) fn send_point(
        &mut self,
        columns: &[ColumnDesc],
        row: Option<Row>,
        formats: Formats<'_>,
    ) -> Result<Ended, SqlError> {
        let Some(row) = row else { return Ok(Ended::Complete("SELECT 0".into())) };
        self.channel.out.data_row(&row, columns, formats, &self.session)?;
        Ok(Ended::Complete("SELECT 1".into()))
    }

    /// Sends the next rows, at most `rows_max`; zero means that there are none left.
    pub(crate) async fn send_rows(
        &mut self,
        columns: &[ColumnDesc],
        rows: &mut RowStream,
        formats: Formats<'_>,
        rows_max: usize,
    ) -> Result<usize, Failure> {
        let rows_max = rows_max.min(ROWS_PER_BATCH);
        let ready = match self.session.core().is_cancelled() {
            true => None,
            false => rows.next_ready(rows_max),
        };
        let batch = match ready {
            Some(batch) => batch,
            None => self.limits.bound(&mut self.session, rows.next(rows_max)).await?,
        };
        let Some(batch) = batch else { return Ok(0) };
        // What was said while they were made comes before them.
        if self.session.core().has_notices() {
            self.send_notices();
        }
        for row in &batch {
            if let Err(error) = self.channel.out.data_row(row, columns, formats, &self.session) {
                self.session.fail();
                return Err(error.into());
            }
            self.channel.relieve().await?;
        }
        Ok(batch.len())
    }

    /// Notices, then CommandComplete or EmptyQueryResponse.
    pub(crate) fn end_statement(&mut self, ended: &Ended) {
        self.send_notices();
        match ended {
            Ended::Complete(tag) => {
                self.channel.out.command_complete(tag);
                if may_change_settings(tag) {
                    self.limits = Limits::read(&self.session);
                }
            }
            Ended::Empty => self.channel.out.empty_query(),
        }
    }

    pub(crate) fn send_notices(&mut self) {
        for notice in self.session.take_notices() {
            self.channel.out.notice(&notice);
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        self.send_notices();
        for (name, value) in self.session.take_parameter_changes() {
            self.channel.out.parameter_status(name, &value);
        }
        let status = self.session.status();
        if status == TransactionStatus::Idle {
            self.extended.forget_portals();
        }
        self.channel.out.ready_for_query(status);
        self.channel.flush().await?;
        Ok(())
    }
}

/// Whether the time-outs may have moved. One that is set by `set_config` outside a block is noticed
/// after the next of these: looking after every SELECT would cost more than point selects do here.
fn may_change_settings(tag: &str) -> bool {
    matches!(tag, "SET" | "RESET" | "COMMIT" | "ROLLBACK" | "DISCARD ALL")
}

pub(crate) fn is_fatal(error: &SqlError) -> bool {
    matches!(error.severity, Severity::Fatal | Severity::Panic)
}

fn fatal(failure: Failure) -> Failure {
    match failure {
        Failure::Statement(mut error) => {
            error.severity = Severity::Fatal;
            Failure::Statement(error)
        }
        Failure::Gone(error) => Failure::Gone(error),
    }
}

fn shutting_down() -> SqlError {
    SqlError::fatal("57P01", "terminating connection due to administrator command")
}
