//! What execution needs of a table, worked out once per version of its descriptor: key and row
//! encoders, and the expressions that the catalog keeps as text.
//!
//! Stored text (defaults, checks, predicates) becomes expressions by planning small statements on
//! the table, `INSERT INTO t DEFAULT VALUES` and `SELECT (predicate) FROM t`: the planner is the
//! only binder there is.

use crate::error::{SqlError, SqlResult};
use catalog::keys::{IndexKeys, RowKeys};
use catalog::rows::{RowEncoder, RowView, Slot, decode_missing};
use catalog::{Catalog, IndexDescriptor, IndexState, TableDescriptor};
use datum::keywords::quote_identifier;
use datum::{Datum, TypeContext, codec};
use expr::Expr;
use parking_lot::RwLock;
use planner::{Check, InsertSource, OltpPlan, Plan, WriteOp};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

pub(crate) struct TableCode {
    pub table: Arc<TableDescriptor>,
    pub schema_name: String,
    pub row_keys: RowKeys,
    pub encoder: RowEncoder,
    /// Per ordinal: what rows without the column read as.
    missing: Vec<Datum>,
    /// Secondary indexes that writers maintain.
    pub indexes: Vec<IndexCode>,
    parts: OnceLock<Arc<TableParts>>,
}

pub(crate) struct IndexCode {
    pub index: IndexDescriptor,
    pub keys: IndexKeys,
    pub ordinals: Vec<usize>,
    /// WHERE of a partial index, over the row.
    pub predicate: Option<Expr>,
}

/// The expressions behind a table's text, over its row.
pub(crate) struct TableParts {
    /// Per ordinal; NULL where there is no default.
    pub defaults: Vec<Expr>,
    pub checks: Vec<Check>,
    pub generated: Vec<(usize, Expr)>,
}

impl TableCode {
    pub fn new(table: &Arc<TableDescriptor>, catalog: &Catalog) -> SqlResult<Self> {
        let missing = table.columns.iter().map(|column| match &column.missing {
            Some(bytes) => decode_missing(bytes, &column.ty),
            None => Ok(Datum::Null),
        });
        let schema_name = catalog.schema_name(table.schema).unwrap_or_default().to_owned();
        let mut indexes = Vec::new();
        for index in table.secondary_indexes() {
            let predicate = match &index.predicate {
                Some(text) => Some(bind_over_row(table, &schema_name, catalog, text)?),
                None => None,
            };
            indexes.push(IndexCode {
                keys: IndexKeys::new(table, index),
                ordinals: table.index_ordinals(index),
                index: index.clone(),
                predicate,
            });
        }
        Ok(Self {
            missing: missing.collect::<Result<_, _>>()?,
            row_keys: RowKeys::new(table),
            encoder: RowEncoder::new(table),
            indexes,
            schema_name,
            parts: OnceLock::new(),
            table: table.clone(),
        })
    }

    pub fn width(&self) -> usize {
        self.table.columns.len()
    }

    /// A row of full width in which only `wanted` ordinals are decoded, the others NULL.
    pub fn decode(&self, value: &[u8], wanted: &[usize]) -> SqlResult<Vec<Datum>> {
        let view = RowView::new(value)?;
        let mut row = vec![Datum::Null; self.width()];
        for &ordinal in wanted {
            row[ordinal] = self.column(&view, ordinal)?;
        }
        Ok(row)
    }

    pub fn decode_all(&self, value: &[u8]) -> SqlResult<Vec<Datum>> {
        let view = RowView::new(value)?;
        (0..self.width()).map(|ordinal| self.column(&view, ordinal)).collect()
    }

