//! Whole tables: CREATE TABLE, CREATE INDEX, TRUNCATE, RENAME, SET SCHEMA, OWNER.

use super::definition::{AutoIncrement, NewColumn, NewIndex, NewSequence, NewTable};
use super::name::{bind_sequences, free_name, joined};
use super::{CatalogChange, PrimaryKeyPlacement};
use crate::error::CatalogError;
use crate::table::{
    ColumnDescriptor, ColumnId, Generated, Identity, IndexColumn, IndexDescriptor, IndexId,
    IndexState, ROWS_INDEX, TableDescriptor,
};
use crate::{Oid, Relation, Result};
use core_domain::{Key, Span};
use datum::SqlType;

const COLUMNS_MAX: usize = 1600;
const INDEX_COLUMNS_MAX: usize = 32;
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"];

impl CatalogChange {
    /// CREATE TABLE, with its sequences, constraints and indexes. Nothing needs filling or
    /// checking afterwards, since the table is empty.
    ///
    /// # Errors
    /// 42P07, 42701, 42P16, 42830, ... as PostgreSQL.
    pub fn create_table(&mut self, new: NewTable) -> Result<Oid> {
        self.expect_schema(new.schema, &new.name)?;
        self.expect_free_name(new.schema, &new.name)?;
        let before = (self.update.new_indexes.len(), self.update.validations.len());
        let oid = self.allocate_oid();
        let id = self.allocate_storage(self.database)?;
        self.put_table(TableDescriptor {
            oid,
            database: self.database,
            schema: new.schema,
            name: new.name,
            owner: self.role,
            id,
            columns: Vec::new(),
            next_column: ColumnId(1),
            next_index: ROWS_INDEX + 1,
            indexes: Vec::new(),
            constraints: Vec::new(),
            options: new.options,
            version: 0,
        });
        let mut names = std::collections::HashSet::new();
        for column in &new.columns {
            if !names.insert(column.name.clone()) {
                let what = format!("column \"{}\" specified more than once", column.name);
                return Err(CatalogError::new("42701", what));
            }
        }
        for column in new.columns {
            self.append_column(oid, column)?;
        }
        if let Some(key) = new.primary_key {
            self.attach_primary_key(oid, key, PrimaryKeyPlacement::Empty)?;
        }
        for key in new.uniques {
            self.add_unique(oid, key)?;
        }
        for check in new.checks {
            self.add_check(oid, check)?;
        }
        for mut key in new.foreign_keys {
            if key.referenced_table == 0 {
                key.referenced_table = oid;
            }
            self.add_foreign_key(oid, key)?;
        }
        self.update.new_indexes.truncate(before.0);
        self.update.validations.truncate(before.1);
        Ok(oid)
    }

    /// Adds a column at the end, with the sequence that SERIAL or IDENTITY asks for.
    pub(super) fn append_column(&mut self, table: Oid, new: NewColumn) -> Result<ColumnId> {
        let mut edited = self.edit_table(table)?;
        if edited.columns.len() >= COLUMNS_MAX {
            let what = format!("tables can have at most {COLUMNS_MAX} columns");
            return Err(CatalogError::new("54011", what));
        }
        if edited.column_named(&new.name).is_some() {
            let what =
                format!("column \"{}\" of relation \"{}\" already exists", new.name, edited.name);
            return Err(CatalogError::new("42701", what));
        }
        if SYSTEM_COLUMNS.contains(&new.name.as_str()) {
            let what = format!("column name \"{}\" conflicts with a system column name", new.name);
            return Err(CatalogError::new("42701", what));
        }
        if matches!(new.ty.ty, SqlType::Void | SqlType::Unknown | SqlType::Record) {
            let what = format!("column \"{}\" has pseudo-type {}", new.name, new.ty.ty.name());
            return Err(CatalogError::new("42P16", what));
        }
        let id = edited.next_column;
        edited.next_column = ColumnId(id.0 + 1);
        let generated = match new.generated {
            Some((sql, uses)) => Some(Generated { sql, uses: column_ids(&edited, &uses)? }),
            None => None,
        };
        let (default, default_sequences) = match new.default {
            Some(sql) => self.bind_default(&sql),
            None => (None, Vec::new()),
        };
        let name = new.name.clone();
        let ty = new.ty.ty.clone();
        edited.columns.push(ColumnDescriptor {
            id,
            name: new.name,
            not_null: new.not_null || new.auto.is_some(),
            default,
            missing: new.missing.as_ref().map(|d| crate::rows::encode_missing(d, &new.ty)),
            generated,
            identity: None,
            default_sequences,
            collation: new.collation,
            ty: new.ty,
        });
        self.put_table(edited);
        match new.auto {
            None => {}
            Some(AutoIncrement::Serial) => {
                let sequence = self.owned_sequence(table, &name, ty, Default::default())?;
                let text = super::name::quoted_qualified(&self.catalog, sequence);
                let mut edited = self.edit_table(table)?;
                let at = edited.ordinal(id).expect("just added");
                edited.columns[at].default = Some(format!("nextval({text}::regclass)"));
                edited.columns[at].default_sequences = vec![sequence];
                self.put_table(edited);
            }
            Some(AutoIncrement::Identity { always, options }) => {
                let sequence = self.owned_sequence(table, &name, ty, options)?;
                let mut edited = self.edit_table(table)?;
                let at = edited.ordinal(id).expect("just added");
                edited.columns[at].identity = Some(Identity { always, sequence });
                self.put_table(edited);
            }
        }
        Ok(id)
    }

