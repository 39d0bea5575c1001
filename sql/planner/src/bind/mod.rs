//! The binder: what names and types mean, and the plan that follows.
//!
//! ```text
//! scope.rs    which columns are visible, and the queries around      types.rs   type names
//! expr.rs     expressions          call.rs     functions, aggregates, windows
//! subquery.rs subqueries in expressions, as Applies still to be placed
//! from.rs     FROM                 join.rs     JOIN
//! query.rs    set operations, ORDER BY, LIMIT, locking
//! select.rs   SELECT               group.rs    GROUP BY and aggregates
//! cte.rs      WITH                 window.rs   windows
//! insert.rs, update.rs, target.rs  statements that change rows
//! copy.rs, session.rs, split.rs    the other statements
//! table.rs, alter.rs, ddl.rs, role.rs  schema changes
//! ```
//!
//! One idea carries the rest: while the expressions of a query level are bound, an aggregate, a window call, a
//! set-returning call or a subquery in them is replaced by a *placeholder*, an `Expr::Column` with
//! an index beyond every real one ([`scope::Placeholder`]). When the level's relational tree is
//! assembled, each placeholder becomes the column where the node below delivers the value.

mod alter;
mod call;
mod copy;
mod cte;
mod ddl;
mod expr;
mod from;
mod group;
mod insert;
mod join;
mod query;
mod role;
mod scope;
mod select;
mod session;
mod split;
mod subquery;
mod table;
mod target;
mod types;
mod update;
mod window;

use crate::ast::{ObjectName, Pos, Stmt};
use crate::error::{PlanError, Result};
use crate::parse::lexer::char_position;
use crate::plan::{OutColumn, Plan, Planned, QueryPlan, Rel, RelationUse, Tag};
use crate::{BindContext, Statement};
use ::expr::{EvalContext, ParamTypes, Resolver, SessionFacts};
use catalog::{Oid, Relation};
use cte::CteBinding;
use datum::SqlType;
pub(crate) use from::one_row;
use scope::Level;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Binds one statement.
///
/// # Errors
/// PostgreSQL's, with positions in the statement's own text.
pub fn bind(statement: &Statement, context: &BindContext<'_>) -> Result<Planned> {
    let declared = context
        .param_types
        .iter()
        .map(|ty| (*ty != SqlType::Unknown).then(|| ty.clone()))
        .collect();
    let params = ParamTypes::new(declared);
    let facts = BindFacts { context };
    let eval = EvalContext::new(context.types, &facts);
    let mut binder = Binder::new(context, &statement.text, Resolver::new(&eval, &params));
    let mut planned = binder.statement(&statement.ast)?;
    planned.params = params.finish().map_err(PlanError::from)?;
    planned.cacheable &= !binder.resolver.is_session_dependent();
    planned.uses = binder.uses();
    if let Some(as_of) = &statement.as_of {
        if !reads_only(&planned.plan) {
            let what = format!("AS OF SYSTEM TIME in {}", planned.tag.0);
            return Err(PlanError::unsupported(what));
        }
        planned.as_of = Some(as_of.clone());
    }
    Ok(planned)
}

/// Whether the statement is one that may read the past.
fn reads_only(plan: &Plan) -> bool {
    match plan {
        Plan::Oltp(_) | Plan::Query(_) | Plan::DeclareCursor(_) => true,
        Plan::Explain(explain) => reads_only(&explain.plan.plan),
        Plan::Copy(copy) => !matches!(copy.direction, crate::plan::CopyDirection::From(_)),
        _ => false,
    }
}

pub(crate) struct Binder<'a> {
    pub(crate) context: &'a BindContext<'a>,
    /// For positions; `None` while text that the user did not write is bound (views, defaults).
    text: Option<&'a str>,
    pub(crate) resolver: Resolver<'a>,
    /// Query levels around what is bound, outermost first. Between two lies one Apply.
    pub(crate) levels: Vec<Level>,
    pub(crate) ctes: Vec<CteBinding>,
    next_cte: u32,
    search_path: Vec<String>,
    uses: BTreeMap<Oid, std::collections::BTreeSet<usize>>,
    view_depth: usize,
    /// Defaults bound so far, by table and ordinal: rows of one INSERT share them.
    defaults: HashMap<(Oid, usize), ::expr::Expr>,
    /// Levels from here on are neighbours in the FROM list that is bound.
    from_base: usize,
    /// Scans give hidden row ids: their rows are to be locked or changed.
    row_ids: bool,
    /// Writing CTEs met so far, for `Plan::WithWrites`.
    pub(crate) writes: Vec<(crate::plan::CteId, crate::plan::WritePlan)>,
}

