//! INSERT.

use super::scope::{Clause, Scope};
use super::{Binder, planned};
use crate::ast::{
    Assignment, ConflictTarget, ExprKind, Insert, InsertFrom, OnConflictClause, Overriding, Query,
    SetExpr,
};
use crate::error::{PlanError, Result};
use crate::plan::{
    ConflictAction, InsertOp, InsertSource, OnConflict, Plan, Planned, Tag, WriteOp, WritePlan,
};
use catalog::{IndexId, TableDescriptor};
use datum::ColumnType;
use expr::Expr;
use std::sync::Arc;

impl Binder<'_> {
    pub(crate) fn insert_statement(&mut self, insert: &Insert) -> Result<Planned> {
        let write = self.bind_insert(insert)?;
        Ok(self.write_planned(write, Tag("INSERT")))
    }

    pub(crate) fn write_planned(&mut self, write: WritePlan, tag: Tag) -> Planned {
        let columns = Self::returning_columns(write.returning.as_ref());
        let writes = std::mem::take(&mut self.writes);
        let plan = Plan::Write(Box::new(write));
        let plan = match writes.is_empty() {
            true => plan,
            false => Plan::WithWrites { writes, body: Box::new(plan) },
        };
        Planned { columns, cacheable: true, ..planned(plan, tag) }
    }

    pub(crate) fn bind_insert(&mut self, insert: &Insert) -> Result<WritePlan> {
        let open = insert.with.as_ref().map(|with| self.open_with(with)).transpose()?;
        let table = self.target(&insert.table)?;
        let columns = self.insert_columns(insert, &table)?;
        let mut source = self.insert_source(insert, &table, &columns)?;
        if let Some(open) = open {
            source = match source {
                InsertSource::Query { rel, project } => {
                    let rel = Box::new(self.close_with(open, *rel));
                    InsertSource::Query { rel, project }
                }
                values @ InsertSource::Values(_) => {
                    self.close_with(open, super::from::one_row());
                    values
                }
            };
        }
        let alias = insert.alias.as_ref().map_or(table.name.as_str(), |a| a.name.as_str());
        let on_conflict =
            insert.on_conflict.as_ref().map(|c| self.on_conflict(c, &table, alias)).transpose()?;
        let mut scope = Self::row_scope(&table, alias, 0);
        if insert.alias.is_none() {
            scope.tables[0].schema = self.schema_name(&table);
        }
        let returning = self.returning(&insert.returning, scope, &table)?;
        Ok(WritePlan {
            op: WriteOp::Insert(InsertOp { source, on_conflict }),
            checks: self.checks(&table, None)?,
            generated: self.generated(&table, None)?,
            returning,
            table,
        })
    }

    pub(crate) fn schema_name(&self, table: &TableDescriptor) -> Option<String> {
        self.context.catalog.schema_name(table.schema).map(str::to_string)
    }

    /// The ordinals that values are given for, in the order given.
    fn insert_columns(&mut self, insert: &Insert, table: &TableDescriptor) -> Result<Vec<usize>> {
        if insert.columns.is_empty() {
            return Ok((0..table.columns.len()).collect());
        }
        let mut columns = Vec::with_capacity(insert.columns.len());
        for name in &insert.columns {
            let ordinal = self.target_column(table, name)?;
            if columns.contains(&ordinal) {
                let message = format!("column \"{}\" specified more than once", name.name);
                return Err(self.error("42701", message, name.pos));
            }
            columns.push(ordinal);
        }
        Ok(columns)
    }

    fn insert_source(
        &mut self,
        insert: &Insert,
        table: &Arc<TableDescriptor>,
        columns: &[usize],
    ) -> Result<InsertSource> {
        let InsertFrom::Query(query) = &insert.source else {
            let row = self.whole_row_of(table, &[], Vec::new())?;
            return Ok(InsertSource::Values(vec![row]));
        };
        if let Some(rows) = plain_values(query) {
            self.push_level(Scope::default(), Clause::InsertValues);
            let bound = self.insert_rows(insert, rows, table, columns);
            let level = self.pop_level();
            let bound = bound?;
            if level.subqueries.is_empty() {
                return Ok(InsertSource::Values(bound));
            }
            return self.rows_with_subqueries(bound, level);
        }
        let mut rel = self.query_keeping(query, true)?;
        self.check_width(insert, rel.width(), columns.len())?;
        // Literals without a type take the column's; the rest is converted row by row.
        let types: Vec<ColumnType> = rel
            .fields
            .iter()
            .zip(columns)
            .map(|(f, o)| match f.ty.ty {
                datum::SqlType::Unknown => ColumnType::plain(table.columns[*o].ty.ty.clone()),
                _ => f.ty.clone(),
            })
            .collect();
        self.coerce_outputs(&mut rel, &types, "INSERT")?;
        let given = columns[..rel.width()].to_vec();
        let values: Result<Vec<Expr>> = given
            .iter()
            .enumerate()
            .map(|(i, o)| {
                self.check_generated(insert, table, *o)?;
                let value = Expr::column(i, rel.fields[i].ty.clone());
                self.assign(value, &table.columns[*o], insert.pos)
            })
            .collect();
        let project = self.whole_row_of(table, &given, values?)?;
        let rel = Box::new(crate::access::simplify(rel));
        Ok(InsertSource::Query { rel, project })
    }

    fn insert_rows(
        &mut self,
        insert: &Insert,
        rows: &[Vec<crate::ast::Expr>],
        table: &Arc<TableDescriptor>,
        columns: &[usize],
    ) -> Result<Vec<Vec<Expr>>> {
        let width = rows.first().map_or(0, Vec::len);
        let mut bound = Vec::with_capacity(rows.len());
        for row in rows {
            if row.len() != width {
                let pos = row.first().map_or(0, |e| e.pos);
                return Err(self.error("42601", "VALUES lists must all be the same length", pos));
            }
            self.check_width_at(
                insert,
                width,
                columns.len(),
                row.get(columns.len()).map(|e| e.pos),
            )?;
            let given = &columns[..width];
            let mut values = Vec::with_capacity(width);
            for (ast, ordinal) in row.iter().zip(given) {
                let is_default = matches!(ast.kind, ExprKind::Default);
                let column = &table.columns[*ordinal];
                let user = insert.overriding == Some(Overriding::User) && column.identity.is_some();
                if is_default || user {
                    values.push(self.default_or_generated(table, *ordinal)?);
                    continue;
                }
                self.check_generated(insert, table, *ordinal)?;
                let expr = self.expr(ast)?;
                values.push(self.assign(expr, column, ast.pos)?);
            }
            bound.push(self.whole_row_of(table, given, values)?);
        }
        Ok(bound)
    }

    fn default_or_generated(&mut self, table: &TableDescriptor, ordinal: usize) -> Result<Expr> {
        let column = &table.columns[ordinal];
        match column.generated {
            Some(_) => Ok(Expr::null(column.ty.clone())),
            None => self.default_expr(table, ordinal),
        }
    }

    /// A full row: the values given, defaults elsewhere.
    pub(crate) fn whole_row_of(
        &mut self,
        table: &TableDescriptor,
        given: &[usize],
        values: Vec<Expr>,
    ) -> Result<Vec<Expr>> {
        let mut row: Vec<Option<Expr>> = vec![None; table.columns.len()];
        for (ordinal, value) in given.iter().zip(values) {
            row[*ordinal] = Some(value);
        }
        row.into_iter()
            .enumerate()
            .map(|(ordinal, value)| match value {
                Some(value) => Ok(value),
                None => self.default_or_generated(table, ordinal),
            })
            .collect()
    }

    fn check_generated(
        &self,
        insert: &Insert,
        table: &TableDescriptor,
        ordinal: usize,
    ) -> Result<()> {
        let column = &table.columns[ordinal];
        let message =
            || format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
        if column.generated.is_some() {
            return Err(PlanError::new("428C9", message())
                .detail(format!("Column \"{}\" is a generated column.", column.name)));
        }
        let always = column.identity.as_ref().is_some_and(|i| i.always);
        if always && insert.overriding.is_none() {
            return Err(PlanError::new("428C9", message())
                .detail(format!(
                    "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
                    column.name
                ))
                .hint("Use OVERRIDING SYSTEM VALUE to override."));
        }
        Ok(())
    }

    fn check_width(&self, insert: &Insert, given: usize, columns: usize) -> Result<()> {
        self.check_width_at(insert, given, columns, None)
    }

    fn check_width_at(
        &self,
        insert: &Insert,
        given: usize,
        columns: usize,
        pos: Option<u32>,
    ) -> Result<()> {
        if given > columns {
            let message = "INSERT has more expressions than target columns";
            return Err(self.error("42601", message, pos.unwrap_or(insert.pos)));
        }
        if given < columns && !insert.columns.is_empty() {
            let message = "INSERT has more target columns than expressions";
            let pos = insert.columns[given].pos;
            return Err(self.error("42601", message, pos));
        }
        Ok(())
    }

    /// VALUES whose expressions hold subqueries: rows come from the relational engine.
    fn rows_with_subqueries(
        &mut self,
        rows: Vec<Vec<Expr>>,
        level: super::scope::Level,
    ) -> Result<InsertSource> {
        self.levels.push(level);
        let result = self.rows_as_query(rows);
        self.pop_level();
        result
    }

    fn rows_as_query(&mut self, rows: Vec<Vec<Expr>>) -> Result<InsertSource> {
        let types: Vec<ColumnType> = match rows.first() {
            Some(row) => row.iter().map(|e| e.ty().clone()).collect(),
            None => Vec::new(),
        };
        if rows.iter().flatten().any(Expr::is_volatile) {
            return Err(PlanError::unsupported("INSERT of subqueries beside volatile defaults"));
        }
        let mut all: Option<crate::plan::Rel> = None;
        for mut row in rows {
            let mut parts: Vec<&mut Expr> = row.iter_mut().collect();
            let input =
                self.place_subqueries(super::from::one_row(), &mut parts, &|e| Some(e.clone()))?;
            let row = super::select::project(input, row, &[]);
            all = Some(match all {
                None => row,
                Some(before) => {
                    let fields = before.fields.clone();
                    let (left, right) = (Box::new(before), Box::new(row));
                    let op = crate::plan::SetOperator::Union;
                    crate::plan::Rel::new(
                        crate::plan::RelNode::SetOp { op, all: true, left, right },
                        fields,
                    )
                }
            });
        }
        let rel = Box::new(all.unwrap_or_else(super::from::one_row));
        let project = types.into_iter().enumerate().map(|(i, ty)| Expr::column(i, ty)).collect();
        Ok(InsertSource::Query { rel, project })
    }

    // ---- ON CONFLICT ----

    fn on_conflict(
        &mut self,
        clause: &OnConflictClause,
        table: &Arc<TableDescriptor>,
        alias: &str,
    ) -> Result<OnConflict> {
        let arbiters = clause.target.as_ref().map(|t| self.arbiters(t, table)).transpose()?;
        let Some((set, filter)) = &clause.update else {
            return Ok(OnConflict { arbiters, action: ConflictAction::Nothing });
        };
        if arbiters.is_none() {
            let message =
                "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(self
                .error("42601", message, clause.pos)
                .hint("For example, ON CONFLICT (column_name)."));
        }
        let mut scope = Self::row_scope(table, alias, 0);
        scope.append(Self::row_scope(table, "excluded", 0), table.columns.len());
        scope.star.truncate(table.columns.len());
        self.push_level(scope, Clause::UpdateSet);
        let bound = self.conflict_update(set, filter.as_ref(), table);
        let level = self.pop_level();
        let (set, filter) = bound?;
        if !level.subqueries.is_empty() {
            return Err(PlanError::unsupported("a subquery in ON CONFLICT DO UPDATE"));
        }
        let assigned: Vec<usize> = set.iter().map(|(o, _)| *o).collect();
        let changes_key = super::update::changes_key(table, &assigned);
        let checks = self.checks(table, Some(&assigned))?;
        let action = ConflictAction::Update { set, filter, changes_key, checks };
        Ok(OnConflict { arbiters, action })
    }

    fn conflict_update(
        &mut self,
        set: &[Assignment],
        filter: Option<&crate::ast::Expr>,
        table: &Arc<TableDescriptor>,
    ) -> Result<(Vec<(usize, Expr)>, Option<Expr>)> {
        let set = self.assignments(set, table)?;
        let filter = filter.map(|f| self.condition(f, "argument of WHERE")).transpose()?;
        Ok((set, filter))
    }

    fn arbiters(
        &mut self,
        target: &ConflictTarget,
        table: &TableDescriptor,
    ) -> Result<Vec<IndexId>> {
        match target {
            ConflictTarget::Constraint(name) => {
                let constraint = table.constraint_named(&name.name);
                let Some(constraint) = constraint else {
                    let message = format!(
                        "constraint \"{}\" for table \"{}\" does not exist",
                        name.name, table.name
                    );
                    return Err(self.error("42704", message, name.pos));
                };
                let index = constraint.index().and_then(|oid| table.index(oid));
                match index {
                    Some(index) => Ok(vec![index.id]),
                    None => {
                        let message = "constraint in ON CONFLICT clause has no associated index";
                        Err(self.error("42809", message, name.pos))
                    }
                }
            }
            ConflictTarget::Columns { columns, filter } => {
                if filter.is_some() {
                    return Err(PlanError::unsupported("ON CONFLICT with a partial index"));
                }
                let mut wanted = Vec::new();
                for column in columns {
                    let ExprKind::Column(parts) = &column.kind else {
                        return Err(PlanError::unsupported("an expression in ON CONFLICT")
                            .at(self.at(column.pos)));
                    };
                    let [name] = parts.as_slice() else {
                        return Err(PlanError::unsupported("an expression in ON CONFLICT")
                            .at(self.at(column.pos)));
                    };
                    let Some((ordinal, _)) = table.column_named(&name.name) else {
                        let message = format!("column \"{}\" does not exist", name.name);
                        return Err(self.error("42703", message, name.pos));
                    };
                    wanted.push(ordinal);
                }
                wanted.sort_unstable();
                wanted.dedup();
                let matches = |index: &&catalog::IndexDescriptor| {
                    let mut own = table.index_ordinals(index);
                    own.sort_unstable();
                    own == wanted && index.predicate.is_none()
                };
                let found: Vec<IndexId> =
                    table.unique_indexes().filter(matches).map(|i| i.id).collect();
                if found.is_empty() {
                    let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                    return Err(PlanError::new("42P10", message));
                }
                Ok(found)
            }
        }
    }
}

/// `VALUES (...), (...)` with nothing around it.
fn plain_values(query: &Query) -> Option<&[Vec<crate::ast::Expr>]> {
    let bare = query.with.is_none()
        && query.order.is_empty()
        && query.limit.is_none()
        && query.offset.is_none();
    match &query.body {
        SetExpr::Values(rows) if bare => Some(rows),
        _ => None,
    }
}