    /// A stored form of a DEFAULT that does not depend on the search path, and its sequences.
    pub(super) fn bind_default(&self, sql: &str) -> (Option<String>, Vec<Oid>) {
        let (sql, sequences) = bind_sequences(sql, &self.catalog, self.database, &self.search_path);
        (Some(sql), sequences)
    }

    /// The sequence behind SERIAL or IDENTITY: `table_column_seq`, owned by the column.
    pub(super) fn owned_sequence(
        &mut self,
        table: Oid,
        column: &str,
        ty: SqlType,
        options: super::SequenceOptions,
    ) -> Result<Oid> {
        if !ty.is_integer() {
            let what = "identity column type must be smallint, integer, or bigint";
            return Err(CatalogError::new("22023", what));
        }
        let owner = self.edit_table(table)?;
        let (schema, name) = options.name.clone().unwrap_or_else(|| {
            let name = self.free_relation_name(owner.schema, &owner.name, column, "seq");
            (owner.schema, name)
        });
        self.create_sequence(NewSequence {
            schema,
            name,
            ty,
            options,
            owned_by: Some((table, column.to_owned())),
        })
    }

    pub(super) fn free_relation_name(
        &self,
        schema: Oid,
        name1: &str,
        name2: &str,
        label: &str,
    ) -> String {
        free_name(name1, name2, label, |name| self.catalog.relation(schema, name).is_some())
    }

    /// CREATE INDEX. The index is public at once; `CatalogUpdate::new_indexes` asks to fill it.
    pub fn create_index(&mut self, new: NewIndex) -> Result<Oid> {
        let table = self.edit_table(new.table)?;
        let method = if new.method.is_empty() { "btree" } else { new.method.as_str() };
        if method != "btree" {
            return Err(CatalogError::unsupported(format_args!("access method \"{method}\"")));
        }
        let mut columns = Vec::new();
        for column in &new.columns {
            let found = table.column_named(&column.name);
            let (_, found) = found.ok_or_else(|| {
                CatalogError::new("42703", format!("column \"{}\" does not exist", column.name))
            })?;
            columns.push(column.place(found.id));
        }
        let mut include = Vec::new();
        for name in &new.include {
            let (_, column) = table.column_named(name).ok_or_else(|| {
                CatalogError::new("42703", format!("column \"{name}\" does not exist"))
            })?;
            include.push(column.id);
        }
        let name = match new.name {
            Some(name) => {
                self.expect_free_name(table.schema, &name)?;
                name
            }
            None => {
                let parts = new.columns.iter().map(|c| &c.name).chain(&new.include);
                let parts = joined(parts.map(String::as_str));
                self.free_relation_name(table.schema, &table.name, &parts, "idx")
            }
        };
        let index = IndexDescriptor {
            oid: 0,
            id: 0,
            name,
            unique: new.unique,
            primary: false,
            nulls_not_distinct: new.nulls_not_distinct,
            columns,
            include,
            predicate: new.predicate,
            method: method.to_owned(),
            state: IndexState::Public,
        };
        self.attach_index(table.oid, index).map(|(oid, _)| oid)
    }

    /// Gives an index its OID and number and puts it into its table.
    pub(super) fn attach_index(
        &mut self,
        table: Oid,
        mut index: IndexDescriptor,
    ) -> Result<(Oid, IndexId)> {
        let mut table = self.edit_table(table)?;
        if index.columns.len() > INDEX_COLUMNS_MAX {
            let what = format!("cannot use more than {INDEX_COLUMNS_MAX} columns in an index");
            return Err(CatalogError::new("54011", what));
        }
        for column in &index.columns {
            check_indexable(&table, column)?;
        }
        index.oid = self.allocate_oid();
        if index.id == 0 {
            index.id = table.next_index;
            table.next_index += 1;
            self.update.new_indexes.push((table.oid, index.id));
        }
        let ids = (index.oid, index.id);
        table.indexes.push(index);
        self.put_table(table);
        Ok(ids)
    }

