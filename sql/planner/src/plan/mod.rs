//! What a statement means: the planner's answer, and all that the executors read.
//!
//! ```text
//! Planned ── Plan ─┬─ Oltp(OltpPlan)    one table by key or index: straight key-value work    oltp.rs
//!                  ├─ Query(QueryPlan)  a tree of `Rel`: DataFusion runs it                   rel.rs, walk.rs
//!                  ├─ Write(WritePlan)  INSERT, UPDATE, DELETE, whatever finds the rows       write.rs
//!                  ├─ Ddl(DdlPlan)      names resolved as far as the catalog does not do it   ddl.rs
//!                  ├─ Copy(CopyPlan)                                                          copy.rs
//!                  ├─ Txn, Session, Utility   transactions, settings, maintenance             session.rs
//!                  └─ Explain, Prepare, Execute, cursors                                      here
//! ```
//!
//! Every expression in a plan is bound: columns are positions, functions are resolved, casts are
//! explicit, parameters are `Expr::Param` with an inferred type. A plan holds no text to be parsed
//! later and no name to be looked up, with two exceptions: DDL (which must look at the newest
//! catalog anyway) and the names of prepared statements, cursors and settings.
//!
//! Row layouts, which every `Expr::Column` index refers to:
//!
//! ```text
//! OltpPlan filter, order, project      [table columns by ordinal]
//! OltpPlan with aggregates             project, having: [results of `aggregates`]
//! Rel node                             [fields of its input]; of a join [left fields, right fields]
//! UPDATE set, recheck                  [old row by ordinal][extra columns of a Rel source]
//! UPDATE returning                     [new row by ordinal][extra columns]
//! DELETE returning                     [old row by ordinal][extra columns]
//! INSERT returning                     [new row by ordinal]
//! ON CONFLICT DO UPDATE set, filter    [existing row by ordinal][excluded row by ordinal]
//! checks, generated                    [new row by ordinal]
//! ```

mod copy;
mod ddl;
mod oltp;
mod rel;
mod session;
mod walk;
mod write;

pub use copy::*;
pub use ddl::*;
pub use oltp::*;
pub use rel::*;
pub use session::*;
pub use write::*;

use catalog::Oid;
use datum::{ColumnType, SqlType};
use expr::Expr;

/// A bound statement.
#[derive(Clone, Debug)]
pub struct Planned {
    pub plan: Plan,
    /// The type of each parameter, `$1` first.
    pub params: Vec<SqlType>,
    /// What Describe answers; `None` for a statement that returns no rows.
    pub columns: Option<Vec<OutColumn>>,
    /// Whether the plan stays right until the catalog, the search path or the parameter types
    /// change. False for statements whose plan depends on anything else, and for DDL.
    pub cacheable: bool,
    pub tag: Tag,
    /// Relations the plan reads or writes, for privileges, `EXPLAIN` and dependency records.
    pub uses: Vec<RelationUse>,
    /// AS OF SYSTEM TIME: what it reads is read as of then.
    pub as_of: Option<std::sync::Arc<str>>,
}

/// A result column as RowDescription shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutColumn {
    pub name: String,
    pub ty: ColumnType,
    /// Zero unless the column is a table's column.
    pub table_oid: Oid,
    pub attnum: i16,
}

/// A relation named by a statement, views included, and which of its columns (ordinals).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationUse {
    pub relation: Oid,
    pub columns: Vec<usize>,
}

/// The command tag, without the row count that `counts_rows` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(pub &'static str);

impl Tag {
    /// "SELECT 3", "INSERT 0 1", "UPDATE 2": the executor appends the number.
    pub fn counts_rows(self) -> bool {
        matches!(
            self.0,
            "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "FETCH" | "MOVE" | "COPY"
        )
    }

    /// As CommandComplete sends it.
    pub fn render(self, rows: u64) -> String {
        match self.0 {
            "INSERT" => format!("INSERT 0 {rows}"),
            tag if self.counts_rows() => format!("{tag} {rows}"),
            tag => tag.to_string(),
        }
    }
}

