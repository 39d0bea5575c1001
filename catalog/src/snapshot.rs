//! One immutable version of everything the cluster knows about its tables.
//!
//! ```text
//! databases, schemas, roles            by OID; few
//! tables, views, sequences             by OID
//! names: schema OID -> name -> entry   tables, views, sequences and indexes in one namespace
//! ```
//!
//! A snapshot is shared as `Arc<Catalog>`. Its maps are `Arc`s themselves: a change clones only the
//! maps that it touches, and the descriptors in them not at all.
//!
//! Names and OIDs in `pg_catalog`, `information_schema` and `shanghai` are not stored: they are the
//! same in every database and come from `virtual_tables`.

use crate::database::{
    CommentKey, DatabaseDescriptor, RoleDescriptor, RoleMembership, SchemaDescriptor,
};
use crate::error::CatalogError;
use crate::relation::{Relation, SequenceDescriptor, ViewDescriptor};
use crate::table::{
    ConstraintDescriptor, ConstraintKind, ForeignKey, IndexDescriptor, TableDescriptor,
};
use crate::virtual_tables::{self, SystemSchema};
use crate::{Oid, Result};
use core_domain::TableId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// (database or zero, role or zero): what ALTER DATABASE/ROLE ... SET applies to.
pub type SettingScope = (Oid, Oid);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Counts DDL transactions; a plan is valid for one version.
    pub(crate) version: u64,
    /// The next OID to hand out; persisted, so never reused.
    pub(crate) next_oid: Oid,
    pub(crate) databases: Arc<BTreeMap<Oid, Arc<DatabaseDescriptor>>>,
    pub(crate) schemas: Arc<BTreeMap<Oid, Arc<SchemaDescriptor>>>,
    pub(crate) roles: Arc<BTreeMap<Oid, Arc<RoleDescriptor>>>,
    pub(crate) tables: Arc<BTreeMap<Oid, Arc<TableDescriptor>>>,
    pub(crate) views: Arc<BTreeMap<Oid, Arc<ViewDescriptor>>>,
    pub(crate) sequences: Arc<BTreeMap<Oid, Arc<SequenceDescriptor>>>,
    pub(crate) comments: Arc<BTreeMap<CommentKey, String>>,
    pub(crate) settings: Arc<BTreeMap<SettingScope, Vec<(String, String)>>>,
    // Everything below follows from the above.
    names: Arc<HashMap<Oid, BTreeMap<String, Entry>>>,
    /// Index OID to table OID.
    index_tables: Arc<HashMap<Oid, Oid>>,
    /// Referenced table to the (table, constraint) pairs that point at it.
    referencing: Arc<HashMap<Oid, Vec<(Oid, Oid)>>>,
    storage: Arc<HashMap<TableId, Oid>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Table(Oid),
    View(Oid),
    Sequence(Oid),
    Index { table: Oid, index: Oid },
}

impl Catalog {
    pub fn version(&self) -> u64 {
        self.version
    }

    // ---- databases, schemas, roles ----

    pub fn database(&self, oid: Oid) -> Option<&Arc<DatabaseDescriptor>> {
        self.databases.get(&oid)
    }

    pub fn database_named(&self, name: &str) -> Option<&Arc<DatabaseDescriptor>> {
        self.databases.values().find(|d| d.name == name)
    }

    pub fn databases(&self) -> impl Iterator<Item = &Arc<DatabaseDescriptor>> {
        self.databases.values()
    }

    /// A stored schema. System schemas: [`SystemSchema`].
    pub fn schema(&self, oid: Oid) -> Option<&Arc<SchemaDescriptor>> {
        self.schemas.get(&oid)
    }

    pub fn schema_named(&self, database: Oid, name: &str) -> Option<&Arc<SchemaDescriptor>> {
        self.schemas.values().find(|s| s.database == database && s.name == name)
    }

    /// The OID of a schema by name, system schemas included.
    pub fn schema_oid(&self, database: Oid, name: &str) -> Option<Oid> {
        match SystemSchema::named(name) {
            Some(system) => Some(system.oid()),
            None => self.schema_named(database, name).map(|s| s.oid),
        }
    }