    /// TRUNCATE: new storage for each table. With `cascade`, tables that refer to them too.
    pub fn truncate(
        &mut self,
        tables: &[Oid],
        restart_identity: bool,
        cascade: bool,
    ) -> Result<()> {
        let mut all: Vec<Oid> = Vec::new();
        for table in tables {
            if !all.contains(table) {
                all.push(*table);
            }
        }
        let mut at = 0;
        while at < all.len() {
            let holders = self.catalog.referenced_by(all[at]).map(|(holder, ..)| holder.oid);
            let holders: Vec<Oid> = holders.filter(|h| !all.contains(h)).collect();
            for holder in holders {
                let name = |oid| self.catalog.table(oid).map(|t| t.name.clone());
                let holder_name = name(holder).unwrap_or_default();
                if !cascade {
                    let what = "cannot truncate a table referenced in a foreign key constraint";
                    let target = name(all[at]).unwrap_or_default();
                    let detail = format!("Table \"{holder_name}\" references \"{target}\".");
                    let hint = format!(
                        "Truncate table \"{holder_name}\" at the same time, or use TRUNCATE ... \
                         CASCADE."
                    );
                    return Err(CatalogError::new("0A000", what).detail(detail).hint(hint));
                }
                if !all.contains(&holder) {
                    self.notice(format!("truncate cascades to table \"{holder_name}\""));
                    all.push(holder);
                }
            }
            at += 1;
        }
        for oid in all {
            let mut table = self.edit_table(oid)?;
            self.update.dropped_spans.push(Span::prefix(Key::table_prefix(table.id)));
            table.id = self.allocate_storage(table.database)?;
            self.put_table(table);
            if restart_identity {
                let owned = self.catalog.sequences_owned_by(oid).map(|s| s.oid);
                let owned: Vec<Oid> = owned.collect();
                self.update.restarted_sequences.extend(owned);
            }
        }
        Ok(())
    }

    /// RENAME TO, for tables, views, sequences and indexes.
    pub fn rename_relation(&mut self, oid: Oid, to: &str) -> Result<()> {
        let relation = self.catalog.relation_by_oid(oid);
        let relation = relation.ok_or_else(|| CatalogError::no_relation(&oid.to_string()))?;
        self.expect_schema(relation.schema(), to)?;
        self.expect_free_name(relation.schema(), to)?;
        match relation {
            Relation::Table(table) => {
                let name = table.name.clone();
                self.refuse_if_viewed(oid, &format!("renaming table \"{name}\""))?;
                let mut table = self.edit_table(oid)?;
                table.name = to.to_owned();
                self.put_table(table);
            }
            Relation::View(view) => {
                let name = view.name.clone();
                self.refuse_if_viewed(oid, &format!("renaming view \"{name}\""))?;
                let mut view = self.edit_view(oid)?;
                self.catalog.remove_view(oid);
                view.name = to.to_owned();
                self.put_view(view);
            }
            Relation::Sequence(_) => {
                let mut sequence = self.edit_sequence(oid)?;
                sequence.name = to.to_owned();
                self.replace_sequence(sequence);
            }
            Relation::Index(table, _) => {
                let mut table = self.edit_table(table.oid)?;
                if let Some(index) = table.indexes.iter_mut().find(|i| i.oid == oid) {
                    index.name = to.to_owned();
                }
                // The constraint behind an index is renamed with it.
                if let Some(constraint) =
                    table.constraints.iter_mut().find(|c| c.index() == Some(oid))
                {
                    constraint.name = to.to_owned();
                }
                self.put_table(table);
            }
            Relation::Virtual(_) => unreachable_system()?,
        }
        Ok(())
    }