#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing but blanks and comments: EmptyQueryResponse.
    Empty,
    Oltp(Box<OltpPlan>),
    Query(Box<QueryPlan>),
    Write(Box<WritePlan>),
    /// `WITH w AS (INSERT ... RETURNING ...) SELECT ...`: every write runs to its end and its
    /// RETURNING rows are kept under its CTE id, for `RelNode::CteRef`; then `body` runs. All see
    /// the same snapshot.
    WithWrites {
        writes: Vec<(CteId, WritePlan)>,
        body: Box<Plan>,
    },
    Ddl(Box<DdlPlan>),
    Copy(Box<CopyPlan>),
    Txn(TxnPlan),
    Session(SessionPlan),
    Utility(UtilityPlan),
    Ranges(RangesPlan),
    Explain(Box<ExplainPlan>),
    Prepare(PreparePlan),
    Execute(ExecutePlan),
    Deallocate(Option<String>),
    DeclareCursor(Box<CursorPlan>),
    Fetch(FetchPlan),
    /// `None`: CLOSE ALL.
    CloseCursor(Option<String>),
    Listen(String),
    /// `None`: UNLISTEN *.
    Unlisten(Option<String>),
    Notify {
        channel: String,
        payload: String,
    },
}

impl Plan {
    /// Whether it may change data or schema: refused in a read-only transaction (25006).
    pub fn writes(&self) -> bool {
        match self {
            Plan::Write(_) | Plan::WithWrites { .. } | Plan::Ddl(_) => true,
            Plan::Copy(copy) => matches!(copy.direction, CopyDirection::From(_)),
            Plan::Oltp(oltp) => oltp.lock.is_some(),
            Plan::Query(query) => query.locks_rows,
            Plan::Explain(explain) => explain.options.analyze && explain.plan.plan.writes(),
            Plan::Empty
            | Plan::Txn(_)
            | Plan::Session(_)
            | Plan::Utility(_)
            | Plan::Ranges(_)
            | Plan::Prepare(_)
            | Plan::Execute(_)
            | Plan::Deallocate(_)
            | Plan::DeclareCursor(_)
            | Plan::Fetch(_)
            | Plan::CloseCursor(_)
            | Plan::Listen(_)
            | Plan::Unlisten(_)
            | Plan::Notify { .. } => false,
        }
    }
}

/// A query for the relational engine.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    pub rel: Rel,
    pub locks_rows: bool,
}

#[derive(Clone, Debug)]
pub struct ExplainPlan {
    pub options: ExplainOptions,
    pub plan: Planned,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    pub analyze: bool,
    pub verbose: bool,
    /// `None`: as by default.
    pub costs: Option<bool>,
    pub timing: Option<bool>,
    pub summary: Option<bool>,
    pub buffers: bool,
    pub settings: bool,
    pub wal: bool,
    pub format: ExplainFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExplainFormat {
    #[default]
    Text,
    Json,
    Yaml,
    Xml,
}

/// PREPARE: the session binds `text` as it would bind a Parse message.
#[derive(Clone, Debug)]
pub struct PreparePlan {
    pub name: String,
    /// One entry per declared type; `Unknown` where the statement leaves it to be inferred.
    pub params: Vec<SqlType>,
    pub statement: crate::Statement,
}

/// EXECUTE: arguments are constant expressions of their own types; the session casts each to its
/// parameter's type by assignment (`expr::coerce_assign`).
#[derive(Clone, Debug)]
pub struct ExecutePlan {
    pub name: String,
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug)]
pub struct CursorPlan {
    pub name: String,
    pub binary: bool,
    pub scroll: bool,
    pub hold: bool,
    pub query: Planned,
}

#[derive(Clone, Debug)]
pub struct FetchPlan {
    pub cursor: String,
    pub direction: FetchDirection,
    /// MOVE: no rows are returned.
    pub is_move: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchDirection {
    /// NEXT is `Forward(Some(1))`; ALL is `Forward(None)`.
    Forward(Option<u64>),
    Backward(Option<u64>),
    First,
    Last,
    Absolute(i64),
    Relative(i64),
}