    /// The name of a schema by OID, system schemas included.
    pub fn schema_name(&self, oid: Oid) -> Option<&str> {
        match SystemSchema::by_oid(oid) {
            Some(system) => Some(system.name()),
            None => self.schema(oid).map(|s| s.name.as_str()),
        }
    }

    pub fn schemas_of(&self, database: Oid) -> impl Iterator<Item = &Arc<SchemaDescriptor>> {
        self.schemas.values().filter(move |s| s.database == database)
    }

    pub fn role(&self, oid: Oid) -> Option<&Arc<RoleDescriptor>> {
        self.roles.get(&oid)
    }

    pub fn role_named(&self, name: &str) -> Option<&Arc<RoleDescriptor>> {
        self.roles.values().find(|r| r.name == name)
    }

    pub fn roles(&self) -> impl Iterator<Item = &Arc<RoleDescriptor>> {
        self.roles.values()
    }

    pub fn memberships(&self, role: Oid) -> &[RoleMembership] {
        self.roles.get(&role).map_or(&[], |r| r.member_of.as_slice())
    }

    /// The name that pg_get_userbyid shows.
    pub fn role_name(&self, oid: Oid) -> String {
        self.role(oid).map_or_else(|| format!("unknown (OID={oid})"), |r| r.name.clone())
    }

    // ---- relations ----

    pub fn table(&self, oid: Oid) -> Option<&Arc<TableDescriptor>> {
        self.tables.get(&oid)
    }

    pub fn view(&self, oid: Oid) -> Option<&Arc<ViewDescriptor>> {
        self.views.get(&oid)
    }

    pub fn sequence(&self, oid: Oid) -> Option<&Arc<SequenceDescriptor>> {
        self.sequences.get(&oid)
    }

    /// The table that an index belongs to, and the index.
    pub fn index(&self, oid: Oid) -> Option<(&Arc<TableDescriptor>, &IndexDescriptor)> {
        let table = self.tables.get(self.index_tables.get(&oid)?)?;
        Some((table, table.index(oid)?))
    }

    pub fn constraint(&self, oid: Oid) -> Option<(&Arc<TableDescriptor>, &ConstraintDescriptor)> {
        self.tables.values().find_map(|t| Some((t, t.constraint(oid)?)))
    }

    /// The table whose rows are under `/table/<id>`.
    pub fn table_by_storage(&self, id: TableId) -> Option<&Arc<TableDescriptor>> {
        self.tables.get(self.storage.get(&id)?)
    }

    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableDescriptor>> {
        self.tables.values()
    }

    pub fn tables_of(&self, database: Oid) -> impl Iterator<Item = &Arc<TableDescriptor>> {
        self.tables.values().filter(move |t| t.database == database)
    }

    pub fn views_of(&self, database: Oid) -> impl Iterator<Item = &Arc<ViewDescriptor>> {
        self.views.values().filter(move |v| v.database == database)
    }

    pub fn sequences_of(&self, database: Oid) -> impl Iterator<Item = &Arc<SequenceDescriptor>> {
        self.sequences.values().filter(move |s| s.database == database)
    }

    /// Sequences owned by a table's columns.
    pub fn sequences_owned_by(&self, table: Oid) -> impl Iterator<Item = &Arc<SequenceDescriptor>> {
        self.sequences.values().filter(move |s| s.owned_by.is_some_and(|(t, _)| t == table))
    }

    /// Foreign keys that point at `table`, with the tables that hold them.
    pub fn referenced_by(
        &self,
        table: Oid,
    ) -> impl Iterator<Item = (&Arc<TableDescriptor>, &ConstraintDescriptor, &ForeignKey)> {
        let pairs = self.referencing.get(&table).map_or(&[][..], Vec::as_slice);
        pairs.iter().filter_map(|(holder, constraint)| {
            let holder = self.tables.get(holder)?;
            let constraint = holder.constraint(*constraint)?;
            match &constraint.kind {
                ConstraintKind::ForeignKey(key) => Some((holder, constraint, key)),
                ConstraintKind::PrimaryKey { .. }
                | ConstraintKind::Unique { .. }
                | ConstraintKind::Check(_) => None,
            }
        })
    }

