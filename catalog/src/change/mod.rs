//! DDL as pure functions: a catalog goes in; a new catalog, the writes that make it durable, and
//! the work on data that remains come out.
//!
//! ```text
//! let mut change = catalog.change(database, role, search_path);
//! let table = change.create_table(NewTable { ... })?;
//! let update = change.finish();
//! for (key, value) in update.writes { txn.put / txn.delete }   // locks persistence::version_key() first
//! session.catalog = update.catalog;                            // everyone's, once committed
//! ```
//!
//! Methods that fail leave the change half done: drop it. Several statements of one transaction
//! chain changes, each on the catalog that the one before gave. A transaction that has changed the
//! catalog must not use a shared plan cache: its versions are not yet anybody else's.
//!
//! What a change never does: touch rows. `CatalogUpdate` says which indexes to fill, which tables
//! to copy, which constraints to check, and which spans nobody can reach any more.

mod column;
mod constraint;
mod definition;
mod dependency;
mod foreign_key;
pub(crate) mod name;
mod namespace;
mod role;
mod sequence;
mod table;
mod view;

pub use constraint::PrimaryKeyPlacement;
pub use definition::{
    AutoIncrement, NewCheck, NewColumn, NewForeignKey, NewIndex, NewIndexColumn, NewKeyConstraint,
    NewSequence, NewTable, NewView, SequenceOptions,
};
pub use dependency::{DropBehavior, DropKind, relation_comment};

