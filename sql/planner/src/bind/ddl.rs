//! The other schema statements: databases, schemas, indexes, sequences, views, DROP, COMMENT.

use super::Binder;
use super::alter::ddl;
use super::scope::Clause;
use super::table::{names, row_of};
use crate::ast::{
    CommentOn, CreateIndexStmt, CreateSequenceStmt, ExprKind, Ident, ObjectName, OptionValue,
    Query, RoleSpec, SequenceOption, Stmt, TypeName,
};
use crate::error::{PlanError, Result};
use crate::plan::{CommentTarget, DdlPlan, ObjectKind, Planned};
use catalog::change::{NewIndexColumn, SequenceOptions};
use catalog::{Dependency, NewIndex, NewSequence, NewView, Oid, Relation, ViewColumn};
use datum::SqlType;

impl Binder<'_> {
    pub(crate) fn ddl_statement(&mut self, stmt: &Stmt) -> Result<Planned> {
        match stmt {
            Stmt::CreateDatabase { name, options } => self.create_database(name, options),
            Stmt::AlterDatabase { name, action } => self.alter_database(name, action),
            Stmt::DropDatabase { name, if_exists, force } => {
                let name = name.name.clone();
                let (if_exists, force) = (*if_exists, *force);
                Ok(ddl(DdlPlan::DropDatabase { name, if_exists, force }, "DROP DATABASE"))
            }
            Stmt::CreateSchema { name, authorization, if_not_exists, elements } => {
                self.create_schema(name.as_ref(), authorization.as_ref(), *if_not_exists, elements)
            }
            Stmt::AlterSchema { name, action } => self.alter_schema(name, action),
            Stmt::CreateTable(create) => self.create_table(create),
            Stmt::CreateTableAs(create) => self.create_table_as(create),
            Stmt::AlterTable(alter) => self.alter_table(alter),
            Stmt::CreateIndex(create) => self.create_index(create),
            Stmt::CreateSequence(create) => self.create_sequence(create),
            Stmt::AlterSequence { name, if_exists, options } => {
                self.alter_sequence(name, *if_exists, options)
            }
            Stmt::CreateView { name, or_replace, temporary, columns, query, definition } => {
                let view = self.new_view(name, *or_replace, columns, query, definition)?;
                Ok(ddl(DdlPlan::CreateView { view, temporary: *temporary }, "CREATE VIEW"))
            }
            Stmt::AlterObject { kind, name, if_exists, action } => {
                self.alter_object(*kind, name, *if_exists, action)
            }
            Stmt::Drop { kind, names, if_exists, cascade } => {
                self.drop(*kind, names, *if_exists, *cascade)
            }
            Stmt::Truncate { tables, restart_identity, cascade } => {
                let tables: Result<Vec<Oid>> =
                    tables.iter().map(|name| Ok(self.target(name)?.oid)).collect();
                let plan = DdlPlan::Truncate {
                    tables: tables?,
                    restart_identity: *restart_identity,
                    cascade: *cascade,
                };
                Ok(ddl(plan, "TRUNCATE TABLE"))
            }
            Stmt::Comment { target, text } => {
                let target = self.comment_target(target)?;
                Ok(ddl(DdlPlan::Comment { target, text: text.clone() }, "COMMENT"))
            }
            Stmt::Unsupported(feature) => Err(PlanError::unsupported(feature)),
            other => self.role_statement(other),
        }
    }

    // ---- databases and schemas ----

    pub(crate) fn database_oid(&self, name: &Ident) -> Result<Oid> {
        let found = self.context.catalog.database_named(&name.name);
        found.map(|d| d.oid).ok_or_else(|| {
            PlanError::new("3D000", format!("database \"{}\" does not exist", name.name))
        })
    }

    fn create_database(
        &mut self,
        name: &Ident,
        options: &[(Ident, OptionValue)],
    ) -> Result<Planned> {
        let mut owner = None;
        let mut connection_limit = None;
        let mut is_template = None;
        let mut allow_connections = None;
        for (option, value) in options {
            let on = crate::parse::option_is_on(value);
            match option.name.as_str() {
                "owner" => {
                    if let Some(text) = value.text() {
                        let role = Ident { name: text.to_string(), pos: option.pos };
                        owner = Some(self.role(&RoleSpec::Name(role))?);
                    }
                }
                "connection_limit" => {
                    connection_limit = value.text().and_then(|t| t.parse().ok());
                }
                "is_template" => is_template = Some(on),
                "allow_connections" => allow_connections = Some(on),
                "encoding" => {
                    let ok = value.text().is_none_or(|e| {
                        matches!(
                            e.to_ascii_uppercase().as_str(),
                            "UTF8" | "UTF-8" | "UNICODE" | "6"
                        )
                    });
                    if !ok {
                        return Err(PlanError::unsupported("an encoding other than UTF8"));
                    }
                }
                // One collation, one storage: nothing to choose.
                "template" | "lc_collate" | "lc_ctype" | "locale" | "tablespace" | "strategy"
                | "icu_locale" | "locale_provider" | "collation_version" | "oid" => {}
                other => {
                    let message = format!("option \"{other}\" not recognized");
                    return Err(self.error("42601", message, option.pos));
                }
            }
        }
        let name = name.name.clone();
        let plan = DdlPlan::CreateDatabase {
            name,
            owner,
            connection_limit,
            is_template,
            allow_connections,
        };
        Ok(ddl(plan, "CREATE DATABASE"))
    }

    fn create_schema(
        &mut self,
        name: Option<&Ident>,
        authorization: Option<&RoleSpec>,
        if_not_exists: bool,
        elements: &[crate::Statement],
    ) -> Result<Planned> {
        let owner = authorization.map(|role| self.role(role)).transpose()?;
        let name = match (name, authorization) {
            (Some(name), _) => name.name.clone(),
            (None, Some(RoleSpec::Name(role))) => role.name.clone(),
            (None, _) => self.context.user.to_string(),
        };
        if name.starts_with("pg_") {
            let message = format!("unacceptable schema name \"{name}\"");
            return Err(PlanError::new("42939", message)
                .detail("The prefix \"pg_\" is reserved for system schemas."));
        }
        let plan =
            DdlPlan::CreateSchema { name, if_not_exists, owner, elements: elements.to_vec() };
        Ok(ddl(plan, "CREATE SCHEMA"))
    }

    // ---- indexes ----

    fn create_index(&mut self, stmt: &CreateIndexStmt) -> Result<Planned> {
        let table = self.target(&stmt.table)?;
        let method = stmt.method.as_ref().map_or("btree", |m| m.name.as_str());
        if !matches!(method, "btree" | "hash" | "brin") {
            let known = matches!(method, "gin" | "gist" | "spgist");
            let error = match known {
                true => PlanError::unsupported(format!("access method {method}")),
                false => {
                    PlanError::new("42704", format!("access method \"{method}\" does not exist"))
                }
            };
            return Err(error);
        }
        let mut columns = Vec::new();
        for element in &stmt.columns {
            let ExprKind::Column(parts) = &element.expr.kind else {
                return Err(PlanError::unsupported("an index on an expression")
                    .at(self.at(element.expr.pos)));
            };
            let [name] = parts.as_slice() else {
                return Err(self.error("42601", "an index column has one name", element.expr.pos));
            };
            let Some((_, column)) = table.column_named(&name.name) else {
                return Err(PlanError::new(
                    "42703",
                    format!("column \"{}\" does not exist", name.name),
                ));
            };
            let orderless = matches!(column.ty.ty, SqlType::Json | SqlType::Xid);
            if orderless {
                let message = format!(
                    "data type {} has no default operator class for access method \"{method}\"",
                    column.ty.ty.name()
                );
                return Err(PlanError::new("42704", message));
            }
            columns.push(NewIndexColumn {
                name: name.name.clone(),
                descending: element.descending,
                nulls_first: element.nulls_first,
            });
        }
        for name in &stmt.include {
            if table.column_named(&name.name).is_none() {
                return Err(PlanError::new(
                    "42703",
                    format!("column \"{}\" does not exist", name.name),
                ));
            }
        }
        let predicate = match &stmt.filter {
            None => None,
            Some(text) => {
                let row = row_of(&table);
                Some(self.over_row(text, &table.name, &row, Clause::IndexPredicate)?.0)
            }
        };
        let index = NewIndex {
            table: table.oid,
            name: stmt.name.as_ref().map(|n| n.name.clone()),
            unique: stmt.unique,
            nulls_not_distinct: stmt.nulls_not_distinct,
            columns,
            include: names(&stmt.include),
            predicate,
            method: method.to_string(),
        };
        let plan = DdlPlan::CreateIndex {
            index,
            if_not_exists: stmt.if_not_exists,
            concurrently: stmt.concurrently,
        };
        Ok(ddl(plan, "CREATE INDEX"))
    }

    // ---- sequences ----

    fn create_sequence(&mut self, stmt: &CreateSequenceStmt) -> Result<Planned> {
        let schema = self.creation_schema(&stmt.name)?;
        let mut sequence = NewSequence {
            schema,
            name: stmt.name.name().to_string(),
            ty: SqlType::Int8,
            options: SequenceOptions::default(),
            owned_by: None,
        };
        let mut rest = Vec::new();
        for option in &stmt.options {
            match option {
                SequenceOption::As(ty) => sequence.ty = self.sequence_type(ty)?,
                SequenceOption::OwnedBy(Some(column)) => {
                    sequence.owned_by = Some(self.owner_column(column)?);
                }
                SequenceOption::OwnedBy(None) => sequence.owned_by = None,
                SequenceOption::Name(_) => {
                    return Err(PlanError::new("42601", "SEQUENCE NAME is not allowed here"));
                }
                other => rest.push(other.clone()),
            }
        }
        sequence.options = self.identity_options(&rest)?;
        let plan = DdlPlan::CreateSequence {
            sequence,
            if_not_exists: stmt.if_not_exists,
            temporary: stmt.temporary,
        };
        Ok(ddl(plan, "CREATE SEQUENCE"))
    }

    pub(crate) fn sequence_type(&self, ty: &TypeName) -> Result<SqlType> {
        match self.ty(ty)?.ty {
            ty @ (SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => Ok(ty),
            _ => Err(PlanError::new("22023", "sequence type must be smallint, integer, or bigint")),
        }
    }

    /// `table.column` of OWNED BY.
    pub(crate) fn owner_column(&mut self, name: &ObjectName) -> Result<(Oid, String)> {
        let Some((column, table)) = name.parts.split_last().filter(|(_, t)| !t.is_empty()) else {
            return Err(PlanError::new("42601", "invalid OWNED BY option")
                .hint("Specify OWNED BY table.column or OWNED BY NONE."));
        };
        let table = self.target(&ObjectName { parts: table.to_vec() })?;
        self.target_column(&table, column)?;
        Ok((table.oid, column.name.clone()))
    }

    // ---- views ----

    fn new_view(
        &mut self,
        name: &ObjectName,
        or_replace: bool,
        columns: &[Ident],
        query: &Query,
        definition: &str,
    ) -> Result<NewView> {
        let schema = self.creation_schema(name)?;
        let rel = self.top_query(query)?;
        if !self.resolver.params.snapshot().is_empty() {
            return Err(PlanError::new("42P02", "there is no parameter $1"));
        }
        if columns.len() > rel.width() {
            let message = "CREATE VIEW specifies more column names than columns";
            return Err(self.error("42601", message, columns[rel.width()].pos));
        }
        let mut view_columns: Vec<ViewColumn> = Vec::new();
        for (i, field) in rel.fields.iter().enumerate() {
            let name = columns.get(i).map_or_else(|| field.name.clone(), |n| n.name.clone());
            if view_columns.iter().any(|c| c.name == name) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(PlanError::new("42701", message));
            }
            view_columns.push(ViewColumn { name, ty: field.ty.clone() });
        }
        let dependencies = self
            .uses()
            .into_iter()
            .map(|used| {
                let table = self.context.catalog.table(used.relation);
                let columns = used.columns.iter().filter_map(|o| match table {
                    Some(table) => table.columns.get(*o).map(|c| c.id),
                    None => Some(catalog::ColumnId(*o as u16 + 1)),
                });
                Dependency { relation: used.relation, columns: columns.collect() }
            })
            .collect();
        Ok(NewView {
            schema,
            name: name.name().to_string(),
            columns: view_columns,
            definition: definition.to_string(),
            dependencies,
            or_replace,
        })
    }

    // ---- DROP ----

    fn drop(
        &mut self,
        kind: ObjectKind,
        names: &[ObjectName],
        if_exists: bool,
        cascade: bool,
    ) -> Result<Planned> {
        let (word, tag) = match kind {
            ObjectKind::Table => ("table", "DROP TABLE"),
            ObjectKind::View => ("view", "DROP VIEW"),
            ObjectKind::Index => ("index", "DROP INDEX"),
            ObjectKind::Sequence => ("sequence", "DROP SEQUENCE"),
            ObjectKind::Schema => ("schema", "DROP SCHEMA"),
        };
        let mut objects = Vec::new();
        let mut missing = Vec::new();
        for name in names {
            match self.droppable(kind, name, word)? {
                Some(oid) if objects.contains(&oid) => {}
                Some(oid) => objects.push(oid),
                None if if_exists => missing.push(name.to_string()),
                None => {
                    let sqlstate = match kind {
                        ObjectKind::Schema => "3F000",
                        ObjectKind::Index => "42704",
                        ObjectKind::Table | ObjectKind::View | ObjectKind::Sequence => "42P01",
                    };
                    return Err(PlanError::new(
                        sqlstate,
                        format!("{word} \"{name}\" does not exist"),
                    ));
                }
            }
        }
        Ok(ddl(DdlPlan::Drop { kind, objects, missing, cascade }, tag))
    }

    fn droppable(&self, kind: ObjectKind, name: &ObjectName, word: &str) -> Result<Option<Oid>> {
        if kind == ObjectKind::Schema {
            return Ok(self.context.catalog.schema_oid(self.context.database, name.name()));
        }
        let Some(relation) = self.find_relation(name)? else { return Ok(None) };
        if relation.kind() == word {
            return Ok(Some(relation.oid()));
        }
        let an = if word == "index" { "an" } else { "a" };
        let message = format!("\"{}\" is not {an} {word}", name.name());
        let right = relation.kind();
        let article = if right == "index" { "an" } else { "a" };
        let hint = format!("Use DROP {} to remove {article} {right}.", right.to_uppercase());
        Err(PlanError::new("42809", message).hint(hint))
    }

    // ---- COMMENT ----

    fn comment_target(&mut self, target: &CommentOn) -> Result<CommentTarget> {
        Ok(match target {
            CommentOn::Database(name) => CommentTarget::Database(self.database_oid(name)?),
            CommentOn::Schema(name) => CommentTarget::Schema(self.schema(&name.name, name.pos)?),
            CommentOn::Role(name) => CommentTarget::Role(self.role(&RoleSpec::Name(name.clone()))?),
            CommentOn::Relation(kind, name) => {
                let relation = self.relation(name)?;
                let word = match kind {
                    ObjectKind::Table | ObjectKind::Schema => "table",
                    ObjectKind::View => "view",
                    ObjectKind::Index => "index",
                    ObjectKind::Sequence => "sequence",
                };
                if relation.kind() != word {
                    let an = if word == "index" { "an" } else { "a" };
                    let message = format!("\"{}\" is not {an} {word}", name.name());
                    return Err(PlanError::new("42809", message));
                }
                CommentTarget::Relation(relation.oid())
            }
            CommentOn::Column(name) => {
                let Some((column, table)) = name.parts.split_last().filter(|(_, t)| !t.is_empty())
                else {
                    return Err(PlanError::new("42601", "column name must be qualified"));
                };
                let table = ObjectName { parts: table.to_vec() };
                let relation = self.relation(&table)?;
                let attnum = match &relation {
                    Relation::Table(t) => t.column_named(&column.name).map(|(_, c)| c.id.0 as i16),
                    Relation::View(v) => {
                        let at = v.columns.iter().position(|c| c.name == column.name);
                        at.map(|i| i as i16 + 1)
                    }
                    Relation::Sequence(_) | Relation::Index(..) | Relation::Virtual(_) => None,
                };
                let Some(attnum) = attnum else {
                    let message = format!(
                        "column \"{}\" of relation \"{table}\" does not exist",
                        column.name
                    );
                    return Err(PlanError::new("42703", message));
                };
                CommentTarget::Column { relation: relation.oid(), attnum }
            }
            CommentOn::Constraint { name, table } => {
                let table = self.target(table)?;
                match table.constraint_named(&name.name) {
                    Some(constraint) => CommentTarget::Constraint(constraint.oid),
                    None => {
                        let message = format!(
                            "constraint \"{}\" for table \"{}\" does not exist",
                            name.name, table.name
                        );
                        return Err(PlanError::new("42704", message));
                    }
                }
            }
            CommentOn::Other(what) => {
                return Err(PlanError::unsupported(format!("COMMENT ON {what}")));
            }
        })
    }
}
