//! FROM: tables, views, CTEs, derived tables, functions.
//!
//! An item that reads its left neighbours (LATERAL; functions always may) is bound with their scope
//! pushed as a level, and becomes the right side of a lateral Apply. One that turns out not to read
//! them is joined, and its outer references move up by one.

use super::Binder;
use super::cte::CteBinding;
use super::scope::{Clause, Scope, ScopeColumn, ScopeTable};
use crate::ast::{
    Call, ColumnDefItem, Expr as Ast, ExprKind, FromItem, Ident, ObjectName, Pos, Query,
    SampleClause, TableAlias,
};
use crate::error::{PlanError, Result};
use crate::plan::{
    ApplyKind, Field, JoinKind, Rel, RelNode, Sample, SetCall, TableFunctionCall,
    TableFunctionSource, VirtualTableRef,
};
use catalog::{Relation, RowKey, TableDescriptor, ViewDescriptor};
use datum::{ColumnType, SqlType};
use expr::{Expr, ResolvedCall};
use std::sync::Arc;

/// Tables that one FROM clause may join. Planning takes time with the cube of their number, and no
/// time-out ends it.
const TABLES_MAX: usize = 256;

/// A bound FROM item.
pub(crate) struct Source {
    pub rel: Rel,
    pub scope: Scope,
}