    /// ALTER ... SET SCHEMA, for tables (with their indexes and sequences), views and sequences.
    pub fn set_schema(&mut self, oid: Oid, schema: Oid) -> Result<()> {
        let relation = self.catalog.relation_by_oid(oid);
        let relation = relation.ok_or_else(|| CatalogError::no_relation(&oid.to_string()))?;
        let name = relation.name().to_owned();
        self.expect_schema(schema, &name)?;
        if relation.schema() == schema {
            return Ok(());
        }
        if self.catalog.relation(schema, &name).is_some() {
            let schema = self.catalog.schema_name(schema).unwrap_or_default();
            let what = format!("relation \"{name}\" already exists in schema \"{schema}\"");
            return Err(CatalogError::new("42P07", what));
        }
        match relation {
            Relation::Table(_) => {
                self.refuse_if_viewed(oid, &format!("moving table \"{name}\""))?;
                let mut table = self.edit_table(oid)?;
                for index in &table.indexes {
                    self.expect_free_name(schema, &index.name)?;
                }
                table.schema = schema;
                self.put_table(table);
                let owned: Vec<Oid> = self.catalog.sequences_owned_by(oid).map(|s| s.oid).collect();
                for sequence in owned {
                    self.set_schema(sequence, schema)?;
                }
            }
            Relation::View(_) => {
                self.refuse_if_viewed(oid, &format!("moving view \"{name}\""))?;
                let mut view = self.edit_view(oid)?;
                view.schema = schema;
                self.put_view(view);
            }
            Relation::Sequence(_) => {
                let mut sequence = self.edit_sequence(oid)?;
                sequence.schema = schema;
                self.replace_sequence(sequence);
            }
            Relation::Index(..) => {
                let what = format!("\"{name}\" is an index");
                return Err(CatalogError::new("42809", what));
            }
            Relation::Virtual(_) => unreachable_system()?,
        }
        Ok(())
    }

    /// ALTER ... OWNER TO, for tables (with their sequences), views and sequences.
    pub fn set_owner(&mut self, oid: Oid, role: Oid) -> Result<()> {
        match self.catalog.relation_by_oid(oid) {
            Some(Relation::Table(_)) => {
                let mut table = self.edit_table(oid)?;
                table.owner = role;
                self.put_table(table);
                let owned: Vec<Oid> = self.catalog.sequences_owned_by(oid).map(|s| s.oid).collect();
                for sequence in owned {
                    self.set_owner(sequence, role)?;
                }
            }
            Some(Relation::View(_)) => {
                let mut view = self.edit_view(oid)?;
                view.owner = role;
                self.put_view(view);
            }
            Some(Relation::Sequence(_)) => {
                let mut sequence = self.edit_sequence(oid)?;
                sequence.owner = role;
                self.put_sequence(sequence);
            }
            Some(Relation::Index(..) | Relation::Virtual(_)) | None => {
                return Err(CatalogError::no_relation(&oid.to_string()));
            }
        }
        Ok(())
    }

    /// Sets (`Some`) or resets (`None`) `WITH (...)` options.
    pub fn set_options(&mut self, oid: Oid, options: &[(String, Option<String>)]) -> Result<()> {
        let mut table = self.edit_table(oid)?;
        for (name, value) in options {
            table.options.retain(|(existing, _)| existing != name);
            if let Some(value) = value {
                table.options.push((name.clone(), value.clone()));
            }
        }
        self.put_table(table);
        Ok(())
    }

    /// View bodies are text, so what they name cannot change its name under them yet.
    pub(super) fn refuse_if_viewed(&self, relation: Oid, what: &str) -> Result<()> {
        let uses = |v: &&std::sync::Arc<crate::ViewDescriptor>| {
            v.dependencies.iter().any(|d| d.relation == relation)
        };
        match self.catalog.views.values().find(uses) {
            Some(view) => Err(CatalogError::unsupported(format_args!(
                "{what}, which view \"{}\" uses,",
                view.name
            ))),
            None => Ok(()),
        }
    }
}

pub(super) fn unreachable_system() -> Result<()> {
    let what = "permission denied: system catalogs cannot be changed";
    Err(CatalogError::new("42501", what))
}

pub(super) fn column_ids(table: &TableDescriptor, names: &[String]) -> Result<Vec<ColumnId>> {
    let find = |name: &String| {
        let found = table.column_named(name).map(|(_, c)| c.id);
        found.ok_or_else(|| CatalogError::no_column(name, &table.name))
    };
    names.iter().map(find).collect()
}

fn check_indexable(table: &TableDescriptor, index: &IndexColumn) -> Result<()> {
    let Some(column) = table.column(index.column) else { return Ok(()) };
    let base = column.ty.ty.element_type().unwrap_or_else(|| column.ty.ty.clone());
    if matches!(base, SqlType::Json | SqlType::Xid) {
        let what = format!(
            "data type {} has no default operator class for access method \"btree\"",
            column.ty.ty.name()
        );
        let hint = "You must specify an operator class for the index or define a default operator \
                    class for the data type.";
        return Err(CatalogError::new("42704", what).hint(hint));
    }
    if !crate::keys::is_indexable(column) {
        let what = format_args!("an index on a column of type {}", column.ty.ty.name());
        return Err(CatalogError::unsupported(what));
    }
    Ok(())
}
