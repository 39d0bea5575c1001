//! COPY: rows in and out as text, csv or binary.
//!
//! ```text
//! in    bytes ─▶ record.rs (fields) ─▶ values ─▶ defaults ─▶ write::Writer, a batch at a time
//! out   query ─▶ RowStream ─▶ encode.rs ─▶ bytes
//! ```
//!
//! Memory is bounded by one batch and one record, plus what the key-value transaction buffers: a
//! COPY is one transaction. Errors carry PostgreSQL's context line.
//!
//! What it does not do: files and programs on the server (0A000).

mod encode;
mod record;

pub(crate) use encode::Encoder;

use crate::context::ExecContext;
use crate::error::{SqlError, SqlResult};
use crate::oltp::{passes, project};
use crate::outcome::{CopyFormat, CopyIn, CopyOut, CopyOutStage, Outcome, Row};
use crate::prepared::VersionedPlan;
use crate::relational::row_bytes;
use crate::session::statement::{Produced, run_rows};
use crate::table_code::TableCode;
use crate::write::{Effects, Rules, Writer};
use datum::{ColumnType, Datum};
use planner::{CopyDirection, CopyFrom, CopyPlan, CopyTarget, Plan};
use record::Records;
use std::sync::Arc;

/// Rows written with one round of locks, or bytes of them.
const BATCH_ROWS: usize = 1000;
const BATCH_BYTES: usize = 16 << 20;

pub(crate) struct CopyInState {
    ctx: Arc<ExecContext>,
    /// Keeps the plan, which says what to do with each row.
    plan: Arc<VersionedPlan>,
    code: Arc<TableCode>,
    records: Records,
    types: Vec<ColumnType>,
    batch: Vec<Row>,
    batch_bytes: usize,
    effects: Effects,
    rows: u64,
    binary: bool,
    /// The COPY is its own transaction.
    alone: bool,
}

pub(crate) fn begin_in(
    plan: &CopyPlan,
    versioned: Arc<VersionedPlan>,
    ctx: Arc<ExecContext>,
    alone: bool,
) -> SqlResult<CopyIn> {
    client_only(&plan.target)?;
    utf8_only(plan.options.encoding.as_deref())?;
    let CopyDirection::From(from) = &plan.direction else {
        return Err(SqlError::internal("COPY TO does not read"));
    };
    let columns = from.columns.iter().map(|ordinal| &from.table.columns[*ordinal]);
    let names: Vec<String> = columns.clone().map(|c| c.name.clone()).collect();
    let types: Vec<ColumnType> = columns.map(|c| c.ty.clone()).collect();
    let format = format_of(plan.options.format);
    let code = ctx.server.codes.get(&from.table, &ctx.catalog)?;
    Ok(CopyIn {
        format,
        columns: names.len(),
        state: CopyInState {
            records: Records::new(plan.options.clone(), names),
            types,
            code,
            plan: versioned,
            batch: Vec::new(),
            batch_bytes: 0,
            effects: Effects::default(),
            rows: 0,
            binary: format == CopyFormat::Binary,
            alone,
            ctx,
        },
    })
}

impl CopyInState {
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    pub fn ctx(&self) -> &ExecContext {
        &self.ctx
    }

    /// The CONTEXT line.
    pub fn context(&self) -> String {
        format!("COPY {}, line {}", self.code.table.name, self.records.line.max(1))
    }

    pub async fn write(&mut self, chunk: &[u8]) -> SqlResult<()> {
        self.records.push(chunk);
        self.drain().await
    }

    pub async fn finish(&mut self) -> SqlResult<u64> {
        self.records.end_input();
        self.drain().await?;
        self.flush().await?;
        let writer = Writer::new(&self.ctx, self.code.clone());
        writer.settle().await.map_err(|error| error.with_context(self.context()))?;
        std::mem::take(&mut self.effects).finish(&self.ctx).await?;
        Ok(self.rows)
    }