    pub fn view<'v>(&self, value: &'v [u8]) -> SqlResult<RowView<'v>> {
        Ok(RowView::new(value)?)
    }

    pub fn column(&self, view: &RowView<'_>, ordinal: usize) -> SqlResult<Datum> {
        let column = &self.table.columns[ordinal];
        Ok(match view.slot(usize::from(column.id.0) - 1)? {
            Slot::Absent => self.missing[ordinal].clone(),
            Slot::Null => Datum::Null,
            Slot::Payload(bytes) => codec::read_datum(&column.ty.ty, bytes)?,
        })
    }

    pub fn index(&self, id: catalog::IndexId) -> SqlResult<&IndexCode> {
        self.indexes.iter().find(|code| code.index.id == id).ok_or_else(|| {
            SqlError::internal(format!("table {} has no index {id}", self.table.name))
        })
    }

    /// The name that a duplicate in `index` is reported under.
    pub fn constraint_name<'a>(&'a self, index: &'a IndexDescriptor) -> &'a str {
        self.table.constraint_of_index(index.oid).map_or(&index.name, |c| &c.name)
    }

    /// Defaults, checks and generated columns as expressions.
    pub fn parts(&self, catalog: &Catalog) -> SqlResult<Arc<TableParts>> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts.clone());
        }
        let sql = format!("INSERT INTO {} DEFAULT VALUES", self.quoted_name());
        let planned = plan_text(&sql, catalog, self.table.database)?;
        let Plan::Write(write) = planned.plan else {
            return Err(SqlError::internal("an INSERT was not planned as a write"));
        };
        let write = *write;
        let defaults = match write.op {
            WriteOp::Insert(insert) => match insert.source {
                InsertSource::Values(mut rows) if rows.len() == 1 => rows.remove(0),
                InsertSource::Values(_) | InsertSource::Query { .. } => {
                    return Err(SqlError::internal("DEFAULT VALUES did not give one row"));
                }
            },
            WriteOp::Update(_) | WriteOp::Delete(_) => {
                return Err(SqlError::internal("an INSERT was planned as something else"));
            }
        };
        let parts = TableParts { defaults, checks: write.checks, generated: write.generated };
        Ok(self.parts.get_or_init(|| Arc::new(parts)).clone())
    }

    pub fn quoted_name(&self) -> String {
        quoted_name(&self.schema_name, &self.table.name)
    }
}

impl IndexCode {
    /// Whether readers may use it; writers maintain it in any case.
    pub fn is_public(&self) -> bool {
        self.index.state == IndexState::Public
    }
}

fn quoted_name(schema: &str, table: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(table))
}

/// An expression over the table's whole row, from its text.
pub(crate) fn bind_over_row(
    table: &TableDescriptor,
    schema: &str,
    catalog: &Catalog,
    text: &str,
) -> SqlResult<Expr> {
    let sql = format!("SELECT ({text}) FROM {}", quoted_name(schema, &table.name));
    match plan_text(&sql, catalog, table.database)?.plan {
        Plan::Oltp(plan) => {
            let OltpPlan { mut project, .. } = *plan;
            project.pop().ok_or_else(|| SqlError::internal("a SELECT without columns"))
        }
        _ => Err(SqlError::unsupported(format!("the expression ({text})"))),
    }
}

fn plan_text(sql: &str, catalog: &Catalog, database: u32) -> SqlResult<planner::Planned> {
    let statements = planner::parse(sql)?;
    let [statement] = statements.as_slice() else {
        return Err(SqlError::internal("one statement became several"));
    };
    let search_path = ["public".to_owned()];
    let types = TypeContext::default();
    let context = planner::BindContext {
        catalog,
        database,
        search_path: &search_path,
        param_types: &[],
        types: &types,
        user: "shanghai",
    };
    Ok(planner::bind(statement, &context)?)
}

/// Code by table, for the descriptor versions in use.
#[derive(Default)]
pub(crate) struct TableCodes {
    codes: RwLock<HashMap<u32, Arc<TableCode>>>,
}

impl TableCodes {
    /// # Errors
    /// Stored text that no longer binds.
    pub fn get(
        &self,
        table: &Arc<TableDescriptor>,
        catalog: &Catalog,
    ) -> SqlResult<Arc<TableCode>> {
        if let Some(code) = self.codes.read().get(&table.oid)
            && Arc::ptr_eq(&code.table, table)
        {
            return Ok(code.clone());
        }
        let code = Arc::new(TableCode::new(table, catalog)?);
        self.codes.write().insert(table.oid, code.clone());
        Ok(code)
    }
}
