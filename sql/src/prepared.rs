//! A planned statement: what Parse answers, what the plan cache keeps, what Execute runs.
//!
//! A plan belongs to one catalog version and one search path. When either has moved, `Session`
//! plans the text again and swaps the plan inside; if the columns then differ from those that the
//! client was told, it is 0A000, as in PostgreSQL.

use crate::session::PointPlan;
use catalog::Catalog;
use datum::{ColumnType, SqlType};
use parking_lot::RwLock;
use planner::{Plan, Planned, Tag};
use std::sync::Arc;

/// One statement of a simple query's text.
#[derive(Clone)]
pub struct Statement {
    /// Its own text, without its neighbours.
    pub text: Arc<str>,
    /// Where it begins in the whole text, in characters: added to the positions of errors.
    pub offset: u32,
    pub(crate) parsed: Arc<planner::Statement>,
}

/// One column of a result, as RowDescription tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDesc {
    pub name: Arc<str>,
    pub ty: ColumnType,
    /// The table and column it comes from, zero for expressions.
    pub table_oid: u32,
    pub attnum: i16,
}

/// A prepared statement. Shared between sessions through the plan cache.
pub struct Prepared {
    pub text: Arc<str>,
    pub param_types: Vec<SqlType>,
    /// `None` for a statement that returns no rows.
    pub columns: Option<Arc<[ColumnDesc]>>,
    /// `None`: the text held no statement.
    pub(crate) parsed: Option<Arc<planner::Statement>>,
    /// Characters before it in a simple query's text.
    pub(crate) offset: u32,
    plan: RwLock<Arc<VersionedPlan>>,
}

/// A plan and what it was made for.
pub(crate) struct VersionedPlan {
    pub planned: Planned,
    pub made_for: PlanKey,
    pub catalog: Arc<Catalog>,
    /// What the transaction that runs it holds: no schema change may come between.
    pub shared_tables: Box<[u32]>,
    /// Other tables that it reads.
    pub read_tables: Box<[u32]>,
    /// If it is one read by key.
    pub point: Option<PointPlan>,
}

impl VersionedPlan {
    pub fn is_for(&self, catalog: u64, database: u32, search_path: &Arc<str>) -> bool {
        let made = &self.made_for;
        made.catalog == catalog
            && made.database == database
            && (Arc::ptr_eq(&made.search_path, search_path) || made.search_path == *search_path)
    }
}

/// What a plan depends on besides its text.
#[derive(Clone, Debug)]
pub(crate) struct PlanKey {
    pub catalog: u64,
    pub database: u32,
    pub search_path: Arc<str>,
}

impl Prepared {
    pub(crate) fn new(
        text: Arc<str>,
        offset: u32,
        parsed: Arc<planner::Statement>,
        columns: Option<Arc<[ColumnDesc]>>,
        plan: VersionedPlan,
    ) -> Self {
        Self {
            text,
            param_types: plan.planned.params.clone(),
            columns,
            parsed: Some(parsed),
            offset,
            plan: RwLock::new(Arc::new(plan)),
        }
    }

    /// A text without a statement.
    pub(crate) fn empty(catalog: Arc<Catalog>) -> Self {
        let planned = Planned {
            plan: Plan::Empty,
            params: Vec::new(),
            columns: None,
            cacheable: false,
            tag: Tag(""),
            uses: Vec::new(),
            as_of: None,
        };
        let made_for = PlanKey { catalog: 0, database: 0, search_path: "".into() };
        let plan = RwLock::new(Arc::new(VersionedPlan {
            planned,
            made_for,
            catalog,
            shared_tables: Box::default(),
            read_tables: Box::default(),
            point: None,
        }));
        let param_types = Vec::new();
        Self { text: "".into(), param_types, columns: None, parsed: None, offset: 0, plan }
    }

    pub(crate) fn plan(&self) -> Arc<VersionedPlan> {
        self.plan.read().clone()
    }

    pub(crate) fn replace_plan(&self, plan: Arc<VersionedPlan>) {
        *self.plan.write() = plan;
    }

    /// Whether executing it sends no answer at all (an empty query string).
    pub fn is_empty(&self) -> bool {
        self.parsed.is_none()
    }
}
