//! DROP: what else goes, what refuses.
//!
//! A dependent is either *auto* (goes silently: a column's indexes, an owned sequence) or *normal*
//! (RESTRICT refuses, CASCADE drops it with a notice: a view over a table, a foreign key that
//! points at it). `dependents` knows the edges; everything else is a walk over them, as in
//! PostgreSQL's dependency.c.

use super::CatalogChange;
use crate::database::CommentKey;
use crate::error::CatalogError;
use crate::persistence::ObjectKey;
use crate::snapshot::Catalog;
use crate::table::{ColumnId, ConstraintKind, ROWS_INDEX, TableDescriptor};
use crate::virtual_tables::class;
use crate::{Oid, Relation, Result};
use core_domain::{Key, Span};
use datum::keywords::quote_identifier;
use std::collections::BTreeMap;

/// More dependents than this are counted, not listed.
const REPORTED_MAX: usize = 100;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropBehavior {
    #[default]
    Restrict,
    Cascade,
}

/// What DROP said it would drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropKind {
    Table,
    View,
    MaterializedView,
    Sequence,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Object {
    Schema(Oid),
    /// Table, view or sequence.
    Relation(Oid),
    Index(Oid),
    Column(Oid, ColumnId),
    /// A column's DEFAULT.
    Default(Oid, ColumnId),
    Constraint(Oid, Oid),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Auto,
    Normal,
}

impl DropKind {
    pub fn word(self) -> &'static str {
        match self {
            DropKind::Table => "table",
            DropKind::View => "view",
            DropKind::MaterializedView => "materialized view",
            DropKind::Sequence => "sequence",
            DropKind::Index => "index",
        }
    }

    fn fits(self, relation: &Relation<'_>) -> bool {
        match relation {
            Relation::Table(_) => self == DropKind::Table,
            Relation::View(_) => self == DropKind::View,
            Relation::Sequence(_) => self == DropKind::Sequence,
            Relation::Index(..) => self == DropKind::Index,
            Relation::Virtual(_) => false,
        }
    }
}

impl CatalogChange {
    /// Finds what `DROP kind [IF EXISTS] [schema.]name` names; `None` after a notice.
    ///
    /// # Errors
    /// 42P01 if it is not there, 42809 if it is something else.
    pub fn find_for_drop(
        &mut self,
        kind: DropKind,
        schema: Option<&str>,
        name: &str,
        if_exists: bool,
    ) -> Result<Option<Oid>> {
        let word = kind.word();
        if let Some(schema) = schema
            && self.catalog.schema_oid(self.database, schema).is_none()
        {
            if if_exists {
                self.notice(format!("schema \"{schema}\" does not exist, skipping"));
                return Ok(None);
            }
            return Err(CatalogError::no_schema(schema));
        }
        match self.catalog.resolve(self.database, &self.search_path, schema, name) {
            Some(found) if kind.fits(&found) => Ok(Some(found.oid())),
            Some(Relation::Virtual(_)) => {
                let what = format!("permission denied: \"{name}\" is a system catalog");
                Err(CatalogError::new("42501", what))
            }
            Some(found) => {
                let a = if word.starts_with('i') { "an" } else { "a" };
                let what = format!("\"{}\" is not {a} {word}", found.name());
                let is = found.kind();
                let an = if is.starts_with('i') { "an" } else { "a" };
                let hint = format!("Use DROP {} to remove {an} {is}.", is.to_uppercase());
                Err(CatalogError::new("42809", what).hint(hint))
            }
            None => {
                let full = match schema {
                    Some(schema) if !if_exists => format!("{schema}.{name}"),
                    _ => name.to_owned(),
                };
                if if_exists {
                    self.notice(format!("{word} \"{full}\" does not exist, skipping"));
                    return Ok(None);
                }
                Err(CatalogError::new("42P01", format!("{word} \"{full}\" does not exist")))
            }
        }
    }