/// A view may read views that read views ...
const VIEW_DEPTH_MAX: usize = 100;

impl<'a> Binder<'a> {
    fn new(context: &'a BindContext<'a>, text: &'a str, resolver: Resolver<'a>) -> Self {
        Self {
            context,
            text: Some(text),
            resolver,
            levels: Vec::new(),
            ctes: Vec::new(),
            next_cte: 0,
            search_path: context.search_path.to_vec(),
            uses: BTreeMap::new(),
            view_depth: 0,
            defaults: HashMap::new(),
            from_base: 0,
            row_ids: false,
            writes: Vec::new(),
        }
    }

    /// A position as errors carry it.
    pub(crate) fn at(&self, pos: Pos) -> Option<u32> {
        self.text.map(|text| char_position(text, pos as usize))
    }

    pub(crate) fn error(
        &self,
        sqlstate: &'static str,
        message: impl Into<String>,
        pos: Pos,
    ) -> PlanError {
        PlanError::new(sqlstate, message).at(self.at(pos))
    }

    pub(crate) fn fresh_cte(&mut self) -> crate::plan::CteId {
        self.next_cte += 1;
        crate::plan::CteId(self.next_cte)
    }

    /// Runs `inner` on a stack that suffices for the deepest text the parser lets through.
    pub(crate) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        stacker::maybe_grow(256 << 10, 4 << 20, || inner(self))
    }

    // ---- names ----

    /// # Errors
    /// 42P01 `relation "x" does not exist`, 3F000 for a schema, 0A000 for another database.
    pub(crate) fn relation(&self, name: &ObjectName) -> Result<Relation<'a>> {
        self.find_relation(name)?.ok_or_else(|| {
            self.error("42P01", format!("relation \"{name}\" does not exist"), name.pos())
        })
    }

    pub(crate) fn find_relation(&self, name: &ObjectName) -> Result<Option<Relation<'a>>> {
        self.check_database(name)?;
        let catalog = self.context.catalog;
        Ok(catalog.resolve(self.context.database, &self.search_path, name.schema(), name.name()))
    }

    fn check_database(&self, name: &ObjectName) -> Result<()> {
        let Some(given) = name.database() else { return Ok(()) };
        let own = self.context.catalog.database(self.context.database);
        if own.is_some_and(|own| own.name == given) {
            return Ok(());
        }
        let message = format!("cross-database references are not implemented: \"{name}\"");
        Err(self.error("0A000", message, name.pos()))
    }

    /// The schema in which to create `name`.
    pub(crate) fn creation_schema(&self, name: &ObjectName) -> Result<Oid> {
        self.check_database(name)?;
        match name.schema() {
            None => Ok(self
                .context
                .catalog
                .creation_schema(self.context.database, &self.search_path)?),
            Some(schema) => self.schema(schema, name.pos()),
        }
    }

    pub(crate) fn schema(&self, name: &str, pos: Pos) -> Result<Oid> {
        let found = self.context.catalog.schema_oid(self.context.database, name);
        found.ok_or_else(|| self.error("3F000", format!("schema \"{name}\" does not exist"), pos))
    }

    pub(crate) fn note_use(&mut self, relation: Oid, column: Option<usize>) {
        let columns = self.uses.entry(relation).or_default();
        columns.extend(column);
    }

    fn uses(&self) -> Vec<RelationUse> {
        let list = self.uses.iter();
        list.map(|(relation, columns)| RelationUse {
            relation: *relation,
            columns: columns.iter().copied().collect(),
        })
        .collect()
    }

    // ---- statements ----

    pub(crate) fn statement(&mut self, stmt: &Stmt) -> Result<Planned> {
        match stmt {
            Stmt::Empty => Ok(planned(Plan::Empty, Tag(""))),
            Stmt::Query(query) => {
                let rel = self.top_query(query)?;
                Ok(self.query_planned(rel))
            }
            Stmt::Insert(insert) => self.insert_statement(insert),
            Stmt::Update(update) => self.update_statement(update),
            Stmt::Delete(delete) => self.delete_statement(delete),
            Stmt::Copy(copy) => self.copy(copy),
            other => match self.session_statement(other)? {
                Some(planned) => Ok(planned),
                None => self.ddl_statement(other),
            },
        }
    }

    /// A bound query as a plan: by key where one table and its keys suffice, else relational.
    pub(crate) fn query_planned(&mut self, rel: Rel) -> Planned {
        let columns = out_columns(&rel);
        let plan = match crate::access::oltp_plan(&rel) {
            Some(oltp) => Plan::Oltp(Box::new(oltp)),
            None => {
                let rel = crate::access::simplify(rel);
                let locks_rows = crate::access::locks_rows(&rel);
                Plan::Query(Box::new(QueryPlan { rel, locks_rows }))
            }
        };
        let writes = std::mem::take(&mut self.writes);
        let plan = match writes.is_empty() {
            true => plan,
            false => Plan::WithWrites { writes, body: Box::new(plan) },
        };
        Planned { columns: Some(columns), cacheable: true, ..planned(plan, Tag("SELECT")) }
    }

    /// Binds text of the catalog's (a view, a default) in the same statement, with no outer scope.
    pub(crate) fn apart<T>(
        &mut self,
        search_path: Option<Vec<String>>,
        inner: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if self.view_depth >= VIEW_DEPTH_MAX {
            return Err(PlanError::new("54001", "stack depth limit exceeded"));
        }
        self.view_depth += 1;
        let text = self.text.take();
        let levels = std::mem::take(&mut self.levels);
        let ctes = std::mem::take(&mut self.ctes);
        // What such text depends on was settled when it was stored: it does not keep this plan from
        // being shared.
        let own = Resolver::new(self.resolver.ctx, self.resolver.params);
        let resolver = std::mem::replace(&mut self.resolver, own);
        let old_path = search_path.map(|path| std::mem::replace(&mut self.search_path, path));
        let result = self.deeper(inner);
        if let Some(path) = old_path {
            self.search_path = path;
        }
        self.resolver = resolver;
        self.ctes = ctes;
        self.levels = levels;
        self.text = text;
        self.view_depth -= 1;
        result
    }
}