impl Binder<'_> {
    /// The whole FROM clause; one row of nothing if it is empty.
    pub(crate) fn from(&mut self, items: &[FromItem]) -> Result<Source> {
        let base = std::mem::replace(&mut self.from_base, self.levels.len());
        let result = self.from_list(items, None);
        self.from_base = base;
        result
    }

    /// Items after `first`, which is bound already (the target of UPDATE and DELETE).
    pub(crate) fn from_after(&mut self, first: Source, items: &[FromItem]) -> Result<Source> {
        let base = std::mem::replace(&mut self.from_base, self.levels.len());
        let result = self.from_list(items, Some(first));
        self.from_base = base;
        result
    }

    fn from_list(&mut self, items: &[FromItem], first: Option<Source>) -> Result<Source> {
        let mut left = first;
        for item in items {
            left = Some(match left {
                None => self.from_item(item)?,
                Some(left) => self.cross(left, item)?,
            });
        }
        Ok(left.unwrap_or_else(|| Source { rel: one_row(), scope: Scope::default() }))
    }

    fn cross(&mut self, left: Source, item: &FromItem) -> Result<Source> {
        let (right, lateral) = self.beside(&left.scope, item)?;
        let mut scope = left.scope;
        self.check_aliases(&scope, &right.scope)?;
        scope.append(right.scope, left.rel.width());
        let rel = if lateral {
            lateral_apply(ApplyKind::Lateral, left.rel, right.rel)
        } else {
            join(JoinKind::Inner, left.rel, right.rel)
        };
        Ok(Source { rel, scope })
    }

    /// Binds an item that may see `left`; answers whether it does.
    pub(crate) fn beside(&mut self, left: &Scope, item: &FromItem) -> Result<(Source, bool)> {
        self.push_level(left.clone(), Clause::From);
        let result = self.from_item(item);
        self.pop_level();
        let mut source = result?;
        let lateral = source.rel.reads_outer(0);
        if !lateral {
            source.rel.shift_outer(-1);
        }
        Ok((source, lateral))
    }

    /// # Errors
    /// 42712 `table name "t" specified more than once`; 54000 beyond [`TABLES_MAX`].
    pub(crate) fn check_aliases(&self, left: &Scope, right: &Scope) -> Result<()> {
        if left.tables.len() + right.tables.len() > TABLES_MAX {
            let message = format!("a FROM clause joins more than {TABLES_MAX} tables");
            return Err(PlanError::new("54000", message));
        }
        let clash = right.tables.iter().find(|r| {
            left.tables.iter().any(|l| {
                l.alias == r.alias
                    && (l.schema == r.schema || l.schema.is_none() || r.schema.is_none())
            })
        });
        match clash {
            None => Ok(()),
            Some(table) => {
                let message = format!("table name \"{}\" specified more than once", table.alias);
                Err(PlanError::new("42712", message))
            }
        }
    }

    pub(crate) fn from_item(&mut self, item: &FromItem) -> Result<Source> {
        self.deeper(|b| match item {
            FromItem::Table { name, alias, sample } => {
                b.table(name, alias.as_ref(), sample.as_ref())
            }
            FromItem::Query { lateral, query, alias, pos } => {
                b.derived(*lateral, query, alias.as_ref(), *pos)
            }
            FromItem::Function { calls, ordinality, alias, columns, pos, .. } => {
                b.function(calls, *ordinality, alias.as_ref(), columns, *pos)
            }
            FromItem::Join { kind, left, right, condition, alias, pos } => {
                b.join_item(*kind, left, right, condition, alias.as_ref(), *pos)
            }
        })
    }

    // ---- relations ----

    fn table(
        &mut self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        sample: Option<&SampleClause>,
    ) -> Result<Source> {
        if name.parts.len() == 1
            && let Some(source) = self.cte_reference(name, alias)?
        {
            return Ok(source);
        }
        let Some(relation) = self.find_relation(name)? else {
            return Err(self.missing_relation(name));
        };
        match relation {
            Relation::Table(table) => {
                let table = table.clone();
                self.note_use(table.oid, None);
                let sample = sample.map(|s| self.sample(s)).transpose()?;
                let row_ids = self.row_ids;
                let mut source = self.stored(&table, name, alias, row_ids)?;
                if let RelNode::Scan { sample: slot, .. } = &mut source.rel.node {
                    *slot = sample;
                }
                Ok(source)
            }
            _ if sample.is_some() => {
                let message =
                    "TABLESAMPLE clause can only be applied to tables and materialized views";
                Err(self.error("42809", message, name.pos()))
            }
            Relation::View(view) => {
                let view = view.clone();
                self.view(&view, name, alias)
            }
            Relation::Virtual(table) => {
                let fields: Vec<Field> = table
                    .columns()
                    .iter()
                    .enumerate()
                    .map(|(i, c)| Field {
                        origin: Some((table.oid, i as i16 + 1)),
                        ..Field::new(c.name, ColumnType::plain(c.ty.clone()))
                    })
                    .collect();
                let columns = (0..fields.len()).collect();
                let node = RelNode::VirtualScan { table: VirtualTableRef(table), columns };
                let mut source = self.named(Rel::new(node, fields), name, alias)?;
                source.scope.tables[0].relation = Some(table.oid);
                Ok(source)
            }
            Relation::Sequence(_) => {
                Err(PlanError::unsupported("reading a sequence as a table").at(self.at(name.pos())))
            }
            Relation::Index(..) => {
                Err(self.error("42809", format!("\"{}\" is an index", name.name()), name.pos()))
            }
        }
    }

    fn missing_relation(&self, name: &ObjectName) -> PlanError {
        let error = self.error("42P01", format!("relation \"{name}\" does not exist"), name.pos());
        let later = name.parts.len() == 1
            && self.ctes.iter().any(|c| c.name == name.name() && !c.is_visible());
        match later {
            true => error.detail(format!(
                "There is a WITH item named \"{name}\", but it cannot be referenced from this part of the query."
            )),
            false => error,
        }
    }

    /// A stored table's rows: all columns by ordinal, then the hidden row id if asked for.
    pub(crate) fn stored(
        &mut self,
        table: &Arc<TableDescriptor>,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        row_id: bool,
    ) -> Result<Source> {
        let row_id = row_id && table.row_key() == RowKey::Hidden;
        let mut fields = table_fields(table);
        let columns = (0..fields.len()).collect();
        if row_id {
            fields.push(Field::new("", ColumnType::plain(SqlType::Int8)));
        }
        let node = RelNode::Scan { table: table.clone(), columns, row_id, sample: None };
        let mut source = self.named(Rel::new(node, fields), name, alias)?;
        if row_id {
            // Not to be seen by name.
            let last = source.scope.columns.len() - 1;
            source.scope.columns.pop();
            source.scope.star.retain(|c| *c != last);
            source.scope.tables[0].columns.retain(|c| *c != last);
        }
        source.scope.tables[0].stored = Some((table.clone(), 0));
        source.scope.tables[0].relation = Some(table.oid);
        for (ordinal, column) in source.scope.columns.iter_mut().enumerate() {
            column.origin = Some((table.oid, ordinal));
        }
        Ok(source)
    }

    fn view(
        &mut self,
        view: &Arc<ViewDescriptor>,
        name: &ObjectName,
        alias: Option<&TableAlias>,
    ) -> Result<Source> {
        self.note_use(view.oid, None);
        let statement = crate::parse_one(&view.definition)?;
        let crate::ast::Stmt::Query(query) = &*statement.ast else {
            return Err(PlanError::new("XX000", format!("view \"{}\" is not a query", view.name)));
        };
        let mut rel = self.apart(Some(view.search_path.clone()), |b| b.query(query))?;
        for (i, (field, column)) in rel.fields.iter_mut().zip(&view.columns).enumerate() {
            field.name.clone_from(&column.name);
            field.origin = Some((view.oid, i as i16 + 1));
        }
        let mut source = self.named(rel, name, alias)?;
        for (ordinal, column) in source.scope.columns.iter_mut().enumerate() {
            column.origin = Some((view.oid, ordinal));
        }
        Ok(source)
    }

    fn sample(&mut self, clause: &SampleClause) -> Result<Sample> {
        let method = clause.method.name.as_str();
        if !matches!(method, "bernoulli" | "system") {
            let message = format!("tablesample method {method} does not exist");
            return Err(self.error("42704", message, clause.method.pos));
        }
        let [percent] = clause.args.as_slice() else {
            let message = format!(
                "tablesample method {method} requires 1 argument, not {}",
                clause.args.len()
            );
            return Err(self.error("2202H", message, clause.method.pos));
        };
        self.push_level(Scope::default(), Clause::From);
        let bound = (|| {
            let float = ColumnType::plain(SqlType::Float8);
            let percent = self.expr(percent)?;
            let percent =
                self.resolver.coerce(percent, &float, expr::CoercionContext::Assignment)?;
            let seed = match &clause.seed {
                None => None,
                Some(seed) => {
                    let seed = self.expr(seed)?;
                    Some(self.resolver.coerce(seed, &float, expr::CoercionContext::Assignment)?)
                }
            };
            Ok(Sample { percent, seed })
        })();
        self.pop_level();
        bound
    }

    /// Gives a relation its name and its columns their aliases.
    pub(crate) fn named(
        &mut self,
        rel: Rel,
        name: &ObjectName,
        alias: Option<&TableAlias>,
    ) -> Result<Source> {
        match alias {
            Some(alias) => self.aliased(rel, Some(alias), alias.name.pos),
            None => {
                let own =
                    name.parts.last().cloned().unwrap_or(Ident { name: String::new(), pos: 0 });
                let plain = TableAlias { name: own, columns: Vec::new() };
                let mut source = self.aliased(rel, Some(&plain), name.pos())?;
                source.scope.tables[0].schema = match name.schema() {
                    Some(schema) => Some(schema.to_string()),
                    None => self.relation(name).ok().and_then(|r| {
                        self.context.catalog.schema_name(r.schema()).map(str::to_string)
                    }),
                };
                Ok(source)
            }
        }
    }

    pub(crate) fn aliased(
        &mut self,
        mut rel: Rel,
        alias: Option<&TableAlias>,
        pos: Pos,
    ) -> Result<Source> {
        let mut scope = Scope::default();
        let given = alias.map_or(&[][..], |a| a.columns.as_slice());
        if given.len() > rel.width() {
            let name = alias.map_or("", |a| a.name.name.as_str());
            let message = format!(
                "table \"{name}\" has {} columns available but {} columns specified",
                rel.width(),
                given.len()
            );
            return Err(self.error("42P10", message, pos));
        }
        for (i, field) in rel.fields.iter_mut().enumerate() {
            if let Some(column) = given.get(i) {
                field.name.clone_from(&column.name);
            }
            field.qualifier = alias.map(|a| a.name.name.clone());
            scope.columns.push(ScopeColumn {
                name: field.name.clone(),
                expr: Expr::column(i, field.ty.clone()),
                bare: true,
                origin: None,
            });
        }
        scope.star = (0..scope.columns.len()).collect();
        if let Some(alias) = alias {
            let columns = scope.star.clone();
            scope.tables.push(ScopeTable::named(alias.name.name.clone(), columns));
        }
        Ok(Source { rel, scope })
    }

    fn derived(
        &mut self,
        lateral: bool,
        query: &Query,
        alias: Option<&TableAlias>,
        pos: Pos,
    ) -> Result<Source> {
        let Some(alias) = alias else {
            let what = match query.body {
                crate::ast::SetExpr::Values(_) => "VALUES in FROM must have an alias",
                _ => "subquery in FROM must have an alias",
            };
            let hint = match query.body {
                crate::ast::SetExpr::Values(_) => "For example, FROM (VALUES ...) [AS] foo.",
                _ => "For example, FROM (SELECT ...) [AS] foo.",
            };
            return Err(self.error("42601", what, pos).hint(hint));
        };
        let base = self.from_base;
        let was: Vec<bool> = self.levels[base..].iter().map(|l| l.hidden).collect();
        if !lateral {
            self.levels[base..].iter_mut().for_each(|l| l.hidden = true);
        }
        let row_ids = std::mem::replace(&mut self.row_ids, false);
        let result = self.query(query);
        self.row_ids = row_ids;
        for (level, hidden) in self.levels[base..].iter_mut().zip(was) {
            level.hidden = hidden;
        }
        let rel = result?;
        self.aliased(rel, Some(alias), alias.name.pos)
    }

    // ---- CTEs ----

    fn cte_reference(
        &mut self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
    ) -> Result<Option<Source>> {
        let found = self.ctes.iter().rposition(|c| c.name == name.name() && c.is_visible());
        let Some(at) = found else { return Ok(None) };
        let cte: &mut CteBinding = &mut self.ctes[at];
        let Some(fields) = cte.fields.clone() else {
            let message = format!(
                "recursive reference to query \"{name}\" must not appear within its non-recursive term"
            );
            return Err(self.error("42P19", message, name.pos()));
        };
        cte.references += 1;
        let fields = fields.into_iter().map(|f| Field { qualifier: None, ..f }).collect();
        let rel = Rel::new(RelNode::CteRef { id: cte.id, name: cte.name.clone() }, fields);
        let own = TableAlias { name: name.parts[0].clone(), columns: Vec::new() };
        self.aliased(rel, Some(alias.unwrap_or(&own)), name.pos()).map(Some)
    }

    // ---- functions ----

    fn function(
        &mut self,
        calls: &[(Ast, Vec<ColumnDefItem>)],
        ordinality: bool,
        alias: Option<&TableAlias>,
        definitions: &[ColumnDefItem],
        pos: Pos,
    ) -> Result<Source> {
        self.push_level(Scope::default(), Clause::From);
        let result = self.function_rel(calls, ordinality, definitions);
        let rel = match result {
            Ok(rel) => self.with_argument_subqueries(rel),
            Err(error) => Err(error),
        };
        self.pop_level();
        let (rel, names_alone) = rel?;
        let scalar = names_alone && !ordinality;
        let own_name = calls.first().map(|(call, _)| super::call::column_name(call));
        let own =
            own_name.map(|name| TableAlias { name: Ident { name, pos }, columns: Vec::new() });
        // `jsonb_array_elements` has named its column: value, whatever the alias.
        let unnamed = match (&own, rel.fields.first()) {
            (Some(own), Some(field)) => field.name == own.name.name,
            _ => true,
        };
        let alias = alias.or(own.as_ref());
        let mut renamed = alias.cloned();
        if let Some(renamed) = &mut renamed
            && names_alone
            && unnamed
            && renamed.columns.is_empty()
        {
            // `generate_series(1, 3) g`: the column is called g too.
            renamed.columns.push(renamed.name.clone());
        }
        let mut source = self.aliased(rel, renamed.as_ref(), pos)?;
        if let Some(table) = source.scope.tables.first_mut() {
            table.scalar = scalar;
        }
        Ok(source)
    }

    fn function_rel(
        &mut self,
        calls: &[(Ast, Vec<ColumnDefItem>)],
        ordinality: bool,
        definitions: &[ColumnDefItem],
    ) -> Result<(Rel, bool)> {
        let mut functions = Vec::new();
        let mut fields = Vec::new();
        let mut names_alone = false;
        for (ast, own) in calls {
            let own = if own.is_empty() { definitions } else { own };
            for ast in split_unnest(ast) {
                let (call, columns, scalar) = self.table_function(&ast, own)?;
                functions.push(call);
                fields.extend(columns);
                names_alone = scalar;
            }
        }
        names_alone &= functions.len() == 1;
        if ordinality {
            fields.push(Field::new("ordinality", ColumnType::plain(SqlType::Int8)));
        }
        Ok((Rel::new(RelNode::TableFunction { functions, ordinality }, fields), names_alone))
    }

    /// One function, its columns, and whether its result is one unnamed scalar.
    fn table_function(
        &mut self,
        ast: &Ast,
        definitions: &[ColumnDefItem],
    ) -> Result<(TableFunctionCall, Vec<Field>, bool)> {
        let name = super::call::column_name(ast);
        let ExprKind::Call(call) = &ast.kind else {
            let expr = self.typed_expr(ast)?;
            return Ok(scalar_source(expr, name));
        };
        let at = self.at(ast.pos);
        let function = call.name.name().to_string();
        let set = match self.resolve_call(call, &function, ast.pos)? {
            super::call::Bound::Expr(expr)
            | super::call::Bound::Resolved(ResolvedCall::Scalar(expr)) => {
                let expr = self.resolver.default_unknown(expr)?;
                return Ok(scalar_source(expr, name));
            }
            super::call::Bound::Resolved(ResolvedCall::Set(set)) => set,
            super::call::Bound::Resolved(ResolvedCall::Aggregate(_)) => {
                return Err(self.refuse("aggregate functions", "42803", Clause::From, ast.pos));
            }
            super::call::Bound::Resolved(ResolvedCall::Window(_)) => {
                return Err(self.refuse("window functions", "42P20", Clause::From, ast.pos));
            }
        };
        let set = if set.needs_column_list() {
            if definitions.is_empty() {
                let message =
                    "a column definition list is required for functions returning \"record\"";
                return Err(PlanError::new("42601", message).at(at));
            }
            let columns: Result<Vec<_>> = definitions
                .iter()
                .map(|d| Ok((Arc::from(d.name.name.as_str()), self.ty(&d.ty)?)))
                .collect();
            set.with_columns(columns?)
        } else {
            set
        };
        let columns: Vec<Field> =
            set.bound.columns.iter().map(|(name, ty)| Field::new(&**name, ty.clone())).collect();
        let scalar = columns.len() == 1 && definitions.is_empty();
        let width = columns.len();
        let ty = super::call::set_type(&set);
        let source = TableFunctionSource::Set(SetCall { function: set.bound, args: set.args, ty });
        Ok((TableFunctionCall { source, width }, columns, scalar))
    }

    /// Subqueries among a function's arguments: computed first, then read as outer columns.
    fn with_argument_subqueries(&mut self, (mut rel, scalar): (Rel, bool)) -> Result<(Rel, bool)> {
        if self.level().subqueries.is_empty() {
            return Ok((rel, scalar));
        }
        rel.shift_outer(1);
        let mut left = one_row();
        {
            let mut exprs = rel.exprs_mut();
            left = self.place_subqueries(left, &mut exprs, &|e| Some(e.clone()))?;
        }
        for expr in rel.exprs_mut() {
            expr.transform(&mut |part| {
                if let Expr::Column { index, ty } = part {
                    *part = Expr::OuterColumn { depth: 0, index: *index, ty: ty.clone() };
                }
            });
        }
        let fields = rel.fields.clone();
        let start = left.width();
        let exprs =
            fields.iter().enumerate().map(|(i, f)| Expr::column(start + i, f.ty.clone())).collect();
        let input = Box::new(lateral_apply(ApplyKind::Lateral, left, rel));
        Ok((Rel::new(RelNode::Project { input, exprs }, fields), scalar))
    }
}