    async fn drain(&mut self) -> SqlResult<()> {
        let plan = self.plan.clone();
        let from = copy_from(&plan)?;
        loop {
            match self.records.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    let line = self.records.current_line();
                    let context = format!("{}: \"{line}\"", self.context());
                    return Err(error.with_context(context));
                }
            }
            let values = self.values()?;
            let eval = self.ctx.eval();
            let row = project(&from.project, &values, &eval)
                .map_err(|error| error.with_context(self.context()))?;
            if from.filter.is_none() || passes(from.filter.as_ref(), &row, &eval)? {
                self.batch_bytes += row_bytes(&row);
                self.batch.push(row);
            }
            if self.batch.len() >= BATCH_ROWS || self.batch_bytes >= BATCH_BYTES {
                self.flush().await?;
            }
        }
    }

    /// The fields of the current record as values.
    fn values(&self) -> SqlResult<Row> {
        let mut row = Vec::with_capacity(self.types.len());
        for (i, ty) in self.types.iter().enumerate() {
            let Some(bytes) = self.records.field(i) else {
                row.push(Datum::Null);
                continue;
            };
            let value = match self.binary {
                true => datum::binary::decode(ty, bytes).map_err(SqlError::from),
                false => std::str::from_utf8(bytes)
                    .map_err(|error| not_utf8(&bytes[error.valid_up_to()..], error))
                    .and_then(|text| Ok(datum::text::parse(ty, text, &self.ctx.types)?)),
            };
            row.push(value.map_err(|error| {
                let column = &self.records.name(i);
                let shown = match self.binary {
                    true => String::new(),
                    false => format!(": \"{}\"", String::from_utf8_lossy(bytes)),
                };
                error.with_context(format!("{}, column {column}{shown}", self.context()))
            })?);
        }
        Ok(row)
    }

    async fn flush(&mut self) -> SqlResult<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let plan = self.plan.clone();
        let from = copy_from(&plan)?;
        let rules = Rules { checks: &from.checks, generated: &from.generated };
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let count = batch.len() as u64;
        let writer = Writer::new(&self.ctx, self.code.clone());
        writer
            .load(batch, &rules, &mut self.effects)
            .await
            .map_err(|error| error.with_context(self.context()))?;
        self.rows += count;
        Ok(())
    }
}

fn copy_from(plan: &VersionedPlan) -> SqlResult<&CopyFrom> {
    match &plan.planned.plan {
        Plan::Copy(copy) => match &copy.direction {
            CopyDirection::From(from) => Ok(from),
            CopyDirection::To { .. } => Err(SqlError::internal("COPY TO does not read")),
        },
        _ => Err(SqlError::internal("a COPY without its plan")),
    }
}

pub(crate) async fn begin_out(plan: &CopyPlan, ctx: &Arc<ExecContext>) -> SqlResult<Outcome> {
    client_only(&plan.target)?;
    utf8_only(plan.options.encoding.as_deref())?;
    let CopyDirection::To { query } = &plan.direction else {
        return Err(SqlError::internal("COPY FROM does not write"));
    };
    let columns = query.columns.as_deref().unwrap_or_default();
    let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    let types: Vec<ColumnType> = columns.iter().map(|c| c.ty.clone()).collect();
    let rows = match run_rows(&query.plan, query.tag, ctx).await? {
        Produced::Stream(rows) => rows,
        Produced::Written(_) => return Err(SqlError::unsupported("COPY of a writing statement")),
    };
    let options = plan.options.clone();
    let encoder = Encoder::new(options, names, types, (*ctx.types).clone());
    Ok(Outcome::CopyOut(Box::new(CopyOut {
        format: format_of(plan.options.format),
        columns: columns.len(),
        rows,
        encoder,
        copied: 0,
        stage: CopyOutStage::Header,
    })))
}

fn format_of(format: planner::CopyFormat) -> CopyFormat {
    match format {
        planner::CopyFormat::Text => CopyFormat::Text,
        planner::CopyFormat::Csv => CopyFormat::Csv,
        planner::CopyFormat::Binary => CopyFormat::Binary,
    }
}

/// What the bytes of another encoding mean is not guessed.
fn utf8_only(encoding: Option<&str>) -> SqlResult<()> {
    let Some(name) = encoding else { return Ok(()) };
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => {
            Err(SqlError::unsupported(format!("COPY in encoding \"{name}\""))
                .with_hint("Use UTF8."))
        }
    }
}

/// `rest` begins with what is no UTF-8.
fn not_utf8(rest: &[u8], error: std::str::Utf8Error) -> SqlError {
    let bad = &rest[..error.error_len().unwrap_or(rest.len())];
    let shown: Vec<String> = bad.iter().map(|byte| format!("{byte:#04x}")).collect();
    let shown = shown.join(" ");
    SqlError::new("22021", format!("invalid byte sequence for encoding \"UTF8\": {shown}"))
}

fn client_only(target: &CopyTarget) -> SqlResult<()> {
    match target {
        CopyTarget::Client => Ok(()),
        CopyTarget::File(_) => {
            Err(SqlError::unsupported("COPY with a file on the server")
                .with_hint("Use psql's \\copy."))
        }
        CopyTarget::Program(_) => Err(SqlError::unsupported("COPY with a program")),
    }
}
