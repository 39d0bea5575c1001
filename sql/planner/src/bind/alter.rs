//! ALTER TABLE and the ALTERs that rename or move objects.

use super::scope::Clause;
use super::table::{NamedType, row_of};
use super::{Binder, planned};
use crate::ast::{
    AlterDatabaseAction, AlterObjectAction, AlterTableAction, AlterTableStmt, Ident, ObjectName,
    OptionValue, SequenceOption,
};
use crate::error::{PlanError, Result};
use crate::plan::{
    AlterDatabase, AlterRelation, AlterSchema, AlterSequence, AlterTable, DdlPlan, ObjectKind,
    Plan, Planned, Tag,
};
use catalog::change::AutoIncrement;
use catalog::{Relation, TableDescriptor};
use expr::CoercionContext;
use std::sync::Arc;

impl Binder<'_> {
    pub(crate) fn alter_table(&mut self, stmt: &AlterTableStmt) -> Result<Planned> {
        let table = match self.find_relation(&stmt.name)? {
            Some(Relation::Table(table)) => table.clone(),
            Some(Relation::View(view)) => {
                let [AlterTableAction::Owner(role)] = stmt.actions.as_slice() else {
                    return Err(PlanError::unsupported("this ALTER TABLE of a view"));
                };
                let action = AlterRelation::Owner(self.role(role)?);
                return Ok(ddl(
                    DdlPlan::AlterRelation { relation: view.oid, action },
                    "ALTER TABLE",
                ));
            }
            Some(Relation::Sequence(sequence)) => {
                let [AlterTableAction::Owner(role)] = stmt.actions.as_slice() else {
                    return Err(PlanError::unsupported("this ALTER TABLE of a sequence"));
                };
                let action = AlterRelation::Owner(self.role(role)?);
                return Ok(ddl(
                    DdlPlan::AlterRelation { relation: sequence.oid, action },
                    "ALTER TABLE",
                ));
            }
            Some(other) => {
                let message = format!("\"{}\" is not a table", other.name());
                return Err(self.error("42809", message, stmt.name.pos()));
            }
            None if stmt.if_exists => {
                return Ok(skip(
                    format!("relation \"{}\" does not exist, skipping", stmt.name),
                    "ALTER TABLE",
                ));
            }
            None => {
                let message = format!("relation \"{}\" does not exist", stmt.name);
                return Err(PlanError::new("42P01", message));
            }
        };
        // Later actions see the columns that earlier ones add.
        let mut row = row_of(&table);
        let mut actions = Vec::new();
        for action in &stmt.actions {
            if let Some(action) = self.alter_table_action(action, &table, &stmt.name, &mut row)? {
                actions.push(action);
            }
        }
        Ok(ddl(DdlPlan::AlterTable { table: table.oid, actions }, "ALTER TABLE"))
    }

    fn alter_table_action(
        &mut self,
        action: &AlterTableAction,
        table: &Arc<TableDescriptor>,
        name: &ObjectName,
        row: &mut Vec<NamedType>,
    ) -> Result<Option<AlterTable>> {
        use AlterTableAction as A;
        Ok(Some(match action {
            A::AddColumn { column, if_not_exists } => {
                if *if_not_exists && row.iter().any(|c| c.name == column.name.name) {
                    return Ok(None);
                }
                let mut wider = row.clone();
                let placeholder = datum::ColumnType::plain(datum::SqlType::Unknown);
                wider.push(NamedType { name: column.name.name.clone(), ty: placeholder });
                let (mut new, _) = {
                    // First for its type alone: its own checks may read it.
                    let bare =
                        crate::ast::ColumnClause { constraints: Vec::new(), ..column.clone() };
                    self.new_column(&bare, &table.name, &wider)?
                };
                if let Some(last) = wider.last_mut() {
                    last.ty = new.ty.clone();
                }
                let constraints;
                (new, constraints) = self.new_column(column, &table.name, &wider)?;
                new.missing = self.missing_value(&new)?;
                *row = wider;
                AlterTable::AddColumn { column: new, constraints, if_not_exists: *if_not_exists }
            }
            A::DropColumn { column, if_exists, cascade } => {
                row.retain(|c| c.name != column.name);
                AlterTable::DropColumn {
                    column: column.name.clone(),
                    if_exists: *if_exists,
                    cascade: *cascade,
                }
            }
            A::AddConstraint(clause) => {
                AlterTable::AddConstraint(self.new_constraint(clause, name, &table.name, row)?)
            }
            A::DropConstraint { name, if_exists, cascade } => AlterTable::DropConstraint {
                name: name.name.clone(),
                if_exists: *if_exists,
                cascade: *cascade,
            },
            A::ValidateConstraint(name) => AlterTable::ValidateConstraint(name.name.clone()),
            A::RenameConstraint { from, to } => {
                AlterTable::RenameConstraint { from: from.name.clone(), to: to.name.clone() }
            }
            A::SetDefault { column, default } => {
                let ty = self.row_column(row, column, table)?.ty.clone();
                if let Some(text) = default {
                    self.check_default(text, &column.name, &ty)?;
                }
                let default = default.as_ref().map(|text| text.sql.clone());
                AlterTable::SetDefault { column: column.name.clone(), default }
            }
            A::SetNotNull { column, not_null } => {
                self.row_column(row, column, table)?;
                AlterTable::SetNotNull { column: column.name.clone(), not_null: *not_null }
            }
            A::SetType { column, ty, using } => {
                let at = row.iter().position(|c| c.name == column.name);
                let old = self.row_column(row, column, table)?.clone();
                let ty = self.ty(ty)?;
                let value = match using {
                    Some(ast) => self.row_expr(ast, &table.name, row, Clause::AlterType)?,
                    None => expr::Expr::column(at.unwrap_or(0), old.ty.clone()),
                };
                let from = value.sql_type().clone();
                if !self.resolver.can_coerce(&from, &ty.ty, CoercionContext::Assignment) {
                    let message = format!(
                        "column \"{}\" cannot be cast automatically to type {}",
                        column.name,
                        ty.ty.name()
                    );
                    let hint = format!(
                        "You might need to specify \"USING {}::{}\".",
                        column.name,
                        ty.ty.name()
                    );
                    return Err(PlanError::new("42804", message).hint(hint));
                }
                let value = self.resolver.coerce(value, &ty, CoercionContext::Assignment)?;
                AlterTable::SetType {
                    column: column.name.clone(),
                    ty,
                    using: value,
                    explicit_using: using.is_some(),
                }
            }
            A::AddIdentity { column, always, options } => {
                self.row_column(row, column, table)?;
                let options = self.identity_options(options)?;
                let auto = AutoIncrement::Identity { always: *always, options };
                AlterTable::AddIdentity { column: column.name.clone(), auto }
            }
            A::SetIdentityAlways { column, always } => {
                AlterTable::SetIdentityAlways { column: column.name.clone(), always: *always }
            }
            A::DropIdentity { column, if_exists } => {
                AlterTable::DropIdentity { column: column.name.clone(), if_exists: *if_exists }
            }
            A::DropExpression { column } => {
                AlterTable::DropExpression { column: column.name.clone() }
            }
            A::SetOptions(options) => AlterTable::SetOptions(options.clone()),
            A::Owner(role) => AlterTable::Owner(self.role(role)?),
            A::Nothing => return Ok(None),
            A::Unsupported(feature) => return Err(PlanError::unsupported(feature)),
        }))
    }

    /// What existing rows read as in a new column, if that is the same for all.
    fn missing_value(&mut self, column: &catalog::NewColumn) -> Result<Option<datum::Datum>> {
        let Some(sql) = &column.default else { return Ok(None) };
        let expr = self.stored_expr(sql, super::scope::Scope::default(), Clause::Default)?;
        let expr = self.resolver.coerce(expr, &column.ty, CoercionContext::Assignment)?;
        if expr.is_volatile() || !expr.is_row_independent() {
            return Ok(None);
        }
        Ok(Some(expr.eval(&[], self.resolver.ctx)?))
    }

    fn row_column<'r>(
        &self,
        row: &'r [NamedType],
        column: &Ident,
        table: &TableDescriptor,
    ) -> Result<&'r NamedType> {
        row.iter().find(|c| c.name == column.name).ok_or_else(|| {
            let message =
                format!("column \"{}\" of relation \"{}\" does not exist", column.name, table.name);
            PlanError::new("42703", message)
        })
    }

    // ---- renaming and moving ----

    pub(crate) fn alter_object(
        &mut self,
        kind: ObjectKind,
        name: &ObjectName,
        if_exists: bool,
        action: &AlterObjectAction,
    ) -> Result<Planned> {
        let tag = match kind {
            ObjectKind::Table => "ALTER TABLE",
            ObjectKind::View => "ALTER VIEW",
            ObjectKind::Index => "ALTER INDEX",
            ObjectKind::Sequence => "ALTER SEQUENCE",
            ObjectKind::Schema => "ALTER SCHEMA",
        };
        let Some(relation) = self.find_relation(name)? else {
            if if_exists {
                return Ok(skip(format!("relation \"{name}\" does not exist, skipping"), tag));
            }
            return Err(PlanError::new("42P01", format!("relation \"{name}\" does not exist")));
        };
        let fits = match kind {
            // ALTER TABLE renames anything, as in PostgreSQL.
            ObjectKind::Table | ObjectKind::Schema => true,
            ObjectKind::View => relation.kind() == "view",
            ObjectKind::Index => relation.kind() == "index",
            ObjectKind::Sequence => relation.kind() == "sequence",
        };
        if !fits {
            let word = match kind {
                ObjectKind::View => "a view",
                ObjectKind::Index => "an index",
                ObjectKind::Sequence => "a sequence",
                ObjectKind::Table | ObjectKind::Schema => "a table",
            };
            return Err(PlanError::new("42809", format!("\"{}\" is not {word}", name.name())));
        }
        let relation = relation.oid();
        let action = match action {
            AlterObjectAction::Rename(to) => AlterRelation::Rename(to.name.clone()),
            AlterObjectAction::RenameColumn { from, to } => {
                AlterRelation::RenameColumn { from: from.name.clone(), to: to.name.clone() }
            }
            AlterObjectAction::SetSchema(schema) => {
                AlterRelation::SetSchema(self.schema(&schema.name, schema.pos)?)
            }
            AlterObjectAction::Owner(role) => AlterRelation::Owner(self.role(role)?),
        };
        Ok(ddl(DdlPlan::AlterRelation { relation, action }, tag))
    }

    pub(crate) fn alter_schema(
        &mut self,
        name: &Ident,
        action: &AlterObjectAction,
    ) -> Result<Planned> {
        let schema = self.schema(&name.name, name.pos)?;
        let action = match action {
            AlterObjectAction::Rename(to) => AlterSchema::Rename(to.name.clone()),
            AlterObjectAction::Owner(role) => AlterSchema::Owner(self.role(role)?),
            AlterObjectAction::RenameColumn { .. } | AlterObjectAction::SetSchema(_) => {
                return Err(PlanError::unsupported("this ALTER SCHEMA"));
            }
        };
        Ok(ddl(DdlPlan::AlterSchema { schema, action }, "ALTER SCHEMA"))
    }

    pub(crate) fn alter_database(
        &mut self,
        name: &Ident,
        action: &AlterDatabaseAction,
    ) -> Result<Planned> {
        let database = self.database_oid(name)?;
        let tag = "ALTER DATABASE";
        let action = match action {
            AlterDatabaseAction::Rename(to) => AlterDatabase::Rename(to.name.clone()),
            AlterDatabaseAction::Owner(role) => AlterDatabase::Owner(self.role(role)?),
            AlterDatabaseAction::Set { setting, value } => {
                let plan = DdlPlan::AlterSettings {
                    role: 0,
                    database,
                    setting: setting.clone(),
                    value: value.clone(),
                };
                return Ok(ddl(plan, tag));
            }
            AlterDatabaseAction::Options(options) => {
                let [(name, value)] = options.as_slice() else {
                    return Err(PlanError::unsupported("several options in ALTER DATABASE"));
                };
                self.database_option(name, value)?
            }
        };
        Ok(ddl(DdlPlan::AlterDatabase { database, action }, tag))
    }

    fn database_option(&self, name: &Ident, value: &OptionValue) -> Result<AlterDatabase> {
        let on = crate::parse::option_is_on(value);
        Ok(match name.name.as_str() {
            "connection_limit" => AlterDatabase::ConnectionLimit(
                value.text().and_then(|t| t.parse().ok()).unwrap_or(-1),
            ),
            "is_template" => AlterDatabase::IsTemplate(on),
            "allow_connections" => AlterDatabase::AllowConnections(on),
            other => {
                let message = format!("option \"{other}\" not recognized");
                return Err(self.error("42601", message, name.pos));
            }
        })
    }

    pub(crate) fn alter_sequence(
        &mut self,
        name: &ObjectName,
        if_exists: bool,
        options: &[SequenceOption],
    ) -> Result<Planned> {
        let sequence = match self.find_relation(name)? {
            Some(Relation::Sequence(sequence)) => sequence.oid,
            Some(_) => {
                return Err(PlanError::new("42809", format!("\"{name}\" is not a sequence")));
            }
            None if if_exists => {
                let notice = format!("relation \"{name}\" does not exist, skipping");
                return Ok(skip(notice, "ALTER SEQUENCE"));
            }
            None => {
                return Err(PlanError::new("42P01", format!("relation \"{name}\" does not exist")));
            }
        };
        let mut change = AlterSequence::default();
        for option in options {
            match option {
                SequenceOption::As(ty) => change.ty = Some(self.sequence_type(ty)?),
                SequenceOption::Start(n) => change.options.start = Some(*n),
                SequenceOption::Increment(n) => change.options.increment = Some(*n),
                SequenceOption::Min(Some(n)) => change.options.min = Some(*n),
                SequenceOption::Min(None) => change.no_min = true,
                SequenceOption::Max(Some(n)) => change.options.max = Some(*n),
                SequenceOption::Max(None) => change.no_max = true,
                SequenceOption::Cache(n) => change.options.cache = Some(*n),
                SequenceOption::Cycle(on) => change.options.cycle = Some(*on),
                SequenceOption::OwnedBy(None) => change.owned_by = Some(None),
                SequenceOption::OwnedBy(Some(column)) => {
                    change.owned_by = Some(Some(self.owner_column(column)?));
                }
                SequenceOption::Restart(at) => change.restart = Some(*at),
                SequenceOption::Name(_) => {
                    return Err(PlanError::new("42601", "SEQUENCE NAME is not allowed here"));
                }
            }
        }
        Ok(ddl(DdlPlan::AlterSequence { sequence, change }, "ALTER SEQUENCE"))
    }
}

pub(crate) fn ddl(plan: DdlPlan, tag: &'static str) -> Planned {
    planned(Plan::Ddl(Box::new(plan)), Tag(tag))
}

pub(crate) fn skip(notice: String, tag: &'static str) -> Planned {
    ddl(DdlPlan::Skip { notice }, tag)
}