fn scalar_source(expr: Expr, name: String) -> (TableFunctionCall, Vec<Field>, bool) {
    let field = Field::new(name, expr.ty().clone());
    (TableFunctionCall { source: TableFunctionSource::Scalar(expr), width: 1 }, vec![field], true)
}

/// `unnest(a, b)` in FROM is `ROWS FROM (unnest(a), unnest(b))`.
fn split_unnest(ast: &Ast) -> Vec<Ast> {
    let ExprKind::Call(call) = &ast.kind else { return vec![ast.clone()] };
    if call.name.name() != "unnest" || call.args.len() < 2 {
        return vec![ast.clone()];
    }
    let alone = |arg: &crate::ast::Arg| {
        let call = Call { args: vec![arg.clone()], ..(**call).clone() };
        Ast { kind: ExprKind::Call(Box::new(call)), pos: ast.pos }
    };
    call.args.iter().map(alone).collect()
}

/// The columns of a table, by ordinal.
pub(crate) fn table_fields(table: &TableDescriptor) -> Vec<Field> {
    table
        .columns
        .iter()
        .map(|c| Field {
            origin: Some((table.oid, c.id.0 as i16)),
            qualifier: Some(table.name.clone()),
            ..Field::new(c.name.clone(), c.ty.clone())
        })
        .collect()
}

/// What SELECT without FROM reads.
pub(crate) fn one_row() -> Rel {
    Rel::new(RelNode::Values { rows: vec![Vec::new()] }, Vec::new())
}

pub(crate) fn join(kind: JoinKind, left: Rel, right: Rel) -> Rel {
    let mut fields = left.fields.clone();
    fields.extend(right.fields.iter().cloned());
    let (left, right) = (Box::new(left), Box::new(right));
    Rel::new(RelNode::Join { kind, left, right, on: Vec::new(), filter: None }, fields)
}

pub(crate) fn lateral_apply(kind: ApplyKind, left: Rel, right: Rel) -> Rel {
    let mut fields = left.fields.clone();
    fields.extend(right.fields.iter().cloned());
    Rel::new(RelNode::Apply { kind, left: Box::new(left), right: Box::new(right) }, fields)
}

pub(crate) fn filter(input: Rel, predicate: Expr) -> Rel {
    let fields = input.fields.clone();
    Rel::new(RelNode::Filter { input: Box::new(input), predicate }, fields)
}
