//! CREATE TABLE, CREATE TABLE AS, and the columns and constraints that ALTER TABLE adds.

use super::scope::{Clause, Scope, ScopeColumn, ScopeTable};
use super::{Binder, planned};
use crate::ast::{
    ColumnClause, ColumnConstraint, ConstraintClause, ConstraintClauseKind, CreateAsSource,
    CreateTableAsStmt, CreateTableStmt, Ident, ObjectName, SequenceOption, StoredText,
    TableElement, TypeName,
};
use crate::error::{PlanError, Result};
use crate::plan::{DdlPlan, NewConstraint, Plan, Planned, Tag};
use catalog::change::{AutoIncrement, SequenceOptions};
use catalog::{
    ConstraintKind, NewCheck, NewColumn, NewForeignKey, NewKeyConstraint, NewTable, Oid, Relation,
    TableDescriptor,
};
use datum::{ColumnType, SqlType};
use expr::Expr;

/// A column of a table that is being made, as its expressions see it.
#[derive(Clone, Debug)]
pub(crate) struct NamedType {
    pub name: String,
    pub ty: ColumnType,
}

impl Binder<'_> {
    pub(crate) fn create_table(&mut self, stmt: &CreateTableStmt) -> Result<Planned> {
        let schema = self.creation_schema(&stmt.name)?;
        let mut table = NewTable {
            schema,
            name: stmt.name.name().to_string(),
            options: stmt.options.clone(),
            ..NewTable::default()
        };
        let mut row: Vec<NamedType> = Vec::new();
        for element in &stmt.elements {
            match element {
                TableElement::Column(column) => {
                    let ty = self.column_type(&column.ty)?.0;
                    row.push(NamedType { name: column.name.name.clone(), ty });
                }
                TableElement::Like { table: like, .. } => {
                    let like = self.like_source(like)?;
                    let columns = like.columns.iter();
                    row.extend(
                        columns.map(|c| NamedType { name: c.name.clone(), ty: c.ty.clone() }),
                    );
                }
                TableElement::Constraint(_) => {}
            }
        }
        for (i, column) in row.iter().enumerate() {
            if row[..i].iter().any(|c| c.name == column.name) {
                let message = format!("column \"{}\" specified more than once", column.name);
                return Err(PlanError::new("42701", message));
            }
        }
        for element in &stmt.elements {
            match element {
                TableElement::Column(clause) => {
                    let (column, constraints) =
                        self.new_column(clause, &table.name.clone(), &row)?;
                    table.columns.push(column);
                    for constraint in constraints {
                        self.add_constraint(&mut table, constraint, &stmt.name)?;
                    }
                }
                TableElement::Constraint(clause) => {
                    let constraint =
                        self.new_constraint(clause, &stmt.name, &table.name.clone(), &row)?;
                    self.add_constraint(&mut table, constraint, &stmt.name)?;
                }
                TableElement::Like { table: like, including } => {
                    self.copy_like(&mut table, like, including)?;
                }
            }
        }
        let plan = DdlPlan::CreateTable {
            table,
            if_not_exists: stmt.if_not_exists,
            temporary: stmt.temporary,
            unlogged: stmt.unlogged,
        };
        Ok(planned(Plan::Ddl(Box::new(plan)), Tag("CREATE TABLE")))
    }

    fn add_constraint(
        &self,
        table: &mut NewTable,
        constraint: NewConstraint,
        name: &ObjectName,
    ) -> Result<()> {
        match constraint {
            NewConstraint::PrimaryKey(key) => {
                if table.primary_key.is_some() {
                    let message = format!(
                        "multiple primary keys for table \"{}\" are not allowed",
                        table.name
                    );
                    return Err(self.error("42P16", message, name.pos()));
                }
                table.primary_key = Some(key);
            }
            NewConstraint::Unique(key) => table.uniques.push(key),
            NewConstraint::Check(check) => table.checks.push(check),
            NewConstraint::ForeignKey(key) => table.foreign_keys.push(key),
            NewConstraint::UsingIndex { .. } => {
                let message = "cannot use an existing index in CREATE TABLE";
                return Err(PlanError::new("0A000", message));
            }
        }
        Ok(())
    }

    /// A column's type; SERIAL names a type and a sequence.
    fn column_type(&self, name: &TypeName) -> Result<(ColumnType, bool)> {
        let serial = match name.name.name() {
            "serial" | "serial4" => SqlType::Int4,
            "bigserial" | "serial8" => SqlType::Int8,
            "smallserial" | "serial2" => SqlType::Int2,
            _ => {
                let ty = self.ty(name)?;
                if matches!(ty.ty, SqlType::Unknown | SqlType::Record | SqlType::Void) {
                    let message = format!("column has pseudo-type {}", ty.ty.name());
                    return Err(self.error("42P16", message, name.pos));
                }
                return Ok((ty, false));
            }
        };
        if name.array {
            return Err(self.error("0A000", "array of serial is not implemented", name.pos));
        }
        Ok((ColumnType::plain(serial), true))
    }

    pub(crate) fn new_column(
        &mut self,
        clause: &ColumnClause,
        table: &str,
        row: &[NamedType],
    ) -> Result<(NewColumn, Vec<NewConstraint>)> {
        let (ty, serial) = self.column_type(&clause.ty)?;
        let mut column = NewColumn::new(clause.name.name.clone(), ty.clone());
        let mut constraints = Vec::new();
        if serial {
            column.auto = Some(AutoIncrement::Serial);
            column.not_null = true;
        }
        if let Some(collation) = &clause.collation {
            column.collation = Some(collation.name().to_string());
        }
        for constraint in &clause.constraints {
            match constraint {
                ColumnConstraint::NotNull => column.not_null = true,
                ColumnConstraint::Null => {
                    if column.not_null {
                        let message = format!(
                            "conflicting NULL/NOT NULL declarations for column \"{}\" of table \"{table}\"",
                            column.name
                        );
                        return Err(self.error("42601", message, clause.name.pos));
                    }
                }
                ColumnConstraint::Default(text) => {
                    if column.default.is_some() || serial {
                        let message = format!(
                            "multiple default values specified for column \"{}\" of table \"{table}\"",
                            column.name
                        );
                        return Err(self.error("42601", message, clause.name.pos));
                    }
                    self.check_default(text, &column.name, &ty)?;
                    column.default = Some(text.sql.clone());
                }
                ColumnConstraint::Identity { always, options } => {
                    if !matches!(ty.ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8) {
                        let message = "identity column type must be smallint, integer, or bigint";
                        return Err(self.error("22023", message, clause.ty.pos));
                    }
                    let options = self.identity_options(options)?;
                    column.auto = Some(AutoIncrement::Identity { always: *always, options });
                    column.not_null = true;
                }
                ColumnConstraint::Generated(text) => {
                    let (sql, columns) = self.over_row(text, table, row, Clause::Generated)?;
                    column.generated = Some((sql, columns));
                }
                ColumnConstraint::Table(clause) => {
                    let own = ObjectName {
                        parts: vec![Ident { name: table.to_string(), pos: clause.pos }],
                    };
                    let constraint = self.new_constraint(clause, &own, table, row)?;
                    if let NewConstraint::PrimaryKey(_) = constraint {
                        column.not_null = true;
                    }
                    constraints.push(constraint);
                }
            }
        }
        Ok((column, constraints))
    }

    /// Binds a DEFAULT to see that it is right.
    pub(crate) fn check_default(
        &mut self,
        text: &StoredText,
        column: &str,
        ty: &ColumnType,
    ) -> Result<()> {
        self.push_level(Scope::default(), Clause::Default);
        let bound = match &text.expr.kind {
            crate::ast::ExprKind::Column(_) => {
                let message = "cannot use column reference in DEFAULT expression";
                Err(self.error("0A000", message, text.expr.pos))
            }
            _ => self.expr(&text.expr),
        };
        let level = self.pop_level();
        let bound = bound?;
        if !level.subqueries.is_empty() {
            let message = "cannot use subquery in DEFAULT expression";
            return Err(self.error("0A000", message, text.expr.pos));
        }
        let from = bound.sql_type().clone();
        if !self.resolver.can_coerce(&from, &ty.ty, expr::CoercionContext::Assignment) {
            let message = format!(
                "column \"{column}\" is of type {} but default expression is of type {}",
                ty.ty.name(),
                from.name()
            );
            return Err(self
                .error("42804", message, text.expr.pos)
                .hint("You will need to rewrite or cast the expression."));
        }
        self.resolver.coerce(bound, ty, expr::CoercionContext::Assignment)?;
        Ok(())
    }

    /// Binds an expression over the row of a table in the making: its text, and the columns it reads.
    pub(crate) fn over_row(
        &mut self,
        text: &StoredText,
        table: &str,
        row: &[NamedType],
        clause: Clause,
    ) -> Result<(String, Vec<String>)> {
        let bound = self.row_expr(&text.expr, table, row, clause)?;
        if clause != Clause::Generated {
            self.resolver.coerce_to_boolean(
                bound.clone(),
                &format!("argument of {}", clause_word(clause)),
            )?;
        } else if bound.volatility() != expr::Volatility::Immutable {
            return Err(PlanError::new("42P17", "generation expression is not immutable"));
        }
        let columns = bound.columns().into_iter().map(|i| row[i].name.clone()).collect();
        Ok((text.sql.clone(), columns))
    }

    pub(crate) fn row_expr(
        &mut self,
        ast: &crate::ast::Expr,
        table: &str,
        row: &[NamedType],
        clause: Clause,
    ) -> Result<Expr> {
        self.push_level(named_scope(table, row), clause);
        let bound = self.expr(ast);
        let level = self.pop_level();
        let bound = bound?;
        if !level.subqueries.is_empty() {
            let message = format!("cannot use subquery in {}", clause.name().trim_end_matches('s'));
            return Err(self.error("0A000", message, ast.pos));
        }
        Ok(bound)
    }

    pub(crate) fn new_constraint(
        &mut self,
        clause: &ConstraintClause,
        table_name: &ObjectName,
        table: &str,
        row: &[NamedType],
    ) -> Result<NewConstraint> {
        let name = clause.name.as_ref().map(|n| n.name.clone());
        let key = |columns: &[Ident], include: &[Ident], nulls_not_distinct| NewKeyConstraint {
            name: name.clone(),
            columns: names(columns),
            include: names(include),
            nulls_not_distinct,
            deferrable: clause.deferrable,
            initially_deferred: clause.initially_deferred,
        };
        Ok(match &clause.kind {
            ConstraintClauseKind::PrimaryKey { columns, include } => {
                self.check_key_columns(columns, row)?;
                NewConstraint::PrimaryKey(key(columns, include, false))
            }
            ConstraintClauseKind::Unique { columns, include, nulls_not_distinct } => {
                self.check_key_columns(columns, row)?;
                NewConstraint::Unique(key(columns, include, *nulls_not_distinct))
            }
            ConstraintClauseKind::UsingIndex { index, primary } => {
                let object = ObjectName { parts: vec![index.clone()] };
                let Relation::Index(_, found) = self.relation(&object)? else {
                    let message = format!("\"{}\" is not an index", index.name);
                    return Err(self.error("42809", message, index.pos));
                };
                NewConstraint::UsingIndex { name, index: found.oid, primary: *primary }
            }
            ConstraintClauseKind::Check(text) => {
                let (sql, columns) = self.over_row(text, table, row, Clause::Check)?;
                NewConstraint::Check(NewCheck { name, sql, columns, not_valid: clause.not_valid })
            }
            ConstraintClauseKind::ForeignKey {
                columns,
                table: referenced,
                referenced: referenced_columns,
                on_delete,
                on_update,
                match_type,
            } => NewConstraint::ForeignKey(NewForeignKey {
                name,
                columns: names(columns),
                referenced_table: self.referenced_table(referenced, table_name)?,
                referenced_columns: names(referenced_columns),
                on_delete: *on_delete,
                on_update: *on_update,
                match_type: *match_type,
                deferrable: clause.deferrable,
                initially_deferred: clause.initially_deferred,
                not_valid: clause.not_valid,
            }),
        })
    }

    fn check_key_columns(&self, columns: &[Ident], row: &[NamedType]) -> Result<()> {
        for (i, column) in columns.iter().enumerate() {
            if !row.iter().any(|c| c.name == column.name) {
                let message = format!("column \"{}\" named in key does not exist", column.name);
                return Err(self.error("42703", message, column.pos));
            }
            if columns[..i].iter().any(|c| c.name == column.name) {
                let message =
                    format!("column \"{}\" appears twice in primary key constraint", column.name);
                return Err(self.error("42701", message, column.pos));
            }
        }
        Ok(())
    }

    /// Zero for a table that refers to itself while it is created.
    fn referenced_table(&self, name: &ObjectName, own: &ObjectName) -> Result<Oid> {
        let same =
            name.name() == own.name() && (name.schema().is_none() || name.schema() == own.schema());
        match self.find_relation(name)? {
            Some(Relation::Table(table)) => Ok(table.oid),
            Some(other) if !same => {
                let message = format!("referenced relation \"{}\" is not a table", other.name());
                Err(self.error("42809", message, name.pos()))
            }
            _ if same => Ok(0),
            _ => Err(PlanError::new("42P01", format!("relation \"{name}\" does not exist"))),
        }
    }

    // ---- LIKE ----

    fn like_source(&self, name: &ObjectName) -> Result<std::sync::Arc<TableDescriptor>> {
        match self.relation(name)? {
            Relation::Table(table) => Ok(table.clone()),
            _ => Err(PlanError::unsupported("LIKE of something that is not a table")
                .at(self.at(name.pos()))),
        }
    }

    fn copy_like(
        &mut self,
        new: &mut NewTable,
        name: &ObjectName,
        including: &[String],
    ) -> Result<()> {
        let source = self.like_source(name)?;
        let has = |word: &str| including.iter().any(|w| w == word || w == "all");
        for column in &source.columns {
            let mut copy = NewColumn::new(column.name.clone(), column.ty.clone());
            copy.not_null = column.not_null;
            copy.collation.clone_from(&column.collation);
            if has("defaults") {
                copy.default.clone_from(&column.default);
            }
            if let (true, Some(generated)) = (has("generated"), &column.generated) {
                let uses = generated.uses.iter().filter_map(|id| source.column(*id));
                let uses = uses.map(|c| c.name.clone()).collect();
                copy.generated = Some((generated.sql.clone(), uses));
            }
            if let (true, Some(identity)) = (has("identity"), &column.identity) {
                copy.auto = Some(AutoIncrement::Identity {
                    always: identity.always,
                    options: SequenceOptions::default(),
                });
            }
            new.columns.push(copy);
        }
        let column_names = |ids: &[catalog::ColumnId]| -> Vec<String> {
            ids.iter().filter_map(|id| source.column(*id)).map(|c| c.name.clone()).collect()
        };
        for constraint in &source.constraints {
            match &constraint.kind {
                ConstraintKind::Check(check) if has("constraints") => new.checks.push(NewCheck {
                    name: Some(constraint.name.clone()),
                    sql: check.sql.clone(),
                    columns: column_names(&check.columns),
                    not_valid: false,
                }),
                ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index }
                    if has("indexes") =>
                {
                    let Some(index) = source.index(*index) else { continue };
                    let ids: Vec<_> = index.columns.iter().map(|c| c.column).collect();
                    let key = NewKeyConstraint {
                        columns: column_names(&ids),
                        ..NewKeyConstraint::default()
                    };
                    match index.primary {
                        true => new.primary_key = Some(key),
                        false => new.uniques.push(key),
                    }
                }
                ConstraintKind::Check(_)
                | ConstraintKind::PrimaryKey { .. }
                | ConstraintKind::Unique { .. }
                | ConstraintKind::ForeignKey(_) => {}
            }
        }
        Ok(())
    }

    // ---- CREATE TABLE AS ----

    pub(crate) fn create_table_as(&mut self, stmt: &CreateTableAsStmt) -> Result<Planned> {
        let schema = self.creation_schema(&stmt.name)?;
        let CreateAsSource::Query(query) = &stmt.query;
        let rel = self.top_query(query)?;
        if stmt.columns.len() > rel.width() {
            let message = "too many column names were specified";
            return Err(self.error("42601", message, stmt.columns[rel.width()].pos));
        }
        let mut table = NewTable {
            schema,
            name: stmt.name.name().to_string(),
            options: stmt.options.clone(),
            ..NewTable::default()
        };
        for (i, field) in rel.fields.iter().enumerate() {
            let name = stmt.columns.get(i).map_or_else(|| field.name.clone(), |n| n.name.clone());
            if table.columns.iter().any(|c| c.name == name) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(PlanError::new("42701", message));
            }
            if matches!(field.ty.ty, SqlType::Record | SqlType::Void) {
                let message = format!("column \"{name}\" has pseudo-type {}", field.ty.ty.name());
                return Err(PlanError::new("42P16", message));
            }
            table.columns.push(NewColumn::new(name, field.ty.clone()));
        }
        let query = Box::new(self.query_planned(rel));
        let plan = DdlPlan::CreateTableAs {
            table,
            if_not_exists: stmt.if_not_exists,
            temporary: stmt.temporary,
            query,
            with_data: stmt.with_data,
        };
        let tag = if stmt.with_data { "SELECT" } else { "CREATE TABLE AS" };
        Ok(planned(Plan::Ddl(Box::new(plan)), Tag(tag)))
    }

    // ---- sequences ----

    pub(crate) fn identity_options(
        &mut self,
        options: &[SequenceOption],
    ) -> Result<SequenceOptions> {
        let mut result = SequenceOptions::default();
        for option in options {
            match option {
                SequenceOption::Start(n) => result.start = Some(*n),
                SequenceOption::Increment(n) => result.increment = Some(*n),
                SequenceOption::Min(n) => result.min = *n,
                SequenceOption::Max(n) => result.max = *n,
                SequenceOption::Cache(n) => result.cache = Some(*n),
                SequenceOption::Cycle(on) => result.cycle = Some(*on),
                SequenceOption::Name(name) => {
                    let schema = self.creation_schema(name)?;
                    result.name = Some((schema, name.name().to_string()));
                }
                SequenceOption::As(_) | SequenceOption::OwnedBy(_) | SequenceOption::Restart(_) => {
                    return Err(PlanError::new("42601", "invalid identity column option"));
                }
            }
        }
        Ok(result)
    }
}

pub(crate) fn names(list: &[Ident]) -> Vec<String> {
    list.iter().map(|n| n.name.clone()).collect()
}

/// The row of a stored table, for what ALTER TABLE adds.
pub(crate) fn row_of(table: &TableDescriptor) -> Vec<NamedType> {
    table.columns.iter().map(|c| NamedType { name: c.name.clone(), ty: c.ty.clone() }).collect()
}

fn named_scope(table: &str, row: &[NamedType]) -> Scope {
    let columns: Vec<ScopeColumn> = row
        .iter()
        .enumerate()
        .map(|(i, c)| ScopeColumn {
            name: c.name.clone(),
            expr: Expr::column(i, c.ty.clone()),
            bare: true,
            origin: None,
        })
        .collect();
    let all: Vec<usize> = (0..columns.len()).collect();
    let own = ScopeTable::named(table, all.clone());
    Scope { columns, tables: vec![own], star: all }
}

fn clause_word(clause: Clause) -> &'static str {
    match clause {
        Clause::Check => "CHECK",
        Clause::IndexPredicate => "WHERE",
        other => other.name(),
    }
}