    /// DROP TABLE | VIEW | SEQUENCE | INDEX, several at a time.
    pub fn drop_relations(&mut self, oids: &[Oid], behavior: DropBehavior) -> Result<()> {
        let mut targets = Vec::new();
        for oid in oids {
            match self.catalog.relation_by_oid(*oid) {
                Some(Relation::Index(table, index)) => {
                    if let Some(constraint) = table.constraint_of_index(*oid) {
                        let table = self.shown(table.schema, &table.name);
                        let what = format!(
                            "cannot drop index {} because constraint {} on table {table} requires it",
                            index.name, constraint.name
                        );
                        let hint = format!(
                            "You can drop constraint {} on table {table} instead.",
                            constraint.name
                        );
                        return Err(CatalogError::new("2BP01", what).hint(hint));
                    }
                    targets.push(Object::Index(*oid));
                }
                Some(Relation::Sequence(sequence)) => {
                    if let Some((table, column)) = identity_of(&self.catalog, *oid) {
                        let table = self.shown(table.schema, &table.name);
                        let what = format!(
                            "cannot drop sequence {} because column {column} of table {table} \
                             requires it",
                            sequence.name
                        );
                        let hint =
                            format!("You can drop column {column} of table {table} instead.");
                        return Err(CatalogError::new("2BP01", what).hint(hint));
                    }
                    targets.push(Object::Relation(*oid));
                }
                Some(_) => targets.push(Object::Relation(*oid)),
                None => return Err(CatalogError::no_relation(&oid.to_string())),
            }
        }
        self.drop_objects(&targets, behavior)
    }

    pub fn drop_schemas(&mut self, oids: &[Oid], behavior: DropBehavior) -> Result<()> {
        let targets: Vec<Object> = oids.iter().map(|o| Object::Schema(*o)).collect();
        self.drop_objects(&targets, behavior)
    }