use crate::database::CommentKey;
use crate::persistence::{self, ObjectKey};
use crate::relation::{SequenceDescriptor, ViewDescriptor};
use crate::snapshot::Catalog;
use crate::table::{ColumnId, IndexId, TableDescriptor};
use crate::{CatalogError, Oid, Result};
use core_domain::{Key, Span, TableId, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A DDL statement in the making.
pub struct CatalogChange {
    catalog: Catalog,
    /// The database of the session; relations are created in it.
    database: Oid,
    /// Owner of what is created.
    role: Oid,
    search_path: Vec<String>,
    touched: BTreeSet<ObjectKey>,
    update: CatalogUpdate,
}

/// What a change amounts to.
#[derive(Clone, Debug, Default)]
pub struct CatalogUpdate {
    pub catalog: Arc<Catalog>,
    /// `None` deletes the key.
    pub writes: Vec<(Key, Option<Value>)>,
    pub notices: Vec<CatalogNotice>,
    /// Give these their first value (`keys::SequenceState::initial`).
    pub new_sequences: Vec<Oid>,
    /// Put these back to their start: TRUNCATE ... RESTART IDENTITY.
    pub restarted_sequences: Vec<Oid>,
    /// Delete these sequences' values.
    pub dropped_sequences: Vec<Oid>,
    /// Fill these indexes from the rows.
    pub new_indexes: Vec<(Oid, IndexId)>,
    /// Copy rows and rebuild all indexes; takes the place of `new_indexes` for these tables.
    pub rewrites: Vec<Rewrite>,
    /// Check existing rows.
    pub validations: Vec<Validation>,
    /// Nothing reaches these keys once the transaction has committed.
    pub dropped_spans: Vec<Span>,
    /// Table groups that want a range of their own: `KvStore::split_at(Key::group_start(group))`.
    pub new_groups: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogNotice {
    pub sqlstate: &'static str,
    pub message: String,
    pub detail: Option<String>,
}

/// Rows of `table` must move from one key layout to another: the old catalog's descriptor reads
/// them, the new one's writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    pub table: Oid,
    pub from: TableId,
    pub to: TableId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    NotNull {
        table: Oid,
        column: ColumnId,
    },
    /// CHECK or FOREIGN KEY.
    Constraint {
        table: Oid,
        constraint: Oid,
    },
}

impl Catalog {
    /// Starts a change by `role` in a session of `database`.
    pub fn change(&self, database: Oid, role: Oid, search_path: &[String]) -> CatalogChange {
        CatalogChange {
            catalog: self.clone(),
            database,
            role,
            search_path: search_path.to_vec(),
            touched: BTreeSet::new(),
            update: CatalogUpdate::default(),
        }
    }
}

impl CatalogChange {
    /// The catalog as changed so far.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Adds a notice of the caller's, in order with ours.
    pub fn notice(&mut self, message: impl Into<String>) {
        self.notices_push("00000", message.into(), None);
    }

    pub fn finish(mut self) -> CatalogUpdate {
        self.catalog.version += 1;
        let mut writes: Vec<(Key, Option<Value>)> = persistence::counters(&self.catalog)
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .collect();
        writes.extend(self.touched.iter().map(|o| (o.key(), o.value(&self.catalog))));
        let mut update = self.update;
        // A rewritten table's indexes are rebuilt with it.
        let rewritten: BTreeSet<Oid> = update.rewrites.iter().map(|r| r.table).collect();
        update.new_indexes.retain(|(table, _)| !rewritten.contains(table));
        update.writes = writes;
        update.catalog = Arc::new(self.catalog);
        update
    }

    fn notices_push(&mut self, sqlstate: &'static str, message: String, detail: Option<String>) {
        self.update.notices.push(CatalogNotice { sqlstate, message, detail });
    }

    fn allocate_oid(&mut self) -> Oid {
        let oid = self.catalog.next_oid;
        self.catalog.next_oid += 1;
        oid
    }

    /// A storage id in this database's group; numbers come from the OID counter, so never repeat.
    fn allocate_storage(&mut self, database: Oid) -> Result<TableId> {
        let group = self.catalog.database(database).map(|d| d.group);
        let group = group.ok_or_else(|| CatalogError::no_database(&database.to_string()))?;
        Ok(TableId::new(group, self.allocate_oid()))
    }

    fn put_table(&mut self, table: TableDescriptor) {
        self.touched.insert(ObjectKey::Table(table.oid));
        self.catalog.put_table(table);
    }

    fn put_view(&mut self, view: ViewDescriptor) {
        self.touched.insert(ObjectKey::View(view.oid));
        self.catalog.put_view(view);
    }

    fn put_sequence(&mut self, sequence: SequenceDescriptor) {
        self.touched.insert(ObjectKey::Sequence(sequence.oid));
        self.catalog.put_sequence(sequence);
    }

    /// A copy to edit and `put_table` back; its version is already counted up.
    fn edit_table(&self, oid: Oid) -> Result<TableDescriptor> {
        let table = self.catalog.table(oid);
        let table = table.ok_or_else(|| CatalogError::no_relation(&oid.to_string()))?;
        let mut table = TableDescriptor::clone(table);
        table.version += 1;
        Ok(table)
    }

    fn edit_sequence(&self, oid: Oid) -> Result<SequenceDescriptor> {
        let sequence = self.catalog.sequence(oid);
        let sequence = sequence.ok_or_else(|| CatalogError::no_relation(&oid.to_string()))?;
        Ok(SequenceDescriptor::clone(sequence))
    }

    fn edit_view(&self, oid: Oid) -> Result<ViewDescriptor> {
        let view = self.catalog.view(oid);
        let view = view.ok_or_else(|| CatalogError::no_relation(&oid.to_string()))?;
        let mut view = ViewDescriptor::clone(view);
        view.version += 1;
        Ok(view)
    }

    /// Gives the table new storage and asks for its rows to be copied there.
    fn rewrite(&mut self, table: &mut TableDescriptor) -> Result<()> {
        let from = table.id;
        table.id = self.allocate_storage(table.database)?;
        match self.update.rewrites.iter_mut().find(|r| r.table == table.oid) {
            Some(earlier) => earlier.to = table.id,
            None => {
                self.update.rewrites.push(Rewrite { table: table.oid, from, to: table.id });
                self.update.dropped_spans.push(Span::prefix(Key::table_prefix(from)));
            }
        }
        Ok(())
    }

    /// Sets or removes (`None`) a comment.
    pub fn set_comment(&mut self, key: CommentKey, text: Option<String>) {
        let comments = Arc::make_mut(&mut self.catalog.comments);
        match text {
            Some(text) => comments.insert(key, text),
            None => comments.remove(&key),
        };
        self.touched.insert(ObjectKey::Comment(key));
    }

    /// Forgets the comments of an object; of one of its columns if `sub` is given.
    fn drop_comments(&mut self, class: Oid, object: Oid, sub: Option<i32>) {
        let wanted = |key: &&CommentKey| {
            key.class == class && key.object == object && sub.is_none_or(|sub| key.sub == sub)
        };
        let keys: Vec<CommentKey> = self.catalog.comments.keys().filter(wanted).copied().collect();
        for key in keys {
            self.set_comment(key, None);
        }
    }

    /// Refuses a name that is taken in the schema.
    fn expect_free_name(&self, schema: Oid, name: &str) -> Result<()> {
        match self.catalog.relation(schema, name) {
            Some(_) => Err(CatalogError::duplicate_relation(name)),
            None => Ok(()),
        }
    }

    /// Refuses a schema that is not this database's, or a system schema.
    fn expect_schema(&self, schema: Oid, name: &str) -> Result<()> {
        if let Some(system) = crate::virtual_tables::SystemSchema::by_oid(schema) {
            let what = format!("permission denied to create \"{}.{name}\"", system.name());
            return Err(CatalogError::new("42501", what)
                .detail("System catalog modifications are currently disallowed."));
        }
        match self.catalog.schema(schema) {
            Some(_) => Ok(()),
            None => Err(CatalogError::no_schema(&schema.to_string())),
        }
    }
}