/// A plan that returns no rows and takes no parameters, not to be cached.
pub(crate) fn planned(plan: Plan, tag: Tag) -> Planned {
    let (params, uses) = (Vec::new(), Vec::new());
    Planned { plan, params, columns: None, cacheable: false, tag, uses, as_of: None }
}

pub(crate) fn out_columns(rel: &Rel) -> Vec<OutColumn> {
    rel.fields.iter().map(out_column).collect()
}

pub(crate) fn out_column(field: &crate::plan::Field) -> OutColumn {
    let (table_oid, attnum) = field.origin.unwrap_or((0, 0));
    OutColumn { name: field.name.clone(), ty: field.ty.clone(), table_oid, attnum }
}

/// What literals of type regclass and the like may ask while a statement is bound.
struct BindFacts<'a> {
    context: &'a BindContext<'a>,
}

impl SessionFacts for BindFacts<'_> {
    fn current_user(&self) -> String {
        self.context.user.to_string()
    }

    fn current_database(&self) -> String {
        let own = self.context.catalog.database(self.context.database);
        own.map_or_else(String::new, |d| d.name.clone())
    }

    fn relation_oid(&self, name: &str) -> Option<u32> {
        let parts = crate::parse::identifiers(name)?;
        let (schema, name) = match parts.as_slice() {
            [name] => (None, name),
            [.., schema, name] => (Some(schema.as_str()), name),
            [] => return None,
        };
        let context = self.context;
        let found = context.catalog.resolve(context.database, context.search_path, schema, name)?;
        Some(found.oid())
    }

    fn relation_name(&self, oid: u32) -> Option<String> {
        Some(self.context.catalog.relation_by_oid(oid)?.name().to_string())
    }

    fn namespace_oid(&self, name: &str) -> Option<u32> {
        self.context.catalog.schema_oid(self.context.database, name)
    }

    fn namespace_name(&self, oid: u32) -> Option<String> {
        self.context.catalog.schema_name(oid).map(str::to_string)
    }

    fn role_oid(&self, name: &str) -> Option<u32> {
        self.context.catalog.role_named(name).map(|r| r.oid)
    }

    fn role_name(&self, oid: u32) -> Option<String> {
        self.context.catalog.role(oid).map(|r| r.name.clone())
    }
}

impl From<::expr::ExprError> for PlanError {
    fn from(e: ::expr::ExprError) -> Self {
        PlanError {
            sqlstate: crate::error::interned(&e.sqlstate),
            message: e.message.clone(),
            detail: e.detail.clone(),
            hint: e.hint.clone(),
            position: e.position,
        }
    }
}

/// Shared column names, for records.
pub(crate) fn names_of<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Arc<str>> {
    names.map(Arc::from).collect()
}