    /// ALTER TABLE ... DROP COLUMN. If rows were keyed by it, `rewrites` has the table.
    pub fn drop_column(
        &mut self,
        table: Oid,
        column: &str,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<()> {
        let edited = self.edit_table(table)?;
        match edited.column_named(column) {
            Some((_, found)) => self.drop_objects(&[Object::Column(table, found.id)], behavior),
            None if if_exists => {
                self.notice(format!(
                    "column \"{column}\" of relation \"{}\" does not exist, skipping",
                    edited.name
                ));
                Ok(())
            }
            None => Err(CatalogError::no_column(column, &edited.name)),
        }
    }

    /// ALTER TABLE ... DROP CONSTRAINT.
    pub fn drop_constraint(
        &mut self,
        table: Oid,
        name: &str,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<()> {
        let edited = self.edit_table(table)?;
        match edited.constraint_named(name) {
            Some(found) => self.drop_objects(&[Object::Constraint(table, found.oid)], behavior),
            None if if_exists => {
                self.notice(format!(
                    "constraint \"{name}\" of relation \"{}\" does not exist, skipping",
                    edited.name
                ));
                Ok(())
            }
            None => Err(CatalogError::no_constraint(name, &edited.name)),
        }
    }

    fn drop_objects(&mut self, targets: &[Object], behavior: DropBehavior) -> Result<()> {
        let plan = self.plan_drop(targets);
        if !plan.reported.is_empty() {
            let lines = plan.reported.len();
            let list = |line: &dyn Fn(&(Object, Object)) -> String| {
                let mut text: Vec<String> =
                    plan.reported.iter().take(REPORTED_MAX).map(line).collect();
                if lines > REPORTED_MAX {
                    text.push(format!("and {} other objects", lines - REPORTED_MAX));
                }
                text.join("\n")
            };
            if behavior == DropBehavior::Restrict {
                let what = match targets {
                    [one] => format!(
                        "cannot drop {} because other objects depend on it",
                        self.describe(*one)
                    ),
                    _ => "cannot drop desired object(s) because other objects depend on them"
                        .to_owned(),
                };
                let detail = list(&|(dependent, on)| {
                    format!("{} depends on {}", self.describe(*dependent), self.describe(*on))
                });
                let hint = "Use DROP ... CASCADE to drop the dependent objects too.";
                return Err(CatalogError::new("2BP01", what).detail(detail).hint(hint));
            }
            let cascades = |(dependent, _): &(Object, Object)| {
                format!("drop cascades to {}", self.describe(*dependent))
            };
            let (message, detail) = match plan.reported.as_slice() {
                [one] => (cascades(one), None),
                _ => (format!("drop cascades to {lines} other objects"), Some(list(&cascades))),
            };
            self.notices_push("00000", message, detail);
        }
        for object in plan.order {
            self.remove(object)?;
        }
        Ok(())
    }

    /// Everything that goes, dependents first, and of that what the user did not ask for, each
    /// with what it depends on.
    fn plan_drop(&self, targets: &[Object]) -> DropPlan {
        let mut found: BTreeMap<Object, Edge> = targets.iter().map(|t| (*t, Edge::Auto)).collect();
        let mut order = targets.to_vec();
        let mut reasons: Vec<(Object, Object)> = Vec::new();
        let mut at = 0;
        while at < order.len() {
            let object = order[at];
            at += 1;
            for (dependent, edge) in dependents(&self.catalog, object) {
                match found.get(&dependent) {
                    None => {
                        found.insert(dependent, edge);
                        order.push(dependent);
                        if edge == Edge::Normal {
                            reasons.push((dependent, object));
                        }
                    }
                    // Reached silently as well: then it is not worth a word.
                    Some(Edge::Normal) if edge == Edge::Auto => {
                        found.insert(dependent, edge);
                        reasons.retain(|(d, _)| *d != dependent);
                    }
                    Some(_) => {}
                }
            }
        }
        // Part of a table that goes anyway.
        reasons.retain(|(dependent, _)| match dependent {
            Object::Column(table, _) | Object::Default(table, _) | Object::Constraint(table, _) => {
                !found.contains_key(&Object::Relation(*table))
            }
            Object::Schema(_) | Object::Relation(_) | Object::Index(_) => true,
        });
        order.reverse();
        DropPlan { order, reported: reasons }
    }

    fn remove(&mut self, object: Object) -> Result<()> {
        match object {
            Object::Schema(oid) => {
                std::sync::Arc::make_mut(&mut self.catalog.schemas).remove(&oid);
                self.touched.insert(ObjectKey::Schema(oid));
                self.drop_comments(class::NAMESPACE, oid, None);
            }
            Object::Relation(oid) => self.remove_relation(oid),
            Object::Index(oid) => {
                if let Some((table, _)) = self.catalog.index(oid) {
                    let mut table = self.edit_table(table.oid)?;
                    self.remove_index(&mut table, oid)?;
                    self.put_table(table);
                }
            }
            Object::Column(table, column) => self.remove_column(table, column)?,
            Object::Default(table, column) => {
                if self.catalog.table(table).is_some() {
                    let mut table = self.edit_table(table)?;
                    if let Some(at) = table.ordinal(column) {
                        table.columns[at].default = None;
                        table.columns[at].default_sequences.clear();
                    }
                    self.put_table(table);
                }
            }
            Object::Constraint(table, constraint) => {
                if self.catalog.table(table).is_some() {
                    let mut table = self.edit_table(table)?;
                    if let Some(index) = table.constraint(constraint).and_then(|c| c.index()) {
                        self.remove_index(&mut table, index)?;
                    }
                    table.constraints.retain(|c| c.oid != constraint);
                    self.put_table(table);
                    self.drop_comments(class::CONSTRAINT, constraint, None);
                }
            }
        }
        Ok(())
    }

    /// Forgets a table, view or sequence, and with a table its storage.
    pub(super) fn remove_relation(&mut self, oid: Oid) {
        if let Some(table) = self.catalog.remove_table(oid) {
            self.touched.insert(ObjectKey::Table(oid));
            self.update.dropped_spans.push(Span::prefix(Key::table_prefix(table.id)));
            self.update.new_indexes.retain(|(table, _)| *table != oid);
            self.update.rewrites.retain(|r| r.table != oid);
            for index in &table.indexes {
                self.drop_comments(class::RELATION, index.oid, None);
            }
            for constraint in &table.constraints {
                self.drop_comments(class::CONSTRAINT, constraint.oid, None);
            }
        }
        if self.catalog.remove_view(oid).is_some() {
            self.touched.insert(ObjectKey::View(oid));
        }
        if self.catalog.remove_sequence(oid).is_some() {
            self.touched.insert(ObjectKey::Sequence(oid));
            self.update.dropped_sequences.push(oid);
        }
        self.drop_comments(class::RELATION, oid, None);
    }

    fn remove_index(&mut self, table: &mut TableDescriptor, oid: Oid) -> Result<()> {
        let Some(at) = table.indexes.iter().position(|i| i.oid == oid) else { return Ok(()) };
        let index = table.indexes.remove(at);
        self.drop_comments(class::RELATION, oid, None);
        if index.id == ROWS_INDEX {
            // Rows are keyed by it: they need a hidden row id instead, in new storage.
            return self.rewrite(table);
        }
        self.update.new_indexes.retain(|(of, id)| (*of, *id) != (table.oid, index.id));
        self.update.dropped_spans.push(Span::prefix(Key::index_prefix(table.id, index.id)));
        Ok(())
    }

    fn remove_column(&mut self, oid: Oid, column: ColumnId) -> Result<()> {
        if self.catalog.table(oid).is_none() {
            return Ok(());
        }
        let mut table = self.edit_table(oid)?;
        table.columns.retain(|c| c.id != column);
        self.put_table(table);
        self.drop_comments(class::RELATION, oid, Some(i32::from(column.0)));
        Ok(())
    }

    /// An object as messages name it: `constraint c on table t`.
    fn describe(&self, object: Object) -> String {
        let table = |oid: Oid| {
            let table = self.catalog.table(oid);
            table.map_or(String::new(), |t| self.shown(t.schema, &t.name))
        };
        let column = |oid: Oid, id: ColumnId| {
            let column = self.catalog.table(oid).and_then(|t| t.column(id));
            column.map_or(String::new(), |c| quote_identifier(&c.name).into_owned())
        };
        match object {
            Object::Schema(oid) => {
                format!("schema {}", self.catalog.schema_name(oid).unwrap_or_default())
            }
            Object::Relation(oid) | Object::Index(oid) => match self.catalog.relation_by_oid(oid) {
                Some(r) => format!("{} {}", r.kind(), self.shown(r.schema(), r.name())),
                None => format!("relation {oid}"),
            },
            Object::Column(oid, id) => {
                format!("column {} of table {}", column(oid, id), table(oid))
            }
            Object::Default(oid, id) => {
                format!("default value for column {} of table {}", column(oid, id), table(oid))
            }
            Object::Constraint(oid, constraint) => {
                let found = self.catalog.table(oid).and_then(|t| t.constraint(constraint));
                let name = found.map_or("", |c| c.name.as_str());
                format!("constraint {} on table {}", quote_identifier(name), table(oid))
            }
        }
    }

    /// A relation's name, qualified if the search path does not find it.
    pub(super) fn shown(&self, schema: Oid, name: &str) -> String {
        let found = self.catalog.resolve(self.database, &self.search_path, None, name);
        let quoted = quote_identifier(name);
        if found.is_some_and(|r| r.schema() == schema) {
            return quoted.into_owned();
        }
        let schema = self.catalog.schema_name(schema).unwrap_or_default();
        format!("{}.{quoted}", quote_identifier(schema))
    }
}

struct DropPlan {
    order: Vec<Object>,
    reported: Vec<(Object, Object)>,
}

/// The objects that cannot exist without `object`.
fn dependents(catalog: &Catalog, object: Object) -> Vec<(Object, Edge)> {
    let mut out = Vec::new();
    let mut add = |object, edge| out.push((object, edge));
    match object {
        Object::Schema(schema) => {
            for relation in catalog.relations_in(schema) {
                if !matches!(relation, Relation::Index(..)) {
                    // An owned sequence goes with its table, silently.
                    let owned = matches!(&relation, Relation::Sequence(s) if s.owned_by.is_some());
                    let edge = if owned { Edge::Auto } else { Edge::Normal };
                    add(Object::Relation(relation.oid()), edge);
                }
            }
        }
        Object::Relation(oid) => {
            for sequence in catalog.sequences_owned_by(oid) {
                add(Object::Relation(sequence.oid), Edge::Auto);
            }
            for (holder, constraint, _) in catalog.referenced_by(oid) {
                if holder.oid != oid {
                    add(Object::Constraint(holder.oid, constraint.oid), Edge::Normal);
                }
            }
            for view in catalog.views.values() {
                if view.dependencies.iter().any(|d| d.relation == oid) {
                    add(Object::Relation(view.oid), Edge::Normal);
                }
            }
            if catalog.sequence(oid).is_some() {
                for table in catalog.tables.values() {
                    for column in &table.columns {
                        if column.default_sequences.contains(&oid) {
                            add(Object::Default(table.oid, column.id), Edge::Normal);
                        }
                    }
                }
            }
        }
        Object::Column(oid, id) => column_dependents(catalog, oid, id, &mut add),
        Object::Index(oid) => {
            if let Some((table, _)) = catalog.index(oid) {
                index_users(catalog, table.oid, oid, &mut add);
            }
        }
        Object::Constraint(oid, constraint) => {
            let found = catalog.table(oid).and_then(|t| t.constraint(constraint));
            if let Some(index) = found.and_then(|c| c.index()) {
                index_users(catalog, oid, index, &mut add);
            }
        }
        Object::Default(..) => {}
    }
    out
}

fn index_users(catalog: &Catalog, table: Oid, index: Oid, add: &mut impl FnMut(Object, Edge)) {
    for (holder, constraint, key) in catalog.referenced_by(table) {
        if key.referenced_index == index {
            add(Object::Constraint(holder.oid, constraint.oid), Edge::Normal);
        }
    }
}

fn column_dependents(
    catalog: &Catalog,
    oid: Oid,
    id: ColumnId,
    add: &mut impl FnMut(Object, Edge),
) {
    let Some(table) = catalog.table(oid) else { return };
    for index in &table.indexes {
        let uses = index.columns.iter().any(|c| c.column == id) || index.include.contains(&id);
        if uses && table.constraint_of_index(index.oid).is_none() {
            add(Object::Index(index.oid), Edge::Auto);
        }
    }
    for constraint in &table.constraints {
        let uses = match &constraint.kind {
            ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } => {
                table.index(*index).is_some_and(|i| {
                    i.columns.iter().any(|c| c.column == id) || i.include.contains(&id)
                })
            }
            ConstraintKind::Check(check) => check.columns.contains(&id),
            ConstraintKind::ForeignKey(key) => key.columns.contains(&id),
        };
        if uses {
            add(Object::Constraint(oid, constraint.oid), Edge::Auto);
        }
    }
    for sequence in catalog.sequences_owned_by(oid) {
        if sequence.owned_by == Some((oid, id)) {
            add(Object::Relation(sequence.oid), Edge::Auto);
        }
    }
    for (holder, constraint, key) in catalog.referenced_by(oid) {
        if key.referenced_columns.contains(&id) {
            add(Object::Constraint(holder.oid, constraint.oid), Edge::Normal);
        }
    }
    for column in &table.columns {
        if column.generated.as_ref().is_some_and(|g| g.uses.contains(&id)) {
            add(Object::Column(oid, column.id), Edge::Normal);
        }
    }
    for view in catalog.views.values() {
        if view.dependencies.iter().any(|d| d.relation == oid && d.columns.contains(&id)) {
            add(Object::Relation(view.oid), Edge::Normal);
        }
    }
}

/// The table and column that generate their identity from a sequence.
fn identity_of(catalog: &Catalog, sequence: Oid) -> Option<(&TableDescriptor, &str)> {
    let (table, column) = catalog.sequence(sequence)?.owned_by?;
    let table = catalog.table(table)?;
    let column = table.column(column)?;
    let identity = column.identity.is_some_and(|i| i.sequence == sequence);
    identity.then_some((&**table, column.name.as_str()))
}

/// The comment key of a relation or of one of its columns.
pub fn relation_comment(oid: Oid, column: Option<ColumnId>) -> CommentKey {
    let sub = column.map_or(0, |c| i32::from(c.0));
    CommentKey { class: class::RELATION, object: oid, sub }
}