    /// A relation by OID, system relations included.
    pub fn relation_by_oid(&self, oid: Oid) -> Option<Relation<'_>> {
        if let Some(table) = self.tables.get(&oid) {
            return Some(Relation::Table(table));
        }
        if let Some(view) = self.views.get(&oid) {
            return Some(Relation::View(view));
        }
        if let Some(sequence) = self.sequences.get(&oid) {
            return Some(Relation::Sequence(sequence));
        }
        if let Some((table, index)) = self.index(oid) {
            return Some(Relation::Index(table, index));
        }
        virtual_tables::by_oid(oid).map(Relation::Virtual)
    }

    /// A relation by schema OID and name, system relations included.
    pub fn relation(&self, schema: Oid, name: &str) -> Option<Relation<'_>> {
        if let Some(system) = SystemSchema::by_oid(schema) {
            return virtual_tables::lookup(system.name(), name).map(Relation::Virtual);
        }
        match *self.names.get(&schema)?.get(name)? {
            Entry::Table(oid) => self.tables.get(&oid).map(Relation::Table),
            Entry::View(oid) => self.views.get(&oid).map(Relation::View),
            Entry::Sequence(oid) => self.sequences.get(&oid).map(Relation::Sequence),
            Entry::Index { table, index } => {
                let table = self.tables.get(&table)?;
                Some(Relation::Index(table, table.index(index)?))
            }
        }
    }

    /// Everything in a stored schema, in order of name.
    pub fn relations_in(&self, schema: Oid) -> impl Iterator<Item = Relation<'_>> {
        let names = self.names.get(&schema).into_iter().flat_map(BTreeMap::keys);
        names.filter_map(move |name| self.relation(schema, name))
    }

    /// The schemas that `search_path` stands for, in order: pg_catalog first unless it is named,
    /// then those of the path that exist. `"$user"` must be replaced by the caller.
    pub fn search_schemas(&self, database: Oid, search_path: &[String]) -> Vec<Oid> {
        let mut schemas = Vec::with_capacity(search_path.len() + 1);
        let pg_catalog = SystemSchema::PgCatalog;
        if !search_path.iter().any(|s| s == pg_catalog.name()) {
            schemas.push(pg_catalog.oid());
        }
        schemas.extend(search_path.iter().filter_map(|name| self.schema_oid(database, name)));
        schemas
    }

    /// What `name` or `schema.name` means in a session.
    pub fn resolve(
        &self,
        database: Oid,
        search_path: &[String],
        schema: Option<&str>,
        name: &str,
    ) -> Option<Relation<'_>> {
        match schema {
            Some(schema) => self.relation(self.schema_oid(database, schema)?, name),
            None => self
                .search_schemas(database, search_path)
                .into_iter()
                .find_map(|schema| self.relation(schema, name)),
        }
    }

    /// [`Catalog::resolve`], with PostgreSQL's error (42P01).
    pub fn expect_relation(
        &self,
        database: Oid,
        search_path: &[String],
        schema: Option<&str>,
        name: &str,
    ) -> Result<Relation<'_>> {
        self.resolve(database, search_path, schema, name).ok_or_else(|| match schema {
            Some(schema) => CatalogError::no_relation(&format!("{schema}.{name}")),
            None => CatalogError::no_relation(name),
        })
    }

    /// Where CREATE without a schema puts things: the first stored schema of the path.
    ///
    /// # Errors
    /// 3F000 if there is none.
    pub fn creation_schema(&self, database: Oid, search_path: &[String]) -> Result<Oid> {
        search_path
            .iter()
            .find_map(|name| self.schema_named(database, name).map(|s| s.oid))
            .ok_or_else(|| CatalogError::new("3F000", "no schema has been selected to create in"))
    }

    /// Whether the unqualified name finds exactly this relation: pg_table_is_visible.
    pub fn is_visible(&self, database: Oid, search_path: &[String], oid: Oid) -> bool {
        let Some(relation) = self.relation_by_oid(oid) else { return false };
        self.resolve(database, search_path, None, relation.name()).is_some_and(|r| r.oid() == oid)
    }

    // ---- the rest ----

    pub fn comment(&self, key: CommentKey) -> Option<&str> {
        self.comments.get(&key).map(String::as_str)
    }

    pub fn comments(&self) -> impl Iterator<Item = (&CommentKey, &str)> {
        self.comments.iter().map(|(key, text)| (key, text.as_str()))
    }

    /// Settings for a session of `role` in `database`, weakest first.
    pub fn settings_for(&self, database: Oid, role: Oid) -> Vec<(&str, &str)> {
        let scopes = [(database, 0), (0, role), (database, role)];
        let lists = scopes.iter().filter_map(|scope| self.settings.get(scope));
        lists.flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub fn settings(&self) -> impl Iterator<Item = (&SettingScope, &[(String, String)])> {
        self.settings.iter().map(|(scope, list)| (scope, list.as_slice()))
    }

    // ---- for `bootstrap`, `change` and `persistence` ----

    pub(crate) fn empty(version: u64, next_oid: Oid) -> Self {
        Self { version, next_oid, ..Self::default() }
    }

    pub(crate) fn put_table(&mut self, table: TableDescriptor) {
        self.remove_table(table.oid);
        let names = Arc::make_mut(&mut self.names).entry(table.schema).or_default();
        names.insert(table.name.clone(), Entry::Table(table.oid));
        let index_tables = Arc::make_mut(&mut self.index_tables);
        for index in &table.indexes {
            names.insert(index.name.clone(), Entry::Index { table: table.oid, index: index.oid });
            index_tables.insert(index.oid, table.oid);
        }
        if table.foreign_keys().next().is_some() {
            let referencing = Arc::make_mut(&mut self.referencing);
            for (constraint, key) in table.foreign_keys() {
                let holders = referencing.entry(key.referenced_table).or_default();
                holders.push((table.oid, constraint.oid));
                holders.sort_unstable();
            }
        }
        Arc::make_mut(&mut self.storage).insert(table.id, table.oid);
        Arc::make_mut(&mut self.tables).insert(table.oid, Arc::new(table));
    }

    pub(crate) fn remove_table(&mut self, oid: Oid) -> Option<Arc<TableDescriptor>> {
        if !self.tables.contains_key(&oid) {
            return None;
        }
        let table = Arc::make_mut(&mut self.tables).remove(&oid)?;
        self.forget_name(table.schema, &table.name);
        for index in &table.indexes {
            self.forget_name(table.schema, &index.name);
            Arc::make_mut(&mut self.index_tables).remove(&index.oid);
        }
        if table.foreign_keys().next().is_some() {
            let referencing = Arc::make_mut(&mut self.referencing);
            for (_, key) in table.foreign_keys() {
                if let Some(holders) = referencing.get_mut(&key.referenced_table) {
                    holders.retain(|(holder, _)| *holder != oid);
                }
            }
            referencing.retain(|_, holders| !holders.is_empty());
        }
        Arc::make_mut(&mut self.storage).remove(&table.id);
        Some(table)
    }

    pub(crate) fn put_view(&mut self, view: ViewDescriptor) {
        self.remove_view(view.oid);
        let names = Arc::make_mut(&mut self.names).entry(view.schema).or_default();
        names.insert(view.name.clone(), Entry::View(view.oid));
        Arc::make_mut(&mut self.views).insert(view.oid, Arc::new(view));
    }

    pub(crate) fn remove_view(&mut self, oid: Oid) -> Option<Arc<ViewDescriptor>> {
        self.views.get(&oid)?;
        let view = Arc::make_mut(&mut self.views).remove(&oid)?;
        self.forget_name(view.schema, &view.name);
        Some(view)
    }

    pub(crate) fn put_sequence(&mut self, sequence: SequenceDescriptor) {
        self.remove_sequence(sequence.oid);
        let names = Arc::make_mut(&mut self.names).entry(sequence.schema).or_default();
        names.insert(sequence.name.clone(), Entry::Sequence(sequence.oid));
        Arc::make_mut(&mut self.sequences).insert(sequence.oid, Arc::new(sequence));
    }

    pub(crate) fn remove_sequence(&mut self, oid: Oid) -> Option<Arc<SequenceDescriptor>> {
        self.sequences.get(&oid)?;
        let sequence = Arc::make_mut(&mut self.sequences).remove(&oid)?;
        self.forget_name(sequence.schema, &sequence.name);
        Some(sequence)
    }

    fn forget_name(&mut self, schema: Oid, name: &str) {
        let names = Arc::make_mut(&mut self.names);
        if let Some(entries) = names.get_mut(&schema) {
            entries.remove(name);
            if entries.is_empty() {
                names.remove(&schema);
            }
        }
    }
}
